"""Names: what chips, modalities, tasks, channels and areas may be called, wherever a file names them.

Chip ids and modalities are parts of paths, and tasks are folders: their names hold no separator and lead nowhere else.
Channels and areas are text for people, in which a slash is a letter (Trentino/Südtirol), but no path.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

MOST = 200
"""Letters of the longest name."""

RESERVED = {"fused", "concat", "present", "broken", "bounds", "lonlat", "chip_id", "aoi", "split", "geometry", "geom",
            "fid", "grid", "column", "row"}  # fmt: skip
"""Words that no modality may be called: they mean something else in an index, in embeddings or among features."""

DIGEST = "_digest"
"""What follows a modality's name in the name of the column of its files' digests."""

_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of letters that are not seen but change what is: controls, formats, breaks of lines."""

_JOINERS = "\u200c\u200d"
"""Formats that Persian and the languages of India are written with."""

_DIGEST = re.compile(r"[0-9]{1,12}-[0-9a-f]{16}")
_IDENTIFIER = re.compile(r"[0-9A-Za-z]{1,16}")
_MODALITY = re.compile(r"[A-Za-z_]\w{0,62}", re.ASCII)
CHIP_ID = re.compile(
    r"^(?P<name>(?P<zone>[0-9A-Za-z]{1,16})-[0-9]{1,12}(?:\.[0-9]{1,9})?)"
    r"-(?P<column>-?[0-9]{1,12})-(?P<row>-?[0-9]{1,12})\Z"
)
"""A chip id: the grid's name, which begins with its zone or a short hash, the column and the row."""


def chip_id(name: str) -> str:
    """Return a chip id as it is; raises ValueError where it is none."""
    if not CHIP_ID.match(name):
        raise ValueError(f"{name[:60]!r} is no chip id")
    return name


def modality(name: str) -> str:
    """Return the name of a modality as it is; raises ValueError where no modality may be called so."""
    if not _MODALITY.fullmatch(name) or name.lower() in RESERVED or name.lower().endswith(DIGEST):
        raise ValueError(f"{name[:60]!r} cannot be a modality's name; use another word of letters, digits and _")
    return name


def task(name: str) -> str:
    """Return the name of a task as it is; raises ValueError where it could lead out of a folder."""
    if any(letter in name for letter in "/\\"):
        raise ValueError(f"{name[:60]!r} cannot be a task's name, as it holds a separator of paths")
    return text(name)


def text(name: str) -> str:
    """Return the name of a channel or an area as it is; raises ValueError where it is blank, a path or garbled."""
    fault = _fault(name)
    if fault:
        raise ValueError(f"{name[:60]!r} cannot be a name, as it {fault}")
    return name


def word(name: str) -> str:
    """Return a text that is shown, such as a class, as it is; raises ValueError where it garbles what is around it."""
    fault = _garbled(name)
    if fault:
        raise ValueError(f"{name[:60]!r} cannot be a name, as it {fault}")
    return name


def _fault(name: str) -> str | None:
    if not name.strip():
        return "is blank"
    if name.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", name) or "/vsi" in name or "://" in name:
        return "is a path"
    return _garbled(name)


def _garbled(name: str) -> str | None:
    if len(name) > MOST:
        return f"has more than {MOST} letters"
    if any(unicodedata.category(letter) in _UNSEEN and letter not in _JOINERS for letter in name):
        return "holds control characters"
    return None


def folder(name: str) -> str:
    """Return the name of a folder as it is; raises ValueError where it could lead elsewhere or is hidden."""
    if name.startswith("."):
        raise ValueError(f"{name[:60]!r} cannot be a folder's name, as it begins with a dot")
    return task(name)


def place(path: str) -> str:
    """Return the path of a folder on this machine as it is; raises ValueError where GDAL may take it for another."""
    if not path or "\0" in path or path.startswith("/vsi") or "://" in path:
        raise ValueError(f"{path[:60]!r} cannot be the path of a folder")
    return path


def identifier(name: str) -> str:
    """Return the identifier of a tile that others made as it is; raises ValueError where no chip id may begin so."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"{name[:60]!r} cannot be a tile's identifier: these have up to 16 letters and digits")
    return name


def digest(name: str) -> str:
    """Return a digest of a small file (see `digests.of_small`) as it is; raises ValueError where it is none."""
    if not _DIGEST.fullmatch(name):
        raise ValueError(f"{name[:60]!r} is no digest")
    return name


ChipId = Annotated[str, AfterValidator(chip_id)]
Modality = Annotated[str, AfterValidator(modality)]
Task = Annotated[str, AfterValidator(task)]
Channel = Annotated[str, AfterValidator(text)]
Digest = Annotated[str, AfterValidator(digest)]
Folder = Annotated[str, AfterValidator(folder)]
Place = Annotated[str, AfterValidator(place)]
Area = Annotated[str, AfterValidator(text)]
