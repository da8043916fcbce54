"""Vector files: the layers that have geometry, read whole, with a CRS that leads to places on the Earth."""

import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import ProjError

from geoembed.errors import GeoembedError, nearest, of_library
from geoembed.ground import crs as crs_
from geoembed.ground import formats, offline

log = logging.getLogger(__name__)

STYLES = "layer_styles"
"""The table in which QGIS keeps styles beside the layers that they are for."""

ENCODING = "cp1252"
"""The encoding of texts that are not UTF-8: that of Windows in western Europe, which holds Latin-1's letters."""

BYTES = "ISO-8859-1"
"""An encoding in which every byte is a letter, so that any text can be read and its bytes be had again."""

FAULTS = (RuntimeError, ValueError, OverflowError, TypeError, LookupError, AttributeError, NameError, SystemError,
          MemoryError, shapely.errors.ShapelyError)  # fmt: skip
"""What the libraries raise for files that are damaged or absurd: pyogrio's and pyproj's errors and RecursionError are
RuntimeErrors, UnicodeDecodeError is a ValueError; of some CRS pyogrio forgets to set a name, which is a NameError."""

MOST = 1e30
"""Coordinates of this size or more are none, in whatever unit."""

ASSIGNING = "assign the right one in QGIS, or with ogr2ogr -a_srs"


def layers(path: Path, error: type[GeoembedError]) -> dict[str, str | None]:
    """Return the layers of a vector file and the geometry type of each, None where a layer has no geometry.

    Raises `error` where the file is of no format that is read (see `formats`), or damaged.
    """
    with _reading(path, error):
        kinds = {str(name): None if kind is None else str(kind) for name, kind in pyogrio.list_layers(path)}
    kinds.pop(STYLES, None)
    return kinds


def count(path: Path, layer: str, error: type[GeoembedError]) -> int:
    """Return how many rows a layer has; raises `error` where it claims more than the file can hold."""
    with _reading(path, error):
        claimed = int(pyogrio.read_info(path, layer=layer, encoding=BYTES, force_feature_count=True)["features"])
        most = formats.unpacked_size(path)
    if claimed > most:
        raise error(f"{path}: claims {claimed:,} rows in {most:,} bytes; it is damaged: make it again")
    return claimed


def columns(path: Path, layer: str, error: type[GeoembedError]) -> dict[str, str]:
    """Return the types of a layer's columns as the file has them; `read` has floats for integers with NULL."""
    with _reading(path, error):
        try:
            info = pyogrio.read_info(path, layer=layer)
        except UnicodeDecodeError:
            info = pyogrio.read_info(path, layer=layer, encoding=BYTES)
            info["fields"] = [_decoded(name) for name in info["fields"]]
    return dict(zip(map(str, info["fields"]), map(str, info["dtypes"]), strict=True))


def read(path: Path, layer: str, error: type[GeoembedError]) -> Any:
    """Read a layer, a GeoDataFrame where it has geometry; texts that are not UTF-8 are read as ENCODING, aloud.

    Raises `error` where it cannot be read.
    """
    count(path, layer, error)
    with _reading(path, error), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as of a ring that is closed for the reader; what matters is checked
        try:
            return _whole(path, layer, pyogrio.read_dataframe(path, layer=layer))
        except UnicodeDecodeError:
            table = _whole(path, layer, pyogrio.read_dataframe(path, layer=layer, encoding=BYTES))
    log.warning("%s: has texts that are not UTF-8; they are read as %s", path, ENCODING)
    for name in table.columns:
        if table[name].dtype != "geometry" and any(isinstance(value, str) for value in table[name]):
            table[name] = table[name].map(_decoded, na_action="ignore")
    return table.rename(columns=_decoded)


@contextmanager
def _reading(path: Path, error: type[GeoembedError]) -> Iterator[None]:
    """Let GDAL read a file that it may read, offline; what the libraries raise becomes `error`."""
    require_name(path, error)
    formats.require(path, error)
    before = {name: pyogrio.get_gdal_config_option(name) for name in offline.OPTIONS}
    pyogrio.set_gdal_config_options(offline.OPTIONS)
    try:
        yield
    except GeoembedError:
        raise
    except FAULTS as fault:
        raise _unreadable(path, fault, error) from None
    finally:
        pyogrio.set_gdal_config_options(before)


