"""Each kind of wrong number is told with the line that mends it; right numbers pass."""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geoembed.imagery import checks, samples, sources
from geoembed.imagery.modalities import BUILT_IN, Source
from geoembed.imagery.rasters import Encoding
from geoembed.imagery.windows import Readers

S2, S1, COH = BUILT_IN
COLOURS = ("jja_red", "jja_green", "jja_blue")
GENERATOR = np.random.default_rng(5)
LAND = np.sort(GENERATOR.gamma(4.0, 0.03, 4000))
"""Reflectance of land with some water: from 0.01 to 0.4."""
DECIBEL = GENERATOR.normal(-11.0, 3.0, 4000)
AMPLITUDE = {"scale": 7.0795e-05, "stored": "amplitude"}
FLOATS = Encoding("float32")
SHARES = GENERATOR.beta(2.0, 3.0, 4000)


def told(
    unit: str, *stored: np.ndarray, names: Sequence[str] = COLOURS, encoding: Encoding = FLOATS
) -> list[checks.Fault]:
    values = [numbers * (encoding.scale or 1.0) + encoding.offset for numbers in stored]
    pairs = zip(names, values, strict=False)
    return checks.examine(unit, [checks.statistics(name, value, encoding) for name, value in pairs])


def line(fault: checks.Fault) -> dict[str, object]:
    """The settings that mend it, as TOML says them."""
    return tomllib.loads(fault.setting.replace(", ", "\n"))


def test_statistics_are_numpys_and_leave_a_fill_out_of_the_percentiles() -> None:
    values = np.append(LAND, [np.nan, -9999.0, -9999.0])
    channel = checks.statistics("red", values, Encoding("float32"))
    assert (channel.count, channel.valid) == (4003, 4002 / 4003)
    assert (channel.fill, channel.fill_share) == (-9999.0, 2 / 4002)
    assert (channel.minimum, channel.maximum) == (-9999.0, LAND.max())
    assert [channel.p1, channel.median, channel.p99] == np.percentile(LAND, [1, 50, 99]).tolist()
    assert channel.to_json()["mean"] == pytest.approx(LAND.mean(), rel=1e-5)
    assert "encoding" not in channel.to_json()
    empty = checks.statistics("red", np.full(9, np.nan), Encoding("float32"))
    assert (empty.valid, empty.to_json()["p99"]) == (0.0, None)
    assert checks.faults("surface reflectance", [empty]) == []


@pytest.mark.parametrize(
    ("unit", "stored", "encoding"),
    [
        ("surface reflectance", LAND, Encoding("float32")),
        ("surface reflectance", LAND * 1e4, Encoding("int16", 1e-4)),
        ("surface reflectance", LAND + 0.7, Encoding("float32")),  # snow
        ("gamma0 in dB", DECIBEL, Encoding("float32", stored="db")),
        ("gamma0 in dB", 10.0 ** (DECIBEL / 10.0), Encoding("float32", stored="linear")),
        ("interferometric coherence", SHARES, Encoding("float32")),
        ("m", np.append(LAND, 0.0) * 9e5, Encoding("float32")),
        ("", DECIBEL, Encoding("float32")),
    ],
)
def test_right_numbers_pass(unit: str, stored: np.ndarray, encoding: Encoding) -> None:
    assert told(unit, stored, stored * 1.02, stored * 0.97, encoding=encoding) == []


@pytest.mark.parametrize(
    ("unit", "stored", "encoding", "remedy"),
    [
        ("surface reflectance", LAND * 1e4, Encoding("uint16"), {"scale": 1e-4}),
        ("surface reflectance", LAND * 1e6, Encoding("float32", 0.01), {"scale": 1e-6}),
        ("surface reflectance", LAND * 100, Encoding("float32"), {"scale": 0.01}),
        ("surface reflectance", np.minimum(LAND * 600, 255), Encoding("uint8"), {"scale": 0.003921568627}),
        ("interferometric coherence", SHARES * 100, Encoding("uint8"), {"scale": 0.01}),
        ("interferometric coherence", SHARES * 255, Encoding("uint8"), {"scale": 0.003921568627}),
        ("interferometric coherence", SHARES * 255, Encoding("float32"), {"scale": 0.003921568627}),
        ("gamma0 in dB", 10.0 ** (DECIBEL / 10.0), Encoding("float32", stored="db"), {"stored": "linear"}),
        ("gamma0 in dB", DECIBEL * 100, Encoding("int16", stored="db"), {"scale": 0.01}),
        ("gamma0 in dB", 14125 * 10.0 ** (DECIBEL / 20.0), Encoding("uint16", stored="db"), AMPLITUDE),
        ("gamma0 in dB", DECIBEL, Encoding("float32", stored="linear"), {"stored": "db"}),
        ("surface reflectance", np.append(LAND, -9999.0), Encoding("float32"), {"nodata": -9999.0}),
        ("gamma0 in dB", np.append(DECIBEL, np.float32(9.96921e36)), FLOATS, {"nodata": 9.969209968386869e36}),
        ("interferometric coherence", np.append(SHARES, -32768.0), Encoding("float32"), {"nodata": -32768.0}),
        ("surface reflectance", LAND * 1e4, Encoding("uint16", 0.0), {"scale": 1e-4}),
    ],
)  # fmt: skip
def test_the_impossible_is_told_with_the_line_that_mends_it(
    unit: str, stored: np.ndarray, encoding: Encoding, remedy: dict[str, object]
) -> None:
    (fault,) = told(unit, stored, stored, stored, encoding=encoding)
    assert fault.impossible
    assert line(fault) == remedy
    assert f"; write {fault.setting} under [modalities.s2] in geoembed.toml" in fault.text("s2")
    assert fault.text("s2").startswith("jja_red, jja_green, jja_blue: ")
    mended = replace(encoding, **remedy)  # type: ignore[arg-type]
    if mended.nodata is not None:
        stored = np.where(np.isclose(stored, mended.nodata), np.nan, stored)
    assert told(unit, stored, stored, stored, encoding=mended) == [], "the remedy mends it"


