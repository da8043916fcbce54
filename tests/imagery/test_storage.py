import numpy as np
import pytest
from affine import Affine

from geoembed.imagery import storage
from geoembed.imagery.rasters import Encoding, Raster


def raster(channel: str, encoding: Encoding) -> Raster:
    return Raster("EPSG:32632", Affine.identity(), 1, 1, "a", (1,), (channel,), (encoding,))


@pytest.mark.parametrize(
    ("dtype", "nodata", "expected"),
    [
        ("uint8", None, ("int16", -32768)),
        ("uint16", None, ("int32", -(2**31))),
        ("uint16", 0, ("uint16", 0)),
        ("int16", None, ("int16", -32768)),
        ("int16", 99999, ("int16", -32768)),
        ("float32", -9999.0, ("float32", -9999.0)),
    ],
)
def test_numbers_keep_their_type_where_it_can_say_nodata(dtype: str, nodata: float | None, expected: object) -> None:
    chosen = storage.of([raster("a", Encoding(dtype, nodata=nodata))], ())
    assert (chosen.dtype, chosen.nodata) == expected


def test_floats_without_nodata_get_nan() -> None:
    chosen = storage.of([raster("a", Encoding("float64"))], ())
    assert chosen.dtype == "float64"
    assert np.isnan(chosen.nodata)


def test_power_and_amplitude_become_decibels() -> None:
    chosen = storage.of([raster("a", Encoding("uint16", 0.1, nodata=0, stored="amplitude"))], ())
    assert (chosen.dtype, chosen.encodings["a"].stored, chosen.encodings["a"].scale) == ("float32", "db", 1.0)


def test_channels_are_in_the_known_order_then_as_found() -> None:
    rasters = [raster(name, Encoding("int16")) for name in ("x", "b", "a")]
    assert list(storage.of(rasters, ("a", "b", "c")).encodings) == ["a", "b", "x"]


def test_another_type_takes_the_first_ones_encoding() -> None:
    first, second = Encoding("uint16", 1e-4, nodata=0), Encoding("float32")
    chosen = storage.of([raster("a", first), raster("b", second)], ())
    assert chosen.encodings["b"] == first


def test_a_valid_number_never_becomes_nodata() -> None:
    chosen = storage.of([raster("a", Encoding("uint16", nodata=0))], ())
    numbers = np.array([np.nan, 0.2, -5.0, 7.5, 70000.0], dtype="float32")
    assert chosen.pack(numbers).tolist() == [0, 1, 1, 8, 65535]
    top = storage.of([raster("a", Encoding("uint8", nodata=255))], ())
    assert top.pack(np.array([255.0, np.nan], dtype="float32")).tolist() == [254, 255]
    floats = storage.of([raster("a", Encoding("float32", nodata=-1.0))], ())
    assert floats.pack(np.array([np.nan, 2.0], dtype="float32")).tolist() == [-1.0, 2.0]
