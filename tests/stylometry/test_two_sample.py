"""The two-sample test: chance for equal sources, certainty for different ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylellm.errors import DataError
from stylellm.stylometry import two_sample
from stylellm.stylometry.two_sample import two_sample_auc

ALPHABET = list("之的了着不也剑光影人天地玄黄宇宙洪荒")


def write(
    source: int, seed: int, groups: int, own_mark: bool = False
) -> tuple[list[str], list[str]]:
    shares = np.random.default_rng(source).dirichlet(np.full(len(ALPHABET), 20.0))
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for group in range(groups):
        for _ in range(6):
            text = "".join(generator.choice(ALPHABET, 200, p=shares))
            texts.append(text + chr(0x9000 + 100 * seed + group) * 5 * own_mark)
            labels.append(f"{seed}:{group}")
    return texts, labels


def auc(real: tuple[list[str], list[str]], generated: tuple[list[str], list[str]]):
    return two_sample_auc(real[0], generated[0], real[1], generated[1])


def test_equal_sources_are_not_told_apart() -> None:
    found = auc(write(1, 1, 10), write(1, 2, 10))
    assert found.auc.low < 0.5 < found.auc.high
    assert (found.real, found.generated, found.auc.n) == (60, 60, 20)


def test_marks_of_single_works_do_not_help() -> None:
    found = auc(write(1, 1, 10, own_mark=True), write(1, 2, 10, own_mark=True))
    assert found.auc.low < 0.5 < found.auc.high


def test_different_sources_are_told_apart() -> None:
    found = auc(write(1, 1, 6), write(5, 2, 6))
    assert found.auc.value > 0.9
    assert found.auc.low > 0.8


def test_bad_input() -> None:
    with pytest.raises(DataError, match=r"1 group\(s\)"):
        auc(write(1, 1, 1), write(1, 2, 5))
    with pytest.raises(DataError):
        two_sample_auc(["之"] * 3, ["的"] * 2, ["a", "b"], ["c", "d"])


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 4)), min_size=2, max_size=30
    )
)
def test_the_area_is_scikit_learns(rows: list[tuple[bool, int, int]]) -> None:
    from sklearn.metrics import roc_auc_score

    truth, scores, weights = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    if len(set(truth)) == 2:
        expected = roc_auc_score(truth, scores, sample_weight=weights)
        assert two_sample.area(truth, scores, weights) == pytest.approx(expected)
