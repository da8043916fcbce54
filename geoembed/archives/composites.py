"""Composites: medians of the clearest scenes of a season, made piece by piece.

Of each scene the classification (SCL) is read first. The scenes with the largest clear share of the piece are taken;
the median of a pixel is that of their clear pixels there. Blocks in which no pixel is clear are not read.
Source of the classes: Sentinel-2 Products Specification Document, scene classification.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import rasterio
from numpy.typing import NDArray

from geoembed.archives import blocks, pieces
from geoembed.archives.blocks import Remote
from geoembed.archives.client import Client
from geoembed.archives.pieces import ENCODING, Piece
from geoembed.archives.scenes import Asset, Scene
from geoembed.errors import AbsentError
from geoembed.ground import crs
from geoembed.imagery.catalogues import Stac
from geoembed.outputs import atomic, digests, documents
from geoembed.version import __version__

log = logging.getLogger(__name__)

INVALID = 65535
"""Stands for no value while pixels are sorted; a clear pixel is at most one less."""

ROWS = 32
"""Rows that are sorted at once, so that those of a dozen scenes fit a processor's cache."""


@dataclass(frozen=True)
class Used:
    """A scene of a composite.

    id: of its item.
    time: when it was sensed.
    baseline: processing baseline; None where unknown.
    offsets: of reflectance, by channel.
    clear: the share of the piece's pixels that are clear.
    """

    id: str
    time: datetime
    baseline: str | None
    offsets: dict[str, float]
    clear: float


@dataclass(frozen=True)
class Provenance:
    """What a composite was made from; the JSON file beside it.

    geoembed_version: that made it.
    recipe: digest of all that its numbers depend on.
    scenes: of which it is the median.
    others: number of scenes that were less clear.
    dropped: why scenes could not be read, by id.
    valid: the share of valid pixels among those needed, by channel.
    content: SHA-256 of the file.
    """

    geoembed_version: str
    recipe: str
    scenes: tuple[Used, ...]
    others: int
    dropped: dict[str, str]
    valid: dict[str, float]
    content: str


def sidecar(path: Path) -> Path:
    """Return the path of the provenance of a composite."""
    return path.with_suffix(".json")


def made(piece: Piece) -> Provenance | None:
    """Return the provenance of a piece that was made before; None where it was not, or its file is damaged."""
    provenance = told(piece)
    try:
        if provenance is not None and digests.of_bytes(piece.path) == provenance.content:
            return provenance
    except OSError:
        pass
    return None


def told(piece: Piece) -> Provenance | None:
    """Return the provenance of a piece that was made before, whether its file is still there or not."""
    try:
        provenance = documents.parsed(documents.load(sidecar(piece.path)), Provenance)
    except (OSError, ValueError):
        return None
    return provenance if provenance.recipe == piece.recipe else None


def make(piece: Piece, client: Client, settings: Stac) -> Provenance:
    """Make a piece, and write its file and then its provenance; raises FetchError.

    A scene whose files are not there, or lie on other pixels, is dropped, which is told; what cannot be had otherwise
    is an error, never a gap.
    """
    piece.path.parent.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(client.connections)
    try:
        stored, chosen, others, dropped = _stored(piece, client, settings, pool)
    finally:
        pool.shutdown(cancel_futures=True)
    for scene_id, why in sorted(dropped.items()):
        log.warning("%s: is left out: %s", scene_id, why)
    _write(piece, stored)
    needed = _pixels(np.array(piece.blocks), piece.box.height, piece.box.width)
    provenance = Provenance(
        geoembed_version=__version__,
        recipe=piece.recipe,
        scenes=tuple(map(_used, chosen)),
        others=others,
        dropped=dropped,
        valid={
            name: round(float((band[needed] > 0).mean()), 6)
            for name, band in zip(piece.raster.channels, stored, strict=True)
        },
        content=digests.of_bytes(piece.path),
    )
    documents.write(sidecar(piece.path), pydantic.TypeAdapter(Provenance).dump_python(provenance, mode="json"))
    return provenance


@dataclass(frozen=True, eq=False)
class _Clear:
    """A scene, and its clear pixels in a piece.

    share: of the needed pixels.
    blocks: in which there are some, (block rows, block columns).
    bits: the pixels, (height, width) packed to bits.
    """

    scene: Scene
    share: float
    blocks: NDArray[np.bool_]
    bits: NDArray[np.uint8]


def _used(clear: _Clear) -> Used:
    scene = clear.scene
    offsets = {name: asset.offset for name, asset in scene.bands.items()}
    return Used(scene.id, scene.time, scene.baseline, offsets, round(clear.share, 4))


