"""Scores into probabilities that mean what they say: temperature scaling."""

from __future__ import annotations

import numpy as np

_BOUNDS = (-8.0, 12.0)  # of log temperature: margins of 1e-3 up to log-likelihoods of 1e5


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def temperature(scores: np.ndarray, truth: np.ndarray) -> float:
    """The T for which softmax(scores / T) has the least mean negative log-likelihood.

    One number for all classes: it never changes which class is first. The N cases count as right
    with the weight (N + 1) / (N + 2), as by Platt (1999): were none of them wrong, T would
    otherwise go to 0 and the first mistake later cost infinitely much. Source: Guo et al. (2017),
    "On calibration of modern neural networks".

    Args:
        scores: of cases that were held out, `[N, classes]`.
        truth: index of the true class, `[N]`.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    doubt = 1 / (len(truth) + 2)
    true = scores[np.arange(len(truth)), truth]
    others = (scores.sum(axis=1) - true) / max(scores.shape[1] - 1, 1)
    target = (1 - doubt) * true + doubt * others

    def loss(log_t: float) -> float:
        t = np.exp(log_t)
        return float((logsumexp(scores / t, axis=1) - target / t).mean())

    return float(np.exp(minimize_scalar(loss, bounds=_BOUNDS, method="bounded").x))


def calibration_error(probabilities: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Mean distance of confidence and accuracy over equal bins of confidence, weighted by size.

    The expected calibration error of Naeini et al. (2015), of the most probable class.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / len(truth))
