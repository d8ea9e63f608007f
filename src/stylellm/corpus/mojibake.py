"""Undo text that was read in the wrong encoding and saved again ("鎴戜滑" for "我们").

What is undone is the reading: the text is written in the encoding it had been misread in, which
gives the bytes of before. This is done only where it is certain: the text itself is no plausible
Chinese, and the result is. What the misreading lost counts as damage, so that a text of which much
is missing is refused like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from stylellm.corpus.plausibility import plausibility

_SAMPLE = 2000
_GARBLED = 0.35
_RESTORED = 0.45
_GAIN = 0.3
_MAX_LOST = 0.15
_MIN_FOREIGN = 16
_LOST = b"\xff"  # in no UTF-8 text: marks what had been lost
_MARK = "\U0010fffd"
_SHORT = re.compile(
    rb"([\xe1-\xef](?:\xff[\x80-\xbf]|[\x80-\xbf]\xff|[\x80-\xbf](?=[\x00-\x7f\xc2-\xf4])))"
    rb"(?=([\x00-\xfe]|\Z))"
)


def looks_garbled(text: str) -> bool:
    """Whether samples of the text (start, middle, end) are no plausible prose."""
    middle = len(text) // 2
    sample = text[:_SAMPLE]
    if len(text) > _SAMPLE:
        sample += text[middle : middle + _SAMPLE] + text[-_SAMPLE:]
    return plausibility(sample) < _GARBLED and sum(c >= "\x80" for c in sample) >= _MIN_FOREIGN


def former_bytes(text: str) -> Iterator[tuple[str, bytes]]:
    """(the encoding it may have been misread in, the bytes of before) of a garbled text."""
    single = _single_bytes(text)
    if single is not None:
        yield ("cp1252" if any(char in text for char in _CP1252) else "latin-1"), single
    else:
        yield "gb18030", _gb_bytes(text)


def is_certain(garbled: str, restored: str, lost: int) -> bool:
    """Whether `restored`, with `lost` characters missing, is what the text had been."""
    before, after = plausibility(garbled[: 3 * _SAMPLE]), plausibility(restored[: 3 * _SAMPLE])
    return after >= _RESTORED and after - before >= _GAIN and lost <= 1 + _MAX_LOST * len(restored)


def _gb_bytes(text: str) -> bytes:
    """The bytes that GBK showed as this text.

    Bytes that begin no character of GBK are shown as "€" (0x80, on Windows) or U+FFFD, or left
    out. Which one it was is put back where only one makes a frequent character.
    """
    pieces = text.replace("\ufffd", _MARK).split("€")
    data = b"\x80".join(piece.encode("gb18030", "ignore") for piece in pieces)
    data = data.replace(_MARK.encode("gb18030"), _LOST)
    return _SHORT.sub(lambda short: _completed(short[1].replace(_LOST, b"?"), short[2]), data)


@lru_cache(maxsize=65536)
def _completed(short: bytes, after: bytes) -> bytes:
    """A character of three bytes of which one is missing (a "?", or not even that)."""
    places = [short.index(b"?")] if b"?" in short else [1, 2]
    rest = short.replace(b"?", b"")
    frequent = set()
    for place in places:
        follower = rest[place:] or after
        for byte in range(0x80, 0xC0):
            whole = rest[:place] + bytes([byte]) + rest[place:]
            if plausibility(whole.decode("utf-8", "replace")) == 1.0 and not _is_gbk(
                byte, follower
            ):
                frequent.add(whole)
    return frequent.pop() if len(frequent) == 1 else short.replace(b"?", _LOST)


def _is_gbk(lead: int, follower: bytes) -> bool:
    """Whether the reader would have taken the byte and the one behind it for a character."""
    try:
        return len((bytes([lead]) + follower[:1]).decode("gbk")) == 1
    except UnicodeDecodeError:
        return False


def _cp1252() -> dict[str, int]:
    """The characters that Windows puts where Latin-1 has control characters."""
    found = {}
    for byte in range(0x80, 0xA0):
        char = bytes([byte]).decode("cp1252", "ignore")
        if char:
            found[char] = byte
    return found


_CP1252 = _cp1252()


def _single_bytes(text: str) -> bytes | None:
    """Text as Latin-1 or Windows-1252, whichever has the character; None where neither has."""
    table = str.maketrans({char: chr(byte) for char, byte in _CP1252.items()} | {"\ufffd": "\xff"})
    try:
        return text.translate(table).encode("latin-1")
    except UnicodeEncodeError:
        return None
