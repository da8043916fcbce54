"""From nothing but an area: catalogues and buckets are searched, what is needed is fetched, chips are cut."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from archives import catalogue, earth_catalogue
from archives.conftest import Server
from archives.earth_catalogue import Date
from conftest import Run
from s3 import S3
from shapely import box

from geoembed.archives import client as clients
from geoembed.archives import pieces
from geoembed.chips import folder as chip_folder
from geoembed.ground import crs
from geoembed.outputs import documents


@dataclass
class World:
    """A folder with an area of 3 x 2 cells of 64 pixels, and servers that have imagery of it.

    dates: of Sentinel-2.
    api: the catalogue.
    server: of its files.
    """

    folder: Path
    dates: list[Date]
    api: catalogue.Api
    server: Server
    s3: S3


def outline(rows: tuple[int, int], columns: tuple[int, int]) -> Any:
    x, y = 500_000.0 + 10.0 * np.array(columns), 4_600_000.0 - 10.0 * np.array(rows)
    lon, lat = crs.transformer("EPSG:32633", crs.LONLAT).transform(x[[0, 1, 1, 0]], y[[0, 0, 1, 1]])
    return shapely.polygons(np.stack([lon, lat], axis=1))


def tile_file(number: int, dtype: str) -> bytes:
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=1, height=1200, width=1200, dtype=dtype, crs="EPSG:4326", compress="lzw",
            transform=rasterio.Affine(1 / 1200, 0, 15, 0, -1 / 1200, 42),
        ) as file:  # fmt: skip
            file.write(np.full((1, 1200, 1200), number, dtype=dtype))
        return bytes(memory.getbuffer())


@pytest.fixture
def world(
    server: Server,
    s3: S3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    monkeypatch.setattr(clients, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(clients, "READ", 2.0)
    for name, value in {"BLOCK": 128, "HEIGHT": 256, "WIDTH": 256}.items():
        monkeypatch.setattr(pieces, name, value)
    dates = earth_catalogue.dates(server.folder, server.url("").rstrip("/"))
    for season in ("summer", "winter"):
        s3.put(f"data/tiles/N42E015/N42E015_{season}_vv_AMP.tif", tile_file(2000, "uint16"))
        s3.put(f"data/tiles/N42E015/N42E015_{season}_vh_AMP.tif", tile_file(1000, "uint16"))
        s3.put(f"data/tiles/N42E015/N42E015_{season}_vv_COH12.tif", tile_file(55, "uint8"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    area = outline((100, 420), (60, 380))
    geopandas.GeoDataFrame({"name": ["here"]}, geometry=[area], crs="EPSG:4326").to_file("aoi.gpkg")
    with catalogue.serving() as serve:
        api = serve([earth_catalogue.item(date) for date in dates])
        write_settings(folder, api, server, s3)
        yield World(folder, dates, api, server, s3)


def write_settings(folder: Path, api: catalogue.Api, files: Server, bucket: S3, more: str = "") -> None:
    (folder / "geoembed.toml").write_text(f"""
