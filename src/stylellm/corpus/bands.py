"""Pairs of similar MinHash sketches among many, in a time that grows with their number.

Locality sensitive hashing: texts that have all slots of a band in common are candidates (Leskovec,
Rajaraman and Ullman, Mining of Massive Datasets, section 3.4). The bands are found by sorting, so
that no table is kept; each candidate pair is then compared slot by slot.
"""

from __future__ import annotations

import numpy as np

_RECALL = 0.97
"""Least share of pairs right at the threshold that the bands must bring together."""
_MANY_SLOTS, _RECALL_OF_MANY = 512, 0.9999
_BY_CHANCE = 2.0**-8  # slots of 8 bits that are equal though their texts are not
_LIKE = 0.75
"""Share of the threshold from which on a pair tells of a family of texts."""
_LONGER = 2
_ROUNDS, _BACK = 8, 8
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
    it: linear, and alike texts share many bands. Where one of those goes itself, a text may be left
    without its match; so the texts that were like another and are still there, a few, are gone through
    again with more of those before them, until nothing more is found.

    Args:
        sketches: MinHash `[N, slots]`.
        lengths: letters `[N]`.
        owners: texts of the same owner are not compared, `[N]`.
        threshold: least similarity.
    """
    partner = np.full(len(sketches), -1, dtype=np.int64)
    similarity = np.zeros(len(sketches), dtype=np.float32)
    among = np.arange(len(sketches))
    for number in range(_ROUNDS):
        near, shares, like = _one_round(
            sketches[among], lengths[among], owners[among], threshold, _BACK if number else 1
        )
        found = near >= 0
        partner[among[found]] = among[near[found]]
        similarity[among[found]] = shares[found]
        given_up = _keep_one(sketches, lengths, owners, threshold, partner, similarity)
        again = np.union1d(among[like], given_up).astype(np.int64)
        again = again[partner[again] < 0]
        if not (found.any() or len(given_up)) or len(again) < 2:
            break
        among = again
    return partner, similarity


def _one_round(
    sketches: np.ndarray, lengths: np.ndarray, owners: np.ndarray, threshold: float, back: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Partner and similarity of each text, and whether it was much like any that it was compared with."""
    partner = np.full(len(sketches), -1, dtype=np.int64)
    similarity = np.zeros(len(sketches), dtype=np.float32)
    like = np.zeros(len(sketches), dtype=bool)
    rows = _rows(sketches.shape[1], threshold)
    for column in range(0, sketches.shape[1] - rows + 1, rows):
        order, starts = groups(_band_keys(sketches[:, column : column + rows]))
        places = np.arange(len(order))
        before = [order[np.maximum(places - step, starts)] for step in range(1, back + 1)]
        for others in (order[starts], *before):
            new = (owners[others] != owners[order]) & (partner[order] != others)
            new &= (partner[order] < 0) | (others < partner[order])
            _verify(sketches, lengths, threshold, order[new], others[new],
                    partner, similarity, like)  # fmt: skip
    return partner, similarity, like


def _rows(slots: int, threshold: float) -> int:
    """Slots a band: as many as still bring together texts right at the threshold.

    With the few slots of a paragraph that is reckoned for texts of one length, which repeated
    paragraphs have. Chapters have slots enough to find nearly all, and the other half as long again.
    """
    many = slots >= _MANY_SLOTS
    resemblance = threshold / ((2.5 if many else 2.0) - threshold)
    recall = _RECALL_OF_MANY if many else _RECALL
    rows = [r for r in range(1, 9) if 1 - (1 - resemblance**r) ** (slots // r) >= recall]
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
    like: np.ndarray,
) -> None:
    """Write those of the candidate pairs into `partner` and `similarity` that are alike.

    Texts of pairs that come near to it are marked in `like`.
    """
    for at in range(0, len(later), _CHUNK):
        a, b = later[at : at + _CHUNK], earlier[at : at + _CHUNK]
        shares = _containment(sketches[a], sketches[b], lengths[a], lengths[b])
        alike = shares >= threshold
        close = shares >= _LIKE * threshold
        like[a[close]] = like[b[close]] = True
        partner[a[alike]] = b[alike]
        similarity[a[alike]] = shares[alike]


def _containment(
    later: np.ndarray, earlier: np.ndarray, size: np.ndarray, other_size: np.ndarray
) -> np.ndarray:
    """Share of each later text that the earlier one holds, reckoned from their sketches.

    From the resemblance r = |A & B| / |A | B| of two sets follows |A & B| = r (|A| + |B|) / (1 + r).
    The error of r grows by the ratio of the lengths: 0 for a text in one more than twice as long.
    """
    equal = (later == earlier).mean(axis=-1)
    resemblance = np.maximum(0.0, (equal - _BY_CHANCE) / (1 - _BY_CHANCE))
    share = np.minimum(1.0, resemblance / (1 + resemblance) * (1 + other_size / size))
    return np.where(other_size > _LONGER * size, 0.0, share)


def _keep_one(
    sketches: np.ndarray,
    lengths: np.ndarray,
    owners: np.ndarray,
    threshold: float,
    partner: np.ndarray,
    similarity: np.ndarray,
) -> np.ndarray:
    """Lead each match to a text that is kept itself, or give it up; returns those given up."""
    given_up = []
    for later in np.flatnonzero(partner >= 0).tolist():
        root = partner[partner[later]]
        if root < 0:
            continue
        share = _containment(sketches[later], sketches[root], lengths[later], lengths[root])
        alike = share >= threshold and owners[later] != owners[root]
        partner[later], similarity[later] = (root, share) if alike else (-1, 0.0)
        if not alike:
            given_up.append(later)
    return np.array(given_up, dtype=np.int64)
