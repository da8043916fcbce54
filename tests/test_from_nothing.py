"""From a folder that holds an area and nothing else: archives of the simulated Earth, fetched to a map and a report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import geopandas
import numpy as np
import pytest
import rasterio
from archives import catalogue, earth_catalogue, skies
from archives.skies import Skies
from canned import Canned
from s3 import S3

from geoembed.chips import folder as chip_folder
from geoembed.ground import crs

DOCS = Path(__file__).parents[1] / "geoembed" / "cli" / "README.md"

SETTINGS = """
[chip]
size = 16
[pretrain]
epochs = 1
[evaluate]
repeats = 1
features = "fused"
sizes = "20,100"
[modalities.s2.stac]
api = "{api}"
max_cloud = 100.0
seasons = ["jja"]
[modalities.s1.seasonal]
url = "{bucket}"
[modalities.coh.seasonal]
url = "{bucket}"
[fetch]
hosts = ["{files}"]
worldcover = "{covers}"
"""


@dataclass
class Archives:
    """Servers of the simulated Earth, and a folder for a project."""

    earth: Skies
    settings: str

    def project(self, folder: Path) -> Path:
        """Write the area and the settings, which say where the servers are; nothing else."""
        self.earth.area().to_file(folder / "aoi.gpkg")
        (folder / "geoembed.toml").write_text(self.settings)
        return folder


class Files(SimpleHTTPRequestHandler):
    """Answers with files, or with the part of one that is asked for."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(part[1]), min(int(part[2]), len(data) - 1)) if part else (0, len(data) - 1)
        self.send_response(206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(data[first : last + 1])


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archives]:
    folder = tmp_path_factory.mktemp("archives")
    files = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder)))
    files.daemon_threads = True
    Thread(target=files.serve_forever, args=(0.05,), daemon=True).start()
    host = f"127.0.0.1:{files.server_address[1]}"
    earth = skies.make(folder, f"http://{host}")
    bucket, covers = S3(), Canned()
    bucket.empty()
    for name, numbers in earth.tiles.items():
        bucket.put(f"data/tiles/{name[:7]}/{name}.tif", skies.seasonal_file(name, numbers))
    for name, west in (("N03W024", -24), ("N03W027", -27)):
        key = f"/v200/2021/map/ESA_WorldCover_10m_2021_v200_{name}_Map.tif"
        covers.answers[key] = skies.cover_file(earth, west)
    with catalogue.serving() as serve:
        api = serve([earth_catalogue.item(date) for date in earth.dates])
        text = SETTINGS.format(api=api.url, bucket=bucket.url, files=host, covers=covers.url)
        yield Archives(earth, text)
    files.shutdown()
    files.server_close()
    bucket.close()
    covers.close()


def shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an area, settings and the Makefile of the docs, after `make`."""
    folder = archives.project(tmp_path_factory.mktemp("project"))
    found = re.search(r"```make\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    (folder / "Makefile").write_text(found[1])
    done = shell(folder, "make")
    assert done.returncode == 0, done.stderr
    return folder


def test_make_ends_on_a_map_and_a_report_and_has_nothing_more_to_do(made: Path) -> None:
    water = geopandas.read_file(made / "labels" / "water.gpkg")
    predicted = geopandas.read_file(made / "probe" / "water" / "predictions.gpkg")
    assert len(predicted) == len(chip_folder.read(made / "chips").index) > 400
    assert {chip[:3] for chip in predicted.chip_id} == {"26N", "27N"}, "both zones"
    assert 0.05 < water.label.mean() < 0.4
    assert (made / "report" / "report.html").stat().st_size > 10_000
    assert shell(made, "make -q").returncode == 0


def test_composites_are_the_ground_and_hold_no_cloud(made: Path, archives: Archives) -> None:
    """Eight dates under clouds of two baselines and gains, in two zones: their median is the ground below."""
    earth, found = archives.earth, chip_folder.read(made / "chips")
    apart = []
    for chip in found.index.chip_id:
        with rasterio.open(found.path_of(chip, "s2")) as file:
            seen = file.read() * 1e-4 + file.offsets[0]
            x, y = file.transform @ np.meshgrid(np.arange(16) + 0.5, np.arange(16) + 0.5)
            x, y = crs.transformer(str(file.crs), "EPSG:32626").transform(x, y)
            assert (file.descriptions, file.nodata) == (("jja_red", "jja_green", "jja_blue"), 0)
        column, row = (np.floor(value).astype(int) for value in ~earth.transform @ (x, y))
        apart.append(seen - earth.truth[:, row, column] * 1e-4)
    error = np.abs(np.stack(apart))
    assert np.median(error) < 0.004
    assert np.quantile(error, 0.99) < 0.03, "clouds are five times as bright as the ground"


def test_the_pipe_of_the_contract_starts_from_an_area(archives: Archives, made: Path, tmp_path: Path) -> None:
    folder = archives.project(tmp_path)
    (folder / "model").symlink_to(made / "model")
    (folder / "water.gpkg").write_bytes((made / "labels" / "water.gpkg").read_bytes())
    done = shell(
        folder,
        "geoembed chip --aoi aoi.gpkg | geoembed embed - --modalities s1,coh "
        "| geoembed probe - --labels water.gpkg --n 500",
    )
    assert (done.returncode, done.stdout) == (0, "probe/water/predictions.gpkg\n"), done.stderr
    assert "Contains modified Copernicus Sentinel data 2020" in done.stderr
    assert len(geopandas.read_file(folder / "probe" / "water" / "predictions.gpkg")) == len(
        geopandas.read_file(made / "chips" / "index.gpkg")
    )
