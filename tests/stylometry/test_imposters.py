"""General Imposters: by hand, and what must come out at the ends."""

from __future__ import annotations

import pytest

from stylellm.errors import DataError
from stylellm.stylometry.imposters import general_imposters, score_all


def text_of(zhi: int, de: int, length: int = 10) -> str:
    return "之" * zhi + "的" * de + "剑" * (length - zhi - de)


# As in test_delta: z is A (-1, 1), B (0, -1), C (1, 0), and the test text (2, 1).
PROFILES = {"A": text_of(1, 3), "B": text_of(2, 1), "C": text_of(3, 2)}
TEST = text_of(8, 6, 20)


def test_draws_by_hand() -> None:
    # C is the candidate. Distances to the test by 之 alone: A 3, B 2, C 1: a win over both.
    # By 的 alone: A 0, B 2, C 1: a win over B, a loss to A. Both together: A 1.5, B 2, C 1: a win.
    others = {"A": PROFILES["A"], "B": PROFILES["B"]}
    subsets = [([0], [0, 1]), ([1], [1]), ([1], [0]), ([0, 1], [0, 1])]
    found = general_imposters(
        TEST, PROFILES["C"], others, features="之的", measure="burrows", subsets=subsets
    )
    assert (found.wins, found.draws, found.features) == (3, 4, 2)
    assert found.score.value == 0.75


def test_minmax_by_hand() -> None:
    # Shares: test (.4, .3), C (.3, .2), A (.1, .3), B (.2, .1); minima over maxima:
    # C .5 / .7 = .714, A .4 / .7 = .571, B .3 / .7 = .429. By 的 alone C .667, A 1.
    others = {"A": PROFILES["A"], "B": PROFILES["B"]}
    subsets = [([0, 1], [0, 1]), ([1], [0, 1]), ([1], [1])]
    found = general_imposters(
        TEST, PROFILES["C"], others, features="之的", measure="minmax", subsets=subsets
    )
    assert found.wins == 2


def test_a_tie_is_no_win() -> None:
    others = {"same": PROFILES["C"], "B": PROFILES["B"]}
    found = general_imposters(TEST, PROFILES["C"], others, features="之的", imposter_share=1.0)
    assert found.wins == 0


def test_of_several_texts_of_the_candidate_the_nearest_counts() -> None:
    others = {"A": PROFILES["A"], "B": PROFILES["B"]}
    for own in ([PROFILES["C"], text_of(0, 0)], [text_of(0, 0), PROFILES["C"]]):
        found = general_imposters(
            TEST, own, others, features="之的", measure="minmax", feature_share=1.0
        )
        assert found.wins == 100


@pytest.mark.parametrize("measure", ["burrows", "cosine", "minmax"])
def test_the_author_wins_all_draws_and_another_none(measure: str) -> None:
    own = text_of(30, 10, 100)
    crowd = {str(k): text_of(10 + k, 30 - k, 100) for k in range(6)}
    options = {"measure": measure, "features": "之的剑", "feature_share": 1.0}
    assert general_imposters(own, own, crowd, **options).score.value == 1.0
    found = general_imposters(crowd["0"], own, crowd, imposter_share=1.0, **options)
    assert (found.wins, found.score.value) == (0, 0.0)


def test_draws_are_seeded() -> None:
    crowd = {str(k): text_of(10 + k, 20, 100) for k in range(5)}
    test, own = text_of(14, 21, 100), text_of(13, 19, 100)
    runs = [general_imposters(test, own, crowd, seed=seed).wins for seed in (0, 0, 1, 2, 3)]
    assert runs[0] == runs[1]
    assert len(set(runs)) > 1


def test_every_profile_as_the_candidate() -> None:
    found = score_all(TEST, PROFILES, features="之的", feature_share=1.0, imposter_share=1.0)
    assert {name: result.wins for name, result in found.items()} == {"A": 0, "B": 0, "C": 100}
    with pytest.raises(DataError, match="3 or more"):
        score_all(TEST, {"A": "之", "B": "的"})


@pytest.mark.parametrize(
    "options",
    [{"feature_share": 0.0}, {"imposter_share": 1.5}, {"draws": 0}, {"measure": "near"}],
)
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(DataError):
        general_imposters(TEST, PROFILES["C"], {"A": PROFILES["A"], "B": PROFILES["B"]}, **options)


def test_two_imposters_at_least() -> None:
    with pytest.raises(DataError, match="1 others"):
        general_imposters(TEST, PROFILES["C"], {"A": PROFILES["A"]})
