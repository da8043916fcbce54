import logging
import re
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
from synthetic import LATTICE, chip_folder, ids, raster

from geoembed.errors import ImageryError, LabelError, StaleError
from geoembed.ground import grid
from geoembed.labels import files as label_files
from geoembed.labels import legend
from geoembed.labels import targets as targets_of
from geoembed.labels.rules import parse, parse_names
from geoembed.steps.label import label

# The lower left corner of the cells that `ids` gives: column 1500, row 16000 of 320 m.
LEFT, BOTTOM = 480_000.0, 5_120_000.0


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    return chip_folder(tmp_path / "chips", ids(LATTICE, 4, 3))


def labelled(path: Path) -> Any:
    return geopandas.read_file(path).set_index("chip_id")


def test_fractions_are_those_of_the_pixels(tmp_path: Path, chips: Path) -> None:
    values = np.random.default_rng(0).choice(np.array([10, 40, 80, 0], dtype=np.uint8), (96, 128))
    path = raster(tmp_path / "cover.tif", values, LEFT, BOTTOM + 960, 10.0, nodata=0)
    done = label((path,), output=tmp_path / "out", chips=chips, classes=("water=80", "vegetation=10,20,40"))
    assert done.paths == (tmp_path / "out/water.gpkg", tmp_path / "out/vegetation.gpkg")
    water, plants = labelled(done.paths[0]), labelled(done.paths[1])
    for r in range(3):
        for c in range(4):
            cell = values[(2 - r) * 32 : (3 - r) * 32, c * 32 : (c + 1) * 32]
            chip_id = LATTICE.chip_id(1500 + c, 16000 + r)
            assert water.loc[chip_id, "fraction"] == pytest.approx((cell == 80).sum() / (cell > 0).sum(), abs=1e-9)
            assert plants.loc[chip_id, "fraction"] == pytest.approx(np.isin(cell, [10, 40]).sum() / (cell > 0).sum())
            assert water.loc[chip_id, "valid"] == pytest.approx((cell > 0).mean(), abs=1e-9)
            assert plants.loc[chip_id, "label"] == int(plants.loc[chip_id, "fraction"] >= 0.5)
    assert water.crs == "EPSG:4326"
    assert done.counts["chips_labelled"] == 12


def test_a_border_through_pixels_counts_their_parts(tmp_path: Path, chips: Path) -> None:
    # Pixels of 200 m from the cells' corner: a cell of 320 m has 1.6 x 1.6 of them.
    values = np.zeros((5, 7), dtype=np.uint8)
    values[-1, 0] = values[-2, 0] = 1
    path = raster(tmp_path / "coarse.tif", values, LEFT, BOTTOM + 1000, 200.0)
    done = label((path,), output=tmp_path / "a.gpkg", chips=chips, classes=("a=1",))
    fraction = labelled(done.paths[0])["fraction"]
    assert fraction[LATTICE.chip_id(1500, 16000)] == pytest.approx(200 * 320 / 320**2)
    assert fraction[LATTICE.chip_id(1500, 16001)] == pytest.approx(200 * 80 / 320**2)
    assert fraction[LATTICE.chip_id(1501, 16000)] == 0


def test_geographic_raster_agrees_with_area(tmp_path: Path, chips: Path) -> None:
    # A half plane in degrees: left of the meridian through the cells' middle is class 1.
    cells = grid.cells([LATTICE], ids(LATTICE, 4, 3))
    shapes, bounds = cells.outlines, cells.bounds()
    west, middle = bounds[:, 0].min() - 0.001, float(np.mean([bounds[:, 0].min(), bounds[:, 2].max()]))
    pixel = (middle - west) / 400
    values = np.ones((800, 800), dtype=np.uint8)
    values[:, 400:] = 2
    path = raster(tmp_path / "degrees.tif", values, west, bounds[:, 3].max() + 0.001, pixel, crs="EPSG:4326")
    done = label((path,), output=tmp_path / "a.gpkg", chips=chips, classes=("a=1",))
    table = labelled(done.paths[0])
    import shapely

    left = shapely.area(shapely.intersection(shapes, shapely.box(0, 0, middle, 90))) / shapely.area(shapes)
    assert table["fraction"].to_numpy() == pytest.approx(left, abs=1e-4)


