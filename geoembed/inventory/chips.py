"""Inventory of chips: chip folders, and single chip files."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from geoembed.archives.origin import Origin
from geoembed.chips import folder as chip_folder
from geoembed.chips.folder import ChipSet
from geoembed.errors import GeoembedError
from geoembed.imagery import checks, rasters, samples
from geoembed.imagery.checks import ChannelStatistics
from geoembed.imagery.modalities import BUILT_IN, Modality, Source
from geoembed.imagery.rasters import Encoding
from geoembed.imagery.windows import Readers
from geoembed.inventory import facts, places
from geoembed.inventory.facts import Facts, Rows
from geoembed.outputs import geopackage, journal
from geoembed.project import kinds
from geoembed.project.kinds import Kind

T = TypeVar("T")

SAMPLED = 30
"""Chips of each modality whose pixels are read for statistics, spread over the index."""


def of_folder(path: Path, *, verify: bool) -> Facts:
    """Tell of a chip folder; raises GeoembedError where its index or description cannot be used."""
    folder = path if path.is_dir() else path.parent
    if not kinds.is_finished(folder, Kind.CHIPS):
        _, lines = journal.read(folder / ".journal.jsonl")
        told = {"state": "not finished", "cells_cut": sum(len(line) for line in lines)}
        return Facts(
            "an unfinished chip folder", "its journal", {**told, "next": f"{chip_folder.making(folder)} again"}
        )
    chipset = chip_folder.read(folder)
    statistics = {name: _statistics(chipset, name) for name in chipset.channels}
    unusual = [
        fault for name, channels in statistics.items() for fault in checks.faults(chipset.units[name], channels, name)
    ]
    faults = [*geopackage.faults(folder / chip_folder.INDEX, whole=verify), *_faults(chipset, verify)]
    read = "all chip files" if verify else f"{SAMPLED} chip files of each modality at most, --verify reads all"
    description = chip_folder.read_description(folder)
    about = {
        "chips": len(chipset.index),
        "pixels": f"{chipset.size} x {chipset.size}",
        "units": chipset.units,
        **places.of_table(chipset.index),
        "crs": list(dict.fromkeys(grid.crs for grid in chipset.grids)),
        **({"adopted": dict(chipset.adopted.folders)} if chipset.adopted else {}),
        "areas": {str(name): int(n) for name, n in chipset.index["aoi"].value_counts().items()},
        **_credits(description.fetched),
        **facts.of_record(description.made_from, description.geoembed_version),
        "unusual": unusual,
    }
    tables = {"chips by split": _splits(chipset), "values": values(statistics)}
    if composites := _composites(description.fetched):
        tables["seasonal medians"] = composites
    return Facts(Kind.CHIPS.value, f"the index, that all files are there, and {read}", about, tables, tuple(faults))


def of_file(path: Path, *, verify: bool) -> Facts:
    """Tell of a chip file; raises GeoembedError where it cannot be read."""
    name = path.parents[2].name
    chip = _indexed(path, name)
    modality = next((known for known in BUILT_IN if known.name == name), Modality(name))
    raster = rasters.read(Modality(name, decibel=modality.decibel), Source(), str(path))
    with closing(Readers()) as readers:
        statistics = samples.statistics(raster, readers)
    about = {
        "modality": name,
        "unit": modality.unit or None,
        "pixels": f"{raster.height} x {raster.width}",
        "stored": f"{raster.encodings[0].dtype}, nodata {raster.encodings[0].nodata:g}",
        **places.of_boxes([raster]),
        "valid": float(np.isfinite(chip.values).all(axis=0).mean()),
    }
    return Facts(Kind.CHIP.value, "all pixels", about, {"values": values({name: statistics})})


def _indexed(path: Path, name: str) -> chip_folder.Chip:
    """Read a chip file, and compare it with the index of its folder where that can be read."""
    try:
        chipset = chip_folder.read(path.parents[3])
        row = chipset.index.index[chipset.index["chip_id"] == path.stem][0]
    except (GeoembedError, IndexError):
        return chip_folder.read_chip(path)
    return chipset.read(row, name) if name in chipset.channels else chip_folder.read_chip(path)


def values(statistics: dict[str, list[ChannelStatistics]]) -> Rows:
    """Return rows of the statistics of channels, by modality."""
    rows = []
    for name, channels in statistics.items():
        for channel in channels:
            numbers = channel.to_json()
            shown = {key: numbers[key] for key in ("valid", "minimum", "p1", "median", "p99", "maximum")}
            rows.append({"modality": name, "channel": channel.channel, **shown})
    return rows


def _credits(fetched: dict[str, Origin]) -> dict[str, Any]:
    """Return where modalities were fetched from, and on which terms."""
    if not fetched:
        return {}
    told = {name: f"{origin.archive}: {origin.attribution}; {origin.licence}" for name, origin in fetched.items()}
    dropped = {scene: why for origin in fetched.values() for scene, why in origin.dropped.items()}
    return {"fetched": told, **({"scenes_dropped": dropped} if dropped else {})}


def _composites(fetched: dict[str, Origin]) -> Rows:
    """Return rows of the scenes and the clear share of seasonal medians, by modality, area and season."""
    return [
        {"modality": name, "area": area, "season": season, "scenes": used.scenes, "clear": used.clear}
        for name, origin in fetched.items()
        for area, seasons in origin.areas.items()
        for season, used in seasons.items()
    ]


def _splits(chipset: ChipSet) -> Rows:
    """Return the number of chips of each split, and how many of them have each modality."""
    rows = []
    for split in (*chip_folder.SPLITS, "all"):
        part = chipset.index if split == "all" else chipset.index[chipset.index["split"] == split]
        present = {name: int(part[name].notna().sum()) for name in chipset.channels}
        rows.append({"split": split, "chips": len(part), **present})
    return rows


def _paths(chipset: ChipSet, name: str) -> list[Path]:
    """Return the paths of a modality's chip files, in the order of the index."""
    present = chipset.index.loc[chipset.index[name].notna(), "chip_id"]
    return [chipset.path_of(chip_id, name) for chip_id in present]


