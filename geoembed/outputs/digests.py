"""Digests of content: of JSON-ready values, of tables, and of files.

A file's digest is the SHA-256 of its size and its bytes. Of a file above WHOLE bytes only the first and last EDGE bytes
and BLOCKS blocks of BLOCK bytes, spread evenly, are read. An edit is missed if it keeps the size and all these bytes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import shapely
import xxhash

from geoembed.errors import shown

WHOLE, EDGE = 2**26, 2**20
BLOCKS, BLOCK = 256, 2**16


def of_text(text: str) -> str:
    """Return the SHA-256, in hexadecimal, of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def of_data(data: bytes) -> str:
    """Return the SHA-256, in hexadecimal, of bytes."""
    return hashlib.sha256(data).hexdigest()


def of_value(value: Any) -> str:
    """Return the SHA-256, in hexadecimal, of a JSON-ready value."""
    return of_text(json.dumps(value, sort_keys=True))


def of_bytes(path: Path) -> str:
    """Return the SHA-256, in hexadecimal, of all bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_table(table: Any) -> str:
    """Return the SHA-256, in hexadecimal, of a table's column names and types, values, geometries (WKB) and CRS.

    Each value is preceded by its length, so that the values "ab", "c" and "a", "bc" differ, and NULL and "" do too.
    """
    geometry = table.geometry.name if hasattr(table, "geometry") else None
    crs = table.crs.to_wkt() if geometry and table.crs else ""
    types = [[str(name), str(dtype)] for name, dtype in table.dtypes.items()]
    digest = hashlib.sha256(json.dumps([crs, types]).encode())
    for name, column in table.items():
        if name == geometry:
            texts = shapely.to_wkb(column.to_numpy())
        else:
            texts = [
                None if is_null else repr(value).encode()
                for value, is_null in zip(column.tolist(), column.isna(), strict=True)
            ]
        digest.update(b"".join(b"-" if text is None else b"%d:%b" % (len(text), text) for text in texts))
    return digest.hexdigest()


def of_small(data: bytes | memoryview) -> str:
    """Return the number of bytes and their XXH3 (64 bits, in hexadecimal), as in 10240-9f86d081884c7d65.

    For many small files: it tells damage, and costs a tenth of SHA-256, but whoever wants to can make another file of
    the same digest.
    """
    return f"{len(data)}-{xxhash.xxh3_64_hexdigest(data)}"


def size_of_small(digest: str) -> int:
    """Return the number of bytes that `of_small` found."""
    return int(digest.partition("-")[0])


class Files:
    """Digests of files. A file whose name, size and modification time are known is not read again.

    A stamp is a name, a size in bytes and a modification time in nanoseconds. `stamps` is kept for the next run.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = known or {}
        self._digests: dict[Path, str] = {}
        self._stamps: dict[str, set[str]] = {}

    def digest(self, path: Path) -> str:
        """Return the digest of a file's content."""
        status, whole = path.stat(), path.absolute()
        # With the folder's name, as sources of several modalities often bear the same names.
        stamp = f"{path.parent.name}/{path.name} {status.st_size} {status.st_mtime_ns}"
        if whole not in self._digests:
            self._digests[whole] = self._known.get(stamp) or _of_content(path, status.st_size)
            self._stamps.setdefault(stamp, set()).add(self._digests[whole])
        return self._digests[whole]

    @property
    def stamps(self) -> dict[str, str]:
        """Return the digests by stamp; a stamp that files of different content share is left out."""
        return {stamp: digest for stamp, (digest, *others) in self._stamps.items() if not others}

    def fingerprint(self, address: str, files: Sequence[str]) -> list[str]:
        """Return the name of a data set and the digest of all local files that it reads, JSON-ready.

        Where it reads none, as it lies on another machine, the digest is that of its address.
        """
        name = shown(address).replace("\\", "/").rpartition("/")[2]
        contents = [self.digest(Path(file)) for file in files]
        return [name, contents[0] if len(contents) == 1 else of_value(contents or address)]


def _of_content(path: Path, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE:
            return hashlib.file_digest(file, lambda: digest).hexdigest()
        for start, length in [(0, EDGE), *((size * k // BLOCKS, BLOCK) for k in range(1, BLOCKS)), (size - EDGE, EDGE)]:
            file.seek(start)
            digest.update(file.read(length))
    return digest.hexdigest()
