"""Products of Sentinel-2 as ESA packs them: .SAFE folders, and what their metadata says of the numbers in their files.

A product holds one JPEG 2000 file per band and resolution: GRANULE/*/IMG_DATA/R10m/*_B04_10m.jp2 of Level-2A (surface
reflectance), GRANULE/*/IMG_DATA/*_B04.jp2 of Level-1C (reflectance at the top of the atmosphere). Reflectance is
(DN + offset) / quantification, and 0 is nodata. Both are in MTD_MSIL2A.xml: BOA_QUANTIFICATION_VALUE, and a
BOA_ADD_OFFSET for each band since processing baseline 04.00; in MTD_MSIL1C.xml QUANTIFICATION_VALUE and
RADIO_ADD_OFFSET (Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD, issue 14.9). The
metadata is read, and nothing is concluded from a date.

Where bands and names are not given, a product gives red, green and blue of its season, such as jja_red. Products of one
season are no median: the first in the order written gives a pixel that it has.
"""

import logging
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from xml.parsers import expat

from geoembed.errors import ImageryError, nearest, of_library
from geoembed.ground.formats import ARCHIVE_FAULTS
from geoembed.imagery import addresses
from geoembed.imagery.catalogues import SEASONS
from geoembed.imagery.modalities import Source

log = logging.getLogger(__name__)

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""The bands in the order of band_id, which counts from 0."""

COLOURS = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2",
    "B07": "rededge3", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16", "B12": "swir22",
}  # fmt: skip
"""What channels are called by band, as in the catalogue Earth Search."""

SHOWN = ("B04", "B03", "B02")
"""The bands of a product where none are named."""

METADATA = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")

FILE = re.compile(r"(?:L2A_)?T\d{2}[A-Z]{3}_(?P<date>\d{8})T\d{6}_(?P<band>B\d[\dA])(?:_(?P<metres>\d{2})m)?\.jp2\Z")
"""Name of a band's file, such as T32TMT_20200701T101559_B04_10m.jp2."""

OFFSETS_SINCE = 4.0
"""The processing baseline since which metadata has offsets."""

MOST_BYTES, HIGHEST = 2**24, 6
"""Bytes of metadata beyond which it is not read (a product's are some 60 kB), and folders between it and a band."""

_QUANTIFICATION = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
_OFFSETS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")


@dataclass(frozen=True)
class Product:
    """What the metadata of a product says.

    path: of the metadata.
    level: L2A or L1C.
    season: of its sensing.
    quantification: the DN of a reflectance of 1.
    offsets: what is added to a DN, by band; none before baseline 04.00.
    nodata: the DN that stands for no value.
    """

    path: str
    level: str
    season: str
    quantification: float
    offsets: dict[str, float]
    nodata: float

    def encoding(self, band: str) -> tuple[float, float, float]:
        """Return scale, offset and nodata of a band: value = DN * scale + offset; raises ImageryError."""
        offset = self.offsets.get(band) if self.offsets else 0.0
        if offset is None:
            raise ImageryError(f"{self.path}: tells no offset of {band}; {_REMEDY}")
        return 1.0 / self.quantification, offset / self.quantification, self.nodata

    def channel(self, band: str) -> str:
        """Return what a band's channel is called, such as jja_red."""
        return f"{self.season}_{COLOURS[band]}"


_REMEDY = "download the product again, or write scale = 0.0001 and offset = -0.1 (0.0 before baseline 04.00)"


def is_product(folder: Path) -> bool:
    """Tell whether a folder is a product."""
    return any((folder / name).is_file() for name in METADATA) or (
        folder.suffix.upper() == ".SAFE" and (folder / "GRANULE").is_dir()
    )


def files(modality: str, source: Source, folder: Path) -> Iterator[tuple[str, Source]]:
    """Yield the file of each band that a source names, granule by granule, and how it is read; raises ImageryError."""
    product = _of_folder(str(folder))
    if product is None:
        raise ImageryError(f"{folder}: holds neither {' nor '.join(METADATA)}; download the product again")
    if product.level == "L1C":
        told = "is Level-1C: reflectance at the top of the atmosphere, not at the surface; Level-2A is what s2 means"
        log.warning("%s: %s", folder, told)
    bands = _bands(modality, source, folder)
    names = source.names or tuple(product.channel(band) for band in bands)
    if len(names) != len(bands):
        raise ImageryError(f"{folder}: {len(names)} names for {', '.join(bands)}; write bands = [...] beside names")
    granules = sorted(path for path in (folder / "GRANULE").glob("*") if path.is_dir())
    if not granules:
        raise ImageryError(f"{folder}: holds no granule; download the product again")
    for granule in granules:
        for band, name in zip(bands, names, strict=True):
            yield str(_file(granule, band)), replace(source, bands=(1,), names=(name,))


def of_file(address: str) -> tuple[Product, str] | None:
    """Return the product that a file of a band belongs to, and the band; None for files of other kinds.

    Raises ImageryError where the product's metadata cannot be read, or is not there: the numbers' offset is unknown.
    """
    match = FILE.search(PurePosixPath(address.replace("\\", "/")).name.partition("?")[0])
    if match is None or match["band"] not in BANDS:
        return None
    product = _above(address)
    if product is None:
        raise ImageryError(
            f"{address}: no {METADATA[0]} above it tells what its numbers are; write scale = 0.0001 and offset = -0.1 "
            f"(0.0 before baseline 04.00) beside source, or give the .SAFE folder"
        )
    return product, match["band"]


