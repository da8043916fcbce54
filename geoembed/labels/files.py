"""Label files: tables with one target column, from vector files, CSV and Parquet."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from geoembed import names
from geoembed.errors import LabelError, nearest
from geoembed.ground import vectors
from geoembed.labels import tables
from geoembed.labels.places import Overlap
from geoembed.outputs import digests, geopackage
from geoembed.project import remedies

log = logging.getLogger(__name__)

LAYER = "labels"
"""Name of the layer in the label files that geoembed writes."""

FOLDER = "labels"
"""Folder in which geoembed writes label files; a file that is not where it is said to be is looked for there too."""

CLASS_COLUMN, NUMBER_COLUMN = "label", "value"
USUAL = (CLASS_COLUMN, NUMBER_COLUMN, "class")
"""The usual target columns, whatever their case; the first that a file has is its target."""

SUFFIXES = (".gpkg", ".geojson", ".json", ".fgb", ".shp", ".gml", ".kml", ".kmz", ".xlsx", ".ods", ".zip",
            *tables.CSV, *tables.PARQUET)  # fmt: skip
"""Endings of the files that are looked for where a name has none, and that are named where a file is missing."""


MOST = 1e30
"""Numbers beyond it are no label, as infinity is none: nothing that is measured has them, and fills of rasters do."""

WHOLE = 2.0**53
"""Numbers of classes beyond it are not kept whole in a column of floats."""


@dataclass(frozen=True)
class Reading:
    """How label files are read and joined to chips; None leaves it to the file.

    target: the target column.
    layer: the layer that has it.
    crs: the CRS of labels that name none, such as x and y of a CSV; an EPSG code or any other text that PROJ takes.
    overlap: how much of a chip polygons of a class must cover: `any`, `half`, or a share (see `places.Overlap`).
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
        return {name: str(value) for name, value in asdict(self).items() if name != "target" and value is not None}


@dataclass(frozen=True)
class LabelFile:
    """A label file that was read.

    path: of the file.
    name: of its task: the file's stem, followed by the target column where that is not a usual one.
    column: the target column.
    numeric: whether the target is a number to be predicted, else a class.
    table: its rows; a GeoDataFrame where it has geometry, else a DataFrame.
    overlap: how much of a chip polygons must cover.
    weight: the column of weights; None: all labels count alike.
    made_by_label: whether geoembed label made it from a raster; else its labels were given by hand.
    """

    path: Path
    name: str
    column: str
    numeric: bool
    table: pd.DataFrame
    overlap: Overlap = field(default_factory=Overlap)
    weight: str | None = None
    made_by_label: bool = False

    @property
    def digest(self) -> str:
        """Return the SHA-256, in hexadecimal, of the rows, geometries, CRS and target column."""
        return digests.of_value([self.column, digests.of_table(self.table)])


def read(path: Path, reading: Reading = Reading()) -> LabelFile:
    """Read a label file; its target column is `label` by default, else `value`, else `class`, whatever their case.

    Integers, text, true and false are classes; fractions and all numbers in `value` are numbers to be predicted. Text
    loses outer blanks; what is blank, or NULL or NaN in words, is no label, nor is a number beyond MOST. Where there is
    neither geometry nor `chip_id`, rows lie where their columns lon and lat, x and y or WKT say. A path that is not
    there is looked for in labels/, and with any ending if it has none. Raises LabelError where the file or its column
    cannot be used.
    """
    stranger = remedies.labels(path)
    if stranger:
        raise LabelError(f"{path}: {stranger}")
    overlap = Overlap.parsed(reading.overlap)
    path = find(path)
    vectors.require_name(path, LabelError)
    layer, column, dtype, table = _open(path, reading)
    _require_words(path, "task", [path.stem, column], names.task)
    for name in tables.matching(tables.CHIP_ID, table.columns)[:1]:
        table = table.rename(columns={name: tables.CHIP_ID})
    usual = column.casefold() in USUAL and reading.target is None
    if column.casefold() == NUMBER_COLUMN or not _is_text(dtype):
        table[column] = _possible(path, table[column], MOST)
        numeric = _is_numeric(path, column, dtype, table[column], reading.target)
        table[column] = table[column] if numeric else _possible(path, table[column], WHOLE)
    else:
        numeric, table[column] = False, _cleaned(path, table[column])
        _require_words(path, f"column {column}: class", (word for word in set(table[column]) if word), names.word)
    return LabelFile(
        path=path,
        name=path.stem if usual else f"{path.stem}:{column}",
        column=column,
        numeric=numeric,
        table=tables.placed(path, table, reading.crs),
        overlap=overlap,
        weight=_weight(path, table, reading.weight),
        made_by_label=_is_made_by_label(path, layer),
    )


