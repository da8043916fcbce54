"""The designs that linear models are fitted on, beside scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from synthetic import blobs

from geoembed.fits import linear


@pytest.mark.parametrize(("n", "d"), [(10, 24), (60, 24), (40, 96), (100, 96), (400, 24)])
def test_batched_logistic_agrees_with_sklearn(n: int, d: int) -> None:
    draws = [blobs(n, 2, seed, d) for seed in range(4)]
    X, y = np.stack([x for x, _ in draws]).astype(float), np.stack([y for _, y in draws]) > 0
    y[:, 0], y[:, 1] = True, False
    found = linear.Few(X).logistic(y)
    for b in range(4):
        peer = LogisticRegression(C=1 / found.penalty[b], tol=1e-9, max_iter=10_000).fit(X[b], y[b])
        assert found.weights[b, :, 0] == pytest.approx(peer.coef_[0], abs=1e-4)
        assert found.bias[b, 0] == pytest.approx(peer.intercept_[0], abs=1e-4)


@pytest.mark.parametrize(("n", "d"), [(10, 24), (100, 24)])
def test_batched_ridge_and_its_left_out_predictions_agree_with_sklearn(n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(3, n, d)), rng.normal(size=(3, n, 2))
    found = linear.Few(X).ridge(T)
    for b in range(3):
        peer = Ridge(alpha=found.penalty[b]).fit(X[b], T[b])
        assert found.weights[b] == pytest.approx(peer.coef_.T, abs=1e-8)
        assert found.bias[b] == pytest.approx(peer.intercept_, abs=1e-8)
        others = np.arange(n) != 3
        left_out = Ridge(alpha=found.penalty[b]).fit(X[b][others], T[b][others]).predict(X[b][3:4])
        assert found.left_out[b, 3] == pytest.approx(left_out[0], abs=1e-8)


def test_many_labels_choose_the_penalty_that_few_would() -> None:
    X, y = blobs(900, 2, d=60)
    T = np.where(y > 0, 1.0, -1.0)[None, :, None]
    few, many = linear.Few(X[None]).ridge(T), linear.Many(X).ridge(T)
    assert many.penalty[0] == pytest.approx(few.penalty[0], rel=1e-6)
    assert many.weights == pytest.approx(few.weights, abs=1e-6)
    # Many labels share the mean leverage; few have each their own.
    assert many.left_out == pytest.approx(few.left_out, abs=0.05)


def test_noise_is_regularised_more_than_signal() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1, 300, 50))
    clear = X @ rng.normal(size=(50, 1))
    noise = rng.normal(size=(1, 300, 1))
    design = linear.Few(X)
    assert design.ridge(noise).penalty[0] >= 100 * design.ridge(clear).penalty[0]
