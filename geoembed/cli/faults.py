"""Faults as one line: those that geoembed names itself, those of the machine and of files, and unforeseen ones."""

import errno
import os
from pathlib import Path
from types import FrameType, TracebackType

from geoembed.errors import GeoembedError

PROJ = ("PROJ_LIB", "PROJ_DATA")
"""Variables that lead PROJ to its data; those of another installation are of no use."""

REPORT = "this is a fault of geoembed: run it again with -v, and report what that prints, with geoembed --version"

FORMATS = {
    "h5py": "HDF5", "safetensors_rust": "safetensors", "safetensors": "safetensors", "skops": "skops",
    "pyogrio": "GDAL", "rasterio": "GDAL", "shapely": "GEOS", "pyproj": "PROJ", "sqlite3": "SQLite",
    "zipfile": "zip", "zlib": "zlib", "json": "JSON", "tomllib": "TOML", "xml": "XML", "pyarrow": "Arrow",
}  # fmt: skip
"""Packages that read and write files, or what files hold, and what people know them by."""

MEMORY = ("allocate memory", "out of memory", "not enough memory", "Cannot allocate", "cannot allocate",
          "failed to map segment", "start new thread", "std::bad_alloc", "Unable to allocate",
          "could not create a primitive")  # fmt: skip
"""Words of libraries for no memory; a thread that cannot start lacks memory, or the leave to be."""


def told(error: BaseException) -> str:
    """Return what is wrong and what to do about it, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, GeoembedError):
        return text
    if any(word in text for word in ("proj.db", "PROJ installation", "proj_create")):
        return _of_proj(text)
    if text.startswith("Symlink loop"):
        return f"{text}; it is a link that leads to itself: remove it"
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(map(text.__contains__, MEMORY))
    ):
        fault = f"not enough memory ({_short(text) or 'MemoryError'})"
        return f"{fault}; close other programs, or take fewer chips or --workers"
    if isinstance(error, OSError) and (error.errno or error.filename):
        return _of_system(error, text)
    if isinstance(error, RecursionError):
        return f"{_where(error)}: holds values inside values inside values, more than can be read; {_VERIFY}"
    if isinstance(error, UnicodeError):
        return f"{_where(error)}: holds a text that is not UTF-8 ({_short(text)}); {_VERIFY}"
    library = _library(error)
    if library:
        return f"{_where(error)}: {library} cannot read or write it ({_short(text) or type(error).__name__}); {_VERIFY}"
    if isinstance(error, OSError):
        return _of_system(error, text)
    return f"{type(error).__name__}: {text}; {REPORT}"


_VERIFY = "mend it, or find what is damaged with geoembed info --verify"


def _short(text: str) -> str:
    """Return the beginning of a text of a library, which may hold its whole stack."""
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _library(error: BaseException) -> str | None:
    """Return what people call the library whose error this is, by its class or by where it was raised."""
    of_class = type(error).__module__.partition(".")[0]
    frames = _frames(error.__traceback__)
    # Compiled modules have no name there, but a file such as pyogrio/_io.pyx.
    raised = frames[-1].f_globals.get("__name__") or frames[-1].f_code.co_filename.replace("/", ".") if frames else ""
    return FORMATS.get(of_class) or FORMATS.get(str(raised).partition(".")[0])


def _where(error: BaseException) -> str:
    """Return the path that our innermost function was at work on, as far as that can be told."""
    for frame in reversed(_frames(error.__traceback__)):
        if str(frame.f_globals.get("__name__", "")).startswith("geoembed."):
            values = frame.f_locals
            for path in (values.get("path"), getattr(values.get("self"), "path", None), values.get("address")):
                if isinstance(path, str | Path):
                    return str(path)
    return "a file"


def _frames(trace: TracebackType | None) -> list[FrameType]:
    """Return the frames of a traceback, the innermost last."""
    frames = []
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    return frames


def _of_proj(text: str) -> str:
    fault = text.partition("PROJ: ")[2] or text
    names = [name for name in PROJ if name in os.environ]
    remedy = f"unset {' and '.join(names)}" if names else "install rasterio and pyproj again"
    return f"PROJ, which knows coordinate reference systems, cannot use its data ({fault.rstrip('.')}); {remedy}"


def _of_system(error: OSError, text: str) -> str:
    where = f"{error.filename}: {error.strerror}" if error.filename else text
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{where}; raise the limit with ulimit -n, or take fewer --workers"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}; make room there, and run the same command again"
    if error.errno == errno.EFBIG:
        return f"{where}; raise the limit with ulimit -f, or write to a disk that takes larger files"
    return f"{where}; check that path, its permissions and the space left"
