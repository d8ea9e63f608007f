"""An independent account of memory: the storages that torch makes, and when they die."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """Bytes of the storages made inside the mode that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, tuple[int, Any]] = {}

    def _dead(self, key: int) -> None:
        self.now -= self._alive.pop(key)[0]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_iter((args, kwargs)) if isinstance(t, torch.Tensor)]
        inputs = {t.untyped_storage()._cdata for t in tensors}
        for tensor in tree_iter(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage(), inputs)
        self.peak = max(self.peak, self.now)
        return out

    def _count(self, storage: Any, inputs: set[int]) -> None:
        key = storage._cdata
        if key in self._alive or key in inputs:
            return
        reference = weakref.ref(storage, lambda _: self._dead(key))
        self._alive[key] = storage.nbytes(), reference
        self.now += storage.nbytes()
