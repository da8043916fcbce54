"""Formats of vector files that are read, told by the ending and by the first bytes.

GDAL's drivers for vectors cannot be chosen by name, and some follow whatever a file names, here or on the net. A file
reaches GDAL only where it is one of these formats, for each of which it has a driver that reads that file alone.
"""

import lzma
import re
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from pathlib import Path, PurePosixPath

from geoembed.errors import GeoembedError, of_library

HEAD = 2**16
"""Bytes at the beginning of a file that are looked at, more than GDAL looks at."""

MOST_UNPACKED, MOST_MEMBERS = 2**34, 100_000
"""Bytes of the files in an archive, and their number, beyond which it is not read."""

ELSEWHERE = (
    b"<ogrvrt",
    b"<ogrwfs",
    b"<wfs_",
    b"gdal_streamed_alg",
    b"<gdal",
    b"<vrtdataset",
    b"<!doctype",
    b"<!entity",
)
"""What a text begins with, in lower case, that makes GDAL open other files."""

LINKED_CRS = re.compile(
    rb'"type"\s*:\s*"(?:link|url)"\s*,\s*"properties"'
    rb'|"href"\s*:\s*"[^"]*"\s*,\s*"type"\s*:\s*"(?:proj4|ogcwkt|esriwkt)"',
    re.IGNORECASE,
)
"""A CRS of GeoJSON that is to be fetched."""

PLAIN_TABLES = ("rtree", "fts3", "fts4", "fts5", "geopoly")
"""Modules of virtual tables in a GeoPackage that read nothing but the file."""

REMEDY = "convert it: ogr2ogr OUT.gpkg"

ARCHIVE_FAULTS = (
    OSError, ValueError, LookupError, RuntimeError, EOFError, struct.error, zlib.error, lzma.LZMAError,
    zipfile.BadZipFile,
)  # fmt: skip
"""What zipfile raises for archives that are damaged."""

Fault = str | None
"""What is wrong with a file, in words; None where nothing is."""


def require(path: Path, error: type[GeoembedError]) -> None:
    """Raise `error` where a file is no vector file of a format that is read, or holds what leads elsewhere."""
    try:
        status = path.stat()
        fault = _fault(str(path), (status.st_size, status.st_mtime_ns, status.st_ino))
    except (OSError, MemoryError) as problem:
        raise error(f"{path}: cannot be read ({of_library(problem)}); check its permissions") from None
    if fault:
        raise error(f"{path}: {fault}")


