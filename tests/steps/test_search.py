"""Where else it looks like this: by place, id, file, chips and embeddings of elsewhere, and what cannot be asked."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from conftest import Run
from synthetic import embeddings_file

from geoembed import search
from geoembed.errors import GeoembedError, ModelError, SearchError, StaleError
from geoembed.fits import embeddings
from geoembed.fits.embeddings import Embeddings
from geoembed.ground import grid
from geoembed.outputs import styles
from geoembed.retrieval import page as pages
from geoembed.steps import search as step

N, COLUMNS, D = 200, 20, 12


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embeddings:
    """Embeddings in the working folder; every tenth chip has no s2, which makes its fused vector that of s1."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    s2, s1 = rng.standard_normal((2, N, D)).astype(np.float32)
    s2[::10] = np.nan
    fused = np.where(np.isnan(s2), s1, s2)
    return embeddings_file(Path("embeddings.h5"), {"s2": s2, "s1": s1, "fused": fused}, columns=COLUMNS)


def place_of(file: Embeddings, row: int) -> str:
    return "{:.6f},{:.6f}".format(*file.lonlat[row])


def sorted_by(X: np.ndarray[Any, Any], way: np.ndarray[Any, Any], out: list[int], n: int) -> list[int]:
    """Rows by a full sort of cosines, without examples and rows of NaN."""
    cosines = X.astype(float) @ way / np.linalg.norm(X.astype(float), axis=1)
    cosines[out] = np.nan
    order = np.argsort(-cosines, kind="stable")
    return [int(row) for row in order if np.isfinite(cosines[row])][:n]


def test_the_map_holds_the_nearest_first_and_not_the_example(file: Embeddings) -> None:
    result = search(like=place_of(file, 33), n=30)
    assert (result.path, result.counts["found"], result.counts["compared"]) == (Path("similar.gpkg"), 30, N - 1)
    X = file.vectors("fused")
    table = result.made
    assert table["chip_id"].tolist() == file.chip_id[sorted_by(X, X[33], [33], 30)].tolist()
    assert table["rank"].tolist() == list(range(1, 31)) and table.crs == "EPSG:4326"
    assert table["similarity"].is_monotonic_decreasing
    outlines = grid.cells(file.grids, table["chip_id"].to_numpy(str)).outlines
    assert all(shapely.equals_exact(table.geometry.to_numpy(), outlines, 1e-9))
    assert list(table.columns) == ["rank", "similarity", "chip_id", "aoi", "split", "lon", "lat", "geometry"]


def test_place_id_point_polygon_csv_and_embeddings_name_the_same(file: Embeddings, tmp_path: Path) -> None:
    lon, lat = file.lonlat[45]
    outline = grid.cells(file.grids, file.chip_id[45:46]).outlines[0]
    geopandas.GeoDataFrame(geometry=[shapely.Point(lon, lat)], crs="EPSG:4326").to_crs(3857).to_file("point.gpkg")
    geopandas.GeoDataFrame(geometry=[outline.buffer(-1e-4)], crs="EPSG:4326").to_file("polygon.geojson")
    Path("ids.csv").write_text(f"Chip_ID\n{file.chip_id[45]}\n")
    Path("places.csv").write_text(f"lon;lat\n{lon:.6f};{lat:.6f}\n".replace(".", ","))
    one = {name: file.vectors(name, slice(45, 46)) for name in file.names}
    other = embeddings_file(Path("other.h5"), one, columns=1)
    assert other.chip_id[0] != file.chip_id[45]
    by_id = search(like=str(file.chip_id[45]), n=5, output="id.gpkg").made["chip_id"].tolist()
    for like in (place_of(file, 45), "point.gpkg", "polygon.geojson", "ids.csv", "places.csv"):
        assert search(like=like, n=5, output="o.gpkg", overwrite=True).made["chip_id"].tolist() == by_id, like
    elsewhere = search(like="other.h5", n=6, output="other.gpkg").made
    assert elsewhere["chip_id"].tolist()[:6] == [file.chip_id[45], *by_id]
    assert elsewhere["similarity"].iloc[0] == pytest.approx(1.0)


