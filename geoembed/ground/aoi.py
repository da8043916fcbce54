"""Areas of interest (AOI): polygons from any vector file, each with its CRS."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from geoembed.errors import AoiError
from geoembed.ground import crs
from geoembed.outputs import digests
from geoembed.project import remedies
from geoembed.project.kinds import Kind

ALL = "all"
"""Name of the results of all areas together; no area may have it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Area:
    """One area of interest.

    name: of the area.
    polygon: valid shapely Polygon or MultiPolygon.
    crs: of the polygon, as WKT.
    """

    name: str
    polygon: Any
    crs: str


def load(path: Path) -> geopandas.GeoDataFrame:
    """Read the polygons of a vector file; raises AoiError where there are none or the CRS is unknown."""
    if not path.exists():
        other = remedies.nearest_file(path, Kind.VECTOR)
        remedy = f"did you mean {other}?" if other else "name a vector file of polygons"
        raise AoiError(f"{path}: no such file; {remedy}")
    stranger = remedies.of_another_kind(path, Kind.VECTOR, "an area of interest")
    if stranger:
        raise AoiError(f"{path}: {stranger}; name a vector file of polygons")
    try:
        layers = pyogrio.list_layers(path)
        named = [str(name) for name, kind in layers if kind is None or "Polygon" in str(kind) or kind == "Unknown"]
        if not named:
            raise AoiError(f"{path}: has no polygon layer; an area of interest is made of polygons")
        if len(named) > 1:
            log.warning("%s: has %d polygon layers; layer %s is used", path, len(named), named[0])
        table = geopandas.read_file(path, layer=named[0])
    except pyogrio.errors.DataSourceError as error:
        fault = str(error).splitlines()[0]
        raise AoiError(f"{path}: cannot be read as a vector file ({fault}); give GeoPackage or GeoJSON") from None
    if table.crs is None:
        raise AoiError(f"{path}: has no CRS; assign one in QGIS or with ogr2ogr -a_srs")
    geometry = table.geometry
    usable = geometry.notna() & ~geometry.is_empty & geometry.geom_type.isin(["Polygon", "MultiPolygon"])
    if not usable.any():
        raise AoiError(f"{path}: has no polygons; an area of interest is made of polygons")
    if not usable.all():
        log.warning("%s: %d rows that are no polygons are left out", path, int((~usable).sum()))
    return table[usable]


def areas(path: Path, table: geopandas.GeoDataFrame) -> list[Area]:
    """Return a table's areas: rows of the same name are one area; rows without a name take the file's stem."""
    values = table["name"].astype(object) if "name" in table.columns else [None] * len(table)
    names = np.array([_text(value) or path.stem for value in values], dtype=object)
    by_name = table.geometry.groupby(names, sort=False)
    crs_text = table.crs.to_wkt()
    return [Area(name, shapely.union_all(shapely.make_valid(rows.to_numpy())), crs_text) for name, rows in by_name]


def _text(value: Any) -> str:
    """Return a name as text: empty for NULL, and without decimals for a whole number in a column of floats."""
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def read(paths: tuple[Path, ...]) -> tuple[tuple[Area, ...], list[tuple[str, str]]]:
    """Return the areas of several files, in order, and name and digest of each file.

    Raises AoiError where a file has no polygons or no CRS, an area is called all, or areas of one name differ in CRS.
    """
    if not paths:
        raise AoiError("no area of interest; name a vector file with --aoi")
    area_of: dict[str, Area] = {}
    fingerprints = []
    for path in paths:
        table = load(path)
        fingerprints.append((path.name, digests.of_table(table)))
        for area in areas(path, table):
            name = area.name
            if name == ALL:
                raise AoiError(f"{path}: an area cannot be called {ALL!r}, which stands for all areas; rename it")
            if name in area_of and area_of[name].crs != area.crs:
                raise AoiError(
                    f"{path}: area {name!r} is in another file too, in another CRS; rename it or use one CRS"
                )
            area_of[name] = Area(name, area_of[name].polygon.union(area.polygon), area.crs) if name in area_of else area
    return tuple(area_of.values()), fingerprints


def holds(area: Area, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which points, (N, 2) degrees east and north, lie in an area or on its edge, both in the area's CRS: (N,)."""
    shapely.prepare(area.polygon)
    lon, lat = points[:, 0], points[:, 1]
    if crs.same(area.crs, crs.LONLAT):
        west, _, east, _ = area.polygon.bounds
        turns = [turn for turn in (-360.0, 0.0, 360.0) if west <= 180.0 + turn and east >= -180.0 + turn]
        inside = [shapely.intersects_xy(area.polygon, lon + turn, lat) for turn in turns]
        return np.any(inside, axis=0) if inside else np.zeros(len(lon), dtype=bool)
    x, y = crs.transformer(crs.LONLAT, area.crs).transform(lon, lat)
    return np.asarray(shapely.intersects_xy(area.polygon, x, y))
