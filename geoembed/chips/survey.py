"""Surveys: which cells areas give, and which imagery lies there or can be fetched, before anything is cut."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely

from geoembed.archives.fetching import Fetcher
from geoembed.chips import cutting, layout
from geoembed.chips.cells import METRES_PER_DEGREE, AreaCells
from geoembed.chips.cutting import Imagery
from geoembed.chips.layout import SIZES, Layout
from geoembed.errors import ChipError, ConfigError
from geoembed.ground.aoi import Area
from geoembed.ground.grid import Grid
from geoembed.imagery.index import RasterIndex
from geoembed.imagery.modalities import Modality
from geoembed.imagery.rasters import Raster

log = logging.getLogger(__name__)

FINEST, COARSEST = 1e-4, 1e6
"""Metres per pixel of the fixed grid: below, names of grids, which hold cells' metres, would be alike."""


@dataclass(frozen=True)
class Survey:
    """What is to be cut.

    layout: how cells lie.
    size: pixels along a cell's side.
    cells: of each area and grid.
    beyond: number of cells that are left out, as UTM ends there.
    imagery: of each modality, what lies at the cells, fetched or not.
    """

    layout: Layout
    size: int
    cells: Sequence[AreaCells]
    beyond: int
    imagery: Sequence[Imagery]

    def near(self) -> list[tuple[Modality, list[Raster]]]:
        """Return each modality's rasters near the cells."""
        return [(each.modality, each.near(self.cells)) for each in self.imagery]


def require_options(size: int | None, resolution: float | None) -> None:
    """Raise ConfigError for a size or a resolution that no cell can have."""
    if size is not None and size < 1:
        raise ConfigError(f"--size {size}: give pixels, 1 or more")
    if resolution is not None and not FINEST <= resolution <= COARSEST:
        raise ConfigError(f"--resolution {resolution:g}: give metres per pixel, from {FINEST:g} to {COARSEST:,.0f}")


def found(
    names: str,
    areas: Sequence[Area],
    modalities: Sequence[Modality],
    fetcher: Fetcher,
    *,
    size: int | None,
    resolution: float | None,
    align: str | None,
    min_valid: float,
    cells: int | None,
    recorded: Sequence[Grid] = (),
    anew: bool = False,
) -> Survey:
    """Return the cells of areas and the imagery there; see `steps.chip` for the options.

    names: of the areas' files, for messages.
    recorded: the grids of an earlier run.
    anew: search catalogues that were searched before.

    Raises ImageryError, ConfigError, FetchError, and ChipError where there is nothing to cut.
    """
    if any(modality.archive is not None for modality in modalities):
        fetcher.find(_reach(areas, size or SIZES[0], resolution or 10.0), anew=anew)
    imagery = []
    for modality in modalities:
        each = cutting.imagery_of(modality, fetcher.whole(modality.name))
        if each is None:
            log.warning("%s: the archive has nothing in the area; it is left out", modality.name)
        else:
            imagery.append(each)
    if not imagery:
        raise ChipError(f"{names}: no archive has imagery there; check the area, or name your own under [modalities]")
    laid = Layout(names, areas, imagery, resolution, align, min_valid, recorded)
    size = laid.choose() if size is None else size
    laid.require_consent(size, cells)
    area_cells, beyond = laid.cells(size)
    if beyond:
        log.warning("%d cells beyond 80 degrees south or 84 north are left out: UTM ends there", beyond)
    if not area_cells:
        raise ChipError(laid.nothing_at(size))
    return Survey(laid, size, area_cells, beyond, [_narrowed(each, area_cells, fetcher) for each in imagery])


def _narrowed(imagery: Imagery, area_cells: Sequence[AreaCells], fetcher: Fetcher) -> Imagery:
    """Return imagery with the files that cells need in place of all that an archive has."""
    if imagery.modality.archive is None:
        return imagery
    own = [raster for raster in imagery.index.rasters if not raster.recipe]
    outlines = np.concatenate([cells.outlines for cells in area_cells])
    return replace(imagery, index=RasterIndex([*own, *fetcher.plan(imagery.modality.name, outlines)]))


def _reach(areas: Sequence[Area], size: int, resolution: float) -> Any:
    """Return the ground in degrees that cells whose centre lies in an area may cover."""
    polygons = shapely.union_all(layout.in_degrees(areas))
    _, south, _, north = polygons.bounds
    narrowest = np.cos(np.radians(min(85.0, max(abs(south), abs(north)))))
    return shapely.buffer(polygons, size * resolution / METRES_PER_DEGREE / narrowest, quad_segs=2)
