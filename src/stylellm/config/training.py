"""The `training:` section: fields of `transformers.TrainingArguments` under their own names.

The common fields are typed here. Any other field of the installed TrainingArguments may stand in
the section as well: it is checked against the annotation in transformers (imported only then) and
handed on, unless `training_fields` says that StyleLLM sets or refuses it.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from stylellm.config.section import Problem, Section, key, yaml_value
from stylellm.config.training_fields import (
    DROPPED,
    FIXED,
    REFUSED,
    REFUSED_OPTIMIZERS,
)
from stylellm.config.values import (
    Allowed,
    Number,
    PathText,
    Seed,
    Steps,
    Trackers,
    WhenToRun,
    WhenToSave,
    allowed,
    no_from_false,
    refuse,
    show,
)

SCHEDULERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "warmup_stable_decay",
)


def _known_scheduler(value: str) -> str:
    if value not in SCHEDULERS:  # a newer transformers may have more
        from transformers.trainer_utils import SchedulerType

        if value not in [member.value for member in SchedulerType]:
            raise refuse("no scheduler of transformers has this name")
    return value


Scheduler = Annotated[
    str,
    AfterValidator(_known_scheduler),
    Allowed("one of " + ", ".join(SCHEDULERS), "、".join(SCHEDULERS) + " 之一"),
]


class TrainingSection(Section):
    """Any field of transformers.TrainingArguments, under its own name."""

    model_config = ConfigDict(extra="allow")

    output_dir: PathText = key(
        "./output/wuxia_model",
        "Folder of the adapter, checkpoints and logs.",
        "适配器、检查点和日志的文件夹。",
    )
    num_train_epochs: Number = key(3.0, "Passes over the books.", "把书训练几遍。", gt=0)
    max_steps: int = key(
        -1,
        "Optimizer steps; above 0 it replaces num_train_epochs, -1 leaves it to the epochs.",
        "优化器步数；大于 0 时取代 num_train_epochs，-1 表示按轮数。",
        ge=-1,
    )
    per_device_train_batch_size: int = key(
        4, "Windows per device and micro-batch.", "每台设备每个小批的窗口数。", ge=1
    )
    per_device_eval_batch_size: int = key(
        8,
        "Windows per batch of the validation during training.",
        "训练中验证时每批的窗口数。",
        ge=1,
    )
    gradient_accumulation_steps: int = key(
        4, "Micro-batches per optimizer step.", "每个优化器步累积的小批数。", ge=1
    )
    learning_rate: Number = key(2e-4, "Peak learning rate.", "最高学习率。", ge=0, le=1)
    lr_scheduler_type: Scheduler = key(
        "cosine", "How the learning rate falls.", "学习率的下降方式。"
    )
    warmup_steps: Steps = key(
        0.03, "Steps over which the learning rate rises.", "学习率预热的步数。", ge=0
    )
    weight_decay: Number = key(0.0, "AdamW's decay of the adapter.", "AdamW 的权重衰减。", ge=0)
    max_grad_norm: Number = key(
        1.0,
        "Gradients are clipped to this norm; 0 = never.",
        "梯度裁剪的范数；0 表示不裁剪。",
        ge=0,
    )
    bf16: bool = key(
        False,
        "Compute in bfloat16: for GPUs from 2020 on; works on a CPU.",
        "用 bfloat16 计算：适合 2020 年以后的 GPU；CPU 也可用。",
    )
    fp16: bool = key(
        False,
        "Compute in float16: for older GPUs, never on a CPU.",
        "用 float16 计算：适合较旧的 GPU，不能用于 CPU。",
    )
    gradient_checkpointing: Annotated[
        bool | Literal["auto"], Allowed("true, false or auto", "true、false 或 auto")
    ] = key(
        False,
        "Save memory by computing activations twice; slower. auto: only where the step would not fit the "
        "free memory otherwise.",
        "以重算换显存，速度变慢。auto：仅在空闲显存（内存）不够时启用。",
    )
    use_liger_kernel: bool = key(
        False,
        "Liger's kernels for norms, rotary positions and MLP; needs a GPU and the liger-kernel package. "
        "The loss stays StyleLLM's.",
        "对归一化、旋转位置和 MLP 使用 Liger 内核；需要 GPU 和 liger-kernel 包。损失仍由 StyleLLM 计算。",
    )
    torch_compile: bool = key(
        False,
        "Compile the decoder's layers for training steps (a minute or more at the start): for small models on "
        "fast GPUs. Needs Triton on a GPU, a C++ compiler on a CPU.",
        "在训练步中编译解码器各层（开始时多花一分钟或更久）：适合快 GPU 上的小模型。GPU 上需要 Triton，"
        "CPU 上需要 C++ 编译器。",
    )
    use_cpu: bool = key(
        False, "Stay on the CPU although there is a GPU.", "即使有 GPU 也只用 CPU。"
    )
    logging_steps: Steps = key(10, "Steps between two log lines.", "两行日志之间的步数。", gt=0)
    eval_strategy: WhenToRun = key(
        "steps", "When the validation text is measured.", "何时在验证集上评测。"
    )
    eval_steps: Steps | None = key(
        100,
        "Steps between two evaluations; null takes logging_steps.",
        "两次评测之间的步数；null 表示与 logging_steps 相同。",
        gt=0,
    )
    save_strategy: WhenToSave = key("steps", "When a checkpoint is written.", "何时保存检查点。")
    save_steps: Steps = key(100, "Steps between two checkpoints.", "两个检查点之间的步数。", gt=0)
    save_total_limit: int | None = key(
        3, "Checkpoints kept; null keeps all.", "保留的检查点数；null 表示全部保留。", ge=1
    )
    load_best_model_at_end: bool = key(
        False,
        "End with the best checkpoint, not the last: the lowest loss on the author's validation text "
        "among those within max_drift_kl.",
        "训练结束时取最好的检查点，而不是最后一个：在 max_drift_kl 以内、作者验证集损失最低者。",
    )
    max_drift_kl: Number | None = key(
        None,
        "An evaluation can only be the best one if its KL to the base on general text is at most this "
        "(nats per token); null: any.",
        "只有普通文本上与基础模型的 KL 不超过此值（nat/token）的评测才可能成为最佳；null 表示不限。",
        gt=0,
    )
    early_stopping_patience: int | None = key(
        None,
        "Stop after this many evaluations without a better one; null: never.",
        "连续这么多次评测没有更好就停止；null 表示不提前停止。",
        ge=1,
    )
    dataloader_num_workers: int = key(
        0,
        "Processes that prepare batches; 0 = none extra.",
        "准备批次的进程数；0 表示不另开。",
        ge=0,
    )
    report_to: Trackers = key(
        ["tensorboard"],
        "Where curves are sent besides the console and train_log.jsonl.",
        "除终端和 train_log.jsonl 外，训练曲线还发往哪里。",
    )
    seed: Seed = key(
        42, "Seed of adapter, order and masks.", "适配器初始化、数据顺序和遮挡的随机种子。"
    )

    @model_validator(mode="before")
    @classmethod
    def _other_fields(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        checked, problems = check_other_fields(values)
        if problems:
            raise refuse("; ".join(f"{problem.path}: {problem.text}" for problem in problems))
        return checked

    def other_fields(self) -> dict[str, Any]:
        """The fields of TrainingArguments that are not typed here."""
        return dict(self.model_extra or {})


def check_other_fields(values: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Check the fields that `TrainingSection` does not type; typed ones are left as they are.

    Returns:
        The values (numbers written like 2e-4 converted, fields that change nothing left out),
        and the problems.
    """
    values, problems = _canonical_names(values)
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if name in TrainingSection.model_fields:
            kept[name] = value
            continue
        try:
            kept.update(_check_field(name, value))
        except _Refusal as refusal:
            problems.append(Problem(f"training.{name}", str(refusal)))
    return kept, problems


