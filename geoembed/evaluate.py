"""The step that measures how many labels are enough, and writes a report."""

from __future__ import annotations

import csv
import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed import __version__, atomic, curves, folders, metrics, record, report, sweep
from geoembed import classifiers as models
from geoembed import embeddings as embeddings_file
from geoembed import features as features_of
from geoembed import labels as label_file
from geoembed.aoi import ALL
from geoembed.errors import ProbeError
from geoembed.steps import Outcome, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.curves import Curve
    from geoembed.embeddings import Embeddings
    from geoembed.labels import Targets
    from geoembed.steps import Steps
    from geoembed.sweep import Fit

log = logging.getLogger(__name__)

RESULTS, SUMMARY, REPORT = "results.csv", "summary.json", "report.html"
COLUMNS = ("task", "aoi", "features", "classifier", "n", "seed", "metric", "value", "seconds")
FEW = 20
"""Test chips of a class below which its recall moves by more than 5 % with each."""

SIZES = (*(str(step * 10**decade) for decade in range(1, 7) for step in (1, 2, 5)), "all")


def evaluate(
    embeddings: Path,
    labels: tuple[Path, ...],
    output: Path = Path("report"),
    *,
    sizes: tuple[str, ...] | None = None,
    repeats: int = 5,
    classifiers: tuple[str, ...] = ("logistic",),
    features: tuple[str, ...] | None = None,
    target: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Steps:
    """Draw learning curves: every task x area x features x classifier x size x draw, scored on the test split.

    `sizes` are numbers and `all`; the draw of a smaller size is part of that of a larger. `features` are by default
    each modality, fused, and concat. Writes results.csv (a row per fit and metric), summary.json and report.html to
    a folder. Raises ProbeError, LabelError, EmbeddingsError and StaleError.
    """
    folders.require_folder(output)
    found = embeddings_file.read(embeddings)
    names = features_of.require(found, features)
    kinds = models.require(classifiers or ("logistic",))
    numbers, full = _sizes(sizes or SIZES)
    if repeats < 1:
        raise ProbeError(f"--repeats {repeats}: draw at least once")
    read = [label_file.read(path, target) for path in labels]
    _require_names(read)
    made_from = {
        "step": "evaluate",
        "embeddings": found.digest,
        "labels": {one.name: label_file.digest(one) for one in read},
        "sizes": [*numbers, *(["all"] if full else [])],
        "repeats": repeats,
        "classifiers": list(kinds),
        "features": list(names),
        "seed": seed,
    }
    if _is_kept(output, made_from, overwrite=overwrite):
        kept = json.loads((output / SUMMARY).read_text(encoding="utf-8"))
        return Outcome((output / REPORT,), kept["counts"], kept["table"])
    tasks = [label_file.join(one, found.chip_id, found.grids) for one in read]
    if "logistic" in kinds and any(task.numeric for task in tasks):
        log.warning("where the target is a number, logistic means ridge")
    _warn_of_few(tasks, found.split == "test")
    fits, whole, counts = yield from _fit_all(found, names, kinds, tasks, numbers, full, repeats, seed)
    if not fits:
        raise ProbeError(
            f"{embeddings}: nothing could be fitted or tested ({_told(counts)}); every task needs labels of two classes"
            " in the train split and of all classes in the test split"
        )
    found_curves = curves.of_fits(fits, whole)
    _warn(counts)
    return _write(output, found, tasks, fits, found_curves, counts, made_from)


def _sizes(asked: Sequence[str]) -> tuple[list[int], bool]:
    """Return the numbers in order, and whether all labels are asked for, too."""
    numbers = set()
    for text in asked:
        if text == "all":
            continue
        if not str(text).isdigit() or int(text) < 2:
            raise ProbeError(f"--sizes {text}: write numbers from 2, and all, as in --sizes 10,50,all")
        numbers.add(int(text))
    return sorted(numbers), "all" in asked


def _require_names(read: Sequence[label_file.Labels]) -> None:
    names: dict[str, Path] = {}
    for one in read:
        if one.name in names:
            raise ProbeError(f"{one.path}: its task is called {one.name}, like that of {names[one.name]}; rename one")
        names[one.name] = one.path


def _is_kept(output: Path, made_from: dict[str, Any], *, overwrite: bool) -> bool:
    """Tell whether a folder holds what is wanted, and renew its time stamps; raise where it must not be replaced."""
    paths = [output / name for name in (SUMMARY, RESULTS, REPORT)]
    if not paths[0].exists():
        folders.require_free(output, (RESULTS, REPORT))
        return False
    try:
        found = json.loads(paths[0].read_text(encoding="utf-8"))["made_from"]
    except (ValueError, KeyError, TypeError):
        raise ProbeError(f"{paths[0]}: exists and was not made by geoembed evaluate; choose another -o") from None
    if overwrite:
        return False
    record.require_same(output / REPORT, found, made_from)
    if not all(path.exists() for path in paths):
        return False
    atomic.touch(*paths)
    return True


def _fit_all(
    found: Embeddings,
    names: Sequence[str],
    kinds: Sequence[str],
    tasks: Sequence[Targets],
    sizes: Sequence[int],
    full: bool,
    repeats: int,
    seed: int,
) -> Any:
    """Run every plan, yielding progress; return the fits, the number of all labels per cell, and counts."""
    plans, counts = [], {"fits": 0, "cells_empty": 0}
    for name in names:
        usable = features_of.usable(found, name)
        laid = sweep.plan(found, name, usable, tasks, sizes, full=full, repeats=repeats, seed=seed)
        plans.append(laid)
        counts[f"chips_without_{name}"] = int(np.count_nonzero(~usable))
        for reason, number in laid.empty.items():
            counts[reason] = counts.get(reason, 0) + number
            counts["cells_empty"] += number
    total = sum(laid.fits(repeats) for laid in plans) * len(kinds)
    fits: list[Fit] = []
    whole: dict[tuple[str, str, str], int] = {}
    for laid in plans:
        X = features_of.read(found, laid.features)
        train = found.split == "train"
        for batch in sweep.run(X, laid, tasks, train, found.aoi, kinds, repeats=repeats, seed=seed):
            fits += batch
            yield Progress(len(fits), total, "fits", laid.features)
        for cells in laid.cells.values():
            whole |= {(tasks[cell.task].name, cell.aoi, laid.features): cell.full for cell in cells if cell.full}
    counts["fits"] = len(fits)
    order = [task.name for task in tasks]
    fits.sort(
        key=lambda fit: (
            order.index(fit.task),
            fit.aoi != ALL,
            fit.aoi,
            names.index(fit.features),
            fit.classifier,
            fit.n,
            fit.seed,
        )
    )
    return fits, whole, counts


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {key.replace('_', ' ')}" for key, number in counts.items() if number) or "no cells"


def _warn(counts: dict[str, int]) -> None:
    left_out = {key: number for key, number in counts.items() if number and key.startswith(("chips_without", "cells_"))}
    left_out.pop("cells_empty", None)
    if left_out:
        log.warning("left out: %s", _told(left_out))


def _warn_of_few(tasks: Sequence[Targets], test: NDArray[np.bool_]) -> None:
    """Warn of classes with so few test chips that one of them moves the score by points."""
    for task in tasks:
        for number, name in enumerate(task.classes):
            held = int(np.count_nonzero(task.values[test] == number))
            if 0 < held < FEW:
                log.warning("%s: only %d test chips are %s; the task's scores hang on them", task.name, held, name)


def _write(
    output: Path,
    found: Embeddings,
    tasks: Sequence[Targets],
    fits: Sequence[Fit],
    found_curves: Sequence[Curve],
    counts: dict[str, int],
    made_from: dict[str, Any],
) -> Outcome:
    """Write the three files: the summary first, as it says whose they are, and the report, that all are there, last."""
    (output / REPORT).unlink(missing_ok=True)
    headline = [curve for curve in found_curves if curve.metric in {metrics.names(k)[0] for k in (0, 2, 3)}]
    places = {curve.aoi for curve in headline}
    pooled = [curve for curve in headline if curve.aoi == ALL or len(places) == 1]
    table = curves.table(pooled)
    answer = report.answer(pooled)
    summary = {
        "made_from": made_from,
        "geoembed_version": __version__,
        "answer": answer,
        "interval": "95 % t-interval of the mean over draws of labels: the uncertainty of which labels are drawn",
        "counts": counts,
        "tasks": {
            task.name: {"target": task.column, "classes": [str(name) for name in task.classes], **task.counts}
            for task in tasks
        },
        "table": table,
        "cells": [curves.to_json(curve) for curve in found_curves],
    }
    atomic.write_json(output / SUMMARY, summary)
    with atomic.replacing(output / RESULTS) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for fit in fits:
            head = (fit.task, fit.aoi, fit.features, fit.classifier, fit.n, fit.seed)
            for metric, value in fit.scores.items():
                rows.writerow((*head, metric, "" if math.isnan(value) else f"{value:.6f}", f"{fit.seconds:.6f}"))
    facts = report.Facts(
        chips={name: int(np.count_nonzero(found.split == name)) for name in ("train", "validation", "test")},
        tasks={task.name: (task.classes, task.counts["chips_labelled"]) for task in tasks},
        counts=counts,
        repeats=made_from["repeats"],
        seed=made_from["seed"],
        embeddings=found.path.name,
        model=str(found.attributes.get("model_sha256", ""))[:12],
    )
    atomic.write_text(output / REPORT, report.html(answer, headline, facts))
    shown: dict[str, int | float] = dict(counts)
    return Outcome((output / REPORT,), shown, table)