def unpacked_size(path: Path) -> int:
    """Return the bytes of a file, or of the files in an archive or a folder: more than it can have rows."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    if path.suffix.lower() in _ZIPPED:
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    sizes = [path.stat().st_size]
    if path.suffix.lower() in _WITH_OTHERS:
        sizes += [file.stat().st_size for file in path.parent.glob(f"{_escaped(path.stem)}.*")]
    return sum(sizes)


def _escaped(stem: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", stem)


@lru_cache(maxsize=64)
def _fault(name: str, _stamp: tuple[int, ...]) -> Fault:
    """Tell what is wrong with a file, once for each stamp of it."""
    path = Path(name)
    suffix = path.suffix.lower()
    if path.is_dir():
        is_database = suffix == ".gdb" and any(path.glob("*.gdbtable"))
        return None if is_database else f"is a folder that is no file geodatabase; {REMEDY} {path}"
    if suffix in _ZIPPED:
        return _of_archive(path, suffix)
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return "is empty; give another"
    if suffix in _DATABASES:
        return _of_database(path, head)
    return _of_head(head, suffix)


def _of_head(head: bytes, suffix: str) -> Fault:
    is_this = _IS.get(suffix)
    if is_this is None:
        known = ", ".join(dict.fromkeys((".gpkg", ".geojson", ".shp", *_IS)))
        return f"is not of a kind that is read ({known} ...); {REMEDY} FILE"
    if suffix not in _BINARY and any(word in head.lower() for word in ELSEWHERE):
        return f"is text that leads GDAL to other files; {REMEDY} FILE, if you trust it"
    if not is_this(head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x1e\0" if suffix in _JSON else b" \t\r\n")):
        return f"does not begin as a {suffix} file does; it is damaged, or of another kind: give another"
    if suffix in _JSON and LINKED_CRS.search(head):
        return "has a CRS that is to be fetched from the net; write its code, such as EPSG:32632, in its place"
    if suffix == ".tab" and any(word in head.lower() for word in (b"seamless", b"create view", b"linked")):
        return f"is a table of other tables; {REMEDY} FILE"
    return None


def _is_json(head: bytes) -> bool:
    return head[:1] in b"{["


def _is_text(head: bytes) -> bool:
    return b"\0" not in head or head.startswith((b"\xff\xfe", b"\xfe\xff"))


def _begins(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _is_xml_of(word: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"<") and word in head.lower()


_JSON = (".geojson", ".json", ".geojsonl", ".geojsons", ".topojson")
_DATABASES = (".gpkg",)
_ZIPPED = (".zip", ".kmz", ".xlsx", ".ods", ".shz")
_WITH_OTHERS = (".shp", ".tab", ".mif")
_BINARY = (".shp", ".fgb")
_IS: dict[str, Callable[[bytes], bool]] = {
    **dict.fromkeys(_JSON, _is_json),
    ".shp": _begins(b"\0\0\x27\x0a"),
    ".fgb": _begins(b"fgb\x03fgb"),
    ".gml": _is_xml_of(b"opengis.net/gml"),
    ".kml": _is_xml_of(b"kml"),
    ".gpx": _is_xml_of(b"<gpx"),
    **dict.fromkeys((".csv", ".tsv", ".txt"), _is_text),
    ".tab": lambda head: head.lower().startswith(b"!table"),
    ".mif": lambda head: head.lower().startswith(b"version"),
}
"""What tells a format by its first bytes, by ending."""


def _of_archive(path: Path, suffix: str) -> Fault:
    """Tell what is wrong with an archive, of which GDAL reads all files of formats that it knows."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS or sum(member.file_size for member in members) > MOST_UNPACKED:
                return f"unpacks to more than {MOST_UNPACKED // 2**30} GB or {MOST_MEMBERS:,} files; give another"
            for member in members:
                fault = None if member.is_dir() else _of_member(archive, member, suffix)
                if fault:
                    return f"its {member.filename[:200]} {fault}"
    except ARCHIVE_FAULTS as error:
        return f"cannot be read as a zip archive ({of_library(error)}); make it again"
    return None


def _of_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, of: str) -> Fault:
    suffix = PurePosixPath(member.filename).suffix.lower()
    with archive.open(member) as file:
        head = file.read(HEAD)
    if suffix in _DATABASES:
        return None if head.startswith(b"SQLite format 3\0") else "is no GeoPackage; give another"
    if suffix in _IS and of in (".zip", ".shz", ".kmz"):
        return _of_head(head, suffix)
    if any(word in head.lower() for word in ELSEWHERE[:-2]):
        return "leads GDAL to other files; unpack what you trust of it"
    return None


def _of_database(path: Path, head: bytes) -> Fault:
    """Tell what is wrong with a GeoPackage: damaged pages, which GDAL may pass over, or views without an end."""
    if not head.startswith(b"SQLite format 3\0"):
        return "cannot be read as a vector file (it is no GeoPackage); give another"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            base.text_factory = bytes
            for kind, name, text in base.execute("SELECT type, name, sql FROM sqlite_master").fetchall():
                words = (text or b"").lower().split()
                if kind == b"view" and b"recursive" in words:
                    return f"its view {_shown(name)} may never end; {REMEDY} {path} of tables alone"
                if words[:2] == [b"create", b"virtual"] and not any(
                    word.encode() in b" ".join(words) for word in PLAIN_TABLES
                ):
                    return f"its table {_shown(name)} reads other files; {REMEDY} {path} without it"
            faults = base.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError as error:
        # Such as a log beside it that cannot be opened; what is damaged is told by GDAL too.
        return None if "malformed" not in str(error) else _damaged(str(error))
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # sqlite3 cannot always decode what SQLite says
        return _damaged(str(error))
    return None if faults == [(b"ok",)] or faults == [("ok",)] else _damaged(str(faults[0][0]))


def _shown(name: bytes) -> str:
    return name.decode("utf-8", errors="replace")[:60]


def _damaged(fault: str) -> str:
    return f"is damaged ({' '.join(fault.split())[:120]}); make it again, or give a copy of it"
