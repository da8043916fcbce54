import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safe_products
from conftest import Run, WriteArea, require, square

from geoembed.chips import folder as chip_folder
from geoembed.errors import ImageryError
from geoembed.imagery import sources
from geoembed.imagery.modalities import BUILT_IN, Modality, Source
from geoembed.imagery.rasters import Raster

S2 = BUILT_IN[0]
RNG = np.random.default_rng(0)
BANDS = {band: RNG.integers(1_100, 6_000, (64, 64)) for band in ("B04", "B03", "B02", "B08")}


@pytest.fixture(autouse=True)
def _jpeg_2000() -> None:
    require("JP2OpenJPEG")


def found(path: object, **keys: object) -> tuple[Raster, ...]:
    return sources.find(replace(S2, sources=(Source((str(path),), **keys),)))  # type: ignore[arg-type]


def encodings(rasters: tuple[Raster, ...]) -> list[tuple[float, float, float | None]]:
    return [(one.encodings[0].scale, one.encodings[0].offset, one.encodings[0].nodata) for one in rasters]


@pytest.mark.parametrize("where", ["{safe}", "{safe}/..", "{safe}/../*.SAFE"])
def test_a_product_gives_red_green_and_blue_of_its_season(tmp_path: Path, where: str) -> None:
    safe = safe_products.make(tmp_path, BANDS)
    rasters = found(where.format(safe=safe))
    assert [one.channels for one in rasters] == [("jja_red",), ("jja_green",), ("jja_blue",)]
    assert [one.path.name[-11:] for one in rasters] == ["B04_10m.jp2", "B03_10m.jp2", "B02_10m.jp2"]
    assert encodings(rasters) == [(1e-4, -0.1, 0.0)] * 3


def test_bands_are_named_as_esa_names_them(tmp_path: Path) -> None:
    safe = safe_products.make(tmp_path, {**BANDS, "B11": RNG.integers(1, 9, (32, 32))}, day="2021-01-05")
    assert [one.channels[0] for one in found(safe, bands=("B08", "B11"))] == ["djf_nir", "djf_swir16"]
    assert [one.channels[0] for one in found(safe, bands=("B08",), names=("near",))] == ["near"]
    assert [one.channels[0] for one in found(safe, names=("r", "g", "b"))] == ["r", "g", "b"]
    for keys, told in (
        ({"bands": (4,)}, "has no band 4"),
        ({"bands": ("B4",)}, "did you mean B04"),
        ({"bands": ("B12",)}, "holds no file of B12"),
        ({"names": ("r",)}, "1 names for B04, B03, B02"),
    ):
        with pytest.raises(ImageryError, match=told):
            found(safe, **keys)


def test_offsets_are_each_bands_own_and_those_of_the_settings_come_first(tmp_path: Path) -> None:
    safe = safe_products.make(tmp_path, BANDS, offsets={1: -1000, 2: -900, 3: -800})
    assert [offset for _, offset, _ in encodings(found(safe))] == pytest.approx([-0.08, -0.09, -0.1])
    assert encodings(found(safe, scale=0.5, nodata=7.0))[0] == (0.5, -0.08, 7.0)
    assert encodings(found(safe, scale=1.0, offset=0.0))[0] == (1.0, 0.0, None)


def test_before_baseline_4_there_is_no_offset(tmp_path: Path) -> None:
    safe = safe_products.make(tmp_path, BANDS, baseline="02.14", offsets={})
    assert encodings(found(safe)) == [(1e-4, 0.0, 0.0)] * 3


def test_level_1c_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    safe = safe_products.make(tmp_path, BANDS, level="L1C")
    with caplog.at_level(logging.WARNING):
        assert encodings(found(safe)) == [(1e-4, -0.1, 0.0)] * 3
    assert "top of the atmosphere" in caplog.text


def test_a_file_in_a_product_has_its_offset_and_its_name(tmp_path: Path) -> None:
    safe = safe_products.make(tmp_path, BANDS)
    rasters = found(f"{safe}/GRANULE/*/IMG_DATA/R10m/*_B0[34]_10m.jp2")
    assert encodings(rasters) == [(1e-4, -0.1, 0.0)] * 2
    assert [one.channels for one in rasters] == [("jja_green",), ("jja_red",)]
    archive = tmp_path / "product.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in safe.rglob("*.*"):
            file.write(path, path.relative_to(tmp_path))
    inside = rasters[1].path.relative_to(tmp_path)
    assert encodings(found(f"/vsizip/{archive}/{inside}")) == [(1e-4, -0.1, 0.0)]


