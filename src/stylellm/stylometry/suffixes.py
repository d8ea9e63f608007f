"""Suffix array: every suffix of a text in sorted order, so that bisection finds any substring.

Prefix doubling (Manber and Myers 1993; groups refined in place as in Larsson and Sadakane 2007), in
numpy: the first sort settles most of a book, later rounds touch only what is still equal.
"""

from __future__ import annotations

import numpy as np


def suffix_array(codes: np.ndarray) -> np.ndarray:
    """Start positions of all suffixes in lexicographic order, int32 `[N]`.

    A suffix that is the beginning of another one comes first.

    Args:
        codes: integers `[N]`, N below 2**31.
    """
    key, depth = _first_keys(codes)
    order = np.argsort(key).astype(np.int32)
    starts = _group_starts(key[order])
    # The rank of a suffix is where its group of still equal suffixes begins: ranks of groups that
    # are done never change.
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = starts
    open_slots = _unsorted(starts)
    while len(open_slots):
        members = order[open_slots]
        follow = members.astype(np.int64) + depth
        second = np.where(follow < len(codes), rank[np.minimum(follow, len(codes) - 1)] + 1, 0)
        key = rank[members] << 32 | second
        within = np.argsort(key)
        members = members[within]
        order[open_slots] = members
        starts = open_slots[_group_starts(key[within])]
        rank[members] = starts
        open_slots = open_slots[_unsorted(starts)]
        depth *= 2
    return order


def _first_keys(codes: np.ndarray) -> tuple[np.ndarray, int]:
    """As many leading characters of each suffix as fit 63 bits, and how many those are."""
    alphabet, dense = np.unique(codes, return_inverse=True)
    bits = max(len(alphabet).bit_length(), 1)  # 0 stands for "past the end"
    depth = 63 // bits
    key = np.zeros(len(codes), dtype=np.int64)
    padded = np.concatenate([dense.astype(np.int64) + 1, np.zeros(depth, dtype=np.int64)])
    for k in range(depth):
        key = key << bits | padded[k : k + len(codes)]
    return key, depth


def _group_starts(sorted_keys: np.ndarray) -> np.ndarray:
    """For each slot of a sorted key array the first slot that holds the same key."""
    slots = np.arange(len(sorted_keys))
    same = np.zeros(len(sorted_keys), dtype=bool)
    same[1:] = sorted_keys[1:] == sorted_keys[:-1]
    return np.maximum.accumulate(np.where(same, 0, slots))


def _unsorted(starts: np.ndarray) -> np.ndarray:
    """Indices of slots whose group has more than one member."""
    same_as_last = np.zeros(len(starts), dtype=bool)
    same_as_last[1:] = starts[1:] == starts[:-1]
    same_as_next = np.append(same_as_last[1:], False)
    return np.flatnonzero(same_as_last | same_as_next)
