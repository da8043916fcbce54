"""Heaps in HDF5 files, also those of netCDF: HDF5 reads a damaged one for ever, so they are looked at before."""

import mmap
import struct
from functools import lru_cache
from pathlib import Path

SIGNATURE = b"\x89HDF\r\n\x1a\n"

LOOKED_AT = 2**30
"""Bytes at the beginning of a file in which heaps are looked for."""


def is_sound(path: str) -> bool:
    """Tell whether HDF5 comes to an end with all heaps of a file."""
    status = Path(path).stat()
    return _is_sound(path, (status.st_size, status.st_mtime_ns, status.st_ino))


@lru_cache(maxsize=256)
def _is_sound(path: str, _stamp: tuple[int, ...]) -> bool:
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(b"GCOL", 0, LOOKED_AT)
        while start >= 0:
            if not _ends(content, start):
                return False
            start = content.find(b"GCOL", start + 4, LOOKED_AT)
    return True


def _ends(content: mmap.mmap, start: int) -> bool:
    """Tell whether the objects of a global heap (HDF5 File Format Specification, III.E) lead to its end."""
    header = content[start : start + 16]
    if len(header) < 16:
        return True
    place, end = start + 16, min(start + int(struct.unpack("<Q", header[8:])[0]), len(content))
    while place + 16 <= end:
        number, _, _, size = struct.unpack("<HHIQ", content[place : place + 16])
        if number == 0 and size == 0:
            return False
        place += size if number == 0 else 16 + (size + 7) // 8 * 8
    return True
