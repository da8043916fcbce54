"""What rasters hold within chips: class shares and means, exact at the borders of cells and of pixels.

Rasters on one lattice are one mosaic, where the first valid pixel in the order given counts. Rasters on another
lattice fill what is left of a chip: their shares are added as far as the chip has room, so that neighbours that do
not overlap add up exactly, and an overlap counts once.
Only windows near chips are read, block by block, so memory does not grow with the rasters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.feature import Feature, FeatureSource
from exactextract.raster import NumPyRasterSource
from exactextract.writer import Writer
from numpy.typing import NDArray

from geoembed.ground import outlines
from geoembed.ground.grid import Cells
from geoembed.imagery import mosaics
from geoembed.imagery.mosaics import Mosaic
from geoembed.imagery.rasters import Raster
from geoembed.imagery.windows import Readers, Window
from geoembed.progress import Progress


@dataclass(frozen=True)
class Shares:
    """What rasters hold within N chips.

    sums: (N, K) share of the chip's area that each class has; for means (N, 1), the mean value times `valid`.
    valid: (N,) share of the chip's area with valid pixels.
    seen: area within chips, in pixels, per value of class rasters.
    touched: addresses of the rasters with pixels near a chip.
    """

    sums: NDArray[np.float64]
    valid: NDArray[np.float64]
    seen: Counter[float] = field(default_factory=Counter)
    touched: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Outlines:
    """Chips' outlines in pixels of a mosaic, x to the right and y upward from its corner.

    A chip has none where it is far from the mosaic, and two where it lies at both ends of a map of the world.

    shapes: (M,) polygons.
    chip: (M,) the chip's row.
    edges: (M, 4) first and last column and row that an outline reaches, as fractions: left, top, right, bottom.
    """

    shapes: NDArray[Any]
    chip: NDArray[np.int64]
    edges: NDArray[np.float64]


def shares(
    rasters: Sequence[Raster], cells: Cells, classes: Sequence[Sequence[int]] | None
) -> Generator[Progress, None, Shares]:
    """Return what the first channel of rasters holds within chips, from one pass over the rasters.

    `classes` are K sets of raster values; None asks for means. Raises ImageryError when a raster cannot be read.
    """
    n = len(cells)
    total, valid = np.zeros((n, 1 if classes is None else len(classes))), np.zeros(n)
    seen: Counter[float] = Counter()
    touched: set[str] = set()
    found = mosaics.gather(rasters)
    with closing(Readers()) as readers:
        for number, mosaic in enumerate(found):
            part = Shares(np.zeros_like(total), np.zeros(n), seen)
            near = _near(mosaic, cells)
            for done, window, members in _by_block(near, mosaic.block()):
                touched.update(raster.address for raster in mosaic.within(window))
                _add(part, near, members, window, mosaic.read(window, readers), classes)
                yield Progress(n * (number + done) / len(found), n, "chips")
            with np.errstate(divide="ignore", invalid="ignore"):
                room = np.where(part.valid > 0, np.clip((1.0 - valid) / part.valid, 0.0, 1.0), 0.0)
            total += part.sums * room[:, None]
            valid += part.valid * room
    return Shares(total, valid, seen, frozenset(touched))


def _near(mosaic: Mosaic, cells: Cells) -> _Outlines:
    """Return the outlines of the chips that come near a mosaic's rasters.

    A chip of a geographic lattice may lie a whole turn away, and where it crosses 180 degrees it lies at both ends.
    """
    lattice = mosaic.lattice
    first, last = mosaic.extents[:, :2].min(axis=0), mosaic.extents[:, 2:].max(axis=0)
    shapes, chips, edges = [np.empty(0, dtype=object)], [np.empty(0, dtype=np.int64)], [np.empty((0, 4))]
    for points, rows in outlines.rings(lattice.crs, cells):
        for turn in outlines.turns(lattice.crs):
            # Columns and rows, (n, points, 2), as fractions.
            at = np.stack(
                [(points[:, :, 0] + turn - lattice.x) / lattice.dx, (lattice.y - points[:, :, 1]) / lattice.dy], axis=2
            )
            low, high = at.min(axis=1), at.max(axis=1)
            take = np.isfinite(at).all(axis=(1, 2)) & (high > first).all(axis=1) & (low < last).all(axis=1)
            shapes.append(shapely.polygons(at[take] * [1, -1]))
            chips.append(rows[take])
            edges.append(np.concatenate([low[take], high[take]], axis=1))
    return _Outlines(np.concatenate(shapes), np.concatenate(chips), np.concatenate(edges))


def _by_block(near: _Outlines, block: tuple[int, int]) -> Iterator[tuple[float, Window, NDArray[np.int64]]]:
    """Yield, block by block in rows from the top, the share done, the window to read and the outlines in it.

    The window is the part of the block that the outlines reach into.
    """
    outline, place = _pairs(near.edges, block)
    # Sorted by block, the pairs of one block follow each other, and so each block is read once.
    order = np.lexsort([place[:, 0], place[:, 1]])
    starts = np.flatnonzero((np.diff(place[order], axis=0) != 0).any(axis=1)) + 1
    done = 0
    for pairs in np.split(order, starts) if order.size else []:
        members, corner = outline[pairs], place[pairs[0]] * block
        edges = near.edges[members]
        left, top = np.maximum(np.floor(edges[:, :2].min(axis=0)).astype(np.int64), corner).tolist()
        right, bottom = np.minimum(np.ceil(edges[:, 2:].max(axis=0)).astype(np.int64), corner + block).tolist()
        done += pairs.size
        if right > left and bottom > top:
            yield done / order.size, Window(top, left, bottom - top, right - left), members


def _pairs(edges: NDArray[np.float64], block: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every pair of an outline and a block that it reaches into: outlines (P,), blocks (P, 2) column and row."""
    first, last = (np.floor(edge / block).astype(np.int64) for edge in (edges[:, :2], edges[:, 2:]))
    spans = last - first + 1
    outline = np.repeat(np.arange(len(edges)), spans.prod(axis=1))
    # An outline's pairs lie side by side: a pair's distance from the first of them counts through the outline's
    # blocks, row by row.
    nth = np.arange(outline.size) - np.searchsorted(outline, outline)
    across = spans[outline, 0]
    return outline, first[outline] + np.stack([nth % across, nth // across], axis=1)


def _add(
    part: Shares,
    near: _Outlines,
    members: NDArray[np.int64],
    window: Window,
    pixels: Any,
    classes: Sequence[Sequence[int]] | None,
) -> None:
    """Add what a window's pixels hold within some outlines to the chips that these belong to.

    A chip may have several of the outlines, and np.add.at adds all of them where `+=` would keep the last.
    """
    if not pixels.count():
        return
    shapes, chip = near.shapes[members], near.chip[members]
    area = shapely.area(shapes)
    found = _extract(pixels, window, shapes, ["count", "mean"] if classes is None else ["count", "unique", "frac"])
    counts = np.array([outline["count"] for outline in found])
    np.add.at(part.valid, chip, counts / area)
    if classes is None:
        means = np.array([outline["mean"] for outline in found], dtype=np.float64)
        np.add.at(part.sums[:, 0], chip, np.where(counts > 0, means * counts, 0.0) / area)
        return
    # One entry per outline and value in it: `owner` is the outline's position, `covered` the value's pixels in it.
    owner = np.repeat(np.arange(len(found)), [outline["unique"].size for outline in found])
    value = np.concatenate([outline["unique"] for outline in found])
    covered = np.concatenate([outline["frac"] for outline in found]) * counts[owner]
    for k, wanted in enumerate(classes):
        of_class = np.isin(value, wanted)
        np.add.at(part.sums[:, k], chip[owner[of_class]], covered[of_class] / area[owner[of_class]])
    values, number = np.unique(value, return_inverse=True)
    part.seen.update(dict(zip(values.tolist(), np.bincount(number, weights=covered).tolist(), strict=True)))


def _extract(pixels: Any, window: Window, shapes: NDArray[Any], operations: list[str]) -> list[dict[str, Any]]:
    """Return what exactextract finds in each outline: `count` is the valid pixels' area in pixels."""
    features, writer = _exchange()
    left, right = window.column, window.column + window.width
    top, bottom = -window.row, -window.row - window.height
    source = NumPyRasterSource(pixels, left, bottom, right, top)
    found: list[dict[str, Any]] = exact_extract(source, features(shapely.to_wkb(shapes)), operations, output=writer())
    return found


@lru_cache(maxsize=1)
def _exchange() -> tuple[Any, Any]:
    """Return exactextract's feature source and writer, without its detour over GeoJSON (three times slower)."""

    class Outline(Feature):  # type: ignore[misc]
        def __init__(self, wkb: bytes = b"") -> None:
            super().__init__()
            self.wkb, self.found = wkb, dict[str, Any]()

        def set(self, name: str, value: Any) -> None:
            self.found[name] = value

        def geometry(self) -> bytes:
            return self.wkb

        def set_geometry(self, wkb: bytes) -> None:
            self.wkb = wkb

        def set_geometry_format(self) -> str:
            return "wkb"

        def fields(self) -> list[str]:
            return []

    class Outlines(FeatureSource):  # type: ignore[misc]
        def __init__(self, wkbs: NDArray[Any]) -> None:
            super().__init__()
            self.wkbs = wkbs

        def count(self) -> int:
            return len(self.wkbs)

        def __iter__(self) -> Iterator[Outline]:
            return (Outline(wkb) for wkb in self.wkbs)

        def srs_wkt(self) -> None:
            return None

    class Rows(Writer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.rows: list[dict[str, Any]] = []

        def add_operation(self, operation: Any) -> None:
            pass

        def write(self, feature: Any) -> None:
            one = Outline()
            feature.copy_to(one)
            self.rows.append(one.found)

        def features(self) -> list[dict[str, Any]]:
            return self.rows

    return Outlines, Rows
