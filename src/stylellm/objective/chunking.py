"""How the positions of the chunked loss are cut: chunks for the products, blocks for the rest.

Legend: R rows (positions) of one chunk or block, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Of one [R, V] buffer in the head's dtype; there are two (logits and delta). A GPU takes more where
# it is free, up to the size from which a larger product is no faster.
CHUNK_BYTES = 64 * 2**20
MAX_CHUNK_BYTES = 128 * 2**20
MIN_CHUNK_BYTES = 8 * 2**20
SHARE_OF_FREE = 1 / 32
MIN_CHUNK = 16
# Elements of a block: the rows of a chunk whose elementwise part runs together. On a CPU the
# buffers of a block stay in cache over some twenty passes; a GPU wants few launches, and compiled
# code makes its few passes row by row.
BLOCK_ELEMENTS_CPU = 2**18
BLOCK_ELEMENTS_COMPILED = 2**21
BLOCK_ELEMENTS = 2**23


def chosen_chunk_size(head_weight: Tensor) -> int:
    """Positions whose logits, in the dtype of the head [V, H], fill a buffer; at least 16.

    The buffer is CHUNK_BYTES, and on a GPU what its free memory allows (`buffer_bytes`).
    """
    free = free_bytes(head_weight.device)
    size = CHUNK_BYTES if free is None else buffer_bytes(free)
    return max(MIN_CHUNK, size // (head_weight.itemsize * len(head_weight)))


def buffer_bytes(free: int) -> int:
    """A thirty-second of the free memory, rounded down to a power of two, within 8 and 128 MiB.

    Powers of two, so that the same run on the same machine is cut the same way every time.
    """
    wanted = min(max(int(free * SHARE_OF_FREE), MIN_CHUNK_BYTES), MAX_CHUNK_BYTES)
    return 1 << (wanted.bit_length() - 1)


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be allocated on a CUDA device, None for any other.

    What PyTorch's allocator has taken and does not use counts as free.
    """
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def blocks(logits: Tensor, *, compiled: bool) -> Iterator[slice]:
    """Slices of a few rows of a chunk [R, V]."""
    rows, vocabulary = logits.shape
    elements = BLOCK_ELEMENTS
    if logits.device.type == "cpu":
        elements = BLOCK_ELEMENTS_COMPILED if compiled else BLOCK_ELEMENTS_CPU
    step = max(1, elements // vocabulary)
    for start in range(0, rows, step):
        yield slice(start, start + step)
