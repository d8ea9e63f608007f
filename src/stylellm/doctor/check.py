"""What `train` asks before it starts: will this fit, and if not, what would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stylellm.doctor.memory import GB, predict
from stylellm.doctor.proposals import overrides, propose
from stylellm.doctor.setup import Setup
from stylellm.doctor.shapes import shape_of
from stylellm.errors import StyleLLMError

# The prediction is good to this much; a refusal wants to be right.
MARGIN = 0.15


@dataclass(frozen=True)
class Verdict:
    """refuse: it cannot fit; warn: it may not; fine: nothing to say."""

    level: Literal["refuse", "warn", "fine"]
    line: str = ""


def check_fit(
    model: str,
    setup: Setup,
    *,
    folder: str | Path | None = None,
    total: float | None = None,
    free: float | None = None,
) -> Verdict:
    """Whether a training step fits the memory it would run in, in one line.

    Refused is what is beyond all memory of the card (or the RAM, on a CPU) even if the prediction
    is 15% too high; warned of is what is beyond the memory that is free now. A model whose shape is
    not known passes.

    Args:
        model: stylellm-tiny, a hub id, or a folder, for the message and the known shapes.
        setup: the settings.
        folder: where the model's config.json lies, if it is here.
        total, free: bytes; asked of the device unless given.
    """
    try:
        shape = shape_of(model, Path(folder) if folder else None)
        prediction = predict(shape, setup)
    except StyleLLMError:
        return Verdict("fine")
    if total is None or free is None:
        seen = device_memory(setup.device)
        if seen is None:
            return Verdict("fine")
        free, total = seen
    if prediction.needed <= free:
        return Verdict("fine")
    refused = prediction.needed * (1 - MARGIN) > total
    where = "the GPU" if setup.device == "cuda" else "RAM"
    line = (
        f"a training step of {model} needs about {prediction.needed / GB:.1f} GB, and {where} has "
        f"{total / GB:.1f} GB, {free / GB:.1f} GB of it free"
    )
    fitting = propose(shape, setup, total if refused else free, limit=1)
    if fitting:
        change = overrides(fitting[0].setup, before=setup)
        line += f"; about {fitting[0].prediction.needed / GB:.1f} GB with {change}"
    else:
        line += "; no setting of this model fits, a smaller model might (stylellm doctor --model)"
    return Verdict("refuse" if refused else "warn", line)


def device_memory(device: str) -> tuple[float, float] | None:
    """(free, total) bytes of the GPU or of the RAM; None where it cannot be told."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            return None
        free, total = torch.cuda.mem_get_info()
        return float(free), float(total)
    from stylellm.doctor.machine import memory

    total_ram, free_ram = memory()
    if total_ram is None or free_ram is None:
        return None
    return float(free_ram), float(total_ram)


def setup_of(config: Any, *, device: str, bf16_card: bool = True) -> Setup:
    """The setup of a configuration (anything with the sections of `StyleConfig`).

    Args:
        config: the configuration.
        device: cuda or cpu.
        bf16_card: whether model.dtype auto takes bfloat16 (else float16) on this GPU.
    """
    m, t, o = config.model, config.training, config.objective
    weights = m.dtype
    if weights == "auto":
        weights = "float32" if device == "cpu" else "bfloat16" if bf16_card else "float16"
    targets = config.lora.target_modules
    return Setup(
        batch=t.per_device_train_batch_size,
        accumulation=t.gradient_accumulation_steps,
        max_length=config.data.max_length,
        lora_r=config.lora.lora_r,
        target_modules=targets if isinstance(targets, str) else tuple(targets),
        dropout=config.lora.lora_dropout,
        weights=weights,
        compute="bfloat16" if t.bf16 else "float16" if t.fp16 else None,
        load_in_4bit=m.load_in_4bit,
        load_in_8bit=getattr(m, "load_in_8bit", False),
        checkpointing=bool(t.gradient_checkpointing),  # auto: on where it must be
        # What auto comes to is not known of another machine; sdpa needs the more memory.
        attention="sdpa" if m.attn_implementation == "auto" else m.attn_implementation,
        optimizer=str(t.other_fields().get("optim", "adamw_torch_fused")),
        kl=o.kl_beta > 0 or (o.general_beta > 0 and o.general_ratio > 0),
        chunk_size=o.chunk_size,
        device="cuda" if device == "cuda" else "cpu",
        lora_layers=getattr(config.lora, "lora_layers", "all"),
        packed=bool(getattr(config.data, "pack", False)),
    )
