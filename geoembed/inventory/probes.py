"""Inventory of probe folders, fitted probes and report folders."""

import json
from pathlib import Path
from typing import Any

from geoembed.errors import ProbeError
from geoembed.evaluation import results
from geoembed.fits.classifiers import saved
from geoembed.inventory import facts, vectors
from geoembed.inventory.facts import Facts, Rows
from geoembed.outputs.records import Record
from geoembed.project import kinds
from geoembed.project.kinds import Kind

PREDICTIONS, METRICS, FITTED = "predictions.gpkg", "metrics.json", "probe.skops"
REPORT, SUMMARY, RESULTS = "report.html", "summary.json", "results.csv"


def of_folder(path: Path, *, verify: bool) -> Facts:
    """Tell of a probe folder; raises ProbeError where metrics.json cannot be read."""
    folder = path if path.is_dir() else path.parent
    metrics = _json(folder / METRICS) if (folder / METRICS).exists() else {}
    about, tables = _scores(metrics)
    if not kinds.is_finished(folder, Kind.PROBE):
        return Facts("an unfinished probe folder", METRICS, {"next": "the same geoembed probe again", **about}, tables)
    mapped = vectors.of_file(folder / PREDICTIONS, verify=verify)
    keys = ("rows", "crs", "bounds", "area_km2", "columns", "made_by", "options", "inputs")
    about |= {key: mapped.facts[key] for key in keys if mapped.facts.get(key) is not None}
    tables |= mapped.tables
    faults = list(mapped.faults)
    if metrics and not (folder / FITTED).exists():
        faults.append(f"{folder / FITTED}: missing; run the geoembed probe that made the folder again")
    elif (folder / FITTED).exists():
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
    summary = _json(folder / SUMMARY)
    if not kinds.is_finished(folder, Kind.REPORT):
        return Facts("an unfinished report folder", SUMMARY, {"next": "the same geoembed evaluate again"})
    faults = [
        f"{folder / name}: missing or empty; run the geoembed evaluate that made the folder again"
        for name in (REPORT, RESULTS)
        if not (folder / name).exists() or not (folder / name).stat().st_size
    ]
    about: dict[str, Any] = {"answer": summary.get("answer")}
    if (folder / RESULTS).exists():
        try:
            table = results.read(folder / RESULTS)
            about |= {"results": len(table), "features": sorted(set(map(str, table["features"])))}
        except (ValueError, KeyError) as error:
            fault = f"cannot be read ({str(error).splitlines()[0]})"
            faults.append(f"{folder / RESULTS}: {fault}; delete it and run the geoembed evaluate that made it again")
    about |= facts.of_record(Record.from_json(summary.get("made_from")), summary.get("geoembed_version"))
    tasks = [
        {"task": name, **{key: value for key, value in task.items() if isinstance(value, str | int | float)}}
        for name, task in summary.get("tasks", {}).items()
    ]
    return Facts(Kind.REPORT.value, "the summary, the results and the page", about, {"tasks": tasks}, tuple(faults))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fault = f"cannot be read ({str(error).splitlines()[0]})"
        raise ProbeError(f"{path}: {fault}; delete it and run the command that made it again") from None
    if not isinstance(value, dict):
        raise ProbeError(f"{path}: holds no object; delete it and run the command that made it again")
    return value


def _scores(metrics: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Rows]]:
    """Return what metrics.json says of a probe, and a row of scores for each area."""
    keys = ("task", "target", "classes", "classifier", "features", "decision", "method", "folds", "cautions")
    about = {key: metrics[key] for key in keys if metrics.get(key)}
    learned = metrics.get("learned_from", {})
    about |= {"learned_from": learned.get("classes") or learned.get("labels")} if learned else {}
    rows = [{"area": area, **scores} for area, scores in metrics.get("scores", {}).items()]
    return about, {"scores": rows} if rows else {}


def _of_fitted(path: Path) -> dict[str, Any]:
    fitted, described, _ = saved.read(path)
    model = described.get("model_sha256")
    return {
        "task": described.get("task"),
        "classifier": fitted.classifier.name,
        "classes": list(map(str, described.get("classes", []))),
        "features": described.get("features"),
        "model": str(model)[:8] if model else None,
    }
