"""Attribution: on made-up authors whose answer is known, and against scikit-learn's own figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from stylellm.errors import DataError
from stylellm.stylometry.attribution import Attributor, HeldOut, cross_validate
from stylellm.stylometry.calibration import calibration_error, softmax, temperature
from stylellm.stylometry.held_out import Passage, cut, deal, held_out_groups
from stylellm.stylometry.passage_features import Numbering, Scaling

ALPHABET = [chr(0x4E00 + k) for k in range(60)] + list("之的了着不也")
LENGTH = 300


def source(author: int) -> np.ndarray:
    """How often an author uses each character."""
    shares = np.random.default_rng(author).dirichlet(np.full(len(ALPHABET), 3.0))
    return shares


def write(author: int, work: int, passages: int, name: str = "") -> list[str]:
    generator = np.random.default_rng([author, work])
    texts = []
    for _ in range(passages):
        drawn = generator.choice(ALPHABET, LENGTH, p=source(author)).tolist()
        if name:
            for at in generator.choice(LENGTH - 2, 12, replace=False):
                drawn[at] = name
        texts.append("".join(drawn))
    return texts


def shelf(authors: dict[str, int], works: int = 3, passages: int = 12) -> list[Passage]:
    return [
        Passage(name, f"{name}{work}", text)
        for name, number in authors.items()
        for work in range(works)
        for text in write(number, hash_of(name) + work, passages, chr(0x9000 + work + number))
    ]


def hash_of(name: str) -> int:
    return sum(map(ord, name))


@pytest.fixture(scope="module")
def shelf_of_three() -> list[Passage]:
    return shelf({"甲": 1, "乙": 2, "丙": 3})


@pytest.fixture(scope="module")
def found(shelf_of_three: list[Passage]) -> dict[str, HeldOut]:
    return cross_validate(shelf_of_three, folds=None)


def test_both_recognise_authors_by_works_they_never_saw(found: dict[str, HeldOut]) -> None:
    for result in found.values():
        accuracy = result.accuracy()
        assert accuracy.value > 0.9
        assert accuracy.n == 9
        assert result.calibration_error() < 0.15
        assert result.accuracy("甲").n == 3


def test_names_of_a_work_are_no_help() -> None:
    # One and the same source under two names; only the works' own marks differ.
    found = cross_validate(shelf({"甲": 1, "乙": 1}, passages=30), folds=None)
    for result in found.values():
        assert 0.3 < result.accuracy().value < 0.7


def test_figures_are_those_of_scikit_learn(found: dict[str, HeldOut]) -> None:
    for result in found.values():
        truth, predicted = result.truth, result.predicted
        assert (result.confusion() == metrics.confusion_matrix(truth, predicted)).all()
        assert result.accuracy().value == pytest.approx(metrics.accuracy_score(truth, predicted))
        assert result.log_loss() == pytest.approx(
            metrics.log_loss(truth, result.probabilities), rel=1e-6
        )
        assert result.probabilities.sum(axis=1) == pytest.approx(np.ones(len(truth)))


def test_generated_text_as_a_share_of_the_ceiling(
    shelf_of_three: list[Passage], found: dict[str, HeldOut]
) -> None:
    attributor = Attributor(shelf_of_three, found)
    like, unlike = write(1, 99, 20), write(2, 99, 20)
    for name, result in attributor.generated("甲", like).items():
        assert result.ceiling == found[name].accuracy("甲")
        assert result.relative == pytest.approx(result.found.value / result.ceiling.value)
        assert result.relative > 0.85
        assert result.probability > 0.8
    assert all(one.found.value < 0.1 for one in attributor.generated("甲", unlike).values())
    assert attributor.attribute(unlike[:1]) == {"svm": ["乙"], "bayes": ["乙"]}
    with pytest.raises(DataError, match="'丁'"):
        attributor.generated("丁", like)


def test_two_authors_of_one_work_each() -> None:
    passages = shelf({"甲": 1, "乙": 2}, works=1, passages=20)
    result = cross_validate(passages)["svm"]
    assert result.accuracy().value > 0.9
    assert {group.split("/")[1] for group in result.groups} == set("12345")


def test_groups_by_hand() -> None:
    passages = [Passage("甲", work, "") for work in "一一二"] + [Passage("乙", "三", "")] * 4
    assert held_out_groups(passages, 2) == ["一", "一", "二", "三/1", "三/1", "三/2", "三/2"]


@given(st.lists(st.integers(2, 6), min_size=2, max_size=5), st.integers(2, 7) | st.none())
def test_no_group_is_split_and_no_author_unknown(works: list[int], folds: int | None) -> None:
    groups, truth = [], []
    for author, number in enumerate(works):
        for work in range(number):
            groups += [f"{author}/{work}"] * (1 + work % 2)
            truth += [author] * (1 + work % 2)
    fold = deal(groups, np.array(truth), folds)
    assert len({(group, at) for group, at in zip(groups, fold, strict=True)}) == sum(works)
    for number in np.unique(fold):
        assert set(np.array(truth)[fold != number]) == set(truth)
        if folds is None or folds >= max(works):  # leave-one-work-out for every author
            out = {group for group, at in zip(groups, fold, strict=True) if at == number}
            assert len({group.split("/")[0] for group in out}) == len(out)


def test_cut_gives_equal_lengths_spread_over_the_work() -> None:
    text = "\n".join(f"{k:03}" for k in range(100))
    found = cut("甲", "书", text, 30)
    assert [len("".join(p.text.split())) for p in found] == [30] * 10
    assert [p.text[:3] for p in cut("甲", "书", text, 30, limit=3)] == ["000", "040", "090"]
    assert cut("甲", "书", "短", 30) == []


def test_counts_are_those_of_scikit_learn() -> None:
    texts = ["之的，了之的\n剑", "剑。光之的之的", "之"]
    oracle = CountVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False)
    plain = ["之的了之的剑", "剑光之的之的", "之"]
    expected = oracle.fit_transform(plain).toarray()
    found = Numbering(texts).count(texts).ngrams.toarray()
    assert sorted(found.T.tolist()) == sorted(expected.T.tolist())


def test_features_are_weighted_as_by_scikit_learn() -> None:
    texts = ["之的了之的剑", "剑光之的之的", "之的光了了光"]
    counts = Numbering(texts).count(texts)
    scaling = Scaling(counts, np.array([0, 1, 2]), min_authors=1.0)
    oracle = TfidfVectorizer(
        analyzer="char",
        vocabulary=["之", "的", "之的"],
        ngram_range=(1, 2),
        lowercase=False,
        sublinear_tf=True,
    )
    expected = oracle.fit_transform(texts).toarray()
    found = scaling.weighted(counts).toarray()
    assert np.sort(found[:, :3], axis=1) == pytest.approx(np.sort(expected, axis=1))
    assert found[:, 3:].mean(axis=0) == pytest.approx(np.zeros(counts.words.shape[1]))
    alone = Numbering(["之", "的"]).count(["之", "的"])
    with pytest.raises(DataError, match="enough authors"):
        Scaling(alone, np.array([0, 1]))


def test_temperature_finds_the_factor_of_overconfident_scores() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(4000, 4)) * 1.5
    truth = np.array([generator.choice(4, p=row) for row in softmax(scores)])
    for factor in (0.01, 1.0, 500.0):
        assert temperature(scores * factor, truth) == pytest.approx(factor, rel=0.1)
    assert calibration_error(softmax(scores), truth) < 0.03
    assert calibration_error(softmax(scores * 5), truth) > 0.1


def test_scores_without_a_mistake_leave_some_doubt() -> None:
    scores = np.eye(3)[[0, 1, 2] * 10]
    sure = softmax(scores / temperature(scores, scores.argmax(axis=1)))
    assert sure.max(axis=1) == pytest.approx(np.full(30, 31 / 32), rel=1e-3)


def test_calibration_error_by_hand() -> None:
    # .9 right and .9 wrong share a bin: |1.8 - 1|; .6 right: |.6 - 1|; over 3.
    table = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert calibration_error(table, np.array([0, 1, 1])) == pytest.approx((0.8 + 0.4) / 3)


@pytest.mark.parametrize(
    "passages",
    [
        [Passage("甲", "一", "之")] * 4,
        [Passage("甲", "一", "之"), Passage("乙", "二", "的")],
        [Passage("甲", "一", "之，")] * 2 + [Passage("乙", "二", "，")] * 2,
    ],
)
def test_bad_shelves(passages: list[Passage]) -> None:
    with pytest.raises(DataError):
        cross_validate(passages)
