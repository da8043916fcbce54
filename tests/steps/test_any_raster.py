"""Any raster that GDAL reads: chips are compared with GDAL's warp, labels with samples of the pixels, draw by draw.

GEOEMBED_DRAWS=20000 draws as many, other ones each time.
"""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from rasterio.warp import Resampling, reproject

from geoembed.chips import folder as chip_folder
from geoembed.chips.cells import AreaCells
from geoembed.chips.cutting import Cutter, imagery_of
from geoembed.errors import ImageryError
from geoembed.ground import grid as grids
from geoembed.imagery import sources
from geoembed.imagery.modalities import Modality, Source
from geoembed.labels import zonal

DRAWS = int(os.environ.get("GEOEMBED_DRAWS", "0"))
SIZE = 16
GRID = grids.utm(32, south=False, size=SIZE, resolution=10.0)
COLUMNS, ROWS = np.array([3101, 3102]), np.array([31_250, 31_250])
LEFT, TOP = 3101 * 160.0, 31_251 * 160.0
SYSTEMS = (
    "EPSG:32632", "EPSG:32633", "EPSG:4326", "EPSG:4258", "EPSG:4806", "EPSG:4807", "EPSG:3035", "EPSG:3857",
    "ESRI:54009", "ESRI:54030", "+proj=sinu +R=6371007.181 +units=m", "EPSG:3995", "+proj=igh +datum=WGS84",
)  # fmt: skip
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
FILLS: dict[str, tuple[tuple[float, float], ...]] = {
    "uint8": ((0, 0), (255, 255)), "int8": ((-128, -128), (0, 0)), "uint16": ((0, 0), (65535, 65535)),
    "int16": ((-9999, -9999), (-32768, -32768)), "uint32": ((0, 0), (2**32 - 1, 2**32 - 1)),
    "int32": ((-9999, -9999), (-(2**31), -(2**31))),
    "float32": ((-9999, -9999), (np.nan, np.nan), (-3.4028234663852886e38, -3.40282e38), (0.1, 0.1), (9.96921e36, 1.0),
                (np.inf, 1.0)),
    "float64": ((-9999, -9999), (np.nan, np.nan), (-1.7976931348623157e308, -1.79769e308), (0.1, 0.1), (1e308, 1.0),
                (-np.inf, 1.0)),
}  # fmt: skip
"""By type, what is written into holes of a raster and what its tag says."""


@dataclass(frozen=True)
class Draw:
    """A raster: CRS, type, number in holes and tag, value of numbers, what hides holes, pixels, and orientation."""

    crs: str
    dtype: str
    fill: tuple[float, float]
    scale: float
    offset: float
    mask: str
    ratio: float
    turned: str


@st.composite
def draws(draw: st.DrawFn) -> Draw:
    dtype = draw(st.sampled_from(tuple(FILLS)))
    masks = ["none", "nodata", "nodata", "inside", "beside", "band"]
    return Draw(
        crs=draw(st.sampled_from(SYSTEMS)),
        dtype=dtype,
        fill=draw(st.sampled_from(FILLS[dtype])),
        scale=draw(st.sampled_from((1.0, 0.01, 1e-4, 2.5, -1.0))),
        offset=draw(st.sampled_from((0.0, -0.1, 100.0))),
        mask=draw(st.sampled_from([*masks, "alpha"] if dtype in ("uint8", "uint16") else masks)),
        ratio=draw(st.sampled_from((1.0, 1.0, 0.4, 0.7, 1.6, 3.0))),
        turned=draw(st.sampled_from(("no",) * 8 + ("hardly", "hardly", "really", "upside down"))),
    )


