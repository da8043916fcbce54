"""What counterexamples take away from the direction of examples."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from geoembed.retrieval import direction


def chips(n: int = 4000) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Vectors of chips, a tenth of which are sought (axis 0), and half of which are bright (axis 1)."""
    rng = np.random.default_rng(5)
    X = 0.3 * rng.standard_normal((n, 32))
    sought, bright = rng.random(n) < 0.1, rng.random(n) < 0.5
    X[:, 0] += sought
    X[:, 1] += 1.5 * bright
    return X.astype(np.float32), sought, bright


def precision(X: NDArray[np.float32], way: NDArray[np.float64], sought: NDArray[np.bool_]) -> float:
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    return float(sought[np.argsort(-(unit @ way))[:100]].mean())


def test_the_mean_is_of_unit_vectors() -> None:
    X = np.array([[10.0, 0.0], [0.0, 0.1]], np.float32)
    assert direction.mean(X) == pytest.approx([0.5, 0.5])


def test_counterexamples_take_away_what_examples_have_by_chance() -> None:
    X, sought, bright = chips()
    up, down = X[np.flatnonzero(sought & bright)[:5]], X[np.flatnonzero(~sought & bright)[:5]]
    by_mean = precision(X, direction.mean(up), sought)
    by_ridge = precision(X, direction.ridge(up, down, X), sought)
    assert by_mean < 0.65 and by_ridge > by_mean + 0.2


def test_a_counterexample_that_is_almost_right_does_not_turn_the_direction_around() -> None:
    X, sought, bright = chips()
    right = np.flatnonzero(sought & ~bright)
    up, almost = X[right[:3]], X[right[5:6]]
    by_difference = precision(X, direction.mean(up) - direction.mean(almost), sought)
    by_ridge = precision(X, direction.ridge(up, almost, X), sought)
    assert by_difference < 0.1 and by_ridge > 0.5


def test_how_many_examples_of_a_kind_there_are_does_not_count() -> None:
    X, sought, bright = chips()
    up, down = X[np.flatnonzero(sought)[:4]], X[np.flatnonzero(~sought & bright)[:3]]
    once = direction.ridge(up, down, X)
    assert direction.ridge(np.tile(up, (5, 1)), np.tile(down, (9, 1)), X) == pytest.approx(once)


def test_vectors_that_are_all_alike_give_a_direction_of_numbers() -> None:
    same = np.ones((3, 4), np.float32)
    assert np.isfinite(direction.ridge(same, same, same)).all()
