"""Which chips are suggested: those that cover the space, those in doubt, those far from what is labelled."""

from __future__ import annotations

import numpy as np
import pytest

from geoembed.active import suggestions


def blobs(sizes: tuple[int, ...], apart: float = 10.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around centres on a line, in three dimensions, and which centre each is of."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes)
    Z = rng.normal(size=(len(of), 3)) * 0.5
    Z[:, 0] += apart * of
    order = rng.permutation(len(of))
    return Z[order].astype(np.float32), of[order]


def test_centres_are_one_of_each_cluster_the_largest_first() -> None:
    Z, of = blobs((300, 30, 90, 10))
    chosen = suggestions.cover(Z, 4, seed=1)
    assert of[chosen].tolist() == [0, 2, 1, 3]
    middle = Z[of == 0].mean(axis=0)
    assert np.linalg.norm(Z[chosen[0]] - middle) < 0.3, "the most typical"
    assert suggestions.cover(Z, 4, seed=1).tolist() == chosen.tolist()


def test_many_chips_are_clustered_by_a_sample_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, of = blobs((300, 200, 100))
    monkeypatch.setattr(suggestions, "SAMPLE", 150)
    assert sorted(of[suggestions.cover(Z, 3, seed=0)]) == [0, 1, 2]


@pytest.mark.parametrize("n", [1, 5, 6, 9])
def test_no_chip_is_suggested_twice(n: int) -> None:
    alike = np.zeros((6, 2), np.float32)
    alike[:2] = 1.0
    chosen = suggestions.cover(alike, n, seed=0)
    assert len(set(chosen.tolist())) == len(chosen) == min(n, 6)


def test_those_in_doubt_differ_and_lie_where_nothing_is_labelled() -> None:
    Z, of = blobs((100, 100, 100, 100))
    p = np.where(np.isin(of, (1, 2)), 0.5, 0.99)
    chosen = suggestions.unsure(Z, np.stack([p, 1 - p], axis=1), Z[:0], 4, seed=0)
    assert {1, 2} <= set(of[chosen].tolist()), "of both that are in doubt"
    assert set(of[chosen[:2]].tolist()) <= {1, 2}, "first"
    known = Z[of == 1][:1]
    chosen = suggestions.unsure(Z, np.stack([p, 1 - p], axis=1), known, 1, seed=0)
    assert of[chosen].tolist() == [2], "of the others a label is near"
    assert np.allclose(suggestions.margin(np.array([[0.7, 0.2, 0.1], [0.1, 0.45, 0.45]])), [0.5, 0.0])


def test_the_farthest_follow_each_other() -> None:
    Z = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [-4.0]], np.float32)
    among = np.array([1, 2, 3, 4, 5])
    assert suggestions.farthest(Z, np.array([0]), among, 3).tolist() == [4, 5, 2]
    assert sorted(suggestions.farthest(Z, np.array([0]), among, 9).tolist()) == [1, 2, 3, 4, 5]
