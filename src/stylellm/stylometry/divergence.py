"""Jensen-Shannon divergence of two count vectors."""

from __future__ import annotations

import numpy as np


def jensen_shannon(counts_p: np.ndarray, counts_q: np.ndarray) -> float:
    """Jensen-Shannon divergence of two distributions given as counts over the same bins.

    JSD = half KL(p, m) + half KL(q, m) with m = (p + q) / 2 (Lin 1991, "Divergence measures based
    on the Shannon entropy").

    Args:
        counts_p: counts or weights >= 0, `[bins]`, with a sum above 0.
        counts_q: the same bins.

    Returns:
        Bits (log2), from 0 (equal) to 1 (no bin in common).
    """
    p = np.asarray(counts_p, dtype=np.float64)
    q = np.asarray(counts_q, dtype=np.float64)
    p, q = p / p.sum(), q / q.sum()
    m = (p + q) / 2
    value = (_kl_bits(p, m) + _kl_bits(q, m)) / 2
    return float(min(max(value, 0.0), 1.0))  # rounding can leave [0, 1] by an ulp


def _kl_bits(p: np.ndarray, m: np.ndarray) -> float:
    present = p > 0
    return float(np.sum(p[present] * np.log2(p[present] / m[present])))
