"""The sections on what is learnt: the adapter, and what is minimised."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from stylellm.config.section import Section, key
from stylellm.config.values import Allowed, Number, refuse


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
    use_dora: bool = key(
        False,
        "DoRA: train length and direction of the weights apart; somewhat better at small ranks, slower.",
        "DoRA：把权重的大小与方向分开训练；秩较小时略好，但更慢。",
    )
    lora_layers: Literal["all", "top_half", "top_quarter"] = key(
        "all",
        "Which decoder layers get an adapter. Those below the top half or quarter run once for policy "
        "and reference together and need no backward pass: faster, a weaker adapter.",
        "哪些解码层加适配器。只加在上半（top_half）或上四分之一（top_quarter）时，下面的层由策略与参考"
        "共用、只算一次且不反传：更快，适配器也更弱。",
    )
    train_sentinels: bool = key(
        False,
        "Train the embeddings of the sentinel tokens of the infill format as well.",
        "是否同时训练 infill 格式的哨兵符的词向量。",
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
    target_kl: Number | None = key(
        None,
        "Steer kl_beta (its starting value then, 0.05 to 10) after every step so that the KL per token of "
        "author text stays near this many nats; null keeps kl_beta as it is.",
        "每步自动调节 kl_beta（此时它是初值，0.05 到 10），使作者文本上每 token 的 KL 接近此值（nat）；"
        "null 表示 kl_beta 固定。",
        gt=0,
        le=10,
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
    general_samples: int = key(
        128,
        "Without general text: at most this many windows are sampled from the base itself before the "
        "training and take its place; 0 samples none.",
        "没有普通文本时，训练前由基础模型自己写出至多这么多个窗口来代替；0 表示不写。",
        ge=0,
    )
    reference: Literal["adapter_off", "cached"] = key(
        "adapter_off",
        "cached keeps the reference's hidden states of windows that come again unchanged (without masks, "
        "general text) in data.cache_dir, 2 to 4 bytes x hidden size a token. Pays with a high "
        "no_mask_ratio or many epochs; a resumed run is then equal up to rounding.",
        "cached 把会原样重复的窗口（不遮挡的、普通文本）的参考隐状态存在 data.cache_dir，"
        "每 token 占 2 到 4 字节乘隐藏维数。no_mask_ratio 高或轮数多时划算；续训结果相差仅为舍入误差。",
    )
    chunk_size: int = key(
        0,
        "Positions per chunk of the loss; fewer need less memory; 0 lets the program choose.",
        "损失分块计算时每块的位置数；越小越省内存；0 表示自动选择。",
        ge=0,
    )
