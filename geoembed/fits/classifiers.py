"""The classical models that learn from few labels, fitted, applied, and kept without pickle (owns skops).

Every model gives probabilities under the classes' shares among the labels it learned from. A chip is given the class
whose probability is highest compared with that share, which is what maximises balanced accuracy: a rare class is
predicted from probabilities well below a half. Weighing the classes while fitting instead cost balanced
accuracy: 0.742 against 0.749 (the data of `linear`, 10 to 400 labels, 4 draws, the same choice of penalty for both).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.errors import ProbeError, nearest
from geoembed.fits import linear
from geoembed.outputs import atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.fits.linear import Design

KINDS = ("logistic", "ridge", "forest", "knn")

TREES = 200
MOST_NEIGHBOURS = 32

DISTANCES = 2**22
"""Distances from chips to labels that are held at a time; some 50 MB at work."""

PLATT_PENALTY = 1.0
"""Holds the slope that turns left-out ridge predictions into probabilities, where few labels separate perfectly."""

LEAST_SLOPE = 0.1
"""Least such slope. Without signal, left-out predictions run against the truth, as leaving a label out moves the mean
of the others away from it; with 10 labels that would turn the ranking round."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    classes: how many there are; 0 where it predicts numbers.
    prior: (classes,) their shares among the labels learned from; a class without labels has 0 and is never predicted.
    penalty: the regularisation chosen, in the classifier's own terms; NaN where it has none.
    state: arrays, or a scikit-learn forest, by name.
    """

    kind: str
    classes: int
    prior: NDArray[np.float64]
    penalty: float
    state: dict[str, Any]


def fit(
    kind: str,
    X: NDArray[np.float32],
    values: NDArray[np.float64],
    classes: int,
    seed: int,
    design: Design | None = None,
) -> Fitted:
    """Fit one model on features X (n, D) with mean 0 and deviation 1.

    `values` (n,) are numbers, or positions of classes where `classes` is above 0; there are two classes or more among
    them. `logistic` of numbers is `ridge`. `design` is that of X where there is one already.
    """
    if kind in ("forest", "knn"):
        return (_forest if kind == "forest" else _neighbours)(X, values, classes, seed)
    return fit_linear(kind, design or linear.design(X), values[None], classes)[0]


def fit_linear(
    kind: str,
    design: Design,
    values: NDArray[np.float64],
    classes: int,
    penalties: NDArray[np.float64] | None = None,
    start: Sequence[Fitted] | None = None,
) -> list[Fitted]:
    """Fit one ridge or logistic model per row of `values` (B, n), each on a draw of the design's B, or all on its one.

    Without `penalties` (B,), as `penalty_of` gives them, each chooses its own. `start` are models of fewer labels.
    """
    if kind == "ridge" or classes == 0:
        if isinstance(design, linear.Many):
            own = [None] * len(values) if penalties is None else list(penalties[:, None])
            return [_ridge(design, one[None], classes, of)[0] for one, of in zip(values, own, strict=True)]
        return _ridge(design, values, classes, penalties)
    given = None if penalties is None else penalties / linear.RIDGE_PER_LOGISTIC
    if classes > 2:
        each = [None] * len(values) if given is None else list(given)
        return [
            _multinomial(*design.of_draw(b if len(design) > 1 else 0), one, classes, each[b])
            for b, one in enumerate(values)
        ]
    if start is not None and isinstance(design, linear.Many):
        first = (
            np.stack([one.state["weights"][:, 0] for one in start]),
            np.stack([one.state["bias"][0] for one in start]),
        )
        found = design.logistic(values > 0, given, first)
    else:
        found = design.logistic(values > 0, given)
    return [
        Fitted("logistic", 2, _prior(values[b], 2), float(found.penalty[b]), _weights(found.weights[b], found.bias[b]))
        for b in range(len(values))
    ]


def penalty_of(fitted: Fitted) -> float:
    """Return the penalty that was chosen as `fit_linear` takes it, whichever linear classifier chose it."""
    return fitted.penalty * (linear.RIDGE_PER_LOGISTIC if fitted.kind == "logistic" else 1.0)


def _prior(values: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    return np.bincount(values.astype(np.int64), minlength=classes) / len(values) if classes else np.empty(0)


def _weights(weights: NDArray[np.float64], bias: NDArray[np.float64]) -> dict[str, Any]:
    return {"weights": weights.astype(np.float32), "bias": bias.astype(np.float32)}


def _ridge(
    design: Design, values: NDArray[np.float64], classes: int, penalty: NDArray[np.float64] | None
) -> list[Fitted]:
    """Fit ridge regressions of the numbers, or of 1 for a class and -1 for the others.

    Predictions become probabilities by a logistic curve fitted to those left out (Platt 1999).
    """
    if classes == 0:
        found = design.ridge(values[:, :, None], penalty)
        states = [_weights(found.weights[b], found.bias[b]) for b in range(len(values))]
        return [Fitted("ridge", 0, np.empty(0), float(found.penalty[b]), state) for b, state in enumerate(states)]
    targets = np.arange(1, 2) if classes == 2 else np.arange(classes)
    T = np.where(values[:, :, None] == targets, 1.0, -1.0)
    found = design.ridge(T, penalty)
    slope, offset = _curves(found.left_out, T > 0)
    return [
        Fitted(
            "ridge",
            classes,
            _prior(values[b], classes),
            float(found.penalty[b]),
            _weights(found.weights[b], found.bias[b]) | {"slope": slope[b], "offset": offset[b]},
        )
        for b in range(len(values))
    ]


def _curves(
    left_out: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return slope and offset (B, K) that turn predictions (B, n, K) into log odds; a class without labels has none."""
    B, n, K = left_out.shape
    of_class = positive.transpose(0, 2, 1).reshape(-1, n)
    slope, offset = np.zeros(B * K, np.float32), np.full(B * K, -np.inf, np.float32)
    there = np.flatnonzero(of_class.any(axis=1))
    curve = linear.Few(left_out.transpose(0, 2, 1).reshape(-1, n, 1)[there]).logistic(
        of_class[there], np.full(len(there), PLATT_PENALTY)
    )
    slope[there], offset[there] = curve.weights[:, 0, 0], curve.bias[:, 0]
    low = there[slope[there] < LEAST_SLOPE]
    share = of_class[low].mean(axis=1)
    middle = left_out.transpose(0, 2, 1).reshape(-1, n)[low].mean(axis=1)
    slope[low], offset[low] = LEAST_SLOPE, np.log(share / (1 - share)) - LEAST_SLOPE * middle
    return slope.reshape(B, K), offset.reshape(B, K)


