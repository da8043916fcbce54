import errno
import os
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import shapely
from conftest import Run
from synthetic import embeddings_file

from geoembed.cli import faults
from geoembed.errors import AoiError, EmbeddingsError, StaleError
from geoembed.fits import embeddings
from geoembed.imagery import modalities
from geoembed.outputs import atomic, locks
from geoembed.settings import read_toml


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AoiError("a.gpkg: no such file; mend it"), "a.gpkg: no such file; mend it"),
        (OSError(errno.ENOSPC, "No space left on device", "x.h5"), "x.h5: No space left on device; make room there"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "x.h5"), "x.h5: Disk quota exceeded; make room there"),
        (
            OSError(errno.EMFILE, "Too many open files", "a.tif"),
            "a.tif: Too many open files; raise the limit with ulimit",
        ),
        (OSError(errno.EACCES, "Permission denied", "x"), "x: Permission denied; check that path"),
        (MemoryError("Unable to allocate 9 GiB"), "not enough memory (Unable to allocate 9 GiB); close"),
        (RuntimeError("Symlink loop from 'loop'"), "Symlink loop from 'loop'; it is a link that leads to itself"),
        (ValueError("x PROJ: proj_create: SQLite error: file is not a database"), "PROJ, which knows coordinate"),
        (KeyError("secret"), "KeyError: 'secret'; this is a fault of geoembed: run it again with -v"),
        (RuntimeError("two\nlines"), "RuntimeError: two lines; this is a fault"),
        (OSError(errno.EFBIG, "File too large", "x.h5"), "x.h5: File too large; raise the limit with ulimit -f"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory (DefaultCPU"),
        (RuntimeError("can't start new thread"), "not enough memory (can't start new thread); close"),
        (ImportError("libx.so: failed to map segment from shared object"), "not enough memory (libx.so"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "not enough memory (CUDA)"),
        (RecursionError("maximum recursion depth exceeded"), "a file: holds values inside values"),
        (sqlite3.DatabaseError("malformed"), "a file: SQLite cannot read or write it (malformed); mend it, or find"),
        (shapely.errors.GEOSException("not closed\n"), "a file: GEOS cannot read or write it (not closed); mend it"),
        (rasterio.errors.RasterioIOError("x" * 999), f"a file: GDAL cannot read or write it ({'x' * 200} ...)"),
        (zipfile.BadZipFile(""), "a file: zip cannot read or write it (BadZipFile); mend it"),
    ],
)
def test_every_fault_is_one_line(error: Exception, words: str) -> None:
    told = faults.told(error)
    assert told.startswith(words) and "\n" not in told


def test_what_a_library_raises_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "e.h5").write_bytes(b"no HDF5")
    with pytest.raises(OSError) as raised:
        h5py.File(tmp_path / "e.h5")
    assert "HDF5 cannot read or write it (Unable to" in faults.told(raised.value)
    (tmp_path / "t.toml").write_bytes(b"\xff")
    with pytest.raises(UnicodeError) as decoding:
        (tmp_path / "t.toml").read_text(encoding="utf-8")
    assert faults.told(decoding.value).startswith("a file: holds a text that is not UTF-8 ('utf-8' codec")


class PanicException(BaseException):
    """What libraries in Rust raise, under the name that they give it."""


PanicException.__module__ = "pyo3_runtime"


def test_a_panic_of_a_library_is_one_line(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*_: object) -> None:
        raise PanicException("index out of bounds")

    monkeypatch.setattr("geoembed.fits.maps.build", panic)
    result = run("probe", "--labels", "labels/water.gpkg", "-o", here / "panicked")
    assert result.exit_code == 1 and "PanicException: index out of bounds; this is a fault" in result.stderr


@pytest.mark.parametrize("variable", faults.PROJ)
def test_the_data_of_another_proj_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "/opt/other/share/proj")
    error = ValueError("The EPSG code is unknown. PROJ: internal_proj_create_from_database: Cannot find proj.db")
    assert faults.told(error).endswith(f"Cannot find proj.db); unset {variable}")


def raise_lost(*_: object) -> None:
    raise KeyError("lost")


def test_a_bug_is_one_line_and_a_traceback_where_asked(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("geoembed.fits.maps.build", raise_lost)
    for verbose in ((), ("-v",)):
        result = run("probe", "--labels", "labels/water.gpkg", "-o", tmp_path / "map", *verbose)
        assert result.exit_code == 1 and "KeyError: 'lost'; this is a fault of geoembed" in result.stderr
        assert ("Traceback" in result.stderr) == bool(verbose)


def test_settings_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "geoembed.toml").write_bytes(b"\xef\xbb\xbf[chip]\nsize = 32\n")
    assert read_toml(tmp_path / "geoembed.toml") == {"chip": {"size": 32}}
    text = '[modalities.s2]\r\nsource = "s2"\r\nscale = 0.5\r\n'
    (tmp_path / "geoembed.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "s2").mkdir()
    (s2,) = modalities.read(tmp_path / "geoembed.toml", {})
    assert s2.name == "s2" and s2.sources[0].scale == 0.5


HOLDING = """
import sys, time, h5py
with h5py.File(sys.argv[1], "r+"):
    print("open", flush=True)
    time.sleep(60)
"""


def test_embeddings_that_are_open_elsewhere_are_sound(tmp_path: Path) -> None:
    embeddings_file(tmp_path / "e.h5", {name: np.ones((4, 2), np.float32) for name in ("s2", "fused")}, columns=2)
    words = [sys.executable, "-c", HOLDING, str(tmp_path / "e.h5")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"open\n"
        with pytest.raises(EmbeddingsError, match=r"is in use by another program.*HDF5_USE_FILE_LOCKING=FALSE"):
            embeddings.read(tmp_path / "e.h5")
        holder.kill()


def refuse(path: object, *_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


def test_what_another_user_finished_is_kept_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "utime", refuse)
    atomic.touch(tmp_path / "embeddings.h5")
    assert "embeddings.h5: belongs to another user, so its time stamp stays" in caplog.text
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    whose = f"which belongs to {tmp_path.owner()} cannot be written"
    with pytest.raises(StaleError, match=whose), locks.hold(tmp_path / "out", folder=True):
        pass
    monkeypatch.setattr(Path, "mkdir", refuse)
    whose = f"the folder {tmp_path}, which belongs to"
    with pytest.raises(StaleError, match=whose), locks.hold(tmp_path / "a" / "b", folder=True):
        pass
