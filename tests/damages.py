"""What befalls files: power cuts, full disks, bits that flip, and people who delete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


_CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "zeroed": lambda data: bytes(len(data)),
    "truncated": lambda data: data[: len(data) // 2],
    "flipped": _flipped,
}

DAMAGES = (*_CHANGES, "deleted")


def damage(path: Path, how: str) -> None:
    """Damage a file in one of the ways of DAMAGES."""
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(_CHANGES[how](path.read_bytes()))
