"""Scores of a map as metrics.json and the terminal have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.progress import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoembed.fits.assessment import Assessment

SHORT = {"balanced_accuracy": "balanced", "average_precision": "avg precision"}
"""Heads of columns."""


def to_json(assessment: Assessment, aoi: NDArray[np.str_]) -> dict[str, Any]:
    """Return how a map was scored, and its scores over all areas and per area (N,), JSON-ready."""
    held = assessment.held
    areas = aoi[held.rows]
    names = np.unique(areas)
    of_area = {"all": None} | ({str(name): areas == name for name in names} if len(np.unique(aoi)) > 1 else {})
    scores = {
        area: {"labels": len(areas) if which is None else int(which.sum()), **_means(held.scores(which))}
        for area, which in of_area.items()
    }
    return {
        "method": held.method,
        "folds": held.folds,
        "repetitions": len(held.predicted),
        "classes_not_tested": list(held.lacking),
        "scores": scores,
        "spread": {name: _number(values.std()) for name, values in held.scores().items()},
        "accuracy": assessment.accuracy.to_json() if assessment.accuracy else None,
        "cautions": list(assessment.cautions),
    }


def _means(scores: dict[str, NDArray[np.float64]]) -> dict[str, float | None]:
    return {name: _number(values.mean()) for name, values in scores.items()}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def tables(report: dict[str, Any]) -> tuple[Table, ...]:
    """Return the scores per area; of classes their accuracy and areas, and the confusion matrix."""
    names = [name for name in report["scores"]["all"] if name != "labels"]
    rows: list[tuple[str, ...]] = [("area", "labels", *(SHORT.get(name, name).replace("_", " ") for name in names))]
    for area, scores in report["scores"].items():
        rows.append((area, f"{scores['labels']:,}", *(_decimal(scores[name]) for name in names)))
    tables = [Table(f"Scores ({report['method']})", rows)]
    if not report["accuracy"]:
        return tuple(tables)
    head = ("class", "labels", "user's", "producer's", "mapped km2", "area km2", "95 % interval")
    classes = report["accuracy"]["classes"]
    of_class = [
        (
            name,
            f"{of['labels']:,.0f}",
            _decimal(of["users_accuracy"]["value"]),
            _decimal(of["producers_accuracy"]["value"]),
            f"{of['mapped_km2']:,.4g}",
            _decimal(of["area_km2"]["value"], ",.4g"),
            " to ".join(_decimal(of["area_km2"][end], ",.4g") for end in ("low", "high")),
        )
        for name, of in classes.items()
    ]
    tables.append(Table("Accuracy and area per class", [head, *of_class]))
    counts = report["accuracy"]["confusion"]["counts"]
    lines = [
        (name, *(f"{count:.1f}".removesuffix(".0") for count in row)) for name, row in zip(classes, counts, strict=True)
    ]
    tables.append(Table("Confusion matrix: labels per class", [("mapped as", *classes), *lines]))
    return tuple(tables)


def _decimal(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else format(value, form)