def test_tiles_are_one_mosaic_and_the_first_by_name_wins(tmp_path: Path, chips: Path) -> None:
    left_half = np.full((96, 70), 1, dtype=np.uint8)
    left_half[:, 40:50] = 0  # a hole of nodata, filled from the second
    right_half = np.full((96, 90), 2, dtype=np.uint8)
    a = raster(tmp_path / "a.tif", left_half, LEFT, BOTTOM + 960, 10.0, nodata=0)
    b = raster(tmp_path / "b.tif", right_half, LEFT + 380, BOTTOM + 960, 10.0, nodata=0)
    done = label((b, a), output=tmp_path / "m.gpkg", chips=chips, classes=("two=2",))
    table = labelled(done.paths[0])
    row = table.loc[[LATTICE.chip_id(1500 + c, 16001) for c in range(4)]]
    assert row["fraction"].tolist() == pytest.approx([0.0, 10 / 32, 26 / 32, 1.0])
    assert row["valid"].tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0])


def test_other_lattices_fill_what_is_left(tmp_path: Path, chips: Path) -> None:
    # 10 m pixels cover half of the first cell, 20 m pixels (on another lattice) all of it.
    fine = raster(tmp_path / "a.tif", np.full((96, 16), 1, dtype=np.uint8), LEFT, BOTTOM + 960, 10.0)
    wide = raster(tmp_path / "b.tif", np.full((60, 90), 2, dtype=np.uint8), LEFT - 7, BOTTOM + 1007, 20.0)
    done = label((fine, wide), output=tmp_path / "m.gpkg", chips=chips, classes=("one=1",))
    table = labelled(done.paths[0])
    assert table.loc[LATTICE.chip_id(1500, 16000), "fraction"] == pytest.approx(0.5)
    assert table.loc[LATTICE.chip_id(1501, 16000), "fraction"] == pytest.approx(0.0)
    assert table["valid"].max() <= 1.0


def test_means_use_scale_and_leave_nan_out(tmp_path: Path, chips: Path) -> None:
    values = np.random.default_rng(1).normal(5, 2, (96, 128)).astype(np.float32)
    values[64:, :32] = np.nan
    path = raster(tmp_path / "height.tif", values, LEFT, BOTTOM + 960, 10.0, scale=(2.0, 1.0))
    done = label((path,), output=tmp_path / "o", chips=chips, above=11.0)
    table = labelled(tmp_path / "o/height.gpkg")
    assert done.counts["chips_without_valid_pixels"] == 1
    assert LATTICE.chip_id(1500, 16000) not in table.index
    cell = values[32:64, 32:64]
    row = table.loc[LATTICE.chip_id(1501, 16001)]
    assert row["value"] == pytest.approx(float(cell.mean()) * 2 + 1, rel=1e-5)
    assert row["label"] == int(row["value"] > 11.0)


def test_chips_over_180_degrees(tmp_path: Path) -> None:
    lattice = grid.utm(1, south=True, size=32, resolution=1000.0)
    column = int(lattice.column_at(np.array([240_000.0]))[0])
    chip_ids = np.array([lattice.chip_id(c, 280) for c in range(column - 3, column + 4)])
    bounds = grid.cells([lattice], chip_ids).bounds()
    assert (bounds[:, 0] > bounds[:, 2]).any(), "no chip crosses 180 degrees; the test needs one"
    chips = chip_folder(tmp_path / "chips", chip_ids, (lattice,))
    values = np.full((900, 3600), 1, dtype=np.uint8)
    values[:, 1800:] = 2  # east of Greenwich, that is west of the antimeridian
    path = raster(tmp_path / "world.tif", values, -180.0, 0.0, 0.1, crs="EPSG:4326")
    done = label((path,), output=tmp_path / "east.gpkg", chips=chips, classes=("east=2",))
    table = labelled(done.paths[0]).loc[chip_ids]
    assert table["valid"].to_numpy() == pytest.approx(1.0, abs=1e-3)
    crossing = (bounds[:, 0] > bounds[:, 2]) & (bounds[:, 2] > -179.95) & (bounds[:, 0] < 179.95)
    assert ((table["fraction"] > 0) & (table["fraction"] < 1))[crossing].all()
    assert table["fraction"].iloc[0] == 1 or table["fraction"].iloc[-1] == 0


