from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stylellm.corpus.clean import clean
from stylellm.corpus.dedup import DuplicatePlan, Match, find_duplicates, sign
from stylellm.corpus.letters import fold
from stylellm.corpus.read import read_book
from stylellm.corpus.split import Chapter, chapters

LONG = "这一段文字足够长，超过了三十个汉字的下限，因此会被当作重复的段落来看待，绝不含糊。"
OTHER = "另有一段同样足够长的文字，与前面那一段毫无相似之处，所以应当原样保留下来，一字不少。"
FORMULA = "毕竟不知后事如何，且听下回分解。"


def prose(seed: int, length: int) -> str:
    """Random letters, so that two seeds have nothing in common."""
    generator = random.Random(seed)
    return "".join(chr(0x4E00 + generator.randrange(15000)) for _ in range(length))


def edited(text: str, rate: float, seed: int = 0) -> str:
    """With a share of the characters replaced."""
    generator = random.Random(seed)
    return "".join("改" if generator.random() < rate else char for char in text)


def shingles(chapter: Chapter) -> set[tuple[int, ...]]:
    codes = [int(code) for code in fold("".join(chapter.paragraphs)) if code]
    return {tuple(codes[k : k + 3]) for k in range(len(codes) - 2)}


def plan_of(*works: list[Chapter], threshold: float = 0.8) -> DuplicatePlan:
    signed = [(w, c, sign(one)) for w, work in enumerate(works) for c, one in enumerate(work)]
    return find_duplicates(signed, threshold=threshold)


@pytest.mark.parametrize("threshold", [0.0, 0.8])
def test_repeated_chapters_and_paragraphs_go_the_first_stay(threshold: float) -> None:
    first = [Chapter("第一回", (LONG, "众人都笑了。"))]
    second = [
        Chapter("卷一", (LONG, "众人都笑了。")),
        Chapter("卷二", (OTHER, LONG.replace("，", "、"), "众人都笑了。")),
    ]
    plan = plan_of(first, second, threshold=threshold)
    assert plan.chapters == {(1, 0): Match(0, 0, 1.0)}
    assert plan.paragraphs == {(1, 1): {1: Match(0, 0, 1.0, 0)}}


def test_short_paragraphs_and_refrains_within_a_chapter_stay() -> None:
    song = [Chapter("歌", (LONG, "罢了。", LONG))]
    book = [Chapter(f"第{k}回", (prose(k, 200), FORMULA)) for k in range(30)]
    plan = plan_of(song, book)
    assert (plan.chapters, plan.paragraphs) == ({}, {})


def test_a_refrain_is_dropped_from_later_chapters_wherever_it_stands() -> None:
    chapters = [Chapter("", (LONG, OTHER, LONG)), Chapter("", (prose(1, 300), LONG, "罢了", LONG))]
    assert {k: set(v) for k, v in plan_of(chapters).paragraphs.items()} == {(0, 1): {1, 3}}


def test_another_edition_of_a_chapter_is_found() -> None:
    text = prose(1, 4000)
    again = "，".join(edited(text, 0.05)[k : k + 9] for k in range(0, 4000, 9))
    chapters = [Chapter("第一回", tuple(text[k : k + 100] + "。" for k in range(0, 4000, 100)))]
    edition = [Chapter("卷一", (again,))]
    match = plan_of(chapters, edition).chapters[1, 0]
    found = shingles(edition[0])
    assert match.similarity == pytest.approx(
        len(found & shingles(chapters[0])) / len(found), abs=0.06
    )
    assert not plan_of(chapters, edition, threshold=0.0).chapters


def test_traditional_and_simplified_are_one_text() -> None:
    works = [[Chapter("", (LONG * 3,))], [Chapter("", ("這一段文字足夠長,超過了三十個漢字的下限,"
        "因此會被當作重復的段落來看待,絕不含糊." * 3,))]]  # fmt: skip
    assert plan_of(*works, threshold=0.0).chapters == {(1, 0): Match(0, 0, 1.0)}


def test_similar_paragraphs_go_where_they_are_long() -> None:
    long, short = prose(1, 150), prose(2, 60)
    first = [Chapter("", (prose(3, 500), long, short))]
    second = [Chapter("", (prose(4, 500), edited(long, 0.03), edited(short, 0.03)))]
    ((place, found),) = plan_of(first, second).paragraphs.items()
    assert place == (1, 0)
    assert list(found) == [1]
    assert (found[1].work, found[1].chapter, found[1].paragraph) == (0, 0, 1)


def test_a_chapter_that_holds_more_than_an_earlier_one_stays_but_for_its_paragraphs() -> None:
    paragraphs = tuple(prose(k, 120) for k in range(8))
    first, second = [Chapter("", paragraphs[:4])], [Chapter("", paragraphs)]
    plan = plan_of(first, second)
    assert not plan.chapters
    assert set(plan.paragraphs[1, 0]) == {0, 1, 2, 3}
    assert plan_of(second, first).chapters.keys() == {(1, 0)}


def test_a_chapter_of_which_little_is_left_goes_as_a_whole() -> None:
    first = [Chapter("", (prose(1, 100), prose(9, 900))), Chapter("", (prose(2, 100),))]
    second = [Chapter("", (prose(1, 100), prose(2, 100), prose(3, 33)))]
    plan = plan_of(first, second)
    assert plan.chapters.keys() == {(1, 0)}
    exact = plan_of(first, second, threshold=0.0)
    assert set(exact.paragraphs[1, 0]) == {0, 1}


