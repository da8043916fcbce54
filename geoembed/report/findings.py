"""What an evaluation found: everything that the report tells, and summary.json holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoembed.fits import comparisons, curves, metrics

if TYPE_CHECKING:
    from geoembed.fits.calibration import Trust
    from geoembed.fits.comparisons import Comparison
    from geoembed.fits.curves import Curve
    from geoembed.report.pictures import Gallery
    from geoembed.report.space import Health, Map, Retrieval


@dataclass(frozen=True)
class Facts:
    """What was measured on.

    chips: chips per split. tasks: per task its classes (none for numbers) and the number of labelled chips.
    counts: fits, and what was left out. n: labels at which all questions but the learning curves are asked, besides at
    all.
    """

    chips: dict[str, int]
    tasks: dict[str, tuple[tuple[Any, ...], int]]
    areas: tuple[str, ...]
    counts: dict[str, int]
    n: int
    repeats: int
    seed: int
    embeddings: str
    model: str
    split_apart: float  # share of neighbouring chips that fall into different splits; NaN without neighbours


@dataclass(frozen=True)
class Findings:
    """The answers, in the order of the report's questions; what was not asked for is empty.

    curves: of every source, task, area, features, classifier and metric.
    comparisons: answers to the questions `compared`, `split`, `transfer` and `missing`.
    trust: whether probabilities hold, per task.
    maps, neighbours: what the space looks like.
    health: per kind of vector. retrieval: per pair of modalities, in the space that training contrasts.
    notes: why a question was not asked; cautions: what makes scores uncertain; a sentence each.
    """

    facts: Facts
    curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...] = ()
    trust: tuple[Trust, ...] = ()
    maps: tuple[Map, ...] = ()
    neighbours: tuple[Gallery, ...] = ()
    health: tuple[Health, ...] = ()
    retrieval: tuple[Retrieval, ...] = ()
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what summary.json holds: all but pictures and maps, as JSON has it."""
        own = [one for one in self.curves if one.source == curves.OURS and one.metric in metrics.HEADLINES]
        return {
            "cells": [curves.to_json(one) for one in self.curves],
            "over_all_cells": {f"{level:.0%}": curves.over_cells(own, level) for level in curves.LEVELS},
            "comparisons": [comparisons.to_json(one) for one in self.comparisons],
            **{name: [_plain(vars(one)) for one in getattr(self, name)] for name in ("trust", "health", "retrieval")},
            "notes": list(self.notes),
            "cautions": list(self.cautions),
        }


def _plain(value: Any) -> Any:
    if isinstance(value, curves.Point):
        return curves.point_to_json(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return curves.number(value) if isinstance(value, float) else value
