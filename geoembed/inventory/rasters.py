"""Inventory of rasters: a single one, or a mosaic of several, with the values of their bands."""

from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from geoembed.errors import ImageryError
from geoembed.imagery import checks, rasters, samples, sources, windows
from geoembed.imagery.checks import ChannelStatistics
from geoembed.imagery.modalities import BUILT_IN, Modality, Source
from geoembed.imagery.rasters import Encoding, Raster
from geoembed.imagery.windows import Readers, Window
from geoembed.inventory import chips, places
from geoembed.inventory.facts import Facts

SAMPLED = 5
"""Rasters of a mosaic whose pixels are looked at."""

UNKNOWN = "NAME"
"""What remedies call the modality of rasters of which no settings tell it."""

BLOCK = 2048
"""Pixels along a block, where all pixels are read."""


def of_location(location: str, known: tuple[Modality, ...], *, verify: bool) -> Facts:
    """Tell of the rasters behind an address, a glob or a folder; raises ImageryError where one cannot be used.

    known: the modalities of the settings; a raster that is a source of one is read as that says.
    """
    addresses = sources.singles([location])
    modality, source = _role(addresses, known)
    opened = [rasters.read(modality, source, address) for address in addresses]
    looked_at = [opened[i] for i in _spread(len(opened))]
    with closing(Readers()) as readers:
        sampled = [samples.values(raster, readers) for raster in looked_at]
        faults = list(_unreadable(opened, readers)) if verify else []
    unusual = [
        f"{raster.address}: {fault}"
        for raster, values in zip(looked_at, sampled, strict=True)
        for fault in checks.faults(modality.unit, _statistics([raster], [values]), modality.name)
    ]
    about: dict[str, Any] = {
        "rasters": len(opened),
        "modality": None if modality.name == UNKNOWN else modality.name,
        "unit": modality.unit or None,
        **places.of_boxes(opened),
        "pixel": sorted({f"{raster.transform.a:g} x {-raster.transform.e:g}" for raster in opened}),
        "pixels": f"{opened[0].height} x {opened[0].width}" if len(opened) == 1 else None,
        "stored": list(dict.fromkeys(map(_stored, opened))),
        "classes": any(map(rasters.is_categorical, opened)) or None,
        "unusual": unusual,
    }
    rows = chips.values({modality.name: _statistics(looked_at, sampled)})
    if modality.name == UNKNOWN:
        rows = [{key: value for key, value in row.items() if key != "modality"} for row in rows]
    read = "all pixels" if verify else f"some pixels of {len(looked_at)} of {len(opened)}"
    kind = "a raster" if len(opened) == 1 else "a mosaic of rasters"
    return Facts(kind, f"{read}{'' if verify else ', --verify reads all'}", about, {"values": rows}, tuple(faults))


def _role(addresses: list[str], known: tuple[Modality, ...]) -> tuple[Modality, Source]:
    """Return the modality that rasters are a source of, and how it reads them; bands without names get numbers."""
    wanted = {str(Path(address).resolve()) for address in addresses}
    for modality in known:
        for source in modality.sources:
            if wanted <= {str(Path(address).resolve()) for address in sources.singles(source.paths)}:
                return modality, source
    with rasters.dataset(addresses[0]) as file:
        described = tuple(name or "" for name in file.descriptions)
    for modality in BUILT_IN:
        if all(described) and set(described) <= set(modality.channels):
            return modality, Source()
    if rasters.fault_of(described):
        described = tuple(f"band {k + 1}" for k in range(len(described)))
    return Modality(UNKNOWN), Source(names=described)


def _stored(raster: Raster) -> str:
    first = raster.encodings[0]
    nodata = "no nodata" if first.nodata is None else f"nodata {first.nodata:g}"
    scaled = "" if (first.scale, first.offset) == (1.0, 0.0) else f", x {first.scale:g} + {first.offset:g}"
    return f"{first.dtype}, {nodata}{scaled}"


def _spread(n: int) -> list[int]:
    return sorted({*np.linspace(0, n - 1, min(SAMPLED, n)).astype(int).tolist()})


def _statistics(opened: list[Raster], sampled: list[dict[str, Any]]) -> list[ChannelStatistics]:
    """Return the statistics of each channel over samples of several rasters, stored as in the first that has it."""
    encoding_of: dict[str, Encoding] = {}
    for raster in opened:
        for channel, encoding in zip(raster.channels, raster.encodings, strict=True):
            encoding_of.setdefault(channel, encoding)
    parts = {name: [values[name] for values in sampled if name in values] for name in encoding_of}
    return [checks.statistics(name, np.concatenate(numbers), encoding_of[name]) for name, numbers in parts.items()]


def _unreadable(opened: list[Raster], readers: Readers) -> Iterator[str]:
    """Yield a line for each raster of which a block cannot be read."""
    for raster in opened:
        try:
            for row, column in product(range(0, raster.height, BLOCK), range(0, raster.width, BLOCK)):
                size = min(BLOCK, raster.height - row), min(BLOCK, raster.width - column)
                windows.read(raster, range(len(raster.bands)), Window(row, column, *size), readers)
        except ImageryError as error:
            yield str(error)
