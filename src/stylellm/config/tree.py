"""The configuration tree: one class per section, every key with its limits and what it means.

The English and Chinese lines are the source of docs/config.md and docs/config.zh-CN.md
(`stylellm.config.guide`). Values are checked strictly: a number is never read from arbitrary text,
true is never 1, and unknown keys are errors.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from stylellm.config.checks import cross_field_problems
from stylellm.config.section import Section, key
from stylellm.config.training import TrainingSection
from stylellm.config.values import (
    Allowed,
    Number,
    Paths,
    PathText,
    Seed,
    Share,
    Texts,
    refuse,
)


class ModelSection(Section):
    """The base model that learns the style."""

    model_name_or_path: PathText = key(
        "stylellm-tiny",
        "The base model: `stylellm-tiny` (built in), a model id such as `Qwen/Qwen2.5-7B`, "
        "or a local folder.",
        "基础模型：`stylellm-tiny`（内置）、模型名（如 `Qwen/Qwen2.5-7B`）或本地文件夹。",
    )
    revision: str | None = key(
        None,
        "Branch, tag or commit of the model on the hub; null takes the newest.",
        "模型仓库的分支、标签或提交；null 表示最新。",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = key(
        "auto",
        "Number format of the frozen base weights; auto: float32 on a CPU, bfloat16 or float16 on a GPU.",
        "冻结的基础权重的数值格式；auto：CPU 上 float32，GPU 上 bfloat16 或 float16。",
    )
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = key(
        "sdpa",
        "How attention is computed; flash_attention_2 needs a GPU and the flash-attn package.",
        "注意力的计算方式；flash_attention_2 需要 GPU 和 flash-attn 包。",
    )
    load_in_4bit: bool = key(
        False,
        "Hold the base in 4 bits (QLoRA); needs a CUDA GPU and bitsandbytes.",
        "以 4 bit 载入基础模型（QLoRA）；需要 CUDA GPU 和 bitsandbytes。",
    )


class DataSection(Section):
    """The books, and how they are cleaned, split and cut."""

    books: Paths = key(
        [],
        "The author's books: files (txt, epub) or folders of them.",
        "作者的书：文件（txt、epub）或装书的文件夹。",
    )
    author: str | None = key(
        None,
        "The author's name in audit and report; null takes what the books or their folder say.",
        "审计与报告中的作者名；null 表示取自书名、书内或文件夹名。",
    )
    general_text: Paths = key(
        [],
        "Ordinary text by others: measures and limits what the model loses outside the style.",
        "他人的普通文本：用来衡量并限制模型在风格之外的损失。",
    )
    other_author: Paths = key(
        [],
        "Books by another author: a reference row of the report, never trained on.",
        "另一位作者的书：作为报告里的参照行，不参与训练。",
    )
    prepared_dir: PathText = key(
        "./prepared",
        "Where `stylellm prepare` puts the windows and the audit, and where training reads them.",
        "`stylellm prepare` 写入训练窗口和清洗报告的文件夹，训练从这里读取。",
    )
    max_length: int = key(
        512,
        "Tokens of one training sequence; windows end at sentence ends.",
        "一条训练序列的 token 数上限；窗口在句末截断。",
        ge=32,
    )
    script: Literal["simplified", "traditional", "keep"] = key(
        "simplified",
        "Chinese script all books are brought to; keep leaves them as they are.",
        "统一成简体还是繁体；keep 保持原样。",
    )
    split_by: Literal["auto", "work", "chapter"] = key(
        "auto",
        "Unit held out for validation and test; auto takes works where there are enough of them.",
        "留出验证集和测试集的单位：整部书或章节；auto 在书足够多时按书。",
    )
    validation_fraction: Number = key(
        0.05,
        "Share of the text used to watch the training.",
        "训练中用于观察效果的文本比例。",
        ge=0,
        lt=1,
    )
    test_fraction: Number = key(
        0.1,
        "Share of the text kept for the final evaluation.",
        "留作最终评测的文本比例。",
        ge=0,
        lt=1,
    )
    held_out: Literal["spread", "last"] = key(
        "spread",
        "Which part is held out: units spread over the books, or the last ones.",
        "留出哪一部分：均匀分布在书中（spread），或最后一部分（last）。",
    )
    held_out_works: Texts = key(
        [],
        "Works (file names without ending) kept wholly for the test.",
        "整部留作测试的书（不带扩展名的文件名）。",
    )
    clean_rules: Annotated[
        Literal["all"] | list[str],
        Allowed("all, or a list of rule names ([] = none)", "all，或规则名列表（[] 表示不清洗）"),
    ] = key(
        "all",
        "Cleaning rules that are applied; the audit shows what each removed.",
        "使用的清洗规则；清洗报告列出每条规则删去的内容。",
    )
    seed: Seed = key(
        42,
        "Seed of every random choice made while preparing.",
        "数据准备阶段的随机种子。",
    )


class MaskingSection(Section):
    """What is hidden from the model and in which form it is asked for."""

    format: Literal["infill", "in_place"] = key(
        "infill",
        "infill moves the hidden text behind its context (the model sees both sides); in_place "
        "puts mask tokens where it stood (a causal model then sees the left side only).",
        "infill 把被遮的文字移到上下文之后（模型能看到两侧）；in_place 原位换成掩码"
        "（因果模型只能看到左侧）。",
    )
    order: Literal["prefix_first", "native"] = key(
        "prefix_first",
        "Order of an infill sequence; native starts with a sentinel, as Qwen2.5-Coder was trained.",
        "infill 序列的顺序；native 以哨兵符开头，与 Qwen2.5-Coder 的预训练一致。",
    )
    span_mask_ratio: Share = key(
        0.6,
        "Share of windows with one stretch of text hidden. The three ratios sum to 1.",
        "遮住连续片段的窗口所占比例。三个比例之和为 1。",
    )
    token_mask_ratio: Share = key(
        0.3,
        "Share of windows with single characters and words hidden, function words more often.",
        "遮住单字和词（偏向虚词）的窗口所占比例。",
    )
    no_mask_ratio: Share = key(
        0.1,
        "Share of windows left untouched.",
        "不遮挡的窗口所占比例。",
    )
    mask_rate: Number = key(
        0.15,
        "Share of the characters of a masked window that are hidden.",
        "一个窗口中被遮字符的比例。",
        gt=0,
        le=0.9,
    )
    span_length_mean: Number = key(
        3.0,
        "Mean length in characters of a hidden span where a window has several.",
        "一个窗口有多处遮挡时，每处的平均字数。",
        ge=1,
    )
    span_length_max: int = key(
        10,
        "Greatest length in characters of such a span.",
        "上述每处遮挡的最大字数。",
        ge=1,
    )
    function_word_bias: Number = key(
        3.0,
        "How many times likelier a function word is chosen than another word; 1 = no bias.",
        "虚词被选中的概率是其他词的几倍；1 表示不偏向。",
        gt=0,
        le=100,
    )
    context_loss_weight: Number = key(
        1.0,
        "Weight of the visible text of an infill window in the loss; 0 trains on the hidden part "
        "only.",
        "infill 窗口中可见文字在损失中的权重；0 表示只训练被遮部分。",
        ge=0,
        le=10,
    )


def _module_list(value: Any) -> Any:
    if isinstance(value, str) and value != "all-linear":
        names = [name for name in value.replace(",", " ").split() if name]
        raise refuse(f"write [{', '.join(names)}] for a list of modules")
    return value


class LoraSection(Section):
    """The adapter that is trained; the base stays frozen."""

    lora_r: int = key(
        8,
        "Rank of the adapter: larger learns more, and copies more easily.",
        "适配器的秩：越大学得越多，也越容易照抄。",
        ge=1,
        le=1024,
    )
    lora_alpha: int = key(
        16,
        "Scale of the adapter; its output is multiplied by lora_alpha / lora_r.",
        "适配器的缩放：输出乘以 lora_alpha / lora_r。",
        ge=1,
    )
    lora_dropout: Number = key(
        0.05,
        "Dropout in front of the adapter while training.",
        "训练时适配器输入的 dropout。",
        ge=0,
        lt=1,
    )
    target_modules: Annotated[
        Literal["all-linear"] | list[str],
        BeforeValidator(_module_list),
        Allowed(
            "all-linear, or a list such as [q_proj, v_proj]",
            "all-linear，或列表，如 [q_proj, v_proj]",
        ),
    ] = key(
        "all-linear",
        "Layers that get an adapter; all-linear takes every linear layer but the output head.",
        "加适配器的层；all-linear 表示输出层以外的全部线性层。",
        min_length=1,
    )
    use_rslora: bool = key(
        False,
        "Scale by lora_alpha / sqrt(lora_r) instead, for large ranks.",
        "改用 lora_alpha / sqrt(lora_r) 缩放，适合较大的秩。",
    )


class ObjectiveSection(Section):
    """What is minimised: reconstruction plus a KL term to the frozen base."""

    kl_beta: Number = key(
        0.1,
        "Weight of the KL term. Larger holds the model closer to its base: weaker style, fewer "
        "mistakes. Smaller: stronger style.",
        "KL 项的权重。越大越贴近基础模型：风格更弱、更稳；越小风格越强。",
        ge=0,
        le=100,
    )
    kl_direction: Literal["policy_ref", "ref_policy"] = key(
        "policy_ref",
        "policy_ref is KL(policy || reference), ref_policy is KL(reference || policy).",
        "policy_ref 为 KL(策略 || 参考)，ref_policy 为 KL(参考 || 策略)。",
    )
    kl_positions: Literal["clean", "all"] = key(
        "clean",
        "Where the KL counts: only where no sentinel or mask token came before (clean), or at all "
        "positions.",
        "KL 计入的位置：前文没有哨兵符或掩码的位置（clean），或全部（all）。",
    )
    general_ratio: Number = key(
        0.1,
        "Share of training windows taken from general text, with KL only.",
        "训练窗口中普通文本的比例（只计 KL）。",
        ge=0,
        lt=1,
    )
    general_beta: Number = key(
        1.0,
        "Weight of the KL on general text. It holds general ability and hardly weakens style.",
        "普通文本上 KL 的权重。它保住通用能力，几乎不削弱风格。",
        ge=0,
        le=100,
    )
    chunk_size: int = key(
        0,
        "Positions per chunk of the loss; fewer need less memory; 0 lets the program choose.",
        "损失分块计算时每块的位置数；越小越省内存；0 表示自动选择。",
        ge=0,
    )


class EvaluationSection(Section):
    """What `stylellm evaluate` measures, and the samples shown during training."""

    num_windows: int = key(
        64,
        "Windows per split whose likelihood is measured; 0 takes all.",
        "每个数据划分计算似然的窗口数；0 表示全部。",
        ge=0,
    )
    num_samples: int = key(
        150,
        "Texts written by base and policy for the style measures; below 50,000 characters together the "
        "report marks the style figures as a small sample.",
        "为衡量风格，由基础模型和训练后模型各写多少篇；总共不足五万字时报告会标明样本小。",
        ge=1,
    )
    sample_chars: int = key(400, "Characters of each of these texts.", "每篇的字数。", ge=1)
    batch_size: int = key(
        8, "Sequences evaluated or written at a time.", "评测和生成时一次处理的序列数。", ge=1
    )
    ngram_max: int = key(
        6, "Longest character n-gram that is compared.", "比较的最长字符 n-gram。", ge=1, le=20
    )
    prompts: Texts | None = key(
        None,
        "Beginnings of the written texts; null takes the shipped ones.",
        "生成文本的开头；null 表示用自带的开头。",
    )
    sample_prompts_during_training: Texts = key(
        ["剑光一闪"],
        "Prompts continued at every evaluation during training; [] writes none.",
        "训练中每次评估时续写的提示；[] 表示不写。",
    )
    seed: Seed = key(1234, "Seed of the written texts.", "生成文本的随机种子。")


class GenerationSection(Section):
    """How `stylellm write` and the evaluation sample text."""

    max_new_tokens: int = key(
        200, "Greatest number of tokens that are added.", "最多续写的 token 数。", ge=1
    )
    do_sample: bool = key(
        True,
        "Draw at random; false always takes the likeliest token.",
        "随机采样；false 表示总取概率最大的 token。",
    )
    temperature: Number = key(
        0.9, "Above 1 is wilder, below 1 is tamer.", "大于 1 更放开，小于 1 更保守。", gt=0, le=10
    )
    top_p: Number = key(
        0.9,
        "Draw from the likeliest tokens that together have this probability; 1 = all.",
        "只从累计概率达到此值的最可能 token 中采样；1 表示全部。",
        gt=0,
        le=1,
    )
    top_k: int = key(
        0,
        "Draw from this many likeliest tokens; 0 = all.",
        "只从最可能的若干个 token 中采样；0 表示全部。",
        ge=0,
    )
    repetition_penalty: Number = key(
        1.05,
        "Above 1 makes tokens that already occurred less likely.",
        "大于 1 会降低已出现 token 的概率。",
        gt=0,
        le=10,
    )
    seed: Seed = key(42, "Seed of the sampling.", "采样的随机种子。")


class StyleConfig(BaseModel):
    """The whole configuration of a run. Made by `load_config` or `parse_config`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: ModelSection = Field(default_factory=ModelSection)
    data: DataSection = Field(default_factory=DataSection)
    masking: MaskingSection = Field(default_factory=MaskingSection)
    lora: LoraSection = Field(default_factory=LoraSection)
    objective: ObjectiveSection = Field(default_factory=ObjectiveSection)
    training: TrainingSection = Field(default_factory=TrainingSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    generation: GenerationSection = Field(default_factory=GenerationSection)

    @model_validator(mode="after")
    def _cross_field(self) -> StyleConfig:
        problems = cross_field_problems(self)
        if problems:
            raise refuse("; ".join(f"{problem.path}: {problem.text}" for problem in problems))
        return self


SECTIONS: dict[str, type[BaseModel]] = {
    name: field.annotation  # type: ignore[misc]
    for name, field in StyleConfig.model_fields.items()
}
