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
from itertools import islice
from typing import Any

import numpy as np

_PIECE = 2_000  # characters: longer texts take a tenth more time for each
_AROUND = 24  # characters on either side that show whether a place parts tokens
_FIRST_BYTES = -0x40  # as signed numbers, the bytes that go on in a character are smaller


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text.

    Attributes:
        starts: int64 [tokens], the character at which each begins; the tokens of a character that
            is several tokens share it, so no cut at a character ever splits one.
        ids: int64 [tokens], what they are.
    """

    starts: np.ndarray
    ids: np.ndarray


class TokenPlaces:
    """A fast tokenizer (`tokenizers.Tokenizer`) without its special tokens.

    Args:
        backend: the tokenizer, or its JSON (`to_str()`), as it travels to worker processes.
    """

    def __init__(self, backend: Any) -> None:
        from tokenizers import Tokenizer

        self._backend = Tokenizer.from_str(backend) if isinstance(backend, str) else plain(backend)
        self._lengths, self._normalises = _byte_lengths(self._backend)
        self._bare = _without_nfc(self._backend) if self._normalises else None
        self._splitter = _splitter(self._backend)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text."""
        return [encoding.ids for encoding in self._encoded(texts)]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Numbers of tokens."""
        return [len(encoding) for encoding in self._encoded(texts)]

    def _encoded(self, texts: Sequence[str]) -> list[Any]:
        """Texts that are in form C already are not made so again: a seventh of the time."""
        backend = self._backend
        if self._bare and all(unicodedata.is_normalized("NFC", text) for text in texts):
            backend = self._bare
        found: list[Any] = backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return found

    def tokens(self, texts: list[str]) -> list[Tokens]:
        """The tokens of each text and where they begin."""
        if self._lengths is None:
            return self._with_offsets(texts)
        ids_of = self._ids_by_pieces(texts)
        found = [(ids, self._starts(t, ids)) for t, ids in zip(texts, ids_of, strict=True)]
        unclear = [text for text, (_, starts) in zip(texts, found, strict=True) if starts is None]
        asked = iter(self._with_offsets(unclear))
        return [next(asked) if starts is None else Tokens(starts, ids) for ids, starts in found]

    def _ids_by_pieces(self, texts: list[str]) -> list[np.ndarray]:
        """As `ids`, each text in pieces that end with lines where that changes nothing."""
        pieces = [self._pieces(text) for text in texts]
        encoded = self._encoded([piece for mine in pieces for piece in mine])
        found = (np.array(one.ids, dtype=np.int64) for one in encoded)
        return [np.concatenate(list(islice(found, len(mine)))) for mine in pieces]

    def _pieces(self, text: str) -> list[str]:
        pieces: list[str] = []
        start = 0
        while len(text) - start > 2 * _PIECE:
            end = text.rfind("\n", start, start + _PIECE) + 1
            if not end or not self._parts_tokens(text, end):
                return [text]
            pieces.append(text[start:end])
            start = end
        return [*pieces, text[start:]]

    def _parts_tokens(self, text: str, place: int) -> bool:
        """Whether the text is split there before it is tokenised, and the same if it ended there."""
        if self._splitter is None:
            return False
        split = self._splitter.pre_tokenize_str
        before, behind = text[max(0, place - _AROUND) : place], text[place : place + _AROUND]
        words = [word for side in (before, behind) for word, _ in split(side)]
        return words == [word for word, _ in split(before + behind)]

    def _starts(self, text: str, ids: np.ndarray) -> np.ndarray | None:
        """Token starts from the bytes of each token; None where they do not add up to the text."""
        if self._normalises and not unicodedata.is_normalized("NFC", text):
            return None
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        assert self._lengths is not None
        lengths = self._lengths[ids]
        ends = np.cumsum(lengths)
        if not len(ids) or ends[-1] != len(data):
            return None if len(data) else np.zeros(0, dtype=np.int64)
        begins = data.view(np.int8) >= _FIRST_BYTES  # of a character
        character = np.cumsum(begins, dtype=np.int32)  # of each byte, counted from 1
        starts = character[ends - lengths].astype(np.int64)
        starts -= 1
        return starts

    def _with_offsets(self, texts: list[str]) -> list[Tokens]:
        found = self._backend.encode_batch(texts, add_special_tokens=False) if texts else []
        starts = [[start for start, _ in one.offsets] for one in found]
        return [Tokens(np.array(places, dtype=np.int64), np.array(one.ids, dtype=np.int64))
                for places, one in zip(starts, found, strict=True)]  # fmt: skip


def plain(backend: Any) -> Any:
    """The tokenizer if it neither truncates nor pads; else a copy of it that does not."""
    from tokenizers import Tokenizer

    if backend.truncation is None and backend.padding is None:
        return backend
    backend = Tokenizer.from_str(backend.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def _splitter(backend: Any) -> Any | None:
    """What splits a text before it is tokenised; None where an added token may reach beyond a line
    break, so that lines cannot be tokenised one by one."""
    added = backend.get_added_tokens_decoder().values()
    reaches = any(token.lstrip or token.rstrip or "\n" in token.content for token in added)
    return None if reaches else backend.pre_tokenizer


def _without_nfc(backend: Any) -> Any | None:
    """The same vocabulary and rules without the normalizer, which form C passes unchanged; None
    where the copy would not be the same otherwise."""
    from tokenizers import Tokenizer

    added = backend.get_added_tokens_decoder()
    bare = Tokenizer(backend.model)
    bare.pre_tokenizer = backend.pre_tokenizer
    bare.encode_special_tokens = backend.encode_special_tokens
    for _, token in sorted(added.items()):
        (bare.add_special_tokens if token.special else bare.add_tokens)([token])
    copied = bare.get_added_tokens_decoder()
    same = {index: repr(token) for index, token in copied.items()} == {
        index: repr(token) for index, token in added.items()
    }
    normal = all(unicodedata.is_normalized("NFC", token.content) for token in added.values())
    return bare if same and normal else None


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
