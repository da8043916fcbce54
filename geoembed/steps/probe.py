"""The step that fits a classical model on few labels and maps every chip with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
from numpy.typing import NDArray

from geoembed.errors import ProbeError
from geoembed.fits import classifiers, draws, metrics
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits import features as features_of
from geoembed.fits.classifiers import saved
from geoembed.fits.classifiers.protocol import Fitted
from geoembed.fits.embeddings import Embeddings
from geoembed.ground import grid
from geoembed.labels import files as label_files
from geoembed.labels import targets as targets_of
from geoembed.labels.files import LabelFile
from geoembed.labels.targets import Targets
from geoembed.outputs import atomic, digests, geopackage, locks, records, styles
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike

log = logging.getLogger(__name__)

PREDICTIONS, METRICS, FITTED, LAYER = "predictions.gpkg", "metrics.json", "probe.skops", "predictions"
DRAWS = ("random", "stratified")


@dataclass(frozen=True)
class Task:
    """What a probe predicts.

    name: what the task is called.
    column: the target column of its labels.
    classes: in order; none for numbers.
    """

    name: str
    column: str
    classes: tuple[Any, ...]


@verb
def probe(
    embeddings: PathLike = "embeddings.h5",
    *,
    labels: PathLike | None = None,
    n: int | None = None,
    draw: str = "random",
    classifier: str = "logistic",
    features: str = "fused",
    target: str | None = None,
    apply: PathLike | None = None,
    seed: int = 0,
    output: PathLike | None = None,
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Fit a classifier on few labels and map every chip with it, or map with a probe fitted before; return the map.

    With `labels` it is fitted on `n` of them drawn from the train split (random or stratified; all where `n` is None),
    scored on the test split, and written to a folder, by default probe/<labels name>, with metrics.json and a style.
    With `apply`, a fitted probe's file or folder, nothing is fitted, and the folder is probe/<task>-<embeddings name>.

    Raises ProbeError, LabelError, EmbeddingsError and StaleError.
    """
    folder = None if output is None else Path(output)
    locks.require_folder(folder or Path("probe"))
    if (labels is None) == (apply is None):
        raise ProbeError("give either --labels to fit a probe or --apply to use one")
    if labels is None:
        assert apply is not None
        if (n, draw, classifier, features, target, seed) != (None, "random", "logistic", "fused", None, 0):
            raise ProbeError("options of fitting cannot change a fitted probe; drop them, or fit with --labels")
        return (yield from _apply(Path(embeddings), Path(apply), folder, update, overwrite))
    options = {"n": n, "draw": draw, "classifier": classifier, "features": features, "seed": seed}
    return (yield from _fit(Path(embeddings), Path(labels), target, folder, options, update, overwrite))


def _fit(
    embeddings: Path,
    labels: Path,
    target: str | None,
    output: Path | None,
    options: dict[str, Any],
    update: bool,
    overwrite: bool,
) -> Steps[geopandas.GeoDataFrame]:
    """Fit, score and map, unless that is kept."""
    found, label_file = embeddings_file.read(embeddings), label_files.read(labels, target)
    features_of.require(found, (options["features"],))
    classifiers.require((options["classifier"],))
    if options["draw"] not in DRAWS:
        raise ProbeError(f"--draw {options['draw']}: unknown; there are {' and '.join(DRAWS)}")
    output = output or Path("probe") / label_file.name.replace(":", "-")
    record = Record(
        "probe",
        inputs={"embeddings": found.digest, "labels": label_file.digest},
        options={"labels": labels.name, "target": label_file.column, **options},
    )
    map_file = partial(_read_map, output / PREDICTIONS)
    with locks.hold(output, folder=True):
        if _is_kept(output, record, (METRICS, FITTED), update=update, overwrite=overwrite):
            report = json.loads((output / METRICS).read_text(encoding="utf-8"))
            return Result((output / PREDICTIONS,), report["counts"], _table(report), map_file)
        report = yield from _fit_anew(output, found, label_file, record)
        return Result((output / PREDICTIONS,), report["counts"], _table(report), map_file)