def _stored(
    piece: Piece, client: Client, settings: Stac, pool: ThreadPoolExecutor
) -> tuple[NDArray[np.uint16], list[_Clear], int, dict[str, str]]:
    """Return a piece's numbers, (bands, height, width), their scenes, how many others there are, and what was dropped.
    """  # fmt: skip
    dropped: dict[str, str] = {}
    read = partial(_clear, piece, client, settings)
    clear: list[_Clear] = []
    for scene, answer in zip(piece.scenes, pool.map(read, piece.scenes), strict=True):
        if isinstance(answer, str):
            dropped[scene.id] = answer
        elif answer.share > 0.0:
            clear.append(answer)
    stored = np.zeros((len(settings.assets), piece.box.height, piece.box.width), dtype=np.uint16)
    while True:
        clear = [each for each in clear if each.scene.id not in dropped]
        ranked = sorted(clear, key=lambda each: (-each.share, each.scene.time, each.scene.id))
        chosen = ranked[: settings.scenes]
        for name, band in zip(settings.assets, stored, strict=True):
            lacking = _median(piece, client, name, chosen, pool, band)
            if lacking:  # the next scene in rank takes its place, in all bands
                dropped |= lacking
                break
        else:
            return stored, chosen, len(piece.scenes) - len(dropped) - len(chosen), dropped


def _clear(piece: Piece, client: Client, settings: Stac, scene: Scene) -> _Clear | str:
    """Return the clear pixels of a scene in a piece, or why it cannot be read."""
    asset, needed = scene.classification, np.array(piece.blocks)
    if asset is None:
        return "has no scene classification"
    whole = _pixels(needed, piece.box.height, piece.box.width)
    try:
        with blocks.opened(client, asset.href, piece.path.parent) as remote:
            if not _factor(piece, remote):
                return "its classification lies on other pixels"
            classes = _read(piece, remote, needed)
    except AbsentError as fault:
        return str(fault)
    is_clear = ~np.isin(classes, settings.mask) & whole
    rows = np.logical_or.reduceat(is_clear, np.arange(0, is_clear.shape[0], pieces.BLOCK), axis=0)
    in_blocks = np.logical_or.reduceat(rows, np.arange(0, is_clear.shape[1], pieces.BLOCK), axis=1)
    return _Clear(scene, float(is_clear.sum() / whole.sum()), in_blocks, np.packbits(is_clear, axis=1))


def _factor(piece: Piece, remote: Remote) -> int:
    """Return how many pixels of a piece lie along one of a remote file of its tile; 0 where the file lies elsewhere."""
    factor = round(remote.box.transform.a / piece.box.transform.a)
    if factor < 1 or not crs.same(remote.box.crs, piece.box.crs):
        return 0
    sizes = remote.box.transform.a / piece.box.transform.a, remote.box.transform.e / piece.box.transform.e
    corner = ~remote.box.transform @ (piece.box.transform.c, piece.box.transform.f)
    is_there = np.allclose(corner, (piece.column / factor, piece.row / factor), rtol=0.0, atol=0.01)
    last = piece.row + piece.box.height, piece.column + piece.box.width
    reaches = remote.box.height * factor >= last[0] and remote.box.width * factor >= last[1]
    return factor if is_there and reaches and np.allclose(sizes, factor) else 0


