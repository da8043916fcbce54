"""Names and contents of files reach people as text, whatever a terminal or a browser would make of them."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import geopandas
import pandas as pd
import pytest
import rasterio
from faults import small_project
from faults.launcher import Ended, Launcher

CLEAR, TITLE, LINES, MIRRORED, FORMULA = "\x1b[2J", "\x1b]0;x\x07", "a\nb\r\x85c", "a\u202eb", "=1+1"
SCRIPT = "<script>alert(1)</script>"
HOSTILE = [CLEAR, TITLE, LINES, MIRRORED, FORMULA, SCRIPT, "\u2028", "[red]x[/red]"]
NAMES = [name.replace("/", "") for name in HOSTILE]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text") / "project"
    small_project.make(folder)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    return folder


def require_plain(ended: Ended, status: int | None = None) -> None:
    """Nothing that a terminal obeys was printed, and a fault is one line."""
    assert status is None or ended.status == status, ended.stderr
    for text in (ended.stdout, ended.stderr):
        obeyed = {letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}
        assert not obeyed, ascii(text)
    assert "fault of geoembed" not in ended.stderr
    assert "Traceback" not in ended.stderr or ended.stderr.startswith("settings: ")  # which -v prints first
    if ended.status == 1:
        assert ended.stderr.splitlines()[-1].startswith("geoembed: "), ended.stderr


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files(project: Path, launcher: Launcher, name: str) -> None:
    for source, to in (("few.gpkg", f"{name}.gpkg"), ("s2.tif", f"imagery/{name}.tif")):
        (project / to).parent.mkdir(exist_ok=True)
        shutil.copy(project / source, project / to)
    labels = project / "labels" / f"{name}.gpkg"
    shutil.copy(project / "labels" / "water.gpkg", labels)
    is_plain = not any(unicodedata.category(letter) == "Cc" for letter in name)
    ended = launcher.run(project, "chip", "--aoi", f"{name}.gpkg", "--source", "s2=imagery", "-o", "out")
    require_plain(ended, 0 if is_plain and name.isprintable() else None)
    require_plain(launcher.run(project, "chip", "--aoi", "few.gpkg", "--source", "s2=imagery", "-o", "out2", "-v"), 0)
    require_plain(launcher.run(project, "probe", "--labels", labels, "--features", "s2"))
    require_plain(launcher.run(project, "info", "-v"))
    require_plain(launcher.run(project, "info", "--json"))
    require_plain(launcher.run(project, "label", f"imagery/{name}.tif", "--above", "0.1"))


@pytest.mark.parametrize("name", HOSTILE)
def test_names_in_files(project: Path, launcher: Launcher, name: str) -> None:
    area = geopandas.read_file(project / "few.gpkg")
    area["name"] = name
    area.to_file(project / "named.geojson")
    require_plain(launcher.run(project, "chip", "--aoi", "named.geojson", "-o", "out"))
    with rasterio.open(project / "s2.tif", "r+") as file:
        file.descriptions = (name, "jja_green", "jja_blue")
        file.update_tags(key=name, TIFFTAG_IMAGEDESCRIPTION=name)
    require_plain(launcher.run(project, "chip", "--aoi", "few.gpkg", "-o", "out2"))
    require_plain(launcher.run(project, "info", "s2.tif", "-v"))
    (project / "geoembed.toml").write_text(f"[chip]\n{json.dumps(name)} = 1\n")
    require_plain(launcher.run(project, "chip", "--aoi", "few.gpkg"), 1)
    (project / "geoembed.toml").write_text(f"[chip]\nsize = {json.dumps(name)}\n")
    require_plain(launcher.run(project, "chip", "--aoi", "few.gpkg"), 1)
    (project / "geoembed.toml").write_text(f"[modalities.s2]\nsource = {json.dumps(name)}\n")
    require_plain(launcher.run(project, "chip", "--aoi", "few.gpkg"), 1)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_classes_and_columns(project: Path, launcher: Launcher, name: str) -> None:
    index = geopandas.read_file(project / "chips" / "index.gpkg")
    label = [name if i % 2 else f"{name}2" for i in range(len(index))]
    table = pd.DataFrame({"chip_id": index["chip_id"], "label": label, name: label})
    table.to_csv(project / "words.csv", index=False)
    require_plain(launcher.run(project, "probe", "--labels", "words.csv", "--features", "s2"))
    require_plain(launcher.run(project, "probe", "--labels", "words.csv", "--target", "nothing"), 1)
    require_plain(launcher.run(project, "info", "words.csv", "-v"))
    words = ["--sizes", "all", "--n", "8", "--repeats", "1", "--features", "s2", "-o", "report2"]
    ended = launcher.run(project, "evaluate", "--labels", "words.csv", *words)
    require_plain(ended)
    page = project / "report2" / "report.html"
    if page.exists():
        text = page.read_text(encoding="utf-8")
        assert SCRIPT not in text and "\x1b" not in text
        cells = (project / "report2" / "results.csv").read_text(encoding="utf-8").splitlines()[1:]
        assert not any(cell[:1] in "=+@" for row in cells for cell in row.split(",") if cell)
