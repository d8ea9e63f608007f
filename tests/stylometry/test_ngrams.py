"""N-gram measures against dictionary counts and scipy."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from stylellm.errors import DataError
from stylellm.stylometry.ngrams import (
    NgramSet,
    distinct_n,
    divergence,
    overlap,
    rep_n,
    similarity,
)

prose = st.text(alphabet="剑光一闪，𠀀 \n", max_size=40)
lengths = st.integers(min_value=1, max_value=6)


def grams(text: str, n: int) -> list[str]:
    bare = "".join(c for c in text if not c.isspace())
    return [bare[i : i + n] for i in range(len(bare) - n + 1)]


def test_overlap_counts_occurrences_not_types() -> None:
    assert overlap("剑剑剑光", "剑", 1) == pytest.approx(3 / 4)
    assert overlap("剑光一闪", "剑光、一闪", 2) == pytest.approx(2 / 3)


def test_whitespace_is_removed_first() -> None:
    assert overlap("剑\n光", "剑　光", 2) == 1.0


def test_ngrams_do_not_cross_from_one_text_into_the_next() -> None:
    assert overlap("剑光", ["剑", "光"], 2) == 0.0
    assert overlap(["剑光", "一闪"], "剑光一闪", 2) == 1.0
    assert NgramSet(["剑光", "", "一"], 2).total(2) == 1


def test_a_text_shorter_than_n_has_no_overlap_and_no_repetition() -> None:
    assert overlap("剑", "剑", 2) == 0.0
    assert overlap("剑光", "", 1) == 0.0
    assert (distinct_n("剑", 2), rep_n("剑", 2)) == (1.0, 0.0)


def test_repetition_by_hand() -> None:
    # 哈哈 哈哈 哈笑: 3 occurrences, 2 different
    assert distinct_n("哈哈哈笑", 2) == pytest.approx(2 / 3)
    assert rep_n("哈哈哈笑", 2) == pytest.approx(1 / 3)


def test_bad_n_is_refused() -> None:
    with pytest.raises(DataError, match="n of 1 or more"):
        overlap("剑", "剑", 0)
    with pytest.raises(DataError, match="max_n=3"):
        overlap("剑光一闪", NgramSet("剑光一闪", 2), 3)
    with pytest.raises(DataError, match="no n-gram of 2"):
        divergence("剑", "剑光", 2)


@given(prose, prose, lengths)
def test_overlap_matches_a_dictionary_count(text: str, reference: str, n: int) -> None:
    found, own = set(grams(reference, n)), grams(text, n)
    expected = sum(gram in found for gram in own) / len(own) if own else 0.0
    assert overlap(text, reference, n) == pytest.approx(expected)
    assert overlap(text, NgramSet(reference, 6), n) == pytest.approx(expected)
    assert overlap(text, text, n) == (1.0 if own else 0.0)


@given(st.lists(prose, max_size=3), prose, lengths)
def test_set_counts_match_a_dictionary_count(texts: list[str], query: str, n: int) -> None:
    expected = Counter(gram for text in texts for gram in grams(text, n))
    index = NgramSet(texts, 6)
    assert index.counts(query, n).tolist() == [expected[gram] for gram in grams(query, n)]
    assert index.total(n) == expected.total()
    assert index.distinct(n) == len(expected)


@given(prose, prose, lengths)
def test_divergence_matches_scipy(text: str, reference: str, n: int) -> None:
    p, q = Counter(grams(text, n)), Counter(grams(reference, n))
    if not p or not q:
        return
    names = sorted(p | q)
    distance = jensenshannon([p[g] for g in names], [q[g] for g in names], base=2)
    value = divergence(text, reference, n)
    assert value == pytest.approx(float(distance) ** 2, abs=1e-9)
    assert value == pytest.approx(divergence(reference, text, n), abs=1e-12)
    assert similarity(text, reference, n) == 1 - value
    assert divergence(text, text, n) == 0.0


@given(prose, lengths)
def test_repetition_matches_a_set(text: str, n: int) -> None:
    own = grams(text, n)
    expected = len(set(own)) / len(own) if own else 1.0
    assert distinct_n(text, n) == pytest.approx(expected)
    assert rep_n(text, n) == pytest.approx(1 - expected)