def _read(
    piece: Piece, remote: Remote, needed: NDArray[np.bool_], top: int = 0, height: int | None = None
) -> NDArray[Any]:
    """Return the numbers of a remote file at the pixels of a piece's rows, (height, width); 0 in blocks not needed.

    A pixel of a coarser file stands for all those that lie in it.

    needed: blocks of the piece, (block rows, block columns) from the first that holds some of the rows.
    top, height: the rows; None: all.
    """
    factor = _factor(piece, remote)
    height, width = piece.box.height if height is None else height, piece.box.width
    row, column = piece.row + top, piece.column
    first_row, first_column = row // factor, column // factor
    rows = np.arange(first_row, (row + height - 1) // factor + 1)
    columns = np.arange(first_column, (column + width - 1) // factor + 1)
    # Which needed blocks meet which of the file's: both are runs of pixels of the piece.
    down = _meeting(needed.shape[0], height, rows // remote.block[0], (rows * factor - row).clip(0), factor)
    across = _meeting(needed.shape[1], width, columns // remote.block[1], (columns * factor - column).clip(0), factor)
    wanted = (down.T @ needed.astype(np.int64) @ across) > 0
    numbers = remote.read(first_row, first_column, len(rows), len(columns), wanted)
    if factor == 1:
        return numbers
    above, before = row - first_row * factor, column - first_column * factor
    fine = numbers.repeat(factor, axis=0).repeat(factor, axis=1)
    return fine[above : above + height, before : before + width]


def _meeting(
    needed: int, length: int, blocks_of: NDArray[np.int64], firsts: NDArray[np.int64], factor: int
) -> NDArray[np.int64]:
    """Return 1 where one of `needed` blocks of a piece meets one of a file's, along an axis, (needed, file's blocks).

    blocks_of: of each pixel of the file, its block.
    firsts: the first pixel of the piece in each pixel of the file.
    """
    lasts = np.minimum(firsts + factor, length) - 1
    meeting = np.zeros((needed, int(blocks_of[-1] - blocks_of[0]) + 1), dtype=np.int64)
    for pixels in (firsts, lasts):
        meeting[pixels // pieces.BLOCK, blocks_of - blocks_of[0]] = 1
    return meeting


def _median(
    piece: Piece,
    client: Client,
    name: str,
    chosen: Sequence[_Clear],
    pool: ThreadPoolExecutor,
    band: NDArray[np.uint16],
) -> dict[str, str]:
    """Write the median of a band, (height, width); where scenes cannot be read, return why by id instead."""
    with ExitStack() as stack:

        def opened(clear: _Clear) -> Remote | str:
            try:
                remote = stack.enter_context(blocks.opened(client, clear.scene.bands[name].href, piece.path.parent))
            except AbsentError as fault:
                return str(fault)
            return remote if _factor(piece, remote) == 1 else f"its {name} lies on other pixels"

        answers = list(pool.map(opened, chosen))
        lacking = {clear.scene.id: why for clear, why in zip(chosen, answers, strict=True) if isinstance(why, str)}
        if lacking:
            return lacking
        remotes = [remote for remote in answers if isinstance(remote, Remote)]
        for top in range(0, piece.box.height, pieces.BLOCK):
            height = min(pieces.BLOCK, piece.box.height - top)
            strips = list(pool.map(partial(_strip, piece, name, top, height), chosen, remotes))
            for row in range(0, height, ROWS):
                planes = [strip[row : row + ROWS] for strip in strips]
                band[top + row : top + min(row + ROWS, height)] = median(planes) if planes else 0
    return {}


def _strip(piece: Piece, name: str, top: int, height: int, clear: _Clear, remote: Remote) -> NDArray[np.uint16]:
    """Return a scene's band in rows of a piece, (height, width), as it is stored; INVALID where it is not clear."""
    is_clear = np.unpackbits(clear.bits[top : top + height], axis=1, count=piece.box.width).view(bool)
    numbers = _read(piece, remote, clear.blocks[[top // pieces.BLOCK]], top, height)
    is_valid = is_clear & (numbers != 0)
    if remote.nodata is not None:
        is_valid &= numbers != remote.nodata
    packed = pack(numbers, clear.scene.bands[name])
    packed[~is_valid] = INVALID
    return packed


def pack(numbers: NDArray[Any], asset: Asset) -> NDArray[np.uint16]:
    """Return a band's numbers as a composite stores them, from 1 to one less than INVALID.

    The value, number * scale + offset, stays the same; it is rounded where it lies between two stored numbers.
    """
    shift = (asset.offset - ENCODING.offset) / ENCODING.scale
    factor = asset.scale / ENCODING.scale
    if abs(factor - 1.0) < 1e-9 and abs(shift - round(shift)) < 1e-6:
        moved = numbers.astype(np.int32) + round(shift)
    else:
        moved = np.floor(numbers * factor + shift + 0.5)
    return np.clip(moved, 1, INVALID - 1).astype(np.uint16)


def median(planes: Sequence[NDArray[np.uint16]]) -> NDArray[np.uint16]:
    """Return the median of each pixel over planes, (h, w) each, without INVALID; 0 where all are INVALID.

    It is numpy's: of an even number of values the mean of the two in the middle, which is rounded, half up.
    """
    ordered = np.stack(planes)
    _sort(ordered)
    count = (ordered != INVALID).sum(axis=0, dtype=np.intp)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, axis=0)[0].astype(np.uint32)
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(ordered) - 1)[None], axis=0)[0]
    return np.where(count > 0, (low + high + 1) // 2, 0).astype(np.uint16)


def _sort(planes: NDArray[np.uint16]) -> None:
    """Sort planes (S, h, w) along the first axis, in place: whole planes are compared, which numpy does fast."""
    lower = np.empty_like(planes[0])
    for first, second in _network(len(planes)):
        np.minimum(planes[first], planes[second], out=lower)
        np.maximum(planes[first], planes[second], out=planes[second])
        planes[first] = lower


def _network(size: int) -> Iterator[tuple[int, int]]:
    """Yield which two of some places are compared, in turn, so that all are sorted: Batcher's odd-even merge sort.

    Source: Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M.
    """
    if size < 2:
        return
    top = 1 << ((size - 1).bit_length() - 1)
    p = top
    while p:
        q, r, d = top, 0, p
        while True:
            yield from ((i, i + d) for i in range(size - d) if i & p == r)
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1


def _pixels(needed: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Return which pixels lie in needed blocks, (height, width)."""
    return needed.repeat(pieces.BLOCK, axis=0).repeat(pieces.BLOCK, axis=1)[:height, :width]


def _write(piece: Piece, stored: NDArray[np.uint16]) -> None:
    """Write a piece's file. It is made in memory, as GDAL does not always tell when a disk is full."""
    count, height, width = stored.shape
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": count, "dtype": "uint16",
        "crs": piece.box.crs, "transform": piece.box.transform, "nodata": 0, "tiled": True, "blockxsize": 512,
        "blockysize": 512, "compress": "zstd", "zstd_level": 1, "predictor": 2, "sparse_ok": True,
    }  # fmt: skip
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(stored)
            file.scales, file.offsets = (ENCODING.scale,) * count, (ENCODING.offset,) * count
            file.descriptions = piece.raster.channels
        atomic.write_bytes(piece.path, memory.getbuffer())
