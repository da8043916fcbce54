"""Seeded damage and edits of files: of any bytes, and of JSON, journals, TOML, GeoPackages, HDF5 and archives.

`EDITED` changes keep a file's own checks right, as only a program or a person does that means to: other content is
allowed then. What damage does is never meant.
"""

from __future__ import annotations

import io
import json
import random
import sqlite3
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from geoembed.outputs import documents

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), 10**400, 1e308, -0.0, "", " ", "0", "nan", "x" * 5000, [], {},
    [[]], [None], {"": None}, "../../x", "/etc/passwd", "/vsimem/x", "a\nb", "\x1b[2J", "\u202e", "=1+1", "ä" * 90,
    "EPSG:0", "\ud800", [1, 2, 3], ["a", "b"], {"a": {"b": [1]}}, 0.5, 1e-320, 123456789012345678901234567890,
]  # fmt: skip
"""Values that stand in place of others."""


def flip(data: bytearray, rng: random.Random) -> None:
    """Flip a bit."""
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def truncate(data: bytearray, rng: random.Random) -> None:
    """Lose the end."""
    del data[rng.choice([0, rng.randrange(len(data)), len(data) - 1]) :]


def zero(data: bytearray, rng: random.Random) -> None:
    """Lose a range to zeros."""
    start, stop = _range(data, rng)
    data[start:stop] = bytes(stop - start)


def duplicate(data: bytearray, rng: random.Random) -> None:
    """Have a range twice."""
    start, stop = _range(data, rng)
    data[stop:stop] = data[start:stop]


def swap(data: bytearray, rng: random.Random) -> None:
    """Exchange two ranges of one length."""
    start, stop = _range(data, rng)
    length = stop - start
    other = rng.randrange(max(1, len(data) - length))
    first, second = bytes(data[start:stop]), bytes(data[other : other + length])
    data[start:stop] = second
    data[other : other + length] = first


def insert(data: bytearray, rng: random.Random) -> None:
    """Gain some bytes."""
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice([1, 4, 100]))


def _range(data: bytearray, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice([1, 8, 64, 512, 4096]))


DAMAGE: dict[str, Callable[[bytearray, random.Random], None]] = {
    change.__name__: change for change in (flip, truncate, zero, duplicate, swap, insert)
}


def edit_value(value: Any, rng: random.Random) -> Any:
    """Return a JSON-ready value in which something was changed, deleted or added somewhere."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        chance, changed = rng.random(), dict(value)
        if chance < 0.1:
            del changed[key]
        elif chance < 0.15:
            changed[rng.choice(["extra", "", "\x00", key.upper()])] = rng.choice(ODD)
        else:
            changed[key] = edit_value(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        place, chance, items = rng.randrange(len(value)), rng.random(), list(value)
        if chance < 0.15:
            del items[place]
        elif chance < 0.3:
            items.insert(place, rng.choice([*ODD, items[place]]))
        else:
            items[place] = edit_value(items[place], rng)
        return items
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.4:
        return rng.choice([value + 1, -value, value * 1000, float(value), str(value)])
    return _nested(rng.choice([10, 200]), rng) if rng.random() < 0.03 else rng.choice(ODD)


def _nested(depth: int, rng: random.Random) -> Any:
    value: Any = rng.choice([0, "deep"])
    for _ in range(depth):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def edit_document(data: bytes, rng: random.Random) -> bytes:
    """Change a field of a document, and seal it anew."""
    content = json.loads(data)
    content.pop(documents.SEAL, None)
    edited = edit_value(content, rng)
    if isinstance(edited, dict):
        try:
            edited[documents.SEAL] = documents._digest(edited)
        except ValueError:  # a text that UTF-8 has not
            edited[documents.SEAL] = "0" * 64
    return json.dumps(edited, indent=2).encode()


def edit_json(data: bytes, rng: random.Random) -> bytes:
    """Change a field of any JSON; nest it deeper than programs go, at times."""
    if rng.random() < 0.03:
        return b"[" * 100_000 + b"]" * 100_000
    return json.dumps(edit_value(json.loads(data), rng)).encode()


def edit_journal(data: bytes, rng: random.Random) -> bytes:
    """Change a line of a journal, and its checksum with it."""
    lines = [line for line in data.splitlines() if line]  # a blank one ends a line that was half written
    place = rng.randrange(len(lines))
    text = json.dumps(edit_value(json.loads(lines[place][9:]), rng)).encode()
    lines[place] = b"%08x %b" % (zlib.crc32(text), text)
    return b"\n".join(lines) + b"\n"


TOKENS = [
    "1e400",
    "nan",
    "[]",
    "{}",
    "''",
    "'../../x'",
    "-1",
    "true",
    "[[x]]",
    "= =",
    "'\\u0000'",
    "1979-05-27",
    "9" * 400,
]


def edit_toml(data: bytes, rng: random.Random) -> bytes:
    """Change a value or a line of a TOML file."""
    lines = data.decode().splitlines()
    place = rng.randrange(len(lines))
    key = lines[place].partition("=")[0]
    lines[place] = rng.choice(
        [f"{key}= {rng.choice(TOKENS)}", "", rng.choice(lines), f"x{lines[place]}", "[chip]\nsize = 1e9"]
    )
    return "\n".join(lines).encode()


def edit_archive(data: bytes, rng: random.Random) -> bytes:
    """Change a field in a JSON member of an archive."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, edit_json(content, rng) if name.endswith(("schema", "json")) else content)
    return changed.getvalue()


