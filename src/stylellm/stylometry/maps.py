"""Where works stand to one another: principal components and a tree, as coordinates to plot.

Both start from a `delta.ZSpace`, so the scale is that of the reference texts; other texts
(generations) are projected into it and never move it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import delta

Linkage = Literal["average", "complete", "single"]


@dataclass(frozen=True)
class Components:
    """Principal components of the profiles' z-scores.

    Attributes:
        names: the P profiles.
        coordinates: `[P, k]`.
        explained: share of the variance of each component, `[k]`.
        loadings: `[F, k]`, columns of length 1, the largest entry of each positive.
        features: the F items.
    """

    names: tuple[str, ...]
    coordinates: np.ndarray
    explained: np.ndarray
    loadings: np.ndarray
    features: tuple[str, ...]

    def project(self, scores: np.ndarray) -> np.ndarray:
        """Coordinates of other texts, from their z-scores `[F]` or `[T, F]`."""
        return scores @ self.loadings


@dataclass(frozen=True)
class Tree:
    """A dendrogram (agglomerative clustering).

    Attributes:
        names: the leaves, in the order given.
        merges: scipy's linkage, `[P - 1, 4]`: the two clusters, the height, the number of leaves.
        order: indices of the leaves from one side of the drawing to the other.
        xs, ys: `[P - 1, 4]`, the corners of the brackets as scipy draws them (leaf number i of
            `order` stands at 10 i + 5).
    """

    names: tuple[str, ...]
    merges: np.ndarray
    order: tuple[int, ...]
    xs: np.ndarray
    ys: np.ndarray


def principal_components(space: delta.ZSpace, k: int = 2) -> Components:
    """The first k components of the z-scores (PCA of the correlation matrix), by SVD.

    Raises:
        DataError: k below 1 or above the rank that P profiles and F items allow.
    """
    most = min(len(space.names) - 1, len(space.features))
    if not 1 <= k <= most:
        raise DataError(f"{k} components of {len(space.names)} texts", f"1 to {most}")
    u, s, vt = np.linalg.svd(space.z, full_matrices=False)
    largest = np.abs(vt).argmax(axis=1)
    sign = np.where(vt[np.arange(len(vt)), largest] < 0, -1.0, 1.0)
    return Components(
        space.names,
        (u * s * sign)[:, :k],
        s[:k] ** 2 / np.sum(s**2),
        (vt * sign[:, None])[:k].T,
        space.features,
    )


def pairwise(
    space: delta.ZSpace,
    others: Mapping[str, str] | None = None,
    *,
    measure: delta.Measure = "burrows",
) -> tuple[tuple[str, ...], np.ndarray]:
    """Distances among the profiles and other texts, all on the profiles' scale.

    Returns:
        The names (profiles first) and the symmetric matrix `[T, T]` with a diagonal of 0.
    """
    rows = [*space.z, *(space.scores(text) for text in (others or {}).values())]
    table = np.array(rows)
    matrix = np.array([delta.distances(table, row, measure) for row in table])
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 0.0)
    return (*space.names, *(others or {})), matrix


def tree(names: tuple[str, ...], distances: np.ndarray, *, linkage: Linkage = "average") -> Tree:
    """Dendrogram of a distance matrix, for example of `pairwise`.

    Ward's linkage is not offered: it is defined for Euclidean distances only.

    Args:
        names: one per row.
        distances: symmetric, `[T, T]`.
        linkage: how the distance of two clusters is taken.

    Raises:
        DataError: fewer than 2 texts, or an unknown linkage.
    """
    if len(names) < 2 or linkage not in ("average", "complete", "single"):
        raise DataError(
            f"a tree of {len(names)} text(s) with linkage {linkage!r}",
            "2 or more texts, and 'average', 'complete' or 'single'",
        )
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    merges = hierarchy.linkage(squareform(distances, checks=False), method=linkage)
    drawn = hierarchy.dendrogram(merges, no_plot=True)
    order = tuple(int(leaf) for leaf in drawn["leaves"])
    return Tree(names, merges, order, np.array(drawn["icoord"]), np.array(drawn["dcoord"]))
