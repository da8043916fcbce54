"""Linear models of one draw of labels or of many at once, regularised by exact leave-one-out.

How strongly to regularise is chosen on the drawn labels alone. The leave-one-out errors of ridge regression have a
closed form (Allen 1974, PRESS), shared over penalties by one eigendecomposition. The penalty is the one that is most
probable: n / 2 log(mean squared error left out) against a normal prior on its decade, which steadies draws of 10 to 50
labels and fades beyond. The logistic penalty is the ridge penalty / 16. Measured on EuroSAT (3 tasks of 9 to 30 %, 192
random convolutional features, 6 draws, n = 10 to 500): balanced accuracy 0.752, against 0.750 for approximate
leave-one-out of the logistic loss at ten times the cost, and 0.749 for the best fixed penalty in hindsight.

A design is what fits of several tasks on the same labels share: `Few` decomposes B draws of up to 1,000 labels in
float64; `Many` keeps one draw of more in float32, as its moments, summed in float64, are all that ridge needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FEW = 1000
"""Most labels of a design that is decomposed, and for which every draw chooses a penalty of its own in a sweep."""

DECADES = np.arange(-2.5, 3.6, 0.5)
"""Ridge penalties tried, as decades around the prior's centre."""

PRIOR_CENTRE = 0.5
"""Centre of the prior on the ridge penalty, per feature (features have mean 0 and deviation 1)."""

RIDGE_PER_LOGISTIC = 16.0
"""Ridge penalty on targets of -1 and 1 that regularises like a logistic penalty of 1; measured, as above."""

NEWTON = 128
"""Coordinates, of which there are as many as labels or features, up to which a few Newton steps beat L-BFGS. On
embeddings of 128 numbers, whose classes nearly separate, L-BFGS takes 150 to 250 steps at 200 to 1,000 labels."""

CLOSE_ENOUGH = 2e-5
"""About the largest error of a coefficient that ends L-BFGS: its gradient, where the Hessian is about the identity,
over the root of the number of labels times their variance."""

STEPS, HALVINGS, CLOSE = 50, 12, 1e-7
"""Most Newton steps, most halvings of one, and the change of a coefficient that ends them."""

SOME = 256
"""Labels on which the mean leverage of many is estimated."""

ROWS = 1024
"""Rows whose moments are summed in float32 before they are added up in float64."""


