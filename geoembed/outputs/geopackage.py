"""GeoPackages of one layer that carry the record of what they were made from, and a digest of their rows.

Both stand as sealed JSON in the layer's metadata. Rows are digested as they are read back, so that a file that a viewer
opened, indexed or styled is intact, and one with an edited, added or damaged row is not.
"""

import errno
import json
import mmap
import shlex
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import pyogrio
import shapely

from geoembed.errors import GeoembedError, StaleError
from geoembed.outputs import atomic, digests, documents
from geoembed.outputs.records import Record

_RECORD, _ROWS = "geoembed", "geoembed_rows"
_MARK = f'key="{_RECORD}"'
"""What stands before a record in a layer's metadata, which is XML."""

_MARKS = _MARK.encode(), f'"{_ROWS}": "'.encode()
"""What stands before a record, and in it, so that a file is known by one where the other is damaged."""

FAULTS = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError,
          pyogrio.errors.GeometryError, shapely.errors.ShapelyError, RuntimeError, ValueError, sqlite3.Error,
          ElementTree.ParseError)  # fmt: skip
"""What libraries raise over a GeoPackage that is damaged; UnicodeDecodeError is a ValueError."""


def write(
    path: Path, layer: str, table: geopandas.GeoDataFrame, record: Record | None = None, *, edited: bool = False
) -> None:
    """Write a GeoPackage whole; where it has a record, that and a digest of the rows go into the layer's metadata.

    edited: whether people are to edit the rows, of which there is no digest then.
    Raises StaleError as `require_closed` does, and OSError where it cannot be written, as on a full disk.
    """
    require_closed(path)
    multi = bool((table.geometry.geom_type == "MultiPolygon").any())
    metadata = {_RECORD: ""} if record else None
    with atomic.replacing(path) as part:
        try:
            pyogrio.write_dataframe(
                table, part, layer=layer, driver="GPKG", promote_to_multi=multi, layer_metadata=metadata
            )
            if record:
                rows = {} if edited else {_ROWS: digests.of_table(_table(part, layer))}
                _put(part, layer, lambda _: documents.sealed({**record.to_json(), **rows}))
        except FAULTS as error:
            raise OSError(errno.EIO, f"cannot be written ({_first_line(error)})", str(path)) from error
        finally:
            for file in _beside(part):
                file.unlink(missing_ok=True)


def read(
    path: Path, layer: str, error: type[GeoembedError], again: str = "make it again with --overwrite"
) -> geopandas.GeoDataFrame:
    """Read a layer that `write` wrote; raises `error` where it cannot be read, or its rows are not as written.

    again: how to make it again, in words.
    """
    try:
        table = _table(path, layer)
    except FAULTS as fault:
        raise error(f"{path}: cannot be read ({_first_line(fault)}); {again}") from None
    require_rows(path, layer, table, error, again)
    return table


def require_rows(
    path: Path, layer: str, table: Any, error: type[GeoembedError], again: str = "make it again with --overwrite"
) -> None:
    """Raise `error` where a table that was read is not what its layer's record says, or the record is damaged.

    A layer of a file without records may hold any rows, and so may one that people are to edit.
    """
    try:
        held = _held(path, layer)
        if held is None and is_ours(path) and not any(_held(path, str(name)) for name, _ in pyogrio.list_layers(path)):
            raise ValueError("its record is damaged")
        if _ROWS not in (held or {}) and (told := faults(path, whole=False)):
            raise error(told[0])
    except FAULTS as fault:
        raise error(f"{path}: is damaged ({_first_line(fault)}); {again}") from None
    if held is not None and _ROWS in held and held[_ROWS] != digests.of_table(table):
        step, own = held.get("step"), f"`ogr2ogr -nomd mine.gpkg {shlex.quote(str(path))}`"
        raise error(
            f"{path}: its rows were edited or damaged since geoembed {step} wrote them; {again},"
            f" or keep your own edit in a file without the record: {own}"
        )


def rows_of(path: Path, layer: str) -> str:
    """Return the digest of the rows that `write` wrote; those of a layer that `read` has read are the same."""
    held = _held(path, layer)
    assert held is not None, "read and found to have a record"
    return str(held[_ROWS])


def columns(path: Path, layer: str) -> tuple[str, ...]:
    """Return the names of a layer's columns."""
    return tuple(map(str, _info(path, layer)["fields"]))


def remove(path: Path) -> None:
    """Delete a GeoPackage if it is there, of a link the target; raises StaleError as `require_closed` does."""
    require_closed(path)
    atomic.remove(path)