def edit_geopackage(path: Path, rng: random.Random) -> None:
    """Change some cell, column or row in a table of a GeoPackage."""
    with closing(sqlite3.connect(path)) as base, base:
        names = [name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            base.execute(f'DROP TRIGGER "{name}"')  # which call functions that only GDAL has
        table = rng.choice([name for name in names if not name.startswith(("sqlite_", "rtree_"))])
        columns = [row[1] for row in base.execute(f'PRAGMA table_info("{table}")')]
        column, chance = rng.choice(columns), rng.random()
        value: Any = rng.choice([odd for odd in ODD if isinstance(odd, str | float | None)])
        value = rng.choice([b"\x00GP", b"", b"GP" + rng.randbytes(40)]) if rng.random() < 0.3 else value
        value = value if not isinstance(value, str) else value.encode("utf-8", "ignore").decode()
        try:
            if chance < 0.6:
                row = base.execute(f'SELECT rowid FROM "{table}" ORDER BY random() LIMIT 1').fetchone()
                base.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (value, row[0] if row else 1))
            elif chance < 0.75:
                base.execute(f'UPDATE "{table}" SET "{column}" = ?', (value,))
            elif chance < 0.85:
                base.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO "{column}2"')
            elif chance < 0.95:
                base.execute(f'DELETE FROM "{table}"')
            else:
                base.execute(f'DROP TABLE "{table}"')
        except sqlite3.Error:
            pass


def edit_hdf5(path: Path, rng: random.Random) -> None:
    """Change, delete or replace an attribute or a dataset of an HDF5 file."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        chance = rng.random()
        if chance < 0.5 and len(file.attrs):
            name = rng.choice(sorted(file.attrs))
            old = file.attrs[name]
            if isinstance(old, str) and old[:1] in "{[" and rng.random() < 0.7:
                file.attrs[name] = json.dumps(edit_value(json.loads(old), rng))
            elif rng.random() < 0.2:
                del file.attrs[name]
            else:
                file.attrs[name] = rng.choice([1, 2.5, "", "{", "[[", np.zeros(3), b"\xff\xfe", "x" * 9999])
            return
        name = rng.choice(names)
        old_item = file[name]
        shape = getattr(old_item, "shape", (3,))
        del file[name]
        if chance < 0.6:
            file[name] = h5py.ExternalLink("elsewhere.h5", "/x")
        elif chance < 0.7:
            file[name] = h5py.SoftLink("/nowhere")
        elif chance < 0.9:
            file[name] = rng.choice([np.zeros(shape), np.zeros(0), 7, np.zeros((2, 2), "i1"), np.full(shape, np.nan)])
