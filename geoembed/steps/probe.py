"""The step that fits a classical model on few labels and maps every chip with it."""

import json
import logging
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
from numpy.typing import NDArray

from geoembed.errors import ProbeError
from geoembed.fits import classifiers, draws, maps, metrics
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits import features as features_of
from geoembed.fits.classifiers import saved
from geoembed.fits.classifiers.protocol import Fitted
from geoembed.fits.embeddings import Embeddings
from geoembed.fits.maps import Task
from geoembed.labels import files as label_files
from geoembed.labels import targets as targets_of
from geoembed.labels.files import LabelFile, Reading
from geoembed.labels.targets import Targets
from geoembed.outputs import atomic, digests, geopackage, locks, records, styles
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, Table, verb
from geoembed.settings import PathLike

log = logging.getLogger(__name__)

PREDICTIONS, METRICS, FITTED = "predictions.gpkg", "metrics.json", "probe.skops"
DRAWS = ("random", "stratified")


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
    layer: str | None = None,
    crs: str | None = None,
    overlap: float | str | None = None,
    weight: str | None = None,
    apply: PathLike | None = None,
    seed: int = 0,
    output: PathLike | None = None,
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Fit a classifier on few labels and map every chip with it, or map with a fitted probe; the result is the map.

    With `labels`, the probe is fitted on `n` of them drawn from the train split (random or stratified; all for None)
    and scored on the test split. `output` is a folder, by default probe/<labels name>.
    With `apply`, a fitted probe's file or folder, nothing is fitted; the folder is probe/<task>-<embeddings name>.

    Raises ProbeError, LabelError, EmbeddingsError and StaleError.
    """
    folder = None if output is None else Path(output)
    locks.require_folder(folder or Path("probe"))
    if (labels is None) == (apply is None):
        raise ProbeError("give either --labels to fit a probe or --apply to use one")
    reading = Reading(target, layer, crs, overlap, weight)
    if labels is None:
        assert apply is not None
        fitting = (n, draw, classifier, features, seed) != (None, "random", "logistic", "fused", 0)
        if fitting or reading != Reading():
            raise ProbeError("options of fitting cannot change a fitted probe; drop them, or fit with --labels")
        return (yield from _apply(Path(embeddings), Path(apply), folder, update, overwrite))
    options = {"n": n, "draw": draw, "classifier": classifier, "features": features, "seed": seed}
    return (yield from _fit(Path(embeddings), Path(labels), reading, folder, options, update, overwrite))


def _fit(
    embeddings: Path,
    labels: Path,
    reading: Reading,
    output: Path | None,
    options: dict[str, Any],
    update: bool,
    overwrite: bool,
) -> Steps[geopandas.GeoDataFrame]:
    """Fit, score and map, unless that is kept."""
    file, label_file = embeddings_file.read(embeddings), label_files.read(labels, reading)
    features_of.require(file, (options["features"],))
    classifiers.require((options["classifier"],))
    if options["draw"] not in DRAWS:
        raise ProbeError(f"--draw {options['draw']}: unknown; there are {' and '.join(DRAWS)}")
    output = output or Path("probe") / label_file.name.replace(":", "-")
    record = Record(
        "probe",
        inputs={"embeddings": file.digest, "labels": label_file.digest},
        options={"labels": label_file.path.name, "target": label_file.column, **reading.options, **options},
    )
    with locks.hold(output, folder=True):
        if _is_kept(output, record, (METRICS, FITTED), update=update, overwrite=overwrite):
            report = json.loads((output / METRICS).read_text(encoding="utf-8"))
        else:
            report = yield from _fit_anew(output, file, label_file, record)
        path = output / PREDICTIONS
        return Result((path,), report["counts"], (Table("Test scores", _rows(report)),), read=partial(maps.read, path))


def _fit_anew(
    output: Path, file: Embeddings, label_file: LabelFile, record: Record
) -> Generator[Progress, None, dict[str, Any]]:
    """Fit, score, map and write all files; return what metrics.json says."""
    options = record.options
    features, classifier = options["features"], options["classifier"]
    yield Progress(0, 3, "steps", "reading")
    targets = targets_of.join(label_file, file.chip_id, file.grids)
    X = features_of.read(file, features)
    usable = features_of.usable(file, features)
    scaling = features_of.scaling(X, np.flatnonzero(usable & (file.split == "train")))
    Z = features_of.scaled(X, scaling)
    yield Progress(1, 3, "steps", "fitting")
    rows = _draw(file, targets, usable, options, label_file.path)
    learner = classifiers.named(classifier, len(targets.classes))
    if learner.name != classifier:
        message = "%s: column %s holds numbers, so %s means %s"
        log.warning(message, label_file.path, targets.column, classifier, learner.name)
    fitted = learner.fit(Z[rows], targets.values[rows], len(targets.classes), options["seed"])
    predicted = fitted.predict(Z)
    yield Progress(2, 3, "steps", "mapping")
    missing = {f"chips_without_{features}": int(np.count_nonzero(~usable))}
    counts = {**targets.counts, "labels_drawn": len(rows), "chips": len(file), **missing}
    report = {**options, "counts": counts, "made_from": record.to_json()}
    report |= _report(file, targets, fitted, predicted, usable, rows)
    task = Task(targets.name, targets.column, targets.classes)
    (output / PREDICTIONS).unlink(missing_ok=True)
    atomic.write_json(output / METRICS, report)  # first of all files, as it says whose they are
    arrays = {"mean": scaling.mean, "deviation": scaling.deviation}
    saved.write(output / FITTED, fitted, _described(file, task, features), arrays)
    table = maps.build(file, task, fitted, predicted, usable)
    maps.add_labels(table, targets, rows)
    maps.write(output / PREDICTIONS, table, task, record)
    _warn_of_missing(features, usable)
    return report


def _apply(
    embeddings: Path, fitted: Path, output: Path | None, update: bool, overwrite: bool
) -> Steps[geopandas.GeoDataFrame]:
    """Map every chip of an embeddings file with a fitted probe, unless that is kept.

    Raises ProbeError where the probe was fitted on embeddings of another model or space.
    """
    path = fitted / FITTED if fitted.is_dir() else fitted
    file = embeddings_file.read(embeddings)
    model, described, arrays = saved.read(path)
    task = Task(described["task"], described["column"], tuple(described["classes"]))
    features = described["features"]
    features_of.require(file, (features,))
    required = _described(file, task, features)
    differing = [key for key in required if required[key] != described.get(key)]
    if differing:
        raise ProbeError(
            f"{path}: fitted on embeddings of another kind than {embeddings} ({', '.join(differing)} differ);"
            " embed with the same model, or fit a probe on these"
        )
    output = output or Path("probe") / f"{task.name.replace(':', '-')}-{embeddings.stem}"
    record = Record("probe --apply", {"embeddings": file.digest, "probe": digests.of_bytes(path)}, {})
    with locks.hold(output, folder=True):
        predictions, counts = output / PREDICTIONS, {"chips": len(file)}
        if not _is_kept(output, record, (), update=update, overwrite=overwrite):
            yield Progress(0, 1, "steps", "mapping")
            usable = features_of.usable(file, features)
            scaling = features_of.Scaling(arrays["mean"], arrays["deviation"])
            predicted = model.predict(features_of.scaled(features_of.read(file, features), scaling))
            predictions.unlink(missing_ok=True)
            maps.write(predictions, maps.build(file, task, model, predicted, usable), task, record)
            counts[f"chips_without_{features}"] = int(np.count_nonzero(~usable))
            _warn_of_missing(features, usable)
        return Result((predictions,), {**counts}, read=partial(maps.read, predictions))


def _described(file: Embeddings, task: Task, features: str) -> dict[str, Any]:
    """Return what a probe predicts, and what the embeddings that it is used on must have in common with its own."""
    return {
        "task": task.name,
        "column": task.column,
        "classes": list(task.classes),
        "features": features,
        "modalities": list(file.modalities) if features == features_of.CONCAT else [],
        "model_sha256": file.attributes.get("model_sha256"),
        "space": file.attributes.get("space"),
    }


def _is_kept(output: Path, record: Record, beside: tuple[str, ...], *, update: bool, overwrite: bool) -> bool:
    """Tell whether a folder holds a finished probe of this record, and renew its time stamps if so.

    Raises StaleError where another must not be replaced.
    beside: the files in the folder besides the map and its style; metrics.json is written first of all.
    """
    path = output / PREDICTIONS
    mapped, scored = geopackage.record_of(path, maps.LAYER), records.read_json(output / METRICS)
    strangers = [] if mapped else [PREDICTIONS]
    if METRICS in beside and not scored:
        strangers += [METRICS] if mapped else [METRICS, FITTED, styles.beside(path).name]
    records.require_free(output, strangers)
    atomic.sweep(output)
    names = (*beside, styles.beside(path).name, PREDICTIONS)
    finished = all((output / name).exists() for name in names)
    existing = mapped or (scored if METRICS in beside else None)
    standing = records.settle(path, record, existing, finished=finished, update=update, overwrite=overwrite)
    if standing is not Standing.KEPT:
        return False
    atomic.touch(*(output / name for name in names))
    return True


def _draw(
    file: Embeddings, targets: Targets, usable: NDArray[np.bool_], options: dict[str, Any], path: Path
) -> NDArray[np.int64]:
    """Return the rows of the labels drawn from the train split; raises ProbeError where they are too few."""
    n, pool = options["n"], np.flatnonzero(usable & targets.known & (file.split == "train"))
    values = targets.values[pool]
    distinct = np.unique(values)
    if len(distinct) < 2:
        content = f"only {targets.classes[int(distinct[0])]!r}" if targets.classes and len(distinct) else "no variation"
        fault = f"{len(pool)} labels in the train split, with {content}"
        raise ProbeError(f"{path}: {fault}; add labels of another class there")
    least = draws.smallest(values, numeric=targets.numeric)
    if n is not None and n < least:
        raise ProbeError(f"--n {n}: too few for two labels of each of {len(distinct)} classes; give at least {least}")
    if n is not None and n > len(pool):
        log.warning("%s: the train split has %s labels, fewer than %s; all are used", path, f"{len(pool):,}", f"{n:,}")
    keys = draws.keys(file.chip_id[pool])
    stratified = options["draw"] == "stratified"
    order = draws.order(keys, values, numeric=targets.numeric, seed=options["seed"], stratified=stratified)
    return pool[order[:n]]


def _report(
    file: Embeddings,
    targets: Targets,
    fitted: Fitted,
    predicted: NDArray[np.float64],
    usable: NDArray[np.bool_],
    rows: NDArray[np.int64],
) -> dict[str, Any]:
    """Return what was fitted, and its scores on the test split, over all areas and per area."""
    test = usable & targets.known & (file.split == "test")
    chips_of = {"all": test} | {str(aoi): test & (file.aoi == aoi) for aoi in np.unique(file.aoi)}
    scores = {}
    for area, chips in chips_of.items():
        decided = fitted.decide(predicted[chips]) if fitted.classes else np.empty(0, np.int64)
        figures = metrics.score(targets.values[chips], predicted[chips], decided, fitted.classes)
        rounded = {name: None if np.isnan(value) else round(value, 6) for name, value in figures.items()}
        scores[area] = {"chips": int(chips.sum()), **rounded}
    if scores["all"][metrics.names(fitted.classes)[0]] is None:
        log.warning("%s: the test split lacks a class or has no labels, so the probe is not scored", targets.name)
    if file.transductive:
        log.warning("%s: the model learned from the chips of all splits, test chips among them", file.path)
    labels_drawn: dict[str, int] | int = len(rows)
    if targets.classes:
        drawn = np.bincount(targets.values[rows].astype(int), minlength=len(targets.classes))
        labels_drawn = dict(zip(map(str, targets.classes), drawn.tolist(), strict=True))
    return {
        "task": targets.name,
        "target": targets.column,
        "positive": str(targets.classes[1]) if len(targets.classes) == 2 else None,
        "labels_drawn": labels_drawn,
        "decision": "the class whose probability is highest relative to its share among the labels drawn",
        "penalty": None if np.isnan(fitted.penalty) else fitted.penalty,
        "transductive": file.transductive,
        "test": scores,
    }


def _warn_of_missing(features: str, usable: NDArray[np.bool_]) -> None:
    if not usable.all():
        log.warning("%s chips have no %s and get no prediction", f"{np.count_nonzero(~usable):,}", features)


def _rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the test scores: a row per AOI, a column per metric; the head first."""
    names = [name for name in report["test"]["all"] if name != "chips"]
    rows: list[tuple[str, ...]] = [("test AOI", "chips", *(name.replace("_", " ") for name in names))]
    for area, scores in report["test"].items():
        figures = ("" if scores[name] is None else format(scores[name], ".3f") for name in names)
        rows.append((area, f"{scores['chips']:,}", *figures))
    return rows