def test_a_huge_sparse_raster_is_read_near_chips_only(tmp_path: Path, chips: Path) -> None:
    import rasterio
    from affine import Affine
    from rasterio.windows import Window

    path = tmp_path / "sparse.tif"
    pixel = 360 / 240_000
    bounds = grid.cells([LATTICE], ids(LATTICE, 4, 3)).bounds()
    with rasterio.open(
        path, "w", driver="GTiff", width=240_000, height=120_000, count=1, dtype="uint8", crs="EPSG:4326", tiled=True,
        transform=Affine(pixel, 0, -180, 0, -pixel, 90), nodata=0, sparse_ok=True, compress="deflate",
    ) as file:  # fmt: skip
        column, row = int((bounds[0, 0] + 180) / pixel), int((90 - bounds[0, 1]) / pixel)
        file.write(np.full((40, 60), 80, dtype=np.uint8), 1, window=Window(column - 10, row - 20, 60, 40))
    done = label((path,), output=tmp_path / "w.gpkg", chips=chips, classes=("water",))
    assert labelled(done.paths[0])["fraction"].tolist() == [1.0] * 12


def test_a_chip_larger_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chips: Path) -> None:
    monkeypatch.setattr("geoembed.imagery.mosaics.BLOCK_PIXELS", 100)
    monkeypatch.setattr("geoembed.imagery.mosaics.BLOCK_SIDE", 16)
    values = np.random.default_rng(2).choice(np.array([1, 2], dtype=np.uint8), (96, 128))
    path = raster(tmp_path / "c.tif", values, LEFT, BOTTOM + 960, 10.0, tiled=True, blockxsize=16, blockysize=16)
    table = labelled(label((path,), output=tmp_path / "a.gpkg", chips=chips, classes=("a=1",)).paths[0])
    assert table.loc[LATTICE.chip_id(1501, 16001), "fraction"] == pytest.approx((values[32:64, 32:64] == 1).mean())
    assert table["valid"].to_numpy() == pytest.approx(1.0)


def test_rerun_keeps_changes_are_refused_and_overwrite_obeys(tmp_path: Path, chips: Path) -> None:
    path = raster(tmp_path / "c.tif", np.ones((96, 128), dtype=np.uint8), LEFT, BOTTOM + 960, 10.0)
    out = tmp_path / "a.gpkg"
    label((path,), output=out, chips=chips, classes=("a=1",))
    before = out.read_bytes()
    assert label((path,), output=out, chips=chips, classes=("a=1",)).counts["files_kept"] == 1
    assert out.read_bytes() == before
    with pytest.raises(StaleError, match=r"threshold was 0\.5, now 0\.9"):
        label((path,), output=out, chips=chips, classes=("a=1",), threshold=0.9)
    label((path,), output=out, chips=chips, classes=("a=1",), threshold=0.9, overwrite=True)
    foreign = tmp_path / "foreign.gpkg"
    geopandas.read_file(out).to_file(foreign, layer="labels", driver="GPKG")
    with pytest.raises(StaleError, match="not made by geoembed"):
        label((path,), output=foreign, chips=chips, classes=("a=1",), overwrite=True)


