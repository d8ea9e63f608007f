from __future__ import annotations

import pytest

from stylellm.corpus.encoding import decode
from stylellm.corpus.mojibake import looks_garbled
from stylellm.corpus.script import convert
from stylellm.errors import DataError

SIMPLIFIED = (
    "话说大宋年间，江南有一少年，姓林名远山，自幼随师父学剑。这一日，他下得山来，只见长街尽头立着"
    "一个白衣人，那人笑道：“你可认得我么？”林远山摇了摇头，说：“不认得。”"
) * 12
TRADITIONAL = convert(SIMPLIFIED, "traditional")


def as_windows(data: bytes) -> str:
    """GBK as Windows reads it: the byte 0x80 alone is "€"."""
    text = ""
    while data:
        if data[0] == 0x80:
            text, data = text + "€", data[1:]
        else:
            size = 1 if data[0] < 0x80 else 2
            text, data = text + data[:size].decode("gb18030"), data[size:]
    return text


def paired(text: str) -> str:
    """The longest beginning of which the GBK reading loses no byte."""
    for end in range(len(text), 0, -1):
        try:
            as_windows(text[:end].encode())
            return text[:end]
        except UnicodeDecodeError:
            continue
    raise AssertionError


@pytest.mark.parametrize("text", [SIMPLIFIED, TRADITIONAL])
@pytest.mark.parametrize("codec", ["gb18030", "latin-1"])
@pytest.mark.parametrize("saved", ["utf-8", "utf-8-sig", "utf-16"])
def test_utf8_misread_and_saved_again_is_undone(text: str, codec: str, saved: str) -> None:
    text = text if codec == "latin-1" else paired(text)
    garbled = as_windows(text.encode()) if codec == "gb18030" else text.encode().decode(codec)
    decoded = decode(garbled.encode(saved))
    assert decoded.text == text
    assert decoded.mojibake == f"utf-8 read as {codec}"
    assert decoded.encoding == saved
    assert decoded.replacements == 0


def test_windows_1252_is_undone_with_the_bytes_it_lacks() -> None:
    raw = SIMPLIFIED.encode("utf-8")
    garbled = "".join(
        bytes([b]).decode("cp1252", "ignore") or bytes([b]).decode("latin-1") for b in raw
    )
    decoded = decode(garbled.encode("utf-8"))
    assert (decoded.text, decoded.mojibake) == (SIMPLIFIED, "utf-8 read as cp1252")


@pytest.mark.parametrize(("codec", "text"), [("gb18030", SIMPLIFIED), ("big5hkscs", TRADITIONAL)])
def test_chinese_encodings_read_as_latin_are_undone(codec: str, text: str) -> None:
    data = text.encode(codec, "ignore")
    decoded = decode(data.decode("latin-1").encode("utf-8"))
    assert decoded.text == data.decode(codec)
    assert decoded.mojibake == f"{codec} read as latin-1"


@pytest.mark.parametrize("errors", ["replace", "ignore"])
def test_what_the_misreading_lost_comes_back_or_is_damage(errors: str) -> None:
    garbled = SIMPLIFIED.encode("utf-8").decode("gbk", errors).encode("utf-8")
    with pytest.raises(DataError, match="utf-8 read as gb18030 and saved again"):
        decode(garbled)
    decoded = decode(garbled, accept_damaged=True)
    lost_bytes = SIMPLIFIED.encode("utf-8").decode("gbk", "replace").count("\ufffd")
    assert 0 < decoded.replacements <= lost_bytes
    pairs = list(zip(decoded.text, SIMPLIFIED, strict=False))
    assert all(ours in (theirs, "\ufffd") for ours, theirs in pairs[:200])
    assert decoded.text.count("\ufffd") == decoded.replacements


@pytest.mark.parametrize(
    "text",
    [
        SIMPLIFIED,
        "Il était une fois, à la campagne, un garçon très âgé. " * 20,
        "Жили-были старик со старухой у самого синего моря. " * 20,
        "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 20,
        "龘靐齉爩鱻麤龗灪龖厵爨癵籱饢驫鬱虋讟钃" * 30,
        "é" * 500,
        "─━│★☆" * 100,
    ],
)
def test_what_is_no_mojibake_stays(text: str) -> None:
    decoded = decode(text.encode("utf-8"))
    assert decoded.text == text
    assert decoded.mojibake == ""


def test_prose_does_not_look_garbled() -> None:
    assert not looks_garbled(SIMPLIFIED)
    assert not looks_garbled("plain English text " * 50)
    assert looks_garbled(SIMPLIFIED.encode("utf-8").decode("gbk", "replace"))
