"""Virtual rasters (VRT): the files that they name, found before GDAL opens any of them.

A VRT is a description in XML of other rasters. It may name those beside it and in folders below; others, and those on
the net, only where the user allows them. GDAL opens what it names with any driver, so each is looked at too.
"""

import os
import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.parsers import expat

from geoembed.errors import ImageryError, of_library
from geoembed.ground.formats import ARCHIVE_FAULTS
from geoembed.imagery import addresses, drivers
from geoembed.imagery.drivers import Trust

MOST_BYTES, MOST_DEPTH, MOST_NESTED = 2**28, 64, 16
"""Bytes of a VRT, depth of elements in it, and VRTs within VRTs."""

FILES = {"sourcefilename", "sourcedataset", "dempath", "filename"}
"""Elements whose text is the name of a file, in lower case, as GDAL does not mind the case."""

KEYS = {"overview_file", "x_dataset", "y_dataset", "dem", "rpc_dem"}
"""Keys of metadata whose value is the name of a file."""

TEXTS = {"mdi", "srs", "targetsrs", "sourcesrs", "description", "category", "cutline"}
"""Elements whose text is no name of a file, whatever it looks like."""

CODE = {"pixelfunctioncode", "pixelfunctionlanguage"}

PREFIX = re.compile(r'(NETCDF|HDF5|GTIFF_DIR:(?:off:)?\d+|GPKG):"?([^":]+)', re.IGNORECASE)
"""Beginning of the address of one data set of a file that holds several, and the file."""

BASE = ":::BASE:::"
"""What stands for the folder, in the name of a file of overviews."""


def check(address: str, trust: Trust) -> None:
    """Raise ImageryError where a VRT, or one that it names, is damaged, or names a file that it may not."""
    member = addresses.in_zip(address)
    status = Path(member[0] if member else address).stat()
    _checked(address, trust, (status.st_size, status.st_mtime_ns, status.st_ino), str(Path.cwd()))


@lru_cache(maxsize=256)
def _checked(address: str, trust: Trust, stamp: tuple[int, ...], cwd: str) -> None:
    """Check a VRT once: as long as its stamp and the working folder are the same."""
    done: set[str] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [(address, ())]
    while waiting:
        vrt, above = waiting.pop()
        if vrt in above or len(above) >= MOST_NESTED:
            raise ImageryError(f"{vrt}: is a VRT that holds itself, or too many in one another; make it again")
        for name, is_relative in dict.fromkeys(_names(vrt)):
            file = _Names(vrt, trust).file(name, is_relative)
            if file in done and file not in above:
                continue
            done.add(file)
            head = drivers.head_of(file)
            if head is None:
                continue  # GDAL tells what is missing; what is far was allowed
            drivers.require_sidecars(file)
            if drivers.is_vrt(head):
                waiting.append((file, (*above, vrt)))
            else:
                drivers.require_raster(f"{vrt}: names {name}, which", head)


class _Names:
    """What the names in a VRT lead to.

    vrt: address of the VRT.
    """

    def __init__(self, vrt: str, trust: Trust) -> None:
        self.vrt, self.trust = vrt, trust
        self.member = addresses.in_zip(vrt)

    def file(self, name: str, is_relative: bool) -> str:
        """Return the address of the file that a name leads to; raises ImageryError where it may not be named."""
        prefix = PREFIX.match(name)
        path = prefix[2] if prefix else name
        if path.startswith(("<", "{")) or (not prefix and re.match(r"[A-Za-z]\w+:(?!:)", path)):
            if not self.trust.allows(name):
                raise self._refusal(name)
            return name
        if not drivers.is_local(path):
            if not self.trust.allows(path):
                raise self._refusal(name)
            return path
        if self.member is not None:
            return self._in_archive(self.member, name, path, is_relative)
        return self._on_disk(name, path, is_relative)

    def _on_disk(self, name: str, path: str, is_relative: bool) -> str:
        own = Path(self.vrt).absolute()
        folder = (
            own.resolve().parent if own.is_symlink() else own.parent
        )  # GDAL follows the link, then takes the folder
        whole = folder / path if is_relative else Path(path).absolute()
        folders, plain = [folder, own.parent], Path(os.path.normpath(whole))
        if ".." in whole.parts:  # behind a link, .. leads elsewhere
            folders, plain = [parent.resolve() for parent in folders], whole.resolve()
        if not any(map(plain.is_relative_to, folders)) and not self.trust.allows(str(plain)):
            raise self._refusal(name)
        return str(whole)

    def _in_archive(self, member: tuple[str, str], name: str, path: str, is_relative: bool) -> str:
        archive, own = member
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(own), path))
        if not is_relative or whole.startswith(("/", "..")):
            raise self._refusal(name)
        return f"/vsizip/{{{archive}}}/{whole}"

    def _refusal(self, name: str) -> ImageryError:
        shown = name if len(name) <= 200 else name[:200] + "..."
        value, word = ("true", "/") if drivers.is_local(name) else (f'["{shown}"]', shown)
        fault = f"is a VRT that names {shown}, which lies neither beside it nor below"
        remedy = f"if you trust it, write outside = {value} beside source in geoembed.toml, or label --outside {word}"
        return ImageryError(f"{self.vrt}: {fault}; {remedy}")


