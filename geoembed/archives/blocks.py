"""Blocks of remote GeoTIFFs: those that a window needs are fetched into a local file, and decoded there.

GDAL decodes, but does not fetch: its own remote files take an answer that was cut short for the truth. Nor does it
compare the checksum of a Deflate block: of single wrong bytes, every fourth passes. So that is done here. LZMA tells
nearly all by itself. LZW, ZSTD, PackBits and no compression have no checksum: there, only what cannot be decoded is
told.
Source of the layout: TIFF 6.0 specification, and the BigTIFF extension.
"""

import itertools
import math
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from geoembed.archives import hosts
from geoembed.archives.client import Beginning, Client
from geoembed.errors import FetchError, of_library
from geoembed.ground import crs as crs_
from geoembed.ground.lattice import GeoBox
from geoembed.imagery import rasters
from geoembed.outputs import atomic

HEADER, LONGEST_HEADER = 2**14, 2**26
"""Bytes that are fetched first, which mostly hold the header; and of a part of it at most."""

MOST_ENTRIES = 2**12

LARGEST = 2**27
"""Bytes of a block at most, packed or not; of a file with larger ones, a window would cost too much."""

LARGEST_FILE = 2**42
"""Bytes of a file at most; a local one of that size is made, though mostly empty."""

MOST_KEPT = 2**26
"""Bytes of headers that a client keeps: some 3,000, of some 20 kB each."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a number, by TIFF's code of its type."""

_DEFLATE = (8, 32946)
"""TIFF's codes of Deflate, the adopted and the older one."""

_COMPRESSION, _PREDICTOR = 259, 317
_STRIP_OFFSETS, _STRIP_SIZES, _TILE_OFFSETS, _TILE_SIZES = 273, 279, 324, 325


@dataclass(frozen=True)
class Header:
    """The beginning of a GeoTIFF.

    parts: first byte and bytes of all that is said of the full resolution, and of an end of the header behind it.
    size: of the file, in bytes.
    version: of the object, by which a changed one is told.
    offsets, sizes: in bytes, of each block; both are 0 of a block without values.
    order: of bytes, `<` or `>`.
    compression, predictor: TIFF's codes.
    """

    parts: tuple[tuple[int, bytes], ...]
    size: int
    version: str
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    order: Literal["<", ">"]
    compression: int
    predictor: int

    @property
    def weight(self) -> int:
        """Return the bytes that it takes in memory."""
        return sum(len(data) for _, data in self.parts) + self.offsets.nbytes + self.sizes.nbytes


