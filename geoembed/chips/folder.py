"""Chip folders: small aligned rasters, one file per chip and modality, and the index that tells what is there."""

from __future__ import annotations

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
from geoembed.outputs import atomic, digests
from geoembed.outputs.records import Record

INDEX, DESCRIPTION, LAYER = "index.gpkg", "chips.json", "chips"
SPLITS = ("train", "validation", "test")

_PIXELS_ONLY = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_GEOREF_SOURCES": "NONE"}
"""GDAL options that open a chip in half the time, as nobody asks a chip's pixels where they lie."""


@dataclass(frozen=True)
class Chip:
    """The pixels of one chip in one modality: values (C, H, W) float32 in the modality's unit, NaN where invalid."""

    channels: tuple[str, ...]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class ChipSet:
    """A finished chip folder.

    index: one row per chip: chip_id, aoi, split, one column per modality with its valid fraction (NaN: absent),
        geometry in EPSG:4326.
    channels: per modality the channel names found in its chips; a chip file may hold only some of them.
    units: per modality the unit of a value.
    grids: the grids that the chips lie on.
    size: pixels along a chip's side.
    digest: SHA-256 of all that the chips were made from and of the index's rows.
    """

    folder: Path
    index: geopandas.GeoDataFrame
    channels: dict[str, tuple[str, ...]]
    units: dict[str, str]
    grids: tuple[grid.Grid, ...]
    size: int
    digest: str

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the names of the modalities, in order."""
        return tuple(self.channels)

    @cached_property
    def cells(self) -> grid.Cells:
        """Return where the chips lie, in the order of the index."""
        return grid.cells(self.grids, self.index["chip_id"].to_numpy())

    def path_of(self, chip_id: str, modality: str) -> Path:
        """Return where a chip's file lies."""
        return path_of(self.folder, chip_id, modality)


def path_of(folder: Path, chip_id: str, modality: str) -> Path:
    """Return where a chip's file lies in a chip folder: <modality>/<zone>/<column>/<chip_id>.tif."""
    match = grid.CHIP_ID.match(chip_id)
    if match is None:
        raise ChipError(f"{folder / INDEX}: {chip_id!r} is no chip id; make the chips again with --overwrite")
    return folder / modality / match["zone"] / match["column"] / f"{chip_id}.tif"


def read(folder: Path) -> ChipSet:
    """Read a chip folder's index and description.

    Accepts the folder or its index.gpkg. Raises ChipError where there are no finished chips.
    """
    folder = folder.parent if folder.name == INDEX else folder
    index_path, description_path = folder / INDEX, folder / DESCRIPTION
    if not index_path.exists():
        half = "its chips are not finished" if description_path.exists() else "no chips here"
        raise ChipError(f"{index_path}: {half}; run geoembed chip -o {folder}")
    try:
        description = json.loads(description_path.read_text(encoding="utf-8"))
        index = geopandas.read_file(index_path, layer=LAYER)
    except (OSError, ValueError, pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise ChipError(f"{folder}: index or description cannot be read ({error}); make the chips again") from None
    record = Record.from_json(description.get("made_from"))
    if record is None:
        raise ChipError(
            f"{description_path}: made by another version of geoembed; move the folder away and make the chips again"
        )
    modalities = description["modalities"]
    wanted = {"chip_id", "aoi", "split", *modalities}
    if not wanted <= set(index.columns):
        missing = ", ".join(sorted(wanted - set(index.columns)))
        raise ChipError(f"{index_path}: lacks the columns {missing}; make the chips again with --overwrite")
    return ChipSet(
        folder=folder,
        index=index,
        channels={name: tuple(value["channels"]) for name, value in modalities.items()},
        units={name: value["unit"] for name, value in modalities.items()},
        grids=tuple(grid.Grid(**value) for value in description["grids"]),
        size=int(description["size"]),
        digest=digests.of_value([record.digest, digests.of_table(index)]),
    )


def read_chip(path: Path) -> Chip:
    """Read one chip file as values in the modality's unit.

    Raises ChipError when the file is missing or cannot be decoded.
    """
    _expect_no_place()
    try:
        with rasterio.Env(**_PIXELS_ONLY), rasterio.open(path, driver="GTiff") as source:
            stored = source.read()
            channels = tuple(name or "" for name in source.descriptions)
            scales, offsets, nodata = source.scales, source.offsets, source.nodata
    except rasterio.errors.RasterioError as error:
        fault = "missing" if not path.exists() else f"cannot be read ({str(error).splitlines()[0]})"
        raise ChipError(f"{path}: {fault}; delete it and run geoembed chip again") from None
    return Chip(channels, decode(stored, scales, offsets, nodata))


@cache
def _expect_no_place() -> None:
    """Keep rasterio from warning at every chip that no place was read: none was asked for."""
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")


def decode(
    stored: NDArray[Any], scales: tuple[float, ...], offsets: tuple[float, ...], nodata: float | None
) -> NDArray[np.float32]:
    """Turn stored numbers (C, H, W) into values: stored * scale + offset per channel, NaN where nodata."""
    values = stored.astype(np.float32)
    if any(scale != 1.0 for scale in scales):
        values *= np.asarray(scales, dtype=np.float32)[:, None, None]
    if any(offset != 0.0 for offset in offsets):
        values += np.asarray(offsets, dtype=np.float32)[:, None, None]
    if nodata is not None and not np.isnan(nodata):
        values[stored == nodata] = np.nan
    return values


def write_chip(
    path: Path, stored: NDArray[Any], channels: tuple[str, ...], storage: Storage, crs: str, transform: Affine
) -> None:
    """Write one chip file, whole: stored numbers (C, H, W), with channel names, scale, offset, nodata and place.

    One tile where the side is a multiple of 16 as GeoTIFF wants it, else one strip; ZSTD level 1 with predictor.
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
    with atomic.replacing(path) as part:
        index.to_file(part, layer=LAYER, driver="GPKG", engine="pyogrio")