def test_what_cannot_be_labelled_says_the_remedy(tmp_path: Path, chips: Path) -> None:
    ones = np.ones((96, 128), dtype=np.uint8)
    colours = raster(tmp_path / "col.tif", ones, LEFT, BOTTOM + 960, 10.0, colours={1: (1, 2, 3, 255)})
    far = raster(tmp_path / "far.tif", ones, LEFT + 1e5, BOTTOM, 10.0)
    with pytest.raises(LabelError, match="no valid pixel lies on a chip"):
        label((far,), output=tmp_path / "x.gpkg", chips=chips, classes=("a=1",))
    assert not (tmp_path / "x.gpkg").exists()
    nowhere = raster(tmp_path / "nocrs.tif", ones, LEFT, BOTTOM, 10.0, crs=None)
    with pytest.raises(ImageryError, match="no CRS"):
        label((nowhere,), chips=chips, classes=("a=1",))
    with pytest.raises(ImageryError, match="no such raster"):
        label((tmp_path / "none.tif",), chips=chips, classes=("a=1",))
    for options, words in (
        ({"classes": ("a=1", "a=2")}, "given twice"),
        ({"classes": ("a=1",), "above": 1.0}, "drop one"),
        ({"names": "a=1", "above": 1.0}, "--above is for rasters of numbers and --names for classes"),
        ({"names": "a=1", "classes": ("a=1",)}, "drop one"),
        ({"names": "a=1", "kind": "numbers"}, "drop one"),
        ({"above": 1.0}, "holds classes .*--above is for numbers"),
        ({"kind": "fuzzy"}, "there are classes and numbers"),
        ({"kind": "numbers", "threshold": 0.8}, "holds numbers, which take --above"),
        ({"classes": ("a=1",), "threshold": 0.0}, "above 0"),
        ({"classes": ("a=1", "b=2")}, "folder"),
    ):
        with pytest.raises(LabelError, match=words):
            label((colours,), output=tmp_path / "y.gpkg", chips=chips, **options)


def test_complex_numbers_are_no_labels(tmp_path: Path, chips: Path) -> None:
    values = (np.ones((96, 128)) + 2j).astype(np.complex64)
    path = raster(tmp_path / "slc.tif", values, LEFT, BOTTOM + 960, 10.0)
    for classes in ((), ("water=1",)):
        with pytest.raises(ImageryError, match="band 1 is complex"):
            label((path,), output=tmp_path / "a.gpkg", chips=chips, classes=classes)
    assert not (tmp_path / "a.gpkg").exists()


