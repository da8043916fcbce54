"""Inspection of a modality's imagery before anything is made of it: ranges of values, and what is wrong with them."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoembed.errors import ImageryError
from geoembed.imagery import checks, samples
from geoembed.imagery.checks import Fault
from geoembed.imagery.modalities import Modality
from geoembed.imagery.rasters import Encoding, Raster
from geoembed.imagery.windows import Readers

log = logging.getLogger(__name__)

WINDOWS, FAR_WINDOWS = 64, 8
"""Windows looked at of a modality's rasters, and of those that are no local files, where each takes long."""


@dataclass(frozen=True)
class Inspection:
    """What a modality's imagery holds.

    ranges: statistics by channel, JSON-ready; of SAR, in dB.
    warnings: what is unusual, in a line each.
    refusals: what is impossible in the modality's unit, in a line each.
    """

    ranges: dict[str, dict[str, Any]]
    warnings: list[str]
    refusals: list[str]


def inspect(imagery: Iterable[tuple[Modality, Sequence[Raster]]], folder: Path) -> dict[str, Any]:
    """Return `ranges` of values by modality and channel, and the `faults` that are warned of, JSON-ready.

    imagery: modalities and their rasters; samples of these are looked at.
    folder: that of the settings file, to which paths in remedies are relative.

    Raises ImageryError where values are impossible in their unit, or pixels cannot be read.
    """
    inspected = {modality.name: of_modality(modality, rasters, folder) for modality, rasters in imagery if rasters}
    warnings = [text for found in inspected.values() for text in found.warnings]
    refusals = [text for found in inspected.values() for text in found.refusals]
    for text in [*warnings, *refusals[1:]]:
        log.warning("%s", text)
    if refusals:
        raise ImageryError(refusals[0])
    return {"ranges": {name: found.ranges for name, found in inspected.items()}, "faults": warnings}


def of_modality(modality: Modality, rasters: Sequence[Raster], folder: Path) -> Inspection:
    """Look at samples of a modality's rasters, scene by scene; see `inspect`."""
    scenes = _scenes(rasters)
    limit = WINDOWS if all(raster.files for raster in rasters) else FAR_WINDOWS
    chosen = [scenes[i] for i in np.unique(np.linspace(0, len(scenes) - 1, min(limit, len(scenes)), dtype=int))]
    windows = max(1, min(limit // max(len(chosen), 1), samples.WINDOWS))
    readers = Readers()
    sampled: dict[str, list[NDArray[np.float64]]] = {}
    found: dict[tuple[Any, ...], list[tuple[Fault, list[Raster]]]] = {}
    try:
        for scene in chosen:
            statistics = []
            for raster in scene:
                encoding_of = dict(zip(raster.channels, raster.encodings, strict=True))
                for channel, values in samples.values(raster, readers, windows).items():
                    statistics.append(checks.statistics(channel, values, encoding_of[channel]))
                    sampled.setdefault(channel, []).append(_in_decibel(values, encoding_of[channel]))
            for fault in checks.examine(modality.unit, statistics):
                key = fault.channels, fault.setting, fault.advice
                found.setdefault(key, []).append((fault, scene))
    finally:
        readers.close()
    told = [
        (
            _line(modality, fault, [scene for _, scene in [(fault, first), *others]], len(chosen), folder),
            fault.impossible,
        )
        for (fault, first), *others in found.values()
    ]
    return Inspection(
        ranges={
            channel: checks.statistics(channel, np.concatenate(parts), Encoding("float64", nodata=np.nan)).to_json()
            for channel, parts in sampled.items()
        },
        warnings=[text for text, impossible in told if not impossible],
        refusals=[text for text, impossible in told if impossible],
    )


def _scenes(rasters: Sequence[Raster]) -> list[list[Raster]]:
    """Return the rasters by place, in order; files of one place may each hold some of its bands. A file counts once."""
    scenes: dict[tuple[Any, ...], list[Raster]] = {}
    for raster in {raster.address: raster for raster in reversed(rasters)}.values():
        scenes.setdefault((raster.crs, *np.round(raster.bounds, 6)), []).insert(0, raster)
    return list(scenes.values())[::-1]


def _in_decibel(values: NDArray[np.float64], encoding: Encoding) -> NDArray[np.float64]:
    """Return values of SAR stored as power or amplitude in dB, others as they are; NaN where they are not above 0."""
    factor = {"linear": 10.0, "amplitude": 20.0}.get(encoding.stored)
    return values if factor is None else factor * np.log10(np.where(values > 0.0, values, np.nan))


def _line(modality: Modality, fault: Fault, scenes: Sequence[Sequence[Raster]], looked_at: int, folder: Path) -> str:
    """Return a fault of some scenes in one line, with a remedy for these alone where others do not have it."""
    addresses = [_relative(raster.address, folder) for scene in scenes for raster in scene]
    if fault.setting and len(scenes) < looked_at:
        seen = replace(fault, setting="", advice="").text(modality.name)
        remedy = _for_some(modality, fault.setting, addresses, folder)
        line = f"{', '.join(addresses)}: {seen}{' '.join(filter(None, [remedy, fault.advice]))}"
    else:
        more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
        line = f"{addresses[0]}{more}: {fault.text(modality.name)}"
    meant = '; or, if the values are right, write unit = "counts" there' if fault.impossible else ""
    return line + meant


def _for_some(modality: Modality, setting: str, addresses: Sequence[str], folder: Path) -> str:
    """Return how to write settings for some files of a modality."""
    if len(modality.sources) > 1:
        return f"write {setting} in the [[modalities.{modality.name}.sources]] table of these files alone"
    rest = [_relative(path, folder) for path in modality.sources[0].paths]
    tables = f"{{ source = {json.dumps(addresses)}, {setting} }}, {{ source = {json.dumps(rest)} }}"
    return f"write sources = [{tables}] under [modalities.{modality.name}] in geoembed.toml, in place of source"


def _relative(address: str, folder: Path) -> str:
    """Return an address as the settings file in a folder would write it."""
    path = Path(address)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) and folder != Path() else address