def _bands(modality: str, source: Source, folder: Path) -> tuple[str, ...]:
    if source.bands is None:
        return SHOWN
    for band in source.bands:
        if band not in BANDS:
            known = nearest(str(band), BANDS)
            raise ImageryError(f'{folder}: has no band {band}; write bands = ["B04"] under {modality}{known}')
    return tuple(map(str, source.bands))


def _file(granule: Path, band: str) -> Path:
    """Return the finest file of a band; raises ImageryError where there is none."""
    found = [path for path in (granule / "IMG_DATA").rglob("*.jp2") if _band_of(path) == band]
    if not found:
        raise ImageryError(f"{granule}: holds no file of {band}; download the product again, or name other bands")
    return min(found, key=lambda path: (path.stem.rpartition("_")[2], path.name))  # 10m, 20m, 60m, or the band


def _band_of(path: Path) -> str | None:
    match = FILE.search(path.name)
    return match["band"] if match else None


def _above(address: str) -> Product | None:
    """Return the product of a file, on disk or in a zip archive, by the metadata in a folder above it."""
    member = addresses.in_zip(address)
    if member is not None:
        archive, name = member
        inside = addresses.members(archive)
        above = [str(folder / known) for folder in PurePosixPath(name).parents[:HIGHEST] for known in METADATA]
        return next((_in_zip(archive, path) for path in above if path in inside), None)
    path = addresses.path_of(address)
    if path is None:
        return None
    folders = Path(path).absolute().parents[:HIGHEST]
    return next((product for folder in folders if (product := _of_folder(str(folder)))), None)


def _of_folder(folder: str) -> Product | None:
    for name in METADATA:
        path = Path(folder, name)
        if path.is_file():
            status = path.stat()
            return _on_disk(str(path), (status.st_size, status.st_mtime_ns))
    return None


@lru_cache(maxsize=256)
def _on_disk(path: str, stamp: tuple[int, int]) -> Product:
    if stamp[0] > MOST_BYTES:
        raise _unreadable(path, f"{stamp[0]:,} bytes are too many")
    return _parsed(path, Path(path).read_bytes())


def _in_zip(archive: str, member: str) -> Product:
    path = f"/vsizip/{archive}/{member}"
    try:
        with zipfile.ZipFile(archive) as file:
            size = file.getinfo(member).file_size
            if size > MOST_BYTES:
                raise _unreadable(path, f"{size:,} bytes are too many")
            return _parsed(path, file.read(member))
    except ARCHIVE_FAULTS as error:
        raise _unreadable(path, of_library(error)) from None


def _unreadable(path: str, fault: str) -> ImageryError:
    return ImageryError(f"{path}: cannot be read as the metadata of a product ({fault}); {_REMEDY}")


def _parsed(path: str, content: bytes) -> Product:
    """Return a product by the content of its metadata; raises ImageryError."""
    reading = _Reading()
    try:
        reading.parser.Parse(content, True)
        texts = reading.texts
        time = next(texts[tag] for tag in ("PRODUCT_START_TIME", "DATATAKE_SENSING_START") if tag in texts)
        month = int(re.fullmatch(r"\d{4}-(\d{2})-\d{2}T.*", time)[1])  # type: ignore[index]
        season = SEASONS[month % 12 // 3]
        quantification = next(float(texts[tag]) for tag in _QUANTIFICATION if tag in texts)
        offsets = {BANDS[number]: offset for number, offset in reading.offsets.items()}
        baseline = float(texts["PROCESSING_BASELINE"])
        nodata = float(reading.special.get("NODATA", "0"))
    except (expat.ExpatError, ValueError, LookupError, StopIteration, TypeError) as error:
        raise _unreadable(path, f"lacks {error}" if isinstance(error, KeyError) else of_library(error)) from None
    if not 1.0 <= quantification <= 1e6:
        raise _unreadable(path, f"its quantification is {quantification:g}")
    if baseline >= OFFSETS_SINCE and not offsets:
        raise _unreadable(path, f"it tells no offsets, and its baseline is {texts['PROCESSING_BASELINE']}")
    level = "L1C" if path.endswith(METADATA[1]) else "L2A"
    return Product(path, level, season, quantification, offsets, nodata)


class _Reading:
    """Reads metadata element by element; no document type, so no entities.

    texts: of elements, by name without its namespace; the first of each.
    offsets: by band_id.
    special: numbers that stand for something, by what that is.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.offsets: dict[int, float] = {}
        self.special: dict[str, str] = {}
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self.parser.EntityDeclHandler = self._refuse
        self._attributes: dict[str, str] = {}
        self._text = ""

    def _refuse(self, *_: object) -> None:
        raise ValueError("it has a document type, which no product's metadata has")

    def _start(self, _: str, attributes: dict[str, str]) -> None:
        self._attributes, self._text = attributes, ""

    def _characters(self, text: str) -> None:
        self._text += text

    def _end(self, tag: str) -> None:
        name, text = tag.rpartition(":")[2], self._text.strip()
        if name in _OFFSETS:
            number, offset = int(self._attributes["band_id"]), float(text)
            if not (0 <= number < len(BANDS) and abs(offset) <= 1e5) or number in self.offsets:
                raise ValueError(f"{name} of band {number} is {text[:20]}")
            self.offsets[number] = offset
        elif name == "SPECIAL_VALUE_INDEX":
            self.special[self.texts.get("SPECIAL_VALUE_TEXT", "")] = text
        elif name == "SPECIAL_VALUE_TEXT":
            self.texts[name] = text
        elif text:
            self.texts.setdefault(name, text)
        self._text = ""
