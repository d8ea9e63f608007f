"""HZ (RFC 1843): GB 2312 in seven bits, between ~{ and ~}; the Chinese net news of the 1990s."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

from stylellm.corpus.plausibility import plausibility
from stylellm.corpus.repair import Repaired, decode_wide

_IN_ASCII = re.compile(rb"~[{}~\n]|\n")
_IN_CHINESE = re.compile(rb"~[{}]|\n")  # a lone ~ may be the second byte of a character there
_HIGH = bytes(b | 0x80 if 0x21 <= b < 0x7F else b for b in range(256))
_NOT_GB = re.compile(rb"[^\x21-\x7e]")
# The two places where GB 2312, as HZ text has it, and GB 18030 name another character.
_NAMES = (("—", "―"), ("·", "・"))


def decode_hz(data: bytes, limit: int | None = None) -> Repaired:
    """Decode HZ, with damaged bytes inside and around the escapes (see `repair.decode_wide`)."""
    euc, starts, origins = to_euc(data)
    found = decode_wide(euc, "gb18030", limit)
    places = []
    for offset, index in found.places:
        piece = max(0, bisect_right(starts, offset) - 1)
        places.append((origins[piece] + offset - starts[piece] if origins else offset, index))
    text = found.text
    for modern, named in _NAMES:
        text = text.replace(modern, named)
    return Repaired(text, places, found.lost, found.complete)


def to_euc(data: bytes) -> tuple[bytes, list[int], list[int]]:
    """The same text in GB 2312 proper, with high bits instead of escapes.

    Returns:
        The bytes; the offsets at which its pieces start; and where those stand in `data`.
    """
    pieces: list[bytes] = []
    starts: list[int] = []
    origins: list[int] = []
    length = 0

    def add(piece: bytes, origin: int) -> None:
        nonlocal length
        if piece:
            pieces.append(piece)
            starts.append(length)
            origins.append(origin)
            length += len(piece)

    chinese, at = False, 0
    while token := (_IN_CHINESE if chinese else _IN_ASCII).search(data, at):
        sign, piece = token[0], data[at : token.start()]
        if sign == b"~}" and not chinese:
            _add_unopened(piece, at, add)
        else:
            add(piece.translate(_HIGH) if chinese else piece, at)
        if sign in (b"~~", b"\n"):
            add(sign[-1:], token.end() - 1)
        chinese = sign == b"~{"
        at = token.end()
    piece = data[at:] if chinese else data[at:].removesuffix(b"~")  # an escape cut by the end
    add(piece.translate(_HIGH) if chinese else piece, at)
    return b"".join(pieces), starts, origins


def _add_unopened(piece: bytes, origin: int, add: Callable[[bytes, int], None]) -> None:
    """Text before a ~} whose ~{ is missing: lost by damage, or cut off with the file's start."""
    start = max((sign.end() for sign in _NOT_GB.finditer(piece)), default=0)
    chinese = piece[start:].translate(_HIGH)
    if max(plausibility(chinese[odd:].decode("gb18030", "ignore")) for odd in (0, 1)) < 0.3:
        start = len(piece)
    add(piece[:start], origin)
    add(piece[start:].translate(_HIGH), origin + start)
