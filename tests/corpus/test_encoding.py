from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.encoding import decode, plausibility
from stylellm.corpus.script import convert
from stylellm.errors import DataError

SIMPLIFIED = (
    "话说大宋年间，江南有一少年，姓林名远山，自幼随师父学剑。这一日，他下得山来，只见长街尽头立着"
    "一个白衣人，那人笑道：“你可认得我么？”林远山摇了摇头，说：“不认得。”\n"
) * 6
TRADITIONAL = convert(SIMPLIFIED, "traditional").translate(str.maketrans("“”着", "「」著"))
# Decoding with a superset of the codec that wrote a file is as good; the two differ in rare signs.
SUPERSETS = {"gb2312": ("gb2312", "gb18030"), "big5": ("big5", "cp950", "big5hkscs")}
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")
MATRIX = (
    [(encoding, text) for encoding in UNICODE for text in (SIMPLIFIED, TRADITIONAL)]
    + [(encoding, SIMPLIFIED) for encoding in ("gb2312", "gbk", "gb18030", "hz")]
    + [(encoding, TRADITIONAL) for encoding in ("gb18030", "big5", "cp950", "big5hkscs")]
)


@pytest.mark.parametrize(("encoding", "text"), MATRIX)
@pytest.mark.parametrize("size", [60, 200, 401, None])
def test_every_encoding_is_recognised(encoding: str, text: str, size: int | None) -> None:
    data = text.encode(encoding)[:size]
    wanted = data.decode(encoding, "ignore")
    decoded = decode(data)
    assert wanted.startswith(decoded.text)
    assert len(wanted) - len(decoded.text) <= 1  # a character cut by the end is left out
    assert decoded.replacements == 0
    assert data.decode(decoded.encoding, "ignore").startswith(decoded.text)


def test_the_encoding_is_the_codec_that_reads_the_file() -> None:
    assert decode(SIMPLIFIED.encode("utf-8")).encoding == "utf-8"
    assert decode(SIMPLIFIED.encode("utf-8-sig")).encoding == "utf-8-sig"
    assert decode(SIMPLIFIED.encode("gbk")).encoding == "gb18030"
    assert decode(TRADITIONAL.encode("big5")).encoding == "big5hkscs"
    assert decode(SIMPLIFIED.encode("utf-16-be")).encoding == "utf-16-be"
    assert decode(b"plain English text, nothing else").encoding == "utf-8"
    assert decode("plain English".encode("utf-16-le")).text == "plain English"


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16-le"])
def test_a_few_damaged_bytes_are_counted_and_the_rest_is_read(encoding: str) -> None:
    data = bytearray(SIMPLIFIED.encode(encoding))
    for position in (100, 300):
        data[position : position + 2] = b"\xff\xff" if encoding != "utf-16-le" else b"\x00\xd8"
    decoded = decode(bytes(data))
    assert decoded.encoding == encoding
    assert 1 <= decoded.replacements <= 8
    assert decoded.text.count("\ufffd") == decoded.replacements
    assert decoded.text[-200:] == SIMPLIFIED[-200:]


def test_a_replacement_character_in_the_file_itself_is_no_damage() -> None:
    text = SIMPLIFIED + "\ufffd\ufffd"
    assert decode(text.encode("utf-8")).replacements == 0
    assert decode(text.encode("gb18030")).replacements == 0


def test_margin_tells_a_guess_from_a_certainty() -> None:
    assert decode(SIMPLIFIED.encode("utf-8")).margin == 1.0
    assert 0.3 < decode(SIMPLIFIED.encode("gbk")).margin < 1.0


def test_every_guess_says_how_sure_it_is() -> None:
    for encoding, text in (("hz", SIMPLIFIED), ("big5", TRADITIONAL), ("utf-16-le", SIMPLIFIED)):
        assert decode(text.encode(encoding)).margin > 0.3
    assert decode("他".encode("gbk")).margin < 0.9


def test_chinese_behind_a_long_english_page_is_found() -> None:
    data = b"Project Gutenberg license. " * 4000 + SIMPLIFIED.encode("gb18030")
    decoded = decode(data)
    assert (decoded.encoding, decoded.text[-30:]) == ("gb18030", SIMPLIFIED[-30:])


def test_signs_of_windows_and_of_hong_kong_tell_the_two_big5_apart() -> None:
    assert decode((TRADITIONAL + "好～好").encode("cp950")).text.endswith("好～好")
    assert decode((TRADITIONAL + "㗎啲咗嘢").encode("big5hkscs")).text.endswith("㗎啲咗嘢")


