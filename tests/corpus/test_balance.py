from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.balance import balance
from stylellm.corpus.split import Section
from stylellm.errors import DataError


def book(author: str, title: str, sizes: list[int], source: int = 0) -> list[Section]:
    return [
        Section(title, str(k), "字" * size, True, source=source, author=author)
        for k, size in enumerate(sizes)
    ]


def characters(sections: list[Section], key: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for section in sections:
        counts[getattr(section, key)] += len(section.text)
    return dict(counts)


def test_without_limits_all_is_kept() -> None:
    sections = book("甲", "书", [3, 4])
    assert balance(sections) == (sections, [])


def test_a_work_is_held_under_its_limit_by_whole_chapters() -> None:
    sections = book("甲", "长", [100] * 50) + book("甲", "短", [100] * 5, source=1)
    kept, dropped = balance(sections, max_characters_per_work=1050)
    assert characters(kept, "work") == {"长": 1000, "短": 500}
    assert sorted([*kept, *dropped], key=sections.index) == sections
    chosen = [int(section.chapter) for section in kept if section.work == "长"]
    assert chosen == sorted(chosen)
    assert max(chosen) > 25  # spread over the work, not its beginning


def test_two_files_of_one_title_are_two_works() -> None:
    sections = book("甲", "书", [100] * 5) + book("甲", "书", [100] * 5, source=1)
    kept, _ = balance(sections, max_characters_per_work=300)
    assert characters(kept, "source") == {0: 300, 1: 300}


def test_an_author_is_held_under_a_limit() -> None:
    sections = book("甲", "一", [50] * 20) + book("甲", "二", [50] * 20) + book("乙", "三", [50])
    kept, _ = balance(sections, max_characters_per_author=500)
    assert characters(kept, "author") == {"甲": 500, "乙": 50}


def test_weights_are_shares_of_the_characters() -> None:
    sections = (
        book("甲", "一", [10] * 300) + book("乙", "二", [10] * 300) + book("丙", "三", [10] * 100)
    )
    kept, _ = balance(sections, author_weights={"甲": 2, "乙": 0.5})
    assert characters(kept, "author") == {"甲": 2000, "乙": 500, "丙": 1000}
    kept, _ = balance(sections, author_weights={"丙": 0})
    assert characters(kept, "author") == {"甲": 3000, "乙": 3000}


def test_held_out_sections_are_never_left_out() -> None:
    held = [Section("一", "试", "字" * 900, True, split="test", author="甲")]
    sections = book("甲", "一", [100] * 9) + held
    kept, dropped = balance(sections, max_characters_per_work=100, author_weights={"甲": 1})
    assert held[0] in kept
    assert len(dropped) == 8


def test_the_seed_decides() -> None:
    sections = book("甲", "一", list(range(1, 60)))
    options: dict[str, Any] = {"max_characters_per_author": 400}
    assert balance(sections, seed=1, **options) == balance(sections, seed=1, **options)
    assert balance(sections, seed=1, **options) != balance(sections, seed=2, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_characters_per_work": 5}, "max_characters_per_work is 5.*《?一》? has 10"),
        ({"max_characters_per_author": 9}, "max_characters_per_author is 9.*甲 has 10"),
        ({"author_weights": {"甲": -1}}, "below 0 for 甲"),
        ({"author_weights": {"甲": float("nan")}}, "below 0 for 甲"),
        ({"author_weights": {"丁": 1}}, "names 丁; expected authors of the books: 甲"),
        ({"author_weights": {"甲": 0}}, "leaves no training text"),
    ],
)
def test_impossible_limits_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        balance(book("甲", "一", [10, 20]), **options)


@settings(max_examples=100)
@given(
    st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=20), min_size=1, max_size=4),
    st.lists(st.floats(0.1, 5), min_size=4, max_size=4),
)
def test_shares_are_reached_to_within_half_a_chapter(
    sizes: list[list[int]], weights: list[float]
) -> None:
    sections = [one for k, some in enumerate(sizes) for one in book(str(k), str(k), some)]
    shares = {str(k): weights[k] for k in range(len(sizes))}
    kept, dropped = balance(sections, author_weights=shares)
    scale = min(sum(some) / weights[k] for k, some in enumerate(sizes))
    counts = characters(kept, "author")
    for k, some in enumerate(sizes):
        assert abs(counts.get(str(k), 0) - scale * weights[k]) <= max(some) / 2 + 1e-6
    assert len(kept) + len(dropped) == len(sections)
