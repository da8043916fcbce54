"""Tables of vectors, as others publish them: GeoParquet with a column of lists, or a column per dimension."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from geoembed.errors import EmbeddingsError, nearest
from geoembed.exchange import encodings, geoparquet
from geoembed.ground import crs as crs_
from geoembed.ground import vectors
from geoembed.labels import tables as label_tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH = 2**25
"""Bytes of vectors that are read at a time, about."""

LEAST = 4
"""Columns that differ in their last number, from which they are dimensions of one vector."""


@dataclass(frozen=True)
class Table:
    """A table of vectors.

    columns: the column of lists, or those of single dimensions, in order.
    dimensions: their names.
    places: the column of geometries, or those of degrees east and north.
    crs: of the geometries, WKT or authority code.
    dtype: Arrow's name of the type of a number.
    """

    path: Path
    rows: int
    columns: tuple[str, ...]
    dimensions: tuple[str, ...]
    places: tuple[str, ...]
    crs: str
    dtype: str


def read(path: Path, column: str | None = None, crs: str | None = None) -> Table:
    """Find the vectors and their places in a Parquet file.

    column: the column of lists; None: the only one, or else columns such as A00, A01 ... A63.
    crs: for geometries that name no CRS.

    Raises EmbeddingsError where the file cannot be read, or has no vectors, several, or no places.
    """
    with geoparquet.opened(path) as file:
        schema, n = file.schema_arrow, file.metadata.num_rows
        columns = _columns(path, schema, column)
        places, found = _places(path, schema, crs)
        if not n:
            raise EmbeddingsError(f"{path}: has no rows; give another")
        kind = schema.field(columns[0]).type
        is_list = hasattr(kind, "value_type")
        width = len(columns) if not is_list else _width(file, columns[0])
        names = tuple(str(k) for k in range(width)) if is_list else columns
        return Table(path, n, columns, names, places, found, str(kind.value_type if is_list else kind))


def _columns(path: Path, schema: Any, column: str | None) -> tuple[str, ...]:
    lists = [field.name for field in schema if _is_vector(field.type)]
    if column is not None:
        if column not in schema.names:
            raise EmbeddingsError(f"{path}: has no column {column}{nearest(column, lists or schema.names)}")
        if column not in lists:
            raise EmbeddingsError(f"{path}: column {column} is {schema.field(column).type}, no lists of numbers")
        return (column,)
    if len(lists) > 1:
        raise EmbeddingsError(f"{path}: has vectors in {', '.join(lists)}; choose one, as in --column {lists[0]}")
    if lists:
        return (lists[0],)
    series: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for field in schema:
        parts = re.fullmatch(r"(.*?)(\d+)", field.name)
        if parts and _is_number(field.type):
            series.setdefault((parts[1], str(field.type)), []).append((int(parts[2]), field.name))
    long = [sorted(found) for found in series.values() if len(found) >= LEAST]
    if len(long) != 1:
        named = "; ".join(f"{found[0][1]} to {found[-1][1]}" for found in long) or "none"
        raise EmbeddingsError(
            f"{path}: has no column of vectors (lists of numbers; numbered columns: {named}); give another"
        )
    return tuple(name for _, name in long[0])


def _is_number(kind: Any) -> bool:
    types = geoparquet.require().types
    return bool(types.is_floating(kind) or types.is_integer(kind))


def _is_vector(kind: Any) -> bool:
    types = geoparquet.require().types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(is_list and _is_number(kind.value_type))


def _width(file: Any, column: str) -> int:
    """Return the length of the first vector that is none of NULL."""
    kind = file.schema_arrow.field(column).type
    if geoparquet.require().types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in file.iter_batches(batch_size=1024, columns=[column]):
        for length in batch.column(0).drop_null().value_lengths().to_pylist()[:1]:
            if length:
                return int(length)
    raise ValueError(f"column {column} holds no vector")


def _places(path: Path, schema: Any, crs: str | None) -> tuple[tuple[str, ...], str]:
    """Return the columns that tell where vectors lie, and in which CRS."""
    text = (schema.metadata or {}).get(b"geo")
    if text is not None:
        geo = json.loads(text)
        name = geo["primary_column"]
        about = geo["columns"][name]
        if about["encoding"] != "WKB":
            fault = f"its geometry is encoded as {str(about['encoding'])[:40]}"
            raise EmbeddingsError(f"{path}: {fault}; write it as WKB: gpio convert geoparquet {path} OUT.parquet")
        schema.field(name)
        return (name,), _crs(path, about.get("crs", "OGC:CRS84"), crs)
    names = {name.casefold(): name for name in schema.names}
    for east, north in (*label_tables.DEGREES, ("centre_lon", "centre_lat")):
        if east in names and north in names:
            return (names[east], names[north]), crs_.LONLAT
    shapes = [
        names[name] for name in label_tables.SHAPES if name in names and "binary" in str(schema.field(names[name]).type)
    ]
    if not shapes:
        raise EmbeddingsError(f"{path}: has no geometry, nor columns lon and lat; give a GeoParquet file")
    return (shapes[0],), _crs(path, None, crs)


def _crs(path: Path, own: Any, given: str | None) -> str:
    """Return a CRS as WKT or authority code; raises EmbeddingsError where there is none, or it leads nowhere."""
    if own is None and given is None:
        raise EmbeddingsError(f"{path}: its geometry has no CRS; pass --crs, as in --crs EPSG:4326")
    if own is None:
        found = label_tables.parsed(str(given))
    else:
        try:
            found = crs_.horizontal(CRS.from_user_input(own).to_wkt())
        except CRSError:
            raise EmbeddingsError(
                f"{path}: its CRS is none that PROJ knows; write the file anew with another"
            ) from None
    if not crs_.is_on_earth(found):
        raise EmbeddingsError(f"{path}: its CRS leads to no place on the Earth; {vectors.ASSIGNING}")
    return found


def shapes(table: Table) -> NDArray[np.object_]:
    """Return where vectors lie, (rows,) shapes in the table's CRS, None for none; raises EmbeddingsError."""
    parts: list[NDArray[np.object_]] = []
    with geoparquet.opened(table.path) as file:
        for batch in file.iter_batches(columns=list(table.places)):
            if len(table.places) == 2:
                lon, lat = (np.asarray(batch.column(name), np.float64) for name in table.places)
                points = np.full(len(lon), None, object)
                known = np.isfinite(lon) & np.isfinite(lat)
                points[known] = shapely.points(lon[known], lat[known])
                parts.append(points)
                continue
            values = batch.column(table.places[0]).to_pylist()
            label_tables.require_flat(table.path, values)
            parts.append(np.asarray(shapely.from_wkb(np.array([*values, None], object)[:-1])))
    found = np.concatenate(parts)
    there = found[~shapely.is_missing(found) & ~shapely.is_empty(found)]
    if not len(there):
        raise EmbeddingsError(f"{table.path}: none of its rows has a geometry; give another")
    vectors.require_place(table.path, CRS.from_user_input(table.crs), there, EmbeddingsError)
    return found


