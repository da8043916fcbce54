"""Kinds of files and folders that geoembed reads or writes, told by names and first bytes."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from enum import Enum
from itertools import islice
from pathlib import Path


class Kind(Enum):
    """What a path is, in words for people."""

    CHIPS = "a chip folder"
    CHIP = "a chip file"
    MODEL = "a model folder"
    EMBEDDINGS = "an embeddings file"
    LABELS = "a label file"
    PREDICTIONS = "a map of predictions"
    SIMILAR = "a map of similar chips"
    PROBE = "a probe folder"
    FITTED = "a fitted probe"
    REPORT = "a report folder"
    SAMPLE = "a simulated Earth"
    SETTINGS = "a settings file"
    RASTER = "a raster"
    VECTOR = "a vector file"
    FOLDER = "a folder"


FINISHED = {Kind.CHIPS: "index.gpkg", Kind.MODEL: "weights.safetensors", Kind.PROBE: "predictions.gpkg",
            Kind.REPORT: "report.html"}  # fmt: skip
"""The file that a folder's step writes last."""

_SAMPLE = ".geoembed-sample.json"
_MEMBERS = {
    "index.gpkg": Kind.CHIPS, "chips.json": Kind.CHIPS,
    "weights.safetensors": Kind.MODEL, "state.safetensors": Kind.MODEL,
    "predictions.gpkg": Kind.PROBE, "probe.skops": Kind.PROBE,
    "report.html": Kind.REPORT, "summary.json": Kind.REPORT, _SAMPLE: Kind.SAMPLE,
}  # fmt: skip
"""Files by which a folder is told, the surest first."""
_LAYERS = {"chips": Kind.CHIPS, "labels": Kind.LABELS, "predictions": Kind.PREDICTIONS, "similar": Kind.SIMILAR}
_SUFFIXES = {
    ".skops": Kind.FITTED, ".toml": Kind.SETTINGS,
    **dict.fromkeys((".tif", ".tiff", ".vrt", ".jp2", ".j2k", ".img", ".nc", ".nc4", ".hgt"), Kind.RASTER),
    **dict.fromkeys((".gpkg", ".geojson", ".json", ".csv", ".parquet", ".shp", ".fgb", ".kml", ".gml"), Kind.VECTOR),
}  # fmt: skip
_HDF5, _SQLITE, _TIFF = b"\x89HDF\r\n\x1a\n", b"SQLite format 3\0", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CHIP_NAME = re.compile(r"[^-]+-[^-]+--?\d+--?\d+\.tif")

MOST = 2000
"""Entries of a folder that are looked at."""


def of(path: Path) -> Kind | None:
    """Return what a path is; None where it is missing or nothing that geoembed knows."""
    try:
        return _folder(path) if path.is_dir() else _file(path) if path.is_file() else None
    except OSError:
        return None


def _folder(folder: Path) -> Kind:
    for name, kind in _MEMBERS.items():
        if (folder / name).exists():
            return kind
    config = folder / "config.json"
    if config.exists() and '"geoembed_version"' in config.read_text(encoding="utf-8", errors="replace"):
        return Kind.MODEL
    return Kind.FOLDER


def _file(path: Path) -> Kind | None:
    if path.name in ("config.json", "metrics.json", "results.csv"):  # others bear these names too
        inside = _folder(path.parent)
        return inside if inside is not Kind.FOLDER else _SUFFIXES[path.suffix]
    if path.suffix != ".gpkg" and path.suffix != ".skops" and path.name in _MEMBERS:
        return _MEMBERS[path.name]
    with path.open("rb") as file:
        first = file.read(16)
    if first.startswith(_HDF5) and path.suffix not in (".nc", ".nc4"):
        return Kind.EMBEDDINGS
    if first == _SQLITE:
        return _database(path)
    if first.startswith(_TIFF):
        in_chips = len(path.parents) > 3 and _folder(path.parents[2].parent) is Kind.CHIPS
        return Kind.CHIP if in_chips and _CHIP_NAME.fullmatch(path.name) else Kind.RASTER
    return Kind.EMBEDDINGS if path.suffix in (".h5", ".hdf5") else _SUFFIXES.get(path.suffix.lower())


def _database(path: Path) -> Kind | None:
    """Return what a GeoPackage is by its layers."""
    query = "SELECT table_name, data_type FROM gpkg_contents"
    with (
        suppress(sqlite3.Error, ValueError),
        closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base,
    ):
        layers = dict(base.execute(query).fetchall())
        if layers and set(layers.values()) <= {"tiles", "2d-gridded-coverage"}:
            return Kind.RASTER
        return next((kind for layer, kind in _LAYERS.items() if layer in layers), Kind.VECTOR)
    return _SUFFIXES.get(path.suffix.lower())


def is_finished(path: Path, kind: Kind) -> bool:
    """Tell whether a path of a kind holds what its step writes last."""
    return kind not in FINISHED or path.is_file() or (path / FINISHED[kind]).exists()


def within(folder: Path, *, depth: int = 2) -> Iterator[tuple[Path, Kind]]:
    """Yield what lies in a folder, in name order, and what it is; folders that are nothing special are searched too.

    Hidden files are left out, as is what lies deeper than `depth` or beyond the first MOST entries.
    """
    with suppress(OSError):
        paths = sorted(islice((path for path in folder.iterdir() if not path.name.startswith(".")), MOST))
        for path in paths:
            kind = of(path)
            if kind is None:
                continue
            yield path, kind
            if kind in (Kind.FOLDER, Kind.SAMPLE) and depth > 1:
                yield from within(path, depth=depth - 1)


def finished(kind: Kind, folder: Path = Path()) -> list[Path]:
    """Return the finished outputs of a kind in a folder, in name order."""
    return [path for path, its in within(folder) if its is kind and is_finished(path, kind)]
