"""Chip folders: the index of chips, their description, and one small raster per chip and modality."""

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any

import geopandas
import numpy as np
import pyogrio
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pydantic import Field

from geoembed import names
from geoembed.archives.origin import Origin
from geoembed.errors import ChipError
from geoembed.ground import grid
from geoembed.imagery.storage import Storage
from geoembed.names import CHIP_ID, DIGEST
from geoembed.outputs import atomic, digests, documents, geopackage
from geoembed.outputs.records import Record
from geoembed.project import remedies
from geoembed.project.kinds import Kind

INDEX, DESCRIPTION, LAYER = "index.gpkg", "chips.json", "chips"
SPLITS = ("train", "validation", "test")

LARGEST = 2**15
"""Most pixels along a chip's side."""

CHECKED = 2**30
"""Bytes of chip files that are read to tell whether they are intact when chips are kept."""

_PIXELS_ONLY = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_GEOREF_SOURCES": "NONE"}
"""GDAL options that read pixels only, and not where they lie: a chip opens in half the time."""


@dataclass(frozen=True)
class Chip:
    """The pixels of a chip in a modality.

    channels: the names of C channels.
    values: (C, H, W) float32 in the modality's unit, NaN where invalid.
    """

    channels: tuple[str, ...]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Contained:
    """What chips have of a modality: the channels that at least one has, in order, and the unit of a value."""

    channels: tuple[names.Channel, ...]
    unit: str


@dataclass(frozen=True)
class Reading:
    """How the files of a modality that others made are read.

    dataset: the folder that they lie in.
    channels: one per band.
    scale, offset: value = stored number * scale + offset; None: the file's own.
    nodata: the stored number that stands for no value; None: the file's own.
    signed: whether whole numbers without a sign hold negative ones, as their two's complement.
    """

    dataset: names.Folder
    channels: tuple[names.Channel, ...]
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    signed: bool = False

    def decode(self, source: Any) -> NDArray[np.float32]:
        """Return the values of an open rasterio data set; see `decode`."""
        stored, count = source.read(), len(self.channels)
        if self.signed and stored.dtype.kind == "u":
            stored = stored.view(f"int{8 * stored.dtype.itemsize}")
        scales = source.scales if self.scale is None else (self.scale,) * count
        offsets = source.offsets if self.offset is None else (self.offset,) * count
        return decode(stored, scales, offsets, source.nodata if self.nodata is None else self.nodata)


@dataclass(frozen=True)
class Adopted:
    """Chip files that others made, which stay where they lie: <folder>/<dataset>/<identifier>.tif.

    The identifier is what a chip id begins with.

    folders: by area, relative to the chip folder.
    readings: by modality.
    """

    folders: dict[names.Area, names.Place]
    readings: dict[names.Modality, Reading]

    def root(self, folder: Path, area: str) -> Path:
        """Return the folder, without links, that files of an area lie in; raises ChipError where none is described."""
        if area not in self.folders:
            raise ChipError(f"{folder / DESCRIPTION}: names no folder of the area {area!r}; {_ADOPT}")
        return (folder.resolve() / self.folders[area]).resolve()

    def path_of(self, folder: Path, area: str, chip_id: str, modality: str) -> Path:
        """Return the path of a file; raises ChipError where a link leads from its folder to a file elsewhere."""
        identifier = names.chip_id(chip_id).partition("-")[0]
        root = self.root(folder, area)
        path = root / self.readings[modality].dataset / f"{identifier}.tif"
        _require_inside(root, path)
        return path


@dataclass(frozen=True)
class Description:
    """What chips.json says.

    geoembed_version: that began the folder.
    size: pixels along a chip's side.
    grids: that the chips lie on.
    modalities: what chips have of each; without channels before the chips are finished.
    made_from: the record of the chips.
    inspected: what was found in the imagery (see `imagery.inspection`), JSON-ready.
    fetched: where modalities were fetched from.
    failed: whether the run ended in an error.
    adopted: where the chip files lie that others made; None: in the folder.
    """

    geoembed_version: str
    size: Annotated[int, Field(ge=1, le=LARGEST)]
    grids: tuple[grid.Grid, ...]
    modalities: dict[names.Modality, Contained]
    made_from: Record
    inspected: dict[str, Any] = field(default_factory=dict)
    fetched: dict[names.Modality, Origin] = field(default_factory=dict)
    failed: bool = False
    adopted: Adopted | None = None


