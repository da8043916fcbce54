"""Scores of single fits brought together: learning curves, and how many labels are enough."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LEVELS = (0.95, 0.99)
"""Shares of the full-label score that count as enough."""

CONFIDENCE = 0.95
"""Of all intervals."""

ERRORS = frozenset({"rmse", "brier", "ece"})
"""Metrics that are better when small."""

OURS = "embeddings"
"""The source that is compared with all others."""

NOTHING = "nothing"
"""What is missing where nothing is."""

WHOLE = 0
"""The number of labels that stands for all of them."""

NAN = math.nan


@dataclass(frozen=True)
class Fit:
    """One fit scored on one set of test chips.

    question: curve, or what a comparison asks: split, transfer or missing.
    source: whose features they are.
    task: what was predicted.
    aoi: where the labels are from.
    tested: where the test chips are from, or what is missing in them.
    features: what the features are called.
    classifier: name of the classifier.
    n: number of labels.
    seed: that of the draw of labels.
    whole: the n labels are all there are.
    scores: by metric.
    seconds: how long the fit took.
    """

    question: str
    source: str
    task: str
    aoi: str
    tested: str
    features: str
    classifier: str
    n: int
    seed: int
    whole: bool
    scores: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Point:
    """The mean score over the draws of n labels, and its 95 % t-interval: the uncertainty of which labels are drawn.

    n: number of labels.
    draws: how many draws there are.
    mean: over the draws.
    low, high: the interval's ends; NaN where there is one draw, as with all labels.
    """

    n: int
    draws: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """A learning curve: scores in one metric over growing numbers of labels.

    source: whose features they are: 'embeddings', a baseline, or the name of another embeddings file.
    task: what was predicted.
    aoi: where labels and test chips are from.
    features: what the features are called.
    classifier: name of the classifier.
    metric: of the scores.
    points: by number of labels, from few to many.
    full: the score with all labels, None where not fitted; several draws where these are folds.
    chance: what guessing scores, NaN where that depends on how one guesses.
    """

    source: str
    task: str
    aoi: str
    features: str
    classifier: str
    metric: str
    points: tuple[Point, ...]
    full: Point | None
    chance: float = NAN

    def enough(self, level: float, *, above: float = 0.0) -> int | None:
        """Return the least n from which on every mean reaches `level` of the full score; None where none can be told.

        Scores count from `above`, such as chance. All labels reach it by definition. A full score at or below that (as
        R2 can be), one of which guessing reaches LEVELS[0], and an error that is better when small, have no meaningful
        share.
        """
        if self.full is None or self.metric in ERRORS or math.isnan(above) or not self.full.mean > above:
            return None
        if LEVELS[0] * self.full.mean <= self.chance:
            return None
        reached = self.full.n
        for point in reversed(self.points):
            if not point.mean - above >= level * (self.full.mean - above):
                break
            reached = point.n
        return reached


def point(n: int, values: Sequence[float]) -> Point:
    """Return mean and interval of the scores of several draws of n labels."""
    from scipy import stats

    mean, k = float(np.mean(values)), len(values)
    if k < 2:
        return Point(n, k, mean, NAN, NAN)
    error = float(stats.sem(values))
    if error == 0:  # of a distribution without width scipy knows no interval
        return Point(n, k, mean, mean, mean)
    low, high = stats.t.interval(CONFIDENCE, k - 1, loc=mean, scale=error)
    return Point(n, k, mean, float(low), float(high))


def of_fits(fits: Iterable[Fit], chance: Callable[[str, str], float]) -> list[Curve]:
    """Return a curve per task, area, features, classifier and metric, out of the fits that answer the question `curve`.

    `chance` tells what guessing scores, by task and metric.
    """
    scores: dict[tuple[str, str, str, str, str, str], dict[tuple[bool, int], list[float]]] = {}
    wholes: dict[tuple[str, str, str, str, str, str], list[int]] = {}
    for fit in fits:
        if fit.question == "curve":
            for metric, value in fit.scores.items():
                key = (fit.source, fit.task, fit.aoi, fit.features, fit.classifier, metric)
                scores.setdefault(key, {}).setdefault((fit.whole, 0 if fit.whole else fit.n), []).append(value)
                if fit.whole:
                    wholes.setdefault(key, []).append(fit.n)
    curves = []
    for key, by_size in scores.items():
        source, task, aoi, features, classifier, metric = key
        points = tuple(point(n, values) for (whole, n), values in sorted(by_size.items()) if not whole)
        whole = wholes.get(key)  # of folds that differ a little in size, their mean
        full = point(round(float(np.mean(whole))), by_size[True, 0]) if whole else None
        curves.append(Curve(source, task, aoi, features, classifier, metric, points, full, chance(task, metric)))
    return curves


def over_cells(curves: Iterable[Curve], level: float) -> dict[str, float] | None:
    """Return over all curves the median number of labels that is enough, their sum and that of all; None for no curve.

    `saving` is 1 - sum n / sum N.
    """
    sizes = [(enough, curve.full.n) for curve in curves if curve.full and (enough := curve.enough(level)) is not None]
    if not sizes:
        return None
    few, whole = np.array(sizes).T
    return {
        "cells": len(sizes),
        "median": float(np.median(few)),
        "labels": int(few.sum()),
        "all": int(whole.sum()),
        "saving": round(float(1 - few.sum() / whole.sum()), 4),
    }


def to_json(curve: Curve) -> dict[str, Any]:
    """Return a curve as summary.json holds it; what is not a number becomes null."""
    enough = {f"{level:.0%}": curve.enough(level) for level in LEVELS}
    above = {f"{level:.0%}": curve.enough(level, above=curve.chance) for level in LEVELS}
    whole = curve.full.n if curve.full else None
    head = {key: getattr(curve, key) for key in ("source", "task", "aoi", "features", "classifier", "metric")}
    return {
        **head,
        "chance": number(curve.chance),
        "full": {"n": whole, "score": number(curve.full.mean)} if curve.full else None,
        "enough": enough,
        "enough_above_chance": above,
        "saving": {level: None if n is None or not whole else round(1 - n / whole, 4) for level, n in enough.items()},
        "curve": [point_to_json(one) for one in curve.points],
    }


def point_to_json(mean: Point) -> dict[str, Any]:
    """Return a point as summary.json holds it."""
    return {key: number(value) if isinstance(value, float) else value for key, value in asdict(mean).items()}


def number(value: float) -> float | None:
    """Return a number as JSON has it: rounded, and None where it is none."""
    return round(value, 6) if math.isfinite(value) else None


def table(curves: Sequence[Curve]) -> list[tuple[str, ...]]:
    """Return mean scores: a row per task, features and source, a column per number of labels; the head first."""
    sizes = sorted({point.n for curve in curves for point in curve.points})
    rows: list[tuple[str, ...]] = [("task", "metric", "features", "from", *map(str, sizes), "all")]
    for curve in curves:
        means = {point.n: point.mean for point in curve.points}
        scores = [format(means[n], ".3f") if n in means else "" for n in sizes]
        whole = f"{curve.full.mean:.3f}" if curve.full else ""
        rows.append((curve.task, curve.metric.replace("_", " "), curve.features, curve.source, *scores, whole))
    return rows