def place(draw: Draw) -> tuple[Affine, int, int]:
    """Transform, height and width of a raster over both cells, in pixels of `ratio` times 10 m."""
    west, north, margin = LEFT - 80.0, TOP + 80.0, 4
    if draw.crs == "EPSG:32632":
        side = 10.0 * draw.ratio
        return Affine(side, 0, west, 0, -side, north), math.ceil(320 / side), math.ceil(480 / side)
    x, y = np.meshgrid(np.linspace(west, west + 480, 5), np.linspace(north - 320, north, 5))
    x, y = Transformer.from_crs("EPSG:32632", draw.crs, always_xy=True).transform(x, y)
    dx, dy = (np.ptp(x) / 48 * draw.ratio, np.ptp(y) / 32 * draw.ratio)
    rows, columns = math.ceil(np.ptp(y) / dy) + 2 * margin, math.ceil(np.ptp(x) / dx) + 2 * margin
    return Affine(dx, 0, x.min() - margin * dx, 0, -dy, y.max() + margin * dy), rows, columns


def write(draw: Draw, folder: Path) -> Path:
    transform, height, width = place(draw)
    if draw.turned == "hardly":
        transform = Affine(transform.a, 1e-15, transform.c, -1e-15, transform.e, transform.f)
    if draw.turned == "really":
        transform = transform @ Affine.rotation(5.0)
    if draw.turned == "upside down":
        transform = transform @ Affine.translation(0, height) @ Affine.scale(1, -1)
    row, column = np.mgrid[:height, :width] * draw.ratio
    numbers = (60 + 30 * np.sin(row / 9) * np.cos(column / 7)).astype(draw.dtype)
    holes = (row % 19 < 7) & (column % 23 < 8)
    if draw.mask == "nodata" or (draw.mask == "none" and not abs(draw.fill[0]) < 1e30):
        numbers[holes] = draw.fill[0]
    path = folder / "a.tif"
    alpha = draw.mask == "alpha"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=draw.mask == "inside"),
        rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=1 + alpha, dtype=draw.dtype,
            crs=CRS.from_user_input(draw.crs).to_wkt(), transform=transform,
            nodata=draw.fill[1] if draw.mask == "nodata" else None, **({"alpha": "YES"} if alpha else {}),
        ) as file,
    ):  # fmt: skip
        file.write(numbers, 1)
        file.scales, file.offsets = (draw.scale,) * (1 + alpha), (draw.offset,) * (1 + alpha)
        if alpha:
            file.write(np.where(holes, 0, np.iinfo(draw.dtype).max).astype(draw.dtype), 2)
        if draw.mask in ("inside", "beside"):
            file.write_mask(~holes)
    return _with_mask_of_band(path, ~holes) if draw.mask == "band" else path


def _with_mask_of_band(path: Path, shown: np.ndarray[Any, Any]) -> Path:
    """Write a VRT of a raster whose first band has a mask of its own."""
    with rasterio.open(path) as file:
        profile = file.profile | {"dtype": "uint8", "nodata": None}
    with rasterio.open(path.with_name("mask.tif"), "w", **profile) as file:
        file.write(shown.astype("uint8") * 255, 1)
    rasterio.shutil.copy(path, path.with_suffix(".vrt"), driver="VRT")
    mask = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">mask.tif'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand></VRTRasterBand>"
    )
    text = path.with_suffix(".vrt").read_text()
    path.with_suffix(".vrt").write_text(text.replace("</VRTRasterBand>", mask, 1))
    return path.with_suffix(".vrt")


def as_gdal(path: Path) -> tuple[np.ndarray[Any, Any], Affine, Any]:
    """Values as GDAL reads them, NaN where it masks them or no measurement is so large; transform; CRS."""
    with rasterio.open(path) as file:
        numbers, shown = file.read(1).astype("float64"), file.read_masks(1) != 0
        with np.errstate(invalid="ignore", over="ignore"):
            values = numbers * file.scales[0] + file.offsets[0]
        transform = file.transform
        values[~shown | ~(np.abs(numbers) < 1e30)] = np.nan
        return values, transform, file.crs


