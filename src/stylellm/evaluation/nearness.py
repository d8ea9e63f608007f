"""Whose hand: Delta, imposters, a map, Delta along the texts, Zeta, attribution, two-sample test.

The scale of Delta is spanned by passages of real reference text of equal length (the author's
training text, the other author, general text) and never by a row that is measured. The profile of
an author is the mean of the passages' z-scores, which is the z-score of their pooled text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from stylellm.errors import DataError
from stylellm.evaluation.figures import Figure, figure, resampled
from stylellm.stylometry import delta, function_words, imposters, intervals, maps, rolling, zeta
from stylellm.stylometry.attribution import Attributor
from stylellm.stylometry.held_out import Passage, cut, held_out_groups
from stylellm.stylometry.text import without_whitespace
from stylellm.stylometry.two_sample import two_sample_auc

T = TypeVar("T")
Sources = Mapping[str, Mapping[str, str]]
"""author, other_author, general -> work -> text."""

PASSAGE = 5000
FEWEST, MOST = 3, 12
"""Reference passages of each source."""
LEAVES = 4
"""Passages of each source and row in the tree."""
ATTRIBUTED = 2000
"""Characters of an attributed passage: below, attribution errs too often (method, section 4)."""
FEW = 10
ZETA_WORDS = 30


class Space:
    """Reference passages, their Delta scale, and the mean profile of each source."""

    def __init__(self, sources: Sources) -> None:
        sizes = [sum(len(without_whitespace(t)) for t in w.values()) for w in sources.values()]
        self.length = min(PASSAGE, min(sizes, default=0) // FEWEST)
        if len(sources) < 2 or self.length < 500:
            raise DataError(
                f"Delta has {len(sources)} source(s), the smallest of {min(sizes, default=0)} "
                "characters",
                "the author and another text of 1,500 characters or more",
                "Give data.other_author or data.general_text.",
            )
        self.small = self.length < PASSAGE
        self.passages: dict[str, str] = {}
        self.kinds: list[str] = []
        for kind, works in sources.items():
            pieces = [p for w, text in works.items() for p in cut(kind, w, text, self.length)]
            for number, piece in enumerate(_among(pieces, MOST), 1):
                self.passages[f"{piece.work or kind} {number} ({kind})"] = piece.text
                self.kinds.append(kind)
        self.names = tuple(sources)
        self.space = delta.fit(self.passages)
        kinds = np.array(self.kinds)
        self.profiles = np.array([self.space.z[kinds == k].mean(axis=0) for k in self.names])

    def distances(self, text: str, measure: delta.Measure, seed: int) -> dict[str, Figure]:
        """Delta of a text to each source; passages of 1,000 characters are resampled."""
        pieces = intervals.passages(text)
        sizes = np.array([len(without_whitespace(piece)) for piece in pieces], dtype=np.float64)
        table = np.array(
            [list(function_words.counts(p, self.space.features).values()) for p in pieces]
        )
        few = self.small or len(pieces) < FEW

        def to(profile: np.ndarray) -> Any:
            def statistic(weights: np.ndarray) -> np.ndarray:
                shares = (weights @ table) / (weights @ sizes)[:, None]
                return delta.distances(
                    (shares - self.space.mean) / self.space.deviation, profile, measure
                )

            return statistic

        found = {}
        for name, profile in zip(self.names, self.profiles, strict=True):
            row = resampled(to(profile), len(pieces), draws=200, seed=seed, distance=True)
            found[name] = row | {"small": few}
        return found

    def imposters(self, text: str, seed: int) -> Figure | None:
        """General Imposters: the author's passages against all others (None below 2)."""
        of = list(zip(self.kinds, self.passages.items(), strict=True))
        own = [passage for kind, (_, passage) in of if kind == "author"]
        others = {name: passage for kind, (name, passage) in of if kind != "author"}
        if len(others) < 2 or not own:
            return None
        found = imposters.general_imposters(text, own, others, seed=seed)
        return figure(found.score, self.small or len(without_whitespace(text)) < PASSAGE)

    def map(self, rows: Mapping[str, str]) -> dict[str, Any]:
        """Coordinates of the reference passages, and of the rows cut in passages, by two components."""
        components = maps.principal_components(self.space, 2)
        points = [
            {"name": name, "kind": kind, "x": float(x), "y": float(y)}
            for name, kind, (x, y) in zip(
                self.space.names, self.kinds, components.coordinates, strict=True
            )
        ]
        for row, text in rows.items():
            if row == "other_author":
                continue  # its passages span the plane
            for number, piece in enumerate(self._pieces(text, MOST), 1):
                x, y = components.project(self.space.scores(piece))
                points.append(
                    {"name": f"{row} {number}", "kind": row, "x": float(x), "y": float(y)}
                )
        return {
            "points": points,
            "explained": [float(share) for share in components.explained[:2]],
            "features": len(self.space.features),
            "texts": len(self.passages),
            "passage": self.length,
            "small": self.small,
        }

    def tree(self, rows: Mapping[str, str]) -> dict[str, Any]:
        """Dendrogram of passages of all texts by Burrows's Delta, average linkage, ready to draw.

        A few passages of each source and of each row but the other author's, who is a source.
        """
        chosen = [
            at
            for kind in self.names
            for at in _among([i for i, k in enumerate(self.kinds) if k == kind], LEAVES)
        ]
        others = {
            f"{row} {number}": piece
            for row, text in rows.items()
            if row != "other_author"
            for number, piece in enumerate(self._pieces(text, LEAVES), 1)
        }
        names, distances = maps.pairwise(self.space, others)
        keep = [*chosen, *range(len(self.kinds), len(names))]
        kinds = [*self.kinds, *(name.rsplit(" ", 1)[0] for name in others)]
        drawn = maps.tree(tuple(names[i] for i in keep), distances[np.ix_(keep, keep)])
        return {
            "leaves": [{"name": names[i], "kind": kinds[i]} for i in keep],
            "order": list(drawn.order),
            "xs": drawn.xs.tolist(),
            "ys": drawn.ys.tolist(),
            "passage": self.length,
            "small": self.small,
        }

    def _pieces(self, text: str, most: int) -> list[str]:
        pieces = intervals.passages(text, self.length, whole=True) or [text]
        return _among(pieces, most)

    def rolling(self, rows: Mapping[str, str]) -> dict[str, Any]:
        """Burrows's Delta to each source along each row."""
        step = max(self.length // 5, 1)
        found: dict[str, Any] = {}
        for row, text in rows.items():
            windows = list(rolling.windows(text, "character", self.length, step))
            scores = np.array([self.space.scores(stretch) for _, stretch in windows])
            found[row] = {"begins": [begin for begin, _ in windows]} | {
                name: delta.distances(scores, profile).tolist()
                for name, profile in zip(self.names, self.profiles, strict=True)
            }
        return {
            "window": self.length,
            "step": step,
            "unit": "characters",
            "small": self.small,
            "rows": found,
        }


def _among(items: Sequence[T], most: int) -> list[T]:
    """So many of them, evenly spread; all where they are fewer."""
    places = np.linspace(0, max(len(items) - 1, 0), min(len(items), most)).round()
    return [items[int(at)] for at in np.unique(places)]


class Attribution:
    """Classifiers trained on real passages only, with what they reach on real held-out ones.

    Raises:
        DataError: too little text of the author or of the others.
    """

    def __init__(self, sources: Sources, row_size: int) -> None:
        smallest = min(sum(map(len, works.values())) for works in sources.values())
        self.length = min(ATTRIBUTED, row_size // 5, smallest // 10)
        if len(sources) < 2 or self.length < 200:
            raise DataError(
                f"attribution has {len(sources)} source(s) and would have to judge by "
                f"{self.length} characters",
                "the author, another author or general text, and 2,000 characters of each",
            )
        passages = [
            p for kind, works in sources.items() for p in _passages(kind, works, self.length)
        ]
        self.real = [p for p in passages if p.author == "author"]
        self.groups = held_out_groups(self.real)
        self.small = self.length < ATTRIBUTED or len(self.real) < FEW
        self._model = Attributor(passages)

    def summary(self, works: int) -> dict[str, Any]:
        """What was trained on, and the ceiling."""
        held = self._model.held_out
        return {
            "authors": list(self._model.authors),
            "passage": self.length,
            "works": works,
            "by": "works" if works > 1 else "blocks",
            "ceiling": {n: figure(h.accuracy("author"), self.small) for n, h in held.items()},
        }

    def row(self, text: str) -> dict[str, Any] | None:
        """Share of a row's passages that each classifier gives to the author."""
        pieces = intervals.passages(text, self.length, whole=True)
        if not pieces:
            return None
        found = self._model.generated("author", pieces)
        return {
            name: {
                "share": figure(one.found, self.small or len(pieces) < FEW),
                "relative": one.relative,
                "probability": one.probability,
            }
            for name, one in found.items()
        }

    def two_sample(self, text: str, seed: int) -> Figure | None:
        """AUC of a row's passages against as many real ones of the author."""
        pieces = intervals.passages(text, self.length, whole=True)
        chosen = _among(range(len(self.real)), max(len(pieces), 5))
        groups = [self.groups[at] for at in chosen]
        if len(pieces) < 4 or len(set(groups)) < 2:
            return None
        real = [self.real[at].text for at in chosen]
        labels = [f"generated {number}" for number in range(len(pieces))]
        try:
            found = two_sample_auc(real, pieces, groups, labels, seed=seed)
        except DataError:  # a split without one of the two kinds
            return None
        return figure(found.auc, self.small or len(pieces) < FEW)


def _passages(kind: str, works: Mapping[str, str], length: int, most: int = 60) -> list[Passage]:
    limit = max(most // max(len(works), 1), 2)
    found = [p for name, text in works.items() for p in cut(kind, name, text, length, limit)]
    return _among(found, most)


def zeta_words(sources: Sources, rows: Mapping[str, str]) -> dict[str, Any] | None:
    """Words the author prefers and avoids (Craig's Zeta), and which of them each row uses."""
    own = list(sources["author"].values())
    others = [
        text for kind, works in sources.items() if kind != "author" for text in works.values()
    ]
    words = {side: [len(delta.tokens(text, "word")) for text in texts]
             for side, texts in (("own", own), ("others", others))}  # fmt: skip
    length = min(zeta.SLICE, *(sum(sizes) // 5 for sizes in words.values()))
    if not others or length < 50:
        return None
    found = zeta.zeta(["\n".join(own)], ["\n".join(others)], slice_length=length, shared_only=True)
    counted = {"author": Counter(delta.tokens("\n".join(own), "word"))}
    counted |= {row: Counter(delta.tokens(text, "word")) for row, text in rows.items()}
    preferred, avoided = found.preferred(ZETA_WORDS), found.avoided(ZETA_WORDS)
    small = found.author_slices < FEW or found.other_slices < FEW
    return {
        "preferred": [_preference(one, counted) for one in preferred],
        "avoided": [_preference(one, counted) for one in avoided],
        "used": {
            row: figure(
                intervals.share(
                    sum(counted[row][one.item] > 0 for one in preferred), len(preferred)
                ),
                small,
            )
            for row in rows
            if preferred
        },
        "author_slices": found.author_slices,
        "other_slices": found.other_slices,
        "slice": length,
        "against": [kind for kind in sources if kind != "author"],
        "small": small,
    }


def _preference(one: zeta.Preference, counted: Mapping[str, Counter[str]]) -> dict[str, Any]:
    rates = {
        row: 1000 * counts[one.item] / counts.total() for row, counts in counted.items() if counts
    }
    return {"word": one.item, "zeta": one.zeta, "author": one.author, "others": one.others,
            "rates": rates}  # fmt: skip