def _multinomial(
    X: NDArray[Any], mean: NDArray[np.float64], values: NDArray[np.float64], classes: int, penalty: float | None
) -> Fitted:
    """Fit on the rows X, from which `mean` was taken off."""
    from sklearn.linear_model import LogisticRegression

    there = np.unique(values)
    T = np.where(values[:, None] == there, 1.0, -1.0)
    if penalty is None:
        chosen = linear.design(X.astype(np.float32)).ridge(T[None]).penalty
        penalty = float(chosen[0]) / linear.RIDGE_PER_LOGISTIC
    model = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-4).fit(X, values)
    weights, bias = np.zeros((X.shape[1], classes)), np.full(classes, -np.inf)
    columns = there.astype(np.int64)
    if len(there) == 2:  # scikit-learn then gives the weights of the second class alone
        weights[:, columns[1]], bias[columns] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        weights[:, columns], bias[columns] = model.coef_.T, model.intercept_
    return Fitted("logistic", classes, _prior(values, classes), penalty, _weights(weights, bias - mean @ weights))


def _forest(X: NDArray[np.float32], values: NDArray[np.float64], classes: int, seed: int) -> Fitted:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    make = RandomForestClassifier if classes else RandomForestRegressor
    # A third of the features per split for numbers (Breiman 2001), the root of their number for classes.
    model = make(TREES, random_state=seed, n_jobs=1, max_features="sqrt" if classes else 1 / 3)
    state = _flattened(model.fit(X, values), classes)
    return Fitted("forest", classes, _prior(values, classes), float("nan"), state)


