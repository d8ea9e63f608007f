"""Suffix array: every suffix of a text in sorted order, so that bisection finds any substring.

Sorted by libdivsufsort (Mori; through pydivsufsort), which sorts bytes. Characters are written as
bytes in a way that keeps their order: with a small alphabet one byte each, else one byte for the
first ones and two for the rest, with first bytes that tell the two apart. So 100 MB of books (about
33 million characters, the frequent ones first) are some 45 million bytes.
"""

from __future__ import annotations

import numpy as np

BLOCK = 1 << 20  # characters converted at once: bounds the memory beside the arrays that stay
_WORD = 64  # positions between two stored counts of characters


def suffix_array(ranks: np.ndarray, alphabet: int | None = None) -> np.ndarray:
    """Start positions of all suffixes in lexicographic order, int32 `[N]`.

    A suffix that is the beginning of another one comes first.

    Args:
        ranks: integers from 0, `[N]`; fewest bytes are needed when frequent ones are small.
        alphabet: all ranks lie below it; default the largest one plus 1.

    Memory: 4 bytes for each byte that is sorted, and 3 for the bytes themselves and their places.
    """
    from pydivsufsort import divsufsort

    if not len(ranks):
        return np.zeros(0, dtype=np.int32)
    data, begins = _as_bytes(ranks, alphabet or int(ranks.max()) + 1)
    order = divsufsort(data)
    del data
    return _characters(order, begins)


def _as_bytes(ranks: np.ndarray, alphabet: int) -> tuple[np.ndarray, np.ndarray]:
    """Bytes that sort as the ranks do, and which of them begin a character (both uint8 `[bytes]`)."""
    if alphabet <= 256:
        return ranks.astype(np.uint8), np.ones(len(ranks), dtype=np.uint8)
    if alphabet > 1 << 16:
        wide = ranks.astype(">u4").view(np.uint8)
        return wide, np.tile(np.array([1, 0, 0, 0], dtype=np.uint8), len(ranks))
    singles = ((1 << 16) - alphabet) // 255  # ranks of one byte: the other first bytes suffice then
    total = len(ranks)
    for at in range(0, len(ranks), BLOCK):
        total += int(np.count_nonzero(ranks[at : at + BLOCK] >= singles))
    data, begins = np.empty(total, dtype=np.uint8), np.ones(total, dtype=np.uint8)
    done = 0
    for at in range(0, len(ranks), BLOCK):
        block = ranks[at : at + BLOCK].astype(np.int64)
        two = block >= singles
        ends = done + np.cumsum(1 + two)
        code = np.where(two, block + singles * 255, block)
        data[ends - 1] = code & 0xFF
        data[ends[two] - 2] = code[two] >> 8
        begins[ends[two] - 1] = 0
        done = int(ends[-1])
    return data, begins


def _characters(order: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The suffixes that begin at a character, as numbers of characters; made in place."""
    if begins.all():
        return order
    # Characters before a position: those before its stretch of 64, and those within it.
    padded = np.zeros(-(-len(begins) // _WORD) * _WORD, dtype=np.uint8)
    padded[: len(begins)] = begins
    table = padded.reshape(-1, _WORD)
    before = np.concatenate([[0], np.cumsum(table.sum(axis=1, dtype=np.int64))]).astype(np.int32)
    within = (np.cumsum(table, axis=1, dtype=np.uint8) - table).reshape(-1)
    done = 0
    for at in range(0, len(order), BLOCK):
        block = order[at : at + BLOCK]
        block = block[begins[block] > 0]
        order[done : done + len(block)] = before[block // _WORD] + within[block]
        done += len(block)
    return order[:done]
