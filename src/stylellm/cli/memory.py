"""Whether a training step fits this machine, asked before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stylellm.errors import StyleLLMError, TrainingError

TARGET_MEMORY = 0.9
"""Share of the free memory that a step may be predicted to need without checkpointing."""


def device_of(config: Any) -> str:
    """Where the training will run: cuda or cpu."""
    import torch

    return "cuda" if torch.cuda.is_available() and not config.training.use_cpu else "cpu"


def check_memory(config: Any) -> None:
    """Says before, not after, that a step will not fit: refuses, warns, or is silent.

    Raises:
        TrainingError: it cannot fit; the message names settings that do.
    """
    import torch

    from stylellm.doctor.check import check_fit, setup_of
    from stylellm.model.load import model_location

    device = device_of(config)
    bf16 = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    name = config.model.model_name_or_path
    verdict = check_fit(
        name,
        setup_of(config, device=device, bf16_card=bf16),
        folder=model_location(name, config.model.revision),
    )
    if verdict.level == "refuse":
        raise TrainingError(verdict.line)
    if verdict.level == "warn":
        print(f"memory:   {verdict.line}")


def warn_of_slow_bf16(config: Any) -> None:
    """Says that bfloat16 slows a training on a processor that multiplies float32 faster."""
    import torch

    from stylellm.model.products import wide_is_faster

    if config.training.bf16 and device_of(config) == "cpu" and wide_is_faster(torch.bfloat16):
        print(
            "bf16:     products go through float32, which this processor multiplies faster; "
            "bf16: false saves that detour and takes more memory"
        )


def wants_checkpointing(config: Any) -> bool:
    """What training.gradient_checkpointing comes to: auto looks at the free memory."""
    from stylellm.doctor.check import device_memory, setup_of
    from stylellm.doctor.memory import predict
    from stylellm.doctor.shapes import shape_of
    from stylellm.model.load import model_location

    if config.training.gradient_checkpointing != "auto":
        return config.training.gradient_checkpointing
    device = device_of(config)
    memory = device_memory(device)
    name = config.model.model_name_or_path
    try:
        shape = shape_of(name, Path(model_location(name, config.model.revision)))
        plain = config.model_copy(
            update={
                "training": config.training.model_copy(update={"gradient_checkpointing": False})
            }
        )
        needed = predict(shape, setup_of(plain, device=device)).needed
    except StyleLLMError:  # a shape that is not known: safe rather than fast
        return True
    on = memory is not None and needed > TARGET_MEMORY * memory[0]
    free = f", {memory[0] / 1e9:.1f} GB are free" if memory else ""
    print(
        f"checkpointing: {'on' if on else 'off'} (a step without it needs about {needed / 1e9:.1f} GB{free})"
    )
    return on
