"""Plans which characters of a window are hidden.

A plan is a pure function of (text, seed, epoch, index): the masks of a window change from epoch to
epoch, and a resumed run draws exactly the masks that the uninterrupted run would have drawn. Plans
are made on characters (Unicode code points), never on tokens, so that no character is ever cut
although a byte-level tokenizer may spend several tokens on one.

The three strategies and their shares (60 / 30 / 10 by default):

- ``span``: one long gap (``single_gap=True``, for the infill format), its length uniform with mean
  ``mask_rate`` times the window; or several short spans with geometric lengths (SpanBERT, Joshi et
  al. 2020) for the in-place format.
- ``token``: single characters and whole words, drawn with a bias to function words.
- ``none``: the window is left as it is.

A text's first character is never hidden: nothing stands left of it to predict it from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stylellm.errors import StyleLLMError
from stylellm.stylometry.function_words import FUNCTION_WORDS

Strategy = Literal["span", "token", "none"]

_FUNCTION_WORDS = frozenset(FUNCTION_WORDS)
MIN_TEXT_LENGTH = 8
"""Shorter texts are never masked: there would be no context left to reconstruct from."""
MIN_SINGLE_GAP = 4


@dataclass(frozen=True)
class MaskPlan:
    """What is hidden in one text.

    Attributes:
        strategy: the strategy that was drawn.
        spans: half-open character ranges ``(start, end)``, sorted, at least one character apart.
    """

    strategy: Strategy
    spans: tuple[tuple[int, int], ...] = ()

    def hidden(self, text: str) -> list[str]:
        """The hidden pieces of ``text``, in order."""
        return [text[start:end] for start, end in self.spans]

    def visible(self, text: str) -> list[str]:
        """The pieces around the hidden ones: always one more than there are spans."""
        edges = [0, *(edge for span in self.spans for edge in span), len(text)]
        return [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]

    @property
    def num_hidden(self) -> int:
        """How many characters are hidden."""
        return sum(end - start for start, end in self.spans)


@dataclass(frozen=True)
class MaskSettings:
    """How much is hidden and how (the ``masking`` section of the configuration).

    Attributes:
        span_mask_ratio, token_mask_ratio, no_mask_ratio: shares of the three strategies; they
            sum to 1.
        mask_rate: share of a window's characters hidden by ``span`` and ``token``, on average.
        span_length_mean, span_length_max: the geometric span lengths of the several-span form,
            in characters.
        function_word_bias: how many times likelier a function word is drawn than another unit.
    """

    span_mask_ratio: float = 0.6
    token_mask_ratio: float = 0.3
    no_mask_ratio: float = 0.1
    mask_rate: float = 0.15
    span_length_mean: float = 3.0
    span_length_max: int = 10
    function_word_bias: float = 3.0

    def __post_init__(self) -> None:
        ratios = (self.span_mask_ratio, self.token_mask_ratio, self.no_mask_ratio)
        if min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-6:
            raise StyleLLMError(
                f"masking ratios {ratios} sum to {sum(ratios):g}",
                "three non-negative ratios that sum to 1",
                "Change span_mask_ratio, token_mask_ratio or no_mask_ratio.",
            )
        if not 0 < self.mask_rate < 1:
            raise StyleLLMError(f"mask_rate is {self.mask_rate}", "a number between 0 and 1")
        if not 1 <= self.span_length_mean <= self.span_length_max:
            raise StyleLLMError(
                f"span_length_mean {self.span_length_mean}, span_length_max {self.span_length_max}",
                "1 <= span_length_mean <= span_length_max",
            )
        if self.function_word_bias <= 0:
            raise StyleLLMError(
                f"function_word_bias is {self.function_word_bias}", "a number above 0"
            )


def window_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one window in one epoch; the same arguments give the same draws."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, index])))


def draw_strategy(rng: np.random.Generator, settings: MaskSettings) -> Strategy:
    """Draws span, token or none by the ratios of ``settings``."""
    draw = rng.random()
    if draw < settings.span_mask_ratio:
        return "span"
    return "token" if draw < settings.span_mask_ratio + settings.token_mask_ratio else "none"


def plan_mask(
    text: str,
    strategy: Strategy,
    rng: np.random.Generator,
    settings: MaskSettings,
    *,
    single_gap: bool = True,
) -> MaskPlan:
    """Draws the hidden spans of ``text`` for one strategy.

    Args:
        text: the window's text, any length.
        strategy: span, token or none.
        rng: the window's generator; it is advanced.
        settings: how much and how.
        single_gap: for ``span``, one long gap instead of several short ones.

    Returns:
        The plan. Texts below ``MIN_TEXT_LENGTH`` characters get the plan of ``none``.
    """
    if strategy == "none" or len(text) < MIN_TEXT_LENGTH:
        return MaskPlan("none")
    if strategy == "token":
        return MaskPlan("token", _token_spans(text, rng, settings))
    if single_gap:
        return MaskPlan("span", _single_gap(len(text), rng, settings.mask_rate))
    return MaskPlan("span", _several_spans(len(text), rng, settings))


def _single_gap(length: int, rng: np.random.Generator, mask_rate: float) -> tuple[tuple[int, int]]:
    """One gap, uniform length with mean ``mask_rate * length``, with text left on both sides."""
    longest = max(MIN_SINGLE_GAP, min(round(2 * mask_rate * length) - MIN_SINGLE_GAP, length - 2))
    size = int(rng.integers(MIN_SINGLE_GAP, longest + 1))
    start = int(rng.integers(1, length - size))
    return ((start, start + size),)


def _several_spans(
    length: int, rng: np.random.Generator, settings: MaskSettings
) -> tuple[tuple[int, int], ...]:
    """Spans with truncated geometric lengths, placed between the visible characters at random.

    Drawing the borders (rather than starts, rejecting overlaps) makes every arrangement equally
    likely and cannot fail.
    """
    budget = max(1, round(settings.mask_rate * length))
    sizes: list[int] = []
    while budget > 0:
        size = min(int(rng.geometric(1 / settings.span_length_mean)), settings.span_length_max)
        sizes.append(min(size, budget))
        budget -= sizes[-1]
    rest = length - sum(sizes)
    while len(sizes) > rest:  # every span needs a visible character before it
        rest += sizes.pop()
    # Distinct borders behind visible characters: no two spans touch.
    borders = np.sort(rng.choice(rest, size=len(sizes), replace=False)) + 1
    spans, hidden = [], 0
    for border, size in zip(borders.tolist(), sizes, strict=True):
        start = border + hidden
        spans.append((start, start + size))
        hidden += size
    return tuple(spans)


def _token_spans(
    text: str, rng: np.random.Generator, settings: MaskSettings
) -> tuple[tuple[int, int], ...]:
    """Single characters and whole words until ``mask_rate`` of the text is hidden."""
    units = [unit for unit in _units(text, rng) if unit[0] > 0]
    if not units:
        return ()
    weights = np.array(
        [settings.function_word_bias if text[a:b] in _FUNCTION_WORDS else 1.0 for a, b in units]
    )
    # Efraimidis and Spirakis (2006): sorting by log(u) / w draws without replacement by weight.
    order = np.argsort(-np.log(rng.random(len(units))) / weights)
    budget = max(1, round(settings.mask_rate * len(text)))
    taken = np.zeros(len(text) + 2, dtype=bool)  # shifted by one: neighbours need no bounds check
    spans: list[tuple[int, int]] = []
    for i in order.tolist():
        start, end = units[i]
        if end - start > budget or taken[start : end + 2].any():
            continue
        taken[start + 1 : end + 1] = True
        spans.append((start, end))
        budget -= end - start
        if budget == 0:
            break
    return tuple(sorted(spans))


def _units(text: str, rng: np.random.Generator) -> list[tuple[int, int]]:
    """The words of ``text`` as character ranges; half of the longer ones give one character only.

    Punctuation and white space are no units: guessing a comma teaches little of a manner that the
    words around it do not, and the punctuation depends on the edition.
    """
    units: list[tuple[int, int]] = []
    start = 0
    for word in _segment(text):
        end = start + len(word)
        if any(char.isalnum() for char in word):
            if end - start > 1 and rng.random() < 0.5:
                first = start + int(rng.integers(end - start))
                units.append((first, first + 1))
            else:
                units.append((start, end))
        start = end
    return units


def _segment(text: str) -> Sequence[str]:
    import rjieba

    words: Sequence[str] = rjieba.cut(text, hmm=False)
    # The segmenter's words must tile the text, or the ranges above would drift.
    return words if sum(map(len, words)) == len(text) else list(text)
