"""Errors that the user can mend: GeoembedError and its children, by what cannot be used."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


MOST_LETTERS = 80
"""Letters of a value that messages repeat."""


_USER = re.compile(r"(://)[^/\s@]+@")
_QUERY = re.compile(r"([^\s'\"]*)\?(?=[\w.%~-]+=)[^\s'\",;)]+")


def shown(text: str) -> str:
    """Return a text whose addresses have no users, passwords and queries, which may hold tokens."""
    return _QUERY.sub(lambda found: found[0] if "vrt://" in found[1] else f"{found[1]}?...", _USER.sub(r"\1", text))


class GeoembedError(Exception):
    """Something that the user can mend; the message is one line that names the file, the fault and the remedy."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message))


class ConfigError(GeoembedError):
    """geoembed.toml, the environment or an option's value cannot be used."""


class AoiError(GeoembedError):
    """An area of interest cannot be used."""


class ImageryError(GeoembedError):
    """A source raster cannot be used."""


class FetchError(GeoembedError):
    """Something could not be fetched, after all tries; the message names host, object and remedy, no credentials.

    status: of HTTP that was answered last, 413 also where an answer was larger than asked for; None without an answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class AbsentError(FetchError):
    """The other machine says that there is no such object (404)."""


class ChipError(GeoembedError):
    """A chip folder or a chip file cannot be used."""


class LabelError(GeoembedError):
    """Labels, or the raster they are made from, cannot be used."""


class ModelError(GeoembedError):
    """A model folder cannot be used, or does not fit the chips."""


class EmbeddingsError(GeoembedError):
    """An embeddings file cannot be used."""


class ProbeError(GeoembedError):
    """A probe cannot be fitted, measured or applied."""


class SearchError(GeoembedError):
    """Examples to search by cannot be used, or nothing can be found by them."""


class StaleError(GeoembedError):
    """An output exists that was made from other inputs or options."""


def nearest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the end of a message about an unknown name: the nearest known one, else `otherwise`, else all known."""
    known = list(known)
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if match:
        return f"; did you mean {match[0]}?"
    return f"; {otherwise}" if otherwise else f"; known are {', '.join(known)}"


def of_library(error: BaseException) -> str:
    """Return what a library says of a fault: its first line, shortened, or the error's name where it says nothing."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first if len(first) <= 3 * MOST_LETTERS else f"{first[: 3 * MOST_LETTERS]}..."


def of_validation(error: ValidationError) -> str:
    """Return the first fault that pydantic found, as in `lr -1: input should be greater than 0`."""
    fault = error.errors(include_url=False)[0]
    name = ".".join(map(str, fault["loc"]))
    text, given = fault["msg"].removeprefix("Value error, "), repr(fault["input"])
    given = given if len(given) <= MOST_LETTERS else f"{given[:MOST_LETTERS]}..."
    return f"{name} {given}: {text[:1].lower()}{text[1:]}"
