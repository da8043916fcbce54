"""Layouts: the cells that areas and imagery give for any size, and which size to choose."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoembed.chips import cells as chip_cells
from geoembed.chips.cells import METRES_PER_DEGREE, AreaCells
from geoembed.chips.cutting import Imagery
from geoembed.errors import ChipError, ConfigError
from geoembed.ground import crs
from geoembed.ground.aoi import Area
from geoembed.ground.grid import Grid
from geoembed.imagery.rasters import Raster

log = logging.getLogger(__name__)

SIZES = (448, 224, 112, 64, 32, 16)
"""Sizes in pixels that are chosen from, the best first: that of the reference, and smaller ones for smaller areas."""

ENOUGH = 1_000
"""Chips that a size has to give to be chosen."""

MANY_CELLS = 100 * ENOUGH
"""Cells from which on their number is not counted but reckoned, by the area."""

MOST_CELLS = 10_000_000
"""Cells from which on their number has to be confirmed, as cutting them takes days."""

RADIUS = 6_371_007.0
"""Metres of the radius of a sphere that has the Earth's area."""

NEARLY_ALL = 0.999
"""Share of a cell that counts as all of it: outlines in degrees are polygons, whose edges are off by as much."""


@dataclass(frozen=True)
class Layout:
    """How cells lie over areas with imagery.

    names: of the files of areas, for messages.
    areas: the areas of interest.
    imagery: of each modality.
    resolution: metres per pixel; None: 10, or that of `align`.
    align: the modality whose pixel lattice the grid lies on; None: the fixed grid.
    min_valid: the share of valid pixels below which a modality is absent from a chip.
    recorded: the grids of an earlier run; they stay, so that chip ids do when imagery is added.

    Raises ConfigError where `align` does not go with the others.
    """

    names: str
    areas: Sequence[Area]
    imagery: Sequence[Imagery]
    resolution: float | None
    align: str | None
    min_valid: float
    recorded: Sequence[Grid] = ()

    def __post_init__(self) -> None:
        names = [each.modality.name for each in self.imagery]
        if self.align is not None and self.resolution is not None:
            raise ConfigError("--resolution: an aligned grid has the imagery's own pixels; leave it out with --align")
        if self.align is not None and self.align not in names:
            raise ConfigError(f"--align {self.align}: has no imagery here; choose one of {', '.join(names)}")

    def cells(self, size: int) -> tuple[list[AreaCells], int]:
        """Return the cells of a size whose centre lies in an area, in or near imagery; and how many lie beyond UTM."""
        if self.align is not None:
            return chip_cells.aligned(self.areas, self._lattices, size, self.recorded), 0
        return chip_cells.fixed(self.areas, size, self._pixel, self._boxes)

    @property
    def _lattices(self) -> Sequence[Raster]:
        """Return the rasters that the grid is aligned on."""
        return next(each.index.rasters for each in self.imagery if each.modality.name == self.align)

    @property
    def _pixel(self) -> float:
        """Return the metres per pixel of the fixed grid."""
        return 10.0 if self.resolution is None else self.resolution

    @cached_property
    def _boxes(self) -> NDArray[np.float64]:
        """Return boxes, (B, 4) west south east north in degrees, that hold all imagery."""
        return np.array(shapely.bounds(shapely.get_parts(self.extent))).reshape(-1, 4)

    def expected(self, size: int) -> int:
        """Return how many cells a size gives at most, without looking at each; above MANY_CELLS, about how many."""
        if self.align is not None:
            most = chip_cells.most_aligned(self.areas, self._lattices, size, self.recorded)
        else:
            most = chip_cells.most_fixed(self.areas, size, self._pixel, self._boxes)
        about = self._about(size) if most > MANY_CELLS else most
        return int(min(most, about, 1e18))

    def _about(self, size: int) -> float:
        """Return the area that has imagery, divided by that of a cell: on the ground, or in the CRS of `align`."""
        if self.align is None:
            return float(RADIUS**2 * np.radians(_ground(self._common))) / (size * self._pixel) ** 2
        lattice = self._lattices[0].lattice
        transformer = crs.transformer(crs.LONLAT, lattice.crs)
        fine = shapely.segmentize(self._common, 1.0)
        parts = shapely.transform(fine, lambda places: np.stack(transformer.transform(*places.T), axis=1))
        area = float(shapely.area(parts).sum()) / (lattice.dx * lattice.dy * size**2)
        return area if np.isfinite(area) else np.inf

    def require_consent(self, size: int, consent: int | None) -> None:
        """Raise ChipError where a size gives more than MOST_CELLS cells, and more than the user said to want."""
        expected = self.expected(size)
        if expected <= max(MOST_CELLS, consent or 0):
            return
        unit = 10 ** (len(str(expected)) - 3)
        told = -(-expected // unit) * unit
        fault = f"area and imagery have about {told:,} cells of {size} pixels"
        raise ChipError(f"{self.names}: {fault}; take a larger --size or a smaller area, or confirm it: --cells {told}")

    def count(self, size: int) -> int:
        """Return how many chips a size gives if all pixels of the imagery are valid; of very many, about how many."""
        if (expected := self.expected(size)) > MANY_CELLS:
            return expected
        count = 0
        for cells in self.cells(size)[0]:
            covered = np.max([each.index.covered(cells.outlines) for each in self.imagery], axis=0)
            count += int(((covered >= min(self.min_valid, NEARLY_ALL)) & (covered > 0.0)).sum())
        return count

    def counts(self, below: int | None = None) -> dict[int, int]:
        """Return how many chips sizes give, from the largest (`below` a size) to the first that gives enough."""
        counts: dict[int, int] = {}
        for size in SIZES:
            if below is None or size < below:
                counts[size] = self.count(size)
                if counts[size] >= ENOUGH:
                    break
        return counts

    @cached_property
    def extent(self) -> Any:
        """Return the ground that imagery of any modality covers; see `RasterIndex.extent`."""
        return shapely.union_all([each.index.extent for each in self.imagery])

    @cached_property
    def polygons(self) -> NDArray[Any]:
        """Return the areas' polygons, (A,) shapely geometries in degrees (EPSG:4326)."""
        return in_degrees(self.areas)

    @cached_property
    def area(self) -> Any:
        """Return the parts of all areas, a shapely collection in degrees (EPSG:4326)."""
        return shapely.geometrycollections(shapely.get_parts(self.polygons))

    def choose(self) -> int:
        """Return the largest of SIZES that gives ENOUGH chips, else the one that gives most, the smallest of equals."""
        counts = self.counts()
        size = max(counts, key=lambda size: (min(counts[size], ENOUGH), -size))
        others = ", ".join(f"{count:,} of {other}" for other, count in counts.items() if other != size)
        if counts[size]:
            message = "chips of %d pixels are cut: area and imagery have room for about %s of them%s"
            log.info(message, size, f"{counts[size]:,}", f" (and for {others})" if others else "")
        return size

    def share(self) -> float:
        """Return which share of the areas' ground has imagery; NaN for areas that lie on both sides of 180 degrees."""
        west, _, east, _ = self.area.bounds
        whole = _ground(self.polygons)
        return _ground(self._common) / whole if whole and east - west < 359.0 else np.nan

    @cached_property
    def _common(self) -> NDArray[Any]:
        """Return what the areas' polygons share with the imagery, (A,) shapely geometries in degrees."""
        common = self.polygons.copy()
        shapely.prepare(self.extent)
        outside = ~shapely.contains(self.extent, common)
        common[outside] = shapely.intersection(common[outside], self.extent)
        return common

    def nothing_at(self, size: int) -> str:
        """Say why there is no cell of a size, and what to do."""
        if not shapely.intersects(self.polygons, self.extent).any():
            places = "; ".join(f"{each.modality.name}: {place(_once(each.index.extent))}" for each in self.imagery)
            fault = f"lies at {place(self.area)}, where there is no imagery ({places})"
            return f"{self.names}: {fault}; check the area, and [modalities] or --source"
        return f"{self.names}: holds the centre of no cell with imagery: {self._widths(size)}; {self._smaller(size)}"

    def too_little_at(self, size: int, fullest: float) -> str:
        """Say why no cell of a size is a chip, and what to do; `fullest` is the highest share of valid pixels."""
        if fullest == 0.0:
            return f"{self.names}: no pixel of the imagery there is valid; check nodata = ... under [modalities]"
        fault = f"the fullest cell has {100.0 * fullest:.3g} % valid pixels, less than --min-valid {self.min_valid:g}"
        remedy = f"{self._smaller(size)}, or --min-valid {np.floor(100.0 * fullest) / 100.0:g}"
        return f"{self.names}: {fault}: {self._widths(size)}; {remedy}"

    def _smaller(self, size: int) -> str:
        """Say how many chips smaller sizes would give."""
        counts = [
            f"--size {smaller} for about {count:,} chips" for smaller, count in self.counts(size).items() if count
        ]
        return f"pass {', '.join(counts)}" if counts else "choose a larger area, or add imagery"

    def _widths(self, size: int) -> str:
        """Say how wide a cell, the imagery and the area are."""
        pixel = self._pixel
        if self.align is not None:
            lattice = self._lattices[0].lattice
            pixel = lattice.dx * crs.metres_per_unit(lattice.crs)
        cell = f"a cell is {size} pixels or {size * pixel / 1000.0:.3g} km wide"
        return f"{cell}, the imagery {_span(_once(self.extent))}, the area {_span(self.area)}"


def _once(extent: Any) -> Any:
    """Return the part of an extent that lies from 180 degrees west to 180 east."""
    return shapely.intersection(extent, shapely.box(-180.0, -90.0, 180.0, 90.0))


def place(ground: Any) -> str:
    """Tell where a shapely geometry in degrees lies, as in `9.1 E to 9.3 E, 45 N to 45.1 N`."""
    west, south, east, north = ground.bounds
    parts = len(shapely.get_parts(ground))
    within = f"{parts} places within " if parts > 1 else ""
    return f"{within}{_degrees(west, east, 'E', 'W')}, {_degrees(south, north, 'N', 'S')}"


def _degrees(low: float, high: float, positive: str, negative: str) -> str:
    ends = [f"{abs(value):.4g} {positive if value >= 0.0 else negative}" for value in (low, high)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _span(ground: Any) -> str:
    """Tell width and height of the largest part of a shapely geometry in degrees, and of how many."""
    parts = shapely.get_parts(ground)
    west, south, east, north = max(shapely.bounds(parts).tolist(), key=lambda bounds: bounds[2] - bounds[0])
    metres = (
        (east - west) * METRES_PER_DEGREE * np.cos(np.radians((south + north) / 2)),
        (north - south) * METRES_PER_DEGREE,
    )
    span = " x ".join(f"{length / 1000.0:.3g}" for length in metres)
    return f"{span} km" + (f" (the widest of {len(parts)} places)" if len(parts) > 1 else "")


def _ground(ground: NDArray[Any]) -> float:
    """Return the area of shapely geometries in degrees, in a unit of its own (Lambert's cylindrical equal-area map)."""
    edges = shapely.segmentize(ground, 1.0)
    flat = shapely.transform(edges, lambda points: np.stack([points[:, 0], np.sin(np.radians(points[:, 1]))], axis=1))
    return float(shapely.area(flat).sum())


def in_degrees(areas: Sequence[Area]) -> NDArray[Any]:
    """Return the polygons of areas, (A,) shapely geometries in degrees (EPSG:4326)."""
    polygons = np.array([area.polygon for area in areas], dtype=object)
    for source in dict.fromkeys(area.crs for area in areas):
        of_crs = np.array([area.crs == source for area in areas])
        polygons[of_crs] = _lonlat(polygons[of_crs], source)
    return polygons


def _lonlat(polygons: NDArray[Any], source: str) -> NDArray[Any]:
    """Return polygons (A,) of a CRS in degrees (EPSG:4326)."""
    if crs.same(source, crs.LONLAT):
        return polygons
    to_lonlat = crs.transformer(source, crs.LONLAT)
    edges = shapely.segmentize(polygons, np.maximum(shapely.length(polygons) / 200.0, 1e-9))

    def in_degrees(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(to_lonlat.transform(*points.T), axis=1)

    return np.asarray(shapely.make_valid(shapely.transform(edges, in_degrees)))
