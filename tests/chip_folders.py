"""A made-up chip folder, written the way geoembed/chips.py reads it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from affine import Affine

from geoembed.chips import folder as chip_folder
from geoembed.chips.folder import Contained, Description
from geoembed.ground import grid
from geoembed.names import DIGEST
from geoembed.outputs import digests
from geoembed.outputs.records import Record
from geoembed.version import __version__

CHANNELS = {
    "s2": tuple(f"{season}_{colour}" for season in ("djf", "jja") for colour in ("red", "green", "blue")),
    "s1": tuple(f"{season}_{band}" for season in ("djf", "jja") for band in ("vv", "vh")),
}
UNITS = {"s2": "reflectance", "s1": "dB", "coh": "coherence"}
ENCODINGS: dict[str, dict[str, Any]] = {
    "s2": {"dtype": "uint16", "nodata": 0, "scale": 1e-4, "offset": 0.0},
    "s1": {"dtype": "uint16", "nodata": 0, "scale": 0.01, "offset": -60.0},
    "coh": {"dtype": "uint8", "nodata": 0, "scale": 0.01, "offset": 0.0},
}
CENTRES = {"s2": (0.2, 0.05), "s1": (-12.0, 3.0), "coh": (0.5, 0.15)}


def make_chips(
    folder: Path,
    n: int = 40,
    size: int = 16,
    *,
    channels: dict[str, tuple[str, ...]] | None = None,
    absent: float = 0.0,
    clouds: float = 0.0,
    splits: tuple[str, ...] = ("train", "train", "train", "validation", "test"),
    seed: int = 0,
) -> chip_folder.ChipSet:
    """Write n chips whose hidden class, 0 to 3, shows in every modality, and read the folder back.

    `absent` is the chance of a modality to be absent from a chip, `clouds` the share of pixels without data. The
    AOI column tells the class, for tests that want labels: class-0 to class-3.
    """
    channels = CHANNELS if channels is None else channels
    rng = np.random.default_rng(seed)
    lattice = grid.utm(32, south=False, size=size, resolution=10)
    columns, rows = 1500 + np.arange(n) % 20, 17000 + np.arange(n) // 20
    ids = np.array([lattice.chip_id(int(c), int(r)) for c, r in zip(columns, rows, strict=True)])
    kinds = rng.integers(0, 4, n)
    here = rng.random((n, len(channels))) >= absent
    here[~here.any(1), 0] = True
    for m, (name, bands) in enumerate(channels.items()):
        for i in np.flatnonzero(here[:, m]):
            x, y = lattice.upper_left(int(columns[i]), int(rows[i]))
            transform = Affine(lattice.dx, 0.0, x, 0.0, -lattice.dy, y)
            values = _values(rng, name, int(kinds[i]), len(bands), size)
            write_chip(
                chip_folder.path_of(folder, ids[i], name), values, name, bands, lattice.crs, transform, clouds, rng
            )
    outlines = grid.cells((lattice,), ids).outlines
    split = [splits[i % len(splits)] for i in range(n)]
    table: dict[str, Any] = {"chip_id": ids, "aoi": [f"class-{kind}" for kind in kinds], "split": split}
    for m, name in enumerate(channels):
        table[name] = np.where(here[:, m], 1.0 - clouds, np.nan)
    description = Description(
        __version__,
        size,
        (lattice,),
        {name: Contained(bands, UNITS[name]) for name, bands in channels.items()},
        Record("chip", {"n": n}, {"seed": seed}),
    )
    chip_folder.write_description(folder, description)
    write_index(folder, geopandas.GeoDataFrame(table, geometry=outlines, crs="EPSG:4326"), channels)
    return chip_folder.read(folder)


def write_index(folder: Path, index: geopandas.GeoDataFrame, modalities: Iterable[str]) -> None:
    """Write the index of chip files as they are now, as `chip` would."""
    for name in modalities:
        here = zip(index["chip_id"], index[name].notna(), strict=True)
        paths = [chip_folder.path_of(folder, chip_id, name) if there else None for chip_id, there in here]
        index[name + DIGEST] = [None if path is None else digests.of_small(path.read_bytes()) for path in paths]
    chip_folder.write_index(folder, index, chip_folder.read_description(folder).made_from)


def renew_index(folder: Path) -> chip_folder.ChipSet:
    """Take the chip files as they are now for those that `chip` wrote, and read the folder."""
    chipset = chip_folder.read(folder)
    write_index(folder, chipset.index, chipset.channels)
    return chip_folder.read(folder)


def _values(rng: np.random.Generator, name: str, kind: int, bands: int, size: int) -> np.ndarray:
    """Return pixels whose level and stripes tell the class, beside noise."""
    mean, spread = CENTRES[name]
    stripes = np.sin(np.arange(size) * (0.4 + 0.5 * (kind % 2)))
    level = (kind // 2 - 0.5) * np.linspace(1, -1, bands)[:, None, None]
    noise = rng.normal(size=(bands, size, size))
    return np.asarray(mean + spread * (level + stripes[:, None] + 0.5 * noise))


def write_chip(
    path: Path,
    values: np.ndarray,
    modality: str,
    bands: tuple[str, ...],
    crs: str,
    transform: Any,
    clouds: float = 0.0,
    rng: np.random.Generator | None = None,
) -> None:
    """Write one chip file from values in the modality's unit; `clouds` is the share of pixels made nodata."""
    encoding = ENCODINGS[modality]
    high = np.iinfo(encoding["dtype"]).max
    stored = np.clip(np.round((values - encoding["offset"]) / encoding["scale"]), 1, high)
    if clouds and rng is not None:
        stored[:, rng.random(values.shape[1:]) < clouds] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=encoding["dtype"],
        nodata=encoding["nodata"],
        crs=crs,
        transform=transform,
        compress="zstd",
    ) as target:
        target.write(stored.astype(encoding["dtype"]))
        target.descriptions = bands
        target.scales = (encoding["scale"],) * count
        target.offsets = (encoding["offset"],) * count
