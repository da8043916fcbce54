"""Faults as one line: those that geoembed names itself, those of the machine, and those that nobody foresaw."""

import errno
import os

from geoembed.errors import GeoembedError

PROJ = ("PROJ_LIB", "PROJ_DATA")
"""Variables that lead PROJ to its data; those of another installation are of no use."""

REPORT = "this is a fault of geoembed: run it again with -v, and report what that prints, with geoembed --version"


def told(error: BaseException) -> str:
    """Return what is wrong and what to do about it, in one line."""
    if isinstance(error, GeoembedError):
        return str(error)
    text = " ".join(str(error).split())
    if any(word in text for word in ("proj.db", "PROJ installation", "proj_create")):
        return _of_proj(text)
    if text.startswith("Symlink loop"):
        return f"{text}; it is a link that leads to itself: remove it"
    if isinstance(error, MemoryError):
        return f"not enough memory ({text or 'MemoryError'}); close other programs, or take fewer chips or --workers"
    if isinstance(error, OSError):
        return _of_system(error, text)
    return f"{type(error).__name__}: {text}; {REPORT}"


def _of_proj(text: str) -> str:
    fault = text.partition("PROJ: ")[2] or text
    names = [name for name in PROJ if name in os.environ]
    remedy = f"unset {' and '.join(names)}" if names else "install rasterio and pyproj again"
    return f"PROJ, which knows coordinate reference systems, cannot use its data ({fault.rstrip('.')}); {remedy}"


def _of_system(error: OSError, text: str) -> str:
    where = f"{error.filename}: {error.strerror}" if error.filename else text
    if error.errno == errno.EMFILE:
        return f"{where}; raise the limit with ulimit -n, or take fewer --workers"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}; make room there, and run the same command again"
    return f"{where}; check that path, its permissions and the space left"
