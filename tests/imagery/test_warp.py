from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from conftest import WriteRaster
from rasterio.warp import Resampling, reproject, transform

from geoembed.errors import ImageryError
from geoembed.ground.lattice import GeoBox
from geoembed.imagery import storage, warp, windows
from geoembed.imagery.index import RasterIndex
from geoembed.imagery.modalities import Modality, Source
from geoembed.imagery.rasters import Raster, read
from geoembed.imagery.windows import Readers

GENERATOR = np.random.default_rng(5)


def smooth(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Numbers with structure at all scales, as an image has."""
    _, height, width = shape
    y, x = np.mgrid[:height, :width]
    pattern = 500 + 200 * np.sin(x / 7.0) * np.cos(y / 11.0) + 30 * GENERATOR.random(shape)
    return np.asarray(pattern, dtype)


def raster(path: Path, decibel: bool = False, **keys: object) -> Raster:
    modality = Modality("m", decibel=decibel)
    return read(modality, Source((str(path),), **keys), str(path))  # type: ignore[arg-type]


def mosaic(rasters: list[Raster], box: GeoBox, stored_as: storage.Storage | None = None) -> np.ndarray:
    """Stored numbers as floats, NaN for nodata."""
    stored_as = stored_as or storage.of(rasters, ())
    stored = warp.mosaic(rasters, stored_as, box, Readers())
    assert stored.dtype == stored_as.dtype
    return np.where(stored_as.invalid(stored), np.nan, stored)


def near(x: float, y: float, crs: str, pixel: float, size: int) -> GeoBox:
    (left,), (top,) = transform("EPSG:32632", crs, [x], [y])
    left, top = round(left / pixel) * pixel, round(top / pixel) * pixel
    return GeoBox(crs, Affine(pixel, 0.0, left, 0.0, -pixel, top), size, size)


def whole(path: Path, box: GeoBox, resampling: Resampling) -> np.ndarray:
    """The same box out of a warp of the whole scene by rasterio."""
    with rasterio.open(path) as file:
        numbers = file.read().astype("float64")
        out = np.full((file.count, box.height, box.width), np.nan)
        reproject(
            numbers, out, src_transform=file.transform, src_crs=file.crs, dst_transform=box.transform,
            dst_crs=box.crs, src_nodata=np.nan, dst_nodata=np.nan, resampling=resampling,
        )  # fmt: skip
    return out


def test_pixels_are_copied_where_lattices_coincide(write_raster: WriteRaster) -> None:
    numbers = GENERATOR.integers(-3000, 3000, (2, 50, 60), dtype="int16")
    path = write_raster("a.tif", numbers, names=("a", "b"))
    box = GeoBox("EPSG:32632", Affine(10.0, 0.0, 500_100.0, 0.0, -10.0, 5_000_050.0), 40, 70)
    pixels = mosaic([raster(path)], box)
    assert (pixels[:, 5:, :50] == numbers[:, :35, 10:]).all()
    assert np.isnan(pixels[:, :5]).all()
    assert np.isnan(pixels[:, :, 50:]).all()


@pytest.mark.parametrize(
    ("pixel", "resampling"), [(10.0, Resampling.bilinear), (7.0, Resampling.bilinear), (40.0, Resampling.average)]
)
def test_parts_agree_with_a_warp_of_the_whole_scene(
    write_raster: WriteRaster, pixel: float, resampling: Resampling
) -> None:
    path = write_raster("a.tif", smooth((2, 300, 300)), names=("a", "b"))
    size = int(1600 / pixel)
    box = near(500_700.0, 4_999_300.0, "EPSG:32633", pixel, size)
    expected = whole(path, box, resampling)
    scene = raster(path)
    made = mosaic([scene], box)
    half = size // 2
    parts = [[mosaic([scene], box.part(r, c, half, half)) for c in (0, half)] for r in (0, half)]
    seamed = np.concatenate([np.concatenate(row, axis=2) for row in parts], axis=1)
    edge = 2 * half
    assert np.isfinite(expected).all()
    assert np.abs(made - expected).max() < 0.5
    assert np.abs(seamed - expected[:, :edge, :edge]).max() < 0.5
    assert np.median(np.abs(seamed - expected[:, :edge, :edge])) < 0.02


def test_a_place_too_large_to_read_is_made_in_parts(write_raster: WriteRaster, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_raster("a.tif", smooth((1, 200, 200)), names=("a",))
    box = near(500_200.0, 4_999_800.0, "EPSG:32633", 10.0, 120)
    at_once = mosaic([raster(path)], box)
    monkeypatch.setattr(warp, "LARGEST_READ", 2000)
    difference = np.abs(mosaic([raster(path)], box) - at_once)
    assert difference.max() < 4.0, "GDAL boxes pixels to an eighth of a pixel"
    assert np.median(difference) < 0.5


def test_decibels_are_averaged_as_power(write_raster: WriteRaster) -> None:
    numbers = np.full((1, 40, 40), -20.0, dtype="float32")
    numbers[:, :, ::2] = -10.0
    path = write_raster("a.tif", numbers, names=("vv",))
    box = GeoBox("EPSG:32632", Affine(40.0, 0.0, 500_000.0, 0.0, -40.0, 5_000_000.0), 10, 10)
    pixels = mosaic([raster(path, decibel=True)], box)
    assert np.allclose(pixels, 10 * np.log10((0.1 + 0.01) / 2), atol=1e-4)
    as_value = mosaic([raster(path)], box)
    assert np.allclose(as_value, -15.0)


@pytest.mark.parametrize(("stored", "numbers"), [("linear", 0.1), ("amplitude", 0.1**0.5)])
def test_power_and_amplitude_are_told_in_decibels(write_raster: WriteRaster, stored: str, numbers: float) -> None:
    path = write_raster("a.tif", np.full((1, 20, 20), numbers, dtype="float32"), names=("vv",))
    scene = raster(path, decibel=True, stored=stored)
    same = GeoBox("EPSG:32632", scene.transform, 20, 20)
    coarse = GeoBox("EPSG:32632", Affine(20.0, 0.0, 500_000.0, 0.0, -20.0, 5_000_000.0), 10, 10)
    for box in (same, coarse):
        assert np.allclose(mosaic([scene], box), -10.0, atol=1e-4)


def test_class_rasters_keep_their_classes(write_raster: WriteRaster) -> None:
    classes = GENERATOR.choice(np.array([10, 40, 80], dtype="uint8"), (1, 100, 100))
    path = write_raster("a.tif", classes, names=("class",))
    box = near(500_200.0, 4_999_800.0, "EPSG:32633", 10.0, 50)
    assert set(np.unique(mosaic([raster(path, resampling="nearest")], box))) == {10.0, 40.0, 80.0}


@pytest.mark.parametrize("nodata", [None, -1.0])
def test_nodata_takes_no_part(write_raster: WriteRaster, nodata: float | None) -> None:
    numbers = np.full((2, 60, 60), 8.0, dtype="float32")
    numbers[0, 20:30, 20:30] = np.nan if nodata is None else nodata
    path = write_raster("a.tif", numbers, names=("a", "b"), nodata=nodata)
    box = near(500_050.0, 4_999_950.0, "EPSG:32633", 10.0, 45)
    pixels = mosaic([raster(path)], box)
    assert np.allclose(pixels[0][np.isfinite(pixels[0])], 8.0)
    assert 60 < np.isnan(pixels[0]).sum() < 140
    assert np.isfinite(pixels[1]).all()


def test_of_overlapping_files_the_first_valid_pixel_counts(write_raster: WriteRaster) -> None:
    scene = np.full((1, 40, 40), 1.0, dtype="float32")
    scene[:, 10:20] = np.nan
    first = write_raster("a.tif", scene, names=("a",))
    second = write_raster("b.tif", np.full((1, 40, 40), 2.0, "float32"), x=500_200.0, names=("a",))
    box = GeoBox("EPSG:32632", Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 40, 60)
    pixels = mosaic([raster(first), raster(second)], box)[0]
    assert (pixels[:10, :40] == 1.0).all()
    assert (pixels[:, 40:] == 2.0).all()
    assert (pixels[10:20, 20:40] == 2.0).all()
    assert np.isnan(pixels[10:20, :20]).all()


def test_files_side_by_side_leave_no_seam(write_raster: WriteRaster) -> None:
    numbers = np.full((1, 80, 40), 5.0, dtype="float32")
    left = write_raster("a.tif", numbers, names=("a",))
    right = write_raster("b.tif", numbers, x=500_400.0, names=("a",))
    box = near(500_150.0, 4_999_800.0, "EPSG:32633", 10.0, 45)
    assert np.allclose(mosaic([raster(left), raster(right)], box), 5.0)


def test_other_encodings_are_converted(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", np.full((1, 20, 20), 2000, dtype="uint16"), names=("a",))
    box = GeoBox("EPSG:32632", Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 20, 20)
    first = raster(path, scale=1e-4)
    pixels = mosaic([raster(path, scale=1e-4, offset=-0.1)], box, storage.of([first], ()))
    assert np.allclose(pixels, 1000.0, atol=1e-2)


def test_a_raster_over_180_degrees_has_two_windows(write_raster: WriteRaster) -> None:
    world = smooth((1, 20, 3600))
    path = write_raster("w.tif", world, x=-180.0, y=11.0, pixel=0.1, crs="EPSG:4326", names=("a",))
    (left,), (top,) = transform("EPSG:4326", "EPSG:32601", [-180.0], [10.5])
    box = GeoBox("EPSG:32601", Affine(1000.0, 0.0, left - 30_000, 0.0, -1000.0, top), 40, 60)
    scene = raster(path)
    assert len(list(windows.needed(scene, box))) == 2
    pixels = mosaic([scene], box)[0]
    assert np.isfinite(pixels).all()
    columns = [int((lon + 180.0) % 360.0 / 0.1) for lon in transform(
        "EPSG:32601", "EPSG:4326", [left - 25_000, left + 25_000], [top - 20_000] * 2)[0]]  # fmt: skip
    for column, position in zip(columns, (5, 55), strict=True):
        assert pixels[20, position] == pytest.approx(world[0, 6, column], abs=120)


def test_broken_pixels_are_named(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", smooth((1, 256, 256)), names=("a",), tiled=True, blockxsize=64, blockysize=64)
    scene = raster(path)
    path.write_bytes(path.read_bytes()[:40_000])
    box = GeoBox("EPSG:32632", scene.transform, 256, 256)
    with pytest.raises(ImageryError, match=r"a.tif: .*cannot be read"):
        mosaic([scene], box)


@pytest.mark.parametrize(
    ("first", "second"),
    [(200, 8999), (9, 0.53), (-5, 90_000), (0.7, 123_456_789.5), (255, 0)],
)
@pytest.mark.parametrize("shift", [0.0, 3.0])  # copied, and warped
def test_of_files_of_several_types_no_value_is_clipped_or_rounded(
    write_raster: WriteRaster, first: float, second: float, shift: float
) -> None:
    types = {200: "uint8", 8999: "uint16", 9: "int16", 0.53: "float32", -5: "int8", 90_000: "int32", 255: "uint8",
             0.7: "float32", 123_456_789.5: "float64", 0: "uint8"}  # fmt: skip
    paths = [
        write_raster("a.tif", np.full((1, 20, 20), first, types[first]), nodata=0, names=("a",)),
        write_raster("b.tif", np.full((1, 20, 20), second, types[second]), x=500_200.0, names=("a",), nodata=None),
    ]
    box = GeoBox("EPSG:32632", Affine(10.0, 0.0, 500_000.0 + shift, 0.0, -10.0, 5_000_000.0 + shift), 20, 40)
    pixels = mosaic([raster(path) for path in paths], box)[0]
    assert [pixels[10, 10], pixels[10, 30]] == pytest.approx([first, second], rel=1e-6)


def test_a_value_that_is_the_first_ones_nodata_stays_valid(write_raster: WriteRaster) -> None:
    for dtype in ("int16", "float32"):
        first = write_raster("a.tif", np.full((1, 20, 20), 5, dtype), nodata=0, names=("a",))
        second = write_raster("b.tif", np.zeros((1, 20, 20), dtype), x=500_200.0, nodata=-1, names=("a",))
        box = GeoBox("EPSG:32632", Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 20, 40)
        pixels = mosaic([raster(first), raster(second)], box)
        assert np.isfinite(pixels).all()
        assert (pixels[0, :, 20:] == 0.0).all()


@pytest.mark.parametrize("west", [179.9, -180.1])
def test_longitudes_may_run_past_180(write_raster: WriteRaster, west: float) -> None:
    path = write_raster("w.tif", smooth((1, 200, 200)), x=west, y=10.1, pixel=0.001, crs="EPSG:4326", names=("a",))
    scene = raster(path)
    for crs, lon in (("EPSG:32660", 179.95), ("EPSG:32601", -179.95)):
        (left,), (top,) = transform("EPSG:4326", crs, [lon], [10.0])
        box = GeoBox(crs, Affine(50.0, 0.0, left, 0.0, -50.0, top), 10, 10)
        assert np.isfinite(mosaic([scene], box)).all()
        assert len(RasterIndex([scene]).near(np.array([shapely.box(lon, 9.99, lon + 0.01, 10.0)]))) == 1


def test_what_a_mask_hides_is_invalid(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", np.full((2, 40, 40), 7, "uint8"), names=("a", "b"))
    hidden = np.full((40, 40), 255, "uint8")
    hidden[:, :20] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(hidden)
    scene = raster(path)
    same = GeoBox("EPSG:32632", scene.transform, 40, 40)
    pixels = mosaic([scene], same)
    assert np.isnan(pixels[:, :, :20]).all()
    assert (pixels[:, :, 20:] == 7).all()
    neighbour = near(500_120.0, 4_999_900.0, "EPSG:32633", 10.0, 15)
    assert 0.3 < np.isnan(mosaic([scene], neighbour)).mean() < 0.7


def test_a_fine_source_leaves_no_seam_whatever_the_kernel(write_raster: WriteRaster) -> None:
    path = write_raster("a.tif", smooth((1, 400, 400)), pixel=2.5, names=("a",))
    scene = raster(path, resampling="cubic")
    box = near(500_150.0, 4_999_850.0, "EPSG:32633", 10.0, 40)
    parts = np.concatenate([mosaic([scene], box.part(0, c, 40, 20)) for c in (0, 20)], axis=2)
    difference = np.abs(parts - mosaic([scene], box))
    # GDAL boxes pixels to an eighth of a pixel, differently in each part; a cut kernel would show at the seam.
    assert difference[:, :, 19:21].mean() < 1.5 * difference.mean()


def test_average_or_bilinear_does_not_depend_on_the_zone(write_raster: WriteRaster) -> None:
    tiny = np.ones((1, 4, 4), "uint8")
    path = write_raster("w.tif", tiny, x=-180.0, y=84.0, pixel=5.4e-5, crs="EPSG:4326", names=("a",))
    scene = raster(path)
    boxes = [GeoBox(f"EPSG:326{zone:02d}", Affine(10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 4, 4) for zone in (1, 18, 41, 60)]
    assert all(warp._is_finer(scene, box) for box in boxes)
