"""ESA WorldCover in its bucket: which parts of it chips lie on, and fetching these.

It has tiles of 3 x 3 degrees, COGs of 36,000 x 36,000 pixels in blocks of 1,024, named by their lower left corner. Only
the blocks under chips are read, and kept as a small GeoTIFF per tile whose other blocks are empty.
Source: Zanaga et al. 2022, ESA WorldCover 10 m 2021 v200, product user manual.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoembed.archives import blocks, degrees, hosts, providers
from geoembed.archives.blocks import Remote
from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError
from geoembed.ground import crs, outlines
from geoembed.ground.grid import Cells
from geoembed.ground.lattice import GeoBox
from geoembed.outputs import atomic, digests, documents

FOLDER = "worldcover"
"""Name of its folder in the cache."""

MAP = "v200/2021/map/ESA_WorldCover_10m_2021_v200_{name}_Map.tif"
"""Name of a tile's object in the bucket."""

DEGREES, PER_DEGREE, BLOCK = 3, 12_000, 1_024
"""Degrees along a tile, pixels along a degree, and pixels along a block."""

SIDE = DEGREES * PER_DEGREE
"""Pixels along a tile."""

BLOCKS = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "sparse_ok": True}


@dataclass(frozen=True)
class Tile:
    """A tile of which chips lie on some blocks.

    name: by its lower left corner, such as N48E006.
    blocks: column and row of these blocks, from the upper left, in order.
    """

    name: str
    blocks: tuple[tuple[int, int], ...]

    @property
    def transform(self) -> Affine:
        """Return the transform of the whole tile's pixels, to degrees (EPSG:4326)."""
        latitude, longitude = int(self.name[1:3]), int(self.name[4:])
        north = (latitude if self.name[0] == "N" else -latitude) + DEGREES
        west = longitude if self.name[3] == "E" else -longitude
        return Affine(1 / PER_DEGREE, 0.0, west, 0.0, -1 / PER_DEGREE, north)


@dataclass(frozen=True)
class Kept:
    """What is known of a tile's file in the cache, or of a tile that does not exist.

    url: where the tile lies, or does not.
    content: digest of the file; None where there is no such tile.
    licence, attribution: the terms of its use.
    """

    url: str
    content: str | None
    licence: str = providers.WORLDCOVER.licence
    attribution: str = providers.WORLDCOVER.attribution