class _Refusal(Exception):
    """A field that is not accepted; the text says why."""


def _canonical_names(values: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Newer transformers say activation_checkpointing for gradient_checkpointing: take both."""
    result, problems = dict(values), []
    for new in ("activation_checkpointing", "activation_checkpointing_kwargs"):
        old = new.replace("activation", "gradient")
        if new not in result:
            continue
        value = result.pop(new)
        if value is not None and result.setdefault(old, value) != value:
            text = f"found {show(value)}, but training.{old} says {show(result[old])}; keep one"
            problems.append(Problem(f"training.{new}", text))
    return result, problems


def _check_field(name: str, value: Any) -> dict[str, Any]:
    if name in DROPPED:
        replacement = DROPPED[name].en.format(name=name, value=yaml_value(value))
        raise _Refusal(f"found {show(value)}; transformers 5 has no such field: {replacement}")
    rule = REFUSED.get(name) or FIXED.get(name)
    if rule is not None:
        if any(_same(value, harmless) for harmless in rule.harmless):
            return {}
        default = yaml_value(rule.harmless[0])
        raise _Refusal(f"found {show(value)}; only {default} is possible, because {rule.en}")
    if name not in training_argument_names():
        raise _Refusal(_unknown(name, value))
    if name == "optim" and str(value).startswith(REFUSED_OPTIMIZERS):
        raise _Refusal(
            f"found {show(value)}; it trains full weights, and only the adapter is trained here; "
            "use adamw_torch, adafactor or paged_adamw_8bit"
        )
    return {name: _typed_value(name, value)}


def _unknown(name: str, value: Any) -> str:
    from stylellm.config.names import unknown_key

    return unknown_key("training", name, value)


def _typed_value(name: str, value: Any) -> Any:
    annotation = _field_types()[name]
    adapter: TypeAdapter[Any] = TypeAdapter(
        annotation, config=ConfigDict(strict=True, allow_inf_nan=False)
    )
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise _Refusal(f"found {show(value)}; expected {allowed(annotation)}") from error


def _same(value: Any, harmless: Any) -> bool:
    return isinstance(value, bool) == isinstance(harmless, bool) and value == harmless


@cache
def _training_argument_fields() -> tuple[dataclasses.Field[Any], ...]:
    from transformers.training_args import TrainingArguments

    return dataclasses.fields(TrainingArguments)


def training_argument_names() -> list[str]:
    """The fields of the installed TrainingArguments (imports transformers)."""
    return [field.name for field in _training_argument_fields()]


LIMITS: dict[str, list[Any]] = {  # torch would refuse them later, with a traceback
    "adam_beta1": [at.Ge(0), at.Lt(1)],
    "adam_beta2": [at.Ge(0), at.Lt(1)],
    "adam_epsilon": [at.Gt(0)],
    "data_seed": [at.Ge(0), at.Le(2**32 - 1)],
    "eval_delay": [at.Ge(0)],
    "torch_empty_cache_steps": [at.Ge(1)],
    "dataloader_prefetch_factor": [at.Ge(1)],
    "ddp_timeout": [at.Ge(1)],
}


@cache
def _field_types() -> dict[str, Any]:
    """Strict types of all fields of TrainingArguments, from their annotations."""
    result = {}
    for field in _training_argument_fields():
        annotation: Any = field.type
        if "choices" in field.metadata:
            annotation = _literal(field.metadata["choices"])
        annotation = _strict(annotation, tuple(LIMITS.get(field.name, ())))
        if field.default is None:
            annotation = annotation | None
        result[field.name] = annotation
    return result


def _literal(values: Iterable[Any]) -> Any:
    return Literal[tuple(values)]  # type: ignore[misc]


def _strict(annotation: Any, limits: tuple[Any, ...] = ()) -> Any:
    """The annotation with our types in place of those that pydantic would read leniently."""
    if get_origin(annotation) in (Union, types.UnionType):
        members = get_args(annotation)
        enums = [member for member in members if _is_enum(member)]
        others = [member for member in members if member not in enums]
        if enums:  # "SchedulerType | str" means one of the names
            others = [member for member in others if member is not str]
        return Union[tuple(_strict(member, limits) for member in [*enums, *others])]  # noqa: UP007
    if _is_enum(annotation):
        values = [member.value for member in annotation]
        convert = BeforeValidator(no_from_false if "no" in values else lambda value: value)
        return Annotated[_literal(values), convert]
    if annotation is float:
        return Annotated[(Number, *limits)] if limits else Number
    if annotation is int:
        return Annotated[(int, *limits)] if limits else int
    if get_origin(annotation) is list:
        return list[Any]
    if annotation is dict or get_origin(annotation) is dict:
        return dict[str, Any]
    if annotation in (str, bool, type(None)) or get_origin(annotation) is Literal:
        return annotation
    return Any


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Enum)