def test_several_examples_are_the_mean_of_unit_vectors(file: Embeddings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "geoembed")
    found = search(like=[*map(str, file.chip_id[[3, 8]]), place_of(file, 8)], features="s1", n=20)
    X = file.vectors("s1").astype(float)
    way = sum(X[row] / np.linalg.norm(X[row]) for row in (3, 8))
    assert found.made["chip_id"].tolist() == file.chip_id[sorted_by(X, way, [3, 8], 20)].tolist()
    assert "--like: names 1 chips more than once; each counts once" in caplog.text
    assert "20 chips nearest by the mean of 2 examples (s1)" in caplog.text


def test_counterexamples_turn_the_order_and_are_not_found(file: Embeddings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "geoembed")
    like = str(file.chip_id[3])
    first = search(like=like, n=N - 1, output="first.gpkg").made
    unlike = first["chip_id"].iloc[0]
    result = search(like=like, unlike=unlike, n=N - 2)
    assert not {like, unlike} & set(result.made["chip_id"])
    assert (result.counts["examples"], result.counts["counterexamples"]) == (1, 1)
    X = file.vectors("fused").astype(float)
    cosines = dict(zip(file.chip_id, X @ X[file.chip_id == unlike][0] / np.linalg.norm(X, axis=1), strict=True))
    before, after = (np.mean([cosines[one] for one in table["chip_id"][:20]]) for table in (first[1:], result.made))
    assert after < before - 0.1
    assert "by a ridge direction from 1 example and 1 counterexample against 200 chips (fused)" in caplog.text


def test_chips_without_the_features_are_counted_aloud(file: Embeddings, caplog: pytest.LogCaptureFixture) -> None:
    result = search(like=str(file.chip_id[3]), features="s2", n=500)
    assert result.counts["chips_without_s2"] == 20 and result.counts["found"] == N - 21
    assert "20 of 200 chips have no s2 and are not compared" in caplog.text


def test_examples_without_the_vectors_are_left_out_aloud(file: Embeddings, caplog: pytest.LogCaptureFixture) -> None:
    search(like=file.chip_id[[3, 10]].tolist(), features="s2")
    assert "--like: 1 of 2 chips have no s2 and are left out" in caplog.text
    with pytest.raises(SearchError, match="--like: none of its 2 chips has s2; give others, or another --by"):
        search(like=file.chip_id[[10, 20]].tolist(), features="s2", output="o.gpkg")


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({}, "--like: nothing to search by; give at least one example"),
        ({"unlike": "9.0,47.0"}, "--like: nothing to search by"),
        ({"like": "0,0"}, "--like 0,0: lies on no chip of embeddings.h5 (the nearest, "),
        ({"like": "190,95"}, "--like 190,95: is no longitude and latitude; write degrees east, then degrees north"),
        ({"like": "32N-320-00001-00001"}, "--like 32N-320-00001-00001: no chip of embeddings.h5 has this id, whose"),
        ({"like": "here"}, "--like here: no such file, and neither LON,LAT nor a chip id"),
        ({"like": "folder"}, "--like folder: is a folder; give LON,LAT, a chip id, a vector file or chips"),
        ({"like": "GOOD", "unlike": "GOOD"}, "--not: chip 32N-320-01503-16000 is given by --like too; drop it"),
        ({"like": "GOOD", "features": "s3"}, "--in s3: no vectors of embeddings.h5; did you mean s"),
        ({"like": "GOOD", "features": "concat"}, "--in concat: no vectors of embeddings.h5"),
        ({"like": "GOOD", "by": "s1"}, "--by s1: s1 and fused of embeddings.h5 lie in no space that training made"),
        ({"like": "GOOD", "n": 0}, "--n 0: give the number of chips to find"),
        ({"like": "GOOD", "output": "o.geojson"}, "o.geojson: a search is written as GeoPackage"),
        ({"like": "lines.gpkg"}, "lines.gpkg: has no points or polygons"),
        ({"like": "far.gpkg"}, "far.gpkg: none of its 1 rows lies on a chip of embeddings.h5"),
        (
            {"like": "two.gpkg"},
            "two.gpkg: has the layers a, b; give a file of one, as by `ogr2ogr one.gpkg two.gpkg a`",
        ),
        ({"like": "bare.csv"}, "bare.csv: has neither geometry, nor columns chip_id or lon and lat"),
        ({"like": "embeddings.h5"}, "embeddings.h5: no chip besides the examples has fused"),
        ({"like": "stranger.h5"}, "--like stranger.h5: was embedded with another model than embeddings.h5"),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) and "n" not in value else None,
)
def test_what_cannot_be_asked_is_one_line_and_nothing_is_written(
    file: Embeddings, asked: dict[str, Any], fault: str
) -> None:
    point = shapely.Point(0, 0)
    Path("folder").mkdir()
    geopandas.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (1, 1)])], crs="EPSG:4326").to_file("lines.gpkg")
    geopandas.GeoDataFrame(geometry=[point], crs="EPSG:4326").to_file("far.gpkg")
    for layer in "ab":
        geopandas.GeoDataFrame(geometry=[point], crs="EPSG:4326").to_file("two.gpkg", layer=layer)
    Path("bare.csv").write_text("name,value\na,1\n")
    vectors = {name: file.vectors(name, slice(0, 4)) for name in file.names}
    embeddings.write(
        Path("stranger.h5"), file.chip_id[:4], file.aoi[:4], file.split[:4], grids=file.grids,
        modalities=file.modalities, blocks=[embeddings.Chunk(file.present[:4], vectors)],
        attributes={"model_sha256": "another"},
    )  # fmt: skip
    asked = {name: str(file.chip_id[3]) if value == "GOOD" else value for name, value in asked.items()}
    with pytest.raises(SearchError) as raised:
        search(**asked)
    assert str(raised.value).startswith(fault), raised.value
    assert "\n" not in str(raised.value)
    assert not Path("similar.gpkg").exists()


