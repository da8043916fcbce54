"""A small place on Earth in three modalities, half water and half land."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine

SETTINGS = """
[chip]
size = 16
[pretrain]
epochs = 1
[modalities.s2]
source = "s2.tif"
[modalities.s1]
source = "s1.tif"
[modalities.coh]
source = "coh.tif"
"""


def write(path: Path, numbers: np.ndarray[Any, Any], names: tuple[str, ...], scale: float = 1.0, **keys: Any) -> None:
    count, height, width = numbers.shape
    transform = Affine(10.0, 0.0, 499_200.0, 0.0, -10.0, 4_999_680.0)
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=numbers.dtype, crs="EPSG:32632",
        transform=transform, **keys,
    ) as file:  # fmt: skip
        file.write(numbers)
        file.descriptions = names
        file.scales = (scale,) * count


def make_place(folder: Path) -> None:
    """Write aoi.gpkg, s2.tif, s1.tif, coh.tif, landcover.tif and geoembed.toml: half water, half land."""
    generator = np.random.default_rng(0)
    side = 160
    y, x = np.mgrid[:side, :side]
    water = (np.sin(x / 17.0) + np.cos(y / 23.0)) > 0.0
    noise = generator.normal(size=(9, side, side))
    s2 = np.where(water, 500, 2000)[None] + 100 * noise[:3]
    s1 = np.where(water, -20.0, -9.0)[None] + noise[3:5]
    coh = np.clip(np.where(water, 15, 60)[None] + 5 * noise[5:9], 1, 99)
    write(folder / "s2.tif", s2.astype("uint16"), ("jja_red", "jja_green", "jja_blue"), 1e-4, nodata=0)
    write(folder / "s1.tif", s1.astype("float32"), ("jja_vv", "jja_vh"))
    write(folder / "coh.tif", coh.astype("uint8"), tuple(f"jja_coh{n}" for n in (12, 24, 36, 48)), 0.01, nodata=0)
    write(folder / "landcover.tif", np.where(water, 80, 40)[None].astype("uint8"), ("class",), nodata=0)
    area = shapely.box(499_200, 4_998_080, 500_800, 4_999_680)
    geopandas.GeoDataFrame({"name": ["here"]}, geometry=[area], crs="EPSG:32632").to_file(folder / "aoi.gpkg")
    (folder / "geoembed.toml").write_text(SETTINGS)
