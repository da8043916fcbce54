"""Addresses of rasters: whatever GDAL opens by name, a file on this machine or not.

A path, `netcdf:file.nc:variable` (a variable of a file; other drivers likewise), `/vsizip/archive.zip/file.tif` (a
file in an archive), `https://...` or `s3://...`. Addresses are text: inside a pathlib.Path a URL loses a slash.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

_URL = re.compile(r"[A-Za-z][\w+.-]*://")
_ARCHIVES = re.compile(r"(?:/vsi(?:zip|tar|gzip|7z|rar)/\{?)+")
_VARIABLE = re.compile(r'([A-Za-z]\w+:(?:\d+:)?"?)([^":]+)(.*)')
"""DRIVER:file:variable, DRIVER:"file":variable or GTIFF_DIR:2:file. A driver has two letters or more, a Windows drive
has one."""


def is_path(address: str) -> bool:
    """Tell whether an address is a path, or a pattern of paths, and nothing that GDAL alone understands."""
    return not (address.startswith("/vsi") or _URL.match(address) or _variable(address))


def beside(folder: Path, address: str) -> str:
    """Return an address as a settings file in a folder means it: relative paths are relative to the folder."""
    archives, variable = _ARCHIVES.match(address), _VARIABLE.fullmatch(address)
    if archives:
        return archives[0] + str(folder / address[archives.end() :])
    if address.startswith("/vsi") or _URL.match(address):
        return address
    if variable and not (folder / address).exists():
        return variable[1] + beside(folder, variable[2]) + variable[3]
    return str(folder / address)


def local_file(address: str) -> str | None:
    """Return the file on this machine that holds what an address leads to (an archive for what lies in it), or None."""
    archives = _ARCHIVES.match(address)
    if archives:
        address = address[archives.end() :].replace("}", "")
    elif not is_path(address):
        return None
    path = Path(address)
    return next((str(file) for file in (path, *path.parents) if file.is_file()), None)


def stem(address: str) -> str:
    """Return the last name in an address without its suffix: of netcdf:file.nc:height that is height."""
    variable = _variable(address)
    if variable and variable[3].strip('":/'):
        return re.split("[:/]", variable[3].strip('":/'))[-1]
    return PurePath(variable[2] if variable else address.partition("?")[0]).stem


def _variable(address: str) -> re.Match[str] | None:
    return None if _URL.match(address) or Path(address).exists() else _VARIABLE.fullmatch(address)