def batches(table: Table) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield vectors in the order of the file: rows, and (n, D), with NaN where there is none or a number lacks.

    Raises EmbeddingsError where the file is damaged, or vectors differ in their dimensions.
    """
    start, width = 0, len(table.dimensions)
    size = max(1, BATCH // (4 * width))
    decode = encodings.alphaearth if is_alphaearth(table) and table.dtype == "int8" else None
    with geoparquet.opened(table.path) as file:
        for batch in file.iter_batches(batch_size=size, columns=list(table.columns)):
            if len(table.columns) == 1:
                values, absent = geoparquet.matrix(batch.column(0))
                if values.shape[1] not in (width, 0) or (not values.shape[1] and not absent.all()):
                    raise ValueError(f"it has vectors of {values.shape[1]} dimensions beside those of {width}")
                values = values if values.shape[1] else np.full((len(absent), width), np.nan, np.float32)
            else:
                columns = [batch.column(name) for name in table.columns]
                absent = np.any([np.asarray(column.is_null()) for column in columns], axis=0)
                values = np.stack([column.fill_null(0).to_numpy(zero_copy_only=False) for column in columns], axis=1)
            numbers = decode(values) if decode else values.astype(np.float32)
            numbers[absent | ~np.isfinite(numbers).all(axis=1)] = np.nan
            yield slice(start, start + len(numbers)), numbers
            start += len(numbers)


def is_alphaearth(table: Table) -> bool:
    """Tell whether the dimensions are called as those of AlphaEarth."""
    return table.dimensions == encodings.AXES
