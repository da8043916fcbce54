"""Directions: where examples point in the space of embeddings, and where counterexamples point away from."""

import numpy as np
from numpy.typing import NDArray

SHRINKAGE = 0.1
"""Ridge penalty, as a share of the mean variance that the background has along an axis."""

WEIGHT = 1.0
"""How much all examples of a kind count together, where the background counts 1."""


def mean(liked: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean (D,) of the examples (P, D), each scaled to unit length."""
    return np.asarray(_unit(liked).mean(axis=0))


def ridge(
    liked: NDArray[np.float32], disliked: NDArray[np.float32], background: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the direction (D,) along which examples lie high, counterexamples low, and other chips between.

    Ridge regression on +1 for the examples (P, D), -1 for the counterexamples (M, D) and 0 for the background (B, D),
    all scaled to unit length and less the background's mean; each of the three counts alike, however many it has. In
    directions in which all chips vary, the background holds the fit back, as in linear discriminant analysis; the
    difference of means alone would follow them.
    """
    centre = _unit(background).mean(axis=0)
    rest = _unit(background) - centre
    covariance = rest.T @ rest / len(rest)
    penalty = SHRINKAGE * float(np.trace(covariance)) / len(centre) + 1e-12
    up, down = _unit(liked) - centre, _unit(disliked) - centre
    normal = covariance + WEIGHT * (up.T @ up / len(up) + down.T @ down / len(down))
    normal[np.diag_indices_from(normal)] += penalty
    return np.asarray(np.linalg.solve(normal, WEIGHT * (up.mean(axis=0) - down.mean(axis=0))))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    x = vectors.astype(np.float64)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))
