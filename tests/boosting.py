"""A classifier that is none of ours: boosted decision stumps by scikit-learn, kept as arrays; for two classes alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier

from geoembed.errors import ProbeError
from geoembed.fits.classifiers.protocol import Classifier, Fitted

NAME, STUMPS = "boosting", 60


def peer(X: np.ndarray[Any, Any], values: np.ndarray[Any, Any], seed: int) -> GradientBoostingClassifier:
    """The same fit, by scikit-learn alone."""
    return GradientBoostingClassifier(n_estimators=STUMPS, max_depth=1, random_state=seed).fit(X, values)


class Boosting(Classifier):
    """What a contributor writes."""

    def for_target(self, classes: int) -> Classifier:
        if classes != 2:
            raise ProbeError(f"--classifier {self.name}: learns two classes; choose another for other targets")
        return self

    def libraries(self, classes: int) -> tuple[str, ...]:
        return ("sklearn.ensemble",)

    def fit(self, X: np.ndarray[Any, Any], values: np.ndarray[Any, Any], classes: int, seed: int) -> Fitted:
        model = peer(X, values, seed)
        trees = [tree.tree_ for tree in model.estimators_[:, 0]]
        share = values.mean()
        arrays = {
            "feature": np.array([tree.feature[0] for tree in trees]),
            "threshold": np.array([tree.threshold[0] for tree in trees]),
            "steps": model.learning_rate * np.array([tree.value[1:, 0, 0] for tree in trees]),
            "start": np.log(share / (1 - share)),
        }
        return self.fitted(values, classes, arrays)

    def predict(self, fitted: Fitted, X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        of = fitted.arrays
        right = X[:, of["feature"]] > of["threshold"]
        log_odds = of["start"] + np.where(right, of["steps"][:, 1], of["steps"][:, 0]).sum(axis=1)
        p = 1 / (1 + np.exp(-log_odds))
        return np.stack([1 - p, p], axis=1)
