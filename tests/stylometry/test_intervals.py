"""Passages and intervals: by hand, against scipy, and by their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from stylellm.errors import DataError
from stylellm.stylometry import intervals
from stylellm.stylometry.intervals import passages


def test_passages_by_hand() -> None:
    assert passages("一二 三\n四五六七八", 3) == ["一二 三\n", "四五六", "七八"]
    assert passages("一二三四五六七", 3) == ["一二三", "四五六七"]
    assert passages("一二三四五六七", 3, whole=True) == ["一二三", "四五六"]
    assert passages("一二", 3, whole=True) == passages(" \n", 3) == []


@given(st.text(alphabet="一二三 \n", max_size=60), st.integers(1, 9), st.booleans())
def test_passages_hold_the_text(text: str, length: int, whole: bool) -> None:
    found = passages(text, length, whole=whole)
    ink = "".join(text.split())
    kept = "".join("".join(found).split())
    sizes = [len("".join(piece.split())) for piece in found]
    if whole:
        assert kept == ink[: len(ink) // length * length]
        assert set(sizes) <= {length}
    else:
        assert kept == ink
        assert all(size == length for size in sizes[:-1])
        assert not sizes or sizes[-1] < 1.5 * length


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_share_is_wilsons_interval(case: tuple[int, int]) -> None:
    found = intervals.share(*case)
    oracle = binomtest(*case).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for case in range(200):
        found = intervals.mean(generator.exponential(size=40).tolist(), draws=300, seed=case)
        covered += found.low <= 1.0 <= found.high
    assert 0.88 <= covered / 200 <= 0.98


def test_one_value_has_no_interval() -> None:
    assert intervals.mean([3.0]) == intervals.Interval(3.0, None, None, 1)
    one_work = intervals.clustered_share([True, False], ["work", "work"])
    assert one_work == intervals.Interval(0.5, None, None, 1)


def test_groups_and_not_cases_are_resampled() -> None:
    # 50 passages of a work stand or fall together: two works say little, 100 prompts much.
    hits = [True] * 50 + [False] * 50
    two = intervals.clustered_share(hits, ["a"] * 50 + ["b"] * 50)
    many = intervals.clustered_share(hits, [str(k) for k in range(100)])
    assert (two.low, two.high) == (0.0, 1.0)
    assert 0.38 < many.low < 0.45
    assert 0.55 < many.high < 0.62


def test_stretches_have_the_lengths_asked_and_do_not_overlap() -> None:
    text = "".join(chr(0x4E00 + k) for k in range(50))
    spaced = "\n".join(text[k : k + 7] for k in range(0, 50, 7))
    for seed in range(30):
        found = intervals.apart(spaced, [9, 0, 20, 3], np.random.default_rng(seed))
        assert sorted(map(len, found)) == [0, 3, 9, 20]
        assert all(piece in text + text for piece in found)
        assert len(set("".join(found))) == 32
    begins = {intervals.apart(text, [5], np.random.default_rng(s))[0][0] for s in range(40)}
    assert len(begins) > 15
    whole = intervals.apart(text, [20, 30], np.random.default_rng(0))
    assert len(set("".join(whole))) == 50
    with pytest.raises(DataError, match="50 characters"):
        intervals.apart(text, [20, 31], np.random.default_rng(0))


@pytest.mark.parametrize(
    "call",
    [
        lambda: passages("一", 0),
        lambda: intervals.mean([]),
        lambda: intervals.share(0, 0),
        lambda: intervals.clustered_share([], []),
    ],
)
def test_nothing_to_measure_is_an_error(call) -> None:
    with pytest.raises(DataError):
        call()


def test_around_takes_the_bootstraps_bias_off() -> None:
    """By hand: draws 2, 3, 4 of an estimate of 1 are 2 too high on the average."""
    low, high = intervals.around(1.0, np.array([2.0, 3.0, 4.0]), confidence=1.0)
    assert (low, high) == (0.0, 2.0)
    assert tuple(intervals.around(5.0, np.array([5.0, 5.0]))) == (5.0, 5.0)


def test_around_covers_the_distance_of_the_sources() -> None:
    """Total variation 0.05 of a source from even odds, by samples of 40; the estimate lies within."""
    generator = np.random.default_rng(3)
    source, covered = np.array([0.55, 0.45]), 0
    for _ in range(200):
        counts = generator.multinomial(40, source)
        drawn = generator.multinomial(40, counts / 40, size=300) / 40
        values = np.abs(drawn - 0.5).sum(1) / 2
        value = float(np.abs(counts / 40 - 0.5).sum() / 2)
        low, high = intervals.around(value, values)
        covered += low <= 0.05 <= high
        assert low <= value <= high
    assert covered >= 180