def _flattened(model: Any, classes: int) -> dict[str, Any]:
    """Return a forest as arrays over all its nodes; a leaf is its own child.

    As numbers it needs no trusted types to load, no scikit-learn to predict, and cannot be read out of bounds.
    """
    trees = [one.tree_ for one in model.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    own = np.arange(sum(tree.node_count for tree in trees))
    left = np.concatenate([tree.children_left + root for tree, root in zip(trees, roots, strict=True)])
    right = np.concatenate([tree.children_right + root for tree, root in zip(trees, roots, strict=True)])
    feature = np.concatenate([tree.feature for tree in trees])
    means = np.concatenate([tree.value[:, 0, :] for tree in trees])
    values = means
    if classes:
        values = np.zeros((len(own), classes))
        values[:, model.classes_.astype(np.int64)] = means / means.sum(axis=1, keepdims=True)
    return {
        "roots": roots,
        "left": np.where(feature < 0, own, left),
        "right": np.where(feature < 0, own, right),
        "feature": np.maximum(feature, 0),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "values": values,
        "depth": int(max(tree.max_depth for tree in trees)),
    }


def _neighbours(X: NDArray[np.float32], values: NDArray[np.float64], classes: int, seed: int) -> Fitted:
    """Keep the labels; as many neighbours are asked as the root of their number, at most 32."""
    k = int(np.clip(np.sqrt(len(X)), 1, MOST_NEIGHBOURS))
    state = {"points": X.astype(np.float32), "values": values, "k": k}
    return Fitted("knn", classes, _prior(values, classes), float("nan"), state)


def predict(fitted: Fitted, X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Predict N chips from features (N, D) scaled as in fitting: probabilities (N, K), or (N,) numbers."""
    if fitted.kind == "forest":
        return _predict_forest(fitted, X)
    if fitted.kind == "knn":
        return _predict_neighbours(fitted, X)
    scores = (X @ fitted.state["weights"] + fitted.state["bias"]).astype(np.float64)
    if fitted.classes == 0:
        return np.asarray(scores[:, 0])
    if fitted.kind == "logistic" and fitted.classes > 2:
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    if fitted.kind == "ridge":
        scores = scores * fitted.state["slope"] + fitted.state["offset"]
    p = linear.sigmoid(scores)
    return np.concatenate([1 - p, p], axis=1) if fitted.classes == 2 else p / p.sum(axis=1, keepdims=True)


def _predict_forest(fitted: Fitted, X: NDArray[np.float32]) -> NDArray[np.float64]:
    forest = fitted.state
    found = np.empty((len(X), fitted.classes or 1))
    for start in range(0, len(X), 1024):
        rows = X[start : start + 1024]
        at = np.repeat(forest["roots"][None], len(rows), axis=0)
        for _ in range(forest["depth"]):
            low = np.take_along_axis(rows, forest["feature"][at], axis=1) <= forest["threshold"][at]
            at = np.where(low, forest["left"][at], forest["right"][at])
        found[start : start + 1024] = forest["values"][at].mean(axis=1)
    return found if fitted.classes else found[:, 0]


def _predict_neighbours(fitted: Fitted, X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average over the k nearest by Euclidean distance; for classes the prior counts as one neighbour more."""
    points, values, k = fitted.state["points"], fitted.state["values"], fitted.state["k"]
    found = np.empty((len(X), fitted.classes or 1))
    squares = (points**2).sum(axis=1)
    size = max(1, DISTANCES // len(points))
    for start in range(0, len(X), size):
        # |x - p|^2 without |x|^2, which is the same for all points
        distance = squares - 2 * X[start : start + size] @ points.T
        near = values[np.argpartition(distance, k - 1, axis=1)[:, :k]]
        if fitted.classes:
            votes = (near[:, :, None] == np.arange(fitted.classes)).sum(axis=1)
            found[start : start + size] = (votes + fitted.prior) / (k + 1)
        else:
            found[start : start + size, 0] = near.mean(axis=1)
    return found if fitted.classes else found[:, 0]


def decide(fitted: Fitted, p: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the classes predicted, (N,), from probabilities (N, K): the highest relative to its share."""
    gain = np.divide(p, fitted.prior, out=np.full_like(p, -1.0), where=fitted.prior > 0)
    return np.asarray(gain.argmax(axis=1), dtype=np.int64)


def save(path: Path, fitted: Fitted, described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a fitted model whole, with JSON-ready words and further arrays that its use needs."""
    import skops.io

    content = {
        "kind": fitted.kind,
        "classes": fitted.classes,
        "prior": fitted.prior,
        "penalty": fitted.penalty,
        "state": fitted.state,
        "described": described,
        "arrays": arrays,
    }
    with atomic.replacing(path) as part:
        skops.io.dump(content, part)


def load(path: Path) -> tuple[Fitted, dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `save` wrote; raises ProbeError for anything else, and never runs code from the file."""
    import zipfile

    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        content = skops.io.load(path, trusted=[])
        fitted = Fitted(*(content[key] for key in ("kind", "classes", "prior", "penalty", "state")))
        return fitted, content["described"], content["arrays"]
    except UntrustedTypesFoundException as error:
        raise ProbeError(f"{path}: holds types that a probe has not ({error}); do not use it") from None
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        fault = "missing" if not path.exists() else f"not a fitted probe ({str(error).splitlines()[0]})"
        raise ProbeError(f"{path}: {fault}; fit one with geoembed probe") from None


def load_libraries(kinds: Sequence[str], classes: Sequence[int]) -> None:
    """Load what fits of such kinds and numbers of classes call.

    Each library brings a BLAS or OpenMP of its own, whose threads can be limited only once it is loaded.
    """
    import scipy.optimize  # noqa: F401

    if "forest" in kinds:
        import sklearn.ensemble
    if "logistic" in kinds and max(classes, default=0) > 2:
        import sklearn.linear_model  # noqa: F401


def require(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the classifiers asked for; raises ProbeError, naming the nearest, for one that there is not."""
    for kind in kinds:
        if kind not in KINDS:
            raise ProbeError(f"--classifier {kind}: unknown{nearest(kind, KINDS)}")
    if not kinds:
        raise ProbeError(f"--classifiers: names none; name some of {', '.join(KINDS)}, or leave it out")
    return tuple(dict.fromkeys(kinds))
