"""Ranking: the rows that lie nearest to a direction by cosine, exactly, with no more than a block of rows in memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 2.0 * float(np.finfo(np.float32).eps)
"""Error of a cosine in float32 for each dimension, at most."""


@dataclass(frozen=True)
class Ranked:
    """The rows nearest to a direction, nearest first; of equal ones, the first row.

    rows: (n,) numbers of rows.
    similarity: (n,) cosines, in float64 of the vectors as they are stored.
    compared: number of rows that were compared.
    missing: number of rows without a vector: NaN, infinite or all zeros.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float64]
    compared: int
    missing: int


class Nearest:
    """The rows with the highest cosine to a direction, among the blocks of rows that were added so far.

    A product in float32 finds the candidates of a block, which its rounding error cannot hide; they alone are
    measured in float64, row by row, so that equal vectors are equally near wherever they stand.
    """

    def __init__(self, direction: NDArray[np.float64], n: int) -> None:
        """Begin with no rows; the n nearest to a direction (D,), which is not zero, are kept."""
        self._unit = direction / np.linalg.norm(direction)
        self._single, self._n = self._unit.astype(np.float32), n
        self._slack = _ROUNDING * (len(direction) + 4)
        self._rows, self._similarity = np.empty(0, np.int64), np.empty(0)
        self._compared = self._missing = 0

    def add(self, start: int, vectors: NDArray[np.float32], left_out: NDArray[np.bool_]) -> None:
        """Compare the rows (B, D) from `start` on, which follow those added before, without those left out (B,)."""
        with np.errstate(all="ignore"):  # NaN and infinite vectors are told apart below
            cosines = np.einsum("ij,j->i", vectors, self._single)  # as fast as BLAS, whose threads would wait
            cosines /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        is_known = np.isfinite(cosines)
        is_compared = is_known & ~left_out
        self._missing += int(np.count_nonzero(~is_known & ~left_out))
        self._compared += int(np.count_nonzero(is_compared))
        cosines[~is_compared] = -np.inf
        lowest = _nth_highest(cosines, self._n) - 2.0 * self._slack
        if len(self._rows) == self._n:
            lowest = max(lowest, float(self._similarity[-1]) - self._slack)
        candidates = np.flatnonzero(is_compared & (cosines >= lowest))
        if candidates.size:
            rows = np.concatenate([self._rows, candidates + start])
            similarity = np.concatenate([self._similarity, _cosines(vectors[candidates], self._unit)])
            best = np.argsort(-similarity, kind="stable")[: self._n]
            self._rows, self._similarity = rows[best], similarity[best]

    @property
    def ranked(self) -> Ranked:
        """Return the rows, nearest first."""
        return Ranked(self._rows, self._similarity, self._compared, self._missing)


def _nth_highest(cosines: NDArray[np.float32], n: int) -> float:
    """Return the n-th highest cosine, minus infinity where there are fewer."""
    return float(-np.partition(-cosines, n - 1)[n - 1]) if len(cosines) > n else -np.inf


def _cosines(vectors: NDArray[np.float32], unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosines of vectors (k, D) to a unit vector, each from its own row alone."""
    x = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", x, x))
    return np.asarray(np.einsum("ij,j->i", x, unit) / lengths)
