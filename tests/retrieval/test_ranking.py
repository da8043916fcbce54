"""The nearest rows are those of a full sort, ties in order of rows, with no more than a block in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from geoembed.retrieval.ranking import Nearest, Ranked


def ranked(X: NDArray[np.float32], way: NDArray[np.float64], n: int, size: int, left_out: set[int] = set()) -> Ranked:  # noqa: B006
    nearest, out = Nearest(way, n), np.isin(np.arange(len(X)), list(left_out))
    for start in range(0, len(X), size):
        nearest.add(start, X[start : start + size], out[start : start + size])
    return nearest.ranked


def full_sort(
    X: NDArray[np.float32], way: NDArray[np.float64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All cosines in float64, sorted; equal ones in order of rows."""
    x = X.astype(np.float64)
    with np.errstate(invalid="ignore"):
        cosines = (x * way).sum(axis=1) / np.linalg.norm(way) / np.sqrt((x**2).sum(axis=1))
    order = np.argsort(-cosines, kind="stable")
    order = order[np.isfinite(cosines[order])][:n]
    return order, cosines[order]


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
@pytest.mark.parametrize("n", [1, 10, 400])
def test_the_nearest_are_those_of_a_full_sort(size: int, n: int) -> None:
    rng = np.random.default_rng(n)
    X = rng.standard_normal((1500, 24)).astype(np.float32)
    X[rng.choice(1500, 40, replace=False)] = np.nan
    way = rng.standard_normal(24)
    found = ranked(X, way, n, size)
    rows, cosines = full_sort(X, way, n)
    assert found.rows.tolist() == rows.tolist()
    assert np.abs(found.similarity - cosines).max() < 1e-12
    assert (found.compared, found.missing) == (1460, 40)


@pytest.mark.parametrize("size", [3, 64, 1000])
def test_of_equal_vectors_the_first_row_comes_first_wherever_blocks_end(size: int) -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(rng.standard_normal((10, 33)).astype(np.float32), 100, axis=0)[rng.permutation(1000)]
    way = rng.standard_normal(33)
    rows, _ = full_sort(X, way, 250)
    found = ranked(X, way, 250, size)
    assert found.rows.tolist() == rows.tolist()
    assert len(set(found.similarity[:100].tolist())) == 1 and (np.diff(found.rows[:100]) > 0).all()


def test_vectors_that_differ_less_than_float32_tells_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    base = rng.standard_normal(256).astype(np.float32)
    X = np.tile(base, (4000, 1))
    X[np.arange(4000), rng.integers(0, 256, 4000)] += rng.integers(-3, 4, 4000).astype(np.float32) * np.float32(1e-6)
    way = rng.standard_normal(256)
    assert ranked(X, way, 50, 512).rows.tolist() == full_sort(X, way, 50)[0].tolist()


def test_rows_left_out_without_a_vector_or_infinite_are_not_among_them() -> None:
    X = np.eye(6, dtype=np.float32) + np.float32(0.1)
    X[1], X[2, 0], X[3] = 0.0, np.inf, np.nan
    found = ranked(X, np.ones(6), 10, 4, {5})
    assert (found.rows.tolist(), found.compared, found.missing) == ([0, 4], 2, 3)


def test_lengths_do_not_count() -> None:
    X = np.array([[100.0, 90.0], [0.001, 0.0], [1.0, 0.2]], np.float32)
    assert ranked(X, np.array([3.0, 0.0]), 3, 2).rows.tolist() == [1, 2, 0]


def test_no_more_than_a_block_is_held() -> None:
    n, D, size = 60_000, 64, 2000

    def blocks() -> Iterator[tuple[int, NDArray[np.float32]]]:
        rng = np.random.default_rng(0)
        for start in range(0, n, size):
            yield start, rng.standard_normal((size, D), dtype=np.float32)

    nearest = Nearest(np.ones(D), 100)
    tracemalloc.start()
    try:
        for start, vectors in blocks():
            nearest.add(start, vectors, np.zeros(size, bool))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * size * D * 4 < n * D * 4 / 7
