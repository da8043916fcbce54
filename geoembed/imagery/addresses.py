"""Addresses of rasters: the names by which GDAL opens them.

An address is a path, `netcdf:file.nc:variable` (a variable of a file; other drivers likewise), a file in an archive
such as `/vsizip/archive.zip/file.tif`, `https://...` or `s3://...`. It is text, as a URL loses a slash in pathlib.Path.
"""

import glob
import os
import re
import zipfile
from functools import lru_cache
from pathlib import Path, PurePath

from geoembed.ground.formats import ARCHIVE_FAULTS

_URL = re.compile(r"[A-Za-z][\w+.-]*://")
_ARCHIVES = re.compile(r"(?:/vsi(?:zip|tar|gzip|7z|rar)/\{?)+")
_SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://")
_FAR = re.compile(r"/vsi(?:curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)")
_HERE = {"file", "zip", "tar", "gzip", "vrt"}
_VARIABLE = re.compile(r'([A-Za-z]\w+:(?:\d+:)?"?)([^":]+)(.*)')
"""DRIVER:file:variable, DRIVER:"file":variable or GTIFF_DIR:2:file; a name of one letter is a Windows drive."""


def is_path(address: str) -> bool:
    """Tell whether an address is a path or a glob, and not a form that only GDAL understands."""
    return not (address.startswith("/vsi") or _URL.match(address) or _variable(address))


def resolve(folder: Path, address: str) -> str:
    """Return an address written in a settings file: paths in it that are relative are relative to the file's folder."""
    archives, variable = _ARCHIVES.match(address), _VARIABLE.fullmatch(address)
    if archives:
        inside = address[archives.end() :]
        return address if inside.startswith("/vsi") or _URL.match(inside) else archives[0] + str(folder / inside)
    if address.startswith("/vsi") or _URL.match(address):
        return address
    if variable and not (folder / address).exists():
        return variable[1] + resolve(folder, variable[2]) + variable[3]
    return _beside(folder, address)


def _beside(folder: Path, address: str) -> str:
    """Return a path or a glob in a folder, in whose own name nothing stands for anything else."""
    if glob.has_magic(address) and not (folder / address).exists():
        folder = Path(glob.escape(str(folder)))
    return str(folder / address)


def local_file(address: str) -> str | None:
    """Return the local file that an address leads to, which may be an archive; None where it leads to none."""
    archives = _ARCHIVES.match(address)
    if archives:
        address = address[archives.end() :].replace("}", "")
    elif not is_path(address):
        return None
    path = Path(address)
    return next((str(file) for file in (path, *path.parents) if file.is_file()), None)


def path_of(address: str) -> str | None:
    """Return the local file that an address names, also as netcdf:file.nc:variable; None where it names none."""
    variable = _variable(address)
    path = variable[2] if variable else address
    return path if is_path(path) and os.path.isfile(path) else None  # noqa: PTH113 (many are asked for)


def in_zip(address: str) -> tuple[str, str] | None:
    """Return the archive and the member that an address of a file in a local zip archive names; None for others."""
    if not address.startswith("/vsizip/") or len(_ARCHIVES.match(address)[0]) > len("/vsizip/{"):  # type: ignore[index]
        return None
    archive = local_file(address)
    if archive is None:
        return None
    member = address.removeprefix("/vsizip/").removeprefix("{")[len(archive) :].lstrip("}").lstrip("/")
    return (archive, member) if member else None


@lru_cache(maxsize=64)
def _members(archive: str, stamp: tuple[int, int]) -> frozenset[str]:
    with zipfile.ZipFile(archive) as file:
        return frozenset(file.namelist())


def members(archive: str) -> frozenset[str]:
    """Return the names of the files in a zip archive; none where it cannot be read."""
    try:
        status = Path(archive).stat()
        return _members(archive, (status.st_size, status.st_mtime_ns))
    except ARCHIVE_FAULTS:
        return frozenset()


def is_far(address: str) -> bool:
    """Tell whether an address leads to another machine."""
    schemes = {scheme for text in _SCHEME.findall(address) for scheme in text.lower().split("+")}
    return bool(_FAR.search(address)) or bool(schemes - _HERE)


def stem(address: str) -> str:
    """Return the last name in an address without its suffix, such as height of netcdf:file.nc:height."""
    variable = _variable(address)
    if variable and variable[3].strip('":/'):
        return re.split("[:/]", variable[3].strip('":/'))[-1]
    return PurePath(variable[2] if variable else address.partition("?")[0]).stem


def _variable(address: str) -> re.Match[str] | None:
    return None if _URL.match(address) or Path(address).exists() else _VARIABLE.fullmatch(address)