def _require_words(path: Path, what: str, words: Iterable[Any], check: Callable[[str], str]) -> None:
    """Raise LabelError where a check refuses a word, which a map, a page or a terminal would show."""
    for word in words:
        try:
            check(str(word))
        except ValueError as error:
            raise LabelError(f"{path}: {what} {error}; rename it") from None


def find(path: Path) -> Path:
    """Return the path of a label file: as it is, or in labels/ beside, with any ending where it has none.

    Raises LabelError, naming the files that are there, where there is none or several.
    """
    if path.is_file() or (path.suffix.lower() == ".gdb" and path.is_dir()):
        return path
    folders = (path, path / FOLDER) if path.is_dir() else (path.parent, path.parent / FOLDER)
    there = [file for folder in folders for file in _label_files(folder)]
    if path.suffix.lower() in SUFFIXES:
        found = [file for file in there if file.name == path.name]
    else:
        found = [file for file in there if path.name in (file.stem, file.name)]
    if len(found) == 1:
        log.info("%s: is not there; labels are read from %s", path, found[0])
        return found[0]
    if found:
        raise LabelError(f"{path}: may be {' or '.join(map(str, found))}; name one of them")
    if not there:
        raise LabelError(f"{path}: no such label file; make one with geoembed label")
    names = ", ".join(map(str, there[:8])) + (f" and {len(there) - 8} more" if len(there) > 8 else "")
    raise LabelError(f"{path}: no such label file; there are {names}{nearest(str(path), map(str, there), 'name one')}")


def _label_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())


def _open(path: Path, reading: Reading) -> tuple[str, str, str, pd.DataFrame]:
    """Return the layer, the target column, its type in words as the file has it, and the rows."""
    if path.suffix.lower() in (*tables.CSV, *tables.PARQUET):
        if reading.layer:
            raise LabelError(f"{path}: has no layers; drop --layer")
        table = tables.read(path)
        types = {str(name): str(dtype) for name, dtype in table.dtypes.items()}
        layer, column = _choose_column(path, {path.stem: types}, reading)
        return layer, column, types[column].lower(), table
    kinds = vectors.layers(path, LabelError)
    layers = list(kinds)
    if reading.layer:
        layers = [vectors.chosen(path, reading.layer, layers, "layer", LabelError)]
    types_of = {layer: vectors.columns(path, layer, LabelError) for layer in layers}
    # Layers that hold no rows, or rows without a place, are no labels, unless there is nothing else.
    placed = {
        layer: types
        for layer, types in types_of.items()
        if (kinds[layer] or tables.matching(tables.CHIP_ID, types)) and vectors.count(path, layer, LabelError)
    }
    types_of = placed or types_of
    layer, column = _choose_column(path, types_of, reading)
    table = vectors.read(path, layer, LabelError)
    if path.suffix.lower() == ".gpkg":
        geopackage.require_rows(path, layer, table, LabelError)
    return layer, column, types_of[layer][column], table


def _choose_column(path: Path, types_of: dict[str, dict[str, str]], reading: Reading) -> tuple[str, str]:
    """Return the layer and the target column in it; raises LabelError where there is none, or more than one."""
    candidates = (reading.target,) if reading.target else USUAL
    for candidate in candidates:
        found = [(layer, name) for layer, types in types_of.items() for name in tables.matching(candidate, types)]
        if len({layer for layer, _ in found}) > 1:
            layers = " and ".join(dict.fromkeys(layer for layer, _ in found))
            raise LabelError(f"{path}: layers {layers} have a column {candidate}; name one with --layer")
        if len(found) > 1:
            raise LabelError(f"{path}: has columns {' and '.join(name for _, name in found)}; name one with --target")
        if found:
            return found[0]
    raise _no_column(path, candidates, [column for types in types_of.values() for column in types], "--target")


def _no_column(path: Path, wanted: Sequence[str], columns: Iterable[str], option: str) -> LabelError:
    """Return the error of a column that is not there, which names those that are, and the nearest."""
    names = sorted(dict.fromkeys(columns))
    others = [name for name in names if name.casefold() != tables.CHIP_ID]
    if not others:
        return LabelError(f"{path}: has no column {' or '.join(wanted)}; it has no columns; add one")
    hint = next((hint for name in wanted if (hint := nearest(name, others, " ").strip("; "))), "")
    remedy = f"{hint} Name it with {option}" if hint else f"name another with {option}"
    told = ", ".join(name[:60] for name in others[:20]) + (f" and {len(others) - 20} more" if len(others) > 20 else "")
    return LabelError(f"{path}: has no column {' or '.join(wanted)}; it has {told}; {remedy}")


