"""A simulated Earth as archives hold it: dated Sentinel-2 scenes under clouds, seasonal Sentinel-1 tiles, WorldCover.

The area lies on both sides of 24 degrees west, where two UTM zones meet; each zone's tile has all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import scipy.ndimage
import shapely
from affine import Affine
from archives import earth_catalogue
from archives.earth_catalogue import Date
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject

from geoembed.archives.scenes import Asset, Scene
from geoembed.earth import landscape, optics, radar
from geoembed.earth.noise import fractal
from geoembed.earth.places import PLACES
from geoembed.ground import crs

SIDE = 384
"""Pixels of 10 m along a side of the area's rasters."""

WEST, NORTH = -24.0, 4.1
"""The middle of the area, in degrees."""

MARGIN = 40
"""Pixels by which the tile of the other zone is larger, as it is turned."""

CODES = {"EPSG:32626": "26NRL", "EPSG:32627": "27NTF"}
BANDS = ("red", "green", "blue")


@dataclass
class Skies:
    """What the archives hold.

    truth: stored reflectance of summer without clouds, (3, SIDE, SIDE), on `transform` in EPSG:32626.
    dates: of both tiles, eight each.
    tiles: files of the seasonal data set, by name.
    cover: land cover of the area, classes of WorldCover, (SIDE, SIDE).
    """

    truth: NDArray[np.float32]
    transform: Affine
    dates: list[Date]
    tiles: dict[str, NDArray[Any]]
    cover: NDArray[np.uint8]

    def area(self) -> geopandas.GeoDataFrame:
        """The area of interest, which keeps 200 m from the rasters' edges."""
        left, top, reach = self.transform.c, self.transform.f, 10 * SIDE
        square = shapely.box(left + 200, top - reach + 200, left + reach - 200, top - 200)
        return geopandas.GeoDataFrame({"name": ["isle"]}, geometry=[square], crs="EPSG:32626").to_crs(4326)


def make(folder: Path, base: str) -> Skies:
    """Write the scenes' files into a folder that is served at an address, and return all that there is."""
    rng = np.random.default_rng(7)
    place = replace(PLACES[0], longitude=WEST, latitude=NORTH)
    x, y = crs.transformer(crs.LONLAT, "EPSG:32626").transform(WEST, NORTH)
    transform = Affine(10, 0, round(x / 20 - SIDE / 4) * 20, 0, -10, round(y / 20 + SIDE / 4) * 20)
    land = landscape.build(place, rng, SIDE)
    seen = optics.observe(land, rng)
    truth = np.stack([seen[f"jja_{band}"] for band in BANDS]).astype(np.float32)
    truth = np.where(truth == 0, np.median(truth), truth)  # where no date of the season is clear
    powers = radar.power(land, rng)
    layers = _layers(radar.amplitude(powers, rng), radar.coherence(land, powers, rng))
    skies = Skies(truth, transform, [], _tiles(layers, transform), land.worldcover)
    for number in range(8):
        look = _clouds(rng, number)
        for code in CODES:
            skies.dates.append(_date(folder, base, skies, look, number, code, rng))
    return skies


