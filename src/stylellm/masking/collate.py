"""A dataset that formats windows afresh each epoch, and the collator that pads or joins them.

A packed window holds several documents. Each becomes a sequence of its own (its own masks, its own
end); they are joined into one row, and ``position_ids`` that start again at each of them keep them
from seeing each other (see ``stylellm.model.passes``).

Shapes: B rows of a batch, T tokens of the longest one, D documents of a batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, Literal, NotRequired, TypedDict

import torch
from torch.utils.data import Dataset

from stylellm.masking.formats import (
    IGNORE,
    Encode,
    Example,
    Format,
    Order,
    Sentinels,
    build_example,
    format_example,
)
from stylellm.masking.plan import MaskPlan, MaskSettings

_CONTROL_START = re.compile(r"(?<=<)(?=\|)")


class Window(TypedDict):
    """One prepared window (a row of ``prepared/windows/<split>``)."""

    text: str
    ends_document: bool
    num_tokens: NotRequired[int]
    documents: NotRequired[Sequence[int]]
    """Lengths in characters of the texts of a packed window."""


def texts_of(window: Window) -> list[str]:
    """The documents of a window: its whole text, unless it is packed."""
    lengths = window.get("documents") or ()
    if len(lengths) < 2:
        return [window["text"]]
    return [window["text"][a:b] for a, b in pairwise([0, *accumulate(lengths)])]


def encode_plain(tokenizer: Any, text: str) -> list[int]:
    """Token ids of ``text`` without special tokens.

    A text that spells a control token out (``<|fim_pad|>``) is text all the same: the borders of
    the pieces keep the tokenizer from reading it as the control token.
    """
    pieces = _CONTROL_START.split(text) if "<|" in text else [text]
    return [i for ids in tokenizer(pieces, add_special_tokens=False)["input_ids"] for i in ids]


def encoder(tokenizer: Any) -> Encode:
    """``encode_plain`` bound to a tokenizer; a partial, to be pickled to worker processes."""
    return partial(encode_plain, tokenizer)


class StyleDataset(Dataset):
    """Author windows with fresh masks each epoch, and general windows mixed in.

    The first ``len(author)`` items are the author's windows; the rest, ``general_ratio`` of all
    items, are general windows, taken in turn so that successive epochs go on where the last one
    stopped.

    Args:
        author: windows of the author.
        general: windows of general text (may be empty: then nothing is mixed in).
        tokenizer: a transformers tokenizer.
        sentinels: its control tokens.
        settings: how much is masked.
        max_length: the longest sequence, in tokens.
        seed: the seed of the masks.
        general_ratio: share of general windows among all items of an epoch, in [0, 1).
        format, order, context_loss_weight, kl_positions: see ``format_example``.
    """

    def __init__(
        self,
        author: Sequence[Window],
        general: Sequence[Window],
        tokenizer: Any,
        sentinels: Sentinels,
        settings: MaskSettings,
        *,
        max_length: int,
        seed: int,
        general_ratio: float = 0.1,
        format: Format = "infill",
        order: Order = "prefix_first",
        context_loss_weight: float = 1.0,
        kl_positions: Literal["clean", "all"] = "clean",
    ) -> None:
        self.author = author
        self.general = general
        self._epoch = _shared_zero()
        self.seed = seed
        self.encode = encoder(tokenizer)
        self.sentinels = sentinels
        self.num_general = (
            round(general_ratio / (1 - general_ratio) * len(author)) if len(general) else 0
        )
        if general_ratio > 0 and len(general):
            self.num_general = max(1, self.num_general)
        self.max_length = max_length
        self._build = partial(
            build_example,
            settings=settings,
            format=format,
            order=order,
            context_loss_weight=context_loss_weight,
            kl_positions=kl_positions,
        )

    @property
    def epoch(self) -> int:
        """The epoch whose masks are drawn."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Selects the epoch whose masks are drawn; worker processes that already run see it too."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.author) + self.num_general

    def examples(self, index: int) -> list[Example]:
        """The formatted sequences of item ``index`` in the current epoch: one for each document."""
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")  # this is how ``for`` finds the end
        window = self._window(index)
        texts = texts_of(window)
        if index >= len(self.author):
            return [self._plain(text, window["ends_document"]) for text in texts]
        rooms = [self.max_length] if len(texts) == 1 else self._rooms(texts)
        return [
            self._build(
                text,
                self.encode,
                self.sentinels,
                seed=self.seed,
                epoch=self.epoch,
                index=index + (number << 32),  # further documents: apart from any other window
                max_length=room,
                ends_document=window["ends_document"],
            )
            for number, (text, room) in enumerate(zip(texts, rooms, strict=True))
        ]

    def example(self, index: int) -> Example:
        """The formatted sequence of item ``index``; of a packed window the first document's."""
        return self.examples(index)[0]

    def _window(self, index: int) -> Window:
        if index < len(self.author):
            return self.author[index]
        turn = self.epoch * self.num_general + index - len(self.author)
        return self.general[turn % len(self.general)]

    def _plain(self, text: str, ends_document: bool) -> Example:
        plain = MaskPlan("none")
        return format_example(text, plain, self.encode, self.sentinels, ends_document=ends_document)

    def _rooms(self, texts: Sequence[str]) -> list[int]:
        """How long each document's sequence may become: room for masks in proportion to its length."""
        sizes = [len(self.encode(text)) + 1 for text in texts]
        spare = max(0, self.max_length - sum(sizes))
        return [size + spare * size // sum(sizes) for size in sizes]

    def lengths(self) -> list[int]:
        """Tokens of every item without its masks, for batches of like length."""
        general = [self._window(len(self.author) + i) for i in range(self.num_general)]
        return [*self._lengths(self.author), *self._lengths(general)]

    def _lengths(self, windows: Sequence[Window]) -> list[int]:
        counted: Any = getattr(windows, "column_names", None)
        if counted and "num_tokens" in counted:  # a datasets.Dataset: without reading the texts
            return list(windows["num_tokens"])  # type: ignore[call-overload]
        return [window.get("num_tokens") or len(self.encode(window["text"])) for window in windows]

    def __getitem__(self, index: int) -> dict[str, Any]:
        general = index >= len(self.author)
        parts = [_item(example, general) for example in self.examples(index)]
        joined: dict[str, Any] = {key: [x for part in parts for x in part[key]] for key in _ROWS}
        joined["lengths"] = [len(part["input_ids"]) for part in parts]
        joined["repeats"] = [part["repeats"] for part in parts]
        return joined


_ROWS = ("input_ids", "labels", "label_weight", "kl_mask", "general_mask")


def _item(example: Example, general: bool) -> dict[str, Any]:
    length = len(example.input_ids)
    return {
        "input_ids": example.input_ids,
        "labels": [IGNORE] * length if general else example.labels,
        "label_weight": [0.0] * length if general else example.label_weight,
        "kl_mask": [False] * length if general else example.kl_mask,
        "general_mask": example.kl_mask if general else [False] * length,
        "repeats": example.strategy == "none",  # without masks: the same tokens in every epoch
    }


def _shared_zero() -> torch.Tensor:
    """An integer that the worker processes of a data loader share with this one."""
    zero = torch.zeros((), dtype=torch.int64)
    try:
        return zero.share_memory_()
    except (OSError, RuntimeError):  # no shared memory here, and so no worker processes either
        return zero


_PADDING: dict[str, tuple[Any, torch.dtype]] = {
    "labels": (IGNORE, torch.long),
    "label_weight": (0.0, torch.float32),
    "kl_mask": (False, torch.bool),
    "general_mask": (False, torch.bool),
}


def collate(
    items: Sequence[dict[str, Any]], *, pad_id: int, padding_free: bool = False
) -> dict[str, torch.Tensor]:
    """Pads items on the right to the longest: every tensor is [B, T].

    Where an item holds several documents ``position_ids`` say where each begins, and where some
    document comes unchanged in every epoch ``repeats`` is [D, 3]: its row, start and end. Of items
    joined in one row ``items`` [1, T] tells the number of each token's item.

    Args:
        items: what ``StyleDataset`` returns; ``lengths`` and ``repeats`` (one entry a document) may
            be missing: one document then, of which nothing is known.
        pad_id: the id that fills ``input_ids``; no position before it sees it.
        padding_free: one row of all documents instead, without padding (for flash attention).
    """
    numbers = [n for n, item in enumerate(items) for _ in item["input_ids"]]
    if padding_free:
        items = [_in_one_row(items)]
    longest = max(len(item["input_ids"]) for item in items)

    def padded(key: str, fill: Any, dtype: torch.dtype) -> torch.Tensor:
        rows = [list(item[key]) + [fill] * (longest - len(item[key])) for item in items]
        return torch.tensor(rows, dtype=dtype)

    batch = {key: padded(key, fill, dtype) for key, (fill, dtype) in _PADDING.items()}
    batch["input_ids"] = padded("input_ids", pad_id, torch.long)
    lengths = torch.tensor([len(item["input_ids"]) for item in items])
    batch["attention_mask"] = (torch.arange(longest)[None] < lengths[:, None]).long()
    if any(len(_lengths_of(item)) > 1 for item in items):
        batch["position_ids"] = torch.stack([_positions(_lengths_of(i), longest) for i in items])
    if padding_free:
        batch["items"] = torch.tensor([numbers])
    spans = [span for row, item in enumerate(items) for span in _repeating(row, item)]
    if spans:
        batch["repeats"] = torch.tensor(spans)
    return batch


def without_items(batch: dict[str, torch.Tensor], first: int) -> dict[str, torch.Tensor]:
    """The batch with nothing scored and no KL in its items from number ``first`` on."""
    unscored = batch.get("items", torch.arange(len(batch["input_ids"]))[:, None]) >= first
    fills = {key: fill for key, (fill, _) in _PADDING.items()}
    return {
        key: value.masked_fill(unscored.to(value.device), fills[key]) if key in fills else value
        for key, value in batch.items()
    }


def _lengths_of(item: dict[str, Any]) -> Sequence[int]:
    return item.get("lengths") or [len(item["input_ids"])]


def _in_one_row(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    joined: dict[str, Any] = {key: [x for item in items for x in item[key]] for key in _ROWS}
    joined["lengths"] = [length for item in items for length in _lengths_of(item)]
    joined["repeats"] = [
        flag for item in items for flag in item.get("repeats") or [False] * len(_lengths_of(item))
    ]
    return joined


def _positions(lengths: Sequence[int], total: int) -> torch.Tensor:
    """[T] positions that start again at each document; padding goes on counting after the last."""
    last = total - sum(lengths)
    sizes = [*lengths[:-1], lengths[-1] + last]
    return torch.cat([torch.arange(size) for size in sizes])


def _repeating(row: int, item: dict[str, Any]) -> list[tuple[int, int, int]]:
    bounds = pairwise([0, *accumulate(_lengths_of(item))])
    flags = item.get("repeats") or ()
    return [(row, a, b) for (a, b), flag in zip(bounds, flags, strict=False) if flag]


def collator(
    pad_id: int, *, padding_free: bool = False
) -> Callable[[Sequence[dict[str, Any]]], dict[str, torch.Tensor]]:
    """``collate`` bound to the tokenizer's padding id (a partial, for worker processes)."""
    return partial(collate, pad_id=pad_id, padding_free=padding_free)