def test_longitude_and_latitude_exchanged_are_told_from_elsewhere(file: Embeddings) -> None:
    lon, lat = place_of(file, 0).split(",")
    with pytest.raises(SearchError, match=rf"--not {float(lon):g},{float(lat):g} does: longitude comes first"):
        search(like=place_of(file, 3), unlike=f"{lat},{lon}")


def test_rows_that_lie_on_no_chip_are_counted_aloud(file: Embeddings, caplog: pytest.LogCaptureFixture) -> None:
    points = [shapely.Point(*file.lonlat[3]), shapely.Point(0, 0), None]
    geopandas.GeoDataFrame(geometry=points, crs="EPSG:4326").to_file("some.gpkg")
    search(like="some.gpkg")
    assert "some.gpkg: 2 of 3 rows lie on no chip of embeddings.h5 and are left out" in caplog.text


def test_examples_that_cancel_out_point_nowhere(tmp_path: Path) -> None:
    X = np.eye(8, 4, dtype=np.float32) + np.float32(0.1)
    X[1] = -X[0]
    found = embeddings_file(tmp_path / "e.h5", {"s2": X, "fused": X}, columns=8)
    with pytest.raises(SearchError, match="--like: the examples point in no direction together"):
        search(found.path, like=found.chip_id[:2].tolist(), output=tmp_path / "o.gpkg")


def test_damaged_vectors_are_told_and_nothing_is_written(file: Embeddings) -> None:
    import h5py

    with h5py.File("embeddings.h5") as opened:
        offset = opened["embeddings/fused"].id.get_chunk_info(0).byte_offset
    with Path("embeddings.h5").open("r+b") as raw:
        raw.seek(offset + 40)
        raw.write(b"\x07")
    with pytest.raises(GeoembedError, match=r"cannot be read|edited or damaged"):
        search(like=str(file.chip_id[100]))
    assert not Path("similar.gpkg").exists()


def test_the_style_colours_similarity(file: Embeddings) -> None:
    table = search(like=str(file.chip_id[3])).made
    style = styles.beside(Path("similar.gpkg")).read_text()
    assert 'attr="similarity"' in style and "graduatedSymbol" in style
    assert f'lower="{table["similarity"].min()!r}"' in style and f'upper="{table["similarity"].max()!r}"' in style
    assert styles.is_settled(Path("similar.gpkg"))


