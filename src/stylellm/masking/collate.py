"""A dataset that formats windows afresh each epoch, and the collator that pads them.

Shapes: B sequences of a batch, T tokens of the longest one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypedDict

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
        self._build = partial(
            build_example,
            settings=settings,
            max_length=max_length,
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

    def example(self, index: int) -> Example:
        """The formatted sequence of item ``index`` in the current epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")  # this is how ``for`` finds the end
        if index >= len(self.author):
            turn = self.epoch * self.num_general + index - len(self.author)
            window = self.general[turn % len(self.general)]
            plain = MaskPlan("none")
            return format_example(
                window["text"],
                plain,
                self.encode,
                self.sentinels,
                ends_document=window["ends_document"],
            )
        window = self.author[index]
        return self._build(
            window["text"],
            self.encode,
            self.sentinels,
            seed=self.seed,
            epoch=self.epoch,
            index=index,
            ends_document=window["ends_document"],
        )

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.example(index)
        general = index >= len(self.author)
        length = len(example.input_ids)
        return {
            "input_ids": example.input_ids,
            "labels": [IGNORE] * length if general else example.labels,
            "label_weight": [0.0] * length if general else example.label_weight,
            "kl_mask": [False] * length if general else example.kl_mask,
            "general_mask": example.kl_mask if general else [False] * length,
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


def collate(items: Sequence[dict[str, Any]], *, pad_id: int) -> dict[str, torch.Tensor]:
    """Pads items on the right to the longest: every tensor is [B, T].

    Args:
        items: what ``StyleDataset`` returns.
        pad_id: the id that fills ``input_ids``; those places are masked out of attention.
    """
    longest = max(len(item["input_ids"]) for item in items)

    def padded(key: str, fill: Any, dtype: torch.dtype) -> torch.Tensor:
        rows = [list(item[key]) + [fill] * (longest - len(item[key])) for item in items]
        return torch.tensor(rows, dtype=dtype)

    batch = {key: padded(key, fill, dtype) for key, (fill, dtype) in _PADDING.items()}
    batch["input_ids"] = padded("input_ids", pad_id, torch.long)
    lengths = torch.tensor([len(item["input_ids"]) for item in items])
    batch["attention_mask"] = (torch.arange(longest)[None] < lengths[:, None]).long()
    return batch


def collator(pad_id: int) -> Callable[[Sequence[dict[str, Any]]], dict[str, torch.Tensor]]:
    """``collate`` bound to the tokenizer's padding id (a partial, for worker processes)."""
    return partial(collate, pad_id=pad_id)
