"""Pooling: vectors that lie on chips become one vector a chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoembed.exchange.scratch import Scratch

MEAN, STATS = "mean", "stats"
KINDS = (MEAN, STATS)
STATISTICS = ("mean", "deviation", "minimum", "maximum")


class Pool:
    """The vectors of N chips, of D dimensions, that come in some at a time with weights.

    weights: (N,) sum of the weights so far.
    """

    def __init__(self, chips: int, dimensions: int, kind: str, scratch: Scratch) -> None:
        shape = (chips, dimensions)
        self.weights = np.zeros(chips)
        self._kind = kind
        self._sums = scratch.array(shape, np.float64)
        if kind == STATS:
            self._squares = scratch.array(shape, np.float64)
            self._lowest = scratch.array(shape, np.float32, np.inf)
            self._highest = scratch.array(shape, np.float32, -np.inf)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Return which chips have a vector, (N,)."""
        return np.asarray(self.weights > 0)

    @property
    def width(self) -> int:
        """Return how many numbers a chip has: D, or of each dimension all STATISTICS."""
        return int(self._sums.shape[1]) * (1 if self._kind == MEAN else len(STATISTICS))

    def names(self, dimensions: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the numbers that a chip has."""
        if self._kind == MEAN:
            return dimensions
        return tuple(f"{name}_{statistic}" for statistic in STATISTICS for name in dimensions)

    def add(self, chips: NDArray[np.int64], vectors: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
        """Add vectors (k, D) without NaN to chips (k,), among which one may be several times, with weights above 0."""
        if not chips.size:
            return
        order = np.argsort(chips, kind="stable")
        chips, values, weights = chips[order], vectors[order].astype(np.float64), weights[order]
        starts = np.flatnonzero(np.diff(chips, prepend=-1))
        these = chips[starts]
        weighted = values * weights[:, None]
        self.weights[these] += np.add.reduceat(weights, starts)
        self._sums[these] += np.add.reduceat(weighted, starts, axis=0)
        if self._kind == STATS:
            self._squares[these] += np.add.reduceat(weighted * values, starts, axis=0)
            self._lowest[these] = np.minimum(self._lowest[these], np.minimum.reduceat(vectors[order], starts, axis=0))
            self._highest[these] = np.maximum(self._highest[these], np.maximum.reduceat(vectors[order], starts, axis=0))

    def vectors(self, rows: slice) -> NDArray[np.float32]:
        """Return what chips have, (n, width): NaN where nothing was added. Deviations are of the population."""
        weights = self.weights[rows, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self._sums[rows] / weights
            found = mean
            if self._kind == STATS:
                deviation = np.sqrt(np.maximum(self._squares[rows] / weights - mean**2, 0.0))
                found = np.concatenate([mean, deviation, self._lowest[rows], self._highest[rows]], axis=1)
        found[~(weights[:, 0] > 0)] = np.nan
        return np.asarray(found, np.float32)
