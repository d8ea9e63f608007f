"""Which attention a run takes, and what flash attention is told of the documents in one row.

torch's own attention (sdpa) keeps documents of a row apart by a block-diagonal mask [B, 1, T, T],
which transformers makes of the position ids, and rows of unequal length are padded. Flash attention
(Dao 2023, arXiv:2307.08691) takes all documents of a batch as one row without padding and without a
mask, given where each begins; that needs its package and a GPU of 2020 or later.

Shapes: B rows, T tokens, D documents of a row.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

FLASH = "flash_attention_2"


def chosen_attention(asked: str, *, sixteen_bits: bool) -> str:
    """What model.attn_implementation comes to: auto is flash attention where it runs, else sdpa.

    Args:
        asked: auto, sdpa, eager or flash_attention_2; all but auto stay as they are.
        sixteen_bits: whether attention will be computed in 16 bits; it has no other format.
    """
    if asked != "auto":
        return asked
    return FLASH if sixteen_bits and flash_runs_here() else "sdpa"


def flash_runs_here() -> bool:
    """A CUDA device of compute capability 8.0 or more, and the flash-attn package."""
    if importlib.util.find_spec("flash_attn") is None or not torch.cuda.is_available():
        return False
    from transformers.utils import is_flash_attn_2_available

    return torch.cuda.get_device_capability() >= (8, 0) and bool(is_flash_attn_2_available())


def joins_rows(backbone: Any) -> bool:
    """Whether this backbone's attention takes documents one after another in one row."""
    return backbone.config._attn_implementation == FLASH


@contextmanager
def sdpa_on_cpu(model: Any, device: torch.device) -> Iterator[None]:
    """Within the block a model that is not on its GPU yet runs: flash attention has no form for a CPU."""
    config = model.config
    kept = config._attn_implementation
    if kept == FLASH and device.type == "cpu":
        config._attn_implementation = "sdpa"
    try:
        yield
    finally:
        config._attn_implementation = kept


def document_arguments(backbone: Any, position_ids: Tensor | None) -> dict[str, Any]:
    """What flash attention needs of documents joined in one row; nothing for other attention.

    Each layer would work it out again from the position ids, and wait for the GPU to do so.

    Args:
        backbone: the decoder.
        position_ids: [1, T]; each document begins where they are 0.

    Returns:
        ``cu_seq_lens_q`` and ``cu_seq_lens_k``, the starts of the documents and the end of the last
        one, int32 [D + 1]; ``max_length_q`` and ``max_length_k``, the length of the longest.
    """
    if position_ids is None or len(position_ids) != 1 or not joins_rows(backbone):
        return {}
    starts = (position_ids[0] == 0).nonzero().flatten()
    bounds = torch.cat([starts, starts.new_tensor([position_ids.shape[1]])]).to(torch.int32)
    longest = int(bounds.diff().max())
    return {
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
    }
