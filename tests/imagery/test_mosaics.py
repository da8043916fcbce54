import numpy as np
import pytest
from affine import Affine
from conftest import WriteRaster

from geoembed.ground.lattice import TOLERANCE, GeoBox
from geoembed.imagery import mosaics, sources, storage, warp
from geoembed.imagery.windows import Readers, Window

GENERATOR = np.random.default_rng(8)


def test_rasters_within_the_tolerance_are_one_mosaic_and_are_copied(write_raster: WriteRaster) -> None:
    """One tolerance for all: what is one mosaic for labels is copied for chips, and nothing else is."""
    numbers = GENERATOR.integers(1, 200, (1, 30, 30), dtype="uint8")
    box = GeoBox("EPSG:32632", Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 30, 30)
    for share, same in ((0.9, True), (1.1, False)):
        shift = 10.0 * TOLERANCE * share
        names = (f"{share}a.tif", numbers, 500_000.0, 5_000_000.0), (f"{share}b.tif", numbers, 500_300.0 + shift, 5e6)
        paths = [str(write_raster(*arguments)) for arguments in names]
        first, second = sources.first_bands(paths, scaled=False)
        assert len(mosaics.gather([first, second])) == (1 if same else 2)
        stored = storage.of([second], ())
        beside = box.part(0, 30, 30, 30)
        pixels = warp.mosaic([second], stored, beside, Readers())[0]
        assert (pixels == numbers[0]).all() == same


@pytest.mark.parametrize(
    ("types", "expected"),
    [(("uint8",), "int16"), (("uint8", "int16"), "int32"), (("uint32",), "int64"), (("uint8", "float32"), "float32")],
)
def test_a_mosaic_keeps_every_number_of_every_type(
    write_raster: WriteRaster, types: tuple[str, ...], expected: str
) -> None:
    pieces = [np.full((1, 4, 4), np.iinfo(t).max if t[0] != "f" else 0.53).astype(t) for t in types]
    places = [{"x": 500_000.0 + 40 * i, "nodata": 0} for i in range(len(types))]
    paths = [
        str(write_raster(f"{i}.tif", piece, **place))
        for i, (piece, place) in enumerate(zip(pieces, places, strict=True))
    ]
    (mosaic,) = mosaics.gather(sources.first_bands(paths, scaled=False))
    pixels = mosaic.read(Window(0, 0, 4, 4 * len(types)), Readers())
    assert pixels.dtype == expected
    assert not np.ma.getmaskarray(pixels).any()
    assert (pixels.data == np.concatenate([piece[0] for piece in pieces], axis=1)).all()


def test_of_overlapping_rasters_the_first_valid_pixel_counts(write_raster: WriteRaster) -> None:
    ones, twos = np.full((1, 4, 4), 1, "uint8"), np.full((1, 4, 4), 2, "uint8")
    ones[0, 1] = 0
    paths = [str(write_raster("a.tif", ones, nodata=0)), str(write_raster("b.tif", twos, x=500_020.0, y=5_000_010.0))]
    (mosaic,) = mosaics.gather(sources.first_bands(paths, scaled=False))
    assert mosaic.extents.tolist() == [[0, 0, 4, 4], [2, -1, 6, 3]]
    pixels = mosaic.read(Window(-1, 0, 5, 7), Readers())
    expected = [
        [0, 0, 2, 2, 2, 2, 0],
        [1, 1, 1, 1, 2, 2, 0],
        [0, 0, 2, 2, 2, 2, 0],
        [1, 1, 1, 1, 2, 2, 0],
        [1, 1, 1, 1, 0, 0, 0],
    ]
    assert pixels.filled(0).tolist() == expected
    assert [one.path.name for one in mosaic.within(Window(-1, 0, 1, 7))] == ["b.tif"]


def test_scaled_values_are_those_of_plain_arithmetic(write_raster: WriteRaster) -> None:
    numbers = GENERATOR.integers(-999, 999, (1, 9, 9), dtype="int16")
    paths = [
        str(write_raster("a.tif", numbers, scale=0.01, offset=-3.0, nodata=-1)),
        str(write_raster("b.tif", numbers, x=500_090.0)),
    ]
    (mosaic,) = mosaics.gather(sources.first_bands(paths, scaled=True))
    pixels = mosaic.read(Window(0, 0, 9, 18), Readers())
    assert (pixels[:, 9:].data == numbers[0]).all()
    valid = numbers[0] != -1
    assert (pixels[:, :9][valid] == numbers[0][valid].astype("float64") * 0.01 - 3.0).all()
    assert (np.ma.getmaskarray(pixels[:, :9]) == ~valid).all()
