"""Learning curves out of single fits: means, intervals over draws, and how many labels are enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from geoembed.sweep import Fit

LEVELS = (0.95, 0.99)
"""Shares of the full-label score that count as enough."""


@dataclass(frozen=True)
class Point:
    """The mean score over the draws of n labels, and its 95 % t-interval: the uncertainty of which labels are drawn.

    The interval is NaN where there is one draw, as with all labels.
    """

    n: int
    draws: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """The learning curve of one cell in one metric; `full` is the score with all labels, None where not fitted."""

    task: str
    aoi: str
    features: str
    classifier: str
    metric: str
    points: tuple[Point, ...]
    full: Point | None

    def enough(self, level: float) -> int | None:
        """Return the least n from which on every mean reaches `level` of the full score; None where none can be told.

        All labels reach it by definition. A full score at or below 0 (R2, or an error that is better when small) has
        no meaningful share.
        """
        if self.full is None or self.metric == "rmse" or not self.full.mean > 0:
            return None
        reached = self.full.n
        for point in reversed(self.points):
            if not point.mean >= level * self.full.mean:
                break
            reached = point.n
        return reached


def of_fits(fits: Iterable[Fit], full: dict[tuple[str, str, str], int]) -> list[Curve]:
    """Return a curve per cell and metric; `full` tells per (task, aoi, features) how many labels all are."""
    scores: dict[tuple[str, str, str, str, str], dict[int, list[float]]] = {}
    for fit in fits:
        for metric, value in fit.scores.items():
            key = (fit.task, fit.aoi, fit.features, fit.classifier, metric)
            scores.setdefault(key, {}).setdefault(fit.n, []).append(value)
    found = []
    for key, by_size in scores.items():
        points = [_point(n, by_size[n]) for n in sorted(by_size)]
        last = next((point for point in points if point.n == full.get(key[:3])), None)
        found.append(Curve(*key, tuple(point for point in points if point is not last), last))
    return found


def _point(n: int, values: Sequence[float]) -> Point:
    from scipy.stats import t

    mean, k = float(np.mean(values)), len(values)
    if k < 2:
        return Point(n, k, mean, math.nan, math.nan)
    half = float(t.ppf(0.975, k - 1)) * float(np.std(values, ddof=1)) / math.sqrt(k)
    return Point(n, k, mean, mean - half, mean + half)


def to_json(curve: Curve) -> dict[str, Any]:
    """Return a curve as summary.json holds it; what is not a number becomes null."""
    enough = {f"{level:.0%}": curve.enough(level) for level in LEVELS}
    whole = curve.full.n if curve.full else None
    return {
        "task": curve.task,
        "aoi": curve.aoi,
        "features": curve.features,
        "classifier": curve.classifier,
        "metric": curve.metric,
        "full": {"n": whole, "score": _number(curve.full.mean)} if curve.full else None,
        "enough": enough,
        "saving": {level: None if n is None or not whole else round(1 - n / whole, 4) for level, n in enough.items()},
        "curve": [
            {
                "n": point.n,
                "draws": point.draws,
                "mean": _number(point.mean),
                "low": _number(point.low),
                "high": _number(point.high),
            }
            for point in curve.points
        ],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def table(curves: Sequence[Curve]) -> str:
    """Return mean scores as text: a row per task and features, a column per number of labels."""
    sizes = sorted({point.n for curve in curves for point in curve.points})
    head = ("task", "metric", "features", *map(str, sizes), "all")
    rows = [head]
    for curve in curves:
        means = {point.n: point.mean for point in curve.points}
        shown = [format(means[n], ".3f") if n in means else "" for n in sizes]
        rows.append((curve.task, curve.metric.replace("_", " "), curve.features, *shown, _last(curve)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if i < 3 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _last(curve: Curve) -> str:
    return f"{curve.full.mean:.3f}" if curve.full else ""