def test_zeros_without_a_tag_are_asked_about_where_the_unit_is_known() -> None:
    stored = np.append(LAND, np.zeros(400)) * 1e4
    (fault,) = told("surface reflectance", stored, encoding=Encoding("int16", 1e-4))
    assert (fault.impossible, line(fault)) == (False, {"nodata": 0.0})
    assert "9.1 % of the pixels are 0" in fault.seen
    assert told("surface reflectance", stored, encoding=Encoding("int16", 1e-4, nodata=-1)) == []
    assert told("m", stored) == []


def test_a_fill_in_a_unit_that_is_not_known_is_told_but_possible() -> None:
    (fault,) = told("m", np.append(LAND, -9999.0))
    assert not fault.impossible and line(fault) == {"nodata": -9999.0}


@pytest.mark.parametrize("unit", ["surface reflectance", "m"])
def test_a_constant_channel_is_told(unit: str) -> None:
    (fault,) = told(unit, LAND, np.full(50, 0.25), LAND)
    assert fault.channels == ("jja_green",) and "all pixels looked at are 0.25" in fault.seen


def test_the_offset_of_sentinel_2_is_told_with_and_without_scale() -> None:
    for encoding, seen in ((Encoding("uint16", 1e-4), 1), (Encoding("uint16"), 2)):
        found = told("surface reflectance", *[LAND * 1e4 + 1000] * 3, encoding=encoding)
        assert len(found) == seen and not found[-1].impossible
        assert line(found[-1]) == {"offset": -0.1}
    (fault,) = told("surface reflectance", *[LAND * 1e4] * 3, encoding=Encoding("uint16", 1e-4, offset=-0.1))
    assert "below 0" in fault.seen and line(fault) == {"offset": 0.0}


@pytest.fixture
def readers() -> Readers:
    return Readers()


def test_of_five_real_scenes_one_has_the_offset(scenes: Path, readers: Readers) -> None:
    keys = {"bands": (4, 3, 2), "names": COLOURS}
    source = Source((str(scenes / "five-scenes/s2"),), scale=1e-4, **keys)  # type: ignore[arg-type]
    found = {
        raster.path.stem: checks.examine(S2.unit, samples.statistics(raster, readers))
        for raster in sources.find(replace(S2, sources=(source,)))
    }
    (fault,) = found.pop("433D_629L_3_1")
    assert line(fault) == {"offset": -0.1}
    assert found == {name: [] for name in found} and len(found) == 4


def test_real_scenes_with_bands_in_the_wrong_order_are_told_but_for_snow_and_offset(
    scenes: Path, readers: Readers
) -> None:
    source = Source((str(scenes / "five-scenes/s2"),), scale=1e-4, bands=(2, 3, 4), names=COLOURS)
    told_of = {
        raster.path.stem
        for raster in sources.find(replace(S2, sources=(source,)))
        if "another order" in "".join(checks.faults(S2.unit, samples.statistics(raster, readers)))
    }
    assert told_of == {"282D_485L_3_3", "38D_378R_2_3", "637U_59R_1_3"}


def test_real_radar_and_coherence_pass(scenes: Path, readers: Readers) -> None:
    radar = replace(S1, sources=(Source((str(scenes / "five-scenes/s1"),), names=("jja_vv", "jja_vh")),))
    place = str(scenes / "naples-coherence/mean_coherence.tif")
    coherence = replace(COH, sources=(Source((place,), names=("jja_coh12",)),))
    for modality in (radar, coherence):
        for raster in sources.find(modality):
            assert checks.faults(modality.unit, samples.statistics(raster, readers)) == []
