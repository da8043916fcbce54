"""The two solvers of logistic regressions with a free intercept: Newton's steps for many small, L-BFGS for few large.

Both minimise the sum of log losses + penalty / 2 |w|^2 over weights w and an intercept that is not penalised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CLOSE_ENOUGH = 2e-5
"""About the largest error of a coefficient that ends L-BFGS: its gradient, where the Hessian is about the identity,
over the root of the number of labels times their variance."""

STEPS, HALVINGS, CLOSE = 50, 12, 1e-7
"""Most Newton steps, most halvings of one, and the change of a coefficient that ends them."""


def variance(positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the variance (T,) of the labels (T, n), and so the weight of each in the Hessian at the start."""
    share = positive.mean(axis=1)
    return np.asarray(share * (1 - share))


def lbfgs(
    A: NDArray[Any],
    mean: Any,
    positive: NDArray[np.bool_],
    penalty: NDArray[np.float64],
    start: NDArray[np.float64],
    forth: Callable[[Any], Any],
    back: Callable[[Any], Any],
    bias: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (T, r) and intercepts (T,) of T problems on the rows of A - mean, A being (n, r).

    One run of L-BFGS solves all, as they then share every pass over A. It moves in coordinates in which the Hessian is
    about the identity: `forth` turns them (T, r) into weights, `back` is its transpose and turns gradients into them.
    `start` (T, r) is where it starts, and `bias` (T,) the intercepts there, by default the best without any weights.
    """
    from scipy.optimize import minimize

    T, r = start.shape
    sign, share = np.where(positive, 1.0, -1.0), positive.mean(axis=1)
    curvature = np.sqrt(variance(positive) * A.shape[0])  # the root of the Hessian's entry of the intercept

    def loss(x: Any) -> tuple[float, Any]:
        """Return the sum of all losses, and its gradient."""
        v = x.reshape(T, r + 1)
        w = forth(v[:, :r])
        # The mean is taken off the scores: taken off A, which may be large and in single precision, it would be a copy.
        offset = v[:, r] / curvature - (w * mean).sum(axis=1)
        margin = sign * ((A @ w.astype(A.dtype).T).T + offset[:, None])
        pull = sign * sigmoid(-margin)
        total = pull.sum(axis=1, keepdims=True)
        slope = back(penalty[:, None] * w - pull.astype(A.dtype) @ A + total * mean)
        # log(1 + exp(-margin)), without overflow
        value = np.maximum(-margin, 0.0).sum() + np.log1p(np.exp(-np.abs(margin))).sum()
        value += (penalty * (w**2).sum(axis=1)).sum() / 2
        return float(value), np.concatenate([slope, -total / curvature[:, None]], axis=1).ravel()

    bias = np.log(share / (1 - share)) if bias is None else bias
    x = np.concatenate([start, (bias * curvature)[:, None]], axis=1).ravel()
    solved = minimize(
        loss,
        x,
        jac=True,
        method="L-BFGS-B",
        options={"gtol": CLOSE_ENOUGH * float(curvature.min()), "ftol": 1e-10, "maxiter": 1000},
    )
    v = solved.x.reshape(T, r + 1)
    return forth(v[:, :r]), v[:, r] / curvature


def newton(
    Z: NDArray[np.float64], positive: NDArray[np.bool_], penalty: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (B, r) and intercepts (B,) of B problems, each on its own rows Z (B, n, r).

    All take their steps together; those that have converged leave the batch.
    """
    B, n, r = Z.shape
    A = np.concatenate([Z, np.ones((B, n, 1))], axis=2)  # the last coordinate is the intercept, which has no penalty
    lift = np.concatenate([np.repeat(penalty[:, None], r, axis=1), np.zeros((B, 1))], axis=1)
    v = np.zeros((B, r + 1))
    share = positive.mean(axis=1)
    v[:, r] = np.log(share / (1 - share))
    sign, rows = np.where(positive, 1.0, -1.0), np.arange(B)
    diagonal = np.arange(r + 1)
    for _ in range(STEPS):
        left, lifted, start = A[rows], lift[rows], v[rows]
        p = sigmoid((left @ start[:, :, None])[:, :, 0])
        slope = (left.mT @ (p - positive[rows])[:, :, None])[:, :, 0] + lifted * start
        H = (left * (p * (1 - p))[:, :, None]).mT @ left
        # Where all probabilities are near 0 or 1 nothing but this keeps the intercept's entry from being singular.
        H[:, diagonal, diagonal] += lifted + 1e-12
        step = np.linalg.solve(H, slope[:, :, None])[:, :, 0]
        v[rows], moved = _descend(left, sign[rows], lifted, start, step)
        rows = rows[moved > CLOSE]
        if not rows.size:
            break
    return v[:, :r], v[:, r]


def _descend(A: Any, sign: Any, lift: Any, start: Any, step: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take Newton's step, halved until the loss does not grow; return where that leads and the largest change.

    A full step from far away may overshoot: the loss is nearly straight where classes are well apart.
    """

    def loss(v: Any) -> Any:
        margin = sign * (A @ v[:, :, None])[:, :, 0]
        return np.logaddexp(0.0, -margin).sum(axis=1) + (lift * v**2).sum(axis=1) / 2

    before, factor = loss(start), np.ones((len(start), 1))
    for _ in range(HALVINGS):
        worse = loss(start - factor * step) > before + 1e-10 * np.abs(before)
        if not worse.any():
            break
        factor[worse] /= 2
    return start - factor * step, np.abs(factor * step).max(axis=1)


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-x)), without overflow."""
    from scipy.special import expit

    y: NDArray[np.float64] = expit(x)
    return y
