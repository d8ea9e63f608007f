"""Lexical richness at equal length: values of texts of different lengths can be compared.

The plain share of different words falls with the length of a text; these measures do not (MATTR,
HD-D: every window or sample has the same size) or hardly (Yule's K).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry.delta import Unit, is_mark, tokens

WINDOW = 500
SAMPLE = 500


def items(text: str, unit: Unit = "character") -> list[str]:
    """The characters or words that richness counts: marks and white space left out."""
    return [item for item in tokens(text, unit) if not is_mark(item)]


def mattr(row: Sequence[str], window: int = WINDOW) -> float:
    """Moving-average type-token ratio: mean share of different items over all windows, 0 to 1.

    Source: Covington and McFall (2010), "Cutting the Gordian knot: the moving-average type-token
    ratio".

    Args:
        row: `items` of a text.
        window: items of a window.

    Raises:
        DataError: a window below 1, or fewer items than one window.
    """
    _check(row, window, "windows")
    held = Counter(row[:window])
    types = total = len(held)
    for leaving, entering in zip(row, row[window:], strict=False):
        held[leaving] -= 1
        types -= not held[leaving]
        types += not held[entering]
        held[entering] += 1
        total += types
    return total / window / (len(row) - window + 1)


def hdd(row: Sequence[str], sample: int = SAMPLE) -> float:
    """HD-D: the expected share of different items in a random sample of the text, 0 to 1.

    For each item the hypergeometric probability to be in a sample drawn without replacement.
    Unlike MATTR it does not see where repetitions stand. Source: McCarthy and Jarvis (2007), "vocd:
    a theoretical and empirical evaluation" (they use samples of 42 words).

    Raises:
        DataError: a sample below 1, or fewer items than one sample.
    """
    _check(row, sample, "samples")
    from scipy.special import gammaln

    counts = np.array(list(Counter(row).values()), dtype=np.float64)
    rest = len(row) - counts
    # log of C(rest, sample) / C(total, sample): the chance to miss the item altogether.
    possible = rest >= sample
    missed = np.exp(
        gammaln(rest[possible] + 1)
        - gammaln(rest[possible] - sample + 1)
        - gammaln(len(row) + 1)
        + gammaln(len(row) - sample + 1)
    )
    return float((len(counts) - missed.sum()) / sample)


def yule_k(row: Sequence[str]) -> float:
    """Yule's K = 10^4 (sum of squared counts - N) / N^2: higher is poorer; 0 if nothing repeats.

    Source: Yule (1944), "The statistical study of literary vocabulary".

    Raises:
        DataError: no item.
    """
    _check(row, 1, "samples")
    squares = sum(count * count for count in Counter(row).values())
    return 1e4 * (squares - len(row)) / len(row) ** 2


def _check(row: Sequence[str], size: int, what: str) -> None:
    if size < 1 or len(row) < size:
        raise DataError(
            f"a text of {len(row)} items and {what} of {size}",
            f"{what} of 1 or more that fit the text",
        )
