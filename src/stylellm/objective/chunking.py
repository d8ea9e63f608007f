"""How the positions of the chunked loss are cut: chunks for the products, blocks for the rest.

Legend: R rows (positions) of one chunk or block, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stylellm.model.products import product

# Of one [R, V] buffer; there are two (logits and delta). On a CPU a product of 220 rows of a large
# vocabulary runs a fifth faster than one of 110, whatever the number format; more gain little. A GPU
# takes what is free, up to the size from which a larger product is no faster.
CHUNK_ELEMENTS_CPU = 2**25
MAX_CHUNK_BYTES = 128 * 2**20
MIN_CHUNK_BYTES = 8 * 2**20
SHARE_OF_FREE = 1 / 32
MIN_CHUNK = 16
# Elements of a block: the rows of a chunk whose elementwise part runs together. On a CPU the
# buffers of a block stay in cache over some twenty passes, and over the few of compiled code; a GPU
# wants few launches, and its compiled code takes no memory but the chunk's: one block for all.
BLOCK_ELEMENTS_CPU = 2**18
BLOCK_ELEMENTS_COMPILED = 2**21
BLOCK_ELEMENTS = 2**23


def chosen_chunk_size(head_weight: Tensor) -> int:
    """Positions whose logits, for a head [V, H], fill a buffer; at least 16.

    The buffer holds CHUNK_ELEMENTS_CPU, and on a GPU what its free memory allows (`buffer_bytes`).
    """
    free = free_bytes(head_weight.device)
    elements = CHUNK_ELEMENTS_CPU if free is None else buffer_bytes(free) // head_weight.itemsize
    return max(MIN_CHUNK, elements // len(head_weight))


def chunks(rows: Tensor, size: int) -> Sequence[Tensor]:
    """Indices [R] in as few parts of at most ``size`` as there can be, all of about one length:
    a short last part would be a slow product."""
    return rows.tensor_split(-(-len(rows) // size)) if len(rows) else ()


class Buffers:
    """Memory for the products of the chunks, taken once and used by each in turn.

    Memory fresh from the system costs a CPU a tenth of the product that fills it.

    Args:
        rows: of the largest chunk.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._held: dict[str, Tensor] = {}

    def product(self, name: str, hidden: Tensor, head_weight: Tensor) -> Tensor:
        """hidden @ head_weight.T, [R, V], in the memory of this name."""
        if name not in self._held:
            self._held[name] = head_weight.new_empty(self._rows, len(head_weight))
        return product(hidden, head_weight, out=self._held[name][: len(hidden)])


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
    if logits.device.type == "cpu":
        elements = BLOCK_ELEMENTS_COMPILED if compiled else BLOCK_ELEMENTS_CPU
    else:
        elements = logits.numel() if compiled else BLOCK_ELEMENTS
    step = max(1, elements // vocabulary)
    for start in range(0, rows, step):
        yield slice(start, start + step)
