"""Folders of tiles as geetiles writes them and M3LEO has them; see `geoembed.chips.adoption` for what was read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine

from geoembed.chips.adoption import KNOWN

SIZE = 16
NAME = "lux_partitions_aschips_14c55eb7d417f"
BANDS = {known.pattern.removesuffix("-*"): known.bands for known in KNOWN}
WORDS = ("train", "train", "train", "val", "test")


def box_of(number: int, columns: int = 8) -> tuple[float, float, float, float]:
    """West, south, east, north of a tile: sides of constant longitude and latitude, of no two tiles alike."""
    west, south = 6.0 + 0.003 * (number % columns), 49.5 + 0.002 * (number // columns)
    return west, south, west + 0.0022 + 1e-6 * number, south + 0.00144 + 1e-7 * number


def identifier_of(number: int) -> str:
    """A tile's identifier, which is a hash: 13 hexadecimal digits."""
    return f"{(number + 1) * 7_919_000_777_123:013x}"[-13:]


def write_tif(path: Path, stored: np.ndarray, box: Any, bands: Any = None, crs: Any = "EPSG:4326", **more: Any) -> Path:
    """Write a file as geetiles does: plain GeoTIFF in EPSG:4326 with band descriptions, without scale or nodata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (count, height, width), (west, south, east, north) = stored.shape, box
    transform = Affine((east - west) / width, 0.0, west, 0.0, -(north - south) / height, north)
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=stored.dtype, crs=crs,
        transform=transform, **more,
    ) as file:  # fmt: skip
        file.write(stored)
        if bands:
            file.descriptions = bands
    return path


def stored_of(dataset: str, number: int, size: int = SIZE) -> np.ndarray:
    """Stored numbers of a tile: brightness of s2, whole decibels below 0 as uint16 of s1, by which half it is in."""
    rng, bands = np.random.default_rng(number), BANDS[dataset.partition("-")[0]]
    bright = number % 8 < 4
    if dataset.startswith("s2"):
        return rng.integers(60 if bright else 160, 90 if bright else 190, (len(bands), size, size)).astype(np.uint8)
    return (
        rng.integers(-20 if bright else -11, -16 if bright else -6, (len(bands), size, size))
        .astype(np.int16)
        .view("u2")
    )


def make_tiles(
    parent: Path,
    n: int = 40,
    datasets: tuple[str, ...] = ("s2rgb-2020", "s1grd-2020"),
    *,
    name: str = NAME,
    splits: bool = True,
    start: int = 0,
) -> Path:
    """Write n tiles, their table and their splits; return the folder of the data sets."""
    root = parent / name
    root.mkdir(parents=True)
    numbers = range(start, start + n)
    table = {"area_km2": [0.025] * n, "identifier": [identifier_of(number) for number in numbers]}
    shapes = [shapely.box(*box_of(number)) for number in numbers]
    geopandas.GeoDataFrame(table, geometry=shapes, crs="EPSG:4326").to_file(parent / f"{name}.geojson")
    if splits:
        write_splits(parent / f"{name}_splits_60bands_angle09_60-20-20.csv", numbers)
    for dataset in datasets:
        for number in numbers:
            path = root / dataset / f"{identifier_of(number)}.tif"
            write_tif(path, stored_of(dataset, number), box_of(number), BANDS[dataset.partition("-")[0]])
        (parent / f"{name}/{dataset}.dataset_def.py").write_text("class DatasetDefinition:\n    pass\n")
    return root


def write_splits(path: Path, numbers: Any, **columns: Any) -> None:
    """Write the CSV of splits; `columns` give each tile's text by number."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["identifier", "split", *columns])
        for number in numbers:
            others = [of(number) for of in columns.values()]
            rows.writerow([identifier_of(number), WORDS[number // 2 % 5], *others])


def content(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Bytes and modification times of all files of a folder."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()}
