"""How test chips score that lack inputs, by classifiers that learned from complete ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from geoembed.evaluation import cautions
from geoembed.fits.curves import NOTHING, Fit
from geoembed.fits.embeddings import FUSED
from geoembed.fits.experiments import Tested

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    from numpy.typing import NDArray

    from geoembed.evaluation.study import Plan, Study
    from geoembed.outputs.journal import Journal
    from geoembed.progress import Progress


@dataclass(frozen=True)
class _Line:
    """The line of the journal that holds fits and cautions once all are measured."""

    of: Literal["missing inputs"]
    cautions: list[str]
    fits: list[Fit]


@dataclass(frozen=True)
class Missing:
    """What was measured on test chips with inputs removed.

    fits: none where missing inputs were not asked for.
    cautions: what makes their scores uncertain.
    contrasted: per modality the vectors (n, E) of the complete test chips in the space that training contrasts; None
        where they were not embedded again.
    """

    fits: list[Fit]
    cautions: list[str]
    contrasted: dict[str, NDArray[np.float32]] | None = None


def measure(study: Study, plan: Plan, journal: Journal) -> Generator[Progress, None, Missing]:
    """Score test chips that lack inputs, unless the journal holds that; `plan` gives features and source."""
    origin, layout = study.origin, study.layout
    if origin is None or plan.features != FUSED:
        return Missing([], [])
    held = [line for line in journal.of(_Line) if study.asks(line.fits)]
    if held:
        return Missing(held[0].fits, held[0].cautions)
    usable = plan.source.usable(plan.features)
    rows = study.embedded_again(usable)
    if not layout.missing(usable, [Tested("missing", NOTHING, rows)]).draws:
        lacking = "missing inputs were not measured: labels are too few, or the chips to be tested are of one class"
        return Missing([], [lacking])
    tested, contrasted = yield from origin.missing(rows, layout.options.seed, layout.options.repeats)
    sweep = plan.sweep(layout, [layout.missing(usable, tested)], layout.options.classifiers)
    fits = [fit for result in sweep.run({}) for fit in result.fits]
    warnings = cautions.of_removals(tested)
    journal.write(asdict(_Line("missing inputs", warnings, fits)))
    return Missing(fits, warnings, contrasted)
