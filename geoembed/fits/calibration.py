"""Whether a classifier's probabilities can be trusted: calibration curve, calibration error, accuracy and coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.fits import curves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.fits.curves import Point

BINS, STEPS = 10, 20
"""Bins of the probability, and steps of coverage."""

_EDGES = np.linspace(0.0, 1.0, BINS + 1)[1:-1]


@dataclass(frozen=True)
class Trust:
    """Probabilities of one task on its test chips, over several draws of n labels.

    The bins are ten of equal width, over all draws together. For two classes the probability is that of the positive
    class, else that of the most probable one. A chip's class is the most probable one, its confidence that probability.

    task: what was predicted.
    features: what the features are called.
    classifier: name of the classifier.
    classes: how many there are.
    n: number of labels.
    predicted: per bin the mean probability; NaN where it is empty.
    observed: per bin the share of its chips that are of the class; NaN where it is empty.
    share: per bin the share of all chips that fall into it.
    coverage: shares of the chips, the most confident first, 0.05 to 1.
    accuracy: over each of these shares of the chips.
    majority: the accuracy of always saying the most frequent class.
    ece: expected calibration error, as `ece` has it.
    brier: Brier's score, as `brier` has it.
    """

    task: str
    features: str
    classifier: str
    classes: int
    n: int
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    share: tuple[float, ...]
    coverage: tuple[float, ...]
    accuracy: tuple[Point, ...]
    majority: float
    ece: Point
    brier: Point


def trust(
    task: str,
    features: str,
    classifier: str,
    classes: int,
    n: int,
    draws: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> Trust:
    """Bring together the test chips' truth (N,) and probabilities (N, K) of one or more draws of n labels.

    Accuracy and coverage are a risk-coverage curve (El-Yaniv and Wiener 2010, JMLR 11).
    """
    counts, hits, sums = np.sum([_bins(truth, p) for truth, p in draws], axis=0)
    with np.errstate(invalid="ignore"):
        predicted, observed, share = sums / counts, hits / counts, counts / counts.sum()
    covered = np.array([_covered(truth, p) for truth, p in draws])  # (draws, STEPS)
    truths = np.concatenate([truth for truth, _ in draws]).astype(np.int64)
    return Trust(
        task=task,
        features=features,
        classifier=classifier,
        classes=classes,
        n=n,
        predicted=tuple(predicted.tolist()),
        observed=tuple(observed.tolist()),
        share=tuple(share.tolist()),
        coverage=tuple(step / STEPS for step in range(1, STEPS + 1)),
        accuracy=tuple(curves.point(n, values) for values in covered.T.tolist()),
        majority=float(np.bincount(truths).max() / len(truths)),
        ece=curves.point(n, [ece(truth, p) for truth, p in draws]),
        brier=curves.point(n, [brier(truth, p) for truth, p in draws]),
    )


def ece(truth: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    """Return the expected calibration error, 0 to 1, over ten bins of equal width, which include their upper edge.

    `truth` is (N,) positions of classes, `p` (N, K) probabilities. For two classes the mean probability of the
    positive class is held against its share (Naeini et al. 2015, AAAI 29), for more that of the most probable class
    against its accuracy (Guo et al. 2017, arXiv 1706.04599).
    """
    _, hits, sums = _bins(truth, p)
    return float(np.abs(hits - sums).sum() / len(truth))


def brier(truth: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    """Return Brier's score (1950, Monthly Weather Review 78) of (N, K) probabilities; `truth` is (N,) positions.

    For two classes the mean of (p - y)^2 of the positive class, 0 to 1; for more its sum over the classes, 0 to 2.
    """
    if p.shape[1] == 2:
        return float(((p[:, 1] - truth) ** 2).mean())
    of_truth = p[np.arange(len(p)), truth.astype(np.int64)]
    # The sum over classes of (p - y)^2, y being 1 for the true one and 0 for the others.
    return float(((p**2).sum(axis=1) - 2 * of_truth + 1).mean())


def _bins(truth: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return per bin the number of chips, the hits among them and the sum of their probabilities, (3, BINS)."""
    if p.shape[1] == 2:
        sure, hit = p[:, 1], truth
    else:
        top = p.argmax(axis=1)
        sure, hit = p[np.arange(len(p)), top], top == truth
    bins = np.searchsorted(_EDGES, sure)
    return np.stack([np.bincount(bins, weights, BINS) for weights in (None, hit, sure)])


def _covered(truth: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the accuracy over the ceil(coverage N) most confident chips, (STEPS,).

    Of chips that are equally confident at the edge as many count as there is room for, each by their mean.
    """
    top = p.argmax(axis=1)
    sure, first, size = np.unique(-p[np.arange(len(p)), top], return_inverse=True, return_counts=True)
    right = np.bincount(first, top == truth, len(sure))
    within, correct = np.append(0, np.cumsum(size)), np.append(0.0, np.cumsum(right))
    taken = -(-np.arange(1, STEPS + 1) * len(p) // STEPS)
    return np.asarray(np.interp(taken, within, correct) / taken)
