"""Decode text that holds damaged bytes, losing as few characters as can be.

In UTF-8 a damaged byte costs one character, as every character shows where it starts. In GBK, Big5
and UTF-16 a lost byte shifts all that follows, often without any error: the reader of such text
takes the path through the bytes around the damage whose characters are the most plausible together
(a shortest path over byte positions, where a damaged byte costs `_DAMAGE`).

A run of damaged bytes becomes one U+FFFD for each character it may have held.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from stylellm.corpus.plausibility import plausibility, run_weights, units, weight_table

_Steps = Callable[[bytes, int], list[tuple[int, str, float]]]
REPLACEMENT = "\ufffd"
_DAMAGE = 2.0
_HALF = -0.3  # ASCII letters and digits beside Chinese characters are often parts of them
_RARE, _FOREIGN = -0.1, -1.0  # four bytes: a rare Chinese character, anything else
_STRAY = re.compile("[@-~](?![\x00-\x7f])(?<=[^\x00-\x7f]{3}[@-~])")
_RUN = 16  # characters; shorter misread stretches end in an error and are found by that
_DOUBTFUL = 0.2  # no run of real prose is as implausible, nearly every shifted one is
_CHUNK = 256
_LARGE_CHUNK = 1 << 13
_HELD = 64  # characters
_BEYOND = 64
_UTF8_CHUNK = 1 << 16
_PROSE = 0.4
_PIECE = 1 << 20  # characters looked at together; bounds the memory


@dataclass
class Repaired:
    """Decoded text.

    Attributes:
        text: the characters, with U+FFFD for damage.
        places: (byte offset, index in `text`) of each run of damage.
        lost: U+FFFD put in, about one for each damaged byte or character.
        complete: False when reading stopped at more than `limit` lost characters.
    """

    text: str
    places: list[tuple[int, int]] = field(default_factory=list)
    lost: int = 0
    complete: bool = True


def decode_utf8(data: bytes, limit: int | None = None) -> Repaired:
    """Decode UTF-8; a character cut by the end is dropped. Stops at more than `limit` losses."""
    writer = _Writer(limit, bytes_each=3)
    at = 0
    while at < len(data) and not writer.full:
        chunk = data[at : at + _UTF8_CHUNK]
        try:
            text, used = codecs.utf_8_decode(chunk, "strict", False)
            end = used
        except UnicodeDecodeError as error:
            text, used, end = chunk[: error.start].decode("utf-8"), error.start, error.end
        if not _is_inside(data, at, text, writer):
            writer.write(text)
        if end > used:
            bad = chunk[used:end]
            writer.damage(at + used, len(bad), sum(byte >= 0xC2 for byte in bad))
        if not end:
            break  # a character cut by the end
        at += end
    return writer.done()


def _is_inside(data: bytes, at: int, text: str, writer: _Writer) -> bool:
    """Whether `text` is one wrong byte inside a character (lead, wrong, continuation)."""
    return (
        len(text) == 1
        and text not in "\n\r"
        and writer.ends_in_damage(at)
        and at + 1 < len(data)
        and 0xE0 <= data[at - 1] < 0xF0
        and 0x80 <= data[at + 1] < 0xC0
    )


def decode_wide(data: bytes, codec: str, limit: int | None = None) -> Repaired:
    """Decode gb18030, big5hkscs, cp950, utf-16-le or utf-16-be.

    Text without damage is decoded once, at the codec's speed, and then looked at for stretches
    that read like the second halves of characters. A character cut by the end is dropped.
    """
    try:
        text, _ = _strict(data, codec)
    except UnicodeDecodeError:
        return _repair(data, codec, limit)
    if _has_shifted(text, data, codec):
        return _repair(data, codec, limit)
    return Repaired(text)


def _strict(data: bytes, codec: str) -> tuple[str, int]:
    """(text, bytes used): all but a character cut by the end."""
    decoder = codecs.getincrementaldecoder(codec)("strict")
    text = decoder.decode(data)
    return text, len(data) - len(decoder.getstate()[0])


def _has_shifted(text: str, data: bytes, codec: str) -> bool:
    """Whether a stretch of the text is the second halves of characters, read as characters."""
    bytes_before, counted = 0, 0
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        suspects = _suspects(piece, codec)
        if not suspects:
            continue
        lengths = byte_lengths(codec)
        for passed in range(counted, start, _PIECE):
            bytes_before += int(lengths[units(text[passed : passed + _PIECE])].sum())
        counted = start
        offsets = bytes_before + np.concatenate(([0], np.cumsum(lengths[units(piece)])))
        if any(_is_shifted(data, offsets, at, codec) for at in suspects):
            return True
    return False


def _suspects(text: str, codec: str) -> list[int]:
    """UTF-16 units at which to look closer: implausible runs, and stray letters behind such."""
    means = run_weights(text, _RUN)
    found = [int(run) * _RUN for run in np.flatnonzero(means < _DOUBTFUL)]
    if not codec.startswith("utf-16"):
        strays = (hit.start() for hit in _STRAY.finditer(text))
        beyond = len(text) != len(units(text)) if found or _STRAY.search(text) else False
        found += [
            len(units(text[:at])) if beyond else at
            for at in strays
            if plausibility(text[at - 3 : at]) < _DOUBTFUL
        ]
    return found


def _is_shifted(data: bytes, offsets: np.ndarray, at: int, codec: str) -> bool:
    """Whether the best reading around a unit holds damage, and is prose otherwise."""
    first, last = max(0, at - _RUN), min(len(offsets) - 1, at + 2 * _RUN)
    path, _ = best_path(data, int(offsets[first]), int(offsets[last]), codec)
    read = "".join(char for _, _, char in path)
    return len(read) > 0 and "" in (char for _, _, char in path) and plausibility(read) > _PROSE


@lru_cache(maxsize=8)
def byte_lengths(codec: str) -> np.ndarray:
    """Bytes that each UTF-16 unit takes in an encoding, of shape (65536,)."""
    lengths = np.full(65536, 4 if codec == "gb18030" else 2, np.int64)
    lengths[0xD800:0xE000] = 2  # half of a character of four bytes
    if not codec.startswith("utf-16"):
        lengths[:0x80] = 1
        lengths[[ord(char[0]) for _, char, _ in _pairs(codec).values() if ord(char[0]) < 65536]] = 2
        lengths[[ord(char[1]) for _, char, _ in _pairs(codec).values() if len(char) > 1]] = 0
    return lengths


def _repair(data: bytes, codec: str, limit: int | None) -> Repaired:
    """Read in chunks; where one is wrong, in small ones, by the best path through each."""
    writer = _Writer(limit, bytes_each=2)
    at, careful = 0, 0  # small chunks up to `careful`
    before, held = 0, ""  # the last characters read, from the byte `before` on, not yet written
    while at < len(data) and not writer.full:
        size = _CHUNK if at < careful else _LARGE_CHUNK
        chunk = data[at : at + size]
        try:
            text, used = _strict(chunk, codec)
            right = not _has_shifted(text, chunk, codec)
        except UnicodeDecodeError:
            text, used, right = "", 0, False
        if right:
            writer.write(held)
            if not used:
                held = ""
                break  # a character cut by the end
            at += used
            before, held = _tail(data, at, text, codec)
            writer.write(text[: len(text) - len(held)])
        elif size == _LARGE_CHUNK:
            careful = at + size
        else:
            path, after = best_path(data, before, at + size, codec)
            held = ""
            _write_path(writer, path)
            at = before = max(after, at + 1)
    writer.write(held)
    return writer.done()


def _tail(data: bytes, end: int, text: str, codec: str) -> tuple[int, str]:
    """The offset and text of the last characters before `end`, for a second look."""
    tail = text[-_HELD:]
    start = end - len(tail.encode(codec, "ignore"))
    same = data[start:end].decode(codec, "ignore") == tail
    return (start, tail) if same else (end, "")


def best_path(
    data: bytes, start: int, end: int, codec: str
) -> tuple[list[tuple[int, int, str]], int]:
    """The most plausible reading of data[start:end] and where it ends.

    Returns:
        (offset, length, character) each, the character "" for a damaged byte; and the offset
        behind the last. What follows `end` is looked at, so that the reading fits it too.
    """
    stop = min(len(data), end + _BEYOND)
    part = data[start:stop]
    size = len(part)
    score = [0.0] + [-1e9] * size
    step: list[tuple[int, str]] = [(0, "")] * (size + 1)
    steps = _steps_utf16(codec) if codec.startswith("utf-16") else _steps_multibyte(codec)
    final, final_score = size, -1e9
    for at in range(size):
        reached = score[at]
        if reached <= -1e8:
            continue
        if reached - _DAMAGE > score[at + 1]:
            score[at + 1], step[at + 1] = reached - _DAMAGE, (1, "")
        for length, char, weight in steps(part, at):
            if reached + weight > score[at + length]:
                score[at + length], step[at + length] = reached + weight, (length, char)
        if size - at < 4 and _may_be_cut(part[at:], codec) and reached > final_score:
            final, final_score = at, reached
    if score[size] >= final_score:
        final = size
    path = []
    at = final
    while at:
        length, char = step[at]
        at -= length
        path.append((start + at, length, char))
    path.reverse()
    if stop < len(data):  # the last few may be wrong, as their sequel was not seen
        while path and (path[-1][0] >= end or not path[-1][2]):
            path.pop()
        return path, (path[-1][0] + path[-1][1] if path else stop)
    return path, stop


def _may_be_cut(tail: bytes, codec: str) -> bool:
    """Whether 1 to 3 bytes can be the beginning of a character."""
    if codec.startswith("utf-16"):
        high = tail[1] if codec == "utf-16-le" and len(tail) > 1 else tail[0]
        return len(tail) == 1 or 0xD8 <= high < 0xDC
    if codec == "gb18030" and len(tail) > 1:
        return 0x81 <= tail[0] < 0xFF and 0x30 <= tail[1] < 0x3A
    return len(tail) == 1 and 0x81 <= tail[0] < 0xFF


def _steps_multibyte(codec: str) -> _Steps:
    """A function (bytes, position) -> [(length, character, weight)] for ASCII and double bytes."""
    pairs = _pairs(codec)
    table = weight_table()
    single = [float(weight) for weight in table[:0x80]]
    single[0x30:0x7F] = [_HALF] * 0x4F
    four = codec == "gb18030"

    def steps(part: bytes, at: int) -> list[tuple[int, str, float]]:
        lead = part[at]
        if lead < 0x80:
            return [(1, chr(lead), single[lead])]
        if at + 1 >= len(part):
            return []
        pair = pairs.get(lead << 8 | part[at + 1])
        if pair:
            return [pair]
        if four and 0x30 <= part[at + 1] < 0x3A and at + 4 <= len(part):
            char = part[at : at + 4].decode(codec, "ignore")
            if len(char) == 1:
                rare = "\u3400" <= char < "\u4dc0" or char > "\U0001ffff"
                return [(4, char, _RARE if rare else _FOREIGN)]
        return []

    return steps


@lru_cache(maxsize=4)
def _pairs(codec: str) -> dict[int, tuple[int, str, float]]:
    """Every valid pair of bytes: (2, its character, the weight)."""
    table = weight_table()
    pairs = {}
    for lead in range(0x81, 0xFF):
        for trail in range(0x40, 0xFF):
            char = bytes((lead, trail)).decode(codec, "ignore")
            if char and ord(char[0]) >= 0x80:
                weight = float(table[ord(char[0])]) if ord(char[0]) < 65536 else -0.4
                pairs[lead << 8 | trail] = (2, char, weight)
    return pairs


def _steps_utf16(codec: str) -> _Steps:
    """As `_steps_multibyte`, for UTF-16."""
    table = weight_table()
    first, second = (0, 1) if codec == "utf-16-le" else (1, 0)

    def steps(part: bytes, at: int) -> list[tuple[int, str, float]]:
        if at + 1 >= len(part):
            return []
        code = part[at + second] << 8 | part[at + first]
        if not 0xD800 <= code < 0xE000:
            return [(2, chr(code), float(table[code]))]
        char = part[at : at + 4].decode(codec, "ignore")
        return [(4, char, -0.4)] if len(char) == 1 and ord(char) > 0xFFFF else []

    return steps


class _Writer:
    """Collects text and damage; neighbouring damage is one run."""

    def __init__(self, limit: int | None, bytes_each: int) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.places: list[tuple[int, int]] = []
        self.lost = 0
        self.limit = limit
        self.bytes_each = bytes_each
        self._characters = 0
        self._run: tuple[int, int] | None = None  # offset and length of the run of damage under way

    @property
    def full(self) -> bool:
        return self.limit is not None and self.lost > self.limit

    def write(self, text: str) -> None:
        if text:
            self._end_run()
            self.parts.append(text)
            self.length += len(text)

    def damage(self, offset: int, length: int, characters: int = 0) -> None:
        """Note damaged bytes, and how many characters begin among them where that can be told."""
        start = self._run[0] if self._run else offset
        self._run = (start, offset + length - start)
        self._characters += characters

    def ends_in_damage(self, at: int) -> bool:
        return self._run is not None and sum(self._run) == at

    def _end_run(self) -> None:
        if self._run is None:
            return
        offset, length = self._run
        if self.bytes_each == 3:
            count = max(1, min(self._characters, -(-length // 3)))
        else:
            count = max(1, length // 2)  # one byte too many is one inserted
        self._characters = 0
        self._run = None
        self.places.append((offset, self.length))
        self.lost += count
        self.parts.append(REPLACEMENT * count)
        self.length += count

    def done(self) -> Repaired:
        self._end_run()
        return Repaired("".join(self.parts), self.places, self.lost, not self.full)


def _write_path(writer: _Writer, path: list[tuple[int, int, str]]) -> None:
    for offset, length, char in path:
        if char:
            writer.write(char)
        else:
            writer.damage(offset, length)
