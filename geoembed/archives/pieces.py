"""Pieces: parts of Sentinel-2 tiles of which seasonal medians are made, each a file in the cache. Arithmetic only.

A tile is cut into windows on its own lattice, along the blocks in which scenes are stored; of a window, a piece has the
blocks that are needed, so that for a small area little more is read than for a large one.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoembed.archives.scenes import Asset, Scene
from geoembed.errors import AbsentError
from geoembed.ground import crs as crs_
from geoembed.ground.lattice import GeoBox
from geoembed.imagery.catalogues import Season, Stac
from geoembed.imagery.rasters import Encoding, Raster
from geoembed.outputs import digests

HEIGHT, WIDTH, BLOCK = 2048, 4096, 1024
"""Rows and columns of a window, and of the blocks in which the archives' files are stored."""

MARGIN = 8
"""Pixels beyond an outline that resampling may reach."""

ENCODING = Encoding("uint16", scale=1e-4, offset=-0.1, nodata=0.0)
"""How a composite's numbers are stored: as in products since baseline 04.00, so that one encoding serves all scenes."""

RECIPE = 1
"""Counts up when the same scenes give other numbers."""


@dataclass(frozen=True)
class Piece:
    """A part of a tile in a season.

    tile: such as 32TPT.
    season, year: of which it is the median.
    box: its pixels.
    row, column: of its upper left pixel in the tile.
    blocks: which of its blocks are needed, (rows, columns) of True or False; others have no values.
    scenes: of the tile in the season.
    recipe: SHA-256 of all that its numbers depend on.
    raster: its file in the cache, which may not be there yet.
    """

    tile: str
    season: Season
    year: int
    box: GeoBox
    row: int
    column: int
    blocks: tuple[tuple[bool, ...], ...]
    scenes: tuple[Scene, ...]
    recipe: str
    raster: Raster

    @property
    def path(self) -> Path:
        """Return its place in the cache."""
        return self.raster.path

    @property
    def needed(self) -> int:
        """Return the number of pixels that are needed of a channel."""
        parts = self.blocks
        return sum(
            min(BLOCK, self.box.height - BLOCK * r) * min(BLOCK, self.box.width - BLOCK * c)
            for r, row in enumerate(parts)
            for c, is_needed in enumerate(row)
            if is_needed
        )


def plan(
    scenes: Mapping[Season, Sequence[Scene]],
    outlines: NDArray[Any],
    settings: Stac,
    folder: Path,
    box_of: Callable[[Scene], GeoBox],
) -> tuple[list[Piece], list[str]]:
    """Return the pieces that some ground needs, tile by tile, and why scenes are left out, a line each.

    Raises AbsentError where a tile's pixels lie nowhere, as none of its files is there.

    scenes: by season, in any order.
    outlines: of the ground, (N,) polygons in degrees (EPSG:4326), cut at 180 degrees.
    folder: in which the pieces' files lie.
    box_of: asks a scene's files where its pixels lie, as its catalogue does not say; raises AbsentError.
    """
    bounds = shapely.bounds(outlines).reshape(-1, 4)
    left_out: list[str] = []
    pieces: list[Piece] = []
    by_tile: dict[str, dict[Season, list[Scene]]] = {}
    for season, found in scenes.items():
        for scene in sorted(found, key=lambda scene: (scene.time, scene.id)):
            by_tile.setdefault(scene.tile, {}).setdefault(season, []).append(scene)
    for tile, of_season in sorted(by_tile.items()):
        box, lying = _lattice([scene for found in of_season.values() for scene in found], box_of)
        away = {scene.id for found in of_season.values() for scene in found} - lying
        if away:
            left_out.append(f"{tile}: {len(away)} scenes lie on other pixels than the others, such as {min(away)}")
        windows = list(_windows(box, _near(box, outlines, bounds)))
        for season, found in of_season.items():
            kept = tuple(scene for scene in found if scene.id in lying)
            pieces += [_piece(tile, season, box, *window, kept, settings, folder) for window in windows if kept]
    return pieces, left_out


