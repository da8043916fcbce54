import numpy as np
import pytest
from sklearn import metrics as reference

from geoembed.fits import calibration, curves, metrics

NONE = np.empty(0, dtype=int)


@pytest.mark.parametrize("ties", [False, True])
def test_two_classes_agree_with_sklearn(ties: bool) -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random(500) < 0.2).astype(float)
    p = np.clip(0.3 * truth + rng.random(500) * 0.7, 0, 1)
    p = np.round(p, 1) if ties else p
    found = metrics.score(truth, np.stack([1 - p, p], axis=1), (p > 0.5).astype(int), 2)
    predicted = p > 0.5
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, predicted))
    assert found["f1"] == pytest.approx(reference.f1_score(truth, predicted))
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(truth, p))
    assert found["average_precision"] == pytest.approx(reference.average_precision_score(truth, p))
    assert found["brier"] == pytest.approx(reference.brier_score_loss(truth, p))


def test_more_classes_agree_with_sklearn() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 300).astype(float)
    p = rng.random((300, 4)) + np.eye(4)[truth.astype(int)] * 0.4
    found = metrics.score(truth, p, p.argmax(1), 4)
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, p.argmax(1)))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(truth, p.argmax(1), average="macro"))
    assert found["brier"] == pytest.approx(calibration.brier(truth, p))
    assert found["ece"] == pytest.approx(calibration.ece(truth, p))


def test_numbers_agree_with_sklearn() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=100)
    guess = truth + rng.normal(size=100) * 0.3
    found = metrics.score(truth, guess, NONE, 0)
    assert found["r2"] == pytest.approx(reference.r2_score(truth, guess))
    assert found["rmse"] == pytest.approx(np.sqrt(reference.mean_squared_error(truth, guess)))


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_scores_are_named_in_order(classes: int) -> None:
    rng = np.random.default_rng(3)
    truth = (np.arange(30) % max(classes, 2)).astype(np.float64)
    predicted = rng.dirichlet(np.ones(classes), 30) if classes else rng.random(30)
    decided = predicted.argmax(1) if classes else NONE
    assert tuple(metrics.score(truth, predicted, decided, classes)) == metrics.names(classes)
    assert metrics.names(classes)[0] not in curves.ERRORS, "the headline is better when large"


def test_what_cannot_be_scored_is_nan() -> None:
    one_class = metrics.score(np.zeros(5), np.tile([0.8, 0.2], (5, 1)), np.zeros(5, int), 2)
    told = {name: value for name, value in one_class.items() if not np.isnan(value)}
    assert told == pytest.approx({"accuracy": 1.0, "brier": 0.04, "ece": 0.2})
    assert all(np.isnan(list(metrics.score(np.empty(0), np.empty((0, 2)), NONE, 2).values())))
    assert all(np.isnan(list(metrics.score(np.ones(5), np.ones(5), NONE, 0).values())))
    assert all(np.isnan(list(metrics.score(np.array([]), np.ones((0, 2)), NONE, 2).values())))
