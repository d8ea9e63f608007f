"""The configuration tree: one class per section, every key with its limits and what it means.

The English and Chinese lines are the source of docs/config.md and docs/config.zh-CN.md
(`stylellm.config.guide`). Values are checked strictly: a number is never read from arbitrary text,
true is never 1, and unknown keys are errors.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stylellm.config.checks import cross_field_problems
from stylellm.config.learning import LoraSection, ObjectiveSection
from stylellm.config.measuring import EvaluationSection, GenerationSection
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
    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = key(
        "auto",
        "How attention is computed; auto trains with flash_attention_2, without padding, where the "
        "flash-attn package and a GPU of 2020 or later are there, else with sdpa (torch's own).",
        "注意力的计算方式；auto：装有 flash-attn 包且 GPU 为 2020 年以后时，训练用 flash_attention_2"
        "（无填充），否则用 sdpa（torch 自带）。",
    )
    load_in_4bit: bool = key(
        False,
        "Hold the base in 4 bits (QLoRA); needs a CUDA GPU and bitsandbytes.",
        "以 4 bit 载入基础模型（QLoRA）；需要 CUDA GPU 和 bitsandbytes。",
    )
    load_in_8bit: bool = key(
        False,
        "Hold the base in 8 bits; needs a CUDA GPU and bitsandbytes.",
        "以 8 bit 载入基础模型；需要 CUDA GPU 和 bitsandbytes。",
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
    accept_damaged: bool = key(
        False,
        "Read files with many damaged places, too; otherwise they are refused.",
        "是否也读取有大量损坏字节的文件；默认拒绝。",
    )
    modern_words: Literal["count", "sentence", "paragraph", "off"] = key(
        "count",
        "Modern vocabulary in old-style prose: count it only, or drop the sentence or paragraph that "
        "holds it.",
        "现代词汇：只计数（count），或删去含有它的句子（sentence）、段落（paragraph）；off 不查。",
    )
    modern_word_list: PathText | None = key(
        None,
        "A word list of your own in place of the shipped one.",
        "用自己的词表代替自带的现代词表。",
    )
    near_duplicates: Share = key(
        0.8,
        "Chapters and paragraphs of which this share stands in earlier text are dropped; 0 drops "
        "exact repeats only.",
        "与前文重合达到这一比例的章节和段落会被去掉；0 表示只去完全相同的。",
    )
    max_characters_per_work: int | None = key(
        None,
        "Most training characters of one work; null: no limit.",
        "每部书用于训练的字数上限；null 表示不限。",
        ge=1,
    )
    max_characters_per_author: int | None = key(
        None,
        "Most training characters of one author; null: no limit.",
        "每位作者用于训练的字数上限；null 表示不限。",
        ge=1,
    )
    author_weights: Annotated[
        dict[str, Number],
        Allowed(
            "a mapping from author to relative share, such as {金庸: 2, 古龙: 1}",
            "作者到相对份额的映射，如 {金庸: 2, 古龙: 1}",
        ),
    ] = key(
        {},
        "Relative shares of the authors in the training text, reached by leaving chapters out.",
        "各作者在训练文本中的相对份额，通过少用章节达到（从不重复）。",
    )
    pack: bool = key(
        False,
        "Put several short texts into one training window; they do not see each other.",
        "把多篇短文放进同一个训练窗口；各篇之间互不可见。",
    )
    num_workers: int = key(
        0,
        "Processes that prepare the books; 0: one per core, 1: no further process.",
        "准备数据的进程数；0 表示每核一个，1 表示只用当前进程。",
        ge=0,
        le=256,
    )
    cache_dir: PathText | None = key(
        None,
        "Where work on each book is kept for the next run; null: .stylellm-cache beside "
        "prepared_dir; off: nowhere.",
        "每本书的处理结果存放处，供下次运行使用；null 表示 prepared_dir 旁的 .stylellm-cache；"
        "off 表示不存。",
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
