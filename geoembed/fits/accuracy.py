"""What people publish of a map: confusion matrix, user's and producer's accuracy, and area per class with intervals.

The estimator is the stratified one of Olofsson et al. 2014 (Good practices for estimating area and assessing accuracy
of land change, Remote Sensing of Environment 148, doi:10.1016/j.rse.2014.02.015): strata are the classes of the map,
and the labels are taken for a random sample of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Z = 1.959964
"""Half the width of a 95 % interval of the normal distribution, in standard errors."""


@dataclass(frozen=True)
class Estimate:
    """An estimate and its 95 % interval; the ends are NaN where the labels give no interval.

    value: a share, or square kilometres.
    low, high: ends of the interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    def to_json(self) -> dict[str, float | None]:
        """Return it JSON-ready."""
        return {key: round(value, 6) if math.isfinite(value) else None for key, value in vars(self).items()}


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a map of K classes.

    classes: their names.
    confusion: (K, K) numbers of labels, a row per class of the map and a column per class of the labels; fractions
        where they are means over repetitions.
    mapped: (K,) square kilometres of each class on the map.
    overall: share of the area that is right.
    users: share of each class on the map that is right (1 - commission).
    producers: share of each class on the ground that is on the map (1 - omission).
    areas: square kilometres of each class on the ground.
    unchecked: square kilometres of the map in classes of fewer than two labels, which the estimates leave out.
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.float64]
    mapped: NDArray[np.float64]
    overall: Estimate
    users: tuple[Estimate, ...]
    producers: tuple[Estimate, ...]
    areas: tuple[Estimate, ...]
    unchecked: float

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-ready, a dict per class."""
        of_class = {
            name: {
                "labels": round(float(self.confusion[:, k].sum()), 6),
                "users_accuracy": self.users[k].to_json(),
                "producers_accuracy": self.producers[k].to_json(),
                "mapped_km2": round(float(self.mapped[k]), 6),
                "area_km2": self.areas[k].to_json(),
            }
            for k, name in enumerate(self.classes)
        }
        return {
            "confusion": {"rows": "map", "columns": "labels", "counts": self.confusion.round(6).tolist()},
            "overall_accuracy": self.overall.to_json(),
            "classes": of_class,
            "unchecked_km2": round(self.unchecked, 6),
        }


def confusion(decided: NDArray[np.int64], truth: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Return numbers of labels, (classes, classes): a row per class predicted, a column per class of the labels."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (decided, truth.astype(np.int64)), 1)
    return counts


def assess(classes: Sequence[str], counts: NDArray[np.float64], mapped: NDArray[np.float64]) -> Accuracy:
    """Estimate a map's accuracy and areas from a confusion matrix (K, K) and the square kilometres of each class (K,).

    Equations 1 to 11 of Olofsson et al. 2014. A class of the map with fewer than two labels is left out, as nothing is
    known of what lies there; of such a class, and of one without labels, no area is estimated. Where all or none of a
    class's labels are right, the variance is that with one more label right and one wrong (as Agresti and Coull 1998,
    doi:10.1080/00031305.1998.10480550, widen intervals), as no label in error does not prove certainty.
    """
    per_stratum = counts.sum(axis=1)
    checked = per_stratum >= 2
    total = float(mapped[checked].sum())
    if not total:
        nothing = tuple(Estimate(math.nan) for _ in classes)
        unknown = Estimate(math.nan)
        return Accuracy(tuple(classes), counts, mapped, unknown, nothing, nothing, nothing, float(mapped.sum()))
    weight = np.where(checked, mapped, 0.0) / total
    n = np.where(checked, per_stratum, 2.0)
    share = np.where(checked[:, None], counts / n[:, None], 0.0)  # of class j on the ground within stratum i
    p = weight[:, None] * share
    spread = share * (1 - share) / (n - 1)[:, None]  # variance of a share within its stratum
    sure = np.flatnonzero(checked & np.isin(np.diag(share), (0.0, 1.0)))
    softened = (counts[sure, sure] + 1) / (n[sure] + 2)
    spread[sure, sure] = softened * (1 - softened) / (n[sure] - 1)
    right, on_ground = np.diag(p), p.sum(axis=0)
    overall = _interval(float(right.sum()), float((weight**2 * np.diag(spread)).sum()))
    users = [
        _interval(float(share[i, i]), float(spread[i, i])) if checked[i] else Estimate(math.nan) for i in range(len(n))
    ]
    area_variance = (weight[:, None] ** 2 * spread).sum(axis=0)
    areas = [_interval(float(a), float(v), total) for a, v in zip(on_ground, area_variance, strict=True)]
    producers = [_producers(j, weight, share, spread, on_ground) for j in range(len(n))]
    for j in np.flatnonzero((counts.sum(axis=0) == 0) | ~checked & (mapped > 0)):
        areas[j] = producers[j] = Estimate(math.nan)
    return Accuracy(
        tuple(classes), counts, mapped, overall, tuple(users), tuple(producers), tuple(areas),
        float(mapped[~checked].sum()),
    )  # fmt: skip


def _producers(
    j: int, weight: NDArray[Any], share: NDArray[Any], spread: NDArray[Any], on_ground: NDArray[Any]
) -> Estimate:
    """Return the producer's accuracy of class j; equation 7 in shares of the area."""
    if not on_ground[j] > 0:
        return Estimate(math.nan)
    accuracy = float(weight[j] * share[j, j] / on_ground[j])
    others = np.arange(len(weight)) != j
    variance = weight[j] ** 2 * (1 - accuracy) ** 2 * spread[j, j]
    variance += accuracy**2 * (weight[others] ** 2 * spread[others, j]).sum()
    return _interval(accuracy, float(variance / on_ground[j] ** 2))


def _interval(value: float, variance: float, scale: float = 1.0) -> Estimate:
    """Return an estimate of a share with its interval, kept within 0 and 1, both times `scale`."""
    half = Z * math.sqrt(max(variance, 0.0))
    return Estimate(scale * value, scale * max(value - half, 0.0), scale * min(value + half, 1.0))
