"""Random forests (Breiman 2001), grown by scikit-learn and kept as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.fits.classifiers.protocol import Classifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoembed.fits.classifiers.protocol import Fitted

TREES = 200

ROWS = 1024
"""Chips that go down all trees at once; their places in the trees stay in the caches."""


class Forest(Classifier):
    """A forest of 200 trees, of classes or of numbers."""

    def fit(self, X: NDArray[np.float32], values: NDArray[np.float64], classes: int, seed: int) -> Fitted:
        """Grow the trees on one core."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        make = RandomForestClassifier if classes else RandomForestRegressor
        # A third of the features per split for numbers (Breiman 2001), the root of their number for classes.
        model = make(TREES, random_state=seed % 2**32, n_jobs=1, max_features="sqrt" if classes else 1 / 3)
        return self.fitted(values, classes, _flattened(model.fit(X, values), classes))

    def predict(self, fitted: Fitted, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Average the trees' leaves."""
        forest, depth = fitted.arrays, int(fitted.arrays["depth"])
        predicted = np.empty((len(X), fitted.classes or 1))
        for start in range(0, len(X), ROWS):
            rows = X[start : start + ROWS]
            nodes = np.repeat(forest["roots"][None], len(rows), axis=0)
            for _ in range(depth):
                low = np.take_along_axis(rows, forest["feature"][nodes], axis=1) <= forest["threshold"][nodes]
                nodes = np.where(low, forest["left"][nodes], forest["right"][nodes])
            predicted[start : start + ROWS] = forest["values"][nodes].mean(axis=1)
        return predicted if fitted.classes else predicted[:, 0]

    def check(self, fitted: Fitted, width: int) -> None:
        """Besides, check that every node leads to nodes that there are, and that walks end."""
        forest, nodes = fitted.arrays, len(fitted.arrays["feature"])
        inside = {"roots": nodes, "left": nodes, "right": nodes, "feature": width}
        if any(forest[key].min() < 0 or forest[key].max() >= most for key, most in inside.items()):
            raise ValueError("a node leads out of the forest")
        if not {len(forest[key]) for key in ("left", "right", "threshold", "values")} == {nodes}:
            raise ValueError("nodes are not whole")
        if not np.isfinite(forest["values"]).all() or not 0 <= int(forest["depth"]) <= nodes:
            raise ValueError("values or depth are none")
        super().check(fitted, width)

    def libraries(self, classes: int) -> tuple[str, ...]:
        """Return where scikit-learn's trees lie."""
        return ("sklearn.ensemble",)


def _flattened(model: Any, classes: int) -> dict[str, NDArray[Any]]:
    """Return a forest as arrays over all its nodes; a leaf is its own child.

    As numbers it needs no trusted types to load, no scikit-learn to predict, and cannot be read out of bounds.
    """
    trees = [estimator.tree_ for estimator in model.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    numbers = np.arange(sum(tree.node_count for tree in trees))
    # scikit-learn numbers the nodes of each tree from 0, and marks a leaf by a negative feature.
    left = np.concatenate([tree.children_left + root for tree, root in zip(trees, roots, strict=True)])
    right = np.concatenate([tree.children_right + root for tree, root in zip(trees, roots, strict=True)])
    feature = np.concatenate([tree.feature for tree in trees])
    means = np.concatenate([tree.value[:, 0, :] for tree in trees])
    values = means
    if classes:  # those without labels, which the forest does not know, have the probability 0
        values = np.zeros((len(numbers), classes))
        values[:, model.classes_.astype(np.int64)] = means / means.sum(axis=1, keepdims=True)
    return {
        "roots": roots,
        "left": np.where(feature < 0, numbers, left),
        "right": np.where(feature < 0, numbers, right),
        "feature": np.maximum(feature, 0),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "values": values,
        "depth": np.asarray(max(tree.max_depth for tree in trees)),
    }