def _whole(path: Path, layer: str, table: Any) -> Any:
    """Return a table in which integers that floats cannot hold, as which those beside NULL are read, are whole."""
    for name in table.select_dtypes("float64").columns:
        if not (table[name].abs() >= 2.0**53).any() or columns(path, layer, GeoembedError).get(name) != "int64":
            continue
        column, of = (word.replace('"', '""') for word in (name, layer))
        query = f'SELECT CAST("{column}" AS character(20)) AS whole FROM "{of}"'
        texts = pyogrio.read_dataframe(path, sql=query, read_geometry=False)["whole"]
        table[name] = pd.array([pd.NA if pd.isna(text) else int(text) for text in texts], dtype="Int64")
    return table


def _decoded(text: Any) -> Any:
    """Return a text that was read as BYTES in its own encoding; what is no text stays."""
    for encoding in ("utf-8", ENCODING) if isinstance(text, str) else ():
        try:
            return text.encode(BYTES).decode(encoding)
        except UnicodeError:
            continue
    return text


def chosen(path: Path, layer: str | None, among: list[str], what: str, error: type[GeoembedError]) -> str:
    """Return the layer asked for, or the only one; raises `error` that names them where there are several or none.

    among: names of the layers that could be meant.
    what: such layers, in words.
    """
    if layer is not None:
        if layer not in among:
            remedy = nearest(layer, among) if among else "; give another file"
            raise error(f"--layer {layer}: {path} has no {what} of this name{remedy}")
        return layer
    if len(among) > 1:
        raise error(f"{path}: has {len(among)} {what}s, {', '.join(among)}; choose one, as in --layer {among[0]}")
    return among[0]


def parts(shapes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the points, lines and polygons that geometries consist of, at any depth, and the rows that they are of."""
    single, rows = shapely.get_parts(shapes, return_index=True)
    while (shapely.get_type_id(single) > shapely.GeometryType.POLYGON).any():
        single, inner = shapely.get_parts(single, return_index=True)
        rows = rows[inner]
    return single, rows


def text(value: Any) -> str:
    """Return a name or an id as text: empty for NULL and blanks, and without decimals for a whole number."""
    if pd.isna(value):
        return ""
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def require_name(path: Path, error: type[GeoembedError]) -> None:
    """Raise `error` where a file's name is not UTF-8, so that GDAL cannot open it."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        name = os.fsencode(path.name).decode("ascii", "backslashreplace")
        raise error(f"{path.parent}: its file {name} has a name that is not UTF-8; rename it") from None


def require_place(
    path: Path, crs: CRS | None, shapes: NDArray[Any], error: type[GeoembedError], assigning: str = ASSIGNING
) -> None:
    """Raise `error` where a CRS is missing or leads to no place on the Earth, or coordinates cannot be of that CRS.

    assigning: the remedy for a CRS that is wrong.
    """
    if crs is None:
        raise error(f"{path}: has no CRS; {assigning}")
    try:
        wkt = crs.to_wkt()
        is_on_earth = crs_.is_on_earth(wkt)
    except ProjError as fault:
        raise _unreadable(path, fault, error) from None
    if not is_on_earth:
        raise error(f"{path}: its CRS, {crs.name}, leads to no place on the Earth; {assigning}")
    west, south, east, north = shapely.total_bounds(shapes)
    require_finite(path, shapes, error)
    most = (crs_.circle(wkt) or math.inf) / 4 * (1 + 1e-9)  # 90 degrees, 100 grads
    if max(-south, north) > most or max(-west, east) > 6 * most:
        raise error(
            f"{path}: has coordinates from {west:g} {south:g} to {east:g} {north:g}, which cannot be degrees as its CRS"
            f" ({crs.name}) says; {ASSIGNING}"
        )


def require_finite(path: Path, shapes: NDArray[Any], error: type[GeoembedError]) -> None:
    """Raise `error` where a coordinate of shapely geometries is NaN or infinite, or too large to be multiplied."""
    if not (np.abs(shapely.get_coordinates(shapes)) < MOST).all():
        raise error(f"{path}: has coordinates that are not finite, or are absurdly large; mend them")


def _unreadable(path: Path, fault: Exception, error: type[GeoembedError]) -> GeoembedError:
    if "proj.db" in str(fault):
        raise fault  # a fault of the machine, not of the file
    first = of_library(fault).partition("; It might help")[0]
    if isinstance(fault, MemoryError):
        return error(f"{path}: takes more memory than there is ({first}); give a part of it, or close other programs")
    return error(f"{path}: cannot be read as a vector file ({first}); give GeoPackage or GeoJSON")
