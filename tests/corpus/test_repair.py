"""Damaged bytes cost few characters; compared with what Python's own decoders would lose."""

from __future__ import annotations

import codecs
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylellm.corpus.encoding import decode
from stylellm.corpus.hz import decode_hz
from stylellm.corpus.plausibility import plausibility, run_weights
from stylellm.corpus.repair import byte_lengths, decode_utf8, decode_wide
from stylellm.corpus.script import convert

# One line without a single ASCII byte to find the way again by.
SIMPLIFIED = (
    "却说那日正是中秋佳节，城中家家户户挂灯结彩。少年独自一人走出城门，沿着河岸缓缓而行，心中想起师父临别"
    "时所说的话来：“江湖险恶，人心难测，你此去千万小心。”忽听得前面树林里有人高声叫喊，他急忙赶上前去看时，"
    "只见三个大汉围着一个老人，正要动手。少年大喝一声，拔剑而出，剑光闪处，当先那汉子手中的刀已断为两截。"
) * 4
TRADITIONAL = convert(SIMPLIFIED, "traditional")
FORMS = [
    ("utf-8", SIMPLIFIED),
    ("gb18030", SIMPLIFIED),
    ("gb18030", TRADITIONAL),
    ("big5hkscs", TRADITIONAL),
    ("utf-16-le", SIMPLIFIED),
    ("utf-16-be", TRADITIONAL),
    ("hz", SIMPLIFIED),
]


def missing(wanted: str, text: str) -> int:
    """Characters of `wanted` between what is right at the start and at the end of `text`."""
    start = len(os.path.commonprefix([wanted, text]))  # noqa: RUF071
    rest, given = wanted[start:], text[start:]
    end = len(os.path.commonprefix([rest[::-1], given[::-1]]))  # noqa: RUF071
    return len(rest) - end


def repaired(data: bytes, codec: str):
    if codec == "utf-8":
        return decode_utf8(data)
    return decode_hz(data) if codec == "hz" else decode_wide(data, codec)


@pytest.mark.parametrize(("codec", "text"), FORMS)
@pytest.mark.parametrize("kind", ["change", "remove", "insert"])
def test_a_damaged_byte_costs_a_few_characters(codec: str, text: str, kind: str) -> None:
    chance = random.Random(f"{codec}{kind}{text[0]}")
    good = text.encode(codec, "ignore")
    wanted = good.decode(codec)
    lost = []
    for _ in range(12):
        data = bytearray(good)
        at = chance.randrange(10, len(data) - 60)
        if kind == "change":
            data[at] = chance.randrange(256)
        elif kind == "remove":
            del data[at]
        else:
            data.insert(at, chance.randrange(256))
        found = repaired(bytes(data), codec)
        lost.append(missing(wanted, found.text))
        assert found.lost <= 3
    assert sum(lost) / len(lost) <= 3
    assert max(lost) <= 12


@pytest.mark.parametrize(("codec", "text"), FORMS)
def test_undamaged_text_is_what_the_codec_reads(codec: str, text: str) -> None:
    data = text.encode(codec, "ignore")
    found = repaired(data, codec)
    assert (found.text, found.places, found.lost) == (data.decode(codec), [], 0)


@pytest.mark.parametrize(("codec", "text"), FORMS)
def test_a_file_cut_at_its_start_is_read_from_the_next_character(codec: str, text: str) -> None:
    data = text.encode(codec, "ignore")
    wanted = data.decode(codec)
    for cut in (1, 2, 3) if codec != "hz" else (3, 4, 5):
        found = decode(data[cut:])
        assert wanted.endswith(found.text[-len(wanted) + 8 :])
        assert found.replacements <= 1


