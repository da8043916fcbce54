"""Examples: chips that are named by a place, an id, a file of places, or that are of another place altogether."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from geoembed.chips import folder as chip_folder
from geoembed.chips.folder import ChipSet
from geoembed.errors import LabelError, SearchError
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits.embeddings import Embeddings
from geoembed.ground import crs as crs_
from geoembed.ground import distances, grid, vectors
from geoembed.labels import places, tables
from geoembed.labels.places import Overlap
from geoembed.names import CHIP_ID
from geoembed.outputs import digests, geopackage
from geoembed.project import kinds
from geoembed.project.kinds import Kind

if TYPE_CHECKING:
    from geoembed.ground.grid import Cells

log = logging.getLogger(__name__)

LONLAT = re.compile(r"\s*([-+]?\d+(?:\.\d*)?)\s*,\s*([-+]?\d+(?:\.\d*)?)\s*")
"""Degrees east and north, as they are typed."""

VECTORS = (Kind.LABELS, Kind.PREDICTIONS, Kind.SIMILAR, Kind.VECTOR)


@dataclass(frozen=True)
class Examples:
    """What was given as examples of one kind, or of the other.

    option: --like or --not.
    rows: rows of the embeddings that are searched, in ascending order, each once.
    others: chips that were cut, or embedded, elsewhere.
    """

    option: str
    rows: NDArray[np.int64]
    others: tuple[ChipSet | Embeddings, ...]

    def digest(self, file: Embeddings) -> str:
        """Return the SHA-256 of which chips these are."""
        return digests.of_value([file.chip_id[self.rows].tolist(), [other.digest for other in self.others]])


def read(option: str, texts: Sequence[str], file: Embeddings) -> Examples:
    """Return the examples that texts name: LON,LAT, a chip id, or the path of a vector file, chips or embeddings.

    Raises SearchError for what names no chip.
    """
    rows: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    others: list[ChipSet | Embeddings] = []
    cells: Cells | None = None
    for text in texts:
        place, path = LONLAT.fullmatch(text), Path(text)
        kind = None if place else kinds.of(path)
        if kind is Kind.CHIPS:
            others.append(chip_folder.read(path))
        elif kind is Kind.EMBEDDINGS:
            others.append(embeddings_file.read(path))
        elif place or kind in VECTORS:
            cells = grid.cells(file.grids, file.chip_id) if cells is None else cells
            rows.append(_at(option, text, place, file, cells) if place else _of(path, file, cells))
        elif kind is not None:
            raise SearchError(f"{option} {text}: is {kind.value}; give LON,LAT, a chip id, a vector file or chips")
        else:
            rows.append(_named(option, text, file))
    given = np.concatenate(rows)
    unique = np.unique(given)
    if len(unique) < len(given):
        log.warning("%s: names %s chips more than once; each counts once", option, f"{len(given) - len(unique):,}")
    return Examples(option, unique, tuple({other.digest: other for other in others}.values()))


def _at(option: str, text: str, place: re.Match[str], file: Embeddings, cells: Cells) -> NDArray[np.int64]:
    """Return the chips that hold a place, two where grids overlap."""
    lon, lat = map(float, place.groups())
    if not (abs(lon) <= 360.0 and abs(lat) <= 90.0):
        raise SearchError(f"{option} {text}: is no longitude and latitude; write degrees east, then degrees north")
    found, _ = places.points_in_chips(np.array([[lon, lat]]), crs_.LONLAT, cells)
    if found.size:
        return np.unique(found)
    away = distances.metres(np.array([lon, lat]), file.lonlat)
    near = int(away.argmin()) if len(file) else 0
    turned = places.points_in_chips(np.array([[lat, lon]]), crs_.LONLAT, cells)[0].size if abs(lon) <= 90.0 else 0
    hint = f"--like {lat:g},{lon:g} does: longitude comes first" if turned else "choose a place within the chips"
    nearest = f" (the nearest, {file.chip_id[near]}, is {away[near] / 1000:,.1f} km away)" if len(file) else ""
    raise SearchError(f"{option} {text}: lies on no chip of {file.path}{nearest}; {hint.replace('--like', option)}")


def _named(option: str, text: str, file: Embeddings) -> NDArray[np.int64]:
    """Return the chip of an id."""
    found = np.flatnonzero(file.chip_id == text)
    if found.size:
        return found
    if CHIP_ID.match(text):
        such = f", whose ids are such as {file.chip_id[0]}" if len(file) else ""
        raise SearchError(f"{option} {text}: no chip of {file.path} has this id{such}; give one of them, or LON,LAT")
    raise SearchError(f"{option} {text}: no such file, and neither LON,LAT nor a chip id; give one of these")


def _of(path: Path, file: Embeddings, cells: Cells) -> NDArray[np.int64]:
    """Return the chips that a vector file names in a column chip_id, else those that its points and polygons lie on.

    A polygon names the chips of which it covers more than half, a smaller one the chip that holds its middle.
    """
    try:
        table = _table(path)
        found, given = _by_id(table, file) if tables.CHIP_ID in table else _by_place(path, table, cells)
    except LabelError as error:
        raise SearchError(str(error)) from None
    if not found.size:
        raise SearchError(f"{path}: none of its {given:,} rows lies on a chip of {file.path}; give places that do")
    lost = given - np.unique(found[:, 1]).size
    if lost:
        log.warning(
            "%s: %s of %s rows lie on no chip of %s and are left out", path, f"{lost:,}", f"{given:,}", file.path
        )
    return np.unique(found[:, 0])


def _table(path: Path) -> Any:
    """Read the layer of a vector file, or a table, with the places of its rows."""
    if path.suffix.lower() in (*tables.CSV, *tables.PARQUET):
        table = tables.placed(path, tables.read(path), None)
    else:
        layers = [layer for layer, kind in vectors.layers(path, LabelError).items() if kind]
        if len(layers) != 1:
            one = f"`ogr2ogr one.gpkg {shlex.quote(str(path))} {shlex.quote(layers[0])}`" if layers else ""
            fault = f"has the layers {', '.join(layers)}; give a file of one, as by {one}" if layers else (
                "has no layer with geometry; give points or polygons"
            )  # fmt: skip
            raise SearchError(f"{path}: {fault}")
        table = vectors.read(path, layers[0], LabelError)
        if path.suffix.lower() == ".gpkg":
            geopackage.require_rows(path, layers[0], table, LabelError)
    _require_of_one_kind(path, table)
    for name in tables.matching(tables.CHIP_ID, table.columns)[:1]:
        table = table.rename(columns={name: tables.CHIP_ID})
    return table


def _require_of_one_kind(path: Path, table: Any) -> None:
    """Raise SearchError for a file of labels, or a map, of several classes: not all of its chips are examples."""
    column = {Kind.LABELS: "label", Kind.PREDICTIONS: "prediction"}.get(kinds.of(path) or Kind.VECTOR)
    if column not in table or table[column].nunique() < 2:
        return
    last = sorted(table[column].dropna().unique().tolist())[-1]
    value = f"'{last}'" if isinstance(last, str) else f"{last:g}"
    words = ["ogr2ogr", "-nomd", "-where", f"{column} = {value}", "like.gpkg", str(path)]
    raise SearchError(
        f"{path}: holds chips of several values of {column}; take those of one, as by `{shlex.join(words)}`"
    )


def _by_id(table: Any, file: Embeddings) -> tuple[NDArray[np.int64], int]:
    """Return pairs (k, 2) of a chip and a row of a table, and how many rows there are."""
    chips = pd.Index(file.chip_id).get_indexer(table[tables.CHIP_ID].map(vectors.text))
    return np.stack([chips, np.arange(len(table))], axis=1)[chips >= 0], len(table)


def _by_place(path: Path, table: Any, cells: Cells) -> tuple[NDArray[np.int64], int]:
    """Return pairs as `_by_id` does, of the rows that have points or polygons."""
    if not isinstance(table, geopandas.GeoDataFrame):
        raise SearchError(f"{path}: has neither geometry, nor columns chip_id or lon and lat; add one of them")
    shapes, rows = vectors.parts(table.geometry.to_numpy())
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    shapes, rows, dimensions = shapes[finite], rows[finite], shapely.get_dimensions(shapes[finite])
    if not np.isin(dimensions, (0, 2)).any():
        raise SearchError(f"{path}: has no points or polygons; examples are such, or have a column chip_id")
    vectors.require_place(path, table.crs, shapes, LabelError)
    crs, is_point, is_polygon = crs_.horizontal(table.crs.to_wkt()), dimensions == 0, dimensions == 2
    chips, held = places.points_in_chips(shapely.get_coordinates(shapes[is_point]), crs, cells)
    pairs = [np.stack([chips, rows[is_point][held]], axis=1)]
    if is_polygon.any():
        n = len(table)
        pieces = places.pieces_on_chips(shapes[is_polygon], rows[is_polygon], np.zeros(n), np.ones(n), crs, cells)
        matches = pieces.matches(Overlap())
        pairs.append(np.stack([matches.chips, matches.labels], axis=1))
    return np.concatenate(pairs), len(table)
