"""Composites: medians of the clearest scenes of a season, made piece by piece.

Of each scene the classification (SCL) is read first. In each block the scenes with most clear pixels there are taken,
so that a pixel does not depend on what else is fetched; its median is that of their clear pixels there. Blocks in which
no pixel is clear are not read.
Source of the classes: Sentinel-2 Products Specification Document, scene classification.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydantic
import rasterio
from numpy.typing import NDArray

from geoembed.archives import blocks, hosts, pieces
from geoembed.archives.blocks import Remote
from geoembed.archives.client import Client
from geoembed.archives.pieces import ENCODING, Piece
from geoembed.archives.scenes import Asset, Scene
from geoembed.errors import AbsentError, FetchError
from geoembed.imagery.catalogues import Stac
from geoembed.outputs import atomic, digests, documents
from geoembed.version import __version__

log = logging.getLogger(__name__)

T = TypeVar("T")

INVALID = 65535
"""Stands for no value while pixels are sorted; a clear pixel is at most one less."""

ROWS = 32
"""Rows that are sorted at once, so that those of a dozen scenes fit a processor's cache."""

BANDS = 2
"""Bands of which medians are made at once, so that one is sorted while another is fetched."""


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
    scenes: of which it is the median, the clearest first.
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
    with ThreadPoolExecutor(client.connections) as pool, ThreadPoolExecutor(BANDS) as bands:
        work = _Work(piece, client, pool)
        taken, dropped = _taken(work, settings)
        if piece.scenes and len(dropped) == len(piece.scenes):
            scene_id, why = min(dropped.items())
            raise FetchError(
                f"{piece.tile}, {piece.year}-{piece.season}: none of its {len(dropped)} scenes is there, such as "
                f"{scene_id} ({why}); remove searches/ from the cache to search again, or name another catalogue"
            )
        stored = np.stack(work.all(partial(_median, work, taken), settings.assets, pool=bands))
    for scene_id, why in sorted(dropped.items()):
        log.warning("%s: is left out: %s", scene_id, why)
    _write(piece, stored)
    needed = _pixels(np.array(piece.blocks), piece.box.height, piece.box.width)
    provenance = Provenance(
        geoembed_version=__version__,
        recipe=piece.recipe,
        scenes=tuple(map(_used, taken)),
        others=len(piece.scenes) - len(taken) - len(dropped),
        dropped=dropped,
        valid={
            name: round(float((band[needed] > 0).mean()), 6)
            for name, band in zip(piece.raster.channels, stored, strict=True)
        },
        content=digests.of_bytes(piece.path),
    )
    documents.write(sidecar(piece.path), pydantic.TypeAdapter(Provenance).dump_python(provenance, mode="json"))
    return provenance


class ElsewhereError(FetchError):
    """A file lies on other pixels than those of its tile."""


class _Work:
    """What is done for a piece, with a client, by threads."""

    def __init__(self, piece: Piece, client: Client, pool: ThreadPoolExecutor) -> None:
        self.piece, self.client, self._pool = piece, client, pool
        self.needed = np.array(piece.blocks)
        box = piece.box
        self.tile = box.part(-piece.row, -piece.column, piece.row + box.height, piece.column + box.width)

    def all(self, work: Callable[..., T], *arguments: Iterable[Any], pool: ThreadPoolExecutor | None = None) -> list[T]:
        """Return what some work gives for each of some arguments, none of it going on afterwards; raises what it does.

        Interrupted, it gives up all requests of the client.
        """
        futures = [(pool or self._pool).submit(work, *each) for each in zip(*arguments, strict=True)]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in filter(done.__contains__, futures):
                future.result()
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            self.client.close()
            raise
        finally:
            for future in futures:
                future.cancel()
            wait(futures)

    @contextmanager
    def opened(self, asset: Asset) -> Iterator[Remote]:
        """Open a file of a scene; raises FetchError, and its kinds AbsentError and ElsewhereError."""
        with blocks.opened(self.client, asset.href, self.piece.path.parent) as remote:
            if not pieces.factor(self.tile, remote.box):
                raise ElsewhereError(f"{hosts.name(asset.href)}: lies on other pixels than its tile")
            yield remote


@dataclass(frozen=True, eq=False)
class _Clear:
    """A scene, and its clear pixels in a piece.

    share: of the needed pixels.
    counts: in each block, (block rows, block columns).
    bits: the pixels, (height, width) packed to bits.
    blocks: in which it is one of the clearest, (block rows, block columns).
    """

    scene: Scene
    share: float
    counts: NDArray[np.int64]
    bits: NDArray[np.uint8]
    blocks: NDArray[np.bool_]


def _used(clear: _Clear) -> Used:
    scene = clear.scene
    offsets = {name: asset.offset for name, asset in scene.bands.items()}
    return Used(scene.id, scene.time, scene.baseline, offsets, round(clear.share, 4))


