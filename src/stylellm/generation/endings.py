"""Where a text ends: a length in characters, the end of a sentence, a stop string."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

# A sentence's end, with the closing quotes and brackets that belong to it.
SENTENCE_END = re.compile(r"(?:[。！？!?]|…+|\.(?=\s|$))[”’」』）)\"']*")


def cut(
    text: str,
    *,
    max_chars: int | None = None,
    sentence_end: bool = False,
    stop: Sequence[str] = (),
    finished: bool = False,
) -> str:
    """A text brought to its wanted end.

    Args:
        text: as it was drawn.
        max_chars: at most so many characters.
        sentence_end: nothing after the last whole sentence; a text without one is left as it is.
        stop: the text ends before the first of these.
        finished: the model ended the text by itself: its last words are no fragment.
    """
    if not finished:
        text = text.rstrip("\ufffd")  # the last token may hold half a character
    ends = [place for word in stop if word and (place := text.find(word)) >= 0]
    if ends:
        text, finished = text[: min(ends)], True
    if max_chars is not None and len(text) > max_chars:
        text, finished = text[:max_chars], False
    if sentence_end and not finished:
        last = [match.end() for match in SENTENCE_END.finditer(text)]
        text = text[: last[-1]] if last else text
    return text


class TextCriteria:
    """Ends a text as soon as its words say so (a `StoppingCriteria` of transformers).

    Args:
        decode: token ids of the continuation -> text.
        prompt_length: tokens of the prompts, padding counted.
        max_chars, stop: as for `cut`.
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        prompt_length: int,
        max_chars: int | None,
        stop: Sequence[str],
    ) -> None:
        self.decode, self.start = decode, prompt_length
        self.max_chars, self.stop = max_chars, [word for word in stop if word]

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        ended = [self._ended(self.decode(row[self.start :].tolist())) for row in input_ids]
        return torch.tensor(ended, dtype=torch.bool, device=input_ids.device)

    def _ended(self, text: str) -> bool:
        whole = text.rstrip("\ufffd")  # a character whose last bytes are still to come
        if self.max_chars is not None and len(whole) >= self.max_chars:
            return True
        return any(word in whole for word in self.stop)


class Stream:
    """Hands a text on as it grows (a streamer of transformers), never half a character.

    Args:
        decode: token ids of the continuation -> text.
        on_text: called with each new piece.
        keep: text so far -> how much of it may be shown (for what will be cut at the end).
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        on_text: Callable[[str], None],
        keep: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.decode, self.on_text, self.keep = decode, on_text, keep
        self.ids: list[int] = []
        self.shown = 0
        self.prompt = True

    def put(self, value: torch.Tensor) -> None:
        if self.prompt:  # transformers hands the prompt over first
            self.prompt = False
            return
        self.ids += value.reshape(-1).tolist()
        self._show(self.keep(self.decode(self.ids).rstrip("\ufffd")))

    def end(self) -> None:
        """The rest is handed on by `finish`, once it is known where the text was cut."""

    def finish(self, text: str) -> None:
        """Shows what of the final text was not shown yet."""
        self._show(text)

    def _show(self, text: str) -> None:
        if len(text) > self.shown:
            self.on_text(text[self.shown :])
            self.shown = len(text)
