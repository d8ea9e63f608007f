"""Training rows of one fixed length, made shard by shard: a pure function of (seed, shard number).

The windows are shuffled anew each pass and cut into shards. A shard's examples (three in ten in infill
form, so that the base knows its control tokens) are put together into full rows, first fit, so that
almost no position is padding and every row has the same shape, which ``torch.compile`` wants.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch

from stylellm.masking.collate import encoder
from stylellm.masking.formats import IGNORE, Sentinels, build_example
from stylellm.masking.plan import MaskSettings

SHARD = 4000
"""Windows of a shard."""
OPEN_ROWS = 32
"""Rows that are being filled at a time."""
MASKING = MaskSettings(span_mask_ratio=0.2, token_mask_ratio=0.1, no_mask_ratio=0.7)

Windows = list[tuple[str, bool]]


class Shards:
    """The rows of a training at one sequence length.

    Args:
        windows: texts and whether each ends its document.
        tokenizer: the base's tokenizer.
        length: tokens of a row.
        seed: of the order of the windows.
    """

    def __init__(self, windows: Windows, tokenizer: Any, length: int, seed: int) -> None:
        self.windows, self.length, self.seed = windows, length, seed
        self.encode = encoder(tokenizer)
        self.sentinels = Sentinels.from_tokenizer(tokenizer)
        self.pad_id = tokenizer.pad_token_id

    def rows(self, number: int) -> np.ndarray:
        """Shard ``number``: [rows, 2, length], token ids and their labels (IGNORE: unscored)."""
        per_pass = -(-len(self.windows) // SHARD)
        turn, part = divmod(number, per_pass)
        order = np.random.default_rng([self.seed, turn]).permutation(len(self.windows))
        examples = (self._example(int(i), turn) for i in order[part * SHARD : (part + 1) * SHARD])
        return np.stack(list(self._filled(examples)))

    def _example(self, index: int, turn: int) -> tuple[list[int], list[int]]:
        text, ends = self.windows[index]
        example = build_example(
            text, self.encode, self.sentinels, MASKING,
            seed=7 + self.seed, epoch=turn, index=index, max_length=self.length,
            order="prefix_first" if (turn + index) % 2 else "native", ends_document=ends,
        )  # fmt: skip
        return list(example.input_ids), list(example.labels)

    def _filled(self, examples: Iterator[tuple[list[int], list[int]]]) -> Iterator[np.ndarray]:
        """Full rows; an example goes into the first open row that has room for it."""
        rows: list[tuple[list[int], list[int]]] = []
        for ids, labels in examples:
            for row in rows:
                if len(row[0]) + len(ids) <= self.length:
                    row[0].extend(ids)
                    row[1].extend(labels)
                    break
            else:
                rows.append((ids, labels))
            if len(rows) > OPEN_ROWS:
                yield self._padded(rows.pop(max(range(len(rows)), key=lambda k: len(rows[k][0]))))
        yield from map(self._padded, rows)

    def _padded(self, row: tuple[list[int], list[int]]) -> np.ndarray:
        result = np.full((2, self.length), self.pad_id, dtype=np.int32)
        result[1] = IGNORE
        result[0, : len(row[0])], result[1, : len(row[1])] = row
        return result


class Cursor:
    """Batches one after the other from a place, the next shard made in another process meanwhile.

    Args:
        shards: where rows come from.
        batch: rows of a batch; what is left of a shard is dropped.
        shard, row: the place to start from, as ``place`` gave it.
    """

    def __init__(self, shards: Shards, batch: int, shard: int = 0, row: int = 0) -> None:
        self.shards, self.batch, self.shard, self.row = shards, batch, shard, row
        self.pool = ProcessPoolExecutor(1, initializer=os.nice, initargs=(10,))
        self.current = self.pool.submit(shards.rows, shard).result()
        self.next = self.pool.submit(shards.rows, shard + 1)

    @property
    def place(self) -> tuple[int, int]:
        """Shard and row of the next batch."""
        return self.shard, self.row

    def __call__(self) -> torch.Tensor:
        """The next batch: [batch, 2, length]."""
        if self.row + self.batch > len(self.current):
            self.shard, self.row, self.current = self.shard + 1, 0, self.next.result()
            self.next = self.pool.submit(self.shards.rows, self.shard + 1)
        rows = self.current[self.row : self.row + self.batch]
        self.row += self.batch
        return torch.from_numpy(rows.astype(np.int64))
