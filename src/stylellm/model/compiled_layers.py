"""The decoder's layers through `torch.compile`, while a training step runs and no longer.

All layers are one piece of code and share their compiled forms, of which there are few: with the
adapter, without it, and each of them again for documents that are told apart by a mask. The
compiler fuses what lies between the products and spares Python most of a layer, which is what small
models on fast GPUs wait for. Generation and evaluation run as they are: each new length of a
key-value cache would be another form.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from stylellm.errors import TrainingError, first_line
from stylellm.model.policy import layers_of


class CompiledLayers:
    """Switches the compiled forms of a policy's decoder layers on and off.

    Nothing is compiled before a layer runs.

    Args:
        policy: a peft model.

    Raises:
        ModelError: its decoder does not hold its layers in a list named ``layers``.
    """

    def __init__(self, policy: Any) -> None:
        self._layers = list(
            layers_of(policy, "training.torch_compile", "training.torch_compile: false")
        )
        # dynamic: rows and lengths change from batch to batch.
        self._compiled = [torch.compile(layer._call_impl, dynamic=True) for layer in self._layers]

    @contextmanager
    def switched(self, *, on: bool) -> Iterator[None]:
        """Within the block the layers run compiled, or as they are.

        Raises:
            TrainingError: the compiler failed.
        """
        before = [layer._compiled_call_impl for layer in self._layers]
        wanted = self._compiled if on else [None] * len(before)
        try:
            self._set(wanted)
            yield
        except torch._dynamo.exc.TorchDynamoException as error:  # the inductor's too
            cause = getattr(error, "inner_exception", error)
            raise TrainingError(
                f"the compiler of training.torch_compile failed ({first_line(cause)})",
                "a C++ compiler on a CPU, Triton on a GPU",
                "Set training.torch_compile: false.",
            ) from error
        finally:
            self._set(before)

    def _set(self, forms: list[Any]) -> None:
        for layer, form in zip(self._layers, forms, strict=True):
            # What Module.compile sets; past Module.__setattr__, which is slow.
            vars(layer)["_compiled_call_impl"] = form
