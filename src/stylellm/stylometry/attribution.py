"""Who wrote a passage? Two classifiers of different kinds, trained on real works only.

`svm`: a linear support vector machine on weighted character 1- to 3-grams and function words.
`bayes`: multinomial naive Bayes on the counts of the same n-grams, which is a character language
model per author (Peng et al. 2003). The first draws borders, the second models each author; where
they agree, the verdict does not hang on a method.

A work is never on both sides: fold by fold whole works are held out, so that an author with several
works is always recognised by the others (leave-one-work-out), and consecutive blocks of chapters
where an author has one work only. There the scene and its people stay the same, so that such
figures are higher than for an unseen work: report the two kinds apart.

Probabilities are calibrated by a temperature (Guo et al. 2017) that is fitted on held-out scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import intervals
from stylellm.stylometry.calibration import calibration_error, softmax, temperature
from stylellm.stylometry.held_out import BLOCKS, FOLDS, Passage, deal, held_out_groups
from stylellm.stylometry.passage_features import Counts, Numbering, Scaling

CLASSIFIERS = ("svm", "bayes")


@dataclass(frozen=True)
class HeldOut:
    """What one classifier said of passages whose work it had not seen.

    Attributes:
        authors: the A authors.
        truth: index of the author of each passage, `[N]`.
        probabilities: calibrated, `[N, A]`.
        scores: what the classifier gave before calibration, `[N, A]`.
        groups: what was held out together with each passage: its work, or "work/block".
    """

    authors: tuple[str, ...]
    truth: np.ndarray
    probabilities: np.ndarray
    scores: np.ndarray
    groups: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """Index of the most probable author, `[N]`."""
        return self.probabilities.argmax(axis=1)

    def accuracy(self, author: str | None = None) -> intervals.Interval:
        """Share recognised, of all passages or of one author's (his recall).

        The interval is a bootstrap over works (groups), of which `n` counts the number.
        """
        which = np.ones(len(self.truth), dtype=bool)
        if author is not None:
            which = self.truth == self.authors.index(author)
        groups = [group for group, keep in zip(self.groups, which, strict=True) if keep]
        return intervals.clustered_share((self.predicted == self.truth)[which].tolist(), groups)

    def confusion(self) -> np.ndarray:
        """Passages of the row's author given to the column's, `[A, A]`."""
        size = len(self.authors)
        flat = np.bincount(self.truth * size + self.predicted, minlength=size * size)
        return flat.reshape(size, size)

    def calibration_error(self, bins: int = 10) -> float:
        """Expected calibration error of the most probable author (Naeini et al. 2015)."""
        return calibration_error(self.probabilities, self.truth, bins)

    def log_loss(self) -> float:
        """Mean -log probability of the true author, in nats (at most 36 for a passage)."""
        chosen = self.probabilities[np.arange(len(self.truth)), self.truth]
        return float(-np.log(np.maximum(chosen, np.finfo(np.float64).eps)).mean())


@dataclass(frozen=True)
class Attributed:
    """Generated text that one classifier gave to its model's author, beside his real text.

    Attributes:
        found: share of the generated passages given to the author.
        ceiling: share of his real held-out passages given to him, by the same classifier.
        relative: found / ceiling, None for a ceiling of 0.
        probability: mean calibrated probability of the author on the generated passages.
    """

    found: intervals.Interval
    ceiling: intervals.Interval
    relative: float | None
    probability: float


class Attributor:
    """Both classifiers, trained on all passages and calibrated on held-out ones.

    Args:
        passages: real text of 2 or more authors, of about the length that will be asked about.
        held_out: what `cross_validate` found for the same passages; computed when not given.
        words: function words; default the shipped list.

    Raises:
        DataError: as `cross_validate`.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        held_out: dict[str, HeldOut] | None = None,
        *,
        words: Sequence[str] | None = None,
        folds: int | None = FOLDS,
    ) -> None:
        self.held_out = held_out or cross_validate(passages, words=words, folds=folds)
        self.authors, truth = _labels(passages)
        texts = [passage.text for passage in passages]
        self._numbering = Numbering(texts, words)
        self._models = _Models(self._numbering.count(texts), truth)
        self._temperatures = {
            name: temperature(found.scores, found.truth) for name, found in self.held_out.items()
        }

    def probabilities(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """classifier -> calibrated probabilities `[len(texts), authors]`."""
        scores = self._models.scores(self._numbering.count(texts))
        return {name: softmax(scores[name] / self._temperatures[name]) for name in CLASSIFIERS}

    def attribute(self, texts: Sequence[str]) -> dict[str, list[str]]:
        """classifier -> the most probable author of each text."""
        return {
            name: [self.authors[int(at)] for at in table.argmax(axis=1)]
            for name, table in self.probabilities(texts).items()
        }

    def generated(
        self, author: str, texts: Sequence[str], groups: Sequence[str] | None = None
    ) -> dict[str, Attributed]:
        """Generated passages of the same length, as a share of the real held-out ceiling.

        Args:
            author: whose style the texts should have; one of `authors`.
            texts: generated passages.
            groups: what they were generated from (prompts), for the interval; default each alone.

        Raises:
            DataError: an unknown author, or no text.
        """
        if author not in self.authors or not texts:
            raise DataError(f"{len(texts)} texts to attribute to {author!r}",
                            f"texts, and one of {', '.join(self.authors)}")  # fmt: skip
        place = self.authors.index(author)
        labels = groups or [str(number) for number in range(len(texts))]
        found = {}
        for name, table in self.probabilities(texts).items():
            share = intervals.clustered_share((table.argmax(axis=1) == place).tolist(), labels)
            ceiling = self.held_out[name].accuracy(author)
            relative = share.value / ceiling.value if ceiling.value else None
            found[name] = Attributed(share, ceiling, relative, float(table[:, place].mean()))
        return found


def cross_validate(
    passages: Sequence[Passage],
    *,
    folds: int | None = FOLDS,
    blocks: int = BLOCKS,
    words: Sequence[str] | None = None,
) -> dict[str, HeldOut]:
    """Each passage attributed by classifiers that have seen nothing of its work.

    Args:
        passages: real text, the passages of a work in their order.
        folds: works are dealt to this many folds, an author's to as many as he has; None: as many
            as the author with the most works has, so that never two of an author's are out at once.
        blocks: for an author of one work, how many blocks of passages stand for works.
        words: function words; default the shipped list.

    Raises:
        DataError: fewer than 2 authors or folds, or an author of a single passage.
    """
    authors, truth = _labels(passages)
    groups = held_out_groups(passages, blocks)
    fold = deal(groups, truth, folds)
    texts = [passage.text for passage in passages]
    counts = Numbering(texts, words).count(texts)
    scores = {name: np.zeros((len(texts), len(authors))) for name in CLASSIFIERS}
    for number in np.unique(fold):
        out = fold == number
        models = _Models(counts.rows(np.flatnonzero(~out)), truth[~out])
        for name, table in models.scores(counts.rows(np.flatnonzero(out))).items():
            scores[name][out] = table
    return {
        name: HeldOut(authors, truth, _calibrated(table, truth, fold), table, tuple(groups))
        for name, table in scores.items()
    }


class _Models:
    """The two classifiers, fitted on some rows."""

    def __init__(self, counts: Counts, truth: np.ndarray) -> None:
        from sklearn.naive_bayes import MultinomialNB
        from sklearn.svm import LinearSVC

        self._scaling = Scaling(counts, truth)
        self._svm = LinearSVC(class_weight="balanced", random_state=0)
        self._svm.fit(self._scaling.weighted(counts), truth)
        self._bayes = MultinomialNB(alpha=0.5, fit_prior=False)
        self._bayes.fit(self._scaling.plain(counts), truth)

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        """classifier -> a score per author, higher is likelier, `[N, A]`."""
        margins: Any = self._svm.decision_function(self._scaling.weighted(counts))
        if margins.ndim == 1:  # two authors: one margin
            margins = np.stack([-margins, margins], axis=1)
        likelihoods = self._bayes.predict_joint_log_proba(self._scaling.plain(counts))
        return {"svm": margins, "bayes": likelihoods}


def _labels(passages: Sequence[Passage]) -> tuple[tuple[str, ...], np.ndarray]:
    authors = sorted({passage.author for passage in passages})
    if len(authors) < 2:
        raise DataError(f"attribution got passages of {len(authors)} author(s)", "2 or more")
    place = {author: at for at, author in enumerate(authors)}
    return tuple(authors), np.array([place[passage.author] for passage in passages])


def _calibrated(scores: np.ndarray, truth: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Probabilities; the temperature for a fold is fitted on the scores of the other folds."""
    found = np.zeros_like(scores)
    for number in np.unique(fold):
        out = fold == number
        found[out] = softmax(scores[out] / temperature(scores[~out], truth[~out]))
    return found