def _layers(amplitude: dict[str, Any], coherence: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Numbers as the seasonal tiles store them, on the area's pixels, by season and layer."""
    layers = {}
    for season, name in (("djf", "winter"), ("jja", "summer")):
        for band in ("vv", "vh"):
            decibels = amplitude[f"{season}_{band}"] / 100
            layers[f"{name}_{band}_AMP"] = (10 ** ((decibels + 83) / 20)).astype(np.float32)
        layers[f"{name}_vv_COH12"] = coherence[f"{season}_coh12"].repeat(2, 0).repeat(2, 1).astype(np.float32)
    return layers


def _tiles(layers: dict[str, NDArray[np.float32]], transform: Affine) -> dict[str, NDArray[Any]]:
    tiles = {}
    for name, west in (("N05W025", -25), ("N05W024", -24)):
        for layer, numbers in layers.items():
            tile = np.zeros((1200, 1200), np.float32)
            reproject(
                numbers, tile, src_transform=transform, src_crs="EPSG:32626", dst_crs="EPSG:4326",
                dst_transform=Affine(1 / 1200, 0, west, 0, -1 / 1200, 5), resampling=Resampling.average, dst_nodata=0,
            )  # fmt: skip
            tiles[f"{name}_{layer}"] = np.rint(tile).astype("uint16" if layer.endswith("AMP") else "uint8")
    return tiles


def _clouds(rng: np.random.Generator, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Classes of the scene classification at 20 m, and how opaque the sky is at 10 m; one day is all cloud."""
    field = fractal(rng, SIDE, 2.4, 120, 4)
    share = (0.15, 0.5, 1.0, 0.0, 0.7, 0.3, 0.4, 0.55)[number]
    level = np.quantile(field, 1 - share) if 0 < share < 1 else (-np.inf if share else np.inf)
    opaque = np.clip(field - level, 0, 1).astype(np.float32) if 0 < share < 1 else np.full_like(field, share)
    thick = _coarse(opaque > 0.4)
    any_ = _coarse(opaque > 0)
    shadow = np.roll(thick, (8, 6), (0, 1)) & ~any_
    classes = np.full(thick.shape, 4, np.uint8)
    classes[shadow] = 3
    classes[any_] = 10
    classes[any_ & _coarse(opaque > 0.2)] = 8
    classes[thick] = 9
    return classes, np.where(np.kron(shadow, np.ones((2, 2), bool)), -1, opaque).astype(np.float32)


def _coarse(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    n = mask.shape[0] // 2
    return np.asarray(mask.reshape(n, 2, n, 2).any(axis=(1, 3)))


def _date(
    folder: Path,
    base: str,
    skies: Skies,
    look: tuple[NDArray[np.uint8], NDArray[np.float32]],
    number: int,
    code: str,
    rng: np.random.Generator,
) -> Date:
    classes, opaque = look
    cloud, shadow = np.clip(opaque, 0, 1), opaque < 0
    seen = skies.truth * (1 + 0.02 * rng.standard_normal()) + 15 * rng.standard_normal(skies.truth.shape)
    seen = (seen * (1 - cloud) + 6500 * cloud) * np.where(shadow, 0.4, 1)
    is_new = number % 2 == 1
    values, scl, place = _on_tile(np.clip(seen, 1, 12000).astype(np.float32), classes, skies.transform, code)
    numbers = np.where(values > 0, np.rint(values) + 1000 * is_new, 0).astype(np.uint16)
    id_ = f"S2A_{CODES[code]}_{number}"
    files = dict(zip(BANDS, numbers, strict=True))
    assets = {}
    for band, part in files.items():
        earth_catalogue.write(folder / id_ / f"{band}.tif", part, place, int(code[5:]))
        assets[band] = Asset(
            f"{base}/{id_}/{band}.tif", 1e-4, -0.1 if is_new else 0.0, crs=code, transform=place,
            height=part.shape[0], width=part.shape[1],
        )  # fmt: skip
    earth_catalogue.write(folder / id_ / "scl.tif", scl, place @ Affine.scale(2), int(code[5:]))
    time = datetime(2020, 6, 3, 12, tzinfo=UTC) + timedelta(days=7 * number)
    scene = Scene(
        id=id_, tile=CODES[code], time=time, platform="sentinel-2a", sensed=time,
        cloud=float(100 * (classes != 4).mean()), baseline="04.00" if is_new else "02.14", generation="",
        bounds=(-25.0, 3.6, -23.0, 4.6), bands=assets, classification=Asset(f"{base}/{id_}/scl.tif"),
    )  # fmt: skip
    return Date(scene, scl, numbers)


def _on_tile(
    seen: NDArray[np.float32], classes: NDArray[np.uint8], transform: Affine, code: str
) -> tuple[NDArray[np.float32], NDArray[np.uint8], Affine]:
    """A date on the pixels of a zone's tile: as it is in its own zone, warped in the other."""
    if code == "EPSG:32626":
        return seen, classes, transform
    side = SIDE + 2 * MARGIN
    x, y = crs.transformer(crs.LONLAT, code).transform(WEST, NORTH)
    place = Affine(10, 0, round(x / 20 - side / 4) * 20, 0, -10, round(y / 20 + side / 4) * 20)
    numbers, scl = np.zeros((3, side, side), np.float32), np.zeros((side // 2, side // 2), np.uint8)
    of = {"src_crs": "EPSG:32626", "dst_crs": code, "dst_nodata": 0}
    reproject(seen, numbers, src_transform=transform, dst_transform=place, resampling=Resampling.bilinear, **of)
    reproject(
        classes, scl, src_transform=transform @ Affine.scale(2), dst_transform=place @ Affine.scale(2),
        resampling=Resampling.nearest, **of,
    )  # fmt: skip
    grown = scipy.ndimage.maximum_filter(np.isin(scl, (3, 8, 9, 10)), 3)  # an edge takes part in both classes
    scl[grown & np.isin(scl, (4,))] = 9
    return numbers, scl, place


def seasonal_file(name: str, numbers: NDArray[Any]) -> bytes:
    """A file of a seasonal tile, as the bucket holds it."""
    west, north = -float(name[4:7]), float(name[1:3])
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=1, height=1200, width=1200, dtype=numbers.dtype, crs="EPSG:4326", compress="lzw",
            transform=Affine(1 / 1200, 0, west, 0, -1 / 1200, north),
        ) as file:  # fmt: skip
            file.write(numbers, 1)
        return bytes(memory.getbuffer())


def cover_file(skies: Skies, west: int) -> bytes:
    """A tile of WorldCover, three degrees wide, which holds the area's land cover and nothing else."""
    place = Affine(1 / 12000, 0, west, 0, -1 / 12000, 6)
    profile = {
        "driver": "GTiff", "count": 1, "height": 36000, "width": 36000, "dtype": "uint8", "crs": "EPSG:4326",
        "compress": "deflate", "tiled": True, "blockxsize": 1024, "blockysize": 1024, "nodata": 0, "transform": place,
        "sparse_ok": True,
    }  # fmt: skip
    row, column = int((6 - 4.15) * 12000), int((-24.05 - west) * 12000)
    numbers = np.zeros((1200, 1200), np.uint8)
    reproject(
        skies.cover, numbers, src_transform=skies.transform, src_crs="EPSG:32626", dst_crs="EPSG:4326", dst_nodata=0,
        dst_transform=place @ Affine.translation(column, row), resampling=Resampling.nearest,
    )  # fmt: skip
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as file:
            first, last = max(0, -column), min(1200, 36000 - column)
            file.write(
                numbers[:, first:last], 1, window=rasterio.windows.Window(column + first, row, last - first, 1200)
            )
        return bytes(memory.getbuffer())
