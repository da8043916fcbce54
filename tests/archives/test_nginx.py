"""Files from nginx, as buckets serve them: ranges, latency, failures at random, limits, lost connections, absence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from archives import catalogue, earth_catalogue, real_servers
from archives.real_servers import Nginx
from archives.test_fetch import outline, pixels
from conftest import Run
from geopandas import GeoDataFrame

from geoembed.archives import client as clients
from geoembed.archives import pieces
from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError

DATA = np.random.default_rng(0).bytes(400_000)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.bin").write_bytes(DATA)
    return folder


@pytest.fixture
def nginx(files: Path, tmp_path: Path) -> Iterator[Nginx]:
    (tmp_path / "nginx").mkdir()
    with real_servers.nginx(tmp_path / "nginx", files) as server:
        yield server


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "FIRST_WAIT", 0.01)


@pytest.mark.parametrize("manner", ["plain", "late", "faulty"])
def test_ranges_are_the_files_own(nginx: Nginx, manner: str) -> None:
    client = Client([nginx.hosts[manner]], tries=8)
    spans = [(start, start + 9_000) for start in range(0, 390_000, 100_000)]
    for _ in range(5):
        found = client.ranges(f"{nginx.url(manner)}/a.bin", spans)
        assert found == [DATA[first:last] for first, last in spans]
    assert client.content(f"{nginx.url(manner)}/a.bin", most=400_000) == DATA
    beginning = client.beginning(f"{nginx.url(manner)}/a.bin", 100)
    assert (beginning.data, beginning.size, bool(beginning.version)) == (DATA[:100], 400_000, True)
    client.close()


@pytest.mark.parametrize(
    ("spans", "requests"),
    [
        ([(0, 10), (10, 20), (5, 3_000)], 1),
        ([(70_000, 80_000), (0, 9_000)], 1),
        ([(390_000, 400_000), (0, 1), (200_000, 200_001)], 3),
        ([(399_999, 400_000)], 1),
        ([(0, 400_000)], 1),
    ],
    ids=["touching", "near", "far", "last byte", "whole"],
)
def test_any_spans_come_in_the_order_they_were_asked_for(
    nginx: Nginx, spans: list[tuple[int, int]], requests: int
) -> None:
    client = Client([nginx.hosts["plain"]], tries=1)
    version = client.beginning(f"{nginx.url('plain')}/a.bin", 100).version
    found = client.ranges(f"{nginx.url('plain')}/a.bin", spans, version)
    assert found == [DATA[first:last] for first, last in spans]
    assert client.traffic.requests == 1 + requests
    client.close()


def test_a_file_that_is_written_anew_is_told(nginx: Nginx, files: Path) -> None:
    client = Client([nginx.hosts["plain"]])
    url = f"{nginx.url('plain')}/a.bin"
    version = client.beginning(url, 100).version
    (files / "a.bin").write_bytes(DATA[::-1][:-7])
    with pytest.raises(FetchError, match="changed while it was read; run again"):
        client.ranges(url, [(0, 100)], version)
    with pytest.raises(FetchError):
        client.ranges(url, [(399_990, 400_000)])
    client.close()


def test_what_is_not_there_and_what_may_not_be_read_differ(nginx: Nginx) -> None:
    client = Client([*nginx.hosts.values()], tries=2)
    with pytest.raises(AbsentError):
        client.content(f"{nginx.url('plain')}/b.bin", most=100)
    with pytest.raises(FetchError) as refused:
        client.content(f"{nginx.url('closed')}/b.bin", most=100)
    assert "403" in str(refused.value)
    client.close()


def test_a_slow_line_is_borne(nginx: Nginx) -> None:
    client = Client([nginx.hosts["slow"]], tries=1)
    assert client.ranges(f"{nginx.url('slow')}/a.bin", [(0, 60_000)]) == [DATA[:60_000]]
    client.close()


def test_a_connection_that_is_lost_in_an_answer_is_made_anew(nginx: Nginx) -> None:
    client = Client([nginx.hosts["slow"]], tries=2)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ranges, f"{nginx.url('slow')}/a.bin", [(1_000, 121_000)])
        while not client.traffic.bytes and not asked.done():
            time.sleep(0.01)
        nginx.kill_worker()
        assert asked.result() == [DATA[1_000:121_000]]
    assert (client.traffic.requests, client.traffic.repeated) == (2, 1)
    assert 120_000 < client.traffic.bytes < 240_000
    client.close()


def test_more_requests_than_a_server_allows_are_repeated_later(nginx: Nginx) -> None:
    client = Client([nginx.hosts["limited"]], tries=12, connections=4)
    spans = [(start, start + 100) for start in range(0, 400_000, 80_000)]
    assert client.ranges(f"{nginx.url('limited')}/a.bin", spans) == [DATA[first:last] for first, last in spans]
    assert client.traffic.repeated > 0
    client.close()


def test_fewer_tries_than_a_server_asks_for_are_an_error(nginx: Nginx) -> None:
    client = Client([nginx.hosts["limited"]], tries=1, connections=4)
    with pytest.raises(FetchError, match=r"could not be had in 1 try \(status 429\); run again later"):
        client.ranges(f"{nginx.url('limited')}/a.bin", [(start, start + 100) for start in range(0, 400_000, 80_000)])
    client.close()


def test_chips_are_the_same_however_badly_it_serves(
    nginx: Nginx, files: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a fifth of the answers that fail none becomes a gap."""
    for name, value in {"BLOCK": 128, "HEIGHT": 256, "WIDTH": 256}.items():
        monkeypatch.setattr(pieces, name, value)
    monkeypatch.chdir(tmp_path)
    area = outline((100, 420), (60, 380))
    GeoDataFrame({"name": ["here"]}, geometry=[area], crs="EPSG:4326").to_file("aoi.gpkg")
    cut = {}
    for manner in ("plain", "late", "faulty"):
        dates = earth_catalogue.dates(files, nginx.url(manner), count=5)
        with catalogue.serving() as serve:
            api = serve([earth_catalogue.item(date) for date in dates])
            (tmp_path / "geoembed.toml").write_text(
                f'[modalities.s2.stac]\napi = "{api.url}"\nseasons = ["jja"]\n[chip]\nsize = 64\n'
                f'[fetch]\nhosts = ["{nginx.hosts[manner]}"]\ncache = "cache-{manner}"\ntries = 12\n'
            )
            done = run("chip", "--aoi", "aoi.gpkg", "-o", f"{manner}/chips")
        assert done.exit_code == 0, done.stderr
        cut[manner] = {name: numbers for name, (_, numbers, _) in pixels(tmp_path / manner, "s2").items()}
    assert len(cut["plain"]) > 15
    for manner in ("late", "faulty"):
        assert cut[manner].keys() == cut["plain"].keys()
        for name, numbers in cut[manner].items():
            np.testing.assert_array_equal(numbers, cut["plain"][name])