def _taken(work: _Work, settings: Stac) -> tuple[list[_Clear], dict[str, str]]:
    """Return the scenes of which the median is, the clearest first, and why others are dropped, by id."""
    dropped: dict[str, str] = {}
    clear: list[_Clear] = []
    for scene, answer in zip(
        work.piece.scenes, work.all(partial(_clear, work, settings), work.piece.scenes), strict=True
    ):
        if isinstance(answer, str):
            dropped[scene.id] = answer
        else:
            clear.append(answer)
    while True:  # where a scene is dropped, the next in rank takes its place, in all bands
        taken = _clearest([each for each in clear if each.scene.id not in dropped], settings.scenes)
        files = [(each.scene, asset) for each in taken for asset in each.scene.bands.values()]
        lacking = [(scene.id, why) for (scene, _), why in zip(files, work.all(partial(_why, work), files), strict=True)
                   if why]  # fmt: skip
        if not lacking:
            return taken, dropped
        dropped |= dict(lacking)


def _clear(work: _Work, settings: Stac, scene: Scene) -> _Clear | str:
    """Return the clear pixels of a scene in a piece, or why it cannot be read.

    Where no class is masked, all count as clear, as no classification is read.
    """
    box = work.piece.box
    is_clear = _pixels(work.needed, box.height, box.width)
    if settings.mask:
        if scene.classification is None:
            return "has no scene classification"
        try:
            with work.opened(scene.classification) as remote:
                is_clear &= _read(work, remote, work.needed, 0, box.height, partial(_unmasked, settings.mask))
        except (AbsentError, ElsewhereError) as fault:
            return str(fault)
    side = pieces.BLOCK
    counts = np.array(
        [
            [
                np.count_nonzero(is_clear[row : row + side, column : column + side])
                for column in range(0, box.width, side)
            ]
            for row in range(0, box.height, side)
        ]
    )
    share = float(counts.sum() / work.piece.needed)
    return _Clear(scene, share, counts, np.packbits(is_clear, axis=1), counts > 0)


