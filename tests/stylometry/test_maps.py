"""Rolling Delta, components, tree: against numpy, scipy and scikit-learn used the plain way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster
from sklearn.decomposition import PCA

from stylellm.errors import DataError
from stylellm.stylometry import delta, maps
from stylellm.stylometry.rolling import rolling_delta


def text_of(zhi: int, de: int, length: int = 20) -> str:
    return "之" * zhi + "的" * de + "剑" * (length - zhi - de)


PROFILES = {"A": text_of(2, 6), "B": text_of(4, 2), "C": text_of(6, 4), "D": text_of(9, 1)}


def test_every_window_is_a_delta_of_its_own() -> None:
    text = (text_of(8, 6) + text_of(1, 9)) * 2
    for measure, one in (("burrows", delta.burrows_delta), ("cosine", delta.cosine_delta)):
        found = rolling_delta(PROFILES, "\n".join(text), window=30, step=10, measure=measure)
        assert found.begins == (0, 10, 20, 30, 40, 50)
        for begin, row in zip(found.begins, found.distances, strict=True):
            expected = one(PROFILES, text[begin : begin + 30])
            assert dict(zip(found.names, row, strict=True)) == pytest.approx(expected)


def test_it_shows_where_the_text_changes_hands() -> None:
    text = PROFILES["A"] * 5 + PROFILES["D"] * 5
    found = rolling_delta(PROFILES, text, window=20, step=20)
    assert found.nearest() == ["A"] * 5 + ["D"] * 5


def test_a_short_text_is_one_window_and_words_work() -> None:
    assert rolling_delta(PROFILES, "之的剑", window=50).begins == (0,)
    profiles = {"one": "the the cat sat", "two": "the cat dog ran"}
    found = rolling_delta(profiles, "cat cat sat the the", window=3, step=1, unit="word")
    expected = delta.burrows_delta(profiles, "cat sat the", unit="word")
    assert found.begins == (0, 1, 2)
    assert dict(zip(found.names, found.distances[1], strict=True)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "options"),
    [("之", {"window": 0}), ("之", {"step": 0}), ("", {}), ("之", {"measure": "near"})],
)
def test_bad_rolling(text: str, options: dict[str, object]) -> None:
    with pytest.raises(DataError):
        rolling_delta(PROFILES, text, **options)


def test_components_are_those_of_scikit_learn() -> None:
    space = delta.fit(PROFILES)
    found = maps.principal_components(space, 2)
    oracle = PCA(2).fit(space.z)
    assert found.explained == pytest.approx(oracle.explained_variance_ratio_)
    assert np.abs(found.coordinates) == pytest.approx(np.abs(oracle.transform(space.z)))
    assert found.project(space.z) == pytest.approx(found.coordinates)
    largest = np.abs(found.loadings).argmax(axis=0)
    assert (found.loadings[largest, [0, 1]] > 0).all()
    with pytest.raises(DataError, match="1 to 3"):
        maps.principal_components(space, 4)


def test_a_projected_text_does_not_move_the_others() -> None:
    space = delta.fit(PROFILES)
    found = maps.principal_components(space)
    assert found.project(space.scores(PROFILES["C"])) == pytest.approx(found.coordinates[2])


def test_pairwise_is_delta() -> None:
    test = text_of(8, 6)
    space = delta.fit(PROFILES)
    names, matrix = maps.pairwise(space, {"new": test})
    assert names == ("A", "B", "C", "D", "new")
    assert dict(zip("ABCD", matrix[4], strict=False)) == pytest.approx(
        delta.burrows_delta(PROFILES, test)
    )
    assert (matrix == matrix.T).all()
    assert not matrix.diagonal().any()


def test_the_tree_joins_the_nearest_first() -> None:
    names = ("a", "b", "c", "d")
    distances = np.array([[0, 1, 6, 8], [1, 0, 6, 8], [6, 6, 0, 2], [8, 8, 2, 0]], dtype=float)
    tree = maps.tree(names, distances)
    # a-b at 1, c-d at 2, all at the mean of 6, 8, 6, 8.
    assert tree.merges[:, 2].tolist() == [1, 2, 7]
    assert fcluster(tree.merges, 2, "maxclust").tolist() in ([1, 1, 2, 2], [2, 2, 1, 1])
    assert {frozenset(tree.order[:2]), frozenset(tree.order[2:])} == {
        frozenset({0, 1}),
        frozenset({2, 3}),
    }
    assert tree.xs.shape == tree.ys.shape == (3, 4)
    assert tree.ys.max() == 7
    with pytest.raises(DataError, match="'ward'"):
        maps.tree(names, distances, linkage="ward")