def _fit_anew(
    output: Path, found: Embeddings, label_file: LabelFile, record: Record
) -> Generator[Progress, None, dict[str, Any]]:
    """Fit, score, map and write all files; return what metrics.json says."""
    options = record.options
    features, classifier = options["features"], options["classifier"]
    yield Progress(0, 3, "steps", "reading")
    targets = targets_of.join(label_file, found.chip_id, found.grids)
    X = features_of.read(found, features)
    usable = features_of.usable(found, features)
    scaling = features_of.scaling(X, np.flatnonzero(usable & (found.split == "train")))
    Z = features_of.scaled(X, scaling)
    yield Progress(1, 3, "steps", "fitting")
    rows = _draw(found, targets, usable, options["n"], options["draw"], options["seed"], label_file.path)
    learner = classifiers.named(classifier, len(targets.classes))
    if learner.name != classifier:
        message = "%s: column %s holds numbers, so %s means %s"
        log.warning(message, label_file.path, targets.column, classifier, learner.name)
    fitted = learner.fit(Z[rows], targets.values[rows], len(targets.classes), options["seed"])
    predicted = fitted.predict(Z)
    yield Progress(2, 3, "steps", "mapping")
    counts: dict[str, int | float] = {
        **targets.counts,
        "labels_drawn": len(rows),
        "chips": len(found),
        f"chips_without_{features}": int(np.count_nonzero(~usable)),
    }
    head = {**options, "counts": counts, "made_from": record.to_json()}
    report = _report(found, targets, fitted, predicted, usable, rows, head)
    task = Task(targets.name, targets.column, targets.classes)
    described = _described(found, task, features)
    arrays = {"mean": scaling.mean, "deviation": scaling.deviation}
    (output / PREDICTIONS).unlink(missing_ok=True)
    atomic.write_json(output / METRICS, report)  # first, as it says whose the files are
    saved.write(output / FITTED, fitted, described, arrays)
    table = _map(found, task, fitted, predicted, usable)
    _add_labels(table, targets, rows)
    _write_map(output, table, task, record)
    _warn_missing(features, counts[f"chips_without_{features}"])
    return report


def _apply(
    embeddings: Path, fitted: Path, output: Path | None, update: bool, overwrite: bool
) -> Steps[geopandas.GeoDataFrame]:
    """Map every chip of an embeddings file with a probe fitted before, unless that is kept.

    Raises ProbeError when the probe was fitted on embeddings of another model or space.
    """
    path = fitted / FITTED if fitted.is_dir() else fitted
    found = embeddings_file.read(embeddings)
    model, described, arrays = saved.read(path)
    task = Task(described["task"], described["column"], tuple(described["classes"]))
    features = described["features"]
    features_of.require(found, (features,))
    fits = _described(found, task, features)
    differing = [key for key in fits if fits[key] != described.get(key)]
    if differing:
        raise ProbeError(
            f"{path}: fitted on embeddings of another kind than {embeddings} ({', '.join(differing)} differ);"
            " embed with the same model, or fit a probe on these"
        )
    output = output or Path("probe") / f"{task.name.replace(':', '-')}-{embeddings.stem}"
    record = Record("probe --apply", {"embeddings": found.digest, "probe": digests.of_bytes(path)}, {})
    map_file = partial(_read_map, output / PREDICTIONS)
    with locks.hold(output, folder=True):
        if _is_kept(output, record, (), update=update, overwrite=overwrite):
            return Result((output / PREDICTIONS,), {"chips": len(found)}, read=map_file)
        yield Progress(0, 1, "steps", "mapping")
        X = features_of.read(found, features)
        usable = features_of.usable(found, features)
        scaling = features_of.Scaling(arrays["mean"], arrays["deviation"])
        predicted = model.predict(features_of.scaled(X, scaling))
        table = _map(found, task, model, predicted, usable)
        (output / PREDICTIONS).unlink(missing_ok=True)
        _write_map(output, table, task, record)
        missing = int(np.count_nonzero(~usable))
        _warn_missing(features, missing)
        counts: dict[str, int | float] = {"chips": len(found), f"chips_without_{features}": missing}
        return Result((output / PREDICTIONS,), counts, read=map_file)


def _read_map(path: Path) -> geopandas.GeoDataFrame:
    return pyogrio.read_dataframe(path, layer=LAYER)