def _is_text(dtype: str) -> bool:
    return not dtype.lower().startswith(("int", "uint", "float", "bool"))


def _is_numeric(path: Path, column: str, dtype: str, values: pd.Series, target: str | None) -> bool:
    if column.casefold() == NUMBER_COLUMN:
        if not dtype.lower().startswith(("int", "uint", "float")):
            example = values.dropna().iloc[0] if values.notna().any() else "nothing"
            raise LabelError(f"{path}: column {column} holds {example!r}, not numbers; name another with --target")
        return True
    if not dtype.lower().startswith("float") or bool((values.dropna() % 1 == 0).all()):
        return False
    if target is None:
        raise LabelError(f"{path}: column {column} holds fractions, not classes; pass --target {column} to fit numbers")
    return True


def _possible(path: Path, values: pd.Series, most: float) -> pd.Series:
    """Return a column, NULL in place of numbers that are infinite or beyond `most`."""
    if not pd.api.types.is_float_dtype(values):
        return values
    beyond = np.abs(values.to_numpy(dtype=np.float64, na_value=np.nan)) >= most
    if not beyond.any():
        return values
    message = "%s: column %s: %s numbers are infinite or beyond %g, which is no label"
    log.warning(message, path, values.name, f"{np.count_nonzero(beyond):,}", most)
    return values.mask(beyond)


def _cleaned(path: Path, values: pd.Series) -> pd.Series:
    """Return a column of text without outer blanks, None where it is blank or says that there is no value.

    Numbers with and without decimals, such as 80.0 and 80, are one class.
    """
    if any(isinstance(value, list | tuple | dict | np.ndarray) for value in values):
        fault = f"column {values.name} holds lists, where each label is one word or number"
        raise LabelError(f"{path}: {fault}; name another column with --target")
    texts = [value.strip() if isinstance(value, str) else value for value in values.astype(object)]
    stripped = sum(
        isinstance(text, str) and text != "" and text != old for text, old in zip(texts, values, strict=True)
    )
    if stripped:
        log.warning("%s: column %s: %s labels lost outer blanks", path, values.name, f"{stripped:,}")
    known = [None if isinstance(text, str) and text.casefold() in tables.MISSING else text for text in texts]
    beyond = list(map(_is_beyond, known))
    if any(beyond):
        message = "%s: column %s: %s labels are infinite or beyond %g, which is no label"
        log.warning(message, path, values.name, f"{sum(beyond):,}", MOST)
        known = [None if absurd else text for text, absurd in zip(known, beyond, strict=True)]
    present: set[Any] = set(known)
    twins: dict[Any, str] = {f"{name}.0": name for name in present if isinstance(name, str) and f"{name}.0" in present}
    if twins:
        names_told = ", ".join(f"{twin} and {name}" for twin, name in sorted(twins.items())[:3])
        log.warning("%s: column %s: %s are one class each", path, values.name, names_told)
    return pd.Series([twins.get(text, text) for text in known], index=values.index, name=values.name, dtype=object)


def _is_beyond(label: Any) -> bool:
    """Tell whether a label is a number that none is: infinite or absurdly large. Digits alone may be a name."""
    if isinstance(label, int):  # of a column in which some need more than 64 bits
        return not -(10**names.MOST) < label < 10**names.MOST
    text = label if isinstance(label, str) else ""
    try:
        return abs(float(text)) > MOST and not (text.isdigit() and len(text) <= names.MOST)
    except ValueError:
        return False


def _weight(path: Path, table: pd.DataFrame, weight: str | None) -> str | None:
    """Return the column of weights; raises LabelError where it is not there, or holds no weights."""
    if weight is None:
        return None
    found = tables.matching(weight, table.columns)
    if len(found) != 1:
        raise _no_column(path, [weight], map(str, table.columns), "--weight")
    values = table[found[0]]
    if values.dtype.kind not in "iufb" or (values < 0).any() or (values > MOST).any():
        raise LabelError(f"{path}: column {found[0]} holds no weights; they are numbers from 0 on")
    return found[0]


def _is_made_by_label(path: Path, layer: str) -> bool:
    record = geopackage.record_of(path, layer) if path.suffix.lower() == ".gpkg" and layer == LAYER else None
    return record is not None and record.step == "label"
