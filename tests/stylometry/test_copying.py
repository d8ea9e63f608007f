"""Copying against a naive dynamic programme, with the cap of the bisection down to 3 as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.errors import DataError, OutputError
from stylellm.stylometry import matching
from stylellm.stylometry.copying import CopyIndex
from stylellm.stylometry.suffixes import suffix_array

small = st.text(alphabet="剑光𠀀", max_size=24)
works_of = st.lists(small, min_size=1, max_size=4).filter(any)
spaced = st.text(alphabet="剑光 \n　", max_size=24)


def naive_lengths(text: str, work: str) -> list[int]:
    """Dynamic programme: longest common prefix of text[i:] with any work[j:]."""
    table = [[0] * (len(work) + 1) for _ in range(len(text) + 1)]
    for i in range(len(text) - 1, -1, -1):
        for j in range(len(work) - 1, -1, -1):
            table[i][j] = table[i + 1][j + 1] + 1 if text[i] == work[j] else 0
    return [max(row) for row in table[:-1]]


def naive(text: str, works: list[str]) -> list[int]:
    rows = [naive_lengths(text, work) for work in works]
    return [max(column) for column in zip(*rows, strict=True)]


def index_of(works: list[str], **options: bool) -> CopyIndex:
    return CopyIndex({f"w{k}": work for k, work in enumerate(works)}, **options)


@pytest.fixture(params=[3, matching.CAP], ids=["cap3", "cap64"], scope="module", autouse=True)
def _cap(request: pytest.FixtureRequest):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "CAP", request.param)
        yield


@given(works_of, small)
@settings(max_examples=200)
def test_everything_matches_the_dynamic_programme(works: list[str], text: str) -> None:
    index, expected = index_of(works), naive(text, works)
    assert index.match(text).lengths.tolist() == expected
    copy = index.longest_copy(text)
    assert copy.length == max(expected, default=0)
    if copy.length:
        source = works[int(copy.source[1:])]
        assert source[copy.offset : copy.offset_end] == copy.text
        assert text[copy.query_offset : copy.query_end] == copy.text
        assert copy.query_offset == expected.index(copy.length)
    for n in (1, 2, 5):
        starts = range(len(text) - n + 1)
        new = [not any(text[i : i + n] in work for work in works) for i in starts]
        assert index.novelty(text, n) == pytest.approx(sum(new) / len(new) if new else 0.0)


@given(works_of, small, st.integers(1, 4))
@settings(max_examples=200)
def test_copies_are_all_maximal_runs(works: list[str], text: str, least: int) -> None:
    def found(a: int, b: int) -> bool:
        return a >= 0 and b <= len(text) and any(text[a:b] in work for work in works)

    expected = [
        (a, b)
        for a in range(len(text))
        for b in range(a + least, len(text) + 1)
        if found(a, b) and not found(a - 1, b) and not found(a, b + 1)
    ]
    copies = index_of(works).copies(text, least)
    assert [(copy.query_offset, copy.query_end) for copy in copies] == expected
    for copy in copies:
        assert works[int(copy.source[1:])][copy.offset :].startswith(copy.text)


@given(st.lists(spaced, min_size=1, max_size=3).filter(lambda w: any(map(str.strip, w))), spaced)
@settings(max_examples=200)
def test_whitespace_can_be_left_out(works: list[str], text: str) -> None:
    def bare(one: str) -> str:
        return "".join(one.split())

    index = index_of(works, ignore_whitespace=True)
    expected = naive(bare(text), [bare(work) for work in works])
    copy = index.longest_copy(text)
    assert copy.length == max(expected, default=0)
    if copy.length:
        source = works[int(copy.source[1:])]
        assert bare(source[copy.offset : copy.offset_end]) == bare(copy.text)
        assert len(bare(copy.text)) == copy.length
        assert text[copy.query_offset : copy.query_end] == copy.text
        assert copy.text == copy.text.strip()


@given(st.lists(st.integers(0, 3), max_size=40))
def test_suffix_array_sorts_the_suffixes(codes: list[int]) -> None:
    expected = sorted(range(len(codes)), key=lambda i: codes[i:])
    assert suffix_array(np.array(codes, dtype=np.int32)).tolist() == expected


@pytest.mark.parametrize("alphabet", [2, 256, 257, 3000, 65_536, 70_000])
def test_suffix_array_of_small_and_large_alphabets(alphabet: int) -> None:
    rng = np.random.default_rng(alphabet)
    some = rng.integers(0, alphabet, size=7)
    codes = rng.choice([*some, 0, alphabet - 1], size=300)  # repeats, at both ends of the alphabet
    expected = sorted(range(300), key=lambda i: codes[i:].tolist())
    assert suffix_array(codes, alphabet).tolist() == expected


def test_a_kept_index_answers_as_a_new_one(tmp_path: Path) -> None:
    works = {"甲": "天下 风云\n出我辈", "乙": "剑光一闪，\n人已倒地。"}
    texts = ["只见剑光一闪，人已走了", "风云出", "无", ""]
    fresh = CopyIndex(works, ignore_whitespace=True)
    for _ in range(2):
        kept = CopyIndex(works, ignore_whitespace=True, cache=tmp_path)
        assert isinstance(kept._stored.order, np.memmap)
        for text in texts:
            assert kept.longest_copy(text) == fresh.longest_copy(text)
            assert kept.match(text).lengths.tolist() == fresh.match(text).lengths.tolist()
    assert len(list(tmp_path.iterdir())) == 1
    CopyIndex(works, cache=tmp_path)
    CopyIndex({"甲": "剑光一闪"}, ignore_whitespace=True, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"data\.cache_dir"):
        CopyIndex({"甲": "剑光"}, cache=tmp_path / "file")


def test_source_and_offsets_by_hand() -> None:
    index = CopyIndex({"甲": "天下风云出我辈", "乙": "剑光一闪，人已倒地。"})
    copy = index.longest_copy("只见剑光一闪，他笑了")
    assert (copy.length, copy.text, copy.source) == (5, "剑光一闪，", "乙")
    assert (copy.offset, copy.offset_end, copy.query_offset, copy.query_end) == (0, 5, 2, 7)


def test_equal_runs_name_the_first_work_and_place() -> None:
    copy = index_of(["光", "一剑二剑", "剑"]).longest_copy("剑")
    assert (copy.source, copy.offset) == ("w1", 1)


def test_runs_do_not_cross_works() -> None:
    assert index_of(["剑光", "一闪"]).longest_copy("剑光一闪").length == 2


def test_nothing_in_common() -> None:
    copy = index_of(["剑光"]).longest_copy("云雨")
    assert (copy.length, copy.text, copy.source) == (0, "", None)
    assert index_of(["剑光"]).longest_copy("").length == 0
    assert index_of(["剑光"]).copies("云雨", 0) == []


def test_whitespace_counts_unless_left_out() -> None:
    works, text = ["剑光\n　　一闪"], "剑光一闪"
    assert index_of(works).longest_copy(text).length == 2
    copy = index_of(works, ignore_whitespace=True).longest_copy(text)
    assert (copy.length, copy.offset, copy.offset_end) == (4, 0, 7)


def test_lone_surrogates_do_not_break_it() -> None:
    assert index_of(["a\ud800b"]).longest_copy("\ud800b").length == 2


@pytest.mark.parametrize("works", [{}, {"a": ""}])
def test_nothing_to_index_is_refused(works: dict[str, str]) -> None:
    with pytest.raises(DataError, match="got no text"):
        CopyIndex(works)
    with pytest.raises(DataError, match="got no text"):
        CopyIndex(works | {"b": " \n"}, ignore_whitespace=True)


def test_bad_n_is_refused() -> None:
    with pytest.raises(DataError, match="n of 1 or more"):
        index_of(["剑"]).novelty("剑", 0)


def test_long_runs_of_every_kind() -> None:
    """Long verbatim runs, runs that overlap, and periodic text, where every run is deep."""
    rng = np.random.default_rng(7)
    book = "".join(rng.choice(list("一二三四五六七八九十"), 3000))
    works = [book, "甲乙" * 150, book[:1000][::-1]]
    text = book[100:700] + "云" + book[650:900] + book[1200:1500] + "甲乙" * 300
    assert index_of(works).match(text).lengths.tolist() == naive_fast(text, works)
    assert index_of(works).longest_copy(text).length == 600


def naive_fast(text: str, works: list[str]) -> list[int]:
    """The same as `naive`, through Python's own substring search (ends never move back)."""
    lengths, end = [], 0
    for begin in range(len(text)):
        end = max(end, begin)
        while end < len(text) and any(text[begin : end + 1] in work for work in works):
            end += 1
        lengths.append(end - begin)
    return lengths


@pytest.mark.corpus
def test_a_spliced_passage_is_found_in_a_real_book(corpus_dir: Path) -> None:
    names = ["三俠五義", "綠牡丹"]
    works = {
        name: (corpus_dir / "wuxia" / f"{name}.txt").read_text(encoding="utf-8") for name in names
    }
    other = (corpus_dir / "classic" / "紅樓夢.txt").read_text(encoding="utf-8")[5000:7000]
    index = CopyIndex(works)
    assert index.longest_copy(other).length < 30
    text = other[:1000] + works["綠牡丹"][40_000:40_060] + other[1000:]
    copy = index.longest_copy(text)
    assert copy.source == "綠牡丹"
    assert copy.length >= 60
    assert copy.offset <= 40_000 < copy.offset_end
    assert copy.text in works["綠牡丹"]
    assert [found.source for found in index.copies(text)] == ["綠牡丹"]
    assert index.novelty(text, 50) < 1.0 == index.novelty(other, 50)
