"""Where the tokens of a text begin, with one call of the tokenizer for many texts.

A byte-level vocabulary (GPT-2's, Llama 3's, Qwen's) tells how many bytes each token is, so that ids
alone give the places, and the tokenizer need not track them; other fast tokenizers are asked for
their offsets.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text.

    Attributes:
        starts: int64 [tokens], the character at which each begins; the tokens of a character that
            is several tokens share it, so no cut at a character ever splits one.
        ids: what they are.
    """

    starts: np.ndarray
    ids: list[int]


class TokenPlaces:
    """A fast tokenizer (`tokenizers.Tokenizer`) without its special tokens.

    Args:
        backend: the tokenizer, or its JSON (`to_str()`), as it travels to worker processes.
    """

    def __init__(self, backend: Any) -> None:
        from tokenizers import Tokenizer

        self._backend = Tokenizer.from_str(backend) if isinstance(backend, str) else plain(backend)
        self._lengths, self._normalises = _byte_lengths(self._backend)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text."""
        found = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Numbers of tokens."""
        found = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in found]

    def tokens(self, texts: list[str]) -> list[Tokens]:
        """The tokens of each text and where they begin."""
        if self._lengths is None:
            return self._with_offsets(texts)
        found = [(ids, self._starts(t, ids)) for t, ids in zip(texts, self.ids(texts), strict=True)]
        unclear = [text for text, (_, starts) in zip(texts, found, strict=True) if starts is None]
        asked = iter(self._with_offsets(unclear))
        return [next(asked) if starts is None else Tokens(starts, ids) for ids, starts in found]

    def _starts(self, text: str, ids: list[int]) -> np.ndarray | None:
        """Token starts from the bytes of each token; None where they do not add up to the text."""
        if self._normalises and not unicodedata.is_normalized("NFC", text):
            return None
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        assert self._lengths is not None
        ends = np.cumsum(self._lengths[np.asarray(ids, dtype=np.int64)])
        if not len(ids) or ends[-1] != len(data):
            return None if len(data) else np.zeros(0, dtype=np.int64)
        character = np.cumsum((data & 0xC0) != 0x80) - 1  # of each byte
        return character[np.concatenate(([0], ends[:-1]))]

    def _with_offsets(self, texts: list[str]) -> list[Tokens]:
        if not texts:
            return []
        return [
            Tokens(np.array([start for start, _ in one.offsets], dtype=np.int64), one.ids)
            for one in self._backend.encode_batch(texts, add_special_tokens=False)
        ]


def plain(backend: Any) -> Any:
    """The tokenizer if it neither truncates nor pads; else a copy of it that does not."""
    from tokenizers import Tokenizer

    if backend.truncation is None and backend.padding is None:
        return backend
    backend = Tokenizer.from_str(backend.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def _byte_lengths(backend: Any) -> tuple[np.ndarray | None, bool]:
    """Bytes of every token, and whether texts are normalised first; None: not a byte-level one."""
    normalizer, before = _rules(backend.normalizer), _rules(backend.pre_tokenizer)
    steps = [step for step in before.get("pretokenizers", [before]) if step["type"] == "ByteLevel"]
    if normalizer["type"] not in ("", "NFC") or not steps or steps[0]["add_prefix_space"]:
        return None, False
    vocabulary = backend.get_vocab(with_added_tokens=True)
    indices = np.fromiter(vocabulary.values(), np.int64, len(vocabulary))
    lengths = np.zeros(indices.max() + 1, dtype=np.int64)
    lengths[indices] = np.fromiter(map(len, vocabulary), np.int64)  # a letter stands for a byte
    for index, added in backend.get_added_tokens_decoder().items():
        lengths[index] = len(added.content.encode("utf-8"))
    return lengths, normalizer["type"] == "NFC"


def _rules(component: Any) -> dict[str, Any]:
    """The JSON of a part of a tokenizer."""
    return {"type": ""} if component is None else json.loads(component.__getstate__())
