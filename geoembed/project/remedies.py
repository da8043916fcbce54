"""Remedies: the ends of messages about what is missing, or is something else, that name the one command to run."""

import difflib
import shlex
from pathlib import Path
from typing import Any

from geoembed.project import kinds
from geoembed.project.kinds import Kind


def command(*words: str | Path, **options: str | Path | None) -> str:
    """Return a command of geoembed that can be copied, in backticks; options that are None are left out."""
    given = [text for name, value in options.items() if value is not None for text in (_option(name), str(value))]
    return f"`geoembed {shlex.join([*map(str, words), *given])}`"


def _option(name: str) -> str:
    return "-o" if name == "output" else f"--{name.replace('_', '-')}"


def unless(path: Path, default: str) -> Path | None:
    """Return a path, or None where it is the default."""
    return None if path == Path(default) else path


def of_another_kind(path: Path, wanted: Kind, words: str | None = None) -> str:
    """Return the fault of a path that is something else than wanted; empty where it is missing or nothing known.

    words: what is wanted, where the kind has other words for it.
    """
    kind = kinds.of(path)
    if kind is None or kind is wanted or (kind is Kind.FOLDER and wanted in kinds.FINISHED):
        return ""
    return f"is {kind.value}, not {words or wanted.value}"


def chips(folder: Path) -> str:
    """Return the remedy where no chips are in a folder."""
    others = [path for path in kinds.finished(Kind.CHIPS) if path != folder]
    if others:
        return f"name a folder that has them, such as {others[0]}"
    return f"run {cutting(folder)}"


def cutting(folder: Path = Path("chips"), here: Path = Path()) -> str:
    """Return the command that cuts chips into a folder.

    here: the folder to run it in, in which the area lies.
    """
    areas = [
        path.relative_to(here)
        for path, kind in kinds.within(here, depth=1)
        if kind is Kind.VECTOR and path.suffix != ".json"
    ]
    named = [path for path in areas if path.stem.lower().startswith(("aoi", "area"))]
    output = None if kinds.of(folder) not in (None, Kind.FOLDER, Kind.CHIPS) else unless(folder, "chips")
    return command("chip", aoi=named[0] if named else "FILE", output=output)


def model(folder: Path, chips_folder: Path | None = None) -> str:
    """Return the remedy where no model is in a folder.

    chips_folder: the chips that are to be embedded; None: those of the working directory.
    """
    chip_folders = [chips_folder] if chips_folder else kinds.finished(Kind.CHIPS)
    training = f"run {pretraining(folder, chip_folders[0]) if chip_folders else cutting()}"
    others = [path for path in kinds.finished(Kind.MODEL) if path != folder]
    if not others:
        return training
    simulated = any(kinds.of(parent) is Kind.SAMPLE for parent in others[0].resolve().parents[:2])
    of_what = ", whose imagery was simulated" if simulated else ""
    return f"{training}, or pass --model {shlex.quote(str(others[0]))}{of_what}"


def pretraining(folder: Path, chips_folder: Path) -> str:
    """Return the command that pretrains a model into a folder."""
    words = [path for path in (unless(chips_folder, "chips"),) if path]
    return command("pretrain", *words, output=unless(folder, "model"))


def again(made_from: dict[str, Any], folder: Path, chips_folder: Path | None = None) -> str:
    """Return the command that pretrains with the options in a model's record.

    chips_folder: the chips that it learned from; None: those of the working directory.
    """
    chip_folders = [chips_folder] if chips_folder else kinds.finished(Kind.CHIPS) or [Path("chips")]
    told = made_from.get("options")
    options = {
        key: value for key, value in (told if isinstance(told, dict) else {}).items() if value not in (None, False)
    }
    flags = [_option(key) for key, value in options.items() if value is True]
    values = {key: value for key, value in options.items() if value is not True}
    texts = {key: ",".join(map(str, value)) if isinstance(value, list) else f"{value}" for key, value in values.items()}
    words = [path for path in (unless(chip_folders[0], "chips"),) if path]
    return command("pretrain", *words, *flags, **texts, output=unless(folder, "model"))


def embeddings(path: Path) -> str:
    """Return the remedy where a file holds no embeddings."""
    others = [other for other in kinds.finished(Kind.EMBEDDINGS) if other != path]
    if others:
        return f"name a file that has them, such as {others[0]}"
    chip_folders, models = (sorted(kinds.finished(kind), key=_unusual) for kind in (Kind.CHIPS, Kind.MODEL))
    if kinds.of(path) is Kind.CHIPS:
        chip_folders = [path]
    if not (chip_folders and models):
        return f"run {pretraining(Path('model'), chip_folders[0]) if chip_folders else cutting()} first"
    return f"run {embedding(path, chip_folders[0], models[0])}"


def embedding(path: Path, chips_folder: Path, model_folder: Path) -> str:
    """Return the command that embeds chips into a file."""
    words = [folder for folder in (unless(chips_folder, "chips"),) if folder]
    is_free = kinds.of(path) in (None, Kind.EMBEDDINGS)  # nothing else is replaced
    output = unless(path, "embeddings.h5") if is_free else None
    return command("embed", *words, model=unless(model_folder, "model"), output=output)


def _unusual(path: Path) -> tuple[bool, Path]:
    return path.name not in ("chips", "model") or len(path.parts) > 1, path


def probe(path: Path) -> str:
    """Return the remedy where a path holds no fitted probe."""
    others = [folder for folder in kinds.finished(Kind.PROBE) if (folder / "probe.skops").exists() and folder != path]
    if others:
        return f"pass --apply {shlex.quote(str(others[0]))}"
    label_files = kinds.finished(Kind.LABELS)
    return f"run {command('probe', labels=label_files[0] if label_files else 'FILE')}"


def labels(path: Path) -> str:
    """Return fault and remedy of a path that cannot be labels, as it is something else; empty for others."""
    kind = kinds.of(path)
    if kind in (None, Kind.LABELS, Kind.PREDICTIONS, Kind.SIMILAR, Kind.VECTOR, Kind.FOLDER):
        return ""
    assert kind is not None
    fault, label_files = f"is {kind.value}, not a label file", kinds.finished(Kind.LABELS)
    if kind is Kind.RASTER:
        return f"{fault}; label the chips from it: {command('label', path)}"
    if label_files:
        return f"{fault}; name one, such as {label_files[0]}"
    return f"{fault}; make one with geoembed label, or give points or polygons with a column label"


def nearest_file(path: Path, kind: Kind) -> Path | None:
    """Return the file of a kind in the same folder whose name is most like a missing one's."""
    files = {other.stem: other for other, its in kinds.within(path.parent, depth=1) if its is kind}
    match = difflib.get_close_matches(path.stem, files, n=1, cutoff=0.5)
    return files[match[0]] if match else None
