"""What the front page asks for one's own area: aoi.gpkg, s2/, the seasonal tiles, and a land cover; water and crops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer

LEFT, TOP, SIDE = 499_200, 4_999_680, 320
"""Upper left corner in EPSG:32632 (on both sides of nine degrees east), and pixels of 10 m along a side."""

SEASONAL = {"vv_AMP": (1400, 5000), "vh_AMP": (700, 2500), "vv_COH12": (15, 60)}
"""Layers of the seasonal tiles, and the numbers stored on water and on land: -20 and -9 dB in VV, 6 dB less in VH."""


def is_water(x: Any, y: Any) -> Any:
    """Tell where there is water; metres east and north."""
    return np.sin((x - LEFT) / 300) + np.cos((y - TOP) / 400) > 0


def make(folder: Path) -> None:
    """Write all that lies in the folder before the first step."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] * 10.0 + 5.0
    water = is_water(LEFT + x, TOP - y)
    bands = np.where(water, 500, 2000) + 100 * np.array([0, 1, 2, 3])[:, None, None]
    profile = {"crs": "EPSG:32632", "transform": Affine(10, 0, LEFT, 0, -10, TOP), "nodata": 0}
    _write(folder / "s2" / "scene.tif", bands + 50 * generator.normal(size=bands.shape), "uint16", profile)
    _write(folder / "landcover.tif", np.where(water, 80, 40)[None], "uint8", profile)
    for east in (8, 9):
        _write_tiles(folder / "seasonal" / f"N46E{east:03}", east, generator)
    area = shapely.box(LEFT, TOP - 10 * SIDE, LEFT + 10 * SIDE, TOP)
    geopandas.GeoDataFrame({"name": ["here"]}, geometry=[area], crs="EPSG:32632").to_file(folder / "aoi.gpkg")


def _write_tiles(folder: Path, east: int, generator: np.random.Generator) -> None:
    """Write the layers of one seasonal tile; what lies far from the place is nodata."""
    longitude, latitude = east + (np.arange(1200) + 0.5) / 1200, 46 - (np.arange(1200) + 0.5) / 1200
    near = np.ix_(abs(latitude - 45.14) < 0.05, abs(longitude - 9.01) < 0.05)
    lattice = np.meshgrid(longitude[near[1].ravel()], latitude[near[0].ravel()])
    water = is_water(*Transformer.from_crs(4326, 32632, always_xy=True).transform(*lattice))
    profile = {"crs": "EPSG:4326", "transform": Affine(1 / 1200, 0, east, 0, -1 / 1200, 46), "nodata": 0}
    for layer, (on_water, on_land) in SEASONAL.items():
        tile = np.zeros((1, 1200, 1200))
        tile[0][near] = np.where(water, on_water, on_land) * generator.uniform(0.9, 1.1, size=water.shape)
        dtype = "uint16" if layer.endswith("AMP") else "uint8"
        _write(folder / f"{folder.name}_summer_{layer}.tif", tile, dtype, profile)


def _write(path: Path, numbers: np.ndarray[Any, Any], dtype: str, profile: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = numbers.shape
    shape = {"count": count, "height": height, "width": width}
    with rasterio.open(path, "w", driver="GTiff", dtype=dtype, compress="deflate", **shape, **profile) as file:
        file.write(numbers.astype(dtype))