def require_closed(path: Path) -> None:
    """Merge what SQLite keeps beside a GeoPackage into it, so that the file can be replaced without harm.

    A write-ahead log that stayed beside a new file would be taken for its own edits, and garble it. Raises StaleError
    where another program has the file open.
    """
    path = atomic.target(path)  # SQLite's files lie beside a link's target
    if not any(file.exists() for file in _beside(path)):
        return
    is_open = f"{path}: is open in another program, such as QGIS; close it there and run again"
    if path.exists():
        try:
            with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as base:
                base.execute("BEGIN IMMEDIATE")  # nobody is writing
                base.execute("COMMIT")
                (mode,) = base.execute("PRAGMA journal_mode = DELETE").fetchone()  # merges the log if nobody reads
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StaleError(is_open) from error
            raise StaleError(
                f"{path}: has edits beside it that cannot be merged ({error}); choose another -o"
            ) from error
        except (sqlite3.DatabaseError, ValueError):
            mode = "delete"  # no database: what lies beside it belongs to nothing
        if mode != "delete":
            raise StaleError(is_open)
    for file in _beside(path):
        file.unlink(missing_ok=True)


def _beside(path: Path) -> list[Path]:
    """Return the paths of the files that SQLite keeps beside a database while it is written."""
    return [path.with_name(f"{path.name}-{name}") for name in ("wal", "shm", "journal")]


def renew(path: Path, layer: str, record: Record) -> None:
    """Replace the record of a layer that `write` wrote, in place: its rows, other layers and styles stay.

    The record of a file that is open elsewhere, or cannot be written, stays too: new stamps only save time.
    """
    try:
        require_closed(path)
        _put(path, layer, lambda held: documents.sealed({**held, **record.to_json()}))
    except (StaleError, OSError, RecursionError, *FAULTS):
        return


def _put(path: Path, layer: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace the JSON in a layer's metadata, in place, by what `change` makes of it."""
    query = (
        "SELECT id, metadata FROM gpkg_metadata JOIN gpkg_metadata_reference ON id = md_file_id"
        " WHERE table_name = ? AND metadata LIKE ?"
    )
    with closing(sqlite3.connect(path)) as base, base:
        for number, text in base.execute(query, (layer, f"%{_MARK}%")).fetchall():
            document = ElementTree.fromstring(text)
            for item in document.iter("MDI"):
                if item.get("key") == _RECORD:
                    item.text = json.dumps(change(documents.opened(item.text.encode()) if item.text else {}))
            metadata = ElementTree.tostring(document, encoding="unicode")
            base.execute("UPDATE gpkg_metadata SET metadata = ? WHERE id = ?", (metadata, number))


def faults(path: Path, *, whole: bool) -> list[str]:
    """Return in a line each what is damaged in a GeoPackage's database; `whole`: its indexes are compared too."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            told = [text for (text,) in base.execute(f"PRAGMA {'integrity_check' if whole else 'quick_check'}(3)")]
    except (sqlite3.Error, ValueError) as error:
        told = [str(error)]
    return [] if told == ["ok"] else [f"{path}: is damaged ({told[0].splitlines()[0]}); restore it or make it again"]


def record_of(path: Path, layer: str) -> Record | None:
    """Return the record of a GeoPackage; None where the file is missing, damaged, or was not written by `write`.

    What a killed program left half written is rolled back. Raises StaleError where another is writing.
    """
    if path.with_name(f"{path.name}-journal").exists():
        require_closed(path)
    try:
        return Record.from_json(_held(path, layer))
    except FAULTS:
        return None


def made_by(path: Path) -> str | None:
    """Return the step that made a GeoPackage, of whatever layer; None where none did, or it cannot be read."""
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)] if path.is_file() else []
    except FAULTS:
        return None
    return next((record.step for name in layers if (record := record_of(path, name))), None)


def is_made_from(path: Path, layer: str, record: Record) -> bool:
    """Tell whether `write` wrote a GeoPackage with this record."""
    held = record_of(path, layer)
    return held is not None and held.digest == record.digest


def is_ours(path: Path) -> bool:
    """Tell whether a file that cannot be read is one that `write` wrote: a mark of a record is somewhere in it."""
    if not path.is_file() or not path.stat().st_size:
        return path.is_file()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(data.find(mark) >= 0 for mark in _MARKS)


def _held(path: Path, layer: str) -> dict[str, Any] | None:
    """Return the sealed JSON in a layer's metadata, None where there is none; raises one of FAULTS for damage."""
    text = (_info(path, layer).get("layer_metadata") or {}).get(_RECORD)
    return None if text is None else documents.opened(text.encode())


def _table(path: Path, layer: str) -> geopandas.GeoDataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what GDAL finds damaged; the digest tells
        return pyogrio.read_dataframe(path, layer=layer)


def _info(path: Path, layer: str) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        info: dict[str, Any] = pyogrio.read_info(path, layer=layer)
    return info


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