def said(scene: Scene) -> GeoBox | None:
    """Return where a catalogue says that the finest pixels of a scene lie; None where it does not say, or nonsense."""
    zone, band = scene.tile[:2], scene.tile[2]
    crs = f"EPSG:{326 if band >= 'N' else 327}{zone}"
    of_bands = [_box(asset, crs) for asset in scene.bands.values()]
    of_classes = _box(scene.classification, crs) if scene.classification else None
    boxes = [box for box in of_bands if box is not None]
    return finest([*boxes, *([of_classes] if of_classes else [])]) if boxes else None


def _box(asset: Asset, crs: str) -> GeoBox | None:
    """Return where a file's pixels lie in the CRS of its tile; None where its catalogue does not say, or nonsense."""
    if asset.crs is None or asset.crs.upper() != crs or not (asset.transform and asset.height and asset.width):
        return None
    a, b, c, d, e, f = asset.transform[:6]
    is_pixel = b == d == 0 and 1 <= a == -e <= 1000
    is_near = 0 <= c <= 1e6 and 0 <= f <= 1e7
    return GeoBox(crs, asset.transform, asset.height, asset.width) if is_pixel and is_near else None


def finest(boxes: Iterable[GeoBox]) -> GeoBox | None:
    """Return the box with the smallest pixels, of which those of the others are multiples; None where there is none."""
    ordered = sorted(boxes, key=lambda box: box.transform.a)
    return ordered[0] if ordered and all(factor(ordered[0], box) for box in ordered) else None


def factor(fine: GeoBox, coarse: GeoBox) -> int:
    """Return how many pixels of a box lie along one of another; 0 where they do not, from the upper left corner on."""
    number = round(coarse.transform.a / fine.transform.a)
    if number < 1:
        return 0
    cut = GeoBox(coarse.crs, coarse.transform @ Affine.scale(1 / number), coarse.height * number, coarse.width * number)
    reaches = cut.height >= fine.height and cut.width >= fine.width
    return number if reaches and fine.lattice.offset(cut) == (0, 0) else 0


def _lattice(scenes: Sequence[Scene], box_of: Callable[[Scene], GeoBox]) -> tuple[GeoBox, set[str]]:
    """Return where the pixels of most scenes of a tile lie, and the ids of these scenes; others lie elsewhere.

    Of scenes of which it is not said it is taken to be there, and looked at when they are read.
    """
    known = {scene.id: said(scene) for scene in scenes}
    boxes = Counter(box for box in known.values() if box is not None)
    box = boxes.most_common(1)[0][0] if boxes else _asked(scenes, box_of)
    return box, {scene_id for scene_id, place in known.items() if place is None or _same(place, box)}


def _asked(scenes: Sequence[Scene], box_of: Callable[[Scene], GeoBox]) -> GeoBox:
    """Return where the pixels of the first scene lie whose files are there; raises AbsentError where there is none."""
    for number, scene in enumerate(scenes, 1):
        try:
            return box_of(scene)
        except AbsentError:
            if number == len(scenes):
                raise
    raise AssertionError("a tile has scenes")


def _same(box: GeoBox, other: GeoBox) -> bool:
    return (box.height, box.width) == (other.height, other.width) and other.lattice.offset(box) == (0, 0)


