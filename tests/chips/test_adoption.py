"""Chips that geetiles made are adopted where they lie: values, splits, what is missing, damage, and what stays."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from adopted_tiles import (
    BANDS,
    NAME,
    SIZE,
    box_of,
    content,
    identifier_of,
    make_tiles,
    stored_of,
    write_splits,
    write_tif,
)
from conftest import Run

import geoembed
from geoembed.chips import adoption
from geoembed.chips import folder as chip_folder
from geoembed.errors import ChipError, ConfigError, GeoembedError, StaleError
from geoembed.outputs import documents
from geoembed.progress import Result

N = 10
S2, S1 = "s2rgb-2020", "s1grd-2020"
SPLITS = f"{NAME}_splits_60bands_angle09_60-20-20.csv"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `lux`, in which geetiles has been, and its chips."""
    folder = tmp_path_factory.mktemp("adopted")
    make_tiles(folder / "lux", N)
    geoembed.chip(adopt=folder / "lux", output=folder / "chips")
    return folder


@pytest.fixture
def here(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working folder; times of modification are kept."""
    shutil.copytree(whole, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def file_of(number: int, dataset: str = S2) -> Path:
    return Path("lux") / NAME / dataset / f"{identifier_of(number)}.tif"


def adopt(folder: str = "lux", **options: Any) -> Result[geopandas.GeoDataFrame]:
    return geoembed.chip(adopt=folder, **options)


def test_chips_have_their_values_splits_and_places(here: Path) -> None:
    chips = chip_folder.read(Path("chips"))
    assert len(chips.index) == N
    assert [path.name for path in sorted(Path("chips").iterdir()) if path.name[0] != "."] == [
        "chips.json", "index.gpkg", "index.qml",
    ]  # fmt: skip
    assert list(chips.index["aoi"].unique()) == ["lux"]
    for row, chip_id in enumerate(chips.index["chip_id"]):
        number = next(i for i in range(N) if identifier_of(i) == chip_id.partition("-")[0])
        words = {"train": "train", "validation": "val", "test": "test"}
        assert words[chips.index["split"][row]] == ("train", "train", "train", "val", "test")[number // 2 % 5]
        np.testing.assert_allclose(chips.index.geometry[row].bounds, box_of(number), atol=1e-9)
        np.testing.assert_allclose(chips.cells.bounds()[row], box_of(number), atol=1e-9)
        s2, s1 = chips.read(row, "s2"), chips.read(row, "s1")
        np.testing.assert_allclose(s2.values, stored_of(S2, number) / 255, rtol=1e-6)
        np.testing.assert_array_equal(s1.values, stored_of(S1, number).view("int16").astype(np.float32))
        assert s2.channels[:3] == ("djf_red", "djf_green", "djf_blue")
        assert s1.channels == chips.channels["s1"]
        assert {name.partition("_")[0] for name in s1.channels} == {"djf", "mam", "jja", "son"}
    assert s1.values.max() < 0
    assert chips.units == {"s1": "sigma0 in dB", "s2": "brightness"}


def test_monthly_reflectance_and_decibels(tmp_path: Path) -> None:
    make_tiles(tmp_path / "lux", 3, ("s2rgbm-2020", "s1grdm-2020-asc"), splits=False)
    geoembed.chip(adopt=tmp_path / "lux" / NAME, output=tmp_path / "chips")
    chips = chip_folder.read(tmp_path / "chips")
    number = next(i for i in range(3) if chips.index["chip_id"][0].startswith(identifier_of(i)))
    s2 = chips.read(0, "s2")
    assert s2.channels[0] == "01_red"
    np.testing.assert_allclose(s2.values, stored_of("s2rgbm-2020", number) * 0.3 / 255, rtol=1e-6)
    assert chips.channels["s1"][-1] == "12_vh"
    assert set(chips.index["split"]) == {"train", "validation", "test"}  # dealt out by us


def test_every_verb_works_on_adopted_chips(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiles(Path("lux"), 40)
    before = content(Path("lux"))
    half = np.tile(np.repeat(np.array([80, 10], np.uint8), 40), (60, 1))
    write_tif(Path("landcover.tif"), half[None], (6.0, 49.49, 6.024, 49.52))
    measured = "--chips chips --features s1 --n 9 --sizes 9 --repeats 1"
    for words, printed in {
        "chip --adopt lux": "chips",
        "label landcover.tif --class water=80": "labels/water.gpkg",
        "pretrain --preset tiny --epochs 1": "model",
        "embed --strict": "embeddings.h5",
        "probe --labels labels/water.gpkg": "probe/water/predictions.gpkg",
        f"evaluate --labels labels/water.gpkg {measured}": "report/report.html",
    }.items():
        result = run(*words.split())
        assert (result.exit_code, result.stdout.strip()) == (0, printed), result.stderr
    told = run("info", "chips", "--verify", "--json")
    assert told.exit_code == 0, told.stderr
    assert "../lux/" in told.stdout
    assert '"EPSG:4326"' in told.stdout
    assert "data:image" in Path("report/report.html").read_text()
    assert content(Path("lux")) == before
    work = json.loads(run("chip", "--adopt", "lux", "--json").stdout)["counts"]
    assert (work["tiles_read"], work["tiles_kept"], work["s1_missing"]) == (0, 40, 0)


def test_points_label_the_tiles_that_hold_them(here: Path) -> None:
    chips = chip_folder.read(Path("chips"))
    from geoembed.labels import places

    xy = np.array([[6.0011, 49.5007], [0.0, 0.0], [6.0041, 49.5007]])
    rows, points = places.points_in_chips(xy, "EPSG:4326", chips.cells)
    assert {chips.index["chip_id"][row].partition("-")[0] for row in rows} == {identifier_of(0), identifier_of(1)}
    assert sorted(points.tolist()) == [0, 2]


def test_what_is_unchanged_is_kept(here: Path) -> None:
    before = {path: data.strip() for path, (data, _) in content(Path("chips")).items()}
    originals = content(Path("lux"))
    counts = adopt().counts
    assert (counts["tiles_read"], counts["tiles_kept"]) == (0, N)
    assert {path: data.strip() for path, (data, _) in content(Path("chips")).items()} == before
    assert content(Path("lux")) == originals


def test_a_moved_project_still_finds_its_files(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here.rename(here.with_name("moved"))
    monkeypatch.chdir(here.with_name("moved"))
    assert chip_folder.read(Path("chips")).read(0, "s2").values.shape == (12, SIZE, SIZE)
    assert adopt().counts["tiles_read"] == 0


def test_chips_moved_from_their_files_follow_a_run(here: Path) -> None:
    Path("deep/er").mkdir(parents=True)
    Path("chips").rename("deep/er/chips")
    with pytest.raises(ChipError, match="missing; restore it, or run the geoembed chip --adopt"):
        chip_folder.read(Path("deep/er/chips")).read(0, "s2")
    assert adopt(output="deep/er/chips").counts["tiles_read"] == 0
    assert chip_folder.read(Path("deep/er/chips")).read(0, "s2").values.shape == (12, SIZE, SIZE)


def test_a_changed_file_is_refused_and_then_updated(here: Path) -> None:
    write_tif(file_of(0), stored_of(S2, 0) + 9, box_of(0), BANDS["s2rgb"])
    chips = chip_folder.read(Path("chips"))
    row = next(i for i, one in enumerate(chips.index["chip_id"]) if one.startswith(identifier_of(0)))
    with pytest.raises(ChipError, match=r"is not as its digest says; restore it, or run the geoembed chip --adopt"):
        chips.read(row, "s2")
    with pytest.raises(StaleError, match=r"sources differs.*--update"):
        adopt()
    originals = content(Path("lux"))
    assert adopt(update=True).counts["tiles_read"] == N
    updated = chip_folder.read(Path("chips"))
    np.testing.assert_allclose(updated.read(row, "s2").values, (stored_of(S2, 0) + 9) / 255, rtol=1e-6)
    assert updated.digest != chips.digest
    assert content(Path("lux")) == originals


def test_damage_that_keeps_size_and_time_is_found(here: Path, run: Run) -> None:
    path = file_of(3)
    data, status = path.read_bytes(), path.stat()
    path.write_bytes(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ChipError, match=rf"{path.name}: was changed or damaged since it was read; restore it"):
        adopt()
    told = run("info", "chips", "--verify")
    assert told.exit_code == 1
    assert "is not as its digest says; restore it" in told.stderr + told.stdout
    counts = adopt(update=True).counts
    assert (counts["tiles_read"], counts["tiles_kept"]) == (1, N - 1)
    assert adopt().counts["tiles_read"] == 0


def test_a_lost_file_is_told_and_updated(here: Path, run: Run) -> None:
    file_of(2, S1).unlink()
    told = run("info", "chips")
    assert told.exit_code == 1
    assert "1 of 10 chip files of s1 are missing" in (text := told.stderr + told.stdout)
    assert "--adopt" in text
    with pytest.raises(StaleError, match="--update"):
        adopt()
    counts = adopt(update=True).counts
    assert (counts["s1"], counts["s1_missing"], counts["s2"]) == (N - 1, 1, N)


def test_overwrite_replaces_the_index_alone(here: Path) -> None:
    originals = content(Path("lux"))
    with pytest.raises(StaleError, match=r"min_valid was 0.5, now 0.9.*--overwrite"):
        adopt(min_valid=0.9)
    assert adopt(min_valid=0.9, overwrite=True).counts["tiles_read"] == N
    assert content(Path("lux")) == originals


def test_adopted_chips_give_way_to_cut_ones_and_back(
    here: Path, write_raster: Callable[..., Path], write_area: Callable[..., Path]
) -> None:
    originals = content(Path("lux"))
    raster = write_raster("s2.tif", np.ones((1, 64, 64), np.uint8), names=("jja_red",), nodata=0)
    from conftest import square

    area = write_area("aoi.gpkg", square(500_000, 4_999_360, 640))
    cut: dict[str, Any] = {"aoi": area, "source": {"s2": str(raster)}, "size": 16}
    with pytest.raises(StaleError, match="--overwrite"):
        geoembed.chip(**cut)
    assert geoembed.chip(**cut, overwrite=True).counts["chips"] > 0
    assert list(Path("chips/s2").rglob("*.tif"))
    assert adopt(overwrite=True).counts["chips"] == N
    assert not list(Path("chips").rglob("*.tif"))
    assert content(Path("lux")) == originals


def broken_size(path: Path, number: int) -> None:
    write_tif(path, stored_of(S2, number, SIZE + 1), box_of(number), BANDS["s2rgb"])


def in_utm(path: Path, number: int) -> None:
    write_tif(path, stored_of(S2, number), (5e5, 5e6, 5e5 + 160, 5e6 + 160), BANDS["s2rgb"], "EPSG:32632")


def without_crs(path: Path, number: int) -> None:
    write_tif(path, stored_of(S2, number), box_of(number), BANDS["s2rgb"], None)


def elsewhere(path: Path, number: int) -> None:
    write_tif(path, stored_of(S2, number), box_of(number + 1), BANDS["s2rgb"])


def fewer_bands(path: Path, number: int) -> None:
    write_tif(path, stored_of(S2, number)[:9], box_of(number), BANDS["s2rgb"][:9])


def other_bands(path: Path, number: int) -> None:
    write_tif(path, stored_of(S2, number), box_of(number), BANDS["s2rgb"][::-1])


def complex_numbers(path: Path, number: int) -> None:
    write_tif(path, stored_of(S2, number).astype(np.complex64), box_of(number), BANDS["s2rgb"])


def all_masked(path: Path, number: int) -> None:
    write_tif(path, 0 * stored_of(S2, number), box_of(number), BANDS["s2rgb"])


def cut_short(path: Path, number: int) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def link_out(path: Path, number: int) -> None:
    path.rename(Path("secret.tif"))
    path.symlink_to(Path("secret.tif").resolve())


FAULTS: dict[Callable[[Path, int], object], str] = {
    broken_size: "has 17 x 17 pixels, not 16 x 16",
    in_utm: "is in EPSG:32632, not in EPSG:4326",
    without_crs: "has no CRS",
    elsewhere: "does not lie on its tile",
    fewer_bands: "has 9 bands, not 12",
    other_bands: "has bands of other names than most",
    complex_numbers: "holds complex64",
    all_masked: "less than 50 % valid pixels",
    cut_short: "is no GeoTIFF, or a damaged one",
    lambda path, _: path.write_text("<html>"): "is no GeoTIFF, or a damaged one",
    lambda path, _: path.write_bytes(b""): "is empty",
    link_out: "a link leads out of the folder",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_file_that_is_no_chip_is_counted_and_named(
    here: Path, run: Run, fault: Callable[[Path, int], object]
) -> None:
    fault(file_of(4), 4)
    result = run("chip", "--adopt", "lux", "-o", "other", "--json")
    assert result.exit_code == 0, result.stderr
    assert f"{identifier_of(4)}.tif: " in result.stderr
    assert FAULTS[fault] in result.stderr
    assert f"s2: 1 of {N} tiles lack it: 0 have no file, and of 1 it cannot be used" in result.stderr
    counts = json.loads(result.stdout)["counts"]
    assert (counts["s2"], counts["s2_unusable"], counts["s1"]) == (N - 1, 1, N)
    index = chip_folder.read(Path("other")).index
    assert index.loc[index["chip_id"].str.startswith(identifier_of(4)), "s2"].isna().all()


def test_a_file_of_all_sizes_wrong_ends_in_one_line(here: Path, run: Run) -> None:
    result = run("chip", "--adopt", "lux", "-o", "other", "--size", "64")
    assert (result.exit_code, result.stdout) == (1, "")
    last = result.stderr.splitlines()[-1]
    assert "no tile has a file that can be used; check --adopt, --size and --min-valid" in last
    assert not Path("other/index.gpkg").exists()


def test_a_season_without_values_is_a_missing_channel(here: Path) -> None:
    for number in range(N):
        stored = stored_of(S2, number)
        stored[:3] = 0
        stored[3:6] *= number > 0
        write_tif(file_of(number), stored, box_of(number), BANDS["s2rgb"])
    adopt(output="other")
    chips = chip_folder.read(Path("other"))
    assert chips.channels["s2"][0] == "mam_red"
    assert len(chips.channels["s2"]) == 9
    assert chips.read(0, "s2").channels == chips.channels["s2"]
    assert chips.index["s2"].eq(1.0).all()


@pytest.mark.parametrize("name", ["../../secret", "..", "/etc/passwd", "a b", "", "x" * 17, "a-1", "a\nb"])
def test_no_identifier_leads_elsewhere(here: Path, name: str) -> None:
    path = Path("lux") / f"{NAME}.geojson"
    table = geopandas.read_file(path)
    table.loc[0, "identifier"] = name
    table.to_file(path)
    with pytest.raises(ChipError, match=r"geojson: .*cannot be a tile's identifier.*; mend the file") as fault:
        adopt(output="other")
    assert "\n" not in str(fault.value)


def renamed_dataset(about: dict[str, Any]) -> None:
    about["adopted"]["readings"]["s2"]["dataset"] = "../../../outside"


def hidden_dataset(about: dict[str, Any]) -> None:
    about["adopted"]["readings"]["s2"]["dataset"] = ".."


def of_gdal(about: dict[str, Any]) -> None:
    about["adopted"]["folders"]["lux"] = "/vsicurl/http://127.0.0.1/x"


def of_no_area(about: dict[str, Any]) -> None:
    about["adopted"]["folders"] = {"other": about["adopted"]["folders"]["lux"]}


@pytest.mark.parametrize("change", [renamed_dataset, hidden_dataset, of_gdal, of_no_area])
def test_a_description_that_misleads_is_refused(here: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = Path("chips/chips.json")
    about = documents.load(path)
    change(about)
    documents.write(path, about)
    with pytest.raises(ChipError, match=r"^chips/(chips.json|index.gpkg): .*; run `geoembed chip"):
        chip_folder.read(Path("chips"))


def test_a_link_out_of_the_folder_is_not_followed_later(here: Path) -> None:
    chips = chip_folder.read(Path("chips"))
    row = next(i for i, one in enumerate(chips.index["chip_id"]) if one.startswith(identifier_of(4)))
    link_out(file_of(4), 4)
    with pytest.raises(ChipError, match="a link leads out of its folder"):
        chips.read(row, "s2")


def test_their_split_that_keeps_communes_together(here: Path) -> None:
    """geetiles' split_per_partitions writes split_<name> beside split, and foreignid_<name> into the tiles."""
    other = {"train": "test", "val": "train", "test": "val"}
    words = ("train", "train", "train", "val", "test")
    write_splits(Path("lux") / SPLITS, range(N), split_communes=lambda number: other[words[number // 2 % 5]])
    counts = adopt(output="other", split="split_communes").counts
    assert counts["chips"] == N
    ours, theirs = (chip_folder.read(Path(name)).index.set_index("chip_id")["split"] for name in ("chips", "other"))
    turned = {"train": "test", "validation": "train", "test": "validation"}
    assert theirs.to_dict() == {chip_id: turned[split] for chip_id, split in ours.items()}
    with pytest.raises(StaleError, match="split"):
        adopt(output="other", update=True)
    with pytest.raises(ConfigError, match=r"--split split_comunes: .* did you mean split_communes\?"):
        adopt(output="third", split="split_comunes")


def test_splits_in_the_table_of_tiles(here: Path) -> None:
    (Path("lux") / SPLITS).unlink()
    path = Path("lux") / f"{NAME}.geojson"
    table = geopandas.read_file(path)
    table["split"], table["split_nb"] = ["val"] * 4 + ["test"] * 2 + ["train"] * 3 + [None], 60
    table.to_file(path)
    index = (adopt(output="other")).made
    assert index["split"].value_counts().to_dict() == {"validation": 4, "train": 3, "test": 2}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("identifier,split\n", "has no rows with a column identifier"),
        ("tile,split\na,train\n", "has no rows with a column identifier"),
        (f"identifier,split\n{identifier_of(0)},training\n", "has the split 'training'; there are train, val"),
        (f"identifier,split\n{identifier_of(0)},\n", "gives none of the tiles"),
        (f"identifier,split\n{identifier_of(0)},val\n{identifier_of(0)},test\n", "twice"),
        (
            f"identifier,split_a,split_b\n{identifier_of(0)},val,val\n",
            "has 2 columns of splits; choose one, as in --split",
        ),
        ("identifier,split\n../x,train\n", "cannot be a tile's identifier"),
        ("identifier,split\n\udcff,train\n", "cannot be read as CSV"),
    ],
)
def test_splits_that_cannot_be_used(here: Path, text: str, fault: str) -> None:
    (Path("lux") / SPLITS).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(GeoembedError, match=fault):
        adopt(output="other")


def test_two_tables_of_splits_are_not_guessed_from(here: Path) -> None:
    """M3LEO's miniset has tables of its own; the one for its packed files is known by its name."""
    shutil.copy(Path("lux") / SPLITS, Path("lux") / SPLITS.replace(".csv", "_parquet.csv"))
    assert adopt().counts["tiles_read"] == 0
    shutil.copy(Path("lux") / SPLITS, Path("lux") / SPLITS.replace(".csv", "_miniset.csv"))
    with pytest.raises(ChipError, match="could both tell of its splits; move one away"):
        adopt()


def test_tiles_without_a_table_lie_where_their_files_do(here: Path) -> None:
    (Path("lux") / f"{NAME}.geojson").unlink()
    adopt(output="other")
    ours, theirs = (chip_folder.read(Path(name)).index.set_index("chip_id") for name in ("chips", "other"))
    assert ours.geometry.sort_index().geom_equals_exact(theirs.geometry.sort_index(), 1e-9).all()


def test_five_areas_are_one_folder(here: Path) -> None:
    make_tiles(Path("pakin"), 6, name="pakin_partitions_aschips_0f26dc7030c75", start=20, splits=False)
    result = geoembed.chip(adopt=["lux", "pakin"], output="other")
    assert result.made["aoi"].value_counts().to_dict() == {"lux": N, "pakin": 6}
    chips = chip_folder.read(Path("other"))
    assert all(chips.read(row, "s2").values.shape == (12, SIZE, SIZE) for row in range(N + 6))
    theirs = chips.index[chips.index["aoi"] == "lux"].set_index("chip_id")["split"].to_dict()
    assert theirs == chip_folder.read(Path("chips")).index.set_index("chip_id")["split"].to_dict()


def test_which_data_set_is_what(here: Path, run: Run) -> None:
    for number in range(N):
        box, name = box_of(number), f"{identifier_of(number)}.tif"
        write_tif(
            Path("lux") / NAME / "srtm" / name, np.full((2, SIZE, SIZE), 300, np.uint16), box, ("elevation", "slope")
        )
        write_tif(Path("lux") / NAME / "s2rgbm-2020" / name, stored_of("s2rgbm-2020", number), box, BANDS["s2rgbm"])
    with pytest.raises(ConfigError, match=r"s2rgb-2020 and s2rgbm-2020 are both s2; choose: --source s2=s2rgbm-2020"):
        adopt(output="other")
    words = "--source s2=s2rgbm-2020 --source dem=srtm --modalities s2,dem -o other"
    result = run("chip", "--adopt", "lux", *words.split())
    assert result.exit_code == 0, result.stderr
    chips = chip_folder.read(Path("other"))
    assert list(chips.channels) == ["s2", "dem"]
    assert chips.channels["dem"] == ("elevation", "slope")
    assert (chips.read(0, "dem").values == 300).all()
    assert "left out: s1grd-2020, s2rgb-2020" in result.stderr


def test_strays_are_counted(here: Path, run: Run) -> None:
    shutil.copy(file_of(0), file_of(0).with_name("00000000000ff.tif"))
    file_of(0).with_name(f"{identifier_of(1)}.skipped").write_text("COULD_NOT_DOWNLOAD")
    result = run("chip", "--adopt", "lux", "-o", "other")
    assert result.exit_code == 0
    assert "s2: 1 files of s2rgb-2020 are of no tile" in result.stderr
    assert "s2rgb-2020: 1 files are no GeoTIFF named by a tile" in result.stderr


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"adopt": "none"}, "none: no such folder"),
        ({"adopt": "chips"}, "has no data set that is known; say which is what with --source"),
        ({"adopt": "lux", "source": ["s2=s2rgb-2021"]}, r"no data set of --adopt; did you mean s2rgb-2020\?"),
        ({"adopt": "lux", "source": ["s2=../x"]}, "--source s2=../x: .*begins with a dot"),
        ({"adopt": "lux", "source": ["s2=a/../x"]}, "--source s2=a/../x: .*separator of paths"),
        ({"adopt": "lux", "source": ["fused=s2rgb-2020"]}, "cannot be a modality's name"),
        ({"adopt": "lux", "modalities": "coh"}, "--modalities coh: --adopt has no such data set"),
        ({"adopt": "lux", "aoi": "aoi.gpkg"}, "--aoi: does not go with --adopt; leave it out"),
        ({"adopt": "lux", "year": 2020}, "--year: does not go with --adopt"),
        ({"adopt": "lux", "dry_run": True}, "--dry-run: does not go with --adopt"),
        ({"adopt": "lux", "output": f"lux/{NAME}/chips"}, "lies within --adopt"),
        ({"adopt": "lux", "output": "."}, "lies within --adopt .*, or that in it"),
        ({"adopt": f"lux/{NAME}", "output": "lux"}, "lies within --adopt .*, or that in it"),
        ({"aoi": "aoi.gpkg", "split": "split"}, "--split split: tells the splits of what --adopt names"),
    ],
)
def test_options_that_do_not_go_together(here: Path, options: dict[str, Any], fault: str) -> None:
    before = content(Path("lux"))
    with pytest.raises(GeoembedError, match=fault) as raised:
        geoembed.chip(**({"output": "other"} | options))
    assert "\n" not in str(raised.value)
    assert content(Path("lux")) == before