@dataclass(frozen=True)
class ChipSet:
    """A finished chip folder.

    folder: its path.
    index: a row per chip: chip_id, aoi, split, geometry (EPSG:4326), and for each modality its valid fraction (NaN:
        absent) and, in <modality>_digest, the digest of its file (see `digests.of_small`).
    channels: by modality, the channels that its chips have; a chip file may hold only some of them.
    units: by modality, the unit of a value.
    grids: the grids that the chips lie on.
    size: pixels along a chip's side.
    digest: SHA-256 of the record of what the chips were made from, and of the index.
    adopted: where the chip files lie that others made; None: in the folder.
    """

    folder: Path
    index: geopandas.GeoDataFrame
    channels: dict[str, tuple[str, ...]]
    units: dict[str, str]
    grids: tuple[grid.Grid, ...]
    size: int
    digest: str
    adopted: Adopted | None = None

    @cached_property
    def cells(self) -> grid.Cells:
        """Return the chips' cells, in the order of the index."""
        return grid.cells(self.grids, self.index["chip_id"].to_numpy())

    @cached_property
    def _columns(self) -> dict[str, list[str]]:
        """Return the columns of the index that are needed to read a chip, which are slow to reach in a table."""
        return {name: self.index[name].tolist() for name in ("chip_id", *(one + DIGEST for one in self.channels))}

    @cached_property
    def _place(self) -> Path:
        """Return the folder without links."""
        return self.folder.resolve()

    @cached_property
    def _areas(self) -> dict[str, str]:
        """Return the area of each chip."""
        return dict(zip(self.index["chip_id"], self.index["aoi"], strict=True))

    def path_of(self, chip_id: str, modality: str) -> Path:
        """Return the path of a chip file; raises ChipError for one that others made where a link leads elsewhere."""
        if self.adopted is None:
            return path_of(self.folder, chip_id, modality)
        return self.adopted.path_of(self.folder, self._areas[chip_id], chip_id, modality)

    def read(self, row: int, modality: str) -> Chip:
        """Read a row's chip file; raises ChipError where it is missing, damaged, or of another size."""
        path = self.path_of(self._columns["chip_id"][row], modality)
        digest = self._columns[modality + DIGEST][row]
        if self.adopted is None:
            _require_inside(self._place, path)
            chip = read_chip(path, digest)
        else:
            chip = self._known(read_chip(path, digest, self.adopted.readings[modality]), modality)
        if chip.values.shape[1:] != (self.size, self.size):
            shape = " x ".join(map(str, chip.values.shape[1:]))
            raise ChipError(f"{path}: {shape} pixels, not {self.size} x {self.size}; {_AGAIN}")
        return chip

    def _known(self, chip: Chip, modality: str) -> Chip:
        """Return a chip without the bands that no chip has a value in."""
        known = [number for number, name in enumerate(chip.channels) if name in self.channels[modality]]
        return Chip(tuple(chip.channels[number] for number in known), chip.values[known])

    def files(self) -> list[tuple[str, str, str]]:
        """Return chip id, modality and digest of every chip file, modality by modality."""
        present = [(name, self.index[self.index[name].notna()]) for name in self.channels]
        return [
            (chip_id, name, digest)
            for name, rows in present
            for chip_id, digest in zip(rows["chip_id"], rows[name + DIGEST], strict=True)
        ]


_AGAIN = "run the geoembed chip that made it again"
_ADOPT = "run the geoembed chip --adopt that made the index again, with --update"


def path_of(folder: Path, chip_id: str, modality: str) -> Path:
    """Return the path of a chip file in a chip folder: <modality>/<zone>/<column>/<chip_id>.tif."""
    match = CHIP_ID.match(chip_id)
    if match is None:
        raise ChipError(f"{folder / INDEX}: {chip_id!r} is no chip id; make the chips again with --overwrite")
    return folder / modality / match["zone"] / match["column"] / f"{chip_id}.tif"


def _require_inside(folder: Path, path: Path) -> None:
    """Raise ChipError where a link leads from a chip folder, itself without links, to a file elsewhere."""
    if not os.path.realpath(path).startswith(f"{folder}{os.sep}"):
        raise ChipError(
            f"{path}: a link leads out of its folder; link the whole folder instead, or move the files there"
        )


def remove_chips(folder: Path, files: Iterable[tuple[str, str]]) -> None:
    """Delete chip files, by chip id and modality, and the folders that are empty then; none beyond a link."""
    folders: set[Path] = set()
    for chip_id, modality in files:
        path = path_of(folder, chip_id, modality)
        _require_inside(folder.resolve(), path.parent)
        path.unlink(missing_ok=True)
        folders.update(path.parents[:3])
    for emptied in sorted(folders, key=lambda path: -len(path.parts)):
        if emptied.is_dir() and not any(emptied.iterdir()):
            emptied.rmdir()


def damaged(folder: Path, files: Sequence[tuple[str, str, str]]) -> list[Path]:
    """Return the chip files of a folder, given by chip id, modality and digest, that `broken` finds."""
    return broken([(path_of(folder, chip_id, modality), digest) for chip_id, modality, digest in files])


