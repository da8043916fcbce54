"""What the bytes of a file tell before HDF5 opens it, or one of its datasets: whether it is ours, whole, and ends."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from geoembed.fits.hdf5.seals import MARK
from geoembed.outputs import atomic

if TYPE_CHECKING:
    from pathlib import Path

VIRTUAL = 3
"""The class of the layout of a virtual dataset, as `layouts` has it."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK, _VERSION, _NOWHERE = 48, bytes((3, 8, 8)), b"\xff" * 8
_LAYOUT, _CONTINUED, _MOST, _FARTHEST = 8, 16, 2**16, 2**62
"""Kinds of messages in an object header, bytes of the longest header, a far address."""


def is_ours(path: Path) -> bool:
    """Tell whether a file, however damaged, is one that geoembed made, so that a new one may replace it."""
    if atomic.is_blank(path):
        return True
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(MARK.encode()) >= 0


def remedy(path: Path) -> str:
    """Return what to do about a file that is missing or cannot be used."""
    with suppress(OSError):
        if is_ours(path):
            return f"make it again with geoembed embed{'' if atomic.is_blank(path) else ' --overwrite'}"
        return "move it away and make it again with geoembed embed"
    return "make it again with geoembed embed"


def check(path: Path) -> int:
    """Return a file's size; raises ValueError where its first bytes are not those that `creating` writes.

    So HDF5 meets no file of another layout, of which some have no checksums.
    """
    with path.open("rb") as file:
        first, size = file.read(_SUPERBLOCK), os.fstat(file.fileno()).st_size
    if not first.strip(b"\0") and atomic.is_blank(path):
        raise ValueError("is empty, as a run that ended too early left it")
    if first[:8] != _SIGNATURE:
        raise ValueError("is no HDF5 file, or its beginning is damaged")
    # Version, sizes of offsets and lengths; (flags of who has it open;) base address, address of an extension.
    if len(first) < _SUPERBLOCK or first[8:11] != _VERSION or first[12:28] != bytes(8) + _NOWHERE:
        raise ValueError("was made by another version of geoembed or another program")
    if int.from_bytes(first[28:36], "little") > size:
        raise ValueError("was cut: it is shorter than it says")
    return size


def layouts(path: Path, address: int) -> list[int]:
    """Return the classes of the layouts in an object's header: one for a dataset, none for a group.

    See the HDF5 file format, IV.A.1.b: headers of version 2, which may go on elsewhere. HDF5 compares their checksums.
    """
    classes: list[int] = []
    with path.open("rb") as file:
        file.seek(address)
        flags = (file.read(6)[5:] or b"\0")[0]
        file.seek((16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0), os.SEEK_CUR)
        length = int.from_bytes(file.read(1 << (flags & 3)), "little")
        places, before = [(file.tell(), length)], 4 + (2 if flags & 4 else 0)
        for at, length in places:
            if length > _MOST or len(places) > _MOST:
                raise ValueError("has a header that geoembed does not write")
            file.seek(at)
            block, start = file.read(length), 0
            while start + before <= len(block):
                kind, size = block[start], int.from_bytes(block[start + 1 : start + 3], "little")
                body = block[start + before :][:size]
                start += before + size
                if kind == _LAYOUT:
                    classes += body[1:2]
                if kind == _CONTINUED and len(body) >= 16:  # four bytes of signature first, and a checksum last
                    there, length = (int.from_bytes(body[i : i + 8], "little") for i in (0, 8))
                    places.append((min(there, _FARTHEST) + 4, max(length, 8) - 8))
    return classes