def _described(found: Embeddings, task: Task, features_name: str) -> dict[str, Any]:
    """Return what a probe and the embeddings it is used on must have in common, and what it predicts."""
    return {
        "task": task.name,
        "column": task.column,
        "classes": list(task.classes),
        "features": features_name,
        "modalities": list(found.modalities) if features_name == features_of.CONCAT else [],
        "model_sha256": found.attributes.get("model_sha256"),
        "space": found.attributes.get("space"),
    }


def _is_kept(output: Path, record: Record, beside: tuple[str, ...], *, update: bool, overwrite: bool) -> bool:
    """Tell whether a folder holds what is wanted, and renew its time stamps; raise where it must not be replaced.

    beside: the files that lie there besides the map and its style; metrics.json is written first of all.
    """
    path = output / PREDICTIONS
    mapped, scored = geopackage.record_of(path, LAYER), records.read_json(output / METRICS)
    strangers = [] if mapped else [PREDICTIONS]
    if METRICS in beside and not scored:
        strangers += [METRICS] if mapped else [METRICS, FITTED, styles.beside(path).name]
    records.require_free(output, strangers)
    atomic.sweep(output)
    names = (*beside, styles.beside(path).name, PREDICTIONS)
    finished = all((output / name).exists() for name in names)
    found = mapped or (scored if METRICS in beside else None)
    standing = records.settle(path, record, found, finished=finished, update=update, overwrite=overwrite)
    if standing is not Standing.KEPT:
        return False
    atomic.touch(*(output / name for name in names))
    return True


def _draw(
    found: Embeddings, targets: Targets, usable: NDArray[np.bool_], n: int | None, draw: str, seed: int, path: Path
) -> NDArray[np.int64]:
    """Return the rows of the labels drawn from the train split."""
    pool = np.flatnonzero(usable & targets.known & (found.split == "train"))
    values = targets.values[pool]
    there = np.unique(values)
    if len(there) < 2:
        what = f"only {targets.classes[int(there[0])]!r}" if targets.classes and len(there) else "no variation"
        raise ProbeError(
            f"{path}: {len(pool)} labels in the train split, with {what}; add labels of another class there"
        )
    least = draws.smallest(values, numeric=targets.numeric)
    if n is not None and n < least:
        raise ProbeError(f"--n {n}: too few for two labels of each of {len(there)} classes; give at least {least}")
    if n is not None and n > len(pool):
        log.warning("%s: the train split has %s labels, fewer than %s; all are used", path, f"{len(pool):,}", f"{n:,}")
    keys = draws.keys(found.chip_id[pool])
    order = draws.order(keys, values, numeric=targets.numeric, seed=seed, stratified=draw == "stratified")
    return pool[order[:n]]


def _report(
    found: Embeddings,
    targets: Targets,
    fitted: Fitted,
    predicted: NDArray[np.float64],
    usable: NDArray[np.bool_],
    rows: NDArray[np.int64],
    head: dict[str, Any],
) -> dict[str, Any]:
    """Return what metrics.json says: what was fitted, and its scores on the test split, pooled and per AOI."""
    test = usable & targets.known & (found.split == "test")
    places = {"all": test} | {str(aoi): test & (found.aoi == aoi) for aoi in np.unique(found.aoi)}
    scores = {}
    for name, chips in places.items():
        decided = fitted.decide(predicted[chips]) if fitted.classes else np.empty(0, np.int64)
        found_here = metrics.score(targets.values[chips], predicted[chips], decided, fitted.classes)
        scores[name] = {"chips": int(chips.sum())} | {
            key: None if np.isnan(value) else round(value, 6) for key, value in found_here.items()
        }
    if scores["all"][metrics.names(fitted.classes)[0]] is None:
        log.warning("%s: the test split lacks a class or has no labels, so the probe is not scored", targets.name)
    if found.transductive:
        log.warning("%s: the model learned from the chips of all splits, test chips among them", found.path)
    classes = {}
    if targets.classes:
        drawn = np.bincount(targets.values[rows].astype(int), minlength=len(targets.classes))
        classes = {str(one): int(count) for one, count in zip(targets.classes, drawn, strict=True)}
    return {
        **head,
        "task": targets.name,
        "target": targets.column,
        "positive": str(targets.classes[1]) if len(targets.classes) == 2 else None,
        "labels_drawn": classes or len(rows),
        "decision": "the class whose probability is highest relative to its share among the labels drawn",
        "penalty": None if np.isnan(fitted.penalty) else fitted.penalty,
        "transductive": found.transductive,
        "test": scores,
    }


