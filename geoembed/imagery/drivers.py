"""Drivers: which of GDAL's may open a raster. Many read whatever a file names, here or on the net; few are needed."""

import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geoembed.errors import ImageryError
from geoembed.ground.formats import ARCHIVE_FAULTS
from geoembed.imagery import addresses

USUAL = (
    "GTiff", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "netCDF", "HDF5", "HDF5Image", "HFA", "SRTMHGT", "DTED", "ENVI",
    "EHdr", "AAIGrid", "GPKG", "PNG", "JPEG",
)  # fmt: skip
"""Drivers that open rasters, besides VRT, whose files are checked before (see `vrt`)."""

HEAD = 1024
"""Bytes at the beginning of a file by which GDAL tells its kind."""

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SIGNATURES = (*TIFF, b"EHFA_HEADER_TAG", b"\0\0\0\x0cjP  ", b"\xffO\xffQ", b"\x89HDF\r\n\x1a\n", b"CDF\x01", b"CDF\x02",
              b"CDF\x05", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # fmt: skip
"""First bytes of the usual kinds of rasters that have some."""

GRID = re.compile(rb"\s*(?:ncols|nrows|xll|yll|cellsize|dx|dy)", re.IGNORECASE)
"""First word of an Arc/Info ASCII grid, which has no signature."""

SIDECARS = (".msk", ".ovr", ".msk.ovr", ".ovr.msk", ".ovr.ovr", ".MSK", ".OVR")
"""Endings of files beside a raster that GDAL opens as rasters of any kind: masks and overviews."""


EVERYWHERE = "/"
"""The folder that holds all local files, also where drives have letters."""


@dataclass(frozen=True)
class Trust:
    """What the user allows beyond what is usual.

    drivers: GDAL's names of drivers that may open a raster too.
    outside: folders and beginnings of addresses of which a VRT may name files, besides those beside or below it.
    """

    drivers: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    def allows(self, address: str) -> bool:
        """Tell whether a VRT may name an address that is not beside or below it."""
        if is_local(address):
            return any(
                folder == EVERYWHERE or Path(address).is_relative_to(folder)
                for folder in self.outside
                if is_local(folder)
            )
        return any(address.startswith(beginning) for beginning in self.outside if not is_local(beginning))


WARY = Trust()
"""Nothing beyond what is usual."""


def is_local(address: str) -> bool:
    """Tell whether an address is a plain path, neither on another machine nor one of GDAL's virtual files."""
    return "/vsi" not in address and "://" not in address


def is_text(head: bytes) -> bool:
    """Tell whether a file begins as text, in which other drivers than the usual ones may find addresses."""
    text = head.partition(b"\0")[0].lstrip(b"\xef\xbb\xbf \t\r\n")
    return len(text) > 8 and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in text[:64])


def is_vrt(head: bytes) -> bool:
    """Tell whether GDAL takes a file for a VRT, whatever its name."""
    return b"<vrtdataset" in head.lower()


def require_raster(name: str, head: bytes) -> None:
    """Raise ImageryError where a file that GDAL opens with any driver is none of the usual rasters.

    Raw numbers, which have no signature, must not begin as text.
    """
    if not head.startswith(SIGNATURES) and is_text(head) and not GRID.match(head):
        raise ImageryError(f"{name}: is text, and no raster that may stand in a VRT; convert it to GeoTIFF")


def head_of(address: str) -> bytes | None:
    """Return the first bytes of a file or of a member of a zip archive; None where it is neither or cannot be read."""
    member = addresses.in_zip(address)
    try:
        if member is None:
            path = addresses.path_of(address)
            if path is None:
                return None
            with open(path, "rb") as file:  # noqa: PTH123 (many are read: pathlib doubles the time)
                return file.read(HEAD)
        with zipfile.ZipFile(member[0]) as archive, archive.open(member[1]) as inner:
            return inner.read(HEAD)
    except ARCHIVE_FAULTS:
        return None


def require_sidecars(address: str) -> None:
    """Raise ImageryError where a mask or overviews beside a raster are no TIFF: GDAL would open whatever they are."""
    for sidecar in _sidecars(address):
        head = head_of(sidecar) or b""
        if not head.startswith((*TIFF, b"EHFA_HEADER_TAG")):
            raise ImageryError(f"{sidecar}: is no TIFF, as the mask or the overviews of a raster are; remove it")


def _sidecars(address: str) -> Iterator[str]:
    member = addresses.in_zip(address)
    if member is not None:
        archive, name = member
        folder = f"/vsizip/{{{archive}}}/"
        yield from (f"{folder}{other}" for other in addresses.members(archive) if _is_sidecar(other, name))
        return
    path = addresses.path_of(address)
    if path is not None:
        yield from (path + ending for ending in SIDECARS if os.path.exists(path + ending))  # noqa: PTH110 (as above)


def _is_sidecar(other: str, name: str) -> bool:
    return other.startswith(name) and other[len(name) :] in SIDECARS
