"""Copying watched while writing: runs taken from the books are named, or never completed.

Text is compared simplified, with one form of punctuation and without white space, as in the evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stylellm.corpus import script
from stylellm.stylometry.copying import CopyIndex

TRIED = 4
"""Tokens that are tried at least, the likeliest first, where the next one could complete a run."""
NO_CHARACTER = "\x00"
"""Stands for broken bytes; in no book."""
TOKEN_CHARS = 16
"""No token of the tokenizers in use holds more characters of Chinese."""


@dataclass(frozen=True)
class Run:
    """A run taken from a book: characters, which ones, and where they stand there."""

    length: int
    text: str
    source: str
    offset: int


class CopyWatch:
    """The books of a run, indexed.

    Args:
        works: name -> text.
        cache: folder in which the index is kept for the next time; None keeps it in memory only.
    """

    def __init__(self, works: Mapping[str, str], *, cache: Path | None = None) -> None:
        texts = {name: comparable(text).replace(NO_CHARACTER, "") for name, text in works.items()}
        self.index = CopyIndex(texts, ignore_whitespace=True, cache=cache)

    def runs(self, text: str, shortest: int) -> list[Run]:
        """Runs of at least ``shortest`` characters in a text, in order."""
        return [
            Run(copy.length, copy.text, copy.source or "", copy.offset)
            for copy in self.index.copies(comparable(text), shortest)
        ]

    def longest_at_end(self, text: str) -> int:
        """Characters of the longest run with which a text ends."""
        lengths = self.index.match(text).lengths
        ends = [int(n) for i, n in enumerate(lengths) if i + n == len(lengths)]
        return max(ends, default=0)


class CopyGuard:
    """Keeps a batch from completing a run of ``limit`` characters (a logits processor).

    Args:
        watch: the books.
        limit: the shortest forbidden run, in characters; the prompt's end counts as part of it.
        decode: token ids -> text.
        prompts: the texts that are continued, where they are to count.
        start: tokens of the prompts, padding counted.
    """

    def __init__(
        self,
        watch: CopyWatch,
        limit: int,
        decode: Callable[[list[int]], str],
        prompts: Sequence[str],
        start: int,
    ) -> None:
        self.watch, self.limit, self.decode, self.start = watch, limit, decode, start
        # What stands in the prompt already is the user's own: only its end, if shorter than the
        # limit, can become part of a new run.
        self.before = [
            comparable(prompt)[-(limit - 1) :] if limit > 1 else "" for prompt in prompts
        ]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Before the warpers: the likeliest tokens are tried until one is found that may follow, so
        that whatever the warpers leave holds one."""
        scores = scores.clone()
        for row, before in enumerate(self.before):
            ids = input_ids[row, self.start :].tolist()
            if self._is_near(before, ids):
                self._forbid(scores[row], before, ids, least=TRIED)
        return scores

    def after_draw(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Behind the draw: a drawn token that completes a run gives way to the next one."""
        for row, before in enumerate(self.before):
            ids = input_ids[row, self.start :].tolist()
            if self._is_near(before, ids):
                self._forbid(scores[row], before, ids, least=1)
        return scores

    def _is_near(self, before: str, ids: list[int]) -> bool:
        """Whether one more token could complete a run."""
        return self.watch.longest_at_end(self._tail(before, ids)) + TOKEN_CHARS >= self.limit

    def _tail(self, before: str, ids: list[int]) -> str:
        """The last characters that a run could take in, as they are compared."""
        text = before + comparable(self.decode(ids).rstrip("\ufffd"))
        return "".join(text.split())[-2 * self.limit :]

    def _forbid(self, scores: torch.Tensor, before: str, ids: list[int], least: int) -> None:
        """Tries the tokens from the best on, at least so many, up to the first that may follow."""
        found = False
        for number, token in enumerate(scores.argsort(descending=True).tolist()):
            if (found and number >= least) or scores[token] == float("-inf"):
                return
            if self._completes(before, [*ids, token]):
                scores[token] = float("-inf")
            else:
                found = True

    def _completes(self, before: str, ids: list[int]) -> bool:
        lengths = self.watch.index.match(self._tail(before, ids)).lengths
        return bool(len(lengths)) and int(lengths.max()) >= self.limit


def comparable(text: str) -> str:
    """As texts are compared: simplified, one form of punctuation; broken bytes equal nothing."""
    return script.comparable(text).replace("\ufffd", NO_CHARACTER)


def guard_maker(
    watch: CopyWatch, limit: int, tokenizer: Any
) -> Callable[[Sequence[str]], list[CopyGuard]]:
    """The ``guards`` of `generate`."""

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=True)

    def make(prompts: Sequence[str]) -> list[CopyGuard]:
        start = max(len(tokenizer(p, add_special_tokens=False)["input_ids"]) or 1 for p in prompts)
        return [CopyGuard(watch, limit, decode, prompts, start)]

    return make
