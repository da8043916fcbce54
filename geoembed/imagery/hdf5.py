"""What is looked at in HDF5 files, also those of netCDF, before GDAL opens them: heaps without an end, and links out.

HDF5 reads a damaged heap for ever, and follows links to other files wherever they lie.
"""

import mmap
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

SIGNATURE = b"\x89HDF\r\n\x1a\n"

LOOKED_AT = 2**30
"""Bytes at the beginning of a file in which heaps are looked for."""


def is_sound(path: str) -> bool:
    """Tell whether HDF5 comes to an end with all heaps of a file."""
    status = Path(path).stat()
    return _is_sound(path, (status.st_size, status.st_mtime_ns, status.st_ino))


def leading_out(path: str) -> str | None:
    """Return the name of what in a sound file lies in another one, None where nothing does; raises OSError."""
    status = Path(path).stat()
    return _leading_out(path, (status.st_size, status.st_mtime_ns, status.st_ino))


@lru_cache(maxsize=256)
def _leading_out(path: str, _stamp: tuple[int, ...]) -> str | None:
    import h5py

    with h5py.File(path, "r", driver="sec2") as file:
        groups: list[Any] = [file]
        seen = set()
        for group in groups:
            for name in group:
                if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                    return f"{group.name.rstrip('/')}/{name}"
                item = group.get(name)  # None for a link that leads nowhere
                if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                    return str(item.name)
                if isinstance(item, h5py.Group) and (key := h5py.h5o.get_info(item.id).addr) not in seen:
                    seen.add(key)
                    groups.append(item)
    return None


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
