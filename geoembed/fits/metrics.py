"""Scores of predictions; the same numbers as scikit-learn's, without its overhead per call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoembed.fits import accuracy, calibration

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINARY = ("balanced_accuracy", "accuracy", "f1", "roc_auc", "average_precision", "brier", "ece")
MULTICLASS = ("balanced_accuracy", "accuracy", "macro_f1", "brier", "ece")
NUMERIC = ("r2", "rmse")

HEADLINES = frozenset((BINARY[0], MULTICLASS[0], NUMERIC[0]))
"""The metrics that answers are about."""


def names(classes: int) -> tuple[str, ...]:
    """Return the metrics for a number of classes, 0 for a numeric target; the first is the headline."""
    return NUMERIC if classes == 0 else BINARY if classes == 2 else MULTICLASS


def chance(metric: str, classes: int) -> float:
    """Return what guessing scores, NaN where that depends on how one guesses."""
    known = {"balanced_accuracy": 1 / max(classes, 1), "roc_auc": 0.5, "r2": 0.0}
    return known.get(metric, float("nan"))


def score(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], decided: NDArray[np.int64], classes: int
) -> dict[str, float]:
    """Score predictions of N test chips.

    `truth` is (N,) positions of classes, or numbers where `classes` is 0. `predicted` is (N, K) probabilities, or (N,)
    numbers; `decided` is (N,) the class predicted, unused for numbers. Means over classes are over those that the test
    chips hold. Of fewer than two, only accuracy and the worth of probabilities are told; of numbers that do not vary,
    nothing.
    """
    if classes == 0:
        return _numeric(truth, predicted)
    counts = np.bincount(truth.astype(np.int64), minlength=classes)
    held = counts > 0
    if not len(truth):
        return dict.fromkeys(names(classes), float("nan"))
    confusion = accuracy.confusion(decided, truth, classes)
    hits = np.diag(confusion)[held]
    f1 = 2 * hits / (confusion.sum(axis=0) + confusion.sum(axis=1))[held]
    balanced = float((hits / counts[held]).mean())
    right = float(hits.sum() / len(truth))
    trusted = {"brier": calibration.brier(truth, predicted), "ece": calibration.ece(truth, predicted)}
    if np.count_nonzero(held) < 2:
        return dict.fromkeys(names(classes), float("nan")) | {"accuracy": right, **trusted}
    if classes > 2:
        return {"balanced_accuracy": balanced, "accuracy": right, "macro_f1": float(f1.mean()), **trusted}
    area, precision = ranking(truth > 0, predicted[:, 1])
    return {
        "balanced_accuracy": balanced,
        "accuracy": right,
        "f1": float(f1[1]),
        "roc_auc": area,
        "average_precision": precision,
        **trusted,
    }


def _numeric(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    spread = float(((truth - truth.mean()) ** 2).sum()) if truth.size else 0.0
    if spread == 0.0:
        return dict.fromkeys(NUMERIC, float("nan"))
    squares = float(((truth - predicted) ** 2).sum())
    return {"r2": 1.0 - squares / spread, "rmse": float(np.sqrt(squares / truth.size))}


def ranking(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[float, float]:
    """Return area under the ROC curve and average precision; tied scores count as one threshold."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order])[last].astype(np.float64)
    misses = last + 1 - hits
    recall, fallout = hits / hits[-1], misses / misses[-1]
    area = (np.diff(fallout, prepend=0.0) * (recall + np.append(0.0, recall[:-1])) / 2).sum()  # trapezoids
    precision = (np.diff(recall, prepend=0.0) * hits / (last + 1)).sum()
    return float(area), float(precision)