def broken(files: Sequence[tuple[Path, str]]) -> list[Path]:
    """Return the files, given with the digest of each, that are missing or damaged.

    The size of each is looked at. Up to CHECKED bytes of them, or of every second, third ... file, are read.
    """
    step = 1 + sum(digests.size_of_small(digest) for _, digest in files) // CHECKED
    found = []
    for number, (path, digest) in enumerate(files):
        try:
            intact = path.stat().st_size == digests.size_of_small(digest) and (
                number % step or digests.of_small(path.read_bytes()) == digest
            )
        except OSError:
            intact = False
        if not intact:
            found.append(path)
    return found


def making(folder: Path) -> str:
    """Return the command that makes the chips of a folder: that cuts them or, where it says so, adopts others'."""
    try:
        description = documents.read(folder / DESCRIPTION, Description, ChipError, "")
    except ChipError:
        return remedies.cutting(folder)
    adopted = description.adopted
    if adopted is None:
        return remedies.cutting(folder)
    roots = [os.path.relpath(adopted.root(folder, area)) for area in adopted.folders]
    sources = [f"{name}={reading.dataset}" for name, reading in adopted.readings.items()]
    options = description.made_from.options
    unusual = {"split": (None,), "min_valid": (None, 0.5), "seed": (None, 0)}
    return remedies.command(
        "chip",
        *(word for root in roots for word in ("--adopt", root)),
        *(word for source in sources for word in ("--source", source)),
        modalities=",".join(adopted.readings),
        size=str(description.size),
        **{name: str(options[name]) for name, usual in unusual.items() if options.get(name) not in usual},
        output=remedies.unless(folder, "chips"),
    )


def read_description(folder: Path) -> Description:
    """Read chips.json; raises ChipError where it is missing, damaged, or of another version of geoembed."""
    remedy = f"run {remedies.cutting(folder)} again, which writes it anew"
    return documents.read(folder / DESCRIPTION, Description, ChipError, remedy)


def write_description(folder: Path, description: Description) -> None:
    """Write chips.json, whole."""
    documents.write(folder / DESCRIPTION, asdict(description))


def read(folder: Path) -> ChipSet:
    """Read a chip folder's index and description; raises ChipError where there are no finished chips.

    folder: the folder, or its index.gpkg.
    """
    folder = folder.parent if folder.name == INDEX else folder
    _require_chips(folder)
    description = read_description(folder)
    path, again = folder / INDEX, f"run {making(folder)} again, which writes it anew"
    index = geopackage.read(path, LAYER, ChipError, again)
    fault = _fault(index, list(description.modalities)) or _unread(index, description)
    if not geopackage.is_made_from(path, LAYER, description.made_from):
        fault = f"does not belong to the {DESCRIPTION} beside it"
    if fault:
        raise ChipError(f"{path}: {fault}; {again}")
    return ChipSet(
        folder=folder,
        index=index,
        channels={name: one.channels for name, one in description.modalities.items()},
        units={name: one.unit for name, one in description.modalities.items()},
        grids=description.grids,
        size=description.size,
        digest=digests.of_value([description.made_from.digest, geopackage.rows_of(path, LAYER)]),
        adopted=description.adopted,
    )


def indexed(folder: Path) -> set[tuple[str, str]]:
    """Return chip id and modality of the chip files that an index names; none where it cannot be read."""
    try:
        table = pyogrio.read_dataframe(folder / INDEX, layer=LAYER, read_geometry=False)
        held = [str(name).removesuffix(DIGEST) for name in table if str(name).endswith(DIGEST)]
        return {
            (names.chip_id(str(chip_id)), names.modality(name))
            for name in held
            for chip_id in table.loc[table[name + DIGEST].notna(), "chip_id"]
        }
    except (RuntimeError, ValueError, KeyError):  # pyogrio's are RuntimeErrors
        return set()


def _fault(index: geopandas.GeoDataFrame, modalities: Sequence[str]) -> str | None:
    """Return what is wrong with the columns of an index; None where nothing is."""
    missing = {"chip_id", "aoi", "split", *modalities, *(name + DIGEST for name in modalities)} - set(index.columns)
    if missing:
        return f"lacks the columns {', '.join(sorted(missing))}"
    if index["chip_id"].duplicated().any():
        return "holds a chip twice"
    try:
        for chip_id in index["chip_id"]:
            names.chip_id(str(chip_id))
        for area in index["aoi"].unique():
            names.text(str(area))
        for name in modalities:
            for digest in index.loc[index[name].notna(), name + DIGEST]:
                names.digest(str(digest))
    except ValueError as error:
        return str(error)
    strange = set(index["split"]) - set(SPLITS)
    return f"holds the split {strange.pop()!r}" if strange else None