def test_only_what_is_kept_makes_something_else_a_duplicate() -> None:
    """The second chapter goes, with a paragraph that the first lacks; the third keeps that."""
    base = prose(1, 1500)
    only = prose(2, 150)
    works = [[Chapter("", (base,))], [Chapter("", (base, only))],
             [Chapter("", (prose(3, 700), only))]]  # fmt: skip
    plan = plan_of(*works)
    assert plan.chapters.keys() == {(1, 0)}
    assert not plan.paragraphs


def test_likeness_is_not_handed_on() -> None:
    first = prose(1, 3000)
    second = edited(first, 0.045, 1)
    third = edited(second, 0.045, 2)
    plan = plan_of(*([Chapter("", (text,))] for text in (first, second, third)))
    assert plan.chapters.keys() == {(1, 0)}


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 5), max_size=5), max_size=8))
def test_exact_repeats_as_a_dictionary_finds_them(shape: list[list[int]]) -> None:
    pool = [*(prose(k, 35) for k in range(5)), "罢了。"]
    chapters = [Chapter("", tuple(pool[k] for k in one)) for one in shape]
    plan = plan_of(chapters, threshold=0.0)
    whole: dict[str, int] = {}
    seen: dict[str, int] = {}
    for number, chapter in enumerate(chapters):
        text = "".join(chapter.paragraphs)
        if len(text) >= 30 and whole.setdefault(text, number) != number:
            assert (0, plan.chapters[0, number].chapter) not in plan.chapters
            continue
        expected = {
            k
            for k, one in enumerate(chapter.paragraphs)
            if len(one) > 30 and seen.setdefault(one, number) != number
        }
        if (0, number) in plan.chapters:
            assert expected == set(range(len(chapter.paragraphs)))
        else:
            assert set(plan.paragraphs.get((0, number), {})) == expected


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.6, 0.9), st.sampled_from([70, 700]))
@example(28, 0.6338871510528489, 70)  # a family in which the first match of a text goes itself
@example(32, 0.6232265351559912, 700)  # a chapter that goes for its only paragraph's sake
@example(262144, 0.78125, 70)  # the earlier text a quarter longer
def test_near_repeats_as_counting_all_pairs_finds_them(
    seed: int, threshold: float, size: int
) -> None:
    """What goes stands in an earlier text that is kept; what stays does not: but for the error of
    the estimate, five standard deviations with 1024 slots, or with 64 where a paragraph decides."""
    generator = random.Random(seed)
    sources = [prose(seed + k, 700) for k in range(3)]
    texts = [edited(generator.choice(sources), generator.random() * 0.12, k) for k in range(10)]
    texts = [text[: generator.randrange(500, 701)] for text in texts]
    chapters = [
        Chapter("", tuple(text[k : k + size] for k in range(0, len(text), size))) for text in texts
    ]
    error = 0.07 if size < 80 else 0.28
    plan = plan_of(chapters, threshold=threshold)
    sets = [shingles(chapter) for chapter in chapters]
    kept = [number for number in range(10) if (0, number) not in plan.chapters]
    for number, own in enumerate(sets):
        held = {other: len(own & sets[other]) / len(own) for other in kept if other < number}
        match = plan.chapters.get((0, number))
        if match:
            assert threshold <= match.similarity
            assert held[match.chapter] == pytest.approx(match.similarity, abs=error)
        else:
            assert max(held.values(), default=0.0) < threshold + 0.07


def test_what_a_dropped_chapter_alone_would_hold_is_kept() -> None:
    """Nearly all of the third chapter stands in the first two, so that it goes as a whole; then
    the rest of it must not make a paragraph of the fourth a duplicate."""
    one, two, rest = prose(1, 900), prose(2, 900), prose(3, 90)
    chapters = [(one,), (two,), (one, two, rest), (prose(4, 500), rest)]
    plan = plan_of([Chapter("", paragraphs) for paragraphs in chapters])
    assert plan.chapters.keys() == {(0, 2)}
    assert not plan.paragraphs


def test_many_copies_cost_no_more_than_their_number() -> None:
    """Of each text two thousand edited copies: all but the first go."""
    texts = [prose(k, 130) for k in range(3)]
    signature = sign(Chapter("", (texts[0],)))
    variants = [sign(Chapter("", (edited(text, 0.02, k),))) for text in texts for k in range(20)]
    signed = [(0, k, variants[k % 60]) for k in range(6000)]
    plan = find_duplicates([(9, 0, signature), *signed])
    assert len(plan.chapters) == 5998
    assert all(match.similarity > 0.8 for match in plan.chapters.values())


def test_nothing_to_compare() -> None:
    assert find_duplicates([]) == DuplicatePlan()
    assert plan_of([Chapter("只有题目", ())], [Chapter("", ("",))]) == DuplicatePlan()


@pytest.mark.corpus
def test_the_stories_that_an_anthology_reprints_are_found(corpus_dir: Path) -> None:
    """The titles say which: benchmarks/duplicates.py has all of them."""
    works = []
    for title in ("初刻拍案驚奇", "今古奇觀"):
        book = read_book(corpus_dir / "classic" / f"{title}.txt")
        works.append(chapters(clean(book.text, rules="all", script="keep", title=title).text))
    plan = plan_of(*works)
    reprinted = {
        works[1][chapter].title.split()[-1] for work, chapter in plan.chapters if work == 1
    }
    assert reprinted == {"轉運漢遇巧洞庭紅", "姚滴珠避羞惹羞", "劉東山誇技順城門", "清安寺開棺續前緣",
                         "誇妙術丹客提金", "崔俊臣巧會芙蓉屏", "東廊僧招魔陷囹圉"}  # fmt: skip
    assert {match.work for match in plan.chapters.values()} == {0}
    assert not [place for place in plan.chapters if place[0] == 0]
    assert plan_of(works[1]) == DuplicatePlan()
