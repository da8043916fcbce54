"""A small catalogue of Sentinel-2 scenes in real GeoTIFFs, made from random numbers: clouds, baselines, gaps."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from archives import catalogue
from numpy.typing import NDArray

from geoembed.archives.scenes import Asset, Scene

HEIGHT, WIDTH, BLOCK = 600, 500, 128
"""Pixels of a tile, and of the blocks of its files."""

MASK = (0, 1, 3, 8, 9, 10)
CLASSES = (4, 4, 4, 5, 6, 7, 11, 8, 9, 3, 0)
BANDS = ("red", "green", "blue")


@dataclass
class Date:
    """A scene and what its files hold, as arrays: classes (HEIGHT, WIDTH) of 10 m pixels, bands (3, HEIGHT, WIDTH)."""

    scene: Scene
    classes: NDArray[np.uint8]
    numbers: NDArray[np.uint16]


def write(path: Path, numbers: NDArray[Any], transform: Affine, epsg: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate",
        "predictor": 2, "count": 1, "nodata": 0, "crs": f"EPSG:{epsg}", "transform": transform,
    }  # fmt: skip
    height, width = numbers.shape
    with rasterio.open(path, "w", height=height, width=width, dtype=numbers.dtype, **profile) as file:
        file.write(numbers, 1)


def clouds(rng: np.random.Generator, share: float) -> NDArray[np.uint8]:
    """Classes of 20 m pixels in patches, a share of them clouds of all kinds."""
    patches = rng.choice(CLASSES, (HEIGHT // 20, WIDTH // 20)).astype(np.uint8)
    patches[rng.random(patches.shape) < share] = 9
    return patches.repeat(10, axis=0).repeat(10, axis=1)


def dates(
    folder: Path,
    base: str,
    *,
    count: int = 8,
    tile: str = "33TVM",
    epsg: int = 32633,
    corner: tuple[float, float] = (500_000.0, 4_600_000.0),
    seed: int = 0,
) -> list[Date]:
    """Write scenes of a tile, a week apart: those of odd number have baseline 04.00 and the offset of -1000.

    The third is all cloud, the fourth has no `proj:`, the last one's first blocks are clouds.
    """
    rng = np.random.default_rng(seed)
    fine, coarse = Affine(10, 0, corner[0], 0, -10, corner[1]), Affine(20, 0, corner[0], 0, -20, corner[1])
    found = []
    for number in range(count):
        is_new = number % 2 == 1
        scl = clouds(rng, 0.1 * number)
        if number == 2:
            scl[:] = 9
        if number == count - 1:
            scl[:64, :64] = 9
        numbers = rng.integers(0, 3000, (3, HEIGHT, WIDTH)).astype(np.uint16) + (1000 if is_new else 0)
        numbers[:, rng.random((HEIGHT, WIDTH)) < 0.02] = 0
        numbers = numbers.astype(np.uint16)
        name = f"S2A_{tile}_{number}"
        assets = {}
        for band, part in zip(BANDS, numbers, strict=True):
            write(folder / name / f"{band}.tif", part, fine, epsg)
            asset = Asset(f"{base}/{name}/{band}.tif", 1e-4, -0.1 if is_new else 0.0)
            place = {"crs": f"EPSG:{epsg}", "transform": fine, "height": HEIGHT, "width": WIDTH}
            assets[band] = asset if number == 3 else replace(asset, **place)  # type: ignore[arg-type]
        write(folder / name / "scl.tif", scl, coarse, epsg)
        time = datetime(2020, 6, 3, 10, tzinfo=UTC) + timedelta(days=7 * number)
        scene = Scene(
            id=name,
            tile=tile,
            time=time,
            platform="sentinel-2a",
            sensed=time,
            cloud=5.0 * number,
            baseline="04.00" if is_new else "02.14",
            generation="",
            bounds=(14.0, 41.0, 16.0, 42.0),
            bands=assets,
            classification=Asset(f"{base}/{name}/scl.tif"),
        )
        found.append(Date(scene, scl.repeat(2, axis=0).repeat(2, axis=1), numbers))
    return found


def expected(dates: list[Date], mask: tuple[int, ...] = MASK, scenes: int | None = None) -> NDArray[np.float64]:
    """numpy's median of stored reflectance over the clear pixels of dates, (3, H, W), NaN where there is none.

    scenes: of each block of BLOCK pixels the clearest so many dates count; None: all.
    """
    stack = []
    for date in dates:
        offset = 1000 - (1000 if date.scene.baseline == "04.00" else 0)
        stored = np.clip(date.numbers.astype(np.int64) + offset, 1, 65534).astype(float)
        stored[:, np.isin(date.classes, mask)] = np.nan
        stack.append(stored)
        stored[date.numbers == 0] = np.nan
    if scenes is not None:
        _without_cloudier(stack, [~np.isin(date.classes, mask) for date in dates], scenes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of pixels without a value
        return np.asarray(np.nanmedian(np.stack(stack), axis=0))


def _without_cloudier(stack: list[NDArray[np.float64]], clear: list[NDArray[np.bool_]], scenes: int) -> None:
    for row in range(0, HEIGHT, BLOCK):
        for column in range(0, WIDTH, BLOCK):
            block = np.s_[..., row : row + BLOCK, column : column + BLOCK]
            ranked = sorted(range(len(stack)), key=lambda n: (-int(clear[n][block].sum()), n))
            for n in ranked[scenes:]:
                stack[n][block] = np.nan


def item(date: Date) -> Any:
    """The item of a date, as Earth Search has them."""
    scene = date.scene
    value = catalogue.item(day=f"{scene.time:%Y-%m-%d}", at=f"{scene.time:%H:%M:%S}", version=scene.baseline or "")
    west, south, east, north = scene.bounds
    value["id"], value["bbox"] = scene.id, [west, south, east, north]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    value["geometry"] = {"type": "Polygon", "coordinates": [ring]}
    value["properties"] |= {"grid:code": f"MGRS-{scene.tile}", "eo:cloud_cover": scene.cloud}
    value["properties"].pop("proj:epsg")
    assert scene.classification is not None
    for name, asset in [*scene.bands.items(), ("scl", scene.classification)]:
        entry = value["assets"][name]
        for key in ("proj:shape", "proj:transform"):
            entry.pop(key)
        entry["href"] = asset.href
        if asset.crs and asset.transform:
            entry |= {"proj:code": asset.crs, "proj:shape": [asset.height, asset.width],
                      "proj:transform": list(asset.transform[:6])}  # fmt: skip
    del value["assets"]["nir"]
    return value
