"""Ridge regression: of numbers, or of 1 for a class and -1 for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.fits import linear, solvers
from geoembed.fits.classifiers.protocol import Batched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from geoembed.fits.classifiers.protocol import Fitted
    from geoembed.fits.linear import Design

PLATT_PENALTY = 1.0
"""Holds the slope that turns left-out predictions into probabilities, where few labels separate perfectly."""

LEAST_SLOPE = 0.1
"""Least such slope. Without signal, left-out predictions run against the truth, as leaving a label out moves the mean
of the others away from it; with 10 labels that would turn the ranking round."""


class Ridge(Batched):
    """Ridge regression; predictions become probabilities by a logistic curve fitted to those left out (Platt 1999)."""

    def fit_together(
        self,
        design: Design,
        values: NDArray[np.float64],
        classes: int,
        penalties: NDArray[np.float64] | None = None,
        start: Sequence[Fitted] | None = None,
    ) -> list[Fitted]:
        """Fit all draws of few labels at once, and the tasks on many labels one after another."""
        if isinstance(design, linear.Many):
            each = [None] * len(values) if penalties is None else list(penalties[:, None])
            return [
                self._fit_batch(design, of_task[None], classes, penalty)[0]
                for of_task, penalty in zip(values, each, strict=True)
            ]
        return self._fit_batch(design, values, classes, penalties)

    def _fit_batch(
        self, design: Design, values: NDArray[np.float64], classes: int, penalties: NDArray[np.float64] | None
    ) -> list[Fitted]:
        if classes == 0:
            solved = design.ridge(values[:, :, None], penalties)
            arrays = [stored(solved.weights[b], solved.bias[b]) for b in range(len(values))]
        else:
            # Of two classes one regression tells both apart.
            targets = np.arange(1, 2) if classes == 2 else np.arange(classes)
            T = np.where(values[:, :, None] == targets, 1.0, -1.0)
            solved = design.ridge(T, penalties)
            slope, offset = _curves(solved.left_out, T > 0)
            arrays = [
                {**stored(solved.weights[b], solved.bias[b]), "slope": slope[b], "offset": offset[b]}
                for b in range(len(values))
            ]
        return [self.fitted(values[b], classes, arrays[b], float(solved.penalty[b])) for b in range(len(values))]

    def predict(self, fitted: Fitted, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Predict numbers, or the curves' probabilities, of more than two classes so that they add up to 1."""
        predicted = scores(fitted, X)
        if fitted.classes == 0:
            return np.asarray(predicted[:, 0])
        p = solvers.sigmoid(predicted * fitted.arrays["slope"] + fitted.arrays["offset"])
        return both(p) if fitted.classes == 2 else p / p.sum(axis=1, keepdims=True)

    def ridge_penalty(self, fitted: Fitted) -> float:
        """Return the penalty as it is."""
        return fitted.penalty

    def libraries(self, classes: int) -> tuple[str, ...]:
        """Return where scipy's solvers lie."""
        return ("scipy.optimize",)


def _curves(
    left_out: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return slope and offset (B, K) that turn predictions (B, n, K) into log odds; a class without labels has none."""
    B, n, K = left_out.shape
    predictions = left_out.transpose(0, 2, 1).reshape(-1, n)
    of_class = positive.transpose(0, 2, 1).reshape(-1, n)
    slope, offset = np.zeros(B * K, np.float32), np.full(B * K, -np.inf, np.float32)
    labelled = np.flatnonzero(of_class.any(axis=1))
    penalties = np.full(len(labelled), PLATT_PENALTY)
    curve = linear.Few(predictions[labelled, :, None]).logistic(of_class[labelled], penalties)
    slope[labelled], offset[labelled] = curve.weights[:, 0, 0], curve.bias[:, 0]
    flat = labelled[slope[labelled] < LEAST_SLOPE]
    share, middle = of_class[flat].mean(axis=1), predictions[flat].mean(axis=1)
    # At the mean prediction the curve gives the share of the class.
    slope[flat], offset[flat] = LEAST_SLOPE, np.log(share / (1 - share)) - LEAST_SLOPE * middle
    return slope.reshape(B, K), offset.reshape(B, K)


def stored(weights: NDArray[np.float64], bias: NDArray[np.float64]) -> Mapping[str, NDArray[Any]]:
    """Return the arrays of a linear model, weights (D, K) and bias (K,)."""
    return {"weights": weights.astype(np.float32), "bias": bias.astype(np.float32)}


def scores(fitted: Fitted, X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what a linear model gives for chips X (N, D), (N, K), before it is turned into probabilities."""
    return np.asarray((X @ fitted.arrays["weights"] + fitted.arrays["bias"]).astype(np.float64))


def both(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of two classes, (N, 2), from those of the second, (N, 1)."""
    return np.concatenate([1 - p, p], axis=1)
