"""Filling gaps: the text on both sides is read, then what belongs between is written.

The layout is the one the model was trained on (`stylellm.masking.formats`): prefix and suffix around the
suffix sentinel, or blanks for several gaps with the answers behind the middle sentinel. Alternatives are
ranked by how well they read: the mean NLL of the answers in that layout, plus the mean NLL of the text
behind each gap read left to right with the answer in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from stylellm.errors import DataError
from stylellm.generation.sampler import Sampling, generate_ids
from stylellm.masking.collate import encoder
from stylellm.masking.formats import Order, Sentinels

GAP = re.compile(r"(?:_{4,}|\[MASK\])(?:\{(\d+)\})?")
SHORTEST, LONGEST = 0.7, 1.3
"""Share of the asked length within which an answer is held."""
SUFFIX_TOKENS = 48
"""Tokens behind a gap that are read to judge an answer."""
SLACK = 4
"""Characters that an answer of any asked length may be longer."""


@dataclass(frozen=True)
class Filling:
    """One way to fill the gaps.

    Attributes:
        answers: what stands in each gap.
        text: the whole text.
        nll: mean NLL of the answers' tokens given both sides, nats per token.
        suffix_nll: mean NLL of what follows the gaps, read left to right; None where nothing follows.
    """

    answers: tuple[str, ...]
    text: str
    nll: float
    suffix_nll: float | None

    @property
    def score(self) -> float:
        """Lower reads better."""
        return self.nll + (self.suffix_nll or 0.0)


def split_gaps(text: str) -> tuple[list[str], list[int | None]]:
    """The pieces around the gaps ``____``, ``[MASK]``, ``____{12}``, and the asked lengths.

    Raises:
        DataError: no gap.
    """
    pieces, wanted, place = [], [], 0
    for gap in GAP.finditer(text):
        pieces.append(text[place : gap.start()])
        wanted.append(int(gap.group(1)) or None if gap.group(1) else None)
        place = gap.end()
    if not wanted:
        raise DataError("the text has no gap", "____ or [MASK], with a length: ____{12}")
    return [*pieces, text[place:]], wanted


def fill(
    policy: Any,
    tokenizer: Any,
    text: str,
    sampling: Sampling,
    *,
    seed: int,
    alternatives: int = 4,
    order: Order = "prefix_first",
    chars: int | None = None,
) -> list[Filling]:
    """Fills the gaps of a text; the best reading first, no two alike.

    Args:
        policy: a model trained on infill sequences.
        tokenizer: its tokenizer, with the infill sentinels.
        text: with one gap or more, see `split_gaps`.
        sampling: how to draw; without its repetition penalty, which would keep answers from ending.
        seed: the first alternative's; the others use the next ones.
        alternatives: how many are drawn.
        order: the layout of a single gap that the model was trained on.
        chars: the asked length of gaps that name none.

    Raises:
        DataError: no gap.
        ModelError: the tokenizer has no infill sentinels.
        StyleLLMError: the text leaves no room.
    """
    sentinels = Sentinels.from_tokenizer(tokenizer, format="infill")
    pieces, wanted = split_gaps(text)
    encode = encoder(tokenizer)
    start = layout(pieces, encode, sentinels, order)
    closing = sentinels.eos if len(wanted) == 1 else sentinels.pad
    plain = replace(sampling, repetition_penalty=1.0, no_repeat_ngram_size=0)
    seeds = [seed + k for k in range(alternatives)]
    rows = [list(start) for _ in seeds]
    answers: list[list[str]] = [[] for _ in seeds]
    for number, asked in enumerate(wanted):
        drawn = _answers(policy, tokenizer, rows, plain, asked or chars, closing,
                         [s + 7919 * number for s in seeds])  # fmt: skip
        for row, told, answer in zip(rows, answers, drawn, strict=True):
            told.append(answer)
            row += [*encode(answer), closing]
    found = {tuple(told): row for told, row in zip(answers, rows, strict=True)}
    fillings = [
        _filling(policy, encode, pieces, told, row, len(start)) for told, row in found.items()
    ]
    return sorted(fillings, key=lambda filling: filling.score)


def layout(
    pieces: Sequence[str], encode: Callable[[str], list[int]], s: Sentinels, order: Order
) -> list[int]:
    """The sequence up to and with the middle sentinel, as `masking.formats` writes it."""
    first, *others = (encode(piece) for piece in pieces)
    if len(others) == 1:
        head = [s.prefix, *first] if order == "native" else first
        return [*head, s.suffix, *others[0], s.middle]
    ids = list(first)
    for piece in others:
        ids += [s.pad, *piece]
    return [*ids, s.middle]


class HoldOpen:
    """Keeps answers from ending before they have so many characters (a logits processor)."""

    def __init__(
        self, decode: Callable[[list[int]], str], start: int, shortest: int, ends: Sequence[int]
    ) -> None:
        self.decode, self.start, self.shortest, self.ends = decode, start, shortest, list(ends)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        for row, ids in enumerate(input_ids[:, self.start :].tolist()):
            if len(self.decode(ids).rstrip("\ufffd")) < self.shortest:
                scores[row, self.ends] = float("-inf")
        return scores


def _answers(
    policy: Any,
    tokenizer: Any,
    rows: list[list[int]],
    sampling: Sampling,
    asked: int | None,
    closing: int,
    seeds: list[int],
) -> list[str]:
    guards = []
    if asked:
        ends = [tokenizer.eos_token_id, closing]
        shortest = max(1, round(SHORTEST * asked))
        guards = [HoldOpen(tokenizer.decode, max(map(len, rows)), shortest, ends)]
        longest = max(round(LONGEST * asked), asked + SLACK)
        sampling = replace(sampling, max_chars=longest)
    return generate_ids(
        policy, tokenizer, rows, sampling, seeds=seeds, guards=guards, extra_ends=[closing]
    )


def _filling(
    policy: Any,
    encode: Callable[[str], list[int]],
    pieces: Sequence[str],
    answers: tuple[str, ...],
    row: list[int],
    start: int,
) -> Filling:
    whole = pieces[0]
    behind = []
    for answer, piece in zip(answers, pieces[1:], strict=True):
        whole += answer
        follows = encode(piece)[:SUFFIX_TOKENS]
        if follows and encode(whole):
            behind.append((encode(whole), follows))
        whole += piece
    values = [(span_nll(policy, head, tail), len(tail)) for head, tail in behind]
    count = sum(n for _, n in values)
    return Filling(
        answers=answers,
        text=whole,
        nll=span_nll(policy, row[:start], row[start:]),
        suffix_nll=sum(value * n for value, n in values) / count if count else None,
    )


@torch.inference_mode()
def span_nll(policy: Any, before: list[int], span: list[int]) -> float:
    """Mean NLL of the tokens of ``span`` behind ``before``, nats per token."""
    limit = getattr(policy.config, "max_position_embeddings", None)
    room = (limit or len(before) + len(span)) - len(span)
    before = before[-max(1, room) :]
    device = policy.get_input_embeddings().weight.device
    ids = torch.tensor([before + span], device=device)
    logits = policy(input_ids=ids, logits_to_keep=len(span) + 1).logits[0, :-1].float()
    return float(torch.nn.functional.cross_entropy(logits, ids[0, -len(span) :]))
