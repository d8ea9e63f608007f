"""Zeta by hand, and against the plainest code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylellm.errors import DataError
from stylellm.stylometry.normalise import without_names
from stylellm.stylometry.zeta import zeta

# Slices of 3: author 剑光闪 剑气寒 光光光 (and 剑, left over); others 刀光冷 刀气寒.
AUTHOR, OTHERS = "剑光闪剑气寒光光光剑", "刀光冷刀气寒"


def values(**options: object) -> dict[str, float]:
    found = zeta(AUTHOR, OTHERS, slice_length=3, unit="character", **options)
    return {one.item: one.zeta for one in found.items}


def test_craig_by_hand() -> None:
    expected = {"剑": 2 / 3 + 1, "光": 2 / 3 + 1 / 2, "闪": 1 / 3 + 1, "气": 1 / 3 + 1 / 2}
    expected |= {"寒": 1 / 3 + 1 / 2, "刀": 0.0, "冷": 1 / 2}
    assert values() == pytest.approx(expected)
    found = zeta(AUTHOR, OTHERS, slice_length=3, unit="character")
    assert (found.author_slices, found.other_slices) == (3, 2)
    assert [one.item for one in found.preferred()] == ["剑", "闪", "光"]
    assert [one.item for one in found.avoided(2)] == ["刀", "冷"]


def test_eder_by_hand() -> None:
    expected = {"剑": 1.0, "光": 1 / 7, "闪": 1.0, "气": -1 / 5, "寒": -1 / 5, "刀": -1, "冷": -1}
    assert values(formula="eder") == pytest.approx(expected)
    found = zeta(AUTHOR, OTHERS, slice_length=3, unit="character", formula="eder")
    assert [one.item for one in found.preferred()] == ["剑", "闪", "光"]


def test_what_is_left_out() -> None:
    assert set(values(shared_only=True)) == {"光", "气", "寒"}
    assert set(values(min_share=0.6)) == {"剑", "光", "刀"}


def test_words_and_several_texts() -> None:
    found = zeta(["他的宝剑。", "他的宝剑，"], ["他的马"], slice_length=2)
    assert [(one.item, one.zeta) for one in found.items] == [("他", 1.0), ("的", 1.0)]
    assert (found.author_slices, found.other_slices) == (2, 1)


def test_marks_and_names_never_stand_in_the_list() -> None:
    author = without_names("展昭道。" * 3, ["展昭", "王"])
    assert author == "〓〓道。" * 3
    found = zeta(author, "王朝笑。" * 3, slice_length=4, unit="character")
    assert {one.item for one in found.items} == {"道", "王", "朝", "笑"}
    assert without_names("展昭", [" "]) == "展昭"


@pytest.mark.parametrize(
    "options", [{"slice_length": 0}, {"slice_length": 11}, {"formula": "burrows"}]
)
def test_bad_input(options: dict[str, object]) -> None:
    with pytest.raises(DataError):
        zeta(AUTHOR, OTHERS, unit="character", **options)


texts = st.lists(st.text(alphabet="之的了剑", max_size=12), min_size=1, max_size=3)


@given(texts, texts)
def test_as_the_plainest_code(author: list[str], others: list[str]) -> None:
    slices = [
        [text[i : i + 2] for text in side for i in range(0, len(text) - 1, 2)]
        for side in (author, others)
    ]
    if not all(slices):
        with pytest.raises(DataError):
            zeta(author, others, slice_length=2, unit="character")
        return
    found = zeta(author, others, slice_length=2, unit="character", min_share=0)
    p1, p2 = (
        {c: sum(c in piece for piece in side) / len(side) for c in "之的了剑"} for side in slices
    )
    assert {one.item: one.zeta for one in found.items} == pytest.approx(
        {c: p1[c] + 1 - p2[c] for c in "之的了剑" if p1[c] or p2[c]}
    )
