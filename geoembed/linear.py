"""Linear models fitted in batches: B draws of n labels at once, regularised by exact leave-one-out.

How strongly to regularise is chosen on the drawn labels alone. The leave-one-out errors of ridge regression have a
closed form (Allen 1974, PRESS), shared over penalties by one eigendecomposition. The penalty is the one that is most
probable: n / 2 log(mean squared error left out) against a normal prior on its decade, which steadies draws of 10 to 50
labels and fades beyond. The logistic penalty is the ridge penalty / 16. Measured on EuroSAT (3 tasks of 9 to 30 %, 192
random convolutional features, 6 draws, n = 10 to 500): balanced accuracy 0.752, against 0.750 for approximate
leave-one-out of the logistic loss at ten times the cost, and 0.749 for the best fixed penalty in hindsight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECADES = np.arange(-2.5, 3.6, 0.5)
"""Ridge penalties tried, as decades around the prior's centre."""

PRIOR_CENTRE = 0.5
"""Centre of the prior on the ridge penalty, per feature (features have mean 0 and deviation 1)."""

RIDGE_PER_LOGISTIC = 16.0
"""Ridge penalty on targets of -1 and 1 that regularises like a logistic penalty of 1; measured, as above."""

NEWTON_UP_TO = 64
"""Labels up to which a batch of Newton steps beats one L-BFGS run per draw (192 features, one core: 0.3 against 2 ms
at 10 labels, 4 against 3 ms at 100)."""

STEPS, HALVINGS, CLOSE = 50, 12, 1e-7
"""Most Newton steps, most halvings of one, and the change of a coefficient that ends them."""


@dataclass(frozen=True)
class Linear:
    """B linear models: weights (B, D, K), bias (B, K), ridge penalty (B,), and left-out predictions (B, n, K)."""

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    penalty: NDArray[np.float64]
    left_out: NDArray[np.float64]


@dataclass(frozen=True)
class _Spectrum:
    """B centred designs X - mean = U diag(s) V^T; `squares` are s^2, (B, r), of which those near 0 are dropped."""

    mean: NDArray[np.float64]
    centred: NDArray[np.float64]
    U: NDArray[np.float64]
    squares: NDArray[np.float64]


def _spectrum(X: NDArray[np.float64]) -> _Spectrum:
    mean = X.mean(axis=1, keepdims=True)
    centred = X - mean
    n, D = X.shape[1:]
    if n <= D:
        squares, U = np.linalg.eigh(centred @ centred.mT)
        kept = squares > 1e-10 * np.maximum(squares[:, -1:], 1e-300)
    else:
        squares, V = np.linalg.eigh(centred.mT @ centred)
        kept = squares > 1e-10 * np.maximum(squares[:, -1:], 1e-300)
        U = centred @ (V / np.sqrt(np.where(kept, squares, 1.0))[:, None, :])
    return _Spectrum(mean, centred, U * kept[:, None, :], np.where(kept, squares, 0.0))


def ridge(X: NDArray[np.float64], T: NDArray[np.float64], penalty: NDArray[np.float64] | None = None) -> Linear:
    """Fit B ridge regressions of K targets with a free intercept, X (B, n, D) and T (B, n, K).

    Minimises |X w + b - T|^2 + penalty |w|^2. Without a `penalty` (B,) each draw's own is chosen as above.
    """
    return _ridge(_spectrum(X), T, penalty, X.shape[2])


def _ridge(at: _Spectrum, T: NDArray[np.float64], penalty: NDArray[np.float64] | None, D: int) -> Linear:
    middle = T.mean(axis=1, keepdims=True)
    projected = at.U.mT @ (T - middle)  # (B, r, K)
    if penalty is None:
        penalty = _most_probable(at, T - middle, projected, PRIOR_CENTRE * D)
    lifted = np.where(at.squares > 0, at.squares + penalty[:, None], np.inf)
    shrunk = at.squares / lifted
    fit = at.U @ (shrunk[:, :, None] * projected)
    left_out = T - (T - middle - fit) / _freedom(at, shrunk[:, :, None])
    # X - mean = U s V^T, so V s / (s^2 + penalty) U^T t is (X - mean)^T U / (s^2 + penalty) U^T t.
    weights = at.centred.mT @ (at.U @ (projected / lifted[:, :, None]))
    bias = (middle - at.mean @ weights)[:, 0]
    return Linear(weights, bias, penalty, left_out)


