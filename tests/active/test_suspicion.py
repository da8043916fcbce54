"""Labels that look wrong are found by what fits predict that have not seen them."""

from __future__ import annotations

import numpy as np

from geoembed.active import suspicion


def test_flipped_classes_are_found_the_surest_first() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    p = rng.dirichlet([1, 1, 1], 600) * 0.5
    p[np.arange(600), truth] += 0.5
    given, flipped = truth.copy(), rng.choice(600, 30, replace=False)
    given[flipped] = (given[flipped] + 1) % 3
    order, seems = suspicion.of_classes(given, p)
    found = np.isin(order, flipped)
    assert found.sum() / 30 > 0.85, "recall"
    assert found.mean() > 0.9, "precision"
    assert (seems[found] == truth[order[found]]).all()
    doubt = p[order, seems] - p[order, given[order]]
    assert (np.diff(doubt) <= 0).all()


def test_a_class_that_is_never_sure_is_not_suspicious_for_that() -> None:
    """Of a rare class 0.3 is as sure as it gets, so 0.3 against 0.6 of the common one is usual."""
    p = np.array([[0.7, 0.3]] * 10 + [[0.9, 0.1]] * 90)
    truth = np.array([1] * 10 + [0] * 90)
    order, _ = suspicion.of_classes(truth, p)
    assert len(order) == 0
    assert len(suspicion.of_classes(np.zeros(100, np.int64), np.eye(2)[np.zeros(100, int)])[0]) == 0


def test_numbers_far_from_what_is_predicted() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=200)
    truth = predicted + 0.1 * rng.normal(size=200)
    truth[[5, 9]] += [3.0, -4.0]
    assert suspicion.of_numbers(truth, predicted).tolist()[:2] == [9, 5]
    assert suspicion.of_numbers(predicted, predicted).tolist() == []