def _unmasked(mask: Sequence[int], classes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pixels are of no class that is masked; faster than isin, of a few classes."""
    is_unmasked = np.ones(classes.shape, dtype=bool)
    for number in mask:
        is_unmasked &= classes != number
    return is_unmasked


def _clearest(clear: Sequence[_Clear], most: int) -> list[_Clear]:
    """Return the scenes that are among so many clearest ones in a block, and in which; the clearest in all first."""
    if not clear:
        return []
    ordered = sorted(clear, key=lambda each: (each.scene.time, each.scene.id))
    counts = np.stack([each.counts for each in ordered])
    ranks = np.argsort(np.argsort(-counts, axis=0, kind="stable"), axis=0)
    taken = [replace(each, blocks=here) for each, here in zip(ordered, (counts > 0) & (ranks < most), strict=True)
             if here.any()]  # fmt: skip
    return sorted(taken, key=lambda each: (-each.share, each.scene.time, each.scene.id))


def _why(work: _Work, file: tuple[Scene, Asset]) -> str:
    """Return why a file of a scene cannot be read, empty where it can; its header is kept by the client."""
    try:
        with work.opened(file[1]):
            return ""
    except (AbsentError, ElsewhereError) as fault:
        return str(fault)


def _read(
    work: _Work,
    remote: Remote,
    needed: NDArray[np.bool_],
    top: int,
    height: int,
    made: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray,
) -> NDArray[Any]:
    """Return what is made of the numbers of a remote file at the pixels of a piece's rows, (height, width).

    A pixel of a coarser file stands for all those that lie in it. In blocks not needed the numbers are 0.

    needed: blocks of the piece, (block rows, block columns) from the first that holds some of the rows.
    top, height: the rows.
    """
    factor = pieces.factor(work.tile, remote.box)
    row, column, width = work.piece.row + top, work.piece.column, work.piece.box.width
    first_row, first_column = row // factor, column // factor
    rows = np.arange(first_row, (row + height - 1) // factor + 1)
    columns = np.arange(first_column, (column + width - 1) // factor + 1)
    # Which needed blocks meet which of the file's: both are runs of pixels of the piece.
    down = _meeting(needed.shape[0], height, rows // remote.block[0], rows * factor - row, factor)
    across = _meeting(needed.shape[1], width, columns // remote.block[1], columns * factor - column, factor)
    wanted = (down.T @ needed.astype(np.int64) @ across) > 0
    numbers = made(remote.read(first_row, first_column, len(rows), len(columns), wanted))
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
    firsts: the first pixel of the piece in each pixel of the file, which may lie before the piece.
    """
    firsts, lasts = firsts.clip(0), np.minimum(firsts + factor, length) - 1
    meeting = np.zeros((needed, int(blocks_of[-1] - blocks_of[0]) + 1), dtype=np.int64)
    for pixels in (firsts, lasts):
        meeting[pixels // pieces.BLOCK, blocks_of - blocks_of[0]] = 1
    return meeting


def _median(work: _Work, taken: Sequence[_Clear], name: str) -> NDArray[np.uint16]:
    """Return the median of a band, (height, width); raises FetchError."""
    box, side = work.piece.box, pieces.BLOCK
    band = np.zeros((box.height, box.width), dtype=np.uint16)
    with ExitStack() as stack:
        remotes = [stack.enter_context(work.opened(clear.scene.bands[name])) for clear in taken]
        packings = [_packing(clear.scene.bands[name], remote) for clear, remote in zip(taken, remotes, strict=True)]
        for top in range(0, box.height, side):
            reading = [n for n, clear in enumerate(taken) if clear.blocks[top // side].any()]
            read = work.all(partial(_strip, work, top), [taken[n] for n in reading], [remotes[n] for n in reading])
            strips = dict(zip(reading, read, strict=True))
            for left in range(0, box.width, side):
                parts = [
                    _Part(strips[n][:, left : left + side], taken[n].bits[top : top + side, left // 8 :], packings[n])
                    for n in reading
                    if taken[n].blocks[top // side, left // side]
                ]
                _fill(band[top : top + side, left : left + side], parts)
    return band


@dataclass(frozen=True, eq=False)
class _Part:
    """A scene's band in a block.

    numbers: as they are read, (h, w).
    bits: which are clear, (h, at least w / 8).
    packed: what is stored of every number.
    """

    numbers: NDArray[Any]
    bits: NDArray[np.uint8]
    packed: NDArray[np.uint16]


def _fill(block: NDArray[np.uint16], parts: Sequence[_Part]) -> None:
    """Set a block (h, w) to the median of its parts, some rows at a time."""
    height, width = block.shape
    for top in range(0, height if parts else 0, ROWS):
        rows = slice(top, min(top + ROWS, height))
        planes = np.empty((len(parts), rows.stop - top, width), dtype=np.uint16)
        for plane, part in zip(planes, parts, strict=True):
            part.packed.take(part.numbers[rows], out=plane, mode="clip")
            is_clear = np.unpackbits(part.bits[rows], axis=1, count=width)
            plane |= np.subtract(is_clear, np.uint16(1), dtype=np.uint16)  # INVALID where it is 0
        block[rows] = median(planes)


def _strip(work: _Work, top: int, clear: _Clear, remote: Remote) -> NDArray[Any]:
    """Return a scene's band in a row of blocks, (height, width), as unsigned numbers."""
    height = min(pieces.BLOCK, work.piece.box.height - top)
    numbers = _read(work, remote, clear.blocks[[top // pieces.BLOCK]], top, height)
    return numbers.view(f"u{numbers.itemsize}")


def _packing(asset: Asset, remote: Remote) -> NDArray[np.uint16]:
    """Return what a composite stores of every number of a file; raises FetchError."""
    if remote.dtype not in ("uint8", "uint16", "int16"):
        raise FetchError(
            f"{hosts.name(asset.href)}: holds {remote.dtype}, no numbers of 8 or 16 bits; name another asset in assets"
        )
    return packing(remote.dtype, remote.nodata, asset.scale, asset.offset)


@lru_cache(maxsize=16)
def packing(dtype: str, nodata: float | None, scale: float, offset: float) -> NDArray[np.uint16]:
    """Return what a composite stores of every number of a type, in the order of its bits as an unsigned one.

    The value, number * scale + offset, stays the same; it is rounded where it lies between two stored numbers, half up.
    It is from 1 to one less than INVALID, which stands for 0, in all products no value, and for `nodata`.
    """
    kind = np.dtype(dtype)
    numbers = np.arange(2 ** (8 * kind.itemsize)).astype(f"u{kind.itemsize}").view(kind).astype(np.int64)
    # In fractions, as scale and offset are decimal numbers, which floating point does not hold.
    unit, least = Fraction(repr(ENCODING.scale)), Fraction(repr(ENCODING.offset))
    factor, shift = Fraction(repr(scale)) / unit, (Fraction(repr(offset)) - least) / unit + Fraction(1, 2)
    below = factor.denominator * shift.denominator
    times, plus = factor.numerator * shift.denominator, shift.numerator * factor.denominator
    stored = [min(max((number * times + plus) // below, 1), INVALID - 1) for number in numbers.tolist()]
    packed = np.array(stored, dtype=np.uint16)
    packed[(numbers == 0) | (numbers == nodata)] = INVALID
    packed.flags.writeable = False
    return packed


def median(planes: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the median of each pixel over planes, (S, h, w), without INVALID; 0 where all are INVALID. Sorts them.

    It is numpy's: of an even number of values the mean of the two in the middle, which is rounded, half up.
    """
    _sort(planes)
    middle = [planes[0].copy(), planes[0].copy()]
    value = np.empty_like(planes[0])
    # Of n values those in the middle are number (n - 1) // 2 and n // 2, from 0: each further value moves the upper and
    # the lower of them up in turn. As planes are sorted, what is moved to is the larger.
    for number in range(1, len(planes)):
        np.multiply(planes[(number + 1) // 2], planes[number] != INVALID, out=value)
        np.maximum(middle[number % 2], value, out=middle[number % 2])
    low, high = middle
    mean = (low | high) - ((low ^ high) >> 1)  # (low + high + 1) // 2, which might not fit
    return np.asarray(mean * (low != INVALID))


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
