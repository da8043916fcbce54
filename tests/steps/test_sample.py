"""The step that writes the simulated Earth, on small areas."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from damages import DAMAGES, damage

from geoembed.errors import GeoembedError, StaleError
from geoembed.steps import sample

PIXELS = 384


@pytest.fixture(scope="module")
def earth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated Earth of small areas; tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("sample") / "earth"
    with pytest.MonkeyPatch.context() as patch:
        _shrink(patch)
        sample.sample(folder)
    return folder


def _shrink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sample, "PIXELS", PIXELS)
    patch.setattr(sample, "SIDE", 3_000.0)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_everything(earth: Path) -> None:
    names = sorted(path.name for path in earth.iterdir())
    assert names == [
        ".geoembed-sample.json", "Makefile", "README.txt", "aoi.gpkg", "coh", "geoembed.toml", "landcover.tif",
        "s1", "s2",
    ]  # fmt: skip
    settings = tomllib.loads((earth / "geoembed.toml").read_text())
    for kind, dtype, pixel in (("s2", "uint16", 10), ("s1", "int16", 10), ("coh", "uint8", 20)):
        paths = sorted((earth / kind).glob("*.tif"))
        assert len(paths) == 5
        codes = set()
        for path in paths:
            with rasterio.open(path) as raster:
                codes.add(raster.crs.to_epsg())
                assert raster.res == (pixel, pixel)
                assert raster.dtypes[0] == dtype
                assert list(raster.descriptions) == settings["modalities"][kind]["names"]
                assert raster.scales[0] == settings["modalities"][kind]["scale"]
                assert raster.nodata == settings["modalities"][kind]["nodata"]
                assert raster.transform.c % 20 == raster.transform.f % 20 == 0
        assert codes == {32626, 32627, 32628, 32729, 32730}


def test_areas_lie_inside_their_rasters(earth: Path) -> None:
    areas = geopandas.read_file(earth / "aoi.gpkg")
    assert areas.crs.to_epsg() == 4326
    assert list(areas.columns) == ["name", "geometry"]
    for row in areas.itertuples():
        with rasterio.open(earth / "s2" / f"{row.name}.tif") as raster:
            shape = areas[areas.name == row.name].to_crs(raster.crs).geometry.iloc[0]
            west, south, east, north = shape.bounds
            assert raster.bounds.left < west < east < raster.bounds.right
            assert raster.bounds.bottom < south < north < raster.bounds.top
            assert shape.area == pytest.approx(3_000.0**2, rel=0.01)


def test_land_cover_agrees_with_the_landscape(earth: Path) -> None:
    from rasterio.warp import transform

    from geoembed.earth import landscape

    with pytest.MonkeyPatch.context() as patch:
        _shrink(patch)
        site = sample.sites()[3]
    land = landscape.build(site.place, np.random.default_rng([0, 3]), PIXELS)
    rows, columns = np.random.default_rng(0).integers(20, PIXELS - 20, (2, 400))
    x, y = site.left + (columns + 0.5) * 10, site.top - (rows + 0.5) * 10
    longitude, latitude = transform(site.crs, "EPSG:4326", x, y)
    with rasterio.open(earth / "landcover.tif") as raster:
        found = np.array([value[0] for value in raster.sample(zip(longitude, latitude, strict=True))])
        assert raster.crs.to_epsg() == 4326
        assert raster.colormap(1)[80] == (0, 100, 200, 255)
        assert raster.nodata == 0
    # A pixel is 9.3 m wide there, so its centre is at most half a pixel off.
    assert np.mean(found == land.worldcover[rows, columns]) > 0.85
    assert (earth / "landcover.tif").stat().st_size < 20e6


def test_same_seed_same_bytes(earth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _shrink(monkeypatch)
    sample.sample(tmp_path / "again")
    assert _bytes(tmp_path / "again") == _bytes(earth)


def test_running_again_keeps_and_mends(earth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _shrink(monkeypatch)
    folder = tmp_path / "earth"
    shutil.copytree(earth, folder)
    raster, settings = folder / "s2" / "sim-doab.tif", folder / "geoembed.toml"
    stamp = raster.stat().st_mtime_ns
    settings.write_text("# mine now\n")
    outcome = sample.sample(folder)
    assert outcome.counts["written"] == 0
    assert outcome.paths == (folder,)
    assert raster.stat().st_mtime_ns == stamp  # chips know rasters by it
    assert settings.read_text() == "# mine now\n"
    (folder / "coh" / "sim-wadi.tif").unlink()
    assert sample.sample(folder).counts["written"] == 1
    assert (folder / "coh" / "sim-wadi.tif").read_bytes() == (earth / "coh" / "sim-wadi.tif").read_bytes()


def touch_all(folder: Path, seed: int, missing: list[str]) -> Iterator[str]:
    """Write rasters without pixels, fast."""
    for name in missing:
        if name.endswith(".tif"):
            (folder / name).write_text("new")
    yield from ()


def test_other_seed_is_refused_until_overwrite(earth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _shrink(monkeypatch)
    monkeypatch.setattr(sample, "_write_imagery", touch_all)
    folder = tmp_path / "earth"
    shutil.copytree(earth, folder)
    (folder / "s2" / "mine.tif").write_text("kept")
    with pytest.raises(StaleError, match="seed was 0, now 7"):
        sample.sample(folder, seed=7)
    assert (folder / "s2" / "sim-doab.tif").exists()
    sample.sample(folder, seed=7, overwrite=True)
    assert (folder / "s2" / "sim-doab.tif").read_text() == "new"
    assert (folder / "s2" / "mine.tif").read_text() == "kept"
    assert json.loads((folder / sample.RECORD).read_text())["made_from"]["options"] == {"seed": 7}


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_peoples_files_are_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "Makefile").write_text("all:\n")
    with pytest.raises(GeoembedError, match=r"Makefile: is in the way"):
        sample.sample(tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
    with pytest.raises(GeoembedError, match="is a file"):
        sample.sample(tmp_path / "Makefile", overwrite=overwrite)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_makefile_settles(earth: Path, tmp_path: Path) -> None:
    """With a command that only touches files, every step runs once and then Make is content."""
    folder = tmp_path / "earth"
    shutil.copytree(earth, folder)
    fake = folder / "fake"
    fake.write_text(
        '#!/bin/sh\necho "$1" >> log\ncase $1 in\n'
        "chip) mkdir -p chips; touch chips/index.gpkg;;\n"
        'label) mkdir -p labels; for a in "$@"; do case $a in *=*) touch labels/${a%%=*}.gpkg;; esac; done;;\n'
        "pretrain) mkdir -p model; touch model/weights.safetensors;;\n"
        "embed) touch embeddings.h5;;\n"
        "probe) mkdir -p probe/water; touch probe/water/predictions.gpkg;;\n"
        "evaluate) mkdir -p report; touch report/report.html;;\nesac\n"
    )
    fake.chmod(0o755)
    make = ["make", "-C", str(folder), "GEOEMBED=./fake"]
    subprocess.run(make, check=True, capture_output=True)
    steps = (folder / "log").read_text().split()
    assert sorted(steps) == ["chip", "embed", "evaluate", "label", "pretrain", "probe"]
    assert steps[-1] == "evaluate"
    assert subprocess.run([*make, "-q"], check=False).returncode == 0
    assert sorted(path.stem for path in (folder / "labels").iterdir()) == ["built", "cropland", "vegetation", "water"]
    (folder / "labels" / "built.gpkg").unlink()
    subprocess.run(make, check=True, capture_output=True)
    assert (folder / "labels" / "built.gpkg").exists()
    assert subprocess.run([*make, "-q"], check=False).returncode == 0


def test_make_keeps_whole_files_of_a_step_that_complained() -> None:
    # embed ends with 1 over one broken chip and leaves a complete file, which Make would otherwise delete
    assert ".DELETE_ON_ERROR" not in (sample.TEXTS / "Makefile").read_text()


FILES = (".geoembed-sample.json", "s2/sim-doab.tif", "landcover.tif", "aoi.gpkg", "Makefile")


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_written_again(
    earth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, how: str
) -> None:
    """All of it by a plain run, or by the remedy that this names."""
    _shrink(monkeypatch)

    def copied(folder: Path, seed: int, missing: list[str]) -> Iterator[str]:
        """Write imagery as it was, fast."""
        for file in missing:
            if file.endswith(".tif"):
                (folder / file).parent.mkdir(exist_ok=True)
                shutil.copy(earth / file, folder / file)
        yield from ()

    monkeypatch.setattr(sample, "_write_imagery", copied)
    folder = tmp_path / "earth"
    shutil.copytree(earth, folder)
    damage(folder / name, how)
    words = ""
    try:
        sample.sample(folder)
    except GeoembedError as error:
        words = str(error)
    words += caplog.text
    if "--overwrite" in words:
        sample.sample(folder, overwrite=True)
    elif "move it away" in words:
        shutil.rmtree(folder)
        folder.mkdir()
        sample.sample(folder)
    else:
        assert not words
    assert _bytes(folder) == _bytes(earth)
    assert sample.sample(folder).counts["written"] == 0
