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
        ("int64", float(-(2**63)), ("int64", -(2**53))),
        ("int64", 2.0**53, ("int64", 2**53)),
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


@pytest.mark.parametrize(
    ("encodings", "expected"),
    [
        ((Encoding("uint8"), Encoding("uint16", nodata=0)), ("int32", -(2**31))),
        ((Encoding("uint8", nodata=0), Encoding("uint16", nodata=0)), ("uint16", 0)),
        ((Encoding("int16"), Encoding("float32")), ("float32", None)),
        ((Encoding("int32"), Encoding("float32")), ("float64", None)),
        ((Encoding("float32", nodata=-1.0), Encoding("float64", nodata=-1.0)), ("float64", -1.0)),
        ((Encoding("uint8", nodata=0), Encoding("uint8", nodata=255)), ("int16", -32768)),
        # 65535 * 1e-4 - 0.1 is 64535 of the first one's steps, and 0 is -1000 of them.
        ((Encoding("uint16", 1e-4, nodata=0), Encoding("uint16", 1e-4, -0.1, nodata=0)), ("int32", -(2**31))),
        ((Encoding("int16", 1e-4), Encoding("float32")), ("float32", None)),
        ((Encoding("uint8", 0.01, nodata=0), Encoding("uint8", 1 / 255, nodata=0)), ("float32", None)),
        ((Encoding("int16", 0.01, stored="db"), Encoding("uint16", nodata=0, stored="amplitude")), ("float32", None)),
        ((Encoding("uint64"),), ("float64", None)),
        ((Encoding("uint32"),), ("int64", -(2.0**53))),
        ((Encoding("uint8", nodata=0.5),), ("int16", -32768)),
        ((Encoding("float32", nodata=-1.8e308),), ("float32", None)),
    ],
)
def test_the_type_holds_the_numbers_of_all(encodings: tuple[Encoding, ...], expected: tuple[str, float | None]) -> None:
    chosen = storage.of([raster("a", encoding) for encoding in encodings], ())
    assert (chosen.dtype, None if np.isnan(chosen.nodata) else chosen.nodata) == expected
    assert chosen.encodings["a"].same_value(encodings[0])


def test_channels_of_one_type_keep_their_own_scales() -> None:
    first, second = Encoding("uint16", 1e-4, nodata=0), Encoding("float32")
    chosen = storage.of([raster("a", first), raster("b", second)], ())
    assert chosen.dtype == "float32"
    assert [chosen.encodings[name].scale for name in "ab"] == [1e-4, 1.0]


def test_a_valid_number_never_becomes_nodata() -> None:
    chosen = storage.of([raster("a", Encoding("uint16", nodata=0))], ())
    numbers = np.array([np.nan, 0.2, -5.0, 7.5, 70000.0], dtype="float32")
    assert chosen.pack(numbers).tolist() == [0, 1, 1, 8, 65535]
    top = storage.of([raster("a", Encoding("uint8", nodata=255))], ())
    assert top.pack(np.array([255.0, np.nan], dtype="float32")).tolist() == [254, 255]
    floats = storage.of([raster("a", Encoding("float32", nodata=-1.0))], ())
    assert floats.pack(np.array([np.nan, 2.0], dtype="float32")).tolist() == [-1.0, 2.0]