def _map(
    found: Embeddings, task: Task, fitted: Fitted, predicted: NDArray[np.float64], usable: NDArray[np.bool_]
) -> geopandas.GeoDataFrame:
    """Return a row per chip; NULL predictions where a chip lacks the features."""
    outlines = grid.cells(found.grids, found.chip_id).outlines
    columns: dict[str, Any] = {"chip_id": found.chip_id, "aoi": found.aoi, "split": found.split}
    if task.classes:
        decided = fitted.decide(predicted)
        columns["prediction"] = _class_column(task, np.where(usable, decided, np.nan))
        shown = predicted[:, 1] if len(task.classes) == 2 else predicted[np.arange(len(found)), decided]
        columns["probability"] = pd.array(np.where(usable, shown.round(6), np.nan), dtype="Float64")
        if len(task.classes) > 2:
            for k, name in enumerate(_probability_columns(task.classes)):
                columns[name] = pd.array(np.where(usable, predicted[:, k].round(6), np.nan), dtype="Float64")
    else:
        columns["prediction"] = pd.array(np.where(usable, predicted, np.nan), dtype="Float64")
    return geopandas.GeoDataFrame(columns, geometry=outlines, crs="EPSG:4326")


def _probability_columns(classes: tuple[Any, ...]) -> list[str]:
    """Return a column name per class; a GeoPackage does not tell Water from water, so the second gets a number."""
    found: list[str] = []
    for one in classes:
        name, number = f"p_{one}", 1
        while name.casefold() in map(str.casefold, found):
            number += 1
            name = f"p_{one}_{number}"
        found.append(name)
    return found


def _class_column(task: Task, positions: NDArray[np.float64]) -> Any:
    """Return classes by position, NULL where NaN; true and false are written as 1 and 0."""
    names = list(task.classes)
    if isinstance(names[0], str):
        return np.array([None if np.isnan(at) else names[int(at)] for at in positions], dtype=object)
    return pd.array([pd.NA if np.isnan(at) else int(names[int(at)]) for at in positions], dtype="Int64")


def _add_labels(table: geopandas.GeoDataFrame, targets: Targets, rows: NDArray[np.int64]) -> None:
    """Add the labels (NULL where a chip has none) and which of them were drawn."""
    drawn = np.zeros(len(table), dtype=np.int32)
    drawn[rows] = 1
    if targets.classes:
        known = _class_column(Task(targets.name, targets.column, targets.classes), targets.values)
    else:
        known = pd.array(targets.values, dtype="Float64")
    table.insert(3, "label" if targets.classes else "value", known)
    table.insert(4, "drawn", drawn)


def _write_map(output: Path, table: geopandas.GeoDataFrame, task: Task, record: Record) -> None:
    """Write the style, then the map: its presence means that the folder is complete."""
    path = output / PREDICTIONS
    if not task.classes:
        style = styles.graduated("prediction", float(table["prediction"].min()), float(table["prediction"].max()))
    elif [str(int(one)) if not isinstance(one, str) else one for one in task.classes] == ["0", "1"]:
        style = styles.two_classes("prediction", task.name)
    else:
        written = [one if isinstance(one, str) else str(int(one)) for one in task.classes]
        colours = [styles.PALETTE[i % len(styles.PALETTE)] for i in range(len(written))]
        style = styles.categorised(
            "prediction", [styles.Category(one, one, colour) for one, colour in zip(written, colours, strict=True)]
        )
    styles.write(path, style)
    geopackage.write(path, LAYER, table, record)


def _warn_missing(name: str, missing: float) -> None:
    if missing:
        log.warning("%s chips have no %s and get no prediction", f"{missing:,.0f}", name)


def _table(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the test scores: a row per AOI, a column per metric; the head first."""
    metrics_there = [key for key in next(iter(report["test"].values())) if key != "chips"]
    rows: list[tuple[str, ...]] = [("test AOI", "chips", *(key.replace("_", " ") for key in metrics_there))]
    for area, scores in report["test"].items():
        shown = ("" if scores[key] is None else format(scores[key], ".3f") for key in metrics_there)
        rows.append((area, f"{scores['chips']:,}", *shown))
    return rows
