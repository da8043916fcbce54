"""What an evaluation found: everything that the report tells and summary.json holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoembed.fits import comparisons, curves, metrics, scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from geoembed.evaluation.atlas import Atlas
    from geoembed.evaluation.made import Made
    from geoembed.evaluation.pictures import Gallery
    from geoembed.evaluation.space import Health, Map, Retrieval
    from geoembed.fits.assessment import Assessment
    from geoembed.fits.calibration import Trust
    from geoembed.fits.comparisons import Comparison
    from geoembed.fits.curves import Curve
    from geoembed.labels.targets import Targets


@dataclass(frozen=True)
class Facts:
    """What was measured on.

    chips: number of chips per split.
    tasks: for each task its classes (none where the target is a number) and the number of labelled chips.
    areas: their names.
    counts: the number of fits, and of chips and cells that were left out, by reason.
    n: number of labels for every question except the learning curves, which is also asked at all labels.
    repeats: draws of labels per number.
    seed: of the first draw.
    embeddings: name of the embeddings file.
    model: the first characters of its model's digest.
    split_apart: share of neighbouring chips that lie in different splits; NaN without neighbours.
    folds: spatial folds of a cross-validation; 0 where the test split is held out.
    repetitions: how often labels were dealt into folds.
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
    split_apart: float
    folds: int = 0
    repetitions: int = 0


@dataclass(frozen=True)
class Assessed:
    """A map of one task, learned as `probe` does by default, and how true it is.

    task: what was predicted.
    assessment: the map of N chips.
    aoi: (N,) area of each chip.
    usable: (N,) whether a chip has features, without which it has no prediction.
    """

    task: Targets
    assessment: Assessment
    aoi: NDArray[np.str_]
    usable: NDArray[np.bool_]


@dataclass(frozen=True)
class Findings:
    """The answers, in the order of the report's questions; what was not asked for is empty.

    facts: what was measured on.
    curves: learning curves of every source, task, area, features, classifier and metric.
    comparisons: answers to the questions `compared`, `split`, `transfer` and `missing`.
    trust: for each task whether probabilities can be trusted.
    maps: the space in two dimensions.
    neighbours: pictures of chips beside those whose embeddings are most similar.
    health: for each kind of vector how it fills its space.
    retrieval: for each two modalities whether they find each other, in the space that training contrasts.
    notes: which questions were not asked, and why; a sentence each.
    cautions: what makes scores uncertain; a sentence each.
    assessed: for each task a map and its accuracy, by the first classifier.
    atlases: pictures of these maps.
    made: when, by which version and command; None where nobody asks.
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
    assessed: tuple[Assessed, ...] = ()
    atlases: tuple[Atlas, ...] = ()
    made: Made | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what summary.json holds: all but facts, pictures and maps, JSON-ready."""
        ours = [curve for curve in self.curves if curve.source == curves.OURS and curve.metric in metrics.HEADLINES]
        return {
            "cells": [curves.to_json(curve) for curve in self.curves],
            "over_all_cells": {f"{level:.0%}": curves.over_cells(ours, level) for level in curves.LEVELS},
            "comparisons": [comparisons.to_json(comparison) for comparison in self.comparisons],
            "maps": {one.task.name: scores.to_json(one.assessment, one.aoi) for one in self.assessed},
            **{name: [_plain(vars(one)) for one in getattr(self, name)] for name in ("trust", "health", "retrieval")},
            "notes": list(self.notes),
            "cautions": list(self.cautions),
        }


def _plain(value: Any) -> Any:
    """Return a field's value JSON-ready."""
    if isinstance(value, curves.Point):
        return curves.point_to_json(value)
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return curves.number(value) if isinstance(value, float) else value
