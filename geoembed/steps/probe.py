"""The step that fits a classical model on few labels and maps every chip with it."""

import logging
from collections import Counter
from collections.abc import Generator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
from numpy.typing import NDArray

from geoembed.errors import ProbeError
from geoembed.fits import assessment, classifiers, maps, scores
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits import features as features_of
from geoembed.fits.assessment import Asked, Assessment
from geoembed.fits.classifiers import saved
from geoembed.fits.classifiers.protocol import BALANCED, LIKELIEST, RULES
from geoembed.fits.classifiers.saved import Described
from geoembed.fits.embeddings import Embeddings
from geoembed.fits.maps import Task
from geoembed.labels import files as label_files
from geoembed.labels import targets as targets_of
from geoembed.labels.files import LabelFile, Reading
from geoembed.labels.targets import Targets
from geoembed.outputs import atomic, documents, geopackage, locks, records, styles
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, Table, verb
from geoembed.settings import PathLike
from geoembed.version import __version__

log = logging.getLogger(__name__)

PREDICTIONS, METRICS, FITTED = "predictions.gpkg", "metrics.json", "probe.skops"
DRAWS = ("random", "stratified")

DECISIONS = {
    LIKELIEST: "the likeliest one",
    BALANCED: "the one that is likeliest relative to its share among the labels",
}
"""How a chip's class is decided, by rule."""

SHOWN = ("learned_from", "decision", "method", "folds", "repetitions", "scores", "spread", "accuracy", "cautions")
"""What of metrics.json `--json` prints."""


