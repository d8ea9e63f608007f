"""Burrows's Delta and Cosine Delta: distance of a text to authors, by its most frequent items.

Frequencies of items (characters or words) are turned into z-scores with the mean and the sample
deviation (n - 1) of the profiles only; the test text never moves the scale. Items that do not vary
over the profiles carry no scale and are dropped for both distances.

Sources: Burrows (2002), "'Delta': a measure of stylistic difference"; Smith and Aldridge (2011),
"Improving authorship attribution", for the cosine; Evert et al. (2017), "Understanding and
explaining Delta measures for authorship attribution", for both.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import function_words
from stylellm.stylometry.text import without_whitespace

Unit = Literal["character", "word"]
Measure = Literal["burrows", "cosine"]
# Burrows (2002) worked with the 150 most frequent items.
DEFAULT_N_FEATURES = 150
# z-scores below this are rounding of a frequency that equals the mean.
_ZERO = 1e-12


@dataclass(frozen=True)
class ZSpace:
    """The scale that some profiles span: P profiles, F items that vary over them.

    Attributes:
        names: the P profiles.
        features: the F items in use.
        dropped: items left out because they do not vary over the profiles.
        mean, deviation: `[F]`, of relative frequencies over the profiles (n - 1).
        z: `[P, F]`, the profiles' own z-scores.
        unit: what was counted.
    """

    names: tuple[str, ...]
    features: tuple[str, ...]
    dropped: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    z: np.ndarray
    unit: Unit

    def scores(self, text: str | Sequence[str]) -> np.ndarray:
        """z-scores of a text on this scale, `[F]`; for words also a text that is cut already."""
        found = frequencies(text, self.features, self.unit, "the test text")
        return _clean_zero((found - self.mean) / self.deviation)


def fit(
    profiles: Mapping[str, str],
    *,
    features: Iterable[str] | None = None,
    n_features: int = DEFAULT_N_FEATURES,
    unit: Unit = "character",
) -> ZSpace:
    """Fit means and deviations on the profiles.

    Args:
        profiles: name -> text, two or more, each of them one author or one work.
        features: characters or words to use as they are; default: the `n_features` most frequent
            of all profiles together (ties by code point), punctuation left out.
        n_features: how many, when `features` is not given.
        unit: "character": items are characters (given longer items are counted as substrings,
            longest first), relative to all non-whitespace characters of the text. "word": items
            are words as jieba cuts them, relative to all words of the text.

    Raises:
        DataError: fewer than 2 profiles, a profile without characters or words, no item, or no
            item that varies over the profiles.
    """
    if len(profiles) < 2:
        raise DataError(f"Delta got {len(profiles)} profile(s)", "2 or more texts to compare with")
    items = tuple(dict.fromkeys(features)) if features is not None else ()
    if features is None:
        items = most_frequent(profiles.values(), n_features, unit)
    if not items or "" in items:
        raise DataError("Delta got no item to count, or an empty one", "one or more features")
    table = np.array(
        [frequencies(text, items, unit, f"profile {name!r}") for name, text in profiles.items()]
    )
    # Equal frequencies are equal floats, while their computed deviation may be 1e-18.
    varies = table.max(axis=0) > table.min(axis=0)
    if not varies.any():
        raise DataError("no item varies over the profiles", "profiles that differ, or other items")
    kept = table[:, varies]
    mean, deviation = kept.mean(axis=0), kept.std(axis=0, ddof=1)
    return ZSpace(
        names=tuple(profiles),
        features=tuple(item for item, keep in zip(items, varies, strict=True) if keep),
        dropped=tuple(item for item, keep in zip(items, varies, strict=True) if not keep),
        mean=mean,
        deviation=deviation,
        z=_clean_zero((kept - mean) / deviation),
        unit=unit,
    )


def burrows_delta(
    profiles: Mapping[str, str],
    test: str,
    *,
    features: Iterable[str] | None = None,
    n_features: int = DEFAULT_N_FEATURES,
    unit: Unit = "character",
) -> dict[str, float]:
    """Mean over the items of abs(z_i(profile) - z_i(test)), for each profile.

    Arguments and errors as in `fit`. Unit: standard deviations; 0 = the same frequencies; smaller
    is closer. Source: Burrows (2002).
    """
    space = fit(profiles, features=features, n_features=n_features, unit=unit)
    found = distances(space.z, space.scores(test), "burrows")
    return dict(zip(space.names, found.tolist(), strict=True))


def cosine_delta(
    profiles: Mapping[str, str],
    test: str,
    *,
    features: Iterable[str] | None = None,
    n_features: int = DEFAULT_N_FEATURES,
    unit: Unit = "character",
) -> dict[str, float]:
    """1 - cos(z(profile), z(test)), for each profile.

    Arguments and errors as in `fit`. From 0 (same direction) to 2 (opposite); 1 where a text lies
    exactly on the mean of the profiles and so has no direction. Source: Smith and Aldridge (2011);
    Evert et al. (2017).
    """
    space = fit(profiles, features=features, n_features=n_features, unit=unit)
    found = distances(space.z, space.scores(test), "cosine")
    return dict(zip(space.names, found.tolist(), strict=True))


def distances(rows: np.ndarray, row: np.ndarray, measure: Measure = "burrows") -> np.ndarray:
    """Distance of every row `[P, F]` of z-scores to one row `[F]`, `[P]`.

    Raises:
        DataError: an unknown measure.
    """
    if measure == "burrows":
        return np.abs(rows - row).mean(axis=1)
    if measure == "cosine":
        return cosine_distances(rows, row)
    raise DataError(f"unknown measure {measure!r}", "'burrows' or 'cosine'")


def cosine_distances(rows: np.ndarray, row: np.ndarray) -> np.ndarray:
    """1 - cosine of every row `[P, F]` with one row `[F]`; 1 where one of the two is zero."""
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(row)
    cosine = np.divide(rows @ row, norms, out=np.zeros(len(norms)), where=norms > 0)
    return 1 - np.clip(cosine, -1, 1)


def most_frequent(texts: Iterable[str], n: int, unit: Unit = "character") -> tuple[str, ...]:
    """The n most frequent characters or words of all texts together, most frequent first.

    Punctuation is left out, as it belongs to the edition; ties are broken by code point.
    """
    pooled: Counter[str] = Counter()
    for text in texts:
        pooled.update(tokens(text, unit))
    named = [item for item in pooled if not is_mark(item)]
    return tuple(sorted(named, key=lambda item: (-pooled[item], item))[:n])


def frequencies(
    text: str | Sequence[str],
    items: tuple[str, ...],
    unit: Unit = "character",
    what: str = "the text",
) -> np.ndarray:
    """Relative frequencies `[len(items)]` of the items in the text, counted as in `fit`.

    Args:
        text: a text, or for the unit "word" its words in order.

    Raises:
        DataError: a text without characters or words, called `what` in the message.
    """
    if unit == "character":
        whole = text if isinstance(text, str) else "".join(text)
        total = len(without_whitespace(whole))
        found: Mapping[str, int] = function_words.counts(whole, items)
    else:
        words = tokens(text, unit) if isinstance(text, str) else text
        total, found = len(words), Counter(words)
    if not total:
        raise DataError(f"{what} holds no {unit}", "a text that is not empty")
    return np.array([found[item] for item in items], dtype=np.float64) / total


def is_mark(item: str) -> bool:
    """Whether an item is punctuation, a symbol or a blank, which belong to the edition."""
    return unicodedata.category(item[0])[0] in "PSZC"


def tokens(text: str, unit: Unit) -> str | list[str]:
    """All characters (white space left out) or all words (marks left out) of a text, in order.

    Words are cut by jieba (its Rust port, rjieba). Its dictionary is of modern Chinese, so in older
    prose the cuts are rough, on both sides of a comparison alike.

    Raises:
        DataError: an unknown unit.
    """
    if unit == "character":
        return without_whitespace(text)
    if unit == "word":
        return [word for word in _cutter()(text) if any(map(str.isalnum, word))]
    raise DataError(f"unknown unit {unit!r}", "'character' or 'word'")


def _cutter() -> Callable[[str], Iterable[str]]:
    import rjieba  # loads a dictionary

    return rjieba.cut


def _clean_zero(z: np.ndarray) -> np.ndarray:
    return np.where(np.abs(z) < _ZERO, 0.0, z)
