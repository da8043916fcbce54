"""Directions: where examples point in the space of embeddings, and counterexamples do not."""

import numpy as np
from numpy.typing import NDArray

PENALTY = 1.0
"""Ridge penalty on leaving the examples' mean, as a share of the total variance of all chips."""


def mean(liked: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean (D,) of the examples (P, D), each scaled to unit length."""
    return np.asarray(_unit(liked).mean(axis=0))


def ridge(
    liked: NDArray[np.float32], disliked: NDArray[np.float32], background: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the direction (D,) along which examples lie high, and counterexamples no higher than other chips.

    Ridge regression on 1 for the examples (P, D), 0 for the counterexamples (M, D) and 0 for the background (B, D), all
    scaled to unit length and less the background's mean; each of the three counts alike, however many it has. The
    penalty pulls towards the examples' mean, and not towards zero, so that few counterexamples correct the mean and do
    not replace it. With -1 for counterexamples, or the difference of the two means, those that are almost right push
    the direction away from the examples (see tests/benchmarks/README.md, Search).
    """
    centre = _unit(background).mean(axis=0)
    rest, up, down = _unit(background) - centre, _unit(liked) - centre, _unit(disliked) - centre
    begun = up.mean(axis=0)
    normal = sum((part.T @ part / len(part) for part in (rest, up, down)), np.zeros((len(centre), len(centre))))
    penalty = PENALTY * float((rest**2).sum(axis=1).mean()) + 1e-12
    step = np.linalg.solve(normal + penalty * np.eye(len(centre)), begun - normal @ begun)
    return np.asarray(begun + step)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    x = vectors.astype(np.float64)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))
