"""The settings that the memory of a training step depends on, under plain names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stylellm.doctor.shapes import LINEARS, Shape
from stylellm.errors import StyleLLMError

DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}

PARTS_OF_LAYERS = {"all": 1, "top_half": 2, "top_quarter": 4}


@dataclass(frozen=True)
class Setup:
    """The settings that memory depends on, under plain names.

    Attributes:
        weights: number format of the frozen base.
        compute: 16-bit format of autocast (training.bf16, training.fp16), None without.
        kl: a reference pass is needed (kl_beta or general_beta above 0).
        lora_layers: which layers have an adapter; those below run once for both models and keep
            nothing.
        packed: windows hold several documents (data.pack), so that attention gets a mask; padding
            alone needs none.
    """

    batch: int = 4
    accumulation: int = 4
    max_length: int = 512
    lora_r: int = 8
    target_modules: str | tuple[str, ...] = "all-linear"
    dropout: float = 0.05
    weights: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    compute: Literal["bfloat16", "float16"] | None = "bfloat16"
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    checkpointing: bool = False
    attention: str = "sdpa"
    optimizer: str = "adamw_torch_fused"
    kl: bool = True
    chunk_size: int = 0
    device: Literal["cuda", "cpu"] = "cuda"
    lora_layers: str = "all"
    packed: bool = False

    @property
    def tokens(self) -> int:
        return self.batch * self.max_length

    @property
    def targets(self) -> tuple[str, ...]:
        if isinstance(self.target_modules, str):
            return tuple(LINEARS)
        return tuple(self.target_modules)

    def adapted(self, shape: Shape) -> int:
        """Decoder layers that have an adapter."""
        return max(1, shape.layers // PARTS_OF_LAYERS[self.lora_layers])

    @property
    def linear_bytes(self) -> int:
        """Per element of what a linear layer puts out."""
        return DTYPES[self.compute or self.weights]

    @property
    def stream_bytes(self) -> int:
        """Per element of the residual stream: float32 weights keep it so, even under autocast."""
        return DTYPES[self.weights]

    @property
    def lean(self) -> bool:
        """Whether `model.lean_lora` runs the adapter; if not, peft does: beside 8-bit weights, and
        beside 16-bit ones without autocast."""
        if self.load_in_8bit:
            return False
        if self.compute is None:
            return self.weights == "float32" and not self.load_in_4bit
        return not (self.load_in_4bit and self.weights == "float32")

    @property
    def lora_bytes(self) -> int:
        """Per element of the adapter's input as autograd keeps it."""
        return 2 if self.compute else 4  # 16-bit weights without autocast: peft's copy in float32

    @property
    def lora_casts(self) -> bool:
        """peft brings the adapter's input to float32, but not beside quantised weights under autocast."""
        return not ((self.load_in_4bit or self.load_in_8bit) and self.compute)


def check_setup(shape: Shape, setup: Setup) -> None:
    """Refuses settings that no prediction can be made for.

    Raises:
        StyleLLMError: a size below 1, an unknown layer, a window beyond the model's positions.
    """
    for name in ("batch", "accumulation", "max_length", "lora_r"):
        if getattr(setup, name) < 1:
            raise StyleLLMError(f"{name} is {getattr(setup, name)}", "1 or more")
    if setup.load_in_4bit and setup.load_in_8bit:
        raise StyleLLMError("load_in_4bit and load_in_8bit are both true", "one of them")
    if setup.lora_layers not in PARTS_OF_LAYERS:
        raise StyleLLMError(f"lora_layers is {setup.lora_layers}", ", ".join(PARTS_OF_LAYERS))
    unknown = [name for name in setup.targets if name not in LINEARS]
    if unknown:
        raise StyleLLMError(
            f"target_modules names {', '.join(unknown)}",
            "all-linear, or some of " + ", ".join(LINEARS),
        )
    if setup.max_length > shape.positions:
        raise StyleLLMError(
            f"max_length is {setup.max_length}, {shape.name} has {shape.positions} positions"
        )


def with_targets(setup: Setup, targets: Sequence[str]) -> Setup:
    """The setup with adapters on these layers only."""
    return replace(setup, target_modules=tuple(targets))
