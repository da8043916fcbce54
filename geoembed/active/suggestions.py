"""Which chips to label next: those that cover the space, or those in doubt where nothing near is labelled.

Without labels, the most typical chip of each cluster (Hacohen et al. 2022, Active learning on a budget,
arXiv:2202.02794). With labels, clusters in which a chip counts by how unsure a probe is of it (Zhdanov 2019, Diverse
mini-batch active learning, arXiv:1901.05954), without those that hold a labelled chip: on the simulated Earth's
validation chips the plain rule, and the least certain chips alone, did worse than labels at random from 50 on.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

SAMPLE = 20_000
"""Chips that clusters are found among; of more, as many are drawn."""

OCCUPIED = 500
"""Labelled chips that take part in clusters; of more, as many are drawn."""

LEAST = 1e-3
"""How much a chip counts of which a probe is sure."""


def cover(Z: NDArray[np.float32], n: int, seed: int) -> NDArray[np.int64]:
    """Return n of N chips that cover the space, of the largest cluster first: the nearest to each centre of k-means.

    Z: (N, D) scaled features.
    """
    return _of_clusters(Z, np.ones(len(Z)), Z[:0], n, seed)


def unsure(
    Z: NDArray[np.float32], p: NDArray[np.float64], labelled: NDArray[np.float32], n: int, seed: int
) -> NDArray[np.int64]:
    """Return n of N chips whose likeliest two classes are nearly as likely, that differ and have no labelled one near.

    Z: (N, D) scaled features, and of the labelled chips (M, D).
    p: (N, K) probabilities, K above 1.
    """
    return _of_clusters(Z, 1.0 - margin(p) + LEAST, labelled, n, seed)


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


def _of_clusters(
    Z: NDArray[np.float32], weights: NDArray[np.float64], labelled: NDArray[np.float32], n: int, seed: int
) -> NDArray[np.int64]:
    """Return the chip nearest to the centre of each of n weighted clusters without labelled chips, the heaviest first.

    Z: (N, D), weights: (N,), labelled: (M, D). All chips are returned where there are no more than n.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if n >= len(Z):
        return np.argsort(-weights, kind="stable")
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(len(Z), SAMPLE, replace=False)) if len(Z) > SAMPLE else np.arange(len(Z))
    labelled = labelled if len(labelled) <= OCCUPIED else labelled[rng.choice(len(labelled), OCCUPIED, replace=False)]
    together = np.concatenate([Z[sample], labelled])
    heavy = np.concatenate([weights[sample], np.full(len(labelled), LEAST)])
    clusters = min(n + len(labelled), len(together))
    # One thread: sums in one order, so that the same seed gives the same chips. Chips that are alike are no fault.
    with threadpool_limits(1), warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model = KMeans(clusters, n_init=1, random_state=int(rng.integers(2**31))).fit(together, sample_weight=heavy)
    inside, taken = model.labels_[: len(sample)], model.labels_[len(sample) :]
    total = np.bincount(inside, weights[sample], clusters)
    total[taken] = 0.0
    chosen: list[int] = []
    for k in np.argsort(-total, kind="stable")[:n]:
        members = sample[inside == k]
        if total[k] > 0.0 and len(members):
            centre = model.cluster_centers_[[k]]
            chosen.append(int(members[_distances(Z[members], centre)[:, 0].argmin()]))
    # Where chips are alike there are fewer clusters than asked for.
    rest = np.setdiff1d(np.argsort(-weights, kind="stable"), chosen, assume_unique=True)
    return np.array([*chosen, *rest[: n - len(chosen)]], np.int64)


def _distances(A: NDArray[np.float32], B: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return squared distances between rows, (len(A), len(B))."""
    A64, B64 = A.astype(np.float64), B.astype(np.float64)
    squares = (A64**2).sum(axis=1)[:, None] + (B64**2).sum(axis=1) - 2.0 * A64 @ B64.T
    return np.asarray(np.maximum(squares, 0.0))