@verb
def probe(
    embeddings: PathLike = "embeddings.h5",
    *,
    labels: PathLike | None = None,
    n: int | None = None,
    draw: str = "random",
    hold_out: bool = False,
    decide: str = LIKELIEST,
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

    With `labels`, the map learns from all of them, or from `n` drawn at random or `stratified`, and is scored on labels
    that are held out (see `fits.heldout`): by spatial cross-validation where labels are fewer than 1,000 or were not
    made by `label`, else on the test split. With `hold_out` always on the test split, of which the map then learns
    nothing. `decide` says which class a chip gets: the `likeliest`, or `balanced`, the one that is likeliest relative
    to its share among the labels. `output` is a folder, by default probe/<labels name>.
    With `apply`, a fitted probe's file or folder, nothing is fitted; the folder is by default
    probe/<probe's folder>-<embeddings name>.

    Raises ProbeError, LabelError, EmbeddingsError and StaleError.
    """
    folder = None if output is None else Path(output)
    locks.require_folder(folder or Path("probe"))
    if (labels is None) == (apply is None):
        raise ProbeError("give either --labels to fit a probe or --apply to use one")
    reading = Reading(target, layer, crs, overlap, weight)
    if labels is None:
        assert apply is not None
        given = (n, draw, hold_out, decide, classifier, features, seed)
        if given != (None, "random", False, LIKELIEST, "logistic", "fused", 0) or reading != Reading():
            raise ProbeError("options of fitting cannot change a fitted probe; drop them, or fit with --labels")
        return (yield from _apply(Path(embeddings), Path(apply), folder, update, overwrite))
    options = {
        "n": n, "draw": draw, "hold_out": hold_out, "decide": decide, "classifier": classifier, "features": features,
        "seed": seed,
    }  # fmt: skip
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
    for option, known in (("draw", DRAWS), ("decide", RULES)):
        if options[option] not in known:
            raise ProbeError(f"--{option} {options[option]}: unknown; there are {' and '.join(known)}")
    output = output or Path("probe") / label_file.name.replace(":", "-")
    record = Record(
        "probe",
        inputs={"embeddings": file.digest, "labels": label_file.digest},
        options={"labels": label_file.path.name, "target": label_file.column, **reading.options, **options},
    )
    with locks.hold(output, folder=True):
        if _is_kept(output, record, (METRICS, FITTED), update=update, overwrite=overwrite):
            report = documents.load(output / METRICS)
        else:
            report = yield from _fit_anew(output, file, label_file, record)
        path = output / PREDICTIONS
        try:
            told, counts, tables = {key: report[key] for key in SHOWN}, report["counts"], scores.tables(report)
        except (KeyError, TypeError, ValueError, AttributeError):
            fault = "was edited: it is not what geoembed probe writes"
            raise ProbeError(f"{output / METRICS}: {fault}; make it again with --overwrite") from None
        return Result((path,), counts, tables, told, partial(maps.read, path))


def _fit_anew(
    output: Path, file: Embeddings, label_file: LabelFile, record: Record
) -> Generator[Progress, None, dict[str, Any]]:
    """Fit, score, map and write all files; return what metrics.json says."""
    options = record.options
    features, classifier = options["features"], options["classifier"]
    yield Progress(0, 1, "steps", "reading")
    targets = targets_of.join(label_file, file.chip_id, file.grids)
    X = features_of.read(file, features)
    usable = features_of.usable(file, features)
    scaling = features_of.scaling(X, np.flatnonzero(usable & (file.split == "train")))
    learner = classifiers.named(classifier, len(targets.classes))
    if learner.name != classifier:
        message = "%s: column %s holds numbers, so %s means %s"
        log.warning(message, label_file.path, targets.column, classifier, learner.name)
    asked = Asked(
        options["n"], options["draw"] == "stratified", options["hold_out"], options["decide"], options["seed"]
    )
    Z = features_of.scaled(X, scaling)
    assessed = yield from assessment.assess(
        file, Z, usable, targets, learner, asked, by_hand=not label_file.made_by_label
    )
    report = _report(file, targets, assessed, options, record)
    report["counts"] |= {f"chips_without_{features}": int(np.count_nonzero(~usable))}
    task = Task(targets.name, targets.column, targets.classes)
    geopackage.remove(output / PREDICTIONS)
    documents.write(output / METRICS, report)  # first of all files, as it says whose they are
    arrays = {"mean": scaling.mean, "deviation": scaling.deviation}
    saved.write(output / FITTED, assessed.fitted, _described(file, task, features, asked.rule), arrays)
    documents.write(output / METRICS, report | {"files": documents.of_files(output, (FITTED,))})
    table = maps.build(file, task, assessed.predicted, assessed.decided, usable)
    maps.add_labels(table, targets, assessed.rows)
    maps.write(output / PREDICTIONS, table, task, record)
    _warn_of_missing(features, usable)
    _tell(report, options["n"])
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
    task, features = Task(described.task, described.column, described.classes), described.features
    features_of.require(file, (features,))
    required = _described(file, task, features, described.decide)
    differing = [key for key, value in asdict(required).items() if value != getattr(described, key)]
    X = features_of.read(file, features)
    if X.shape[1] != len(arrays["mean"]):
        differing.append("dimensions")
    if differing:
        raise ProbeError(
            f"{path}: fitted on embeddings of another kind than {embeddings} ({', '.join(differing)} differ);"
            " embed with the same model, or fit a probe on these"
        )
    output = output or Path("probe") / f"{path.resolve().parent.name}-{embeddings.stem}"
    record = Record("probe --apply", {"embeddings": file.digest, "probe": saved.digest(path)}, {})
    with locks.hold(output, folder=True):
        predictions, usable = output / PREDICTIONS, features_of.usable(file, features)
        if not _is_kept(output, record, (), update=update, overwrite=overwrite):
            yield Progress(0, 1, "steps", "mapping")
            scaling = features_of.Scaling(arrays["mean"], arrays["deviation"])
            predicted = model.predict(features_of.scaled(X, scaling))
            geopackage.remove(predictions)
            decided = model.decide(predicted, described.decide) if task.classes else np.empty(0, np.int64)
            maps.write(predictions, maps.build(file, task, predicted, decided, usable), task, record)
            _warn_of_missing(features, usable)
        counts = {"chips": len(file), f"chips_without_{features}": int(np.count_nonzero(~usable))}
        return _applied(predictions, task, described.decide, counts)


def _applied(path: Path, task: Task, rule: str, counts: dict[str, int]) -> Result[geopandas.GeoDataFrame]:
    """Tell how classes were decided on a map, and how many chips got each."""
    result = Result((path,), {**counts}, read=partial(maps.read, path))
    if not task.classes:
        return result
    made = maps.read(path)["prediction"]
    per_class = {str(name): int((made == name).sum()) for name in task.classes}
    log.info("%s: a chip's class is %s", path, DECISIONS[rule])
    table = Table("Chips per class", [("class", "chips"), *((name, f"{n:,}") for name, n in per_class.items())])
    return replace(result, tables=(table,), report={"decision": DECISIONS[rule], "classes": per_class})


def _described(file: Embeddings, task: Task, features: str, rule: str) -> Described:
    """Return what a probe predicts, and what the embeddings that it is used on must have in common with its own."""
    value = {
        "task": task.name,
        "column": task.column,
        "classes": task.classes,
        "features": features,
        "modalities": file.modalities if features == features_of.CONCAT else (),
        "model_sha256": file.attributes.get("model_sha256"),
        "space": file.attributes.get("space"),
        "decide": rule,
    }
    return documents.parsed(value, Described)


@dataclass(frozen=True)
class _Metrics:
    """What decides, of metrics.json, whether a probe is kept."""

    made_from: Record
    files: dict[str, str] = field(default_factory=dict)


def _is_kept(output: Path, record: Record, beside: tuple[str, ...], *, update: bool, overwrite: bool) -> bool:
    """Tell whether a folder holds a finished probe of this record, and renew its time stamps if so.

    Raises StaleError and ProbeError where another, or an edited one, must not be replaced.
    beside: the files in the folder besides the map and its style; metrics.json is written first of all.
    """
    path, metrics = output / PREDICTIONS, output / METRICS if METRICS in beside else None
    mapped, scored = geopackage.record_of(path, maps.LAYER), _metrics(metrics) if metrics else None
    _require_ours(output, mapped, scored, fits=metrics is not None, overwrite=overwrite)
    if mapped and not overwrite:
        maps.read(path)  # an edit is not to be lost
    atomic.sweep(output)
    existing = mapped or (scored.made_from if scored else None)
    finished = mapped is not None and not geopackage.faults(path, whole=True) and maps.is_settled(path)
    if metrics is not None:
        files = {name: "" for name in beside if name != METRICS} | (scored.files if scored else {})
        finished &= scored is not None and scored.made_from == mapped and not documents.damaged(output, files)
    standing = records.settle(path, record, existing, finished=finished, update=update, overwrite=overwrite)
    if standing is not Standing.KEPT:
        if standing is Standing.BEGUN:
            log.warning("%s: not finished, or one of its files is missing or damaged; all are made again", output)
        geopackage.require_closed(path)
        return False
    atomic.touch(*(output / name for name in (*beside, styles.beside(path).name, PREDICTIONS)))
    return True


def _metrics(path: Path) -> _Metrics | None:
    try:
        return documents.read(path, _Metrics, ProbeError, "")
    except ProbeError:
        return None


def _require_ours(output: Path, mapped: Record | None, scored: _Metrics | None, *, fits: bool, overwrite: bool) -> None:
    """Raise StaleError where a file in the folder is not geoembed's, or is damaged and there is no `overwrite`."""
    path, metrics, fitted = output / PREDICTIONS, output / METRICS, output / FITTED
    if not mapped:
        records.require_ours(path, geopackage.is_ours, overwrite=overwrite)
    if not fits:
        return
    if not scored:
        records.require_ours(metrics, documents.is_ours, overwrite=overwrite or mapped is not None)
    if not (mapped or scored or metrics.exists() or path.exists()):
        records.require_ours(fitted, saved.is_ours, overwrite=overwrite)
        if not fitted.exists():
            records.require_free(output, (styles.beside(path).name,))


def _report(
    file: Embeddings, targets: Targets, assessed: Assessment, options: dict[str, Any], record: Record
) -> dict[str, Any]:
    """Return what metrics.json says: what the map learned from, how it decides, how it was scored, and its scores."""
    rows = assessed.rows
    per_class: dict[str, int] = {}
    if targets.classes:
        drawn = np.bincount(targets.values[rows].astype(int), minlength=len(targets.classes))
        per_class = dict(zip(map(str, targets.classes), drawn.tolist(), strict=True))
    splits = Counter(file.split[rows].tolist())
    counts = {**targets.counts, "labels_drawn": len(rows), "chips": len(file)}
    return {
        "geoembed_version": __version__,
        **options,
        "task": targets.name,
        "target": targets.column,
        "classes": list(map(str, targets.classes)),
        "counts": counts,
        "learned_from": {"labels": len(rows), "splits": dict(splits), "classes": per_class},
        "decision": DECISIONS[options["decide"]] if targets.classes else None,
        "penalty": None if np.isnan(assessed.fitted.penalty) else assessed.fitted.penalty,
        "transductive": file.transductive,
        **scores.to_json(assessed, file.aoi),
        "made_from": record.to_json(),
    }


def _tell(report: dict[str, Any], n: int | None) -> None:
    """Say what the map learned from, how it was scored, and what makes the scores uncertain."""
    learned = report["learned_from"]["labels"]
    if n is not None and learned < n:
        message = "%s: there are %s labels to draw from, fewer than %s; all are used"
        log.warning(message, report["task"], f"{learned:,}", f"{n:,}")
    labels = report["scores"]["all"]["labels"]
    how = f"on {labels:,} labels of the test split, by a fit that has not seen them"
    if report["folds"] > 1:
        repeated = f", repeated {report['repetitions']} times" if report["repetitions"] > 1 else ""
        how = f"by {report['method']}: {labels:,} labels in {report['folds']} folds{repeated}"
    log.info("%s: the map learned from %s labels; scores are %s", report["task"], f"{learned:,}", how)
    if report["decision"]:
        log.info("%s: a chip's class is %s", report["task"], report["decision"])
    for caution in report["cautions"]:
        log.warning("%s: %s", report["task"], caution)


def _warn_of_missing(features: str, usable: NDArray[np.bool_]) -> None:
    if not usable.all():
        log.warning("%s chips have no %s and get no prediction", f"{np.count_nonzero(~usable):,}", features)
