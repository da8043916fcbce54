"""Logistic regression of two classes or more, regularised as ridge regression of the same labels would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.fits import classifiers, linear, solvers
from geoembed.fits.classifiers.protocol import Batched
from geoembed.fits.classifiers.ridge import both, scores, stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.fits.classifiers.protocol import Classifier, Fitted
    from geoembed.fits.linear import Design


class Logistic(Batched):
    """Logistic regression; of numbers, ridge regression takes its place."""

    def for_target(self, classes: int) -> Classifier:
        """Return ridge for numbers."""
        return self if classes else classifiers.named("ridge", classes)

    def fit_together(
        self,
        design: Design,
        values: NDArray[np.float64],
        classes: int,
        penalties: NDArray[np.float64] | None = None,
        start: Sequence[Fitted] | None = None,
    ) -> list[Fitted]:
        """Fit two classes all at once, of many labels from `start`; more than two one after another."""
        given = None if penalties is None else penalties / linear.RIDGE_PER_LOGISTIC
        if classes > 2:
            each = [None] * len(values) if given is None else list(given)
            return [
                self._fit_multinomial(*design.of_draw(b if len(design) > 1 else 0), values[b], classes, each[b])
                for b in range(len(values))
            ]
        if start is not None and isinstance(design, linear.Many):
            weights = np.stack([model.arrays["weights"][:, 0] for model in start])
            bias = np.stack([model.arrays["bias"][0] for model in start])
            solved = design.logistic(values > 0, given, (weights, bias))
        else:
            solved = design.logistic(values > 0, given)
        return [
            self.fitted(values[b], classes, stored(solved.weights[b], solved.bias[b]), float(solved.penalty[b]))
            for b in range(len(values))
        ]

    def _fit_multinomial(
        self,
        X: NDArray[Any],
        mean: NDArray[np.float64],
        values: NDArray[np.float64],
        classes: int,
        penalty: float | None,
    ) -> Fitted:
        """Fit on the rows X, from which `mean` was taken off."""
        from sklearn.linear_model import LogisticRegression

        labelled = np.unique(values)
        if penalty is None:
            T = np.where(values[:, None] == labelled, 1.0, -1.0)
            chosen = linear.design(X.astype(np.float32)).ridge(T[None]).penalty
            penalty = float(chosen[0]) / linear.RIDGE_PER_LOGISTIC
        model = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-4).fit(X, values)
        weights, bias = np.zeros((X.shape[1], classes)), np.full(classes, -np.inf)
        columns = labelled.astype(np.int64)
        if len(labelled) == 2:  # scikit-learn then gives the weights of the second class alone
            weights[:, columns[1]], bias[columns] = model.coef_[0], [0.0, model.intercept_[0]]
        else:
            weights[:, columns], bias[columns] = model.coef_.T, model.intercept_
        return self.fitted(values, classes, stored(weights, bias - mean @ weights), penalty)

    def predict(self, fitted: Fitted, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Predict probabilities: the logistic function of the scores, of more than two classes their softmax."""
        predicted = scores(fitted, X)
        if fitted.classes == 2:
            return both(solvers.sigmoid(predicted))
        powers = np.exp(predicted - predicted.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def ridge_penalty(self, fitted: Fitted) -> float:
        """Return the ridge penalty that regularises as much."""
        return fitted.penalty * linear.RIDGE_PER_LOGISTIC

    def libraries(self, classes: int) -> tuple[str, ...]:
        """Return where scipy's solvers lie, and scikit-learn's for more than two classes."""
        return ("scipy.optimize", "sklearn.linear_model") if classes > 2 else ("scipy.optimize",)
