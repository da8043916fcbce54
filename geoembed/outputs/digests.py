"""Digests of content: of JSON-ready values, of tables, and of files, which are read only where they may have changed.

A file's digest is the SHA-256 of its size and its bytes. Of a file above WHOLE bytes only its first and last EDGE
bytes and BLOCKS blocks of BLOCK bytes, spread evenly, are read: an edit that keeps the size, the header and all of
those blocks goes unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas

WHOLE, EDGE = 2**26, 2**20
BLOCKS, BLOCK = 256, 2**16


def of_value(value: Any) -> str:
    """Return the SHA-256, in hexadecimal, of a JSON-ready value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def of_bytes(path: Path) -> str:
    """Return the SHA-256, in hexadecimal, of all bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_table(table: Any) -> str:
    """Return the SHA-256, in hexadecimal, of a table's column names and types, rows, geometries (WKB) and CRS.

    NULL differs from the empty string, and a geometry from its neighbour's, as every value is told with its length.
    """
    geometry = table.geometry.name if hasattr(table, "geometry") else None
    crs = table.crs.to_wkt() if geometry and table.crs else ""
    seen = hashlib.sha256(json.dumps([crs, [[str(name), str(dtype)] for name, dtype in table.dtypes.items()]]).encode())
    for name in table.columns:
        cells = _cells(table, name, geometry)
        seen.update(b"".join(b"-" if value is None else b"%d:%b" % (len(value), value) for value in cells))
    return seen.hexdigest()


def _cells(table: geopandas.GeoDataFrame, name: str, geometry: str | None) -> Iterator[bytes | None]:
    """Yield the values of a column as bytes, None for NULL."""
    if name == geometry:
        import shapely

        yield from shapely.to_wkb(table[name].to_numpy())
        return
    missing = table[name].isna().to_numpy()
    for value, is_missing in zip(table[name].tolist(), missing.tolist(), strict=True):
        yield None if is_missing else repr(value).encode()


class Files:
    """Digests of files; one of known name, size and modification time is not read again.

    stamps: the digest by name, size in bytes and modification time in nanoseconds, JSON-ready: what the next run may
        know.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = known or {}
        self.stamps: dict[str, str] = {}

    def digest(self, path: Path) -> str:
        """Return the digest of a file's content."""
        status = path.stat()
        # With the folder's name, as sources of several modalities often bear the same names.
        stamp = f"{path.parent.name}/{path.name} {status.st_size} {status.st_mtime_ns}"
        if stamp not in self.stamps:
            self.stamps[stamp] = self._known.get(stamp) or _of_content(path, status.st_size)
        return self.stamps[stamp]

    def told(self, address: str, files: Sequence[str]) -> list[str]:
        """Return the name of a data set and the digest of all local files that it reads, JSON-ready.

        Of a data set elsewhere the address is all that is known.
        """
        name = address.replace("\\", "/").rpartition("/")[2]
        read = [self.digest(Path(file)) for file in files]
        return [name, read[0] if len(read) == 1 else of_value(read or address)]


def _of_content(path: Path, size: int) -> str:
    seen = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE:
            while block := file.read(EDGE):
                seen.update(block)
            return seen.hexdigest()
        for start, length in [(0, EDGE), *((size * k // BLOCKS, BLOCK) for k in range(1, BLOCKS)), (size - EDGE, EDGE)]:
            file.seek(start)
            seen.update(file.read(length))
    return seen.hexdigest()
