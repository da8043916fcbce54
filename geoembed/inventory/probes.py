"""Inventory of probe folders, fitted probes and report folders."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from geoembed.errors import EmbeddingsError, ProbeError
from geoembed.evaluation import results
from geoembed.fits import embeddings
from geoembed.fits.classifiers import saved
from geoembed.inventory import facts, vectors
from geoembed.inventory.facts import Facts, Rows
from geoembed.outputs import documents
from geoembed.outputs.records import Record
from geoembed.project import kinds
from geoembed.project.kinds import Kind

T = TypeVar("T")

PREDICTIONS, METRICS, FITTED = "predictions.gpkg", "metrics.json", "probe.skops"
REPORT, SUMMARY, RESULTS = "report.html", "summary.json", "results.csv"
BASELINES = "baselines"


AGAIN = "run the command that made it again with --overwrite"


@dataclass(frozen=True)
class _Metrics:
    """What is told of metrics.json; `about` is all of it."""

    scores: dict[str, dict[str, int | float | None]]
    learned_from: dict[str, Any]
    about: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Summary:
    """What is told of summary.json."""

    made_from: Record
    geoembed_version: str
    tasks: dict[str, dict[str, Any]]
    answer: str | None = None
    files: dict[str, str] = field(default_factory=dict)


def of_folder(path: Path, *, verify: bool) -> Facts:
    """Tell of a probe folder; raises ProbeError where metrics.json cannot be read."""
    folder = path if path.is_dir() else path.parent
    metrics = _read(folder / METRICS, _Metrics) if (folder / METRICS).exists() else None
    about, tables = _scores(metrics) if metrics else ({}, {})
    if not kinds.is_finished(folder, Kind.PROBE):
        return Facts("an unfinished probe folder", METRICS, {"next": "the same geoembed probe again", **about}, tables)
    mapped = vectors.of_file(folder / PREDICTIONS, verify=verify)
    keys = ("rows", "crs", "bounds", "area_km2", "columns", "made_by", "options", "inputs")
    about |= {key: mapped.facts[key] for key in keys if mapped.facts.get(key) is not None}
    tables |= mapped.tables
    faults = list(mapped.faults)
    if metrics:
        damaged = documents.damaged(folder, {FITTED: "", **metrics.files})
        faults += [f"{file}: missing or damaged; run the geoembed probe that made the folder again" for file in damaged]
    if (folder / FITTED).exists() and not faults:
        try:
            about |= _of_fitted(folder / FITTED)
        except ProbeError as error:
            faults.append(str(error))
    return Facts(Kind.PROBE.value, "the map, the metrics and the fitted probe", about, tables, tuple(faults))


def of_fitted(path: Path, *, verify: bool) -> Facts:
    """Tell of a fitted probe; raises ProbeError where it cannot be read."""
    return Facts(Kind.FITTED.value, "the whole file", _of_fitted(path))


def of_report(path: Path, *, verify: bool) -> Facts:
    """Tell of a report folder; raises ProbeError where its summary cannot be read."""
    folder = path if path.is_dir() else path.parent
    summary = _read(folder / SUMMARY, _Summary)
    if not kinds.is_finished(folder, Kind.REPORT):
        return Facts("an unfinished report folder", SUMMARY, {"next": "the same geoembed evaluate again"})
    faults = [
        f"{file}: missing or damaged; run the geoembed evaluate that made the folder again"
        for file in documents.damaged(folder, {REPORT: "", RESULTS: "", **summary.files})
    ]
    faults += _of_baselines(folder / BASELINES, verify=verify)
    about: dict[str, Any] = {"answer": summary.answer}
    if not faults:
        table = results.read(folder / RESULTS)
        about |= {"results": len(table), "features": sorted(set(table["features"]))}
    about |= facts.of_record(summary.made_from, summary.geoembed_version)
    tasks = [
        {"task": name, **{key: value for key, value in task.items() if isinstance(value, str | int | float)}}
        for name, task in summary.tasks.items()
    ]
    read = f"the summary, the results, the page and the baselines{'' if verify else ', of which --verify reads all'}"
    return Facts(Kind.REPORT.value, read, about, {"tasks": tasks}, tuple(faults))


def _of_baselines(folder: Path, *, verify: bool) -> Iterator[str]:
    """Yield a line for each baseline in a folder that is damaged."""
    for path in sorted(folder.glob("*.h5")):
        try:
            faults = embeddings.faults(embeddings.read(path), whole=verify)
        except EmbeddingsError as error:
            faults = [str(error)]
        for fault in faults[:1]:
            yield f"{fault.rpartition('; ')[0]}; delete it: the next geoembed evaluate that needs it makes it again"


def _read(path: Path, form: type[T]) -> T:
    """Return a document as an object of a form, of which `about` is all that it says; raises ProbeError."""
    try:
        value = documents.load(path)
        return documents.parsed({**value, "about": value}, form)
    except FileNotFoundError:
        fault = "missing"
    except (OSError, ValueError) as error:
        fault = str(error)
    raise ProbeError(f"{path}: {fault}; {AGAIN}")


def _scores(metrics: _Metrics) -> tuple[dict[str, Any], dict[str, Rows]]:
    """Return what metrics.json says of a probe, and a row of scores for each area."""
    keys = ("task", "target", "classes", "classifier", "features", "decision", "method", "folds", "cautions")
    about = {key: metrics.about[key] for key in keys if metrics.about.get(key)}
    learned = metrics.learned_from
    about |= {"learned_from": learned.get("classes") or learned.get("labels")} if learned else {}
    rows: Rows = [{"area": area, **scores} for area, scores in metrics.scores.items()]
    return about, {"scores": rows} if rows else {}


def _of_fitted(path: Path) -> dict[str, Any]:
    fitted, described, _ = saved.read(path)
    return {
        "task": described.task,
        "classifier": fitted.classifier.name,
        "classes": list(map(str, described.classes)),
        "features": described.features,
        "model": described.model_sha256 and described.model_sha256[:8],
    }
