"""The index of chips: a row per chip, with its area of interest, its split and its modalities."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import geopandas
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geoembed.chips import folder as chip_folder
from geoembed.chips import splits
from geoembed.chips.cells import AreaCells
from geoembed.chips.cutting import Contents
from geoembed.errors import ChipError
from geoembed.names import DIGEST
from geoembed.outputs import geopackage
from geoembed.outputs.records import Record


def build(
    area_cells: Sequence[AreaCells],
    contents: Mapping[str, Contents],
    modalities: Sequence[str],
    seed: int,
    given: Mapping[str, str] = MappingProxyType({}),
) -> tuple[geopandas.GeoDataFrame, float]:
    """Return the index of the chips that hold any modality, and the share of neighbours in different splits.

    contents: what each chip holds, by chip id.
    seed: of the splits.
    given: the splits of chips that have some already, by chip id; to others they are dealt out.
    """
    chips = [cells[[i for i, chip_id in enumerate(cells.chip_ids) if contents[chip_id]]] for cells in area_cells]
    chip_ids = [chip_id for cells in chips for chip_id in cells.chip_ids]
    aois = [cells.areas[area].name for cells in chips for area in cells.area_of.tolist()]
    columns: dict[str, list[Any]] = {"chip_id": chip_ids, "aoi": aois, "split": [""] * len(chip_ids)}
    for name in modalities:
        of_chips = [contents[chip_id].get(name) for chip_id in chip_ids]
        columns[name] = [np.nan if held is None else held.fraction for held in of_chips]
        columns[name + DIGEST] = [None if held is None else held.digest for held in of_chips]
    table = pd.DataFrame(columns)
    dealt = _splits(chips, table, seed)
    table["split"] = [given.get(chip_id, split) for chip_id, split in zip(chip_ids, dealt, strict=True)]
    number = {grid: i for i, grid in enumerate(dict.fromkeys(grid for cells in area_cells for grid in cells.grids))}
    positions = [
        np.stack([np.array([number[grid] for grid in cells.grids])[cells.grid_of], cells.columns, cells.rows], 1)
        for cells in chips
    ]
    apart = splits.neighbours_apart(np.concatenate(positions), table["split"].to_numpy())
    outlines = np.concatenate([cells.outlines for cells in chips])
    index = geopandas.GeoDataFrame(table, geometry=outlines, crs="EPSG:4326")
    by_area = np.argsort(np.concatenate([cells.area_of for cells in chips]), kind="stable")
    return index.iloc[by_area].reset_index(drop=True), apart


def _splits(chips: Sequence[AreaCells], table: pd.DataFrame, seed: int) -> NDArray[np.object_]:
    """Return the split of each row, dealt out area by area."""
    lonlat = np.concatenate([cells.lonlat() for cells in chips])
    sides = np.concatenate([np.array([grid.side_metres for grid in cells.grids])[cells.grid_of] for cells in chips])
    split_of = np.empty(len(table), dtype=object)
    for area, members in table.groupby("aoi", sort=False).indices.items():
        generator = np.random.default_rng([seed, zlib.crc32(str(area).encode())])
        split_of[members] = splits.assign(lonlat[members], sides[members].max(), generator)
    return split_of


def is_of(path: Path, index: geopandas.GeoDataFrame, made_from: Record) -> bool:
    """Tell whether an index file is there, can be read, was made from this, and holds these chips."""
    keys = [name for name in index if name != "geometry"]
    try:
        written = geopackage.read(path, chip_folder.LAYER, ChipError)
        return geopackage.is_made_from(path, chip_folder.LAYER, made_from) and bool(
            written[keys].astype(str).to_numpy().tolist() == index[keys].astype(str).to_numpy().tolist()
        )
    except (ChipError, KeyError):
        return False


def channels(name: str, known: Sequence[str], contents: Mapping[str, Contents]) -> list[str]:
    """Return the channels of a modality, of those that are known, that at least one chip has, in order."""
    combinations = {held[name].channels for held in contents.values() if name in held}
    return [channel for channel in known if any(channel in channels for channels in combinations)]