def _sampled(items: list[T]) -> list[T]:
    """Return SAMPLED items at most, spread evenly."""
    return [items[i] for i in sorted({*np.linspace(0, len(items) - 1, min(SAMPLED, len(items))).astype(int).tolist()})]


def _statistics(chipset: ChipSet, name: str) -> list[ChannelStatistics]:
    """Return the statistics of a modality's channels over a sample of its chips, without broken files."""
    if chipset.adopted is not None:
        return _statistics_of_values(chipset, name)
    modality = Modality(name, decibel=next((known.decibel for known in BUILT_IN if known.name == name), False))
    parts: dict[str, list[Any]] = {channel: [] for channel in chipset.channels[name]}
    encodings: dict[str, Encoding] = {}
    with closing(Readers()) as readers:
        for path in _sampled(_paths(chipset, name)):
            try:
                raster = rasters.read(modality, Source(), str(path))
                sampled = samples.values(raster, readers, windows=1)
            except GeoembedError:
                continue
            encodings.update(zip(raster.channels, raster.encodings, strict=True))
            for channel, numbers in sampled.items():
                parts.setdefault(channel, []).append(numbers)
    return [
        checks.statistics(channel, np.concatenate(numbers), encodings[channel])
        for channel, numbers in parts.items()
        if numbers
    ]


def _statistics_of_values(chipset: ChipSet, name: str) -> list[ChannelStatistics]:
    """Return the statistics of a modality whose files others made, which do not tell how they are read."""
    parts: dict[str, list[Any]] = {}
    for row in _sampled(np.flatnonzero(chipset.index[name].notna()).tolist()):
        try:
            chip = chipset.read(row, name)
        except GeoembedError:
            continue
        for channel, values in zip(chip.channels, chip.values, strict=True):
            parts.setdefault(channel, []).append(values.ravel())
    encoding = Encoding("float32")
    return [checks.statistics(channel, np.concatenate(values), encoding) for channel, values in parts.items()]


def _faults(chipset: ChipSet, verify: bool) -> Iterator[str]:
    """Yield what is wrong with the chip files; a number stands for many that are missing."""
    for name in chipset.channels:
        rows = np.flatnonzero(chipset.index[name].notna())
        path_of = dict(zip(rows.tolist(), _paths(chipset, name), strict=True))
        missing = [row for row, path in path_of.items() if not path.exists()]
        if missing:
            lost = (
                f"{len(missing):,} of {len(rows):,} chip files of {name} are missing, {path_of[missing[0]]} the first"
            )
            again = "run the geoembed chip that made them again"
            if chipset.adopted is not None:
                again = f"restore them, or run {chip_folder.making(chipset.folder)} with --update"
            yield f"{chipset.folder}: {lost}; {again}"
        present = sorted(path_of.keys() - set(missing))
        for row in present if verify else _sampled(present):
            try:
                chip = chipset.read(row, name)
            except GeoembedError as error:
                yield str(error)
                continue
            if set(chip.channels) - set(chipset.channels[name]):
                fault = "holds other channels than the index says"
                yield f"{path_of[row]}: {fault}; delete it and run the geoembed chip that made it again"