@dataclass(frozen=True)
class Linear:
    """B linear models of K targets.

    weights (B, D, K), bias (B, K), penalty (B,). left_out (B, n, K): what ridge predicts for each label when it learns
    from all others.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    penalty: NDArray[np.float64]
    left_out: NDArray[np.float64]


class Few:
    """B draws of n labels each, X (B, n, D), as the decomposition X - mean = U diag(s) V^T.

    `squares` are s^2, (B, r), those near 0 set to 0. Targets may be of more draws than one design has: they share it.
    """

    def __init__(self, X: NDArray[Any]) -> None:
        X = X.astype(np.float64)
        self.mean = X.mean(axis=1, keepdims=True)
        self.centred = centred = X - self.mean
        n, D = X.shape[1:]
        if n <= D:
            squares, U = np.linalg.eigh(centred @ centred.mT)
            kept = squares > 1e-10 * np.maximum(squares[:, -1:], 1e-300)
        else:
            squares, V = np.linalg.eigh(centred.mT @ centred)
            kept = squares > 1e-10 * np.maximum(squares[:, -1:], 1e-300)
            U = centred @ (V / np.sqrt(np.where(kept, squares, 1.0))[:, None, :])
        self.U, self.squares = U * kept[:, None, :], np.where(kept, squares, 0.0)

    def __len__(self) -> int:
        return len(self.mean)

    def of_draw(self, b: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the rows of draw b (n, D), and what was taken off them (D,)."""
        return self.centred[b], self.mean[b, 0]

    def ridge(self, T: NDArray[np.float64], penalty: NDArray[np.float64] | None = None) -> Linear:
        """Fit ridge regressions of K targets with a free intercept, T (B, n, K).

        Minimises |X w + b - T|^2 + penalty |w|^2. Without a `penalty` (B,) each draw's own is chosen as above.
        """
        middle = T.mean(axis=1, keepdims=True)
        projected = self.U.mT @ (T - middle)  # (B, r, K)
        if penalty is None:
            penalty = _most_probable(self.U, self.squares, T - middle, projected, self.mean.shape[2])
        lifted = np.where(self.squares > 0, self.squares + penalty[:, None], np.inf)
        shrunk = self.squares / lifted
        fit = self.U @ (shrunk[:, :, None] * projected)
        left_out = T - (T - middle - fit) / _freedom(self.U, shrunk[:, :, None])
        # X - mean = U s V^T, so V s / (s^2 + penalty) U^T t is (X - mean)^T U / (s^2 + penalty) U^T t.
        weights = self.centred.mT @ (self.U @ (projected / lifted[:, :, None]))
        bias = (middle - self.mean @ weights)[:, 0]
        return Linear(weights, bias, penalty, left_out)

    def logistic(self, positive: NDArray[np.bool_], penalty: NDArray[np.float64] | None = None) -> Linear:
        """Fit logistic regressions of two classes with a free intercept, positive (B, n).

        Minimises the sum of log losses + penalty / 2 |w|^2 (scikit-learn's C is 1 / penalty) in the draw's own
        coordinates, of which there are at most as many as labels. `penalty` in and out is logistic; `left_out` is
        that of the ridge regression which chose it.
        """
        T = np.where(positive, 1.0, -1.0)[:, :, None]
        chosen = self.ridge(T, None if penalty is None else penalty * RIDGE_PER_LOGISTIC)
        penalty = chosen.penalty / RIDGE_PER_LOGISTIC
        root = np.sqrt(self.squares)
        A = self.U * root[:, None, :]
        if min(positive.shape[1], self.mean.shape[2]) <= NEWTON:
            turned, bias = _newton(np.broadcast_to(A, (len(positive), *A.shape[1:])), positive, penalty)
        elif len(A) == 1:
            turned, bias = self._lbfgs(0, A[0], positive, penalty)
        else:
            each = [self._lbfgs(b, A[b], positive[b : b + 1], penalty[b : b + 1]) for b in range(len(A))]
            turned, bias = (np.concatenate(parts) for parts in zip(*each, strict=True))
        inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
        weights = self.centred.mT @ (self.U @ (inverse * turned)[:, :, None])
        bias = bias[:, None] - (self.mean @ weights)[:, 0]
        return Linear(weights, bias, penalty, chosen.left_out)

    def _lbfgs(self, b: int, A: Any, positive: Any, penalty: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The columns of A are orthogonal, so that the Hessian is nearly diagonal in them."""
        scale = 1 / np.sqrt(_variance(positive)[:, None] * self.squares[b] + penalty[:, None])
        start = np.zeros((len(positive), A.shape[1]))
        return _minimise(A, 0.0, positive, penalty, start, lambda v: v * scale, lambda g: g * scale)


class Many:
    """One draw of many labels: X (n, D) float32, the mean (D,) and scatter (D, D) of its rows in float64."""

    def __init__(self, X: NDArray[np.float32]) -> None:
        self.X = X
        self.mean = X.mean(axis=0, dtype=np.float64)
        self.scatter = self._moment()
        self._factors: dict[float, tuple[Any, float]] = {}

    def __len__(self) -> int:
        return 1

    def of_draw(self, b: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the rows of the draw (n, D), and what was taken off them (D,)."""
        return self.X, np.zeros(len(self.mean))

    def _centred(self, rows: slice) -> NDArray[np.float32]:
        centred: NDArray[np.float32] = self.X[rows] - self.mean.astype(np.float32)
        return centred

    def _moment(self, of: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
        """Return the sum over rows of the products of centred X with `of` (n, K), or with itself: (D, K)."""
        total: Any = 0.0
        for start in range(0, len(self.X), ROWS):
            rows = slice(start, start + ROWS)
            centred = self._centred(rows)
            total = total + (centred.T @ (centred if of is None else of[rows])).astype(np.float64)
        return np.asarray(total)

    @cached_property
    def _spectrum(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """U (1, n, D) and the squares of the singular values (1, D), as `Few` has them."""
        squares, V = np.linalg.eigh(self.scatter)
        kept = squares > 1e-7 * squares[-1]
        turn = (V / np.sqrt(np.where(kept, squares, 1.0)) * kept).astype(np.float32)
        U = self.X @ turn - (self.mean @ turn).astype(np.float32)
        return U[None], np.where(kept, squares, 0.0).astype(np.float32)[None]

    def ridge(self, T: NDArray[np.float64], penalty: NDArray[np.float64] | None = None) -> Linear:
        """Fit one ridge regression, as `Few` does; T is (1, n, K)."""
        from scipy.linalg import cho_solve

        middle = T[0].mean(axis=0)
        of = (T[0] - middle).astype(np.float32)
        if penalty is None:
            U, squares = self._spectrum
            penalty = _most_probable(U, squares, of[None], U.mT @ of[None], self.X.shape[1])
        factor, leverage = self._factor(float(penalty[0]))
        weights = cho_solve(factor, self._moment(of), check_finite=False)
        offset = middle - self.mean @ weights
        error = (T[0] - self.X @ weights.astype(np.float32) - offset) / (1 - leverage)
        return Linear(weights[None], offset[None], penalty, (T[0] - error)[None])

    def _factor(self, penalty: float) -> tuple[Any, float]:
        """Return the Cholesky factor for a penalty, and the labels' mean leverage, estimated on some.

        With many labels leverages hardly differ: generalised cross-validation (Golub, Heath and Wahba 1979). Tasks
        often choose the same penalty, so factors are kept.
        """
        from scipy.linalg import cho_factor, cho_solve

        if penalty not in self._factors:
            factor = cho_factor(self.scatter + penalty * np.eye(len(self.mean)), lower=True, check_finite=False)
            some = (self.X[:: -(-len(self.X) // SOME)] - self.mean).astype(np.float64)
            leverage = (some * cho_solve(factor, some.T, check_finite=False).T).sum(axis=1).mean() + 1 / len(self.X)
            self._factors[penalty] = factor, float(leverage)
        return self._factors[penalty]

    def logistic(
        self,
        positive: NDArray[np.bool_],
        penalty: NDArray[np.float64] | None = None,
        start: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> Linear:
        """Fit T logistic regressions, as `Few` does; positive is (T, n).

        `start` is weights (T, D) and bias (T,) of similar fits, such as those of fewer labels of the same draw.
        """
        from scipy.linalg import cholesky, solve_triangular

        T, D = len(positive), self.X.shape[1]
        if penalty is None:
            targets = np.where(positive, 1.0, -1.0)[:, None, :, None]
            penalty = np.concatenate([self.ridge(one).penalty for one in targets]) / RIDGE_PER_LOGISTIC
        # Coordinates in which the Hessian is the identity, were all probabilities of a task alike.
        hessians = [v * self.scatter + p * np.eye(D) for v, p in zip(_variance(positive), penalty, strict=True)]
        factors = [cholesky(one, lower=True) for one in hessians]

        def solved(values: Any, trans: Literal[0, 1]) -> Any:
            each = zip(factors, values, strict=True)
            return np.stack([solve_triangular(L, v, trans=trans, lower=True, check_finite=False) for L, v in each])

        before, bias = (np.zeros((T, D)), None) if start is None else (start[0], start[1] + start[0] @ self.mean)
        first = np.stack([L.T @ w for L, w in zip(factors, before, strict=True)])
        weights, bias = _minimise(
            self.X, self.mean, positive, penalty, first, lambda v: solved(v, 1), lambda g: solved(g, 0), bias
        )
        bias = bias - weights @ self.mean
        return Linear(weights[:, :, None], bias[:, None], penalty, np.empty((T, 0, 1)))


Design: TypeAlias = Few | Many


def design(X: NDArray[np.float32]) -> Design:
    """Return what fits on the labels of one draw share, X (n, D)."""
    return Few(X[None]) if len(X) <= FEW else Many(X)


def _freedom(U: NDArray[Any], shrunk: NDArray[Any]) -> NDArray[Any]:
    """Return 1 - h, h being each row's leverage with the intercept; (B, n, G) for G shrinkages (B, r, G)."""
    freedom: NDArray[Any] = np.maximum(1.0 - U**2 @ shrunk - 1.0 / U.shape[1], 1e-6)
    return freedom


def _most_probable(
    U: NDArray[Any], squares: NDArray[Any], T: NDArray[Any], projected: NDArray[Any], D: int
) -> NDArray[np.float64]:
    """Return the penalty (B,) for centred targets T (B, n, K), of which U^T T are `projected` (B, r, K)."""
    tried = (PRIOR_CENTRE * D * 10.0**DECADES).astype(U.dtype)
    shrunk = squares[:, :, None] / (squares[:, :, None] + tried)  # (B, r, G)
    freedom, total = _freedom(U, shrunk), np.zeros(())
    for k in range(T.shape[2]):
        error = (T[:, :, k, None] - U @ (shrunk * projected[:, :, k, None])) / freedom
        total = total + (error**2).mean(axis=1, dtype=np.float64)
    chosen = T.shape[1] / 2 * np.log(total / T.shape[2] + 1e-300) + DECADES**2 / 2
    penalty: NDArray[np.float64] = tried[np.argmin(chosen, axis=1)].astype(np.float64)
    return penalty


def _variance(positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the variance (T,) of the labels (T, n), and so the weight of each in the Hessian at the start."""
    share = positive.mean(axis=1)
    return np.asarray(share * (1 - share))


def _minimise(
    A: NDArray[Any],
    mean: Any,
    positive: NDArray[np.bool_],
    penalty: NDArray[np.float64],
    start: NDArray[np.float64],
    forth: Callable[[Any], Any],
    back: Callable[[Any], Any],
    bias: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights (T, r) and the biases (T,), at the middle of the rows, of T problems on the rows of A - mean.

    One L-BFGS run for all, as they then share every pass over A. `start` (T, r) is where it starts in coordinates that
    `forth` turns into weights; `back` is its transpose. The best bias alone is the default of `bias`.
    """
    from scipy.optimize import minimize

    T, r = start.shape
    sign, share = np.where(positive, 1.0, -1.0), positive.mean(axis=1)
    of_bias = np.sqrt(_variance(positive) * A.shape[0])

    def loss(x: Any) -> tuple[float, Any]:
        v = x.reshape(T, r + 1)
        w = forth(v[:, :r])
        offset = v[:, r] / of_bias - (w * mean).sum(axis=1)
        margin = sign * ((A @ w.astype(A.dtype).T).T + offset[:, None])
        pull = sign * sigmoid(-margin)
        total = pull.sum(axis=1, keepdims=True)
        slope = back(penalty[:, None] * w - pull.astype(A.dtype) @ A + total * mean)
        # log(1 + exp(-margin)), without overflow
        value = np.maximum(-margin, 0.0).sum() + np.log1p(np.exp(-np.abs(margin))).sum()
        value += (penalty * (w**2).sum(axis=1)).sum() / 2
        return float(value), np.concatenate([slope, -total / of_bias[:, None]], axis=1).ravel()

    bias = np.log(share / (1 - share)) if bias is None else bias
    x = np.concatenate([start, (bias * of_bias)[:, None]], axis=1).ravel()
    found = minimize(
        loss,
        x,
        jac=True,
        method="L-BFGS-B",
        options={"gtol": CLOSE_ENOUGH * float(of_bias.min()), "ftol": 1e-10, "maxiter": 1000},
    )
    v = found.x.reshape(T, r + 1)
    return forth(v[:, :r]), v[:, r] / of_bias


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
