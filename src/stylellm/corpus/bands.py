"""Pairs of similar MinHash sketches among many, in a time that grows with their number.

Locality sensitive hashing: texts that have all slots of a band in common are candidates (Leskovec,
Rajaraman and Ullman, Mining of Massive Datasets, section 3.4). The bands are found by sorting, so
that no table is kept; each candidate pair is then compared slot by slot.
"""

from __future__ import annotations

import numpy as np

_RECALL = 0.97
"""Least share of pairs right at the threshold that the bands must bring together."""
_BY_CHANCE = 2.0**-8  # slots of 8 bits that are equal though their texts are not
_CHUNK = 1 << 14  # pairs compared at once


def groups(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A stable sorting order, and for each sorted place the place where its equals begin."""
    order = np.argsort(keys, kind="stable")
    changes = np.ones(len(keys), dtype=bool)
    changes[1:] = keys[order[1:]] != keys[order[:-1]]
    return order, np.maximum.accumulate(np.where(changes, np.arange(len(keys)), 0))


def near_pairs(
    sketches: np.ndarray, lengths: np.ndarray, owners: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each text an earlier kept one that holds it, or -1, and how much of it that holds.

    Within a group that shares a band, each text is compared with the first and with the one before
    it: linear, and alike texts share many bands.

    Args:
        sketches: MinHash `[N, slots]`.
        lengths: letters `[N]`.
        owners: texts of the same owner are not compared, `[N]`.
        threshold: least similarity.
    """
    partner = np.full(len(sketches), -1, dtype=np.int64)
    similarity = np.zeros(len(sketches), dtype=np.float32)
    rows = _rows(sketches.shape[1], threshold)
    for column in range(0, sketches.shape[1] - rows + 1, rows):
        order, starts = groups(_band_keys(sketches[:, column : column + rows]))
        before = np.maximum(np.arange(len(order)) - 1, starts)
        for others in (order[starts], order[before]):
            new = (owners[others] != owners[order]) & (partner[order] != others)
            new &= (partner[order] < 0) | (others < partner[order])
            _verify(sketches, lengths, threshold, order[new], others[new], partner, similarity)
    _keep_one(sketches, lengths, owners, threshold, partner, similarity)
    return partner, similarity


def _rows(slots: int, threshold: float) -> int:
    """Slots a band: as many as bring together texts of one length right at the threshold."""
    resemblance = threshold / (2 - threshold)
    rows = [r for r in range(1, 9) if 1 - (1 - resemblance**r) ** (slots // r) >= _RECALL]
    return max(rows, default=1)


def _band_keys(band: np.ndarray) -> np.ndarray:
    keys = np.zeros(len(band), dtype=np.uint64)
    for column in band.T:
        keys = (keys ^ column) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def _verify(
    sketches: np.ndarray,
    lengths: np.ndarray,
    threshold: float,
    later: np.ndarray,
    earlier: np.ndarray,
    partner: np.ndarray,
    similarity: np.ndarray,
) -> None:
    """Write those of the candidate pairs into `partner` and `similarity` that are alike."""
    for at in range(0, len(later), _CHUNK):
        a, b = later[at : at + _CHUNK], earlier[at : at + _CHUNK]
        shares = _containment(sketches[a], sketches[b], lengths[a], lengths[b])
        alike = shares >= threshold
        partner[a[alike]] = b[alike]
        similarity[a[alike]] = shares[alike]


def _containment(
    later: np.ndarray, earlier: np.ndarray, size: np.ndarray, other_size: np.ndarray
) -> np.ndarray:
    """Share of each later text that the earlier one holds, reckoned from their sketches.

    From the resemblance r = |A & B| / |A | B| of two sets follows |A & B| = r (|A| + |B|) / (1 + r).
    """
    equal = (later == earlier).mean(axis=-1)
    resemblance = np.maximum(0.0, (equal - _BY_CHANCE) / (1 - _BY_CHANCE))
    return np.minimum(1.0, resemblance / (1 + resemblance) * (1 + other_size / size))


def _keep_one(
    sketches: np.ndarray,
    lengths: np.ndarray,
    owners: np.ndarray,
    threshold: float,
    partner: np.ndarray,
    similarity: np.ndarray,
) -> None:
    """Lead each match to a text that is kept itself, or give it up."""
    for later in np.flatnonzero(partner >= 0).tolist():
        root = partner[partner[later]]
        if root < 0:
            continue
        share = _containment(sketches[later], sketches[root], lengths[later], lengths[root])
        alike = share >= threshold and owners[later] != owners[root]
        partner[later], similarity[later] = (root, share) if alike else (-1, 0.0)