[modalities.s2.stac]
api = "{api.url}"
seasons = ["jja"]
[modalities.s1.seasonal]
url = "{bucket.url}"
[modalities.coh.seasonal]
url = "{bucket.url}"
[chip]
size = 64
[fetch]
hosts = ["{files.address}"]
tries = 2
{more}
""")


def pixels(folder: Path, modality: str) -> dict[str, tuple[tuple[str, ...], np.ndarray, Any]]:
    """Channels, stored numbers and transform of each chip of a modality."""
    found = {}
    for path in sorted((folder / "chips" / modality).rglob("*.tif")):
        with rasterio.open(path) as file:
            found[path.stem] = (file.descriptions, file.read(), file.transform)
    return found


def test_chips_of_all_modalities_are_cut_from_nothing_but_an_area(world: World, run: Run) -> None:
    result = run("chip", "--aoi", "aoi.gpkg", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["counts"]["s2"] == told["counts"]["s1"] == told["counts"]["coh"] == told["counts"]["chips"] > 15
    assert "s2: 8 scenes found" in result.stderr
    assert "Contains modified Copernicus Sentinel data 2020" in result.stderr
    assert "CC-BY-4.0" in result.stderr
    expected = earth_catalogue.expected([date for date in world.dates if date is not world.dates[2]])
    for channels, numbers, transform in pixels(world.folder, "s2").values():
        assert channels == ("jja_red", "jja_green", "jja_blue")
        column, row = (round(value) for value in ~transform_of_tile() @ (transform.c, transform.f))
        part = expected[:, row : row + 64, column : column + 64]
        wanted = np.where(np.isnan(part), 0, np.floor(part + 0.5))
        np.testing.assert_array_equal(numbers, wanted)
    for channels, numbers, _ in pixels(world.folder, "coh").values():
        assert channels == ("djf_coh12", "jja_coh12")
        assert (numbers == 55).all()
    description = chip_folder.read_description(Path("chips"))
    s2, s1 = description.fetched["s2"], description.fetched["s1"]
    assert set(s2.scenes) == {date.scene.id for date in world.dates if date is not world.dates[2]}
    assert s2.scenes[world.dates[1].scene.id].baseline == "04.00"
    assert s2.areas["here"]["jja"].scenes == 7
    assert s2.areas["here"]["jja"].clear > 0.9
    assert (s1.tiles, s1.licence) == (("N42E015",), "CC-BY-4.0")
    shown = run("info", "chips").stdout
    assert "Contains modified Copernicus Sentinel data 2020" in shown
    assert ["s2", "here", "jja", "7"] in [line.split()[:4] for line in shown.splitlines()]


@pytest.mark.parametrize("value", [3, {"s2": 1}, {"s2": {"archive": "x"}}, {"../x": {}}])
def test_origins_of_another_form_are_one_line(world: World, run: Run, value: Any) -> None:
    assert run("chip", "--aoi", "aoi.gpkg", "--modalities", "coh").exit_code == 0
    path = Path("chips/chips.json")
    documents.write(path, {**documents.load(path), "fetched": value})
    told = run("info", "chips").stderr
    assert told.startswith("geoembed: chips/chips.json: fetched")
    assert len(told.splitlines()) == 1


def transform_of_tile() -> Any:
    return rasterio.Affine(10, 0, 500_000, 0, -10, 4_600_000)


def test_a_second_run_asks_nobody_and_offline_works(world: World, run: Run) -> None:
    assert run("fetch", "--aoi", "aoi.gpkg").exit_code == 0
    asked = len(world.server.asked), len(world.api.asked)
    first = run("chip", "--aoi", "aoi.gpkg", "--offline")
    assert first.exit_code == 0, first.stderr
    index = Path("chips/index.gpkg").read_bytes()
    again = run("chip", "--aoi", "aoi.gpkg")
    assert again.exit_code == 0
    assert "CC-BY-4.0" not in again.stderr, "terms are told when something is fetched"
    assert run("chip", "--aoi", "aoi.gpkg", "--offline", "--update").exit_code == 0
    assert run("fetch", "--aoi", "aoi.gpkg").stdout == "cache\n"
    assert (len(world.server.asked), len(world.api.asked)) == asked
    assert Path("chips/index.gpkg").read_bytes() == index
    shutil.rmtree("cache")
    away = run("chip", "--aoi", "aoi.gpkg", "--offline", "-o", "others")
    assert (away.exit_code, away.stdout) == (1, "")
    assert "--offline asks nobody" in away.stderr


def test_what_killed_runs_left_in_the_cache_is_swept_once_it_is_old(world: World, run: Run) -> None:
    old, new = (Path("cache/s2") / f".part-{number * 16}-remote.tif" for number in "01")
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "remote.tif").write_bytes(b"half")
    os.utime(old, (0, 0))
    assert run("fetch", "--aoi", "aoi.gpkg", "--dry-run").exit_code == 0
    assert (old.exists(), new.exists()) == (False, True), "another run may be at work on what is new"


def test_a_dry_run_tells_what_there_is_and_fetches_no_imagery(world: World, run: Run) -> None:
    for verb in ("chip", "fetch"):
        result = run(verb, "--aoi", "aoi.gpkg", "--dry-run")
        assert result.exit_code == 0, result.stderr
        assert result.stdout == "", "nothing was written"
        (row,) = (line for line in result.stderr.splitlines() if line.lstrip().startswith("s2 "))
        assert row.split()[:4] == ["s2", "jja", "1", "8"]
        assert row.split()[4] == "2020-08"
        assert "files are to be fetched: about" in result.stderr
    assert not Path("chips").exists()
    assert not world.server.asked
    assert not list(Path("cache").rglob("*.tif"))


def test_what_cannot_be_had_is_counted_and_only_that_is_fetched_again(world: World, run: Run) -> None:
    assert run("chip", "--aoi", "aoi.gpkg", "-o", "whole").exit_code == 0
    shutil.rmtree("cache")
    gone = "N42E015_summer_vv_COH12.tif"
    data = tile_file(55, "uint8")
    run("fetch", "--aoi", "aoi.gpkg", "--dry-run")
    world.s3.remove(f"data/tiles/N42E015/{gone}")
    world.server.failing = "S2A_33TVM_4/green.tif"
    failed = run("chip", "--aoi", "aoi.gpkg")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "cells wait for them; run again, which fetches these alone" in failed.stderr
    assert not Path("chips/index.gpkg").exists()
    world.s3.put(f"data/tiles/N42E015/{gone}", data)
    world.server.failing = ""
    world.server.asked.clear()
    again = run("chip", "--aoi", "aoi.gpkg")
    assert again.exit_code == 0, again.stderr
    for modality in ("s2", "s1", "coh"):
        whole = {path.name: path.read_bytes() for path in Path("whole", modality).rglob("*.tif")}
        assert {path.name: path.read_bytes() for path in Path("chips", modality).rglob("*.tif")} == whole


def test_nothing_is_kept_where_nothing_is_to_be(world: World, run: Run) -> None:
    write_settings(world.folder, world.api, world.server, world.s3, "keep = false")
    result = run("chip", "--aoi", "aoi.gpkg")
    assert result.exit_code == 0, result.stderr
    assert not list(Path("cache").rglob("*.tif"))
    asked = len(world.server.asked)
    assert run("chip", "--aoi", "aoi.gpkg").exit_code == 0
    assert len(world.server.asked) == asked
    next(Path("chips/s2").rglob("*.tif")).unlink()
    mended = run("chip", "--aoi", "aoi.gpkg")
    assert mended.exit_code == 0, mended.stderr
    assert "1 cells cut" in mended.stderr


def test_seasons_year_and_modalities_are_chosen(world: World, run: Run) -> None:
    only = run("chip", "--aoi", "aoi.gpkg", "--modalities", "coh", "--seasons", "djf")
    assert only.exit_code == 0, only.stderr
    assert [path.name for path in Path("chips").iterdir() if path.is_dir()] == ["coh"]
    assert next(iter(pixels(world.folder, "coh").values()))[0] == ("djf_coh12",)
    bare = run("chip", "--aoi", "aoi.gpkg", "--modalities", "s2", "--seasons", "jja,son", "-o", "bare")
    assert bare.exit_code == 0, bare.stderr
    assert "warning: s2: no pixel of here is clear in son 2020; its channels are missing there" in bare.stderr
    wrong = run("chip", "--aoi", "aoi.gpkg", "--seasons", "winter")
    assert "--seasons winter: no such season" in wrong.stderr
    none = run("chip", "--aoi", "aoi.gpkg", "--modalities", "s2", "--year", "2021", "-o", "other")
    assert none.exit_code == 1
    assert "has nothing in the area" in none.stderr


def test_resampling_is_chosen_for_what_is_fetched_too(world: World, run: Run) -> None:
    """Pixels of 20 m from 10 m ones: every second one, in place of the average of four."""
    options = ("--aoi", "aoi.gpkg", "--modalities", "s2,s1", "--resolution", "20", "--size", "32")
    assert run("chip", *options, "-o", "average").exit_code == 0
    before = Path("geoembed.toml").read_text()
    text = before.replace('seasons = ["jja"]', 'seasons = ["jja"]\nresampling = "nearest"')
    Path("geoembed.toml").write_text(text.replace("[modalities.coh", 'resampling = "cubic"\n[modalities.coh'))
    refused = run("chip", *options, "-o", "average")
    assert refused.exit_code == 1
    assert "--update" in refused.stderr or "--overwrite" in refused.stderr
    Path("average").rename("chips")
    (averaged, *_), (name, *_) = pixels(world.folder, "s2").values(), pixels(world.folder, "s2")
    done = run("chip", *options, "-o", "chips", "--overwrite")
    assert done.exit_code == 0, done.stderr
    _, numbers, transform = pixels(world.folder, "s2")[name]
    column, row = (round(value) for value in ~transform_of_tile() @ (transform.c, transform.f))
    expected = earth_catalogue.expected([date for date in world.dates if date is not world.dates[2]])
    fine = np.floor(expected[:, row : row + 64, column : column + 64] + 0.5)
    picked = [fine[:, y::2, x::2] for y in (0, 1) for x in (0, 1)]
    assert any(np.array_equal(np.nan_to_num(each), numbers) for each in picked)
    assert not np.array_equal(numbers, averaged[1])


def test_composites_on_both_sides_of_180_degrees(world: World, run: Run) -> None:
    """Tiles of zones 60 and 1 that each cross the line; each side's chips are the medians of its own zone's."""
    sides = (box(179.975, 51.99, 180, 52.01), box(-180, 51.99, -179.975, 52.01))
    geopandas.GeoDataFrame({"name": ["sea"]}, geometry=[shapely.MultiPolygon(sides)], crs="EPSG:4326").to_file(
        "aoi.gpkg"
    )
    held, world.api.items = {}, []
    for seed, (tile, epsg, lon) in enumerate((("60UYB", 32660, 179.985), ("01UBT", 32601, -179.985))):
        x, y = crs.transformer(crs.LONLAT, f"EPSG:{epsg}").transform(lon, 52.0)
        corner = (round(x / 20 - 125) * 20.0, round(y / 20 + 150) * 20.0)
        place: dict[str, Any] = {"tile": tile, "epsg": epsg, "corner": corner, "seed": seed}
        dates = earth_catalogue.dates(world.server.folder, world.server.url("").rstrip("/"), count=3, **place)
        held[f"{tile[:2]}N"] = (dates, corner)
        for date in dates:
            crossing = shapely.MultiPolygon([box(179.9, 51.9, 180, 52.1), box(-180, 51.9, -179.9, 52.1)])
            bounds = {"bbox": [179.9, 51.9, -179.9, 52.1], "geometry": shapely.geometry.mapping(crossing)}
            world.api.items.append(earth_catalogue.item(date) | bounds)
    done = run("chip", "--aoi", "aoi.gpkg", "--modalities", "s2", "--size", "32")
    assert done.exit_code == 0, done.stderr
    found = pixels(world.folder, "s2")
    for zone, (dates, corner) in held.items():
        expected = earth_catalogue.expected(dates[:2])
        chips = [chip for name, chip in found.items() if name.startswith(zone)]
        assert len(chips) > 10
        for _, numbers, transform in chips:
            column, row = round((transform.c - corner[0]) / 10), round((corner[1] - transform.f) / 10)
            part = expected[:, row : row + 32, column : column + 32]
            clear = ~np.isnan(part)  # elsewhere the other zone's tile is looked at
            assert clear.mean() > 0.2
            np.testing.assert_array_equal(numbers[clear], np.floor(part[clear] + 0.5))


def test_hosts_that_were_not_named_are_not_asked(world: World, run: Run) -> None:
    settings = Path("geoembed.toml").read_text().replace(f'hosts = ["{world.server.address}"]', "hosts = []")
    Path("geoembed.toml").write_text(settings)
    result = run("chip", "--aoi", "aoi.gpkg")
    assert result.exit_code == 1
    assert f'{world.server.address}: was not named; if you trust it, write hosts = ["{world.server.address}"]' in (
        result.stderr
    )
    assert not world.server.asked