def test_a_file_without_its_product_is_refused_unless_its_numbers_are_told(tmp_path: Path) -> None:
    path = tmp_path / "T32TMT_20200701T101559_B04_10m.jp2"
    safe_products.write_band(path, BANDS["B04"], 500_000, 5_000_000, 10)
    with pytest.raises(ImageryError, match=r"no MTD_MSIL2A.xml above it.*scale = 0.0001 and offset = -0.1"):
        found(path, names=("jja_red",))
    assert encodings(found(path, names=("jja_red",), scale=1e-4, offset=-0.1)) == [(1e-4, -0.1, None)]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("<n1:General_Info>", "<n1:Gener", "cannot be read as the metadata"),
        ("<n1:Level", '<!DOCTYPE a [<!ENTITY b "c">]><n1:Level', "document type"),
        ("BOA_QUANTIFICATION_VALUE", "AOT_VALUE", "cannot be read as the metadata"),
        (">10000<", ">0<", "its quantification is 0"),
        (">10000<", ">nan<", "its quantification is nan"),
        ('band_id="3"', 'band_id="2"', "BOA_ADD_OFFSET of band 2"),
        ('band_id="3"', 'band_id="77"', "BOA_ADD_OFFSET of band 77"),
        ("BOA_ADD_OFFSET", "OTHER", "it tells no offsets, and its baseline is 05.10"),
        ("2020-07-01T", "yesterday", "cannot be read as the metadata"),
        ("PROCESSING_BASELINE", "BASELINE", "lacks 'PROCESSING_BASELINE'"),
    ],
)
def test_metadata_that_cannot_be_trusted_is_an_error(tmp_path: Path, before: str, after: str, told: str) -> None:
    safe = safe_products.make(tmp_path, BANDS)
    path = safe / "MTD_MSIL2A.xml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(ImageryError, match=told) as error:
        found(safe)
    assert "\n" not in str(error.value)


def test_a_folder_without_metadata_or_granules_is_told(tmp_path: Path) -> None:
    safe = safe_products.make(tmp_path, BANDS)
    (safe / "GRANULE").rename(tmp_path / "elsewhere")
    with pytest.raises(ImageryError, match="holds no granule"):
        found(safe)
    (tmp_path / "elsewhere").rename(safe / "GRANULE")
    (safe / "MTD_MSIL2A.xml").unlink()
    with pytest.raises(ImageryError, match=r"holds neither MTD_MSIL2A\.xml nor"):
        found(safe)


def test_chips_of_two_baselines_hold_reflectance(tmp_path: Path, run: Run, write_area: WriteArea) -> None:
    """The same ground before and after the offset, west and east: values agree, whatever is stored."""
    before = {band: numbers - 1000 for band, numbers in BANDS.items()}
    safe_products.make(tmp_path / "s2", before, day="2021-07-01", baseline="03.00", offsets={})
    safe_products.make(tmp_path / "s2", BANDS, day="2022-07-01", x=500_640.0)
    area = write_area("aoi.gpkg", square(500_000, 5_000_000 - 640, 1280))
    out = tmp_path / "chips"
    done = run("chip", "--aoi", area, "--source", f"s2={tmp_path / 's2'}", "--size", 16, "-o", out)
    assert done.exit_code == 0, done.stderr
    chips = chip_folder.read(out)
    assert chips.channels["s2"] == ("jja_red", "jja_green", "jja_blue")
    means = {}
    for row, (x, y) in enumerate(zip(*chips.cells.grid.centres(chips.cells.columns, chips.cells.rows), strict=True)):
        top, left = int(5_000_000 - y) // 10 - 8, int(x - 500_000) // 10 - 8
        if 0 <= top <= 48 and 0 <= left % 64 <= 48 and left >= 0:
            means[row] = left // 64
            expected = (BANDS["B04"][top : top + 16, left % 64 : left % 64 + 16] - 1000) * 1e-4
            np.testing.assert_allclose(chips.read(row, "s2").values[0], expected, atol=1e-6)
    assert set(means.values()) == {0, 1}


def test_other_modalities_take_bands_of_products(tmp_path: Path) -> None:
    safe = safe_products.make(tmp_path, BANDS)
    infrared = Modality("nir", sources=(Source((str(safe),), bands=("B08",)),))
    assert [one.channels for one in sources.find(infrared)] == [("jja_nir",)]
