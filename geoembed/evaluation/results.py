"""results.csv: a row per fit and metric, in the order of a reader."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

from geoembed.fits.curves import OURS
from geoembed.outputs import atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from geoembed.evaluation.protocol import Layout
    from geoembed.fits.curves import Fit

COLUMNS = (
    "task", "aoi", "features", "classifier", "n", "seed", "metric", "value", "seconds", "source", "question", "tested",
)  # fmt: skip

_QUESTIONS = ("curve", "split", "transfer", "missing")


def write(path: Path, fits: Sequence[Fit]) -> None:
    """Write the table, whole; a score that cannot be told is empty."""
    with atomic.replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for fit in fits:
            head = (fit.task, fit.aoi, fit.features, fit.classifier, fit.n, fit.seed)
            tail = (f"{fit.seconds:.6f}", fit.source, fit.question, fit.tested)
            for metric, value in fit.scores.items():
                rows.writerow((*head, metric, "" if math.isnan(value) else f"{value:.6f}", *tail))


def read(path: Path) -> pd.DataFrame:
    """Read the table."""
    import pandas as pd

    return pd.read_csv(path)


def in_order(fits: Sequence[Fit], layout: Layout) -> list[Fit]:
    """Return fits by source, question, classifier, features, task, area, what is tested, size and draw.

    Our source, all areas together and the options' own order of names come first.
    """
    options, tasks = layout.options, [task.name for task in layout.tasks]
    sources = [OURS, *dict.fromkeys(fit.source for fit in fits if fit.source != OURS)]
    tested = list(dict.fromkeys(fit.tested for fit in fits))
    return sorted(
        fits,
        key=lambda fit: (
            sources.index(fit.source), _QUESTIONS.index(fit.question), options.classifiers.index(fit.classifier),
            options.features.index(fit.features), tasks.index(fit.task), fit.aoi != layout.everywhere, fit.aoi,
            tested.index(fit.tested) if fit.question == "missing" else 0, fit.tested, fit.n, fit.seed,
        ),
    )  # fmt: skip