def _unread(index: geopandas.GeoDataFrame, description: Description) -> str | None:
    """Return what a description lacks to read chip files that others made; None where it lacks nothing."""
    if description.adopted is None:
        return None
    lacking = {*index["aoi"].unique()} - {*description.adopted.folders}
    lacking |= {*description.modalities} - {*description.adopted.readings}
    return f"holds {sorted(lacking)[0]!r}, whose files the {DESCRIPTION} beside it does not name" if lacking else None


def _require_chips(folder: Path) -> None:
    """Raise ChipError for what is no folder of finished chips."""
    stranger = remedies.of_another_kind(folder, Kind.CHIPS)
    if stranger:
        raise ChipError(f"{folder}: {stranger}; {remedies.chips(folder)}")
    if not (folder / INDEX).exists():
        if (folder / DESCRIPTION).exists():
            raise ChipError(f"{folder}: its chips are not finished; run {making(folder)} again, which goes on")
        raise ChipError(f"{folder / INDEX}: no chips here; {remedies.chips(folder)}")


def read_chip(path: Path, digest: str | None = None, reading: Reading | None = None) -> Chip:
    """Read a chip file; raises ChipError where it is missing, or damaged: not as its digest says, or not a GeoTIFF.

    reading: how a file that others made is read; None: as `write_chip` wrote it.
    """
    _hush_missing_place()
    again = f"delete it and {_AGAIN}" if reading is None else f"restore it, or {_ADOPT}"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ChipError(f"{path}: missing; {_AGAIN if reading is None else again}") from None
    if digest is not None and digests.of_small(data) != digest:
        fault = "is empty" if not data else "was changed or damaged: it is not as its digest says"
        raise ChipError(f"{path}: {fault}; {again}")
    try:
        with rasterio.Env(**_PIXELS_ONLY), rasterio.MemoryFile(data) as file, file.open(driver="GTiff") as source:
            if reading is not None:
                return Chip(reading.channels, reading.decode(source))
            stored = source.read()
            channels = tuple(name or "" for name in source.descriptions)
            scales, offsets, nodata = source.scales, source.offsets, source.nodata
    except (rasterio.errors.RasterioError, ValueError, MemoryError) as error:
        fault = f"cannot be read ({(str(error) or 'no memory').splitlines()[0]})"
        raise ChipError(f"{path}: {fault}; {again}") from None
    return Chip(channels, decode(stored, scales, offsets, nodata))


@cache
def _hush_missing_place() -> None:
    """Keep rasterio from warning, chip by chip, that it did not read where a chip lies."""
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")


def decode(
    stored: NDArray[Any], scales: tuple[float, ...], offsets: tuple[float, ...], nodata: float | None
) -> NDArray[np.float32]:
    """Return the values of stored numbers (C, H, W): number * scale + offset by channel, NaN where nodata."""
    values = stored.astype(np.float32)
    if nodata is not None and not np.isnan(nodata):
        values[stored == nodata] = np.nan
    if any(scale != 1.0 for scale in scales):
        values *= np.asarray(scales, dtype=np.float32)[:, None, None]
    if any(offset != 0.0 for offset in offsets):
        values += np.asarray(offsets, dtype=np.float32)[:, None, None]
    return values


def write_chip(
    path: Path, stored: NDArray[Any], channels: tuple[str, ...], storage: Storage, crs: str, transform: Affine
) -> str:
    """Write a chip file, whole but not synced: stored numbers (C, H, W), with all that says what and where they are.

    One tile where the side is a multiple of 16, as GeoTIFF requires of tiles, else one strip; ZSTD level 1. It is made
    in memory, as GDAL does not always tell when a disk is full. Returns its digest (see `digests.of_small`).
    """
    size = stored.shape[1]
    layout = {"tiled": True, "blockxsize": size, "blockysize": size} if size % 16 == 0 else {"blockysize": size}
    profile = {
        "driver": "GTiff",
        "count": len(stored),
        "height": size,
        "width": stored.shape[2],
        "dtype": stored.dtype,
        "crs": crs,
        "transform": transform,
        "nodata": storage.nodata,
        "interleave": "pixel",
        "compress": "zstd",
        "zstd_level": 1,
        "predictor": 3 if stored.dtype.kind == "f" else 2,
        **layout,
    }
    encodings = [storage.encodings[name] for name in channels]
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(stored)
            file.descriptions = channels
            file.scales = tuple(encoding.scale for encoding in encodings)
            file.offsets = tuple(encoding.offset for encoding in encodings)
        data = memory.getbuffer()
        atomic.write_bytes(path, data, synced=False)
        return digests.of_small(data)


def write_index(folder: Path, index: geopandas.GeoDataFrame, made_from: Record) -> None:
    """Write the index of chips as a GeoPackage, whole, with the record of the chips."""
    geopackage.write(folder / INDEX, LAYER, index, made_from)