def _names(vrt: str) -> Iterator[tuple[str, bool]]:
    """Yield the names of files in a VRT, and whether each is relative to the VRT; raises ImageryError."""
    reading = _Reading(vrt)
    try:
        reading.parse(_content(vrt))
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise ImageryError(f"{vrt}: is no VRT that can be read ({of_library(error)}); make it again") from None
    yield from reading.names


def _content(vrt: str) -> bytes:
    member = addresses.in_zip(vrt)
    try:
        if member is None:
            if Path(vrt).stat().st_size > MOST_BYTES:
                raise ImageryError(f"{vrt}: is a VRT of more than {MOST_BYTES // 2**20} MB; make several of it")
            return Path(vrt).read_bytes()
        with zipfile.ZipFile(member[0]) as archive:
            if archive.getinfo(member[1]).file_size > MOST_BYTES:
                raise ImageryError(f"{vrt}: is a VRT of more than {MOST_BYTES // 2**20} MB; make several of it")
            return archive.read(member[1])
    except ARCHIVE_FAULTS as error:
        raise ImageryError(f"{vrt}: cannot be read ({of_library(error)}); mend or remove it") from None


class _Reading:
    """Reads a VRT element by element, and keeps the names of files in it.

    names: and whether each is relative to the VRT.
    """

    def __init__(self, vrt: str) -> None:
        self.names: list[tuple[str, bool]] = []
        self._open: list[_Element] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.CommentHandler = self._parser.StartCdataSectionHandler = self._part
        self._parser.StartDoctypeDeclHandler = self._parser.EntityDeclHandler = self._refuse
        self._parser.ProcessingInstructionHandler = self._refuse

    def parse(self, content: bytes) -> None:
        """Read a whole VRT; raises ValueError and ExpatError where it is damaged, or no VRT is such."""
        self._parser.Parse(content, True)

    def _refuse(self, *_: object) -> None:
        raise ValueError("it has a document type or instructions, which no VRT has")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= MOST_DEPTH:
            raise ValueError(f"its elements are more than {MOST_DEPTH} deep")
        self._part()
        element = _Element(tag.lower(), {key.lower(): value for key, value in attributes.items()})
        if len(element.attributes) < len(attributes) or element.relative not in ("", "0", "1"):
            raise ValueError(f"{tag} has odd attributes")
        if element.tag in CODE or (element.tag == "ooi" and element.key == "root_path"):
            raise ValueError(f"{tag} is not for VRTs of others")
        self._open.append(element)
        for key, value in element.attributes.items():
            if key in FILES or (not key.startswith("xml") and element.tag != "mdi" and _is_address(value)):
                self.names.append((value, False))

    def _part(self, *_: object) -> None:
        """Note that the text of an element is in parts, of which GDAL may take the first alone."""
        if self._open:
            self._open[-1].is_plain = False

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text

    def _end(self, _: str) -> None:
        element = self._open.pop()
        text, tag = element.text.strip(), element.tag
        is_file = tag in FILES or (tag == "mdi" and element.key in KEYS)
        is_file |= tag in ("argument", "option") and "filename" in element.key
        if is_file and not element.is_plain:
            raise ValueError(f"{tag} holds more than a name")
        in_metadata = any(above.tag == "metadata" for above in self._open)
        if not text or not (is_file or (tag not in TEXTS and not in_metadata and _is_address(text))):
            return
        of_raw_band = any(above.attributes.get("subclass") == "VRTRawRasterBand" for above in self._open)
        is_relative = (element.relative or ("1" if of_raw_band else "0")) == "1"
        self.names.append((text.removeprefix(BASE), is_relative or text.startswith(BASE)))


@dataclass
class _Element:
    """An element that is being read; names are in lower case, as GDAL does not mind the case.

    is_plain: whether it holds text alone.
    """

    tag: str
    attributes: dict[str, str]
    text: str = ""
    is_plain: bool = True

    @property
    def key(self) -> str:
        """Return the key of an element of metadata, or the name of an option."""
        return (self.attributes.get("key") or self.attributes.get("name") or "").lower()

    @property
    def relative(self) -> str:
        """Return what it says of its text: 1 where it is relative to the VRT; empty where it does not say."""
        return self.attributes.get("relativetovrt", "")


def _is_address(text: str) -> bool:
    """Tell whether a text looks like a path or an address."""
    return text.startswith(("/", "..", "~")) or not drivers.is_local(text)
