"""What an output was made from, and whether that still holds.

A record is a JSON-ready dict that travels inside the output. Rasters are told by size and modification time,
tables by their rows, geometries and CRS (a viewer that opens a GeoPackage changes its bytes).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoembed.errors import StaleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import geopandas


def digest(value: Any) -> str:
    """Return the SHA-256, in hexadecimal, of a JSON-ready value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def of_file(path: Path) -> dict[str, Any]:
    """Tell a large file by name, size in bytes and modification time in nanoseconds."""
    status = path.stat()
    return {"name": path.name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def of_table(table: geopandas.GeoDataFrame) -> str:
    """Return the SHA-256, in hexadecimal, of a table's column names, rows, geometries (WKB) and CRS."""
    import shapely

    columns = [name for name in table.columns if name != table.geometry.name]
    text = table[columns].to_csv(index=False)
    seen = hashlib.sha256(text.encode())
    seen.update(b"".join(wkb or b"" for wkb in shapely.to_wkb(table.geometry.to_numpy())))
    seen.update((table.crs.to_wkt() if table.crs else "").encode())
    return seen.hexdigest()


def require_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise StaleError, naming what differs, unless an existing output was made from what is wanted now."""
    found, wanted = json.loads(json.dumps(found)), json.loads(json.dumps(wanted))
    keys = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if keys:
        told = ", ".join(_difference(key, found.get(key), wanted.get(key)) for key in keys)
        raise StaleError(f"{path}: made from other inputs or options ({told}); choose another -o or pass --overwrite")


def _difference(key: str, found: Any, wanted: Any) -> str:
    short = all(len(json.dumps(value)) <= 40 for value in (found, wanted))
    if short and not isinstance(found, dict | list):
        return f"{key} was {json.dumps(found)}, now {json.dumps(wanted)}"
    return f"{key} differs"