class Remote:
    """A remote GeoTIFF of one band.

    box: CRS, transform and size.
    block: height and width of its blocks.
    dtype: of its numbers.
    nodata: the number that stands for no value; None where there is none.
    """

    def __init__(self, client: Client, url: str, header: Header, path: Path, source: Any) -> None:
        if source.count != 1 or source.crs is None or source.dtypes[0].startswith("complex"):
            raise ValueError("is no band of numbers with a CRS")
        self._client, self._url, self._header, self._path, self._source = client, url, header, path, source
        self.box = GeoBox(crs_.horizontal(source.crs.to_wkt()), source.transform, source.height, source.width)
        self.block: tuple[int, int] = source.block_shapes[0]
        self.dtype: str = source.dtypes[0]
        self.nodata: float | None = source.nodata
        self._there: set[int] = set()
        self._unchecked: set[int] = set()
        if math.prod(self.blocks) != len(header.offsets):
            raise ValueError("has another number of blocks than its size gives")
        self._block_bytes = math.prod(self.block) * np.dtype(self.dtype).itemsize
        if self._block_bytes > LARGEST:
            raise ValueError("has blocks that are too large")

    @property
    def blocks(self) -> tuple[int, int]:
        """Return the number of rows and columns of blocks."""
        return math.ceil(self.box.height / self.block[0]), math.ceil(self.box.width / self.block[1])

    @property
    def colours(self) -> dict[int, tuple[int, ...]] | None:
        """Return red, green, blue and opacity of each number, 0 to 255; None where there is no colour table."""
        return dict(self._source.colormap(1)) if self._source.colorinterp[0] == ColorInterp.palette else None

    def read(
        self, row: int, column: int, height: int, width: int, wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[Any]:
        """Return the numbers of a window, (height, width); raises FetchError.

        wanted: which blocks are needed, (block rows, block columns) of those that the window touches; the numbers of
            the others are 0. None: all. Those without values are nodata, if there is such a number, else 0.
        """
        rows = range(row // self.block[0], (row + height - 1) // self.block[0] + 1)
        columns = range(column // self.block[1], (column + width - 1) // self.block[1] + 1)
        if wanted is None:
            wanted = np.ones((len(rows), len(columns)), dtype=bool)
        across = self.blocks[1]
        chosen = [place for place, is_wanted in zip(itertools.product(rows, columns), wanted.flat, strict=True)
                  if is_wanted]  # fmt: skip
        self._fetch([r * across + c for r, c in chosen if self._header.sizes[r * across + c]])
        numbers = np.zeros((height, width), dtype=self.dtype)
        for r, c in chosen:
            top, left = r * self.block[0], c * self.block[1]
            block = self._decoded(r * across + c, top, left)
            first, last = max(row - top, 0), min(row + height - top, len(block))
            start, end = max(column - left, 0), min(column + width - left, block.shape[1])
            part = block[first:last, start:end]
            at = top + first - row, left + start - column
            numbers[at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]] = part
        return numbers

    def _decoded(self, number: int, top: int, left: int) -> NDArray[Any]:
        """Return the numbers of a block as far as they lie in the raster; raises FetchError where it is damaged."""
        height = min(self.block[0], self.box.height - top)
        width = min(self.block[1], self.box.width - left)
        try:
            block: NDArray[Any] = self._source.read(1, window=Window(left, top, width, height))
        except rasters.FAULTS as error:
            raise _damaged(self._url, f"its pixels cannot be decoded ({of_library(error)})") from None
        if number in self._unchecked:
            if not self._is_intact(number, block):
                raise _damaged(self._url, "its pixels are not those that were written (Adler-32)")
            self._unchecked.discard(number)
        return block

    def _is_intact(self, number: int, block: NDArray[Any]) -> bool:
        """Tell whether the checksum at the end of a Deflate block is that of its bytes.

        These bytes are made again from the numbers, which costs a third of unpacking them a second time. That is done
        where they differ: with blocks that reach beyond the raster, and predictors not known here.
        """
        offset, size = int(self._header.offsets[number]), int(self._header.sizes[number])
        with self._path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if block.shape == self.block and self._header.predictor in (1, 2):
            bits = block.view(f"u{block.dtype.itemsize}")
            if self._header.predictor == 2:
                bits = np.concatenate([bits[:, :1], bits[:, 1:] - bits[:, :-1]], axis=1)
            packed = np.ascontiguousarray(bits, dtype=bits.dtype.newbyteorder(self._header.order))
            if zlib.adler32(packed.data) == int.from_bytes(data[-4:]):
                return True
        unpacking = zlib.decompressobj()
        try:
            unpacking.decompress(data, self._block_bytes + 1)
        except zlib.error:
            return False
        return unpacking.eof

    def _fetch(self, blocks: list[int]) -> None:
        """Put blocks into the local file that are not there yet."""
        missing = [block for block in blocks if block not in self._there]
        starts, sizes = self._header.offsets[missing].tolist(), self._header.sizes[missing].tolist()
        spans = [(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        with self._path.open("r+b") as file:
            for (start, _), data in zip(
                spans, self._client.ranges(self._url, spans, self._header.version), strict=True
            ):
                file.seek(start)
                file.write(data)
        self._there.update(missing)
        if self._header.compression in _DEFLATE:
            self._unchecked.update(missing)


@contextmanager
def opened(client: Client, url: str, folder: Path) -> Iterator[Remote]:
    """Open a remote GeoTIFF, of which no pixel is fetched yet; raises FetchError, AbsentError.

    folder: in which its local file lies while it is open.
    """
    header = _header(client, url)
    with atomic.private(folder / "remote.tif") as path:
        with path.open("wb") as file:
            file.truncate(header.size)
            for start, data in header.parts:
                file.seek(start)
                file.write(data)
        with ExitStack() as stack:
            try:
                source = rasterio.open(path, driver="GTiff")
                stack.callback(source.close)  # entered, it would have to be closed by the thread that opened it
                remote = Remote(client, url, header, path, source)
            except rasters.FAULTS as error:
                raise _damaged(url, of_library(error)) from None
            yield remote


_kept: WeakKeyDictionary[Client, OrderedDict[str, Header]] = WeakKeyDictionary()
_keeping = threading.Lock()


def _header(client: Client, url: str) -> Header:
    """Return the header of a remote GeoTIFF, fetched once; raises FetchError, AbsentError."""
    with _keeping:
        known = _kept.setdefault(client, OrderedDict())
        if url in known:
            known.move_to_end(url)
            return known[url]
    beginning = client.beginning(url, HEADER)
    taken = _Taken(client, url, beginning)
    try:
        header = _parsed(taken, beginning)
    except (struct.error, ValueError) as fault:
        raise _damaged(url, str(fault)) from None
    with _keeping:
        known[url] = header
        weight = sum(each.weight for each in known.values())
        while weight > MOST_KEPT:
            weight -= known.popitem(last=False)[1].weight
    return header


class _Taken:
    """Parts of a remote object that were fetched.

    parts: first byte and bytes of each.
    """

    def __init__(self, client: Client, url: str, beginning: Beginning) -> None:
        self._client, self._url, self._beginning = client, url, beginning
        self.parts = [(0, beginning.data)]

    def __call__(self, start: int, length: int) -> bytes:
        """Return some bytes; raises ValueError where they lie beyond the end, FetchError."""
        if length > LONGEST_HEADER or start + length > self._beginning.size:
            raise ValueError("its header leads beyond its end")
        for first, data in self.parts:
            if first <= start and start + length <= first + len(data):
                return data[start - first : start - first + length]
        span = (start, min(max(start + length, start + HEADER), self._beginning.size))
        (data,) = self._client.ranges(self._url, [span], self._beginning.version)
        self.parts.append((start, data))
        return data[:length]


def _parsed(taken: _Taken, beginning: Beginning) -> Header:
    """Return the header of an object; raises ValueError and struct.error where it is none, FetchError."""
    if beginning.size > LARGEST_FILE:
        raise ValueError("is larger than any raster")
    first = taken(0, min(16, beginning.size))
    order: Literal["<", ">"] = ">" if first[:2] == b"MM" else "<"
    magic = struct.unpack_from(f"{order}H", first, 2)[0] if first[:2] in (b"II", b"MM") else 0
    if magic not in (42, 43):
        raise ValueError("is a web page, no TIFF" if first.lstrip()[:1] == b"<" else "is no TIFF")
    word, entry, counter, first_at = ("Q", 20, "Q", 8) if magic == 43 else ("I", 12, "H", 4)
    width, counter_width = struct.calcsize(f"={word}"), struct.calcsize(f"={counter}")
    (start,) = struct.unpack_from(f"{order}{word}", first, first_at)
    (count,) = struct.unpack(f"{order}{counter}", taken(start, counter_width))
    if not 0 < count < MOST_ENTRIES:
        raise ValueError("its header is damaged")
    entries = taken(start + counter_width, count * entry + width)
    values: dict[int, NDArray[np.int64]] = {}
    codes = {_COMPRESSION: 1, _PREDICTOR: 1}
    for at in range(0, count * entry, entry):
        tag, kind, number = struct.unpack_from(f"{order}HH{word}", entries, at)
        length, inline = _SIZES.get(kind, 1) * number, entries[at + 4 + width : at + 4 + 2 * width]
        content = inline[:length] if length <= width else taken(struct.unpack(f"{order}{word}", inline)[0], length)
        if tag in (_STRIP_OFFSETS, _STRIP_SIZES, _TILE_OFFSETS, _TILE_SIZES):
            if kind not in (3, 4, 16):
                raise ValueError("its header is damaged")
            values[tag] = np.frombuffer(content, f"{order}u{_SIZES[kind]}").astype(np.int64)
        elif tag in codes and kind == 3 and number == 1:
            (codes[tag],) = struct.unpack(f"{order}H", content)
    offsets = values.get(_TILE_OFFSETS, values.get(_STRIP_OFFSETS))
    sizes = values.get(_TILE_SIZES, values.get(_STRIP_SIZES))
    if offsets is None or sizes is None or len(offsets) != len(sizes):
        raise ValueError("its header names no blocks")
    if min(offsets.min(), sizes.min()) < 0 or sizes.max() > LARGEST or (offsets + sizes).max() > beginning.size:
        raise ValueError("its header names blocks that lie beyond its end, or are too large")
    no_further = (start + counter_width + count * entry, bytes(width))  # other resolutions than the full one
    parts = (*taken.parts, no_further)
    return Header(
        parts, beginning.size, beginning.version, offsets, sizes, order, codes[_COMPRESSION], codes[_PREDICTOR]
    )


def _damaged(url: str, fault: str) -> FetchError:
    return FetchError(
        f"{hosts.name(url)}: {fault}; it is damaged or no GeoTIFF: name another asset, or tell its provider"
    )
