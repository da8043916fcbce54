"""What is valid, against GDAL's own masks."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from conftest import WriteRaster

from geoembed.errors import ImageryError
from geoembed.imagery import rasters, windows
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
    whole = Window(0, 0, raster.height, raster.width)
    stored, valid = read(raster, range(len(bands)), whole, Readers(), limit=math.inf)
    return stored, valid, expected


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 0), ("uint8", 255), ("int16", -9999), ("uint16", None), ("int64", -(2**40)), ("float32", -9999.0),
     ("float32", 0.1), ("float64", 0.1), ("float32", -3.40282e38), ("float32", -3.4e38),
     ("float32", 9.96921e36), ("float64", -1.797693134862315e308), ("float64", float("nan")), ("float32", -np.inf)],
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


def test_bands_of_several_types_are_read_as_the_type_that_holds_all(write_raster: WriteRaster, tmp_path: Path) -> None:
    small, fine = np.full((1, SIDE, SIDE), 200, "uint8"), np.full((1, SIDE, SIDE), 0.53, "float32")
    fine[0, :2] = 0.1
    write_raster("a.tif", small), write_raster("b.tif", fine)
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{band}"><NoDataValue>{nodata}</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{name}.tif</SourceFilename></SimpleSource></VRTRasterBand>'
        for band, (kind, nodata, name) in enumerate([("Byte", 3, "a"), ("Float32", 0.1, "b")], start=1)
    )
    (tmp_path / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )
    stored, valid, expected = both(tmp_path / "a.vrt")
    assert (stored[:, 5, 5] == np.array([200, np.float32(0.53)])).all()
    assert (valid == expected).all()
    assert not valid[1, 0].any()


def test_numbers_beyond_reason_are_no_value_and_counted(write_raster: WriteRaster) -> None:
    numbers = np.full((1, SIDE, SIDE), 7.0)
    numbers[0, 0, :3] = 1e308, -np.inf, np.nan
    path, readers = write_raster("a.tif", numbers), Readers()
    raster = rasters.read(Modality("m"), Source((), names=("a",)), str(path))
    _, valid = read(raster, [0], Window(0, 0, SIDE, SIDE), readers)
    assert np.argwhere(~valid).tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert readers.absurd == {str(path): 2}
    assert [text.split(";")[0] for text in windows.absurd(readers.absurd)] == [
        f"{path}: 2 pixels are infinite or 1e+30 and more, and taken for no value"
    ]


def test_too_many_open_files_are_not_the_rasters_fault(write_raster: WriteRaster) -> None:
    resource = pytest.importorskip("resource")
    path, limits = str(write_raster("a.tif", np.ones((1, 4, 4)))), resource.getrlimit(resource.RLIMIT_NOFILE)
    files = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                files.append(open(os.devnull))  # noqa: SIM115, PTH123
        with pytest.raises(ImageryError, match=r"^too many open files: this process may have 200; .* ulimit -n 4096$"):
            rasters.dataset(path)
    finally:
        for file in files:
            file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
