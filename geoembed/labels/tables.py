"""Tables: rows of CSV and Parquet files, and the columns that say where rows of any table lie."""

import io
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from geoembed.errors import LabelError, of_library
from geoembed.ground import crs as crs_

log = logging.getLogger(__name__)

CHIP_ID = "chip_id"

CSV, PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".geoparquet", ".pq")
"""Endings of the files that `read` reads."""

MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "<na>", "<null>")
"""Texts that stand for no value, whatever their case."""

MOST_COLUMNS, MOST_NESTED = 10_000, 500
"""Columns of a CSV, and geometries in one another, beyond which a file is damaged; GEOS crashes at some thousands."""

_FLAGS = rb"[\x00\x20\x40\x60\x80\xa0\xc0\xe0]"
NESTED = re.compile(
    rb"\x01(?:[\x04-\x0c]\x00|[\xec-\xf4]\x03|[\xd4-\xdc]\x07|[\xbc-\xc4]\x0b)\x00" + _FLAGS
    + rb"|\x00" + _FLAGS + rb"\x00(?:\x00[\x04-\x0c]|\x03[\xec-\xf4]|\x07[\xd4-\xdc]|\x0b[\xbc-\xc4])"
)  # fmt: skip
"""Beginning, in WKB of either byte order, of a geometry that holds others; Z and M are flags or thousands."""

DELIMITERS = ",;\t|"

DEGREES = (("lon", "lat"), ("longitude", "latitude"), ("lng", "lat"), ("long", "lat"),
           ("decimallongitude", "decimallatitude"))  # fmt: skip
"""Names of two columns that hold degrees east and north, in lower case."""

PLANE = (("x", "y"), ("easting", "northing"), ("east", "north"), ("xcoord", "ycoord"), ("x_coord", "y_coord"),
         ("coord_x", "coord_y"), ("point_x", "point_y"))  # fmt: skip
"""Names of two columns of coordinates whose CRS they do not tell."""

SHAPES = ("geometry", "geom", "the_geom", "wkt", "wkb")
"""Names of a column that holds geometries as WKT or WKB."""


def matching(name: str, columns: Iterable[Any]) -> list[str]:
    """Return the column of this name, or those that differ from it in case and outer blanks only."""
    names = [str(column) for column in columns]
    return [name] if name in names else [found for found in names if found.strip().casefold() == name.casefold()]


