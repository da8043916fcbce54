"""Inventory of vector files: labels, maps of predictions, areas of interest, and others."""

from pathlib import Path
from typing import Any

import geopandas
import pandas as pd

from geoembed.errors import GeoembedError, LabelError
from geoembed.ground import vectors
from geoembed.inventory import facts, places
from geoembed.inventory.facts import Facts, Rows
from geoembed.labels import files as label_files
from geoembed.outputs import geopackage
from geoembed.project import kinds
from geoembed.project.kinds import Kind

TARGETS = (label_files.CLASS_COLUMN, label_files.NUMBER_COLUMN, "prediction")
"""Columns whose content is told: classes are counted, numbers have a range."""

MOST_CLASSES = 30
"""A column with more distinct values is no column of classes."""


def of_file(path: Path, *, verify: bool) -> Facts:
    """Tell of a vector file; raises GeoembedError where it cannot be read."""
    kind = kinds.of(path) or Kind.VECTOR
    table, layers = _read(path)
    is_geopackage = path.suffix.lower() == ".gpkg"
    record = geopackage.record_of(path, layers[0]) if is_geopackage else None
    columns = {str(name): str(dtype) for name, dtype in table.dtypes.items() if str(dtype) != "geometry"}
    about: dict[str, Any] = {"rows": len(table), "layers": layers}
    if isinstance(table, geopandas.GeoDataFrame):
        about["geometry"] = {str(name): int(n) for name, n in table.geometry.geom_type.value_counts().items()}
        about |= places.of_table(table)
    about["columns"] = columns
    tables = {f"{name}s" if name != "value" else "values": _target(table, name) for name in TARGETS if name in table}
    if "split" in table:
        tables["splits"] = [{"split": str(name), "rows": int(n)} for name, n in table["split"].value_counts().items()]
    if kind in (Kind.LABELS, Kind.PREDICTIONS) or record is not None:
        about |= facts.of_record(record)
    faults = geopackage.faults(path, whole=verify) if is_geopackage else []
    try:
        if is_geopackage and not faults and geopackage.is_ours(path):
            geopackage.read(path, layers[0], GeoembedError)
    except GeoembedError as error:
        faults.append(str(error))
    read = "all rows" + (", and the database as a whole" if is_geopackage else "")
    return Facts(kind.value, read, about, tables, tuple(faults))


def _read(path: Path) -> tuple[Any, list[str]]:
    """Return a file's table and the names of its layers, that of the table first, which has geometry if any has."""
    kinds_of = vectors.layers(path, GeoembedError)
    layers = sorted(kinds_of, key=lambda layer: kinds_of[layer] is None)
    if not layers:
        raise GeoembedError(f"{path}: has no layers; name another")
    try:
        return label_files.read(path).table, layers
    except LabelError:  # no labels, then
        return vectors.read(path, layers[0], GeoembedError), layers


def _target(table: Any, name: str) -> Rows:
    """Return a row per class, or one with the range of numbers."""
    column = table[name]
    known = column.dropna()
    is_number = pd.api.types.is_float_dtype(known) and bool((known % 1 != 0).any())
    if is_number or known.nunique() > MOST_CLASSES:
        numbers = pd.to_numeric(known, errors="coerce").dropna()
        if not len(numbers):
            return []
        figures = {key: float(getattr(numbers, key)()) for key in ("min", "mean", "max")}
        return [{"column": name, "rows": len(known), "empty": int(column.isna().sum()), **figures}]
    counts = known.value_counts().sort_index()
    rows = [{name: str(value).removesuffix(".0"), "rows": int(n), "share": round(int(n) / len(known), 4)}
            for value, n in counts.items()]  # fmt: skip
    return rows + ([{name: "(empty)", "rows": int(column.isna().sum()), "share": None}] if column.isna().any() else [])
