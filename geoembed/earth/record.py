"""The record of a simulated Earth, which lies in its folder: what it was made from, and its files."""

from dataclasses import dataclass
from pathlib import Path

from geoembed.errors import GeoembedError
from geoembed.names import Area
from geoembed.outputs import documents
from geoembed.outputs.records import Record
from geoembed.version import __version__

NAME = ".geoembed-sample.json"


@dataclass(frozen=True)
class Earth:
    """What the record of a simulated Earth says.

    made_from: what it was made from.
    files: SHA-256 of its files, by name; empty where a file is not written yet.
    """

    made_from: Record
    files: dict[Area, str]


def read(folder: Path, error: type[GeoembedError]) -> Earth:
    """Read the record in a folder; raises `error` where it is missing or damaged."""
    return documents.read(folder / NAME, Earth, error, "make the Earth again with --overwrite, or move the folder away")


def write(folder: Path, made_from: Record, files: dict[str, str]) -> None:
    """Write the record, whole."""
    content = {"geoembed_version": __version__, "made_from": made_from.to_json(), "files": files}
    documents.write(folder / NAME, content)