def read(path: Path) -> pd.DataFrame:
    """Read a CSV or a Parquet file, a GeoDataFrame where it is GeoParquet; raises LabelError where it cannot be."""
    return _read_csv(path) if path.suffix.lower() in CSV else _read_parquet(path)


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV: delimited by comma, semicolon, tab or bar; with decimal commas unless the comma delimits."""
    text = _decoded(path).removeprefix("sep=;\n").removeprefix("sep=;\r\n")  # Excel's own hint
    header = re.sub(r'"[^"]*"', "", text.partition("\n")[0])
    delimiter = max(DELIMITERS, key=header.count)
    if header.count(delimiter) > MOST_COLUMNS:
        raise LabelError(f"{path}: has {header.count(delimiter):,} columns, which no table has; give another")
    identity = [name for name in header.split(delimiter) if name.strip().casefold() == CHIP_ID]
    missing = sorted({form for word in MISSING for form in (word, word.upper(), word.title(), "NaN")})
    try:
        table = pd.read_csv(
            io.StringIO(text), sep=delimiter, dtype=dict.fromkeys(identity, str), index_col=False,
            keep_default_na=False, na_values=missing, skipinitialspace=True, low_memory=False,
        )  # fmt: skip
    except (ValueError, OverflowError, RuntimeError, MemoryError) as error:  # pandas' own are ValueErrors
        raise LabelError(f"{path}: cannot be read as CSV ({of_library(error)}); mend it or give another") from None
    table = table.dropna(how="all").reset_index(drop=True)
    table = table.drop(
        columns=[name for name in table if str(name).startswith("Unnamed:") and table[name].isna().all()]
    )
    table.columns = table.columns.str.strip()
    for name in table.columns if delimiter != "," else ():
        if _is_text(table[name]) and table[name].dropna().str.fullmatch(r"\s*-?\d*,?\d+\s*").all():
            table[name] = _numbers(table[name])
    return table


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        log.warning("%s: is not UTF-8; read as Windows-1252, in which Excel writes CSV", path)
        return content.decode("cp1252", errors="replace")


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise LabelError(f"{path}: Parquet is read by pyarrow; pip install pyarrow, or give a GeoPackage") from None
    try:
        schema = parquet.read_schema(path)
        is_geographic = b"geo" in (schema.metadata or {})
        for name in schema.names if is_geographic else ():
            if "binary" in str(schema.field(name).type):
                for chunk in parquet.read_table(path, columns=[name]).column(name).chunks:
                    require_flat(path, chunk.to_pylist())
        table: pd.DataFrame = geopandas.read_parquet(path) if is_geographic else pd.read_parquet(path)
        for name in [name for name in table if _is_text(table[name])]:
            table[name] = table[name].astype(object)  # raises for texts that are not UTF-8
    except LabelError:
        raise
    except (ArrowException, OSError, ValueError, *_ODD) as error:
        raise LabelError(f"{path}: cannot be read as Parquet ({of_library(error)}); give another") from None
    if any(table.index.names):
        table = table.reset_index()
    for name in table.select_dtypes("category").columns:
        table[name] = table[name].astype(table[name].cat.categories.dtype)
    return table


_ODD = (KeyError, TypeError, AttributeError, OverflowError, RuntimeError, MemoryError, shapely.errors.ShapelyError)
"""What libraries raise for odd metadata; errors of PROJ and of recursion are RuntimeErrors."""


def require_flat(path: Path, values: Iterable[Any]) -> None:
    """Raise LabelError where a text in WKT or bytes in WKB nest geometries so deeply that GEOS would crash."""
    for value in values:
        if isinstance(value, bytes):
            depth = sum(1 for _ in NESTED.finditer(value)) if len(value) > 9 * MOST_NESTED else 0
        else:
            depth = value.upper().count("COLLECTION") if isinstance(value, str) else 0
        if depth > MOST_NESTED:
            raise LabelError(f"{path}: has a geometry of {depth:,} in one another; write it as simple polygons")


def placed(path: Path, table: pd.DataFrame, crs: str | None) -> pd.DataFrame:
    """Return a table as a GeoDataFrame where columns say where its rows lie, in degrees or in `crs`, else as it is.

    Geometry that names no CRS gets `crs`. Raises LabelError where the columns do not tell in which CRS they are.
    """
    if isinstance(table, geopandas.GeoDataFrame):
        return _assigned(path, table, crs)
    if CHIP_ID in table:
        return table
    names = {str(name).casefold(): str(name) for name in table.columns}
    degrees, plane = (
        [(names[x], names[y]) for x, y in pairs if x in names and y in names] for pairs in (DEGREES, PLANE)
    )
    shapes = [names[name] for name in SHAPES if name in names and _shapes(path, table[names[name]]) is not None]
    if degrees and (crs is None or not (plane or shapes)):
        return _points(path, table, *degrees[0], crs)
    if shapes:
        _require_crs(path, f"column {shapes[0]}", crs)
        return _located(table.drop(columns=shapes[0]), _shapes(path, table[shapes[0]]), crs)
    if plane:
        _require_crs(path, f"columns {' and '.join(plane[0])}", crs)
        return _points(path, table, *plane[0], crs)
    return table


def parsed(crs: str) -> str:
    """Return the WKT of a CRS as users write it, such as EPSG:32632 or 32632; raises LabelError for other texts."""
    try:
        return str(CRS.from_user_input(int(crs) if crs.strip().isdigit() else crs).to_wkt())
    except CRSError:
        raise LabelError(f"--crs {crs}: is no CRS that PROJ knows; write its EPSG code, as in EPSG:32632") from None


def _assigned(path: Path, table: Any, crs: str | None) -> pd.DataFrame:
    if crs is not None and (table.crs is None or not crs_.is_on_earth(table.crs.to_wkt())):
        table = table.set_crs(parsed(crs), allow_override=True)
    elif crs is not None and not crs_.same(table.crs.to_wkt(), parsed(crs)):
        log.warning("%s: has a CRS of its own, %s, so --crs is not about it", path, crs_.name(table.crs.to_wkt()))
    located: pd.DataFrame = table
    return located


def _require_crs(path: Path, columns: str, crs: str | None) -> None:
    if crs is None:
        raise LabelError(f"{path}: its CRS is not told by {columns}; pass --crs, as in --crs EPSG:32632")


def _located(table: pd.DataFrame, shapes: Any, crs: str | None) -> pd.DataFrame:
    located: pd.DataFrame = geopandas.GeoDataFrame(
        table, geometry=shapes, crs=crs_.LONLAT if crs is None else parsed(crs)
    )
    return located


def _points(path: Path, table: pd.DataFrame, x: str, y: str, crs: str | None) -> pd.DataFrame:
    """Return a table with its rows as points; those without two numbers have no geometry.

    Raises LabelError where no row has numbers, or what should be degrees is out of their range.
    """
    xy = np.stack([_numbers(table[x]), _numbers(table[y])], axis=1)
    known = np.isfinite(xy).all(axis=1)
    if not known.any():
        example = [str(value)[:40] for value in table[[x, y]].iloc[0]] if len(table) else "no rows"
        raise LabelError(f"{path}: columns {x} and {y} hold no numbers ({example}); write decimal degrees or metres")
    beyond = np.abs(xy[known]).max(axis=0)
    if crs is None and (beyond > [360.0, 90.0]).any():
        raise LabelError(f"{path}: {x} and {y} reach {beyond[0]:g} and {beyond[1]:g}, no degrees; pass --crs")
    points = np.full(len(table), None, dtype=object)
    points[known] = shapely.points(xy[known])
    return _located(table, points, crs)


def _shapes(path: Path, column: pd.Series) -> NDArray[Any] | None:
    """Return the geometries in a column of WKT or WKB, None where it holds none; raises LabelError."""
    values = np.array(column, dtype=object)  # a copy: pandas lets none of its own be written
    values[column.isna().to_numpy()] = None
    require_flat(path, values)
    parse = shapely.from_wkb if any(isinstance(value, bytes) for value in values) else shapely.from_wkt
    try:
        shapes: NDArray[Any] = parse(values, on_invalid="ignore")
    except (TypeError, UnicodeError):
        return None
    return shapes if any(shape is not None for shape in shapes) else None


def _is_text(column: pd.Series) -> bool:
    return bool(pd.api.types.is_string_dtype(column.dropna()) and column.notna().any())


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    """Return a column as numbers, with decimal points or commas; NaN for what is none."""
    if _is_text(column):
        column = column.str.strip().str.replace(",", ".", regex=False)
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
