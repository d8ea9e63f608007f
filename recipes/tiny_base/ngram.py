"""The yardstick: an interpolated Witten-Bell character 5-gram (Witten and Bell 1991).

    P(c | h) = (count(h c) + T(h) P(c | h')) / (count(h) + T(h))

with T(h) the number of different characters seen after h, h' the history without its first character,
and the uniform distribution over the vocabulary (plus one unknown character) below the unigram.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class WittenBell:
    """A character n-gram model trained on texts.

    An n-gram is numbered by its place in a sorted table of keys ``prefix_number * size + character``;
    numbering level by level keeps every key within 64 bits whatever the vocabulary.
    """

    def __init__(self, texts: Sequence[str], order: int = 5) -> None:
        self.order = order
        characters = sorted(set("".join(texts)))
        self.ids = {char: i + 2 for i, char in enumerate(characters)}  # 0: start, 1: unknown
        self.size = len(characters) + 2
        self.levels: list[_Level] = []
        stream = np.concatenate([self._encode(text) for text in texts])
        prefix = np.zeros(len(stream), dtype=np.int64)  # the empty history is number 0
        num_prefixes = 1
        for n in range(1, order + 1):
            keys = prefix[: len(stream) - n + 1] * self.size + stream[n - 1 :]
            level = _Level(keys, self.size, num_prefixes)
            self.levels.append(level)
            prefix = level.number(keys)
            num_prefixes = len(level.keys)

    def _encode(self, text: str) -> np.ndarray:
        ids = [self.ids.get(char, 1) for char in text]
        return np.array([0] * (self.order - 1) + ids, dtype=np.int64)

    def bits(self, text: str) -> float:
        """Total bits of ``text``."""
        stream = self._encode(text)
        place = np.arange(self.order - 1, len(stream))
        probability = np.full(len(place), 1.0 / (self.size - 1))
        for n, level in enumerate(self.levels, start=1):
            prefix = np.zeros(len(place), dtype=np.int64)
            for m in range(1, n):
                prefix = self.levels[m - 1].number(
                    np.where(prefix < 0, -1, prefix * self.size + stream[place - n + m])
                )
            probability = level.mix(prefix, stream[place], probability)
        return float(-np.log2(probability).sum())


class _Level:
    """Counts of the n-grams of one order."""

    def __init__(self, keys: np.ndarray, size: int, num_prefixes: int) -> None:
        self.size = size
        self.keys, counts = np.unique(keys, return_counts=True)
        predicted = self.keys % size != 0  # a start symbol is a history, never predicted
        self.counts = counts * predicted
        prefixes = self.keys // size
        self.totals = np.bincount(prefixes, self.counts, num_prefixes)
        self.types = np.bincount(prefixes, predicted, num_prefixes)

    def number(self, keys: np.ndarray) -> np.ndarray:
        """The number of each n-gram, -1 where it was never seen."""
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1)

    def mix(self, prefix: np.ndarray, char: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """P(char | prefix), given the probabilities ``lower`` of the shorter history."""
        gram = self.number(np.where(prefix < 0, -1, prefix * self.size + char))
        count = np.where(gram < 0, 0, self.counts[gram])
        total, types = self.totals[prefix], self.types[prefix]
        mixed = (count + types * lower) / np.maximum(total + types, 1)
        return np.where((prefix >= 0) & (total > 0), mixed, lower)
