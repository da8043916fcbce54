"""Which chips to label next: those that cover the space, or those that a probe is unsure of and that differ.

Without labels, k-means centres (Hacohen et al. 2022, Active learning on a budget, arXiv:2202.02794, choose the most
typical chip of each cluster in the same way). With labels, clusters of the least certain chips (Zhdanov 2019, Diverse
mini-batch active learning, arXiv:1901.05954).
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

SAMPLE = 20_000
"""Chips that clusters are found among; of more, as many are drawn."""

UNSURE = 10
"""Chips that are clustered for each that is suggested, the least certain ones."""


def cover(Z: NDArray[np.float32], n: int, seed: int) -> NDArray[np.int64]:
    """Return n of N chips that cover the space, of the largest cluster first: the nearest to each centre of k-means.

    Z: (N, D) scaled features.
    """
    return _of_clusters(Z, np.ones(len(Z)), n, seed)


def unsure(Z: NDArray[np.float32], p: NDArray[np.float64], n: int, seed: int) -> NDArray[np.int64]:
    """Return n of N chips whose likeliest two classes are nearly as likely, and that differ from each other.

    Z: (N, D) scaled features.
    p: (N, K) probabilities, K above 1.
    """
    margins = margin(p)
    least = np.argsort(margins, kind="stable")[: max(n, UNSURE * n)]
    return least[_of_clusters(Z[least], 1.0 - margins[least] + 1e-6, n, seed)]


def farthest(
    Z: NDArray[np.float32], labelled: NDArray[np.int64], among: NDArray[np.int64], n: int
) -> NDArray[np.int64]:
    """Return n rows of `among`, each the farthest from those labelled and those chosen before it.

    Sener and Savarese 2018, Active learning for convolutional neural networks: a core-set approach, arXiv:1708.00489.
    Numbers have no margin, so they are covered so.

    Z: (N, D) scaled features.
    """
    nearest = np.full(len(among), np.inf)
    chosen: list[int] = []
    for start in range(0, len(labelled), 256):
        nearest = np.minimum(nearest, _distances(Z[among], Z[labelled[start : start + 256]]).min(axis=1))
    for _ in range(min(n, len(among))):
        at = int(nearest.argmax())
        chosen.append(at)
        nearest = np.minimum(nearest, _distances(Z[among], Z[among[[at]]])[:, 0])
        nearest[chosen] = -1.0
    return among[chosen]


def margin(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much the likeliest class is likelier than the second, (N,), from probabilities (N, K)."""
    two = np.partition(p, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def _of_clusters(Z: NDArray[np.float32], weights: NDArray[np.float64], n: int, seed: int) -> NDArray[np.int64]:
    """Return the row nearest to each of n weighted k-means centres, the heaviest cluster first; all where few."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if n >= len(Z):
        return np.arange(len(Z))
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(len(Z), SAMPLE, replace=False)) if len(Z) > SAMPLE else np.arange(len(Z))
    # One thread: sums in one order, so that the same seed gives the same chips. Chips that are alike are no fault.
    with threadpool_limits(1), warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model = KMeans(n, n_init=1, random_state=int(rng.integers(2**31))).fit(Z[sample], sample_weight=weights[sample])
    heaviest = np.argsort(-np.bincount(model.labels_, weights[sample], n), kind="stable")
    nearest, distance = np.zeros(n, np.int64), np.full(n, np.inf)
    taken = np.zeros(len(Z), bool)
    for start in range(0, len(Z), SAMPLE):
        apart = _distances(Z[start : start + SAMPLE], model.cluster_centers_.astype(np.float32))
        best = apart.argmin(axis=0)
        closer = apart[best, np.arange(n)] < distance
        nearest[closer], distance[closer] = best[closer] + start, apart[best, np.arange(n)][closer]
    chosen = []
    for k in heaviest:
        row = nearest[k]
        if taken[row]:  # two centres on one chip, as where chips are alike
            row = int(np.flatnonzero(~taken)[np.argmin(_distances(Z[~taken], model.cluster_centers_[[k]])[:, 0])])
        taken[row] = True
        chosen.append(int(row))
    return np.array(chosen, np.int64)


def _distances(A: NDArray[np.float32], B: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return squared distances between rows, (len(A), len(B))."""
    A64, B64 = A.astype(np.float64), B.astype(np.float64)
    squares = (A64**2).sum(axis=1)[:, None] + (B64**2).sum(axis=1) - 2.0 * A64 @ B64.T
    return np.asarray(np.maximum(squares, 0.0))
