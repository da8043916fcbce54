"""What is valid, against GDAL's own masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from conftest import WriteRaster

from geoembed.imagery import rasters
from geoembed.imagery.modalities import Modality, Source
from geoembed.imagery.windows import Readers, Window, read

GENERATOR = np.random.default_rng(3)
SIDE = 16


def both(path: Path, **keys: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, which we take for valid, and which GDAL does where they are finite."""
    with rasterio.open(path) as file:
        bands = keys.pop("bands", tuple(range(1, file.count + 1)))
        expected = file.read_masks(bands) != 0
        if np.dtype(file.dtypes[0]).kind == "f":
            expected &= np.isfinite(file.read(bands))
    source = Source((), bands=bands, names=tuple(map(str, bands)), **keys)
    raster = rasters.read(Modality("m"), source, str(path))
    stored, valid = read(raster, range(len(bands)), Window(0, 0, raster.height, raster.width), Readers())
    return stored, valid, expected


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 0), ("uint8", 255), ("int16", -9999), ("uint16", None), ("int64", -(2**40)), ("float32", -9999.0),
     ("float32", 0.1), ("float64", 0.1), ("float32", -3.40282e38), ("float64", float("nan")), ("float32", -np.inf)],
)  # fmt: skip
def test_nodata_is_what_gdal_masks(write_raster: WriteRaster, dtype: str, nodata: float | None) -> None:
    numbers = GENERATOR.integers(0, 4, (2, SIDE, SIDE)).astype(dtype)
    if nodata is not None:
        numbers[0, :4] = nodata
    if numbers.dtype.kind == "f":
        numbers[1, 4:6], numbers[1, 6:8], numbers[1, 8:10] = np.nan, np.inf, np.finfo(dtype).min
        numbers[0, 12] = np.nextafter(numbers[0, 0, 0], numbers.dtype.type(0))
    stored, valid, expected = both(write_raster("a.tif", numbers, nodata=nodata))
    assert stored.dtype == dtype
    assert (valid == expected).all()
    assert valid.any()
    assert nodata is None or not valid[0, :4].any()


def test_another_nodata_than_the_files_own_counts_instead(write_raster: WriteRaster) -> None:
    numbers = GENERATOR.integers(0, 4, (1, SIDE, SIDE), dtype="uint8")
    _, valid, _ = both(write_raster("a.tif", numbers, nodata=0), nodata=3.0)
    assert (valid == (numbers != 3)).all()
    _, valid, _ = both(write_raster("b.tif", numbers), nodata=-9999.5)
    assert valid.all()


@pytest.mark.parametrize("internal", ["TRUE", "FALSE"])
def test_a_mask_of_the_data_set_hides(write_raster: WriteRaster, internal: str) -> None:
    path = write_raster("a.tif", np.full((2, SIDE, SIDE), 7, dtype="uint8"))
    hidden = GENERATOR.integers(0, 2, (SIDE, SIDE), dtype="uint8") * 255
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as file:
        file.write_mask(hidden)
    _, valid, expected = both(path)
    assert (valid == expected).all()
    assert (valid == (hidden != 0)).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_an_alpha_band_hides_what_is_quite_transparent(write_raster: WriteRaster, dtype: str) -> None:
    numbers = GENERATOR.integers(0, 200, (4, SIDE, SIDE)).astype(dtype)
    numbers[3] = GENERATOR.choice([0, 1, np.iinfo(dtype).max], (SIDE, SIDE))
    path = write_raster("a.tif", numbers, photometric="RGB", alpha="YES")
    _, valid, expected = both(path, bands=(1, 3))
    assert (valid == expected).all()
    assert (valid == (numbers[3] != 0)).all()


def test_masks_of_single_bands_hide(write_raster: WriteRaster, tmp_path: Path) -> None:
    numbers = GENERATOR.integers(0, 3, (2, SIDE, SIDE), dtype="uint8")
    write_raster("a.tif", numbers)
    band = """<VRTRasterBand dataType="Byte" band="{0}"><SimpleSource>
      <SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>{0}</SourceBand></SimpleSource>
      <MaskBand><VRTRasterBand dataType="Byte"><SimpleSource>
      <SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>{0}</SourceBand></SimpleSource>
      </VRTRasterBand></MaskBand></VRTRasterBand>"""
    path = tmp_path / "a.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>{band.format(1)}{band.format(2)}</VRTDataset>"
    )
    _, valid, expected = both(path)
    assert (valid == expected).all()
    assert (valid == (numbers != 0)).all()
