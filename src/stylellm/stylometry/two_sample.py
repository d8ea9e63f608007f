"""Can a classifier tell generated text from real text? An AUC of 0.5 says no, of 1 always.

Source: Lopez-Paz and Oquab (2017), "Revisiting classifier two-sample tests", with the area under
the ROC curve instead of the accuracy. Works and prompts are whole on one side of each split: what
a classifier learns of one scene must not help with another passage of it. The AUC of real against
real (two halves of the author's works) is the figure to hold it against: two works differ too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import intervals
from stylellm.stylometry.passage_features import Numbering, Scaling

FOLDS = 5
DRAWS = 200


@dataclass(frozen=True)
class TwoSample:
    """Area under the ROC curve, "generated" being the positive class.

    Attributes:
        auc: mean of the folds' areas, weighted by their passages; interval by a bootstrap over
            groups, of which `n` counts the number.
        real, generated: numbers of passages.
    """

    auc: intervals.Interval
    real: int
    generated: int


def two_sample_auc(
    real: Sequence[str],
    generated: Sequence[str],
    real_groups: Sequence[str],
    generated_groups: Sequence[str],
    *,
    words: Sequence[str] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> TwoSample:
    """Held-out AUC of a linear SVM on character 1- to 3-grams and function words.

    Only n-grams that both kinds of text use are features; marks are left out, as an edition's
    punctuation would give the real text away.

    Args:
        real, generated: passages of about equal lengths, normalised.
        real_groups: the work of each real passage.
        generated_groups: the prompt of each generated passage; a prompt taken from a real work has
            that work's name, so that both stay on one side.
        words: function words; default the shipped list.
        folds: at most this many; fewer where there are fewer groups.
        seed: of the split and the bootstrap.

    Raises:
        DataError: fewer than 2 groups of a kind, or group lists of another length.
    """
    groups = np.array([*real_groups, *generated_groups], dtype=str)
    fewest = min(len(set(real_groups)), len(set(generated_groups)))
    if fewest < 2 or (len(real), len(generated)) != (len(real_groups), len(generated_groups)):
        raise DataError(
            f"{fewest} group(s) of a kind for {len(real)} real and {len(generated)} generated "
            "passages",
            "2 or more groups of each kind, one name per passage",
        )
    texts = [*real, *generated]
    truth = np.array([0] * len(real) + [1] * len(generated))
    scores, fold = _held_out_scores(texts, truth, groups, words, min(folds, fewest), seed)
    auc = _auc(scores, truth, fold, np.ones(len(truth)))
    names, ids = np.unique(groups, return_inverse=True)
    weights = intervals.resamples(len(names), DRAWS, seed)
    drawn = np.array([_auc(scores, truth, fold, row[ids]) for row in weights])
    low, high = intervals.percentiles(drawn[~np.isnan(drawn)])
    interval = intervals.Interval(float(auc), float(low), float(high), len(names))
    return TwoSample(interval, len(real), len(generated))


def _held_out_scores(
    texts: Sequence[str],
    truth: np.ndarray,
    groups: np.ndarray,
    words: Sequence[str] | None,
    folds: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.svm import LinearSVC

    counts = Numbering(texts, words).count(texts)
    scores, fold = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (train, test) in enumerate(splitter.split(truth[:, None], truth, groups)):
        if len(set(truth[train])) < 2:
            raise DataError("a split left one kind of text without groups to train on",
                            "more works and more prompts")  # fmt: skip
        kept = counts.rows(train)
        scaling = Scaling(kept, truth[train])
        model = LinearSVC(class_weight="balanced", random_state=0)
        model.fit(scaling.weighted(kept), truth[train])
        scores[test] = model.decision_function(scaling.weighted(counts.rows(test)))
        fold[test] = number
    return scores, fold


def _auc(scores: np.ndarray, truth: np.ndarray, fold: np.ndarray, weights: np.ndarray) -> float:
    """Mean AUC of the folds that hold both kinds; NaN if none does.

    Scores of different folds come from different models and are never compared with one another:
    pooled, an AUC of chance would fall below 0.5.
    """
    areas, sizes = [], []
    for number in np.unique(fold):
        here = (fold == number) & (weights > 0)
        if len(set(truth[here])) == 2:
            areas.append(area(truth[here], scores[here], weights[here]))
            sizes.append(weights[here].sum())
    return float(np.average(areas, weights=sizes)) if areas else float("nan")


def area(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Weighted area under the ROC curve, ties by half: the share of pairs in the right order.

    As scikit-learn's `roc_auc_score`, which checks its input at a hundred times the cost.
    """
    _, place = np.unique(scores, return_inverse=True)
    positive = np.bincount(place, weights * truth)
    negative = np.bincount(place, weights * (1 - truth))
    below = np.cumsum(negative) - negative
    return float(positive @ (below + negative / 2) / (positive.sum() * negative.sum()))
