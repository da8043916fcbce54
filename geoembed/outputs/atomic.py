"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PART = ".part-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path`, with the same suffix, to write to; rename it to `path` when all went well.

    A process killed in between leaves `path` as it was; `sweep` removes what it left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{_PART}{secrets.token_hex(4)}-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole; NaN is not JSON and raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def touch(*paths: Path) -> None:
    """Renew the time stamp of a kept output, so that Make sees it as made after its inputs."""
    for path in paths:
        os.utime(path)


def sweep(folder: Path, name: str = "*", *, deep: bool = False) -> None:
    """Remove what killed processes left half written of files of that name in a folder (`deep`: and below it).

    The caller holds the lock of what it sweeps (`locks.hold`), so that no live process is writing there.
    """
    pattern = f"{_PART}{'[0-9a-f]' * 8}-{name}"
    for part in folder.rglob(pattern) if deep else folder.glob(pattern):
        part.unlink(missing_ok=True)
