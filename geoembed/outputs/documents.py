"""Documents: JSON files that carry a digest of their content, read into typed objects.

Under `sha256` a document holds the SHA-256 of all the rest, written with sorted keys and without blanks; under `files`,
where it speaks for a folder, that of other files in it.
"""

import json
import os
import re
from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import pydantic

from geoembed.errors import GeoembedError, of_validation
from geoembed.outputs import atomic, digests

T = TypeVar("T")

SEAL = "sha256"

_SEAL_AT_END = rb'"sha256": "[0-9a-f]{64}"\s*}\s*\Z'


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object with its digest, whole; raises ValueError for NaN, which JSON does not have."""
    atomic.write_text(path, json.dumps(sealed(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with the digest of the rest of it."""
    content = {key: part for key, part in value.items() if key != SEAL}
    return {**content, SEAL: _digest(content)}


def read(path: Path, form: type[T], error: type[GeoembedError], remedy: str) -> T:
    """Read what `write` wrote into an object of a form; fields that the form does not have are left out.

    Raises `error`, which ends in the remedy, where the file is missing, is no such document, or was changed since.
    """
    try:
        return parsed(load(path), form)
    except FileNotFoundError:
        fault = "missing"
    except (OSError, ValueError) as found:
        fault = found.strerror or str(found) if isinstance(found, OSError) else str(found)
    raise error(f"{path}: {fault}; {remedy}") from None


def load(path: Path) -> dict[str, Any]:
    """Read an object that `write` wrote; raises OSError, and ValueError, whose message says what is wrong with it."""
    data = path.read_bytes()
    if not data.strip(atomic.BLANK):
        raise ValueError("is empty, as a run that ended too early left it")
    return opened(data)


def opened(data: bytes) -> dict[str, Any]:
    """Return the object of a sealed JSON text, without its digest; raises ValueError as `load` does."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot be read as JSON ({str(error).splitlines()[0]})") from None
    if not isinstance(value, dict):
        raise ValueError("holds no JSON object")
    seal = value.pop(SEAL, None)
    if seal is None:
        raise ValueError("has no digest, so this version of geoembed did not write it")
    if seal != _digest(value):
        raise ValueError("was edited or damaged: its content is not what its digest says")
    return value


def parsed(value: Any, form: type[T]) -> T:
    """Return an object of a form made of JSON-ready values; raises ValueError with the first field that is wrong."""
    try:
        found: T = _adapter(cast(Hashable, form)).validate_python(value)
    except pydantic.ValidationError as error:
        raise ValueError(of_validation(error)) from None
    return found


def is_ours(path: Path) -> bool:
    """Tell whether a file that cannot be read may be one that geoembed began, so that a new one may replace it.

    It is empty, or the version of geoembed stands at its beginning, as in every document, or a digest at its end.
    """
    with path.open("rb") as file:
        first = file.read(4096)
        file.seek(-min(128, path.stat().st_size), os.SEEK_END)
        last = file.read()
    return atomic.is_blank(path) or b'"geoembed_version"' in first or re.search(_SEAL_AT_END, last) is not None


def of_files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of all bytes of files in a folder, by name, for a document's `files`."""
    return {name: digests.of_bytes(folder / name) for name in names}


def damaged(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Return the files of a folder that are missing, or others than a document's `files` says."""
    return [path for name, digest in files.items() if not _is_intact(path := folder / name, digest)]


def _is_intact(path: Path, digest: str) -> bool:
    return path.is_file() and digests.of_bytes(path) == digest


def _digest(value: Mapping[str, Any]) -> str:
    # Numbers of mixed kinds, such as keys that were integers, are what JSON makes of them.
    text = json.dumps(json.loads(json.dumps(value)), sort_keys=True, separators=(",", ":"))
    return digests.of_text(text)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


@cache
def _adapter(form: Hashable) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(cast(Any, form))