def test_a_class_that_is_nowhere_is_warned_of(tmp_path: Path, chips: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = raster(tmp_path / "c.tif", np.full((96, 128), 40, dtype=np.uint8), LEFT, BOTTOM + 960, 10.0)
    with caplog.at_level(logging.WARNING, "geoembed"):
        done = label((path,), output=tmp_path / "w.gpkg", chips=chips, classes=("water=80",))
    assert "no chip has a pixel of class 80; the classes on chips are: 40 (cropland)" in caplog.text
    assert labelled(done.paths[0])["label"].tolist() == [0] * 12


PATCHES = np.kron(np.array([[1, 2, 3, 3], [1, 1, 2, 2], [3, 3, 3, 1]]), np.ones((32, 32))).astype(np.uint8)
"""A class per chip, by rows from the north."""


def labels_of(path: Path) -> list[Any]:
    """The labels of the chips, by rows from the north, None where a chip has none."""
    found = labelled(path)["label"].to_dict()
    ids_ = (LATTICE.chip_id(1500 + c, 16000 + r) for r in (2, 1, 0) for c in range(4))
    return [found.get(chip_id) for chip_id in ids_]


def test_all_classes_make_one_layer(tmp_path: Path, chips: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = PATCHES.copy()
    values[:20, :32] = 5  # 20 of 32 rows of the first chip
    values[:16, 32:64] = 7  # a half of the second: a tie
    values[0:32, 64:96] = np.arange(32) % 3 + 1  # thirds of the third: mixed
    path = raster(tmp_path / "cover.tif", values, LEFT, BOTTOM + 960, 10.0)
    with caplog.at_level(logging.INFO, "geoembed"):
        done = label((path,), output=tmp_path / "o", chips=chips, names="crops=1,water=2, city=3,7")
    assert done.paths == (tmp_path / "o/cover.gpkg",)
    found = labels_of(done.paths[0])
    assert found == ["5", None, None, "city", "crops", "crops", "water", "water", "city", "city", "city", "crops"]
    table = labelled(done.paths[0])
    first = table.loc[LATTICE.chip_id(1500, 16002)]
    assert (first["fraction"], first["share_5"], first["share_crops"], first["share_water"]) == (0.625, 0.625, 0.375, 0)
    assert (done.counts["chips_labelled"], done.counts["chips_mixed"]) == (10, 2)
    assert "2 chips are mixed" in caplog.text and "called by number: 5" in caplog.text
    assert "10 of 12 chips labelled: 4 city, 3 crops, 2 water, 1 5" in caplog.text
    # A higher threshold leaves out what is less pure, and without names labels are numbers.
    done = label((path,), output=tmp_path / "p.gpkg", chips=chips, threshold=0.7)
    assert labels_of(tmp_path / "p.gpkg") == [None, None, None, 3, 1, 1, 2, 2, 3, 3, 3, 1]
    assert targets_of.join(label_files.read(tmp_path / "p.gpkg"), ids(LATTICE, 4, 3), (LATTICE,)).classes == (1, 2, 3)
    assert label((path,), output=tmp_path / "p.gpkg", chips=chips, threshold=0.7).counts["files_kept"] == 1
    with pytest.raises(StaleError, match="names"):
        label((path,), output=tmp_path / "p.gpkg", chips=chips, threshold=0.7, names="a=1")
    with pytest.raises(LabelError, match="all chips are mixed"):
        thirds = np.tile(np.arange(128) % 3 + 1, (96, 1)).astype(np.uint8)
        mixed = raster(tmp_path / "mixed.tif", thirds, LEFT, BOTTOM + 960, 10.0)
        label((mixed,), output=tmp_path / "q.gpkg", chips=chips)


def test_names_come_with_the_raster(tmp_path: Path, chips: Path, caplog: pytest.LogCaptureFixture) -> None:
    named = raster(tmp_path / "named.tif", PATCHES, LEFT, BOTTOM + 960, 10.0)
    categories = "".join(f"<Category>{name}</Category>" for name in ("", "crops", "Crops", "city"))
    (tmp_path / "named.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    table = raster(
        tmp_path / "table.tif",
        PATCHES,
        LEFT,
        BOTTOM + 960,
        10.0,
    )
    fields = (("Value", 5), ("Name", 2))
    columns = "".join(f"<FieldDefn><Name>{n}</Name><Usage>{usage}</Usage></FieldDefn>" for n, usage in fields)
    rows = "".join(f"<Row><F>{value}</F><F>{name}</F></Row>" for value, name in ((1, "crops"), (3, "city")))
    (tmp_path / "table.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable>'
        f"{columns}{rows}</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )
    colours = {value: (*rgb, 255) for value, rgb in legend.COLOURS.items() if value < 90}
    cover = raster(tmp_path / "cover.tif", PATCHES * 10, LEFT, BOTTOM + 960, 10.0, colours=colours)
    other = raster(tmp_path / "other.tif", PATCHES * 10, LEFT, BOTTOM + 960, 10.0, colours={10: (1, 2, 3, 255)})
    official = raster(tmp_path / "ESA_WorldCover_10m_2021_Map.tif", PATCHES * 10, LEFT, BOTTOM + 960, 10.0)
    with caplog.at_level(logging.WARNING, "geoembed"):
        for path, first in (
            (named, ["crops", "Crops", "city"]),
            (table, ["crops", "2", "city"]),
            (cover, ["tree_cover", "shrubland", "grassland"]),
            (other, [10, 20, 30]),
        ):
            done = label((path,), output=tmp_path / f"{path.stem}.gpkg", chips=chips)
            assert labels_of(done.paths[0])[:3] == first
            assert "taken as classes" not in caplog.text
        assert labels_of(label((official,), output=tmp_path / "e.gpkg", chips=chips).paths[0])[0] == "tree_cover"
    done = label((other,), output=tmp_path / "w.gpkg", chips=chips, names="worldcover")
    assert labels_of(done.paths[0])[:2] == ["tree_cover", "shrubland"]


def test_whole_numbers_are_classes_or_numbers_and_it_is_said(
    tmp_path: Path, chips: Path, caplog: pytest.LogCaptureFixture
) -> None:
    codes = raster(tmp_path / "codes.tif", PATCHES, LEFT, BOTTOM + 960, 10.0)
    heights = np.random.default_rng(3).integers(-5, 900, (96, 128)).astype(np.int16)
    dem = raster(tmp_path / "dem.tif", heights, LEFT, BOTTOM + 960, 10.0)
    for path, kind, words in (
        (
            codes,
            None,
            "holds the whole numbers 1, 2, 3, taken as classes; --names names them, --kind numbers averages them",
        ),
        (codes, "classes", ""),
        (codes, "numbers", ""),
        (dem, None, r"holds the whole numbers -5, .*, which are averaged; --kind classes takes classes"),
        (dem, "numbers", ""),
        (raster(tmp_path / "float.tif", PATCHES.astype("float32"), LEFT, BOTTOM + 960, 10.0), None, "taken as classes"),
        (raster(tmp_path / "half.tif", PATCHES / 2.0, LEFT, BOTTOM + 960, 10.0), None, ""),
        (raster(tmp_path / "scaled.tif", PATCHES, LEFT, BOTTOM + 960, 10.0, scale=(0.5, 0.0)), None, ""),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "geoembed"):
            done = label((path,), output=tmp_path / "x.gpkg", chips=chips, kind=kind, overwrite=True)
        assert re.search(words, caplog.text) if words else not caplog.text
        assert ("label" in labelled(done.paths[0])) is (kind == "classes" or "taken" in words)
    means = labelled(label((dem,), output=tmp_path / "dem.gpkg", chips=chips).paths[0])["value"]
    assert means[LATTICE.chip_id(1500, 16002)] == pytest.approx(heights[:32, :32].mean())
    with pytest.raises(LabelError, match=r"dem\.tif: has more than 100 different values .*; pass --kind numbers"):
        label((dem,), output=tmp_path / "y.gpkg", chips=chips, kind="classes")


def test_names_as_typed() -> None:
    assert parse_names("water=1, tall trees=2,3,city=-4") == {1: "water", 2: "tall trees", 3: "tall trees", -4: "city"}
    assert parse_names("WorldCover")[80] == "water"
    for text, words in (("water", "write names"), ("1,water=2", "write names"), ("a=1,b=1", "1 has two names")):
        with pytest.raises(LabelError, match=words):
            parse_names(text)


def test_classes_as_typed() -> None:
    assert parse("water=80").values == (80,)
    assert parse("vegetation=10,20, 30").values == (10, 20, 30)
    assert parse("cropland") == parse("cropland=40")
    assert parse("Built-up").values == (50,)
    assert (parse("80").name, parse("80").values) == ("class_80", (80,))
    with pytest.raises(LabelError, match="did you mean cropland"):
        parse("croplnd")
    with pytest.raises(LabelError, match="NAME=NUMBER"):
        parse("water=blue")
    with pytest.raises(LabelError, match="cannot name a file"):
        parse("../x=1")


def test_record_survives_a_reader(tmp_path: Path, chips: Path) -> None:
    path = raster(tmp_path / "c.tif", np.ones((96, 128), dtype=np.uint8), LEFT, BOTTOM + 960, 10.0)
    out = label((path,), output=tmp_path / "a.gpkg", chips=chips, classes=("a=1",)).paths[0]
    assert "rasters" in pyogrio.read_info(out)["layer_metadata"]["geoembed"]
    assert (tmp_path / "a.qml").read_text().startswith("<!DOCTYPE qgis")


def test_a_name_stays_in_its_folder(tmp_path: Path, chips: Path) -> None:
    path = raster(tmp_path / "cover.tif", np.ones((96, 128), np.uint8), LEFT, BOTTOM + 960, 10.0)
    for name in ("../../x/y", "/x", "..", ".x"):
        for classes in (("a=1",), ()):
            with pytest.raises(LabelError, match="cannot name a file"):
                label((path,), output=tmp_path / "out", chips=chips, classes=classes, name=name)
    done = label((path,), output=tmp_path / "out", chips=chips, classes=("a=1",), name="my lake")
    assert done.paths == (tmp_path / "out/my_lake.gpkg",)


def test_killed_while_overwriting_nothing_old_is_kept(
    tmp_path: Path, chips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raster(tmp_path / "cover.tif", np.ones((96, 128), np.uint8), LEFT, BOTTOM + 960, 10.0)
    label((path,), output=tmp_path / "a.gpkg", chips=chips, classes=("a=1",))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("geoembed.outputs.styles.write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        label((path,), output=tmp_path / "a.gpkg", chips=chips, classes=("a=2",), overwrite=True)
    assert not (tmp_path / "a.gpkg").exists()