def test_what_is_finished_is_kept_and_what_differs_is_refused(
    file: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = str(file.chip_id[3])
    search(like=like, n=5)
    first = Path("similar.gpkg").read_bytes()
    monkeypatch.setattr(step, "_ranked", lambda *_: pytest.fail("ranked again"))
    kept = search(like=like, n=5)
    assert kept.counts == {"found": 5, "kept": 1} and len(kept.made) == 5
    assert Path("similar.gpkg").read_bytes() == first
    with pytest.raises(StaleError, match=r"made with other options .n was 5, now 6.; choose another -o or pass --over"):
        search(like=like, n=6)
    monkeypatch.undo()


def test_other_inputs_need_update_and_other_files_stay(file: Embeddings) -> None:
    places = geopandas.GeoDataFrame(geometry=[shapely.Point(*file.lonlat[3])], crs="EPSG:4326")
    places.to_file("places.gpkg")
    search(like="places.gpkg", n=5)
    places.set_geometry([shapely.Point(*file.lonlat[99])], crs="EPSG:4326").to_file("places.gpkg")
    with pytest.raises(StaleError, match=r"made from other inputs .like.*pass --update"):
        search(like="places.gpkg", n=5)
    assert str(file.chip_id[3]) in search(like="places.gpkg", n=199, output="all.gpkg").made["chip_id"].tolist()
    assert len(search(like="places.gpkg", n=5, update=True).made) == 5
    Path("mine.gpkg").write_bytes(Path("places.gpkg").read_bytes())
    with pytest.raises(StaleError, match=r"mine.gpkg: exists and was not made by geoembed"):
        search(like="places.gpkg", output="mine.gpkg", overwrite=True)
    Path("page.html").write_text("<p>mine")
    with pytest.raises(StaleError, match=r"page.html: exists and was not made by geoembed"):
        search(like="places.gpkg", output="page.gpkg", page=True, overwrite=True)


def test_a_map_that_was_edited_is_refused_and_a_style_that_is_gone_is_made_again(file: Embeddings) -> None:
    like = str(file.chip_id[3])
    search(like=like, n=5)
    Path("similar.qml").unlink()
    search(like=like, n=5)
    assert Path("similar.qml").exists()
    table = geopandas.read_file("similar.gpkg")
    with closing(sqlite3.connect("similar.gpkg")) as base, base:
        for (trigger,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            base.execute(f'DROP TRIGGER "{trigger}"')  # which need functions of GDAL's
        base.execute("UPDATE similar SET similarity = 2 WHERE rank = 1")
    with pytest.raises(StaleError, match="its rows were edited or damaged since geoembed search wrote them"):
        search(like=like, n=5)
    assert search(like=like, n=5, overwrite=True).made["similarity"].tolist() == table["similarity"].tolist()


def test_the_page_holds_what_was_found_and_escapes_it(file: Embeddings, tmp_path: Path) -> None:
    areas = np.where(np.arange(N) % 2, "<b>Me & you", "there")
    embeddings.write(
        Path("areas.h5"), file.chip_id, areas, file.split, grids=file.grids, modalities=file.modalities,
        blocks=[file.block(slice(0, N))], attributes={},
    )  # fmt: skip
    result = search("areas.h5", like=str(file.chip_id[3]), n=9, page=True, output="a.gpkg")
    assert result.paths == (Path("a.gpkg"), Path("a.html"))
    text = Path("a.html").read_text()
    assert "&lt;b&gt;Me &amp; you" in text and "<b>Me" not in text
    assert all(chip_id in text for chip_id in result.made["chip_id"])
    assert "http" not in text.replace("http://www.w3.org", "")
    before = Path("a.html").stat().st_ino
    assert search("areas.h5", like=str(file.chip_id[3]), n=9, page=True, output="a.gpkg").counts["kept"] == 1
    assert Path("a.html").stat().st_ino == before
    Path("a.html").write_text(text.replace("Me &amp; you", "nobody"))
    search("areas.h5", like=str(file.chip_id[3]), n=9, page=True, output="a.gpkg")
    assert Path("a.html").read_text() == text


def test_a_page_is_told_from_others(tmp_path: Path) -> None:
    mine, other = tmp_path / "a.html", tmp_path / "b.html"
    empty = geopandas.GeoDataFrame(
        {name: [] for name in ("rank", "similarity", "chip_id", "aoi", "split", "lon", "lat")}
    )
    mine.write_text(pages.html("0" * 64, "A < B", ["x"], [], empty))
    other.write_text("<html>")
    assert pages.is_ours(mine) and not pages.is_ours(other) and "A &lt; B" in mine.read_text()
    assert pages.is_kept(mine, "0" * 64) and not pages.is_kept(mine, "1" * 64) and not pages.is_kept(other, "0" * 64)


def test_modalities_of_one_space_find_each_other_and_chips_of_elsewhere_are_embedded(project: Path, run: Run) -> None:
    file = embeddings.read(Path("embeddings.h5"))
    row = 17
    across = search(like=str(file.chip_id[row]), by="s1", features="s2", n=20, chips="chips", page=True).made
    s1, s2 = file.vectors("s1"), file.vectors("s2")
    assert across["chip_id"].tolist() == file.chip_id[sorted_by(s2, s1[row].astype(float), [row], 20)].tolist()
    text = Path("similar.html").read_text()
    assert text.count("data:image/png;base64,") == 21 and "Like (s1: red jja_vv, green jja_vh" in text
    area = geopandas.read_file("aoi.gpkg")
    corner = area.total_bounds[:2]
    area.set_geometry([shapely.box(*corner, *(corner + 320.0))], crs=area.crs).to_file("corner.gpkg")
    assert run("chip", "--aoi", "corner.gpkg", "-o", "few").exit_code == 0
    inside = geopandas.read_file("few/index.gpkg")["chip_id"].tolist()
    result = search(like="few", n=100, output="elsewhere.gpkg", device="cpu")
    rows = np.flatnonzero(np.isin(file.chip_id, inside))
    X = file.vectors("fused").astype(float)
    expected = sorted_by(X, X[rows].mean(axis=0), rows.tolist(), 100)
    assert len(rows) == len(inside) == 4
    assert result.made["chip_id"].tolist()[:20] == file.chip_id[expected[:20]].tolist()
    assert run("pretrain", "--seed", 5, "-o", "m").exit_code == 0
    with pytest.raises(
        ModelError, match=r"m: embeddings.h5 was embedded with another model; name that one with --model"
    ):
        search(like="few", model="m", output="o.gpkg")


def test_labels_of_two_classes_are_not_examples_all(project: Path, run: Run) -> None:
    told = run("search", "--like", "labels/water.gpkg")
    where = "`ogr2ogr -nomd -where 'label = 1' like.gpkg labels/water.gpkg`"
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr == (
        f"geoembed: labels/water.gpkg: holds chips of several values of label; take those of one, as by {where}\n"
    )
    table = geopandas.read_file("labels/water.gpkg")
    table[table["label"] == 1].to_file("like.gpkg")
    done = run("search", "--like", "like.gpkg", "--n", 10)
    assert (done.exit_code, done.stdout) == (0, "similar.gpkg\n"), done.stderr


def test_on_the_command_line_and_from_settings(project: Path, run: Run, tmp_path: Path) -> None:
    file = embeddings.read(Path("embeddings.h5"))
    geopandas.GeoDataFrame(geometry=[shapely.Point(*file.lonlat[5])], crs="EPSG:4326").to_file("p.gpkg")
    with Path("geoembed.toml").open("a") as settings:
        settings.write(f'[search]\nlike = ["p.gpkg", "{place_of(file, 8)}"]\nnot = ["{file.chip_id[9]}"]\nin = "s1"\n')
    (project / "below").mkdir()
    shutil.copy("embeddings.h5", "below/e.h5")
    result = run("--config", "geoembed.toml", "search", "below/e.h5", "--n", 3, "-o", "below/s.gpkg", "--json")
    assert result.exit_code == 0, result.stderr
    record = geopandas.read_file("below/s.gpkg")
    assert len(record) == 3 and '"counterexamples": 1' in result.stdout and '"examples": 2' in result.stdout
    piped = run("search", "--help")
    assert "--not" in piped.stdout and "--in" in piped.stdout