def warped(draw: Draw, values: np.ndarray[Any, Any], transform: Affine, crs: Any) -> np.ndarray[Any, Any]:
    """The two chips side by side, by GDAL's warp of the whole raster: averaged where its pixels are finer."""
    out = np.full((SIZE, 2 * SIZE), np.nan)
    degrees = {"EPSG:4807": 1852 * 54, **dict.fromkeys(("EPSG:4326", "EPSG:4258", "EPSG:4806"), 1852 * 60)}
    side = math.sqrt(transform.a * -transform.e) * degrees.get(draw.crs, 1.0)
    if draw.crs == "EPSG:32632" and draw.ratio == 1.0:
        return values[8 : 8 + SIZE, 8 : 8 + 2 * SIZE]
    reproject(
        values, out, src_transform=transform, src_crs=crs, dst_transform=Affine(10, 0, LEFT, 0, -10, TOP),
        dst_crs="EPSG:32632", src_nodata=np.nan, dst_nodata=np.nan,
        resampling=Resampling.average if side < 9.9 else Resampling.bilinear,
    )  # fmt: skip
    return out


def sampled(values: np.ndarray[Any, Any], transform: Affine, crs: Any, cell: int) -> np.ndarray[Any, Any]:
    """Values at 128 x 128 places of a cell, as plain arithmetic finds their pixels."""
    step = (np.arange(128) + 0.5) / 128 * 160
    x, y = np.meshgrid(LEFT + 160 * cell + step, TOP - step)
    x, y = Transformer.from_crs("EPSG:32632", crs.to_wkt(), always_xy=True).transform(x, y)
    column, row = ~transform @ (x, y)
    return np.asarray(values[np.floor(row).astype(int), np.floor(column).astype(int)])


def cut(path: Path, folder: Path) -> np.ndarray[Any, Any]:
    """The two chips side by side, as values."""
    imagery = imagery_of(Modality("m", sources=(Source((str(path),), bands=(1,), names=("a",)),)))
    assert imagery is not None
    cells = AreaCells((GRID,), np.zeros(2, np.int64), COLUMNS, ROWS, (), np.zeros(2, np.int64))
    with closing(Cutter(folder, [imagery], 0.0)) as cutter:
        held = cutter(cells)
    chips = [
        chip_folder.read_chip(chip_folder.path_of(folder, chip_id, "m")).values[0]
        if held[chip_id]
        else np.full((SIZE, SIZE), np.nan)
        for chip_id in cells.chip_ids
    ]
    return np.concatenate(chips, axis=1)


def labelled(path: Path) -> zonal.Shares:
    steps = zonal.shares(sources.first_bands([str(path)], scaled=True), _cells(), None)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            shares: zonal.Shares = done.value
            return shares


def _cells() -> grids.Cells:
    return grids.Cells((GRID,), np.zeros(2, np.int64), COLUMNS, ROWS)


@settings(
    max_examples=DRAWS or 300,
    derandomize=not DRAWS,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(draws())
def test_chips_and_labels_are_what_gdal_makes_of_any_raster(draw: Draw) -> None:
    event(draw.crs)
    with tempfile.TemporaryDirectory() as name:
        path = write(draw, Path(name))
        if draw.turned in ("really", "upside down"):
            with pytest.raises(ImageryError, match=r"is not north up; warp it first: gdalwarp"):
                cut(path, Path(name) / "chips")
            return
        values, transform, crs = as_gdal(path)
        chips, shares = cut(path, Path(name) / "chips"), labelled(path)
        expected = warped(draw, values, transform, crs)
    exact = draw.crs == "EPSG:32632" and draw.ratio == 1.0
    assert (np.isnan(chips) != np.isnan(expected)).mean() <= (0.0 if exact else 0.02)
    # A pixel's neighbours differ by five numbers; GDAL finds places to an eighth of a pixel, and chips are rounded.
    tolerance = 1e-5 * (abs(draw.offset) + 100 * abs(draw.scale)) + (0.0 if exact else 1.7 * abs(draw.scale))
    assert not np.nanmax(np.abs(chips - expected), initial=0.0) > tolerance
    for cell in range(2):
        places = sampled(values, transform, crs, cell)
        assert shares.valid[cell] == pytest.approx(np.isfinite(places).mean(), abs=0.01)
        if shares.valid[cell] > 0.01:
            mean = shares.sums[cell, 0] / shares.valid[cell]
            assert mean == pytest.approx(np.nanmean(places), abs=0.5 * abs(draw.scale))
