"""Turns a text and its mask plan into a training sequence: input ids, labels, KL positions.

Shapes: T tokens of one sequence. ``labels[t]`` is the token that position ``t`` predicts (the next
one), or -100 where nothing is scored: labels are **already shifted**.

Formats (P prefix, S suffix, M middle; see Bavarian et al. 2022, "Efficient Training of Language
Models to Fill in the Middle", and Donahue et al. 2020, "Enabling Language Models to Fill in the
Blanks"):

- ``infill``, one gap, ``prefix_first``:  P <suf> S <mid> M <eos>      the prefix stays free of
  sentinels, so that the reference, which never saw any, can be compared there.
- ``infill``, one gap, ``native``:  <pre> P <suf> S <mid> M <eos>      Qwen2.5-Coder's own order.
- ``infill``, several gaps:  text with each gap a <pad> blank, <mid>, then each answer closed by
  <pad>.
- ``in_place``: hidden tokens are replaced by the mask token and predicted where they stand; on a
  causal model such a prediction sees nothing to the right.
- ``none`` strategy in any format: plain left-to-right text.

The pieces are tokenised separately, so that no token ever spans the border of a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from stylellm.errors import ModelError, StyleLLMError
from stylellm.masking.plan import MaskPlan, MaskSettings, draw_strategy, plan_mask, window_rng

IGNORE = -100

Format = Literal["infill", "in_place"]
Order = Literal["prefix_first", "native"]
Encode = Callable[[str], list[int]]


@dataclass(frozen=True)
class Sentinels:
    """Token ids of the control tokens of one tokenizer."""

    prefix: int
    suffix: int
    middle: int
    pad: int
    eos: int
    mask: int

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, *, format: Format | None = "infill") -> Sentinels:
        """Looks the control tokens up; the mask token is the tokenizer's own, else ``<|fim_pad|>``.

        Args:
            tokenizer: a transformers tokenizer.
            format: the format whose tokens must exist; None where nothing will be masked.

        Raises:
            ModelError: the tokenizer lacks tokens that ``format`` needs.
        """
        vocabulary = tokenizer.get_vocab()
        names = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>")
        missing = [name for name in names if name not in vocabulary]
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no end-of-text token", "a tokenizer with eos_token")
        mask = tokenizer.mask_token_id
        if mask is None:
            mask = vocabulary.get("<|fim_pad|>")
        if format == "infill" and missing:
            raise ModelError(
                f"the tokenizer lacks the infill tokens {', '.join(missing)}",
                "a model that has them (Qwen2.5 does)",
                "Set masking.format: in_place, or masking.no_mask_ratio: 1, or use a Qwen2.5 "
                "model.",
            )
        if format == "in_place" and mask is None:
            raise ModelError(
                "the tokenizer has neither a mask token nor <|fim_pad|>",
                "one of them for masking.format: in_place",
                "Use a model that has it (Qwen2.5 does).",
            )
        pre, suf, mid, pad = (vocabulary.get(name, -1) for name in names)
        return cls(pre, suf, mid, pad, tokenizer.eos_token_id, -1 if mask is None else mask)


@dataclass
class _Builder:
    """One training sequence under construction; every list has length T."""

    input_ids: list[int] = field(default_factory=list)
    target_weight: list[float] = field(default_factory=list)
    """Weight of the prediction *of* the token at this place (0: not scored)."""
    targets: list[int] = field(default_factory=list)
    """The token to predict at this place: the input itself, or the original of a mask token."""
    clean_length: int = 0
    """How many leading inputs are plain text (no sentinel, no mask token)."""

    def add(
        self, ids: Sequence[int], weight: float, originals: Sequence[int] | None = None
    ) -> None:
        self.input_ids.extend(ids)
        self.targets.extend(ids if originals is None else originals)
        self.target_weight.extend([weight] * len(ids))


@dataclass(frozen=True)
class Example:
    """A formatted training sequence; every list has length T.

    Attributes:
        input_ids: the tokens.
        labels: the token that each position predicts, -100 where unscored (already shifted).
        label_weight: weight of the position's cross-entropy (``context_loss_weight`` on context).
        kl_mask: True where the left context, the position itself included, is clean.
        strategy: what was drawn: span, token or none.
        hidden: the hidden texts, in order.
        text: the text that was formatted (shorter than the window where it had to be cropped).
    """

    input_ids: list[int]
    labels: list[int]
    label_weight: list[float]
    kl_mask: list[bool]
    strategy: str
    hidden: list[str]
    text: str


def format_example(
    text: str,
    plan: MaskPlan,
    encode: Encode,
    sentinels: Sentinels,
    *,
    format: Format = "infill",
    order: Order = "prefix_first",
    ends_document: bool = False,
    context_loss_weight: float = 1.0,
    kl_positions: Literal["clean", "all"] = "clean",
) -> Example:
    """Formats ``text`` under ``plan``; see the module's docstring for the layouts.

    Args:
        text: the window's text.
        plan: which characters are hidden.
        encode: text to token ids, without special tokens.
        sentinels: the control tokens.
        format, order: the layout.
        ends_document: an end-of-text token follows the text.
        context_loss_weight: weight of the left-to-right loss on visible text in ``infill``.
        kl_positions: ``clean`` marks positions without control tokens in their left context,
            ``all`` all.
    """
    end = [sentinels.eos] if ends_document else []
    seq = _Builder()
    if not plan.spans:
        seq.add(encode(text) + end, 1.0)
        seq.clean_length = len(seq.input_ids)
    elif format == "in_place":
        _in_place(seq, text, plan, encode, sentinels, end)
    elif plan.strategy == "span" and len(plan.spans) == 1:
        _one_gap(seq, text, plan, encode, sentinels, end, order, context_loss_weight)
    else:
        _several_gaps(seq, text, plan, encode, sentinels, end, context_loss_weight)
    return _finish(seq, plan, text, kl_positions)


def _one_gap(
    seq: _Builder,
    text: str,
    plan: MaskPlan,
    encode: Encode,
    s: Sentinels,
    end: list[int],
    order: Order,
    context_weight: float,
) -> None:
    prefix, suffix = plan.visible(text)
    if order == "native":
        seq.add([s.prefix], 0.0)
    seq.add(encode(prefix), context_weight)
    seq.clean_length = 0 if order == "native" else len(seq.input_ids)
    seq.add([s.suffix], 0.0)
    seq.add(encode(suffix) + end, context_weight)
    seq.add([s.middle], 0.0)
    seq.add([*encode(plan.hidden(text)[0]), s.eos], 1.0)


def _several_gaps(
    seq: _Builder,
    text: str,
    plan: MaskPlan,
    encode: Encode,
    s: Sentinels,
    end: list[int],
    context_weight: float,
) -> None:
    first, *others = plan.visible(text)
    seq.add(encode(first), context_weight)
    seq.clean_length = len(seq.input_ids)
    for piece in others:
        # Where a blank comes is the plan's choice, not the author's: it is not scored.
        seq.add([s.pad], 0.0)
        seq.add(encode(piece), context_weight)
    seq.add(end, context_weight)
    seq.add([s.middle], 0.0)
    for hidden in plan.hidden(text):
        seq.add([*encode(hidden), s.pad], 1.0)


def _in_place(
    seq: _Builder, text: str, plan: MaskPlan, encode: Encode, s: Sentinels, end: list[int]
) -> None:
    visible, hidden = plan.visible(text), plan.hidden(text)
    for i, piece in enumerate(visible):
        seq.add(encode(piece), 0.0)
        if i == 0:
            seq.clean_length = len(seq.input_ids)
        if i < len(hidden):
            ids = encode(hidden[i])
            seq.add([s.mask] * len(ids), 1.0, originals=ids)
    seq.add(end, 0.0)


def _finish(seq: _Builder, plan: MaskPlan, text: str, kl_positions: str) -> Example:
    """Shifts the targets: position t predicts the token at t + 1."""
    weights = [*seq.target_weight[1:], 0.0]
    targets = [*seq.targets[1:], IGNORE]
    labels = [t if w > 0 else IGNORE for t, w in zip(targets, weights, strict=True)]
    length = len(seq.input_ids)
    clean = length if kl_positions == "all" else seq.clean_length
    # The last position predicts nothing in training; comparing models there costs the same and
    # anchors one more prediction, but it would make |K| differ from the text's length for no use.
    kl_mask = [t < clean and t + 1 < length for t in range(length)]
    return Example(seq.input_ids, labels, weights, kl_mask, plan.strategy, plan.hidden(text), text)


def build_example(
    text: str,
    encode: Encode,
    sentinels: Sentinels,
    settings: MaskSettings,
    *,
    seed: int,
    epoch: int,
    index: int,
    max_length: int,
    format: Format = "infill",
    order: Order = "prefix_first",
    ends_document: bool = False,
    context_loss_weight: float = 1.0,
    kl_positions: Literal["clean", "all"] = "clean",
) -> Example:
    """The training sequence of one window in one epoch: a pure function of its arguments.

    The several-gap form needs two extra tokens a gap. Where the sequence would pass ``max_length``
    the text is cropped for this epoch, at its end or its start by a draw, so that over the epochs
    every part is seen.

    Returns:
        An Example of at most ``max_length`` tokens.

    Raises:
        StyleLLMError: the text cannot be made to fit (``max_length`` too small).
    """
    rng = window_rng(seed, epoch, index)
    strategy = draw_strategy(rng, settings)
    crop_start = bool(rng.random() < 0.5)
    plan_seed = int(rng.integers(2**63))
    for _ in range(64):
        plan = plan_mask(
            text,
            strategy,
            np.random.Generator(np.random.PCG64(plan_seed)),
            settings,
            single_gap=format == "infill",
        )
        example = format_example(
            text,
            plan,
            encode,
            sentinels,
            format=format,
            order=order,
            ends_document=ends_document,
            context_loss_weight=context_loss_weight,
            kl_positions=kl_positions,
        )
        excess = len(example.input_ids) - max_length
        if excess <= 0:
            return example
        drop = max(1, -(-excess * len(text) // len(example.input_ids)))
        if len(text) - drop < 1:
            break
        if crop_start:
            text = text[drop:]
        else:
            text, ends_document = text[:-drop], False
    raise StyleLLMError(
        f"a window cannot be formatted within max_length {max_length}",
        "a larger max_length",
        "Set data.max_length to 64 or more.",
    )
