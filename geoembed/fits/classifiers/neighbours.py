"""Nearest neighbours: the mean over the labels that lie nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoembed.fits.classifiers.protocol import Classifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoembed.fits.classifiers.protocol import Fitted

MOST_NEIGHBOURS = 32


class Neighbours(Classifier):
    """The k nearest labels by Euclidean distance, k being the root of their number, at most 32."""

    def fit(self, X: NDArray[np.float32], values: NDArray[np.float64], classes: int, seed: int) -> Fitted:
        """Keep the labels."""
        k = np.asarray(int(np.clip(np.sqrt(len(X)), 1, MOST_NEIGHBOURS)))
        return self.fitted(values, classes, {"points": X.astype(np.float32), "values": values, "k": k})

    def predict(self, fitted: Fitted, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Average over the nearest; of classes the prior counts as one neighbour more, so that no probability is 0."""
        from sklearn.neighbors import NearestNeighbors

        values, k, classes = fitted.arrays["values"], int(fitted.arrays["k"]), fitted.classes
        if not len(X):  # scikit-learn refuses to search for nothing
            return np.empty((0, classes) if classes else 0)
        # A tree would be no faster: embeddings have hundreds of columns.
        search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(fitted.arrays["points"])
        near = values[search.kneighbors(X, return_distance=False)]  # (N, k)
        if not classes:
            return np.asarray(near.mean(axis=1))
        votes = (near[:, :, None] == np.arange(classes)).sum(axis=1)
        return np.asarray((votes + fitted.prior) / (k + 1))

    def libraries(self, classes: int) -> tuple[str, ...]:
        """Return where scikit-learn's search lies."""
        return ("sklearn.neighbors",)