def test_a_folder_of_another_is_not_written_to(here: Path) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    with pytest.raises(ChipError, match="was not made by geoembed chip; choose another -o"):
        adopt(output="mine", overwrite=True)


def test_what_was_read_before_a_kill_is_kept(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from geoembed.steps import chip as step

    monkeypatch.setattr(step, "TOGETHER", 4)
    steps = geoembed.chip.steps(adopt="lux", output="other", min_valid=0.75, split="split", modalities="s2")
    with pytest.raises(KeyboardInterrupt) as raised:
        for progress in steps:
            if progress.done == 4:
                steps.throw(KeyboardInterrupt())
    assert raised.value.__notes__ == ["what was read so far is noted; run the same command again to go on"]
    assert not Path("other/index.gpkg").exists()
    with pytest.raises(ChipError, match="not finished; run `geoembed chip --adopt lux/") as unfinished:
        chip_folder.read(Path("other"))
    words = str(unfinished.value).split("`")[1].split()[1:]
    result = run(*words, "--json")
    assert result.exit_code == 0, result.stderr
    counts = json.loads(result.stdout)["counts"]
    assert (counts["tiles_read"], counts["tiles_kept"]) == (N - 4, 4)
    columns = ["chip_id", "aoi", "split", "s2", "s2_digest"]
    ours, theirs = (chip_folder.read(Path(name)).index[columns] for name in ("chips", "other"))
    assert ours.equals(theirs)


def test_settings_of_an_area_give_way_to_the_command_line(here: Path, run: Run) -> None:
    Path("geoembed.toml").write_text('[chip]\naoi = ["aoi.gpkg"]\n')
    result = run("chip", "--adopt", "lux")
    assert (result.exit_code, result.stdout) == (0, "chips\n"), result.stderr


def test_known_data_sets_are_as_geetiles_names_their_bands() -> None:
    bands = {known.pattern: known.bands for known in adoption.KNOWN}
    assert bands["s1grd-*"][:5] == ("winter_vvasc", "winter_vvdes", "winter_vhasc", "winter_vhdes", "spring_vvasc")
    assert bands["s1grdm-*"][:3] == ("01_vv", "01_vh", "02_vv")
    assert [len(of) for of in bands.values()] == [36, 12, 3, 16, 24]


def test_files_whose_bands_have_no_names_are_known_by_their_number(here: Path) -> None:
    for number in range(N):
        with rasterio.open(file_of(number, S1), "r+") as file:
            file.descriptions = (None,) * 16
    adopt(output="other")
    assert chip_folder.read(Path("other")).channels["s1"] == chip_folder.read(Path("chips")).channels["s1"]