def tiles(cells: Cells) -> list[Tile]:
    """Return the tiles, whether they exist or not, and their blocks that cells may lie on, from the north west."""
    wanted: set[tuple[int, ...]] = set()
    for points, _ in outlines.rings(crs.LONLAT, cells):
        points = points[np.isfinite(points).all(axis=(1, 2))]
        # In pixels to the right and down from 180 degrees west, 90 degrees north, with a pixel around.
        pixels = (points * [1, -1] + [180, 90]) * PER_DEGREE
        first, last = (
            np.floor(pixels.min(axis=1)).astype(np.int64) - 1,
            np.floor(pixels.max(axis=1)).astype(np.int64) + 1,
        )
        world = np.array([360, 180]) * PER_DEGREE
        on_map = (last >= 0).all(axis=1) & (first < world).all(axis=1)
        first, last = np.maximum(first[on_map], 0), np.minimum(last[on_map], world - 1)
        owners, places = _between(first // SIDE, last // SIDE)
        corners = places * SIDE
        first, last = np.maximum(first[owners] - corners, 0), np.minimum(last[owners] - corners, SIDE - 1)
        owners, squares = _between(first // BLOCK, last // BLOCK)
        wanted.update(map(tuple, np.unique(np.hstack([places[owners], squares]), axis=0).tolist()))
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for column, row, *block in sorted(wanted, key=lambda each: (each[1], each[0], each[3], each[2])):
        found.setdefault((row, column), []).append((block[0], block[1]))
    return [
        Tile(degrees.name(90 - DEGREES * (row + 1), DEGREES * column - 180), tuple(squares))
        for (row, column), squares in found.items()
    ]


def _between(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every column and row from a first to a last one, (P, 2), and whose they are, (P,).

    first, last: (N, 2) column and row.
    """
    spans = last - first + 1
    owners = np.repeat(np.arange(len(first)), spans.prod(axis=1))
    nth = np.arange(owners.size) - np.searchsorted(owners, owners)
    across = spans[owners, 0]
    return owners, first[owners] + np.stack([nth % across, nth // across], axis=1)


def fetch(tile: Tile, cache: Path, bucket: str, client: Client) -> Path | None:
    """Return the file of a tile in the cache, which is fetched if it is not there; None where there is no such tile.

    Raises FetchError.

    cache: the folder of all that is fetched.
    bucket: address of WorldCover's bucket.
    """
    url = f"{bucket.rstrip('/')}/{MAP.format(name=tile.name)}"
    path = cache / FOLDER / f"{tile.name}-{digests.of_value([url, tile.blocks])[:16]}.tif"
    sidecar, absent = path.with_suffix(".json"), cache / FOLDER / f"{tile.name}.json"
    known = _known(sidecar, url)
    if known and path.is_file() and digests.of_bytes(path) == known.content:
        return path
    if _known(absent, url):
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        data = _fetched(tile, url, path.parent, client)
    except AbsentError:
        documents.write(absent, asdict(Kept(url, None)))
        return None
    atomic.write_bytes(path, data)
    documents.write(sidecar, asdict(Kept(url, digests.of_data(data))))
    return path


def _known(path: Path, url: str) -> Kept | None:
    """Return what is known of a tile at an address; None where that is nothing, or its file is damaged."""
    try:
        known = documents.parsed(documents.load(path), Kept)
    except (OSError, ValueError):
        return None
    return known if known.url == url else None


def _fetched(tile: Tile, url: str, folder: Path, client: Client) -> bytes:
    """Return a GeoTIFF of a tile's blocks; raises FetchError."""
    with blocks.opened(client, url, folder) as remote, rasterio.MemoryFile() as memory:
        _require_tile(tile, url, remote)
        box = remote.box
        place = {"width": box.width, "height": box.height, "transform": box.transform, "crs": crs.LONLAT}
        with memory.open(**BLOCKS, **place, count=1, dtype="uint8", nodata=0, compress="deflate") as file:
            if remote.colours:
                file.write_colormap(1, remote.colours)
            for row, members in groupby(tile.blocks, key=itemgetter(1)):
                windows = [_window(box, column, row) for column, _ in members]
                first, last = windows[0].col_off, windows[-1].col_off + windows[-1].width
                top, height = windows[0].row_off, windows[0].height
                numbers = remote.read(top, first, height, last - first, _wanted(remote, windows))
                for window in windows:
                    left = window.col_off - first
                    file.write(numbers[:, left : left + window.width], 1, window=window)
        return bytes(memory.getbuffer())


def _require_tile(tile: Tile, url: str, remote: Remote) -> None:
    """Raise FetchError where a data set is not a tile of classes where its name says."""
    west, south, east, north = remote.box.bounds
    expected = (tile.transform.c, tile.transform.f - DEGREES, tile.transform.c + DEGREES, tile.transform.f)
    fault = ""
    if remote.dtype != "uint8" or not crs.same(remote.box.crs, crs.LONLAT):
        fault = "holds no classes in degrees"
    elif not np.allclose((west, south, east, north), expected, rtol=0, atol=1e-6):
        fault = f"lies at {west:.6g} east, {south:.6g} north"
    if fault:
        raise FetchError(f"{hosts.name(url)}: {fault}, so it is no tile of WorldCover; mend worldcover under [fetch]")


def _window(box: GeoBox, column: int, row: int) -> Window:
    """Return the pixels of a block of WorldCover; of a tile of another resolution, those that it reaches into."""
    left, right = column * BLOCK * box.width // SIDE, -(-(column + 1) * BLOCK * box.width // SIDE)
    top, bottom = row * BLOCK * box.height // SIDE, -(-(row + 1) * BLOCK * box.height // SIDE)
    right, bottom = min(right, box.width), min(bottom, box.height)
    return Window(left, top, right - left, bottom - top)


def _wanted(remote: Remote, windows: Sequence[Window]) -> NDArray[np.bool_]:
    """Return which of the blocks between the first and the last of windows in a row hold pixels of one."""
    height, width = remote.block
    top, bottom = windows[0].row_off // height, (windows[0].row_off + windows[0].height - 1) // height
    spans = [(window.col_off // width, (window.col_off + window.width - 1) // width) for window in windows]
    first, last = spans[0][0], spans[-1][1]
    wanted = np.zeros((bottom - top + 1, last - first + 1), dtype=bool)
    for left, right in spans:
        wanted[:, left - first : right - first + 1] = True
    return wanted
