"""Whether probabilities can be trusted, beside scikit-learn, plain loops and cases worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from geoembed.fits import calibration


def two(p: list[float]) -> np.ndarray:
    return np.stack([1 - np.array(p), np.array(p)], axis=1)


def by_loop(truth: np.ndarray, sure: np.ndarray, hit: np.ndarray) -> float:
    """ECE as Guo et al. write it: bins from (m - 1) / 10, left out, to m / 10."""
    total = 0.0
    for m in range(10):
        inside = (sure > m / 10) & (sure <= (m + 1) / 10) if m else sure <= 0.1
        if inside.any():
            total += inside.mean() * abs(hit[inside].mean() - sure[inside].mean())
    return total


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_ece_of_two_classes_agrees_with_its_definition(kind: type[np.floating[Any]]) -> None:
    rng = np.random.default_rng(0)
    p: NDArray[Any] = rng.random(1000).astype(kind)
    truth = (rng.random(1000) < p**2).astype(float)
    assert calibration.ece(truth, np.stack([1 - p, p], axis=1)) == pytest.approx(by_loop(truth, p, truth), abs=1e-6)


def test_ece_of_more_classes_agrees_with_its_definition() -> None:
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(5), 1000)
    truth = rng.integers(0, 5, 1000).astype(float)
    wanted = by_loop(truth, p.max(1), (p.argmax(1) == truth).astype(float))
    assert calibration.ece(truth, p) == pytest.approx(wanted)


def test_ece_by_hand() -> None:
    # Bin (0.2, 0.3]: mean 0.25, share 1/2. Bin (0.8, 0.9]: mean 0.9, share 1. Two of four chips in each.
    found = calibration.ece(np.array([0.0, 1.0, 1.0, 1.0]), two([0.2 + 1e-9, 0.3 - 1e-9, 0.9, 0.9]))
    assert found == pytest.approx(0.5 * 0.25 + 0.5 * 0.1)
    assert calibration.ece(np.array([0.0, 1.0]), two([0.0, 1.0])) == 0.0
    assert calibration.ece(np.array([1.0, 0.0]), two([0.0, 1.0])) == 1.0


def test_ece_of_calibrated_probabilities_is_small() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(200_000)
    truth = (rng.random(len(p)) < p).astype(float)
    assert calibration.ece(truth, two(p.tolist())) < 0.005
    assert calibration.ece(truth, two((p**2).tolist())) > 0.1


def test_brier_agrees_with_sklearn() -> None:
    rng = np.random.default_rng(3)
    p = rng.random(300)
    truth = (rng.random(300) < 0.3).astype(float)
    assert calibration.brier(truth, two(p.tolist())) == pytest.approx(brier_score_loss(truth, p))
    many, truth = rng.dirichlet(np.ones(4), 300), rng.integers(0, 4, 300).astype(float)
    assert calibration.brier(truth, many) == pytest.approx(brier_score_loss(truth, many, labels=[0, 1, 2, 3]))
    assert calibration.brier(truth, many) == pytest.approx(((many - np.eye(4)[truth.astype(int)]) ** 2).sum(1).mean())


def test_the_curve_agrees_with_sklearn() -> None:
    rng = np.random.default_rng(4)
    p = rng.random(500) ** 2 * 0.85  # the last bin stays empty
    truth = (rng.random(500) < p).astype(float)
    found = calibration.trust("water", "fused", "ridge", 2, 200, [(truth[:200], two(p[:200].tolist()))])
    both = calibration.trust(
        "water",
        "fused",
        "ridge",
        2,
        200,
        [(truth[some], two(p[some].tolist())) for some in (slice(250), slice(250, 500))],
    )
    for one, n in ((found, 200), (both, 500)):
        observed, predicted = calibration_curve(truth[:n], p[:n], n_bins=10)
        held = np.array(one.share) > 0
        np.testing.assert_allclose(np.array(one.observed)[held], observed)
        np.testing.assert_allclose(np.array(one.predicted)[held], predicted)
        assert sum(one.share) == pytest.approx(1.0)
    assert both.share[9] == 0.0 and math.isnan(both.observed[9]) and math.isnan(both.predicted[9])


def test_figures_are_over_draws() -> None:
    rng = np.random.default_rng(5)
    draws = [(rng.integers(0, 3, 90).astype(float), rng.dirichlet(np.ones(3), 90)) for _ in range(4)]
    found = calibration.trust("crops", "s1", "logistic", 3, 50, draws)
    assert (found.task, found.features, found.classifier, found.classes, found.n) == ("crops", "s1", "logistic", 3, 50)
    assert found.ece.draws == 4 and found.ece.n == 50 and found.ece.low < found.ece.mean < found.ece.high
    assert found.ece.mean == pytest.approx(np.mean([calibration.ece(*draw) for draw in draws]))
    assert found.brier.mean == pytest.approx(np.mean([calibration.brier(*draw) for draw in draws]))
    truths = np.concatenate([truth for truth, _ in draws])
    assert found.majority == pytest.approx(max((truths == k).mean() for k in range(3)))
    whole = [(p.argmax(1) == truth).mean() for truth, p in draws]
    assert found.coverage[-1] == 1.0 and found.accuracy[-1].mean == pytest.approx(np.mean(whole))


def test_accuracy_at_a_coverage_agrees_with_sorting() -> None:
    rng = np.random.default_rng(6)
    truth, p = rng.integers(0, 4, 137).astype(float), rng.dirichlet(np.ones(4), 137)
    found = calibration.trust("t", "f", "c", 4, 10, [(truth, p)])
    order = (p.argmax(1) == truth)[np.argsort(-p.max(1))]
    assert found.coverage == pytest.approx(np.arange(1, 21) / 20)
    for coverage, accuracy in zip(found.coverage, found.accuracy, strict=True):
        assert accuracy.mean == pytest.approx(order[: math.ceil(round(coverage * 137, 9))].mean())
        assert accuracy.draws == 1 and math.isnan(accuracy.low)


def test_ties_do_not_depend_on_the_order_of_chips() -> None:
    rng = np.random.default_rng(7)
    truth = (rng.random(40) < 0.5).astype(float)
    p = two(np.round(rng.random(40), 1).tolist())
    shuffled = rng.permutation(40)
    one = calibration.trust("t", "f", "c", 2, 10, [(truth, p)])
    other = calibration.trust("t", "f", "c", 2, 10, [(truth[shuffled], p[shuffled])])
    assert [point.mean for point in one.accuracy] == pytest.approx([point.mean for point in other.accuracy])
    same = calibration.trust("t", "f", "c", 2, 10, [(truth, two([0.7] * 40))])
    assert [point.mean for point in same.accuracy] == pytest.approx([truth.mean()] * 20)
