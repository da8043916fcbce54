"""Areas of interest (AOI): polygons from any vector file, each with its CRS."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from geoembed import names
from geoembed.errors import AoiError, of_library
from geoembed.ground import crs, vectors
from geoembed.outputs import digests
from geoembed.project import remedies
from geoembed.project.kinds import Kind

ALL = "all"
"""Name of the results of all areas together; no area may have it."""

MAY_BE_POLYGONS = ("Polygon", "Surface", "Collection", "Unknown")
"""Words in the geometry types of layers that can hold polygons."""

NAMELESS = ("", "null", "<null>")
"""Texts that stand for no name, in lower case."""

TOGETHER = 128
"""Neighbouring polygons that are united at first, where there are more of them."""

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


def load(path: Path, layer: str | None = None) -> geopandas.GeoDataFrame:
    """Read the polygons of a layer; raises AoiError where there are none, or they have no place on the Earth.

    Without a `layer`, the only one that has polygons is read.
    """
    if not path.exists():
        other = remedies.nearest_file(path, Kind.VECTOR)
        remedy = f"did you mean {other}?" if other else "name a vector file of polygons"
        raise AoiError(f"{path}: no such file; {remedy}")
    stranger = remedies.of_another_kind(path, Kind.VECTOR, "an area of interest")
    if stranger:
        raise AoiError(f"{path}: {stranger}; name a vector file of polygons")
    kinds = vectors.layers(path, AoiError)
    possible = [name for name, kind in kinds.items() if kind and any(word in kind for word in MAY_BE_POLYGONS)]
    tables = {
        name: _polygons(path, vectors.read(path, name, AoiError))
        for name in ([layer] if layer in possible else possible)
    }
    holding = [name for name, table in tables.items() if len(table)]
    if not holding:
        raise AoiError(f"{path}: has no polygons; an area of interest is made of polygons")
    table = tables[vectors.chosen(path, layer, holding, "polygon layer", AoiError)]
    if table.attrs["left_out"]:
        log.warning("%s: %d rows that are no polygons are left out", path, table.attrs["left_out"])
    vectors.require_place(path, table.crs, table.geometry.to_numpy(), AoiError)
    return table


def _polygons(path: Path, table: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Return the rows with polygons, also those in a collection; attribute `left_out` counts the others.

    Raises AoiError for coordinates that are not finite.
    """
    shapes = table.geometry.to_numpy()
    vectors.require_finite(path, shapes, AoiError)
    collections = np.flatnonzero(shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION)
    for row in collections:
        parts, _ = vectors.parts(shapes[[row]])
        shapes[row] = shapely.union_all(shapely.make_valid(parts[shapely.get_dimensions(parts) == 2]))
    usable = (shapely.get_dimensions(shapes) == 2) & ~shapely.is_empty(shapes) & ~shapely.is_missing(shapes)
    kept = table.set_geometry(geopandas.GeoSeries(shapes, index=table.index, crs=table.crs))[usable]
    kept.attrs["left_out"] = int((~usable).sum())
    return kept


def areas(path: Path, table: geopandas.GeoDataFrame) -> list[Area]:
    """Return a table's areas: rows of the same name are one area; rows without a name take the file's stem."""
    column = next((name for name in table.columns if str(name).casefold() == "name"), None)
    values = [None] * len(table) if column is None else table[column].astype(object)
    texts = ["" if (name := vectors.text(value)).casefold() in NAMELESS else name for value in values]
    stripped = sum(
        isinstance(value, str) and text not in ("", value) for text, value in zip(texts, values, strict=True)
    )
    if stripped:
        log.warning("%s: %d names lost outer blanks", path, stripped)
    crs_text = crs.horizontal(table.crs.to_wkt())
    rows_of: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        rows_of.setdefault(text or path.stem, []).append(row)
    for name in rows_of:
        try:
            names.text(name)
        except ValueError as fault:
            raise AoiError(f"{path}: area {fault}; rename it") from None
    try:
        polygons = shapely.make_valid(table.geometry.to_numpy())
        merged = [polygons[rows[0]] if len(rows) == 1 else _union(polygons[rows]) for rows in rows_of.values()]
    except shapely.errors.ShapelyError as fault:
        raise AoiError(f"{path}: its polygons cannot be mended ({of_library(fault)}); draw them again") from None
    return [Area(name, polygon, crs_text) for name, polygon in zip(rows_of, merged, strict=True)]


def _union(polygons: Any) -> Any:
    """Return the union of polygons: of neighbours first, as GEOS takes the square of the time where many overlap."""
    if len(polygons) > TOGETHER:
        order = geopandas.GeoSeries(polygons).hilbert_distance().to_numpy().argsort(kind="stable")
        bunches = [order[start : start + TOGETHER] for start in range(0, len(order), TOGETHER)]
        unions = np.array([shapely.disjoint_subset_union_all(polygons[bunch]) for bunch in bunches])
        polygons = shapely.get_parts(unions)
    return shapely.disjoint_subset_union_all(polygons)


def read(paths: tuple[Path, ...], layer: str | None = None) -> tuple[tuple[Area, ...], list[tuple[str, str]]]:
    """Return the areas of several files (of a `layer` of each), in order, and name and digest of each file.

    Raises AoiError where a file has no polygons or no CRS, an area is called all, or areas of one name differ in CRS.
    """
    if not paths:
        raise AoiError("no area of interest; name a vector file with --aoi")
    area_of: dict[str, Area] = {}
    fingerprints = []
    for path in paths:
        table = load(path, layer)
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
