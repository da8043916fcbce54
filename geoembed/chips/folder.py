"""Chip folders: the index of chips, their description, and one small raster per chip and modality."""

import json
import warnings
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import rasterio
from affine import Affine
from numpy.typing import NDArray

from geoembed.errors import ChipError
from geoembed.ground import grid
from geoembed.imagery.storage import Storage
from geoembed.names import CHIP_ID
from geoembed.outputs import atomic, digests, geopackage
from geoembed.outputs.records import Record
from geoembed.project import remedies
from geoembed.project.kinds import Kind

INDEX, DESCRIPTION, LAYER = "index.gpkg", "chips.json", "chips"
SPLITS = ("train", "validation", "test")

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
class ChipSet:
    """A finished chip folder.

    folder: its path.
    index: a row per chip: chip_id, aoi, split, the valid fraction of each modality (NaN: absent), geometry (EPSG:4326).
    channels: by modality, the channels that its chips have; a chip file may hold only some of them.
    units: by modality, the unit of a value.
    grids: the grids that the chips lie on.
    size: pixels along a chip's side.
    digest: SHA-256 of the record of what the chips were made from, and of the index.
    """

    folder: Path
    index: geopandas.GeoDataFrame
    channels: dict[str, tuple[str, ...]]
    units: dict[str, str]
    grids: tuple[grid.Grid, ...]
    size: int
    digest: str

    @cached_property
    def cells(self) -> grid.Cells:
        """Return the chips' cells, in the order of the index."""
        return grid.cells(self.grids, self.index["chip_id"].to_numpy())

    def path_of(self, chip_id: str, modality: str) -> Path:
        """Return the path of a chip file."""
        return path_of(self.folder, chip_id, modality)


def path_of(folder: Path, chip_id: str, modality: str) -> Path:
    """Return the path of a chip file in a chip folder: <modality>/<zone>/<column>/<chip_id>.tif."""
    match = CHIP_ID.match(chip_id)
    if match is None:
        raise ChipError(f"{folder / INDEX}: {chip_id!r} is no chip id; make the chips again with --overwrite")
    return folder / modality / match["zone"] / match["column"] / f"{chip_id}.tif"


def read(folder: Path) -> ChipSet:
    """Read a chip folder's index and description; raises ChipError where there are no finished chips.

    folder: the folder, or its index.gpkg.
    """
    folder = folder.parent if folder.name == INDEX else folder
    index_path, description_path = folder / INDEX, folder / DESCRIPTION
    _require_chips(folder)
    try:
        description = json.loads(description_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "move the folder away and make the chips again"
        raise ChipError(f"{description_path}: cannot be read ({error}); {remedy}") from None
    try:
        index = geopandas.read_file(index_path, layer=LAYER)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise ChipError(f"{index_path}: cannot be read ({error}); run {remedies.cutting(folder)} again") from None
    record = Record.from_json(description.get("made_from"))
    if record is None:
        raise ChipError(
            f"{description_path}: made by another version of geoembed; move the folder away and make the chips again"
        )
    modalities = description["modalities"]
    missing = {"chip_id", "aoi", "split", *modalities} - set(index.columns)
    if missing:
        names = ", ".join(sorted(missing))
        raise ChipError(f"{index_path}: lacks the columns {names}; run {remedies.cutting(folder)} again")
    return ChipSet(
        folder=folder,
        index=index,
        channels={name: tuple(value["channels"]) for name, value in modalities.items()},
        units={name: value["unit"] for name, value in modalities.items()},
        grids=tuple(grid.Grid(**value) for value in description["grids"]),
        size=int(description["size"]),
        digest=digests.of_value([record.digest, digests.of_table(index)]),
    )


def _require_chips(folder: Path) -> None:
    """Raise ChipError for what is no folder of finished chips."""
    stranger = remedies.of_another_kind(folder, Kind.CHIPS)
    if stranger:
        raise ChipError(f"{folder}: {stranger}; {remedies.chips(folder)}")
    if not (folder / INDEX).exists():
        if (folder / DESCRIPTION).exists():
            raise ChipError(
                f"{folder}: its chips are not finished; run {remedies.cutting(folder)} again, which goes on"
            )
        raise ChipError(f"{folder / INDEX}: no chips here; {remedies.chips(folder)}")


def read_chip(path: Path) -> Chip:
    """Read a chip file; raises ChipError where it is missing or cannot be decoded."""
    _hush_missing_place()
    try:
        with rasterio.Env(**_PIXELS_ONLY), rasterio.open(path, driver="GTiff") as source:
            stored = source.read()
            channels = tuple(name or "" for name in source.descriptions)
            scales, offsets, nodata = source.scales, source.offsets, source.nodata
    except rasterio.errors.RasterioError as error:
        if not path.exists():
            raise ChipError(f"{path}: missing; run the geoembed chip that made it again") from None
        fault = f"cannot be read ({str(error).splitlines()[0]})"
        raise ChipError(f"{path}: {fault}; delete it and run the geoembed chip that made it again") from None
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
) -> None:
    """Write a chip file, whole: stored numbers (C, H, W), with channel names, scales, offsets, nodata and place.

    One tile where the side is a multiple of 16, as GeoTIFF requires of tiles, else one strip; ZSTD level 1.
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
    with atomic.replacing(path) as part, rasterio.open(part, "w", **profile) as file:
        file.write(stored)
        file.descriptions = channels
        file.scales = tuple(encoding.scale for encoding in encodings)
        file.offsets = tuple(encoding.offset for encoding in encodings)


def write_index(path: Path, index: geopandas.GeoDataFrame) -> None:
    """Write the index of chips as a GeoPackage, whole."""
    geopackage.write(path, LAYER, index)
