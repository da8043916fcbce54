"""Vector files: the layers that have geometry, read whole, with a CRS that leads to places on the Earth."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely

from geoembed.errors import GeoembedError, nearest
from geoembed.ground import crs

log = logging.getLogger(__name__)

STYLES = "layer_styles"
"""The table in which QGIS keeps styles beside the layers that they are for."""

ENCODING = "cp1252"
"""The encoding of texts that are not UTF-8: that of Windows in western Europe, which holds Latin-1's letters."""

FAULTS = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.GeometryError, RuntimeError)


def layers(path: Path, error: type[GeoembedError]) -> dict[str, str | None]:
    """Return the layers of a vector file and the geometry type of each, None where a layer has no geometry.

    Raises `error` where the file is none that GDAL reads.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        name = os.fsencode(path.name).decode("ascii", "backslashreplace")
        raise error(
            f"{path.parent}: its file {name} has a name that is not UTF-8, so GDAL cannot open it; rename it"
        ) from None
    try:
        return {
            str(name): None if kind is None else str(kind) for name, kind in pyogrio.list_layers(path) if name != STYLES
        }
    except FAULTS as fault:
        raise error(f"{path}: cannot be read as a vector file ({_first(fault)}); give GeoPackage or GeoJSON") from None


def read(path: Path, layer: str, error: type[GeoembedError], **options: Any) -> Any:
    """Read a layer, a GeoDataFrame where it has geometry; texts that are not UTF-8 are read as ENCODING, aloud.

    Raises `error` where it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of a ring that is closed for the reader; what matters is checked
            try:
                return pyogrio.read_dataframe(path, layer=layer, **options)
            except UnicodeDecodeError:
                table = pyogrio.read_dataframe(path, layer=layer, encoding=ENCODING, **options)
        log.warning("%s: its texts are not UTF-8; they are read as %s", path, ENCODING)
        return table
    except FAULTS as fault:
        raise error(f"{path}: cannot be read as a vector file ({_first(fault)}); give GeoPackage or GeoJSON") from None


def chosen(path: Path, layer: str | None, among: list[str], what: str, error: type[GeoembedError]) -> str:
    """Return the layer asked for, or the only one; raises `error` that names them where there are several or none.

    among: names of the layers that could be meant.
    what: such layers, in words.
    """
    if layer is not None:
        if layer not in among:
            raise error(
                f"{path}: has no {what} called {layer}{nearest(layer, among)}" if among else f"{path}: has no {what}"
            )
        return layer
    if len(among) > 1:
        raise error(f"{path}: has {len(among)} {what}s, {', '.join(among)}; choose one with --layer {among[0]}")
    return among[0]


def require_place(path: Path, table: geopandas.GeoDataFrame, error: type[GeoembedError]) -> None:
    """Raise `error` where a table's CRS is missing or no place on the Earth, or its coordinates are not of that CRS."""
    if table.crs is None:
        raise error(f"{path}: has no CRS; assign one in QGIS or with ogr2ogr -a_srs EPSG:4326 new.gpkg {path}")
    text = table.crs.to_wkt()
    if not crs.is_on_earth(text):
        raise error(
            f"{path}: its CRS, {table.crs.name}, is no place on the Earth; assign the right one in QGIS or with"
            f" ogr2ogr -a_srs"
        )
    west, south, east, north = shapely.total_bounds(table.geometry.to_numpy())
    if not np.isfinite([west, south, east, north]).all():
        raise error(f"{path}: has coordinates that are not finite; mend them")
    if crs.is_geographic(text) and (min(south, -north) < -90.0 or min(west, -east) < -540.0):
        raise error(
            f"{path}: has coordinates from {west:g} {south:g} to {east:g} {north:g} in a CRS of degrees"
            f" ({table.crs.name}); assign the CRS that they are in, in QGIS or with ogr2ogr -a_srs"
        )


def _first(fault: Exception) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0]