def test_places_name_the_damaged_byte_and_the_character() -> None:
    data = bytearray(SIMPLIFIED.encode("gb18030"))
    data[400] = data[401] = 0xFF
    found = decode_wide(bytes(data), "gb18030")
    assert found.places == [(400, 200)]
    assert found.text == SIMPLIFIED[:200] + "\ufffd" + SIMPLIFIED[201:]
    data = bytearray(SIMPLIFIED.encode("utf-8"))
    data[601] = ord("x")
    found = decode_utf8(bytes(data))
    assert (found.places, found.lost) == ([(600, 200)], 1)
    assert found.text == SIMPLIFIED[:200] + "\ufffd" + SIMPLIFIED[201:]


@pytest.mark.parametrize("codec", ["gb18030", "big5hkscs", "cp950", "utf-16-le"])
def test_every_character_takes_the_bytes_it_is_written_in(codec: str) -> None:
    lengths = byte_lengths(codec)
    codes = [*range(0x20, 0x3000), *range(0x4E00, 0x9FA6), *range(0xFF00, 0xFFF0)]
    for code in codes:
        written = len(chr(code).encode(codec, "ignore"))
        assert written in (0, lengths[code]), chr(code)


def test_reading_stops_beyond_the_limit() -> None:
    data = b"\xff".join([SIMPLIFIED[:50].encode("gb18030")] * 40)
    assert decode_wide(data, "gb18030").lost == 39
    found = decode_wide(data, "gb18030", limit=5)
    assert not found.complete and 5 < found.lost < 12
    data = b"\xff".join([SIMPLIFIED[:50].encode("utf-8")] * 40)
    assert not decode_utf8(data, limit=5).complete


def test_rare_characters_are_no_damage() -> None:
    text = "龘靐齉爩鱻麤龗灪吁龖厵滟爨癵籱饢驫鲡鹂鸾鬱虋讟钃" * 8 + "𠀀𪚥㐂" * 5 + "─━│★☆" * 10
    data = (SIMPLIFIED + text).encode("gb18030")
    assert decode_wide(data, "gb18030").text == SIMPLIFIED + text
    data = (SIMPLIFIED + text).encode("utf-16-le")
    assert decode_wide(data, "utf-16-le").text == SIMPLIFIED + text


@given(
    st.binary(max_size=600), st.sampled_from(["gb18030", "big5hkscs", "cp950", "utf-16-le", "hz"])
)
def test_any_bytes_are_read_to_the_end(data: bytes, codec: str) -> None:
    found = repaired(data, codec)
    assert found.complete
    assert found.text.count("\ufffd") >= found.lost
    for offset, index in found.places:
        assert 0 <= offset < len(data)
        assert found.text[index] == "\ufffd"
    found.text.encode("utf-8")


@given(st.text(alphabet=sorted(set(SIMPLIFIED) | set("abc~{}\n 1")), max_size=200))
def test_hz_is_read_as_pythons_codec_reads_it(text: str) -> None:
    held = "".join(char for char in text if char.encode("hz", "ignore"))
    assert decode_hz(held.encode("hz")).text == held


def test_hz_cut_anywhere_ends_with_a_whole_character() -> None:
    data = (SIMPLIFIED[:20] + "\nab~c\n" + SIMPLIFIED[20:40]).encode("hz")
    for size in range(10, len(data)):
        wanted = codecs.getincrementaldecoder("hz")("strict").decode(data[:size])
        assert decode_hz(data[:size]).text == wanted


def test_hz_goes_on_after_a_lost_escape() -> None:
    lines = [SIMPLIFIED[:40], SIMPLIFIED[40:80], SIMPLIFIED[80:120]]
    data = "\n".join(lines).encode("hz")
    second = data.index(b"\n~{") + 1
    for broken in (data[:second] + data[second + 2 :], data[:second] + b"x" + data[second + 1 :]):
        text = decode_hz(broken).text
        assert missing("\n".join(lines), text) <= 2


def test_plausibility_is_a_mean_over_units() -> None:
    assert plausibility("的的的的") == 1.0
    assert plausibility("") == -3.0
    assert run_weights("的" * 20 + "龘" * 12, 16).tolist() == pytest.approx([1.0, -0.05], abs=1e-6)
