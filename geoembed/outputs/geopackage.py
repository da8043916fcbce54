"""GeoPackages of one layer that carry the record of what they were made from."""

import errno
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import pyogrio

from geoembed.errors import StaleError
from geoembed.outputs import atomic
from geoembed.outputs.records import Record

_RECORD = "geoembed"

_FAULTS = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError,
           pyogrio.errors.GeometryError, RuntimeError)  # fmt: skip


def write(path: Path, layer: str, table: geopandas.GeoDataFrame, record: Record | None = None) -> None:
    """Write a GeoPackage whole, with its record in the layer's metadata if it has one.

    Raises StaleError as `require_closed` does, and OSError where it cannot be written, as on a full disk.
    """
    require_closed(path)
    multi = bool((table.geometry.geom_type == "MultiPolygon").any())
    metadata = {_RECORD: json.dumps(record.to_json())} if record else None
    with atomic.replacing(path) as part:
        try:
            pyogrio.write_dataframe(
                table, part, layer=layer, driver="GPKG", promote_to_multi=multi, layer_metadata=metadata
            )
        except _FAULTS as error:
            raise OSError(errno.EIO, f"cannot be written ({str(error).splitlines()[0]})", str(path)) from error
        finally:
            for file in _beside(part):
                file.unlink(missing_ok=True)


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
        except sqlite3.DatabaseError:
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
    query = (
        "SELECT id, metadata FROM gpkg_metadata JOIN gpkg_metadata_reference ON id = md_file_id"
        " WHERE table_name = ? AND metadata LIKE ?"
    )
    try:
        require_closed(path)
        with closing(sqlite3.connect(path)) as base, base:
            for number, text in base.execute(query, (layer, f'%key="{_RECORD}"%')).fetchall():
                document = ElementTree.fromstring(text)
                for item in document.iter("MDI"):
                    if item.get("key") == _RECORD:
                        item.text = json.dumps(record.to_json())
                metadata = ElementTree.tostring(document, encoding="unicode")
                base.execute("UPDATE gpkg_metadata SET metadata = ? WHERE id = ?", (metadata, number))
    except (StaleError, sqlite3.OperationalError):
        return


def faults(path: Path, *, whole: bool) -> list[str]:
    """Return in a line each what is damaged in a GeoPackage's database; `whole`: its indexes are compared too."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            told = [text for (text,) in base.execute(f"PRAGMA {'integrity_check' if whole else 'quick_check'}(3)")]
    except sqlite3.Error as error:
        told = [str(error)]
    return [] if told == ["ok"] else [f"{path}: is damaged ({told[0].splitlines()[0]}); restore it or make it again"]


def record_of(path: Path, layer: str) -> Record | None:
    """Return the record of a GeoPackage; None where the file is missing or was not written by `write`.

    What a killed program left half written is rolled back. Raises StaleError where another is writing.
    """
    if path.with_name(f"{path.name}-journal").exists():
        require_closed(path)
    try:
        metadata = pyogrio.read_info(path, layer=layer).get("layer_metadata") or {}
        return Record.from_json(json.loads(metadata.get(_RECORD, "null")))
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError):
        return None
