"""Output folders in which geoembed must not replace what others made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoembed.errors import StaleError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def require_folder(output: Path) -> None:
    """Raise StaleError where `output` cannot be a folder, as it or a folder above it is a file."""
    for path in (output, *output.parents):
        if path.exists() and not path.is_dir():
            raise StaleError(f"{path}: is a file, and {output} has to be a folder; choose another -o")


def require_free(output: Path, names: Iterable[str]) -> None:
    """Raise StaleError where a folder without our record holds a file that would be replaced."""
    for name in names:
        if (output / name).exists():
            raise StaleError(f"{output / name}: exists and was not made by geoembed; choose another -o")
