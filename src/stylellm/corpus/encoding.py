"""Which encoding is this text in?

Chinese novels circulate in UTF-8, UTF-16, the GB family, the Big5 family and HZ, mostly without a
mark that says which. UTF-8 gives itself away; the others are tried on a sample, and the decoding
that looks most like Chinese wins. The whole file is then decoded once, and only where it holds
damage more slowly.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stylellm.corpus import mojibake
from stylellm.corpus.hz import decode_hz
from stylellm.corpus.plausibility import FREQUENT, plausibility, weights
from stylellm.corpus.repair import Repaired, decode_utf8, decode_wide
from stylellm.errors import DataError

__all__ = ["FREQUENT", "Damage", "Decoded", "decode", "plausibility"]

_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")
_HIGH = re.compile(rb"[\x80-\xff]")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "utf-32-le"),
    (codecs.BOM_UTF16_LE, "utf-16", "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16", "utf-16-be"),
)
_BIG5 = ("big5hkscs", "cp950")
_CANDIDATES = ("utf-8", "utf-16-le", "utf-16-be", "gb18030", *_BIG5)
_SAMPLE_FIRST = 1 << 12
_SAMPLE_HEAD = 1 << 14
_SAMPLE_MORE = 1 << 13
_SHORT = 200
_SLICE = 128
_MISREAD = 0.2
_NEARLY = 0.8
_FEW = 8
_CLEAR = 0.5
MAX_DAMAGED = 20
MAX_DAMAGED_SHARE = 0.001
MAX_LOCATED = 20
_EXPECTED = "plain text in UTF-8, UTF-16, GB18030, Big5 or HZ"


@dataclass(frozen=True)
class Damage:
    """A place that could not be decoded.

    Attributes:
        offset: the first damaged byte in the file, from 0 (where mojibake was undone: in the bytes
            the text had before).
        line: the line it is on, from 1.
        context: the text around it, each lost character as U+FFFD.
    """

    offset: int
    line: int
    context: str


@dataclass(frozen=True)
class Decoded:
    """A text and how it was read.

    Attributes:
        text: the decoded characters, byte order mark removed.
        encoding: the Python codec that read it.
        replacements: characters lost to damage, each now one U+FFFD; a character cut by the end of
            the data is left out and not counted.
        margin: how far ahead of the second-best encoding it was, as plausibility per character
            (about 0.7 for ordinary prose; below 0.2 is doubtful). 1.0 where no guess was needed.
        damage: where the first 20 damaged places are.
        mojibake: what was undone, such as "utf-8 read as gb18030"; else "".
    """

    text: str
    encoding: str
    replacements: int
    margin: float = 1.0
    damage: tuple[Damage, ...] = ()
    mojibake: str = ""


def decode(data: bytes, name: str = "the text", *, accept_damaged: bool = False) -> Decoded:
    """Decode bytes of unknown encoding.

    Args:
        data: the whole file.
        name: what to call it in an error.
        accept_damaged: read it however many damaged bytes it holds.

    Raises:
        DataError: nothing in it, not text, or (unless `accept_damaged`) more than 20 damaged bytes
            that are above 0.1%.
    """
    if not data or data.isspace():
        raise DataError(f"{name} is empty", "a file with text in it")
    limit = None if accept_damaged else max(MAX_DAMAGED, int(MAX_DAMAGED_SHARE * len(data)))
    decoded, whole = _decode_marked(data, limit) or _decode_utf8(data) or _guess(data, limit, name)
    if whole and decoded.encoding.startswith("utf"):
        decoded, whole = _undo_mojibake(decoded, limit)
    _check_is_text(decoded, name, whole)
    return decoded


def _decode_marked(data: bytes, limit: int | None) -> tuple[Decoded, bool] | None:
    """Text that begins with a byte order mark."""
    for bom, encoding, codec in _BOMS:
        if data.startswith(bom):
            found = _decode_as(data[len(bom) :], codec, limit)
            found.places = [(offset + len(bom), index) for offset, index in found.places]
            return _decoded(found, encoding, 1.0)
    return None


def _decode_utf8(data: bytes) -> tuple[Decoded, bool] | None:
    """Valid UTF-8, apart from a character cut by the end; None when it holds anything else."""
    try:
        text, _ = codecs.utf_8_decode(data, "strict", False)
    except UnicodeDecodeError:
        return None
    if b"\x00" in data or (
        data.isascii() and (b"~{" in data or b"~}" in data)
    ):  # perhaps UTF-16, perhaps HZ
        return None
    return Decoded(text, "utf-8", 0), True


def _guess(data: bytes, limit: int | None, name: str) -> tuple[Decoded, bool]:
    """Try each encoding on a sample and decode with the most plausible."""
    share = _share_of_utf8(data)
    if share > _NEARLY:
        return _decoded(decode_utf8(data, limit), "utf-8", round(share, 3))
    scores = _scores(data)
    best = max(scores, key=lambda codec: scores[codec])  # of twins, the first
    if scores[best] < 0 and len(data) >= _SHORT:
        raise DataError(f"{name} is not a text file in any encoding tried", _EXPECTED,
                        "Save it again as UTF-8, or leave it out.")  # fmt: skip
    if best in _BIG5:
        best = _big5_codec(data)
    found = _decode_as(data, best, limit)
    family: tuple[str, ...] = _BIG5 if best in _BIG5 else (best,)
    second = max(score for codec, score in scores.items() if codec not in family)
    second = min(second, 0.0) if best == "hz" else second  # of ASCII, all of it plausible
    return _decoded(found, best, round(scores[best] - second, 3))


def _share_of_utf8(data: bytes) -> float:
    """The share of valid characters where a text has characters that are not ASCII; 0 if unsure.

    Text in another encoding has next to none, whatever language it is in.
    """
    high = _HIGH.search(data)
    if high is None or b"\x00" in data:
        return 0.0
    sample = data[high.start() : high.start() + _SAMPLE_FIRST]
    found = decode_utf8(sample, limit=len(sample) // 12)
    valid = sum(char > "\x7f" for char in found.text) - found.lost
    return valid / (valid + found.lost) if found.complete and valid >= _FEW else 0.0


def _scores(data: bytes) -> dict[str, float]:
    """The plausibility of a sample in each encoding; a small sample where that is clear enough."""
    scores = _scores_of([data[:_SAMPLE_FIRST]])
    best, *others = sorted(
        (score for codec, score in scores.items() if codec != "cp950"), reverse=True
    )
    if best < _CLEAR or best - others[0] < _CLEAR / 2:
        scores = _scores_of(_sample(data))
    if max(scores.values()) < _CLEAR:  # damage may have shifted parts of the sample
        sample = data[:_SAMPLE_MORE]
        slices = [sample[at : at + _SLICE] for at in range(0, len(sample), _SLICE)]
        scores |= {codec: _score(slices, codec) for codec in _CANDIDATES}
    return scores


def _scores_of(pieces: Sequence[bytes]) -> dict[str, float]:
    scores = {codec: _score(pieces, codec) for codec in _CANDIDATES}
    if b"~{" in pieces[0] or b"~}" in pieces[0]:  # seven bits, apart from damage
        sample = pieces[0][:_SAMPLE_MORE]
        if len(_HIGH.findall(sample)) <= len(sample) // 50:
            scores["hz"] = plausibility(decode_hz(sample).text)
    return scores


def _score(pieces: Sequence[bytes], codec: str) -> float:
    """Mean weight over all pieces; any of them may begin in the middle of a character."""
    total, count = 0.0, 0
    for piece in pieces:
        found = weights(_read(piece, codec))
        if codec != "utf-8" and len(found) and found.mean() < _MISREAD:
            shifted = weights(_read(piece[1:], codec))
            found = shifted if len(shifted) and shifted.mean() > found.mean() else found
        total, count = total + float(found.sum()), count + len(found)
    return total / count if count else -3.0


def _read(piece: bytes, codec: str) -> str:
    return codecs.getincrementaldecoder(codec)("replace").decode(piece)


def _sample(data: bytes) -> list[bytes]:
    """The start, the middle, and where the first bytes stand that are not ASCII."""
    if len(data) <= _SAMPLE_HEAD + 2 * _SAMPLE_MORE:
        return [data]
    high = _HIGH.search(data)
    starts = [len(data) // 4 * 2, high.start() if high else 0]
    return [data[:_SAMPLE_HEAD], *(data[at : at + _SAMPLE_MORE] for at in starts)]


def _big5_codec(data: bytes) -> str:
    """Big5 with the characters of Hong Kong, or with those of Windows; the former in doubt."""
    texts = {codec: data.decode(codec, "replace") for codec in _BIG5}
    if texts["big5hkscs"] == texts["cp950"]:
        return "big5hkscs"
    return max(_BIG5, key=lambda codec: plausibility(texts[codec]))


def _decode_as(data: bytes, codec: str, limit: int | None) -> Repaired:
    """The whole text. A cut last character is dropped."""
    if codec == "utf-8":
        return decode_utf8(data, limit)
    if codec == "hz":
        return decode_hz(data, limit)
    if codec == "utf-32-le":
        text = codecs.getincrementaldecoder(codec)("replace").decode(data)
        places = [(4 * hit.start(), hit.start()) for hit in re.finditer("\ufffd", text)]
        return Repaired(text, places, len(places))
    return decode_wide(data, codec, limit)


def _decoded(found: Repaired, encoding: str, margin: float) -> tuple[Decoded, bool]:
    text = found.text.removeprefix("\ufeff")
    gone = len(found.text) - len(text)
    places = [(offset, index - gone) for offset, index in found.places[:MAX_LOCATED]]
    decoded = Decoded(text, encoding, found.lost, margin, _located(text, places))
    return decoded, found.complete


def _located(text: str, places: Sequence[tuple[int, int]]) -> tuple[Damage, ...]:
    located = []
    line, at = 1, 0
    for offset, index in places:
        breaks = [text.count(sign, at, index) for sign in ("\n", "\r", "\r\n")]
        line, at = line + breaks[0] + breaks[1] - breaks[2], index
        context = " ".join(text[max(0, index - 12) : index + 13].split())
        located.append(Damage(offset, line, context))
    return tuple(located)


def _undo_mojibake(decoded: Decoded, limit: int | None) -> tuple[Decoded, bool]:
    """The text as it was before it was misread; unchanged where that is not certain."""
    if not mojibake.looks_garbled(decoded.text):
        return decoded, True
    for misread, data in mojibake.former_bytes(decoded.text):
        scores = _scores(data)
        best = "utf-8" if misread == "gb18030" else max(scores, key=lambda codec: scores[codec])
        found = _decode_as(data, best, None)
        if mojibake.is_certain(decoded.text, found.text, found.lost):
            whole = limit is None or found.lost <= limit
            restored, _ = _decoded(found, decoded.encoding, decoded.margin)
            return replace(restored, mojibake=f"{best} read as {misread}"), whole
    return decoded, True


def _check_is_text(decoded: Decoded, name: str, whole: bool) -> None:
    size = max(1, len(decoded.text))
    controls = len(_CONTROL.findall(decoded.text))
    few = max(2, size // 20 if controls <= MAX_DAMAGED else size // 200)  # damage makes some, too
    if controls > few:
        raise DataError(
            f"{name} is not a text file ({controls} control characters in {size} characters)",
            _EXPECTED,
            "Convert it to .txt, or leave it out.",
        )
    if not whole:
        first = decoded.damage[0] if decoded.damage else Damage(0, 1, "")
        how = f"{decoded.mojibake} and saved again" if decoded.mojibake else decoded.encoding
        raise DataError(
            f"{name} is too damaged: at least {decoded.replacements} characters are lost, "
            f"read as {how}, the encoding that fits best (first at byte {first.offset}, "
            f"line {first.line}: {first.context!r})",
            _EXPECTED,
            "Find a better copy, or accept the loss with data.accept_damaged.",
        )
    if not decoded.text.strip():
        raise DataError(f"{name} is empty", "a file with text in it")
