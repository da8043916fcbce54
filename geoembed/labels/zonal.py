"""What rasters hold within chips: class shares and means, exact at the borders of cells and of pixels.

Rasters on one lattice are one mosaic, in which the first valid pixel in the order given counts. Several mosaics are
combined chip by chip: the shares of the second fill what the first leaves of the chip's area, and so on. So mosaics
that do not overlap add up exactly, and where they overlap no area counts twice.
Only windows near chips are read, block by block, so memory does not grow with the rasters.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.feature import JSONFeature, JSONFeatureSource
from exactextract.raster import NumPyRasterSource
from numpy.typing import NDArray

from geoembed.errors import LabelError
from geoembed.ground import outlines
from geoembed.ground.grid import Cells
from geoembed.ground.lattice import Lattice
from geoembed.imagery import mosaics
from geoembed.imagery.mosaics import Mosaic
from geoembed.imagery.rasters import Raster
from geoembed.imagery.windows import Readers, Window
from geoembed.progress import Progress

MOST_VALUES = 100
"""Number of values above which a raster does not hold classes."""

TORN = 30.0
"""Times the median step between points of an outline, above which a step leads across the edge of a map; at 84 degrees
north and south, the ends of UTM, steps to the east are ten times as long in degrees as those to the north."""

PIECES = 32
"""Small cells along the side of a cell that the edge of a map tears apart."""

MEAN = np.inf
"""Stands for the mean among values, as no valid pixel has this value."""


class Each(Enum):
    """Asks for a class of each value that rasters hold."""

    EACH = "each"


EACH = Each.EACH


@dataclass(frozen=True)
class Shares:
    """What rasters hold within N chips.

    sums: (N, K) share of the chip's area that each class has; for means (N, 1), the mean value times `valid`.
    valid: (N,) share of the chip's area with valid pixels.
    classes: the raster values of each of the K classes.
    pixels: area within chips, in pixels, of each value of class rasters.
    touched: addresses of the rasters with pixels near a chip.
    absurd: how many pixels near chips are no value as they are infinite or beyond reason, by address.
    """

    sums: NDArray[np.float64]
    valid: NDArray[np.float64]
    classes: tuple[tuple[float, ...], ...]
    pixels: Counter[float]
    touched: frozenset[str]
    absurd: Counter[str] = field(default_factory=Counter)


@dataclass
class _Part:
    """What a mosaic holds within N chips, block by block.

    n: number of chips.
    wanted: the values whose shares are asked for; None: each value.
    valid: (N,) as in Shares.
    sums: (N,) as a column of Shares, by value; under MEAN for means.
    pixels: as in Shares.
    """

    n: int
    wanted: frozenset[float] | None
    valid: NDArray[np.float64]
    sums: dict[float, NDArray[np.float64]] = field(default_factory=dict)
    pixels: Counter[float] = field(default_factory=Counter)

    def add(self, value: float, chips: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
        """Add shares of chips, of which one may stand there several times, where `+=` would keep the last only."""
        np.add.at(self.sums.setdefault(value, np.zeros(self.n)), chips, shares)


@dataclass(frozen=True)
class _Outlines:
    """Chips' outlines in pixels of a mosaic, x to the right and y upward from its corner.

    A chip has none where it is far from the mosaic, and two where it lies at both ends of a map of the world.

    shapes: (M,) polygons.
    chips: (M,) rows of their chips.
    areas: (M,) area of the whole chip, in pixels.
    edges: (M, 4) first and last column and row that an outline reaches, as fractions: left, top, right, bottom.
    """

    shapes: NDArray[Any]
    chips: NDArray[np.int64]
    areas: NDArray[np.float64]
    edges: NDArray[np.float64]


def shares(
    rasters: Sequence[Raster], cells: Cells, classes: Sequence[Sequence[float]] | Each | None
) -> Generator[Progress, None, Shares]:
    """Return what the first channel of rasters holds within N chips, from one pass over the rasters.

    `classes` are K sets of raster values; EACH makes a class of each value, None asks for means. Raises ImageryError
    where a raster cannot be read, and LabelError for EACH where there are more than MOST_VALUES.
    """
    n, means = len(cells), classes is None
    wanted = None if isinstance(classes, Each) else frozenset(value for values in classes or () for value in values)
    total, valid, pixels = _Part(n, wanted, np.zeros(n)), np.zeros(n), Counter[float]()
    touched: set[str] = set()
    all_mosaics = mosaics.gather(rasters)
    with closing(Readers()) as readers:
        for number, mosaic in enumerate(all_mosaics):
            part = _Part(n, wanted, np.zeros(n))
            near = _near(mosaic, cells)
            for done, window, members in _by_block(near, mosaic.block()):
                touched.update(raster.address for raster in mosaic.within(window))
                _add(part, near, members, window, mosaic.read(window, readers), means=means)
                _require_few(part, rasters)
                yield Progress(int(n * (number + done) / len(all_mosaics)), n, "chips")
            with np.errstate(divide="ignore", invalid="ignore"):
                room = np.where(part.valid > 0, np.clip((1.0 - valid) / part.valid, 0.0, 1.0), 0.0)
            for value, sums in part.sums.items():
                total.add(value, np.arange(n), sums * room)
            valid += part.valid * room
            pixels.update(part.pixels)
    if isinstance(classes, Each):
        classes = [(value,) for value in sorted(total.sums)]
    sets = ((MEAN,),) if classes is None else tuple(tuple(values) for values in classes)
    sums = np.zeros((n, len(sets)))
    for k, values in enumerate(sets):
        for value in values:
            sums[:, k] += total.sums.get(value, 0.0)
    return Shares(sums, valid, sets, pixels, frozenset(touched), readers.absurd)


@dataclass(frozen=True)
class Covered:
    """Pixels of a window that chips cover.

    done: share of all windows that are done with this one.
    window: the window.
    chips: (K,) rows of chips, of which one may stand there twice.
    pixels: by chip, numbers of pixels, counted row by row from the upper left one.
    shares: by chip, how much of each pixel it covers, in pixels.
    areas: (K,) area of the whole chip, in pixels.
    """

    done: float
    window: Window
    chips: NDArray[np.int64]
    pixels: list[NDArray[np.int64]]
    shares: list[NDArray[np.float64]]
    areas: NDArray[np.float64]


def covered(mosaic: Mosaic, cells: Cells, block: tuple[int, int]) -> Iterator[Covered]:
    """Yield, block by block, which pixels of a mosaic chips cover and how much of each; none of them is read.

    block: width and height of a block in pixels.
    """
    near = _near(mosaic, cells)
    for done, window, members in _by_block(near, block):
        blank = np.zeros((window.height, window.width), np.uint8)
        found = _extract(blank, window, near.shapes[members], ["cell_id", "coverage"])
        pixels = [np.asarray(outline["cell_id"], np.int64) for outline in found]
        shares = [np.asarray(outline["coverage"], np.float64) for outline in found]
        yield Covered(done, window, near.chips[members], pixels, shares, near.areas[members])


def _require_few(part: _Part, rasters: Sequence[Raster]) -> None:
    if part.wanted is None and len(part.sums) > MOST_VALUES:
        fault = f"has more than {MOST_VALUES} different values on chips, too many for classes"
        raise LabelError(f"{rasters[0].address}: {fault}; pass --kind numbers, or say which with --class")


def _near(mosaic: Mosaic, cells: Cells) -> _Outlines:
    """Return the outlines of the chips near a mosaic's rasters."""
    lattice = mosaic.lattice
    first, last = mosaic.extents[:, :2].min(axis=0), mosaic.extents[:, 2:].max(axis=0)
    shapes: list[NDArray[Any]] = [np.empty(0, dtype=object)]
    chips, areas = [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for points, rows in outlines.rings(lattice.crs, cells):
        corners = _in_pixels(points, lattice)
        low, high = corners.min(axis=1) * [1, -1], corners.max(axis=1) * [1, -1]
        near = (high[:, 0] > first[0]) & (low[:, 0] < last[0]) & (low[:, 1] > first[1]) & (high[:, 1] < last[1])
        whole = near.copy()
        whole[near] = _is_whole(points[near])
        polygons = np.asarray(shapely.polygons(corners[whole]))
        shapes.append(polygons)
        chips.append(rows[whole])
        areas.append(np.asarray(shapely.area(polygons)))
        for row in rows[near & ~whole]:
            pieces = _pieces(cells[[row]], lattice)
            shapes.append(pieces)
            chips.append(np.full(len(pieces), row))
            areas.append(np.full(len(pieces), shapely.area(pieces).sum()))
    all_shapes = np.concatenate(shapes)
    edges = shapely.bounds(all_shapes).reshape(-1, 4)[:, [0, 3, 2, 1]] * [1, -1, 1, -1]
    return _Outlines(all_shapes, np.concatenate(chips), np.concatenate(areas), edges)


def _in_pixels(points: NDArray[np.float64], lattice: Lattice) -> NDArray[np.float64]:
    """Return points (..., 2) in columns to the right and rows upward from a lattice's corner."""
    return (points - [lattice.x, lattice.y]) / [lattice.dx, lattice.dy]


def _pieces(cell: Cells, lattice: Lattice) -> NDArray[Any]:
    """Return a cell that the edge of a map tears apart as polygons in pixels, one for each side of the edge.

    They are put together from small cells; those on the edge itself are left out.
    """
    grid, parts = cell.grids[cell.grid_of[0]], np.arange(PIECES)
    small = replace(grid, dx=grid.dx / PIECES, dy=grid.dy / PIECES)
    columns, rows = np.meshgrid(cell.columns[0] * PIECES + parts, cell.rows[0] * PIECES + parts)
    many = Cells((small,), np.zeros(columns.size, np.int64), columns.ravel(), rows.ravel())
    ((points, _),) = outlines.rings(lattice.crs, many)
    squares = np.asarray(shapely.polygons(_in_pixels(points[_is_whole(points)], lattice)))
    return np.asarray(shapely.get_parts(shapely.union_all(squares, grid_size=1e-6)))


def _is_whole(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which outlines (n, points, 2) lie on the map and are not torn apart by its edges, as at 180 degrees."""
    finite = np.asarray(np.isfinite(points).all(axis=(1, 2)))
    points = np.where(finite[:, None, None], points, 0.0)
    steps = np.abs(points - np.roll(points, 1, axis=1)).max(axis=2)
    return np.asarray(finite & (steps.max(axis=1) <= TORN * np.median(steps, axis=1)))


def _by_block(near: _Outlines, block: tuple[int, int]) -> Iterator[tuple[float, Window, NDArray[np.int64]]]:
    """Yield, block by block in rows from the top, the share done, the window to read and the outlines in it.

    The window is the part of the block that the outlines reach into.
    block: width and height of a block in pixels.
    """
    outlines, places = _pairs(near.edges, block)
    # Sorted by block, the pairs of a block follow each other, and so each block is read once.
    order = np.lexsort([places[:, 0], places[:, 1]])
    starts = np.flatnonzero((np.diff(places[order], axis=0) != 0).any(axis=1)) + 1
    done = 0
    for pairs in np.split(order, starts) if order.size else []:
        members, corner = outlines[pairs], places[pairs[0]] * block
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
    outlines = np.repeat(np.arange(len(edges)), spans.prod(axis=1))
    # An outline's pairs follow each other. `nth` numbers them from 0, and the outline's blocks are numbered row by row.
    nth = np.arange(outlines.size) - np.searchsorted(outlines, outlines)
    across = spans[outlines, 0]
    return outlines, first[outlines] + np.stack([nth % across, nth // across], axis=1)


def _add(
    part: _Part,
    near: _Outlines,
    members: NDArray[np.int64],
    window: Window,
    pixels: Any,
    *,
    means: bool,
) -> None:
    """Add what a window's pixels hold within some outlines to the outlines' chips; a chip may have several outlines."""
    if not pixels.count():
        return
    shapes, chips, areas = near.shapes[members], near.chips[members], near.areas[members]
    operations = ["count", "mean"] if means else ["count", "unique", "frac"]
    statistics = _extract(pixels, window, shapes, operations)
    counts = np.array([outline["count"] for outline in statistics])
    np.add.at(part.valid, chips, counts / areas)
    if means:
        values = np.array([outline["mean"] for outline in statistics], dtype=np.float64)
        part.add(MEAN, chips, np.where(counts > 0, values * counts, 0.0) / areas)
        return
    # One entry per outline and value in it: `owners` are positions of outlines, `covered` the value's area in pixels.
    owners = np.repeat(np.arange(len(statistics)), [outline["unique"].size for outline in statistics])
    values = np.concatenate([outline["unique"] for outline in statistics])
    covered = np.concatenate([outline["frac"] for outline in statistics]) * counts[owners]
    unique_values, inverse = np.unique(values, return_inverse=True)
    part.pixels.update(dict(zip(unique_values.tolist(), np.bincount(inverse, weights=covered).tolist(), strict=True)))
    for k, value in enumerate(unique_values.tolist()):
        if part.wanted is None or value in part.wanted:
            of_value = inverse == k
            part.add(value, chips[owners[of_value]], covered[of_value] / areas[owners[of_value]])


def _extract(pixels: Any, window: Window, shapes: NDArray[Any], operations: list[str]) -> list[dict[str, Any]]:
    """Return exactextract's statistics of each outline; `count` is the area of its valid pixels, in pixels."""
    left, right = window.column, window.column + window.width
    top, bottom = -window.row, -window.row - window.height
    source = NumPyRasterSource(pixels, left, bottom, right, top)
    features = exact_extract(source, _OutlineSource(shapely.to_wkb(shapes)), operations)
    return [feature["properties"] for feature in features]


class _OutlineFeature(JSONFeature):  # type: ignore[misc]
    def __init__(self, wkb: bytes) -> None:
        super().__init__()
        self.wkb = wkb

    def geometry(self) -> bytes:
        return self.wkb


class _OutlineSource(JSONFeatureSource):  # type: ignore[misc]
    """Outlines in WKB for exactextract, whose own sources go over GeoJSON, which takes three times as long."""

    def __iter__(self) -> Iterator[_OutlineFeature]:
        return map(_OutlineFeature, self.src)
