"""results.csv: a row per fit and metric, in the order of a reader."""

from __future__ import annotations

import csv
import math
import re
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

TEXTS = ("task", "aoi", "features", "classifier", "metric", "source", "question", "tested")

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a cell begins that spreadsheets calculate, with any number of the apostrophes that keep them from it."""

ORDER = ("curve", "split", "transfer", "missing")
"""Questions that fits answer, in the order of the table."""


def write(path: Path, fits: Sequence[Fit]) -> None:
    """Write the table, whole; a score that cannot be told is empty.

    A text that a spreadsheet would take for a formula has an apostrophe before it, which `read` takes off.
    """
    with atomic.replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for fit in fits:
            head = (*map(_plain, (fit.task, fit.aoi, fit.features, fit.classifier)), fit.n, fit.seed)
            tail = (f"{fit.seconds:.6f}", *map(_plain, (fit.source, fit.question, fit.tested)))
            for metric, value in fit.scores.items():
                rows.writerow((*head, metric, "" if math.isnan(value) else f"{value:.6f}", *tail))


def read(path: Path) -> pd.DataFrame:
    """Read the table, texts as they are, `NA` and digits among them; raises OSError and ValueError where it cannot."""
    import pandas as pd

    table = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values={"value": [""]})
    if tuple(table.columns) != COLUMNS:
        raise ValueError("has other columns")
    for name in TEXTS:
        formula = table[name].str.match(_FORMULA) & table[name].str.startswith("'")
        table[name] = table[name].where(~formula, table[name].str[1:])
    return table


def is_ours(path: Path) -> bool:
    """Tell by its first line whether `write` wrote a file, in whatever state it is now."""
    with path.open("rb") as file:
        return file.readline(2**10).strip() == ",".join(COLUMNS).encode()


def _plain(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


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
            sources.index(fit.source), ORDER.index(fit.question), options.classifiers.index(fit.classifier),
            options.features.index(fit.features), tasks.index(fit.task), fit.aoi != layout.everywhere, fit.aoi,
            tested.index(fit.tested) if fit.question == "missing" else 0, fit.tested, fit.n, fit.seed,
        ),
    )  # fmt: skip
