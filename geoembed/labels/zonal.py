"""What rasters hold within chips: class shares and means, exact at the borders of cells and of pixels.

Rasters on one lattice (CRS, pixel size and pixel corners) are one mosaic, where the first valid pixel in the order
given counts. Rasters on another lattice fill what is left of a chip: their shares are added as far as the chip has
room, so that neighbours that do not overlap add up exactly, and an overlap counts once.
Only windows near chips are read, block by block, so memory does not grow with the rasters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.ground import outlines
from geoembed.imagery import lattices
from geoembed.imagery.lattices import Raster, Window
from geoembed.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from geoembed.ground.grid import Grid


@dataclass(frozen=True)
class Shares:
    """What rasters hold within N chips.

    sums: (N, K) share of the chip's area that each class has; for means (N, 1), the mean value times `valid`.
    valid: (N,) share of the chip's area with valid pixels.
    seen: area within chips, in pixels, per value of class rasters.
    touched: rasters with pixels near a chip.
    """

    sums: NDArray[np.float64]
    valid: NDArray[np.float64]
    seen: Counter[float] = field(default_factory=Counter)
    touched: frozenset[Path] = frozenset()


@dataclass(frozen=True)
class _Chips:
    """Chips' outlines in pixels of a lattice (x right, y up from the upper left corner); `owner` is the chip's row."""

    shapes: NDArray[Any]
    owner: NDArray[np.int64]
    bounds: NDArray[np.float64]


def shares(
    rasters: Sequence[Raster],
    grids: Sequence[Grid],
    chip_ids: NDArray[Any],
    classes: Sequence[Sequence[int]] | None,
) -> Generator[Progress, None, Shares]:
    """Return what rasters hold within chips, from one pass over the rasters.

    `classes` are K sets of raster values; None asks for means. Raises LabelError when a raster cannot be read.
    """
    n = len(chip_ids)
    total, valid = np.zeros((n, 1 if classes is None else len(classes))), np.zeros(n)
    seen: Counter[float] = Counter()
    touched: set[Path] = set()
    groups = lattices.by_lattice(rasters)
    for number, members in enumerate(groups):
        part = Shares(np.zeros_like(total), np.zeros(n), seen)
        near = _near(members, grids, chip_ids)
        for done, window, rows in _by_block(near, members):
            touched.update(_add_block(part, members, near, window, rows, classes))
            yield Progress(n * (number + done) / len(groups), n, "chips")
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(part.valid > 0, np.clip((1.0 - valid) / part.valid, 0.0, 1.0), 0.0)
        total += part.sums * room[:, None]
        valid += part.valid * room
    return Shares(total, valid, seen, frozenset(touched))


def _near(members: Sequence[Raster], grids: Sequence[Grid], chip_ids: NDArray[Any]) -> _Chips:
    """Return the outlines of the chips that come near a lattice's rasters.

    A chip of a geographic lattice may lie a whole turn away, and where it crosses 180 degrees it lies at both ends.
    """
    import shapely

    lattice = members[0]
    extents = np.array([lattices.extent(raster, lattice) for raster in members], dtype=np.float64)
    rings, owners = [np.empty((0, 4, 2))], [np.empty(0, dtype=np.int64)]
    for points, rows in outlines.rings(lattice.crs, grids, chip_ids):
        for turn in outlines.turns(lattice.crs):
            x = (points[:, :, 0] + turn - lattice.left) / lattice.dx
            y = (lattice.top - points[:, :, 1]) / lattice.dy
            take = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
            take &= (x.max(axis=1) > extents[:, 0].min()) & (x.min(axis=1) < extents[:, 2].max())
            take &= (y.max(axis=1) > extents[:, 1].min()) & (y.min(axis=1) < extents[:, 3].max())
            rings.append(np.stack([x[take], -y[take]], axis=2))
            owners.append(rows[take])
    shapes = np.concatenate([shapely.polygons(one) for one in rings])
    return _Chips(shapes, np.concatenate(owners), shapely.bounds(shapes).reshape(-1, 4))


def _by_block(near: _Chips, members: Sequence[Raster]) -> Iterator[tuple[float, Window, NDArray[np.int64]]]:
    """Yield, block by block of the lattice, the share done, the window to read and the outlines that reach into it."""
    width, height = lattices.block_size(members)
    edges = near.bounds[:, [0, 3, 2, 1]] * [1, -1, 1, -1]  # left, top, right, bottom as columns and rows
    first = np.floor(edges / [width, height, width, height]).astype(np.int64)
    counts = first[:, 2:] - first[:, :2] + 1
    pairs = np.repeat(np.arange(len(edges)), counts.prod(axis=1))
    nth = np.arange(pairs.size) - np.searchsorted(pairs, pairs)
    blocks = first[pairs, :2] + np.stack([nth % counts[pairs, 0], nth // counts[pairs, 0]], axis=1)
    order = np.lexsort([blocks[:, 0], blocks[:, 1]])
    starts = np.flatnonzero((np.diff(blocks[order], axis=0) != 0).any(axis=1)) + 1
    done = 0
    for places in np.split(order, starts) if order.size else []:
        column, row = blocks[places[0]]
        rows = pairs[places]
        left, top = np.maximum(np.floor(edges[rows, :2].min(axis=0)).astype(np.int64), [column * width, row * height])
        right, bottom = np.minimum(
            np.ceil(edges[rows, 2:].max(axis=0)).astype(np.int64), [(column + 1) * width, (row + 1) * height]
        )
        done += places.size
        if right > left and bottom > top:
            yield done / order.size, Window(int(left), int(top), int(right), int(bottom)), rows


def _add_block(
    part: Shares,
    members: Sequence[Raster],
    near: _Chips,
    window: Window,
    rows: NDArray[np.int64],
    classes: Sequence[Sequence[int]] | None,
) -> set[Path]:
    """Add a window's shares to the chips of the outlines `rows`; return the rasters that lie in it."""
    import shapely
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource

    features, writer = _exchange()
    values, used = lattices.mosaic(members, window, scaled=classes is None)
    if values is None or not values.count():
        return used
    source = NumPyRasterSource(values, window.left, -window.bottom, window.right, -window.top)
    shapes = near.shapes[rows]
    ops = ["count", "mean"] if classes is None else ["count", "unique", "frac"]
    found = exact_extract(source, features(shapely.to_wkb(shapes)), ops, output=writer())
    counts = np.array([one["count"] for one in found])
    areas, owner = shapely.area(shapes), near.owner[rows]
    np.add.at(part.valid, owner, counts / areas)
    if classes is None:
        means = np.array([one["mean"] for one in found], dtype=np.float64)
        np.add.at(part.sums[:, 0], owner, np.where(counts > 0, means * counts, 0.0) / areas)
        return used
    at = np.repeat(np.arange(len(found)), [one["unique"].size for one in found])
    value = np.concatenate([one["unique"] for one in found])
    pixels = np.concatenate([one["frac"] for one in found]) * counts[at]
    for k, wanted in enumerate(classes):
        of_class = np.isin(value, wanted)
        np.add.at(part.sums[:, k], owner[at[of_class]], pixels[of_class] / areas[at[of_class]])
    names, inverse = np.unique(value, return_inverse=True)
    part.seen.update(dict(zip(names.tolist(), np.bincount(inverse, weights=pixels).tolist(), strict=True)))
    return used


@lru_cache(maxsize=1)
def _exchange() -> tuple[Any, Any]:
    """Return exactextract's feature source and writer, without its detour over GeoJSON (three times slower)."""
    from exactextract.feature import Feature, FeatureSource
    from exactextract.writer import Writer

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
