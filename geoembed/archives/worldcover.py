"""ESA WorldCover in its bucket: which parts of it chips lie on, and fetching these.

It has tiles of 3 x 3 degrees, COGs of 36,000 x 36,000 pixels in blocks of 1,024, named by their lower left corner. Only
the blocks under chips are read, and kept as a small GeoTIFF per tile whose other blocks are empty.
Source: Zanaga et al. 2022, ESA WorldCover 10 m 2021 v200, product user manual.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoembed.archives import credits, degrees
from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError, of_library
from geoembed.ground import crs, outlines
from geoembed.ground.grid import Cells
from geoembed.imagery import rasters
from geoembed.outputs import atomic, digests, documents

FOLDER = "worldcover"
"""Name of its folder in the cache."""

MAP = "v200/2021/map/ESA_WorldCover_10m_2021_v200_{name}_Map.tif"
"""Name of a tile's object in the bucket."""

DEGREES, PER_DEGREE, BLOCK = 3, 12_000, 1_024
"""Degrees along a tile, pixels along a degree, and pixels along a block."""

SIDE = DEGREES * PER_DEGREE
"""Pixels along a tile."""

AT_ONCE = 64
"""Blocks that are in memory at a time; each has 1 MB."""

HEADER = 2**16
"""Bytes at the beginning of a tile that hold its header: 16 bytes for each of 1,296 blocks, less for overviews."""

LARGEST = 2**22
"""Bytes of a block at most; its pixels are 1 MB."""

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
    credit: the terms of its use.
    """

    url: str
    content: str | None
    credit: credits.Credit = credits.WORLDCOVER


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
        owners, blocks = _between(first // BLOCK, last // BLOCK)
        wanted.update(map(tuple, np.unique(np.hstack([places[owners], blocks]), axis=0).tolist()))
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for column, row, *block in sorted(wanted, key=lambda each: (each[1], each[0], each[3], each[2])):
        found.setdefault((row, column), []).append((block[0], block[1]))
    return [
        Tile(degrees.name(90 - DEGREES * (row + 1), DEGREES * column - 180), tuple(blocks))
        for (row, column), blocks in found.items()
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
    try:
        data = _fetched(tile, url, client)
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


def _fetched(tile: Tile, url: str, client: Client) -> bytes:
    """Return a GeoTIFF of a tile's blocks; raises FetchError."""
    host, name = urlsplit(url).netloc.rpartition("@")[2], url.rpartition("/")[2]
    with tempfile.TemporaryDirectory() as folder, rasterio.MemoryFile() as memory:
        part = Path(folder) / "part.tif"
        try:
            part.write_bytes(client.ranges(url, [(0, HEADER)])[0])
            with rasterio.open(part, driver="GTiff") as source:
                _require_tile(tile, source)
                place = {"width": source.width, "height": source.height, "transform": source.transform}
                colours = source.colormap(1) if source.colorinterp[0].name == "palette" else None
            profile = {**BLOCKS, **place, "count": 1, "dtype": "uint8", "crs": "EPSG:4326", "nodata": 0}
            with memory.open(**profile, compress="deflate") as file:
                if colours:
                    file.write_colormap(1, colours)
                for start in range(0, len(tile.blocks), AT_ONCE):
                    for window, pixels in _pixels(part, url, tile.blocks[start : start + AT_ONCE], client):
                        file.write(pixels, 1, window=window)
        except rasters.FAULTS as error:
            raise FetchError(
                f"{host}: {name} is no tile of WorldCover, or is damaged ({of_library(error)}); give another address"
            ) from None
        return bytes(memory.getbuffer())


def _require_tile(tile: Tile, source: Any) -> None:
    """Raise ValueError where a data set is not a tile of classes where its name says."""
    if source.dtypes[0] != "uint8" or not crs.same(source.crs.to_wkt() if source.crs else "EPSG:3857", crs.LONLAT):
        raise ValueError("holds no classes in degrees")
    west, north = tile.transform.c, tile.transform.f
    if not np.allclose(source.bounds, (west, north - DEGREES, west + DEGREES, north), rtol=0, atol=1e-6):
        raise ValueError(f"lies at {source.bounds.left:.6g} east, {source.bounds.bottom:.6g} north")


def _pixels(
    part: Path, url: str, blocks: Sequence[tuple[int, int]], client: Client
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """Yield windows and their pixels; `part` holds the tile's header, and the blocks are added to it.

    blocks: in the blocks of a whole tile; of tiles with other blocks, all that they touch are fetched.
    """
    with rasterio.open(part, driver="GTiff") as source:
        windows = [_window(source, column, row) for column, row in blocks]
        spans = sorted({span for window in windows for span in _spans(source, window)})
    with part.open("r+b") as file:
        for (start, _), data in zip(spans, client.ranges(url, spans), strict=True):
            file.seek(start)
            file.write(data)
    with rasterio.open(part, driver="GTiff") as source:
        for window in windows:
            yield window, source.read(1, window=window)


def _window(source: Any, column: int, row: int) -> Window:
    """Return the pixels of a block of WorldCover; of a tile of another resolution, those that it reaches into."""
    left, right = column * BLOCK * source.width // SIDE, -(-(column + 1) * BLOCK * source.width // SIDE)
    top, bottom = row * BLOCK * source.height // SIDE, -(-(row + 1) * BLOCK * source.height // SIDE)
    right, bottom = min(right, source.width), min(bottom, source.height)
    return Window(left, top, right - left, bottom - top)


def _spans(source: Any, window: Window) -> Iterator[tuple[int, int]]:
    """Yield the first byte of each block in a window, and that after its last; blocks that are empty have none."""
    height, width = source.block_shapes[0]
    for row in range(window.row_off // height, (window.row_off + window.height - 1) // height + 1):
        for column in range(window.col_off // width, (window.col_off + window.width - 1) // width + 1):
            start = source.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1)
            size = source.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=1)
            if start and int(size or 0):
                if int(size) > LARGEST:
                    raise ValueError(f"has a block of {int(size):,} bytes")
                yield int(start), int(start) + int(size)
