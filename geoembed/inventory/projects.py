"""Inventory of projects: which steps are done in a folder, from what, and the next command to run."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geoembed.chips import folder as chip_folder
from geoembed.earth import record as earth_record
from geoembed.errors import GeoembedError
from geoembed.fits import embeddings
from geoembed.imagery import modalities
from geoembed.inventory.facts import Facts, Rows
from geoembed.outputs import digests, documents, geopackage, records
from geoembed.outputs.records import Record
from geoembed.project import kinds, remedies
from geoembed.project.kinds import FINISHED, Kind
from geoembed.settings import read_toml

STEPS = {
    Kind.CHIPS: "chip",
    Kind.LABELS: "label",
    Kind.MODEL: "pretrain",
    Kind.EMBEDDINGS: "embed",
    Kind.PROBE: "probe",
    Kind.REPORT: "evaluate",
}
"""The step that makes a kind of output, in the order of the pipeline."""


def of_folder(path: Path, *, verify: bool, tell: Callable[[Path], Facts]) -> Facts:
    """Tell of a project.

    tell: returns the facts of an output in it.
    """
    there = [(output, kind) for output, kind in kinds.within(path) if kind in STEPS]
    rows: Rows = []
    faults: list[str] = []
    for output, kind in sorted(there, key=lambda item: [*STEPS].index(item[1])):
        row, damage = _row(output, kind, tell)
        rows.append(row)
        faults += damage
    _mark_stale(path, rows)
    done = {row["step"] for row in rows}
    missing = [step for step in STEPS.values() if step not in done]
    rows += [{"step": step, "output": None, "state": "not yet", "holds": None} for step in missing]
    rows.sort(key=lambda row: [*STEPS.values()].index(row["step"]))
    simulated = kinds.of(path) is Kind.SAMPLE
    about: dict[str, Any] = {"imagery": "SIMULATED by geoembed sample" if simulated else None}
    inputs = [str(other.relative_to(path)) for other, kind in kinds.within(path, depth=1)
              if kind in (Kind.VECTOR, Kind.RASTER, Kind.SETTINGS)]  # fmt: skip
    about |= {"inputs": inputs, "next": _next(path, rows)}
    faults += _faults_of_sample(path, verify=verify) if simulated else []
    for other, its in kinds.within(path):
        if its is Kind.VECTOR and other.suffix == ".gpkg":  # a broken database does not say what it was
            faults += geopackage.faults(other, whole=verify)
    words = Kind.SAMPLE.value if simulated else "a project folder"
    read = "each output as a whole" if verify else "each output in part, --verify reads all"
    return Facts(words, read, about, {"steps": rows}, tuple(faults))


def of_settings(path: Path, *, verify: bool) -> Facts:
    """Tell of a settings file; raises ConfigError where it cannot be used."""
    tables = read_toml(path)
    rows: Rows = []
    if "modalities" in tables:
        for modality in modalities.read(path):
            rows += [
                {"modality": modality.name, "unit": modality.unit or None, "source": list(source.paths),
                 "bands": list(source.bands) if source.bands else None, "scale": source.scale, "offset": source.offset}
                for source in modality.sources
            ]  # fmt: skip
    options = {name: values for name, values in tables.items() if name != "modalities"}
    return Facts(Kind.SETTINGS.value, "the whole file", options, {"sources": rows})


def _row(output: Path, kind: Kind, tell: Callable[[Path], Facts]) -> tuple[dict[str, Any], tuple[str, ...]]:
    row: dict[str, Any] = {"step": STEPS[kind], "output": str(output), "state": "done", "holds": None}
    if not kinds.is_finished(output, kind):
        return row | {"state": "not finished"}, ()
    try:
        found = tell(output)
    except GeoembedError as error:
        return row | {"state": "DAMAGED"}, (str(error),)
    keys = ("chips", "rows", "parameters", "results")
    holds = next((f"{key} {found.facts[key]:,}" for key in keys if found.facts.get(key)), None)
    return row | {"state": "DAMAGED" if found.faults else "done", "holds": holds}, found.faults


def _mark_stale(folder: Path, rows: Rows) -> None:
    """Note which outputs were made from chips, a model or embeddings that are others now."""
    now: dict[str, set[str]] = {"chips": set(), "model": set(), "embeddings": set()}
    for row in rows:
        path = Path(row["output"])
        if row["state"] != "done":
            continue
        if row["step"] == "chip":
            now["chips"].add(chip_folder.read(path).digest)
        elif row["step"] == "pretrain":
            now["model"].add(digests.of_bytes(path / FINISHED[Kind.MODEL]))
        elif row["step"] == "embed":
            now["embeddings"].add(embeddings.read(path).digest)
    for row in rows:
        record = _record(Path(row["output"])) if row["state"] == "done" else None
        for name, known in now.items():
            made_from = record.inputs.get(name) if record else None
            if known and isinstance(made_from, str) and made_from not in known:
                row["state"] = f"of other {name}"


def _record(path: Path) -> Record | None:
    """Return what an output was made from."""
    kind = kinds.of(path)
    if kind is Kind.LABELS:
        return geopackage.record_of(path, "labels")
    if kind is Kind.EMBEDDINGS:
        return embeddings.record_of(path)
    name = {Kind.MODEL: "config.json", Kind.PROBE: "metrics.json", Kind.REPORT: "summary.json"}.get(kind or Kind.FOLDER)
    return records.read_json(path / name) if name else None


def _next(folder: Path, rows: Rows) -> str | None:
    """Return the next command to run in a folder, in which paths are relative to it."""
    outputs: dict[str, Path] = {}
    for row in rows:
        if row["state"] == "done":
            outputs.setdefault(row["step"], Path(row["output"]).relative_to(folder))
    command = _command(folder, outputs)
    if command and folder.resolve() != Path.cwd():
        return command.replace("`", f"`cd {shlex.quote(str(folder))} && ", 1)
    return command


def _command(folder: Path, outputs: dict[str, Path]) -> str | None:
    if "chip" not in outputs:
        return None if outputs else remedies.cutting(here=folder)  # a folder of labels alone is no place for chips
    if "pretrain" not in outputs:
        return remedies.pretraining(Path("model"), outputs["chip"])
    if "embed" not in outputs:
        return remedies.embedding(Path("embeddings.h5"), outputs["chip"], outputs["pretrain"])
    labels = outputs.get("label", "FILE")
    words = [path for path in (remedies.unless(outputs["embed"], "embeddings.h5"),) if path]
    if "probe" not in outputs:
        return remedies.command("probe", *words, labels=labels)
    if "evaluate" not in outputs:
        return remedies.command("evaluate", *words, chips=outputs["chip"], labels=labels)
    return None


def _faults_of_sample(folder: Path, *, verify: bool) -> list[str]:
    """Return a fault where files of a simulated Earth are gone; with `verify`, or are others than were written."""
    again = remedies.command("sample", folder)
    try:
        files = earth_record.read(folder, GeoembedError).files
    except GeoembedError as error:
        return [str(error)]
    gone = [folder / name for name in files if not (folder / name).exists()]
    if not gone and verify:
        changed = documents.damaged(folder, files)
        return [f"{path}: was edited or damaged; run {again}, or leave it if the edit is yours" for path in changed]
    return [f"{gone[0]}: missing, as are {len(gone) - 1} other files; run {again}"] if gone else []
