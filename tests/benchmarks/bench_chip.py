"""How fast `chip` is against a plain loop of rasterio windows: same chips, same codec, or with deflate.

Run: python tests/benchmarks/bench_chip.py. Prints ratios (above 1: geoembed is faster), paired run by run.
"""

from __future__ import annotations

import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import from_bounds

from geoembed.chips import folder as chip_folder
from geoembed.imagery import modalities
from geoembed.steps import chip

ROUNDS = 3
CODECS: dict[str, dict[str, Any]] = {
    "zstd": {"compress": "zstd", "zstd_level": 1, "predictor": 2},
    "deflate": {"compress": "deflate", "predictor": 2},
}
NAMES = modalities.BUILT_IN[0].channels


def scene(path: Path, side: int, crs: str, x: float, y: float) -> None:
    """Write a scene of 12 bands with texture at all scales, tiled and compressed as mosaics are."""
    generator = np.random.default_rng(0)
    rough = generator.normal(size=(12, side // 16 + 1, side // 16 + 1)).cumsum(1).cumsum(2)
    image = np.stack([np.kron(band, np.ones((16, 16)))[:side, :side] for band in rough])
    image = np.clip(1500 + 30 * image / image.std() + generator.normal(0, 60, image.shape), 1, 9999)
    with rasterio.open(
        path, "w", driver="GTiff", count=12, height=side, width=side, dtype="uint16", crs=crs, nodata=0, tiled=True,
        blockxsize=512, blockysize=512, transform=Affine(10.0, 0.0, x, 0.0, -10.0, y), **CODECS["zstd"],
    ) as file:  # fmt: skip
        file.write(image.astype("uint16"))
        file.descriptions, file.scales = NAMES, (1e-4,) * len(NAMES)


def plain_loop(source: Path, places: list[tuple[str, Any, Any]], size: int, output: Path, codec: str) -> None:
    """Read a window per chip, through a WarpedVRT where the CRS differ, and write it."""
    output.mkdir()
    with rasterio.open(source) as scene_file:
        for chip_id, crs, transform in places:
            bounds = rasterio.transform.array_bounds(size, size, transform)
            if crs == scene_file.crs:
                data = scene_file.read(window=from_bounds(*bounds, transform=scene_file.transform))
            else:
                place = {"crs": crs, "transform": transform, "width": size, "height": size}
                with WarpedVRT(scene_file, resampling=Resampling.bilinear, **place) as view:
                    data = view.read()
            profile = {"driver": "GTiff", "count": len(data), "height": size, "width": size, "dtype": data.dtype,
                       "crs": crs, "transform": transform, "nodata": 0, "tiled": True, "interleave": "pixel",
                       "blockxsize": size, "blockysize": size, **CODECS[codec]}  # fmt: skip
            path = output / f"{chip_id}.tif"
            with rasterio.open(path, "w", **profile) as file:
                file.write(data)
                file.descriptions = scene_file.descriptions


def timed(work: Callable[[], object], output: Path) -> float:
    """Time some work that begins with an empty output folder and no file of earlier work left to be written."""
    shutil.rmtree(output, ignore_errors=True)
    os.sync()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(folder: Path, size: int, side: int, crs: str) -> None:
    x, y = (499_520.0, 4_999_680.0) if crs == "EPSG:32632" else (24_000.0, 5_014_000.0)
    source = folder / "scene.tif"
    scene(source, side, crs, x, y)
    margin = 600.0
    area = shapely.box(x + margin, y - side * 10 + margin, x + side * 10 - margin, y - margin)
    geopandas.GeoDataFrame(geometry=[area], crs=crs).to_file(folder / "aoi.gpkg")
    s2 = replace(modalities.BUILT_IN[0], sources=(modalities.Source((str(source),)),))

    def ours() -> None:
        chip.chip((folder / "aoi.gpkg",), source=(s2,), output=folder / "chips", size=size, workers=2)

    ours()
    index = chip_folder.read(folder / "chips")
    places = []
    for chip_id in index.index.chip_id:
        with rasterio.open(index.path_of(chip_id, "s2")) as made:
            places.append((chip_id, made.crs, made.transform))
    ratios: dict[str, list[float]] = {codec: [] for codec in CODECS}
    rates = []
    for _ in range(ROUNDS):
        seconds = timed(ours, folder / "chips")
        rates.append(len(index.index) / seconds)
        for codec in CODECS:
            loop = partial(plain_loop, source, places, size, folder / "plain", codec)
            ratios[codec].append(timed(loop, folder / "plain") / seconds)
    told = ", ".join(
        f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f}) x the loop with {codec}"
        for codec, values in ratios.items()
    )
    where = "same pixels" if crs == "EPSG:32632" else "another zone"
    print(f"{len(index.index)} chips of {size} px, {where}: {statistics.median(rates):.0f} chips/s, {told}", flush=True)


def main() -> None:
    """Compare at two sizes of chips, copied and reprojected."""
    logging.disable(logging.WARNING)
    for size, side in ((448, 3200), (32, 1200)):
        for crs in ("EPSG:32632", "EPSG:32633"):
            with tempfile.TemporaryDirectory() as folder:
                compare(Path(folder), size, side, crs)


if __name__ == "__main__":
    main()