def _near(box: GeoBox, outlines: NDArray[Any], bounds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return first row, first column, and those behind the last, (M, 4), of the outlines' pixels in a tile."""
    mesh = box.mesh(crs_.LONLAT)
    (west, south), (east, north) = mesh.min(axis=(0, 1)), mesh.max(axis=(0, 1))
    meets = np.zeros(len(outlines), dtype=bool)
    for turn in (-360.0, 0.0, 360.0):
        meets |= (bounds[:, 0] + turn <= east) & (bounds[:, 2] + turn >= west)
    near = outlines[meets & (bounds[:, 1] <= north) & (bounds[:, 3] >= south)]
    points, owners = shapely.get_coordinates(near, return_index=True)
    if not len(points):
        return np.empty((0, 4), dtype=np.int64)
    x, y = crs_.transformer(crs_.LONLAT, box.crs).transform(*points.T)
    columns, rows = ~box.transform @ (np.asarray(x), np.asarray(y))
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    pixels = np.stack(
        [
            np.floor(np.minimum.reduceat(rows, firsts)) - MARGIN,
            np.floor(np.minimum.reduceat(columns, firsts)) - MARGIN,
            np.ceil(np.maximum.reduceat(rows, firsts)) + MARGIN,
            np.ceil(np.maximum.reduceat(columns, firsts)) + MARGIN,
        ],
        axis=1,
    )
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    within = np.clip(pixels, 0, [box.height, box.width, box.height, box.width]).astype(np.int64)
    return np.asarray(within[(within[:, 0] < within[:, 2]) & (within[:, 1] < within[:, 3])])


def _windows(box: GeoBox, pixels: NDArray[np.int64]) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Yield row and column of the first block of each piece of a tile, in blocks, and which of its blocks are needed.

    pixels: of the ground, as of `_near`.
    """
    down, across = math.ceil(box.height / BLOCK), math.ceil(box.width / BLOCK)
    edges = np.zeros((down + 1, across + 1), dtype=np.int64)  # of the number of outlines in a block, summed up below
    top, left, bottom, right = pixels[:, 0] // BLOCK, pixels[:, 1] // BLOCK, *(-(-pixels[:, 2:].T // BLOCK))
    for rows, columns, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(edges, (rows, columns), sign)
    needed = edges.cumsum(axis=0).cumsum(axis=1)[:down, :across] > 0
    high, wide = HEIGHT // BLOCK, WIDTH // BLOCK
    for row in range(0, down, high):
        for column in range(0, across, wide):
            part = needed[row : row + high, column : column + wide]
            if part.any():
                rows, columns = (np.flatnonzero(part.any(axis=axis)) for axis in (1, 0))
                part = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                yield row + int(rows[0]), column + int(columns[0]), part


def _piece(
    tile: str,
    season: Season,
    whole: GeoBox,
    block_row: int,
    block_column: int,
    needed: NDArray[np.bool_],
    scenes: tuple[Scene, ...],
    settings: Stac,
    folder: Path,
) -> Piece:
    row, column = block_row * BLOCK, block_column * BLOCK
    height = min(needed.shape[0] * BLOCK, whole.height - row)
    width = min(needed.shape[1] * BLOCK, whole.width - column)
    blocks = tuple(map(tuple, needed.tolist()))
    box = whole.part(row, column, height, width)
    channels = tuple(f"{season}_{name}" for name in settings.assets)
    recipe = digests.of_value(
        {
            "recipe": RECIPE,
            "window": [row, column, height, width, blocks, BLOCK],
            "lattice": [whole.crs, list(whole.transform[:6])],
            "channels": channels,
            "scenes": [_made_from(scene) for scene in scenes],
            "count": settings.scenes,
            "mask": sorted(settings.mask),
        }
    )
    path = folder / tile / f"{settings.year}-{season}" / f"{block_row:02}-{block_column:02}-{recipe[:12]}.tif"
    return Piece(
        tile, season, settings.year, box, row, column, blocks, scenes, recipe,
        raster(box, channels, str(path), recipe, settings.resampling),
    )  # fmt: skip


def raster(box: GeoBox, channels: Sequence[str], path: str, recipe: str, resampling: str | None = None) -> Raster:
    """Return the raster of composites of some pixels, which are there or will be."""
    return Raster(
        crs=box.crs,
        transform=Affine(*box.transform[:6]),
        height=box.height,
        width=box.width,
        address=path,
        bands=tuple(range(1, len(channels) + 1)),
        channels=tuple(channels),
        encodings=(ENCODING,) * len(channels),
        resampling=resampling,
        files=(path,),
        blocks=(512, 512),
        count=len(channels),
        driver="GTiff",
        recipe=recipe,
    )


def _made_from(scene: Scene) -> list[Any]:
    """Return what the numbers of a composite depend on of a scene, JSON-ready; no token in an address."""
    assets = [*scene.bands.items(), *([("", scene.classification)] if scene.classification else [])]
    return [
        scene.id,
        scene.baseline,
        scene.time.isoformat(),
        *(
            [name, urlsplit(asset.href)._replace(query="").geturl(), asset.scale, asset.offset]
            for name, asset in assets
        ),
    ]
