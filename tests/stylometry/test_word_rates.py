"""Function-word rates with intervals."""

from __future__ import annotations

import numpy as np
import pytest

from stylellm.errors import DataError
from stylellm.stylometry import function_words, intervals
from stylellm.stylometry.word_rates import jsd_interval, rate_table


def drawn_text(seed: int, shares: tuple[float, ...], length: int = 30000) -> str:
    return "".join(np.random.default_rng(seed).choice(list("之的了剑"), length, p=shares))


PLAIN = (0.02, 0.05, 0.03, 0.9)


def test_the_rates_are_those_of_function_words() -> None:
    text = drawn_text(0, PLAIN)
    found = {row.word: row.rate.value for row in rate_table(text, words=["之", "的"])}
    assert found == pytest.approx(function_words.rates(text, ["之", "的"]))
    assert all(row.reference is None and not row.differs for row in rate_table(text))


def test_the_interval_has_the_width_of_independent_draws() -> None:
    # 30,000 independent characters: deviation of a rate of 50 per 1000 is 1000 sqrt(pq / n).
    (row,) = rate_table(drawn_text(1, PLAIN), words=["的"])
    width = 2 * 1.96 * 1000 * (0.05 * 0.95 / 30000) ** 0.5
    assert row.rate.high - row.rate.low == pytest.approx(width, rel=0.5)
    assert row.rate.low < 50 < row.rate.high
    assert row.rate.n == 30


def test_a_real_difference_is_seen_and_equal_sources_are_not() -> None:
    text, same = drawn_text(2, PLAIN), drawn_text(3, PLAIN)
    other = drawn_text(4, (0.04, 0.05, 0.03, 0.88))
    words = ["之", "的", "了"]
    assert [row.differs for row in rate_table(text, same, words)] == [False] * 3
    assert [row.differs for row in rate_table(text, other, words)] == [True, False, False]
    row = rate_table(text, other, words)[0]
    assert row.difference.value == pytest.approx(row.rate.value - row.reference.value)


def test_passages_of_one_scene_widen_the_interval() -> None:
    # The same rate, but the word comes in one passage of four: far less is known.
    even = ("的" * 50 + "剑" * 950) * 20
    lumpy = ("的" * 200 + "剑" * 800 + "剑" * 3000) * 5
    narrow, wide = (rate_table(text, words=["的"])[0].rate for text in (even, lumpy))
    assert narrow.value == wide.value == 50
    assert narrow.high - narrow.low < 1e-9
    assert wide.high - wide.low > 50


def test_a_short_text_has_no_interval() -> None:
    (row,) = rate_table("之的剑", "之剑剑", ["之"])
    assert (row.rate.low, row.difference.low, row.differs) == (None, None, False)
    with pytest.raises(DataError, match="without characters"):
        rate_table(" \n")


def test_jsd_interval() -> None:
    text, other = drawn_text(5, PLAIN), drawn_text(6, (0.04, 0.05, 0.03, 0.88))
    found = jsd_interval(text, other)
    assert found.value == pytest.approx(function_words.jsd(text, other), abs=1e-12)
    assert found.low < found.value < found.high
    assert found.low > jsd_interval(text, drawn_text(7, PLAIN)).high
    assert jsd_interval("之的", "之剑") == intervals.Interval(
        pytest.approx(function_words.jsd("之的", "之剑")), None, None, 1
    )