def _freedom(at: _Spectrum, shrunk: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 - h, h being each row's leverage with the intercept; (B, n, G) for G shrinkages (B, r, G)."""
    freedom: NDArray[np.float64] = np.maximum(1.0 - at.U**2 @ shrunk - 1.0 / at.U.shape[1], 1e-6)
    return freedom


def _most_probable(
    at: _Spectrum, T: NDArray[np.float64], projected: NDArray[np.float64], centre: float
) -> NDArray[np.float64]:
    tried = centre * 10.0**DECADES
    shrunk = at.squares[:, :, None] / (at.squares[:, :, None] + tried)  # (B, r, G)
    freedom, squares = _freedom(at, shrunk), 0.0
    for k in range(T.shape[2]):
        error = (T[:, :, k, None] - at.U @ (shrunk * projected[:, :, k, None])) / freedom
        squares = squares + (error**2).mean(axis=1)
    chosen = T.shape[1] / 2 * np.log(squares / T.shape[2] + 1e-300) + DECADES**2 / 2
    penalty: NDArray[np.float64] = tried[np.argmin(chosen, axis=1)]
    return penalty


def logistic(X: NDArray[np.float64], positive: NDArray[np.bool_], penalty: NDArray[np.float64] | None = None) -> Linear:
    """Fit B logistic regressions of two classes with a free intercept, X (B, n, D) and positive (B, n).

    Minimises the sum of log losses + penalty / 2 |w|^2 (scikit-learn's C is 1 / penalty) in the draw's own
    coordinates, of which there are at most as many as labels. `penalty` in and out is logistic;
    `left_out` is that of the ridge regression which chose it.
    """
    T = np.where(positive, 1.0, -1.0)[:, :, None]
    at = _spectrum(X)
    chosen = _ridge(at, T, None if penalty is None else penalty * RIDGE_PER_LOGISTIC, X.shape[2])
    penalty = chosen.penalty / RIDGE_PER_LOGISTIC
    root = np.sqrt(at.squares)
    Z = at.U * root[:, None, :]
    if X.shape[1] <= NEWTON_UP_TO:
        turned, bias = _newton(Z, positive, penalty)
    else:
        fits = [_lbfgs(*one) for one in zip(Z, positive, at.squares, penalty, strict=True)]
        turned, bias = np.stack([fit[:-1] for fit in fits]), np.array([fit[-1] for fit in fits])
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
    weights = at.centred.mT @ (at.U @ (inverse * turned)[:, :, None])
    return Linear(weights, bias[:, None] - (at.mean @ weights)[:, 0], penalty, chosen.left_out)


def _lbfgs(
    Z: NDArray[np.float64], positive: NDArray[np.bool_], squares: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    """Return the weights and, last, the bias of one problem.

    The columns of Z are orthogonal with the given squared lengths, so the Hessian is nearly diagonal in them, and
    scaled by its expected diagonal the problem takes some 15 steps.
    """
    from scipy.optimize import minimize

    share = positive.mean()
    variance = share * (1 - share)
    scale = 1 / np.sqrt(np.append(variance * squares + penalty, variance * len(Z)))
    A = np.concatenate([Z, np.ones((len(Z), 1))], axis=1) * scale
    sign, lift = np.where(positive, 1.0, -1.0), np.append(np.full(squares.size, penalty), 0.0) * scale**2

    def loss(v: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (A @ v)
        slope = lift * v - A.T @ (sign * sigmoid(-margin))
        return float(np.logaddexp(0.0, -margin).sum() + v @ (lift * v) / 2), slope

    start = np.append(np.zeros(squares.size), np.log(share / (1 - share)) / scale[-1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-6, "ftol": 1e-14, "maxiter": 1000})
    weights: NDArray[np.float64] = found.x * scale
    return weights


def _newton(
    Z: NDArray[np.float64], positive: NDArray[np.bool_], penalty: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (B, r) and bias (B,); problems that have converged leave the batch."""
    B, n, r = Z.shape
    A = np.concatenate([Z, np.ones((B, n, 1))], axis=2)
    lift = np.concatenate([np.repeat(penalty[:, None], r, axis=1), np.zeros((B, 1))], axis=1)
    v = np.zeros((B, r + 1))
    share = positive.mean(axis=1)
    v[:, r] = np.log(share / (1 - share))
    sign, rows = np.where(positive, 1.0, -1.0), np.arange(B)
    diagonal = np.arange(r + 1)
    for _ in range(STEPS):
        here, lifted, start = A[rows], lift[rows], v[rows]
        p = sigmoid((here @ start[:, :, None])[:, :, 0])
        slope = (here.mT @ (p - positive[rows])[:, :, None])[:, :, 0] + lifted * start
        H = (here * (p * (1 - p))[:, :, None]).mT @ here
        H[:, diagonal, diagonal] += lifted + 1e-12
        step = np.linalg.solve(H, slope[:, :, None])[:, :, 0]
        v[rows], moved = _descend(here, sign[rows], lifted, start, step)
        rows = rows[moved > CLOSE]
        if not rows.size:
            break
    return v[:, :r], v[:, r]


def _descend(A: Any, sign: Any, lift: Any, start: Any, step: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take Newton's step, halved until the loss does not grow; return where that leads and the largest change."""

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
