"""Label files: vector layers with one target column."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyogrio

from geoembed.errors import LabelError
from geoembed.outputs import digests, geopackage

LAYER = "labels"
"""Name of the layer in the label files that geoembed writes."""

CLASS_COLUMN, NUMBER_COLUMN = "label", "value"
"""The usual target columns."""


@dataclass(frozen=True)
class Reading:
    """How label files are read and joined to chips; None leaves it to the file.

    target: the target column.
    layer: the layer that has it.
    crs: the CRS of labels that name none, such as x and y of a CSV; an EPSG code or any other text that PROJ takes.
    overlap: how much of a chip polygons of a class must cover: `any`, `half`, or a share (see `targets.join`).
    weight: the column of weights, which say how much a label counts among several of one chip.
    """

    target: str | None = None
    layer: str | None = None
    crs: str | None = None
    overlap: float | str | None = None
    weight: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Return all but the target, as part of a record, JSON-ready; what is None is left out."""
        return {name: value for name, value in asdict(self).items() if name != "target" and value is not None}


@dataclass(frozen=True)
class LabelFile:
    """A label file that was read.

    path: of the file.
    name: of its task: the file's stem, followed by the target column where that is not a usual one.
    column: the target column.
    numeric: whether the target is a number to be predicted, else a class.
    table: its rows; a GeoDataFrame where it has geometry, else a DataFrame.
    made_by_label: whether `geoembed label` made it from a raster, so that its labels are not given by hand.
    """

    path: Path
    name: str
    column: str
    numeric: bool
    table: pd.DataFrame
    made_by_label: bool = False

    @property
    def digest(self) -> str:
        """Return the SHA-256, in hexadecimal, of the rows, geometries, CRS and target column."""
        return digests.of_value([self.column, digests.of_table(self.table)])


def read(path: Path, reading: Reading = Reading()) -> LabelFile:
    """Read a vector file; `target` names its target column, which is `label` by default, or `value` without a `label`.

    Integers, text, true and false are classes; fractions and all numbers in `value` are numbers to be predicted.
    Raises LabelError where the file or its column cannot be used.
    """
    target = reading.target
    if not path.exists():
        raise LabelError(f"{path}: no such label file; make one with geoembed label")
    # CSV has no types of its own; without this option every column is text.
    options = {"AUTODETECT_TYPE": "YES"} if path.suffix.lower() == ".csv" else {}
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        types_of = {layer: _column_types(path, layer, options) for layer in layers}
        layer, column = _choose_column(path, types_of, target)
        table = pyogrio.read_dataframe(path, layer=layer, **options)
    except pyogrio.errors.DataSourceError as error:
        fault = (str(error).splitlines() or [type(error).__name__])[0]
        raise LabelError(f"{path}: not a vector file that GDAL reads ({fault}); give another") from None
    numeric = _is_numeric(path, column, types_of[layer][column], table[column], target)
    usual = column in (CLASS_COLUMN, NUMBER_COLUMN) and target is None
    return LabelFile(path, path.stem if usual else f"{path.stem}:{column}", column, numeric, table, _is_of_label(path))


def _is_of_label(path: Path) -> bool:
    record = geopackage.record_of(path, LAYER) if path.suffix.lower() == ".gpkg" else None
    return record is not None and record.step == "label"


def _column_types(path: Path, layer: str, options: dict[str, str]) -> dict[str, str]:
    """Return the types of a layer's columns as the file has them; integers with NULL are read as floats."""
    info = pyogrio.read_info(path, layer=layer, **options)
    return dict(zip(map(str, info["fields"]), map(str, info["dtypes"]), strict=True))


def _choose_column(path: Path, types_of: dict[str, dict[str, str]], target: str | None) -> tuple[str, str]:
    """Return the layer and the target column in it."""
    candidates = (target,) if target else (CLASS_COLUMN, NUMBER_COLUMN)
    for column in candidates:
        for layer, types in types_of.items():
            if column in types:
                return layer, column
    columns = sorted({column for types in types_of.values() for column in types} - {"chip_id"})
    remedy = f"it has {', '.join(columns)}; name another with --target" if columns else "it has no columns; add one"
    raise LabelError(f"{path}: has no column {' or '.join(candidates)}; {remedy}")


def _is_numeric(path: Path, column: str, dtype: str, values: pd.Series, target: str | None) -> bool:
    if column == NUMBER_COLUMN:
        if not dtype.startswith(("int", "uint", "float")):
            raise LabelError(f"{path}: column {column} holds {dtype}, not numbers; name another with --target")
        return True
    if not dtype.startswith("float") or bool((values.dropna() % 1 == 0).all()):
        return False
    if target is None:
        raise LabelError(f"{path}: column {column} holds fractions, not classes; pass --target {column} to fit numbers")
    return True