def test_twenty_damaged_bytes_are_read_and_many_more_are_not() -> None:
    data = bytearray(SIMPLIFIED.encode("utf-8"))
    for at in range(0, 20 * 60, 60):
        data[at] = 0xFF  # a first byte: two others of its character are lost with it
    decoded = decode(bytes(data))
    assert decoded.replacements == 20
    offsets = [damage.offset for damage in decoded.damage]  # of the characters' first bytes
    assert all(0 <= at - offset < 3 for at, offset in zip(range(0, 1200, 60), offsets, strict=True))
    data[1202] = data[1262] = data[1322] = 0xFF
    with pytest.raises(DataError, match=r"too damaged.*accept_damaged"):
        decode(bytes(data))
    assert decode(bytes(data), accept_damaged=True).replacements > 20


@pytest.mark.parametrize(("encoding", "text"), MATRIX)
def test_twenty_random_bytes_leave_a_text_readable(encoding: str, text: str) -> None:
    chance = random.Random(encoding)
    for _ in range(4):
        data = bytearray(text.encode(encoding))
        for at in chance.sample(range(4, len(data)), 20):
            data[at] = chance.randrange(256)
        decoded = decode(bytes(data))
        assert decoded.replacements <= 20
        assert len(decoded.text) > 0.9 * len(text)


def test_a_share_below_a_thousandth_is_read_in_a_long_text() -> None:
    data = bytearray((SIMPLIFIED * 60).encode("gb18030"))
    for at in range(1000, 1000 + 30 * 1500, 1500):
        data[at] = 0xFF
    assert 25 <= decode(bytes(data)).replacements <= 60


def test_other_languages_in_damaged_utf8_stay_utf8() -> None:
    data = bytearray(("Жили-были старик со старухой у самого синего моря. " * 20).encode("utf-8"))
    data[101] = 0xFF
    decoded = decode(bytes(data))
    assert (decoded.encoding, decoded.replacements) == ("utf-8", 1)


def test_noise_is_no_text_even_where_damage_is_accepted() -> None:
    noise = random.Random(1).randbytes(5000)
    for accept in (False, True):
        with pytest.raises(DataError, match="not a text file"):
            decode(noise, accept_damaged=accept)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \r\n\t ", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (bytes(range(256)) * 40, "novel.txt"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00" + bytes(300), "not a text file"),
    ],
)
def test_what_is_not_text_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        decode(data, "novel.txt")
    assert "novel.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plausibility_prefers_the_right_reading() -> None:
    right = plausibility(SIMPLIFIED)
    wrong = plausibility(SIMPLIFIED.encode("gbk").decode("big5hkscs", "replace"))
    assert right > 0.5
    assert wrong < 0.2


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_random_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        decoded = decode(data)
    except DataError:
        return
    assert decoded.text.strip()


@given(
    st.text(alphabet=sorted(set(SIMPLIFIED)), min_size=30, max_size=300), st.sampled_from(UNICODE)
)
@settings(max_examples=100, deadline=None)
def test_scrambled_prose_survives_every_unicode_form(text: str, encoding: str) -> None:
    if not text.strip():
        return
    assert decode(text.encode(encoding)).text == text


@pytest.mark.corpus
@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [1, 2, 10, 100])
def test_real_books_decode_exactly(corpus_dir, kilobytes: int) -> None:
    failures = []
    for path in sorted(corpus_dir.glob("*/*.txt"))[:: 1 if kilobytes < 10 else 6]:
        source = path.read_text(encoding="utf-8")[: kilobytes * 1100]
        texts = {script: convert(source, script) for script in ("simplified", "traditional")}
        forms = [(encoding, source) for encoding in UNICODE]
        forms += [("gb18030", texts["simplified"]), ("gb18030", texts["traditional"])]
        forms += [("gb2312", texts["simplified"]), ("hz", texts["simplified"])]
        forms += [("big5", texts["traditional"]), ("big5hkscs", texts["traditional"])]
        for encoding, text in forms:
            for cut in (kilobytes * 1000, kilobytes * 1000 + 1):
                data = text.encode(encoding, "ignore")[:cut]
                codecs = SUPERSETS.get(encoding, (encoding,))
                decoded = decode(data)
                wanted = [data.decode(codec, "ignore") for codec in codecs]
                if not any(text.startswith(decoded.text) for text in wanted):
                    failures.append((path.name, encoding, cut, decoded.encoding))
                if decoded.replacements or len(wanted[0]) - len(decoded.text) > 1:
                    failures.append((path.name, encoding, cut, "lost characters"))
    assert failures == []
