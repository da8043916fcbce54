"""Labels that look wrong, by predictions of fits that have not seen them.

Classes by confident learning, with pruning by noise rate (Northcutt, Jiang and Chuang 2021, JAIR 70, 1373-1411,
arXiv:1911.00068). Numbers by the modified z-score of their residuals (Iglewicz and Hoaglin 1993).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FARTHEST = 3.5
"""Modified z-score of a residual above which a number is suspicious, as Iglewicz and Hoaglin recommend."""

NORMAL = 0.6745
"""Median absolute deviation of a normal distribution with deviation 1."""


def of_classes(truth: NDArray[np.int64], p: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which of m labels are suspicious, the most suspicious first, and the class that each seems to be.

    Labels whose class is as likely as it usually is among its own labels tell how many labels of each class are of
    another; so many are suspicious, those for which the other class is ahead by most.

    truth: (m,) positions of the classes given.
    p: (m, K) probabilities by fits that have not seen the label.
    """
    m, K = p.shape
    rows, given = np.arange(m), np.bincount(truth, minlength=K)
    usual = np.array([p[truth == k, k].mean() if given[k] else np.inf for k in range(K)])
    likely = np.where(p >= usual, p, -1.0)
    sure = likely.max(axis=1) >= 0.0
    joint = np.zeros((K, K))
    np.add.at(joint, (truth[sure], likely[sure].argmax(axis=1)), 1.0)
    joint *= (given / np.maximum(joint.sum(axis=1), 1.0))[:, None]
    doubt, seems = np.full(m, -np.inf), truth.copy()
    for i in range(K):
        own = rows[truth == i]
        for j in range(K):
            ahead = p[own, j] - p[own, i]
            most = np.argsort(-ahead, kind="stable")[: round(joint[i, j]) if i != j else 0]
            most = most[(ahead[most] > 0.0) & (ahead[most] > doubt[own[most]])]
            doubt[own[most]], seems[own[most]] = ahead[most], j
    order = np.argsort(-doubt, kind="stable")[: np.count_nonzero(np.isfinite(doubt))]
    return order, seems[order]


def of_numbers(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which of m numbers lie suspiciously far from what is predicted, the farthest first; both are (m,)."""
    residual = truth - predicted
    apart = np.abs(residual - np.median(residual))
    spread = np.median(apart)
    z = NORMAL * apart / spread if spread > 0 else np.where(apart > 0, np.inf, 0.0)
    return np.array([row for row in np.argsort(-z, kind="stable") if z[row] > FARTHEST], np.int64)
