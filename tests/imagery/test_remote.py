"""Rasters on other machines, read through GDAL: right pixels or an error, never nodata; and no secrets in any text."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, WriteArea, WriteRaster, square
from s3 import S3

from geoembed.chips import folder as chip_folder
from geoembed.errors import ImageryError
from geoembed.imagery import addresses, rasters, sources, windows
from geoembed.imagery.modalities import BUILT_IN, Source
from geoembed.imagery.rasters import Raster
from geoembed.imagery.windows import Readers, Window

S2 = BUILT_IN[0]
LATE = 40_000
"""Bytes from which on faults begin: behind the header, and within the pixels."""

PIXELS = np.random.default_rng(0).integers(1, 9_000, (3, 128, 128), dtype="uint16")
NAMES = ("jja_red", "jja_green", "jja_blue")
COG = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "nodata": 0, "scale": 1e-4}


@dataclass
class Files:
    """A server of a folder's files, at /FAULT/NAME; `asked` counts requests by method, fault and range."""

    folder: Path
    address: str = ""
    asked: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    stopping: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: Files

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        fault, _, name = self.path.partition("?")[0].lstrip("/").partition("/")
        asked = self.headers.get("Range", "")
        self.files.asked[(self.command, fault, asked)] += 1
        is_first = self.files.asked[(self.command, fault, asked)] == 1
        path, part = self.files.folder / name, re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        is_late = part is not None and int(part[2]) >= LATE
        status = re.fullmatch(r"(once)?(\d{3})", fault)
        if not path.is_file():
            self._send(404, b"", body=body)
        elif status and body and (is_first or not status[1]) and (is_late or int(status[2]) < 500):
            self._send(int(status[2]), b"", body=body)
        elif fault == "html":
            self._send(200, b"<html>sign in</html>", body=body)
        elif part is None:
            self._send(200, path.read_bytes(), body=body)
        else:
            whole = path.read_bytes()
            first, last = int(part[1]), min(int(part[2]), len(whole) - 1)
            data = whole[first : last + 1]
            at = max(0, LATE - first) + 100
            if fault == "flip" and is_late:
                data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
            if fault == "zeros" and is_late:
                data = data[:at] + bytes(len(data) - at)
            sent = at if fault in ("trunc", "stall") and is_late else len(data)
            headers = {"Content-Range": f"bytes {first}-{last}/{len(whole)}"}
            self._send(206, data, headers, sent=sent, body=body)
            if sent < len(data):
                if fault == "stall":
                    self.files.stopping.wait(30)
                self.close_connection = True

    def _send(
        self, status: int, data: bytes, headers: dict[str, str] | None = None, *, body: bool, sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "Accept-Ranges": "bytes", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data[:sent])
            self.wfile.flush()


class Threads(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:  # clients that leave are no fault
        pass


@pytest.fixture
def files(tmp_path: Path, write_raster: WriteRaster) -> Iterator[Files]:
    write_raster("remote/a.tif", PIXELS, names=NAMES, **COG)
    files = Files(tmp_path / "remote")
    threads = Threads(("127.0.0.1", 0), type("Of", (Handler,), {"files": files}))
    files.address = f"127.0.0.1:{threads.server_address[1]}"
    threading.Thread(target=threads.serve_forever, daemon=True).start()
    yield files
    files.stopping.set()
    threads.shutdown()
    threads.server_close()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {"GDAL_HTTP_RETRY_DELAY": "0.05", "GDAL_HTTP_LOW_SPEED_TIME": "1", "GDAL_HTTP_MAX_RETRY": "2"}
    monkeypatch.setattr(rasters, "PATIENCE", rasters.PATIENCE | quick)


def found(address: object, **keys: Any) -> Raster:
    (raster,) = sources.find(replace(S2, sources=(Source((str(address),), **keys),)))
    return raster


def pixels(raster: Raster) -> tuple[Any, Any]:
    readers = Readers()
    try:
        return windows.read(raster, (0, 1, 2), Window(0, 0, 128, 128), readers)
    finally:
        readers.close()


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("form", ["http://{}/ok/a.tif", "/vsicurl/http://{}/ok/a.tif", "http://{}/ok/a.tif?sig=SECRET"])
def test_a_file_on_the_net_is_read_as_a_local_one(files: Files, form: str) -> None:
    raster = found(form.format(files.address))
    assert (raster.channels, raster.encodings[0].scale, raster.far) == (NAMES, 1e-4, True)
    stored, valid = pixels(raster)
    np.testing.assert_array_equal(stored, PIXELS)
    assert valid.all()


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("fault", ["once503", "once429"])
def test_what_fails_once_is_asked_again(files: Files, fault: str) -> None:
    stored, valid = pixels(found(f"http://{files.address}/{fault}/a.tif"))
    np.testing.assert_array_equal(stored, PIXELS)
    assert valid.all()


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("fault", ["503", "429", "trunc", "stall", "flip", "zeros", "403", "401", "html"])
def test_what_fails_is_an_error_without_secrets_and_never_nodata(files: Files, fault: str) -> None:
    with pytest.raises(ImageryError) as error:
        pixels(found(f"http://name:word@{files.address}/{fault}/a.tif?sig=SECRET&se=2026"))
    told = str(error.value)
    assert files.address in told
    assert "\n" not in told
    assert not re.search("SECRET|word@", told)
    remedy = {"403": "give the rights", "401": "give the rights", "html": "page to sign in"}.get(fault, "run again")
    assert remedy in told


@pytest.mark.usefixtures("_impatient")
def test_a_file_that_is_not_there_is_told(files: Files) -> None:
    with pytest.raises(ImageryError, match=r"404.*mend its address"):
        found(f"http://{files.address}/ok/none.tif")


@pytest.mark.usefixtures("_impatient")
def test_chips_from_the_net_are_those_of_the_file_and_hold_no_secret(
    files: Files, tmp_path: Path, run: Run, write_area: WriteArea
) -> None:
    area, outs = write_area("aoi.gpkg", square(500_000, 5_000_000 - 1280, 1280)), {}
    for name, where in {"here": files.folder / "a.tif", "far": f"http://{files.address}/ok/a.tif?sig=SECRET"}.items():
        outs[name] = tmp_path / name
        done = run("chip", "--aoi", area, "--source", f"s2={where}", "--size", 32, "-o", outs[name], "-v")
        assert done.exit_code == 0, done.stderr
        assert "SECRET" not in done.stderr
    here, far = (chip_folder.read(out) for out in outs.values())
    assert list(here.index["s2_digest"]) == list(far.index["s2_digest"])
    assert not [path for path in outs["far"].rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]


@pytest.mark.usefixtures("_impatient")
def test_a_server_that_fails_ends_the_run_without_an_index_and_the_next_goes_on(
    files: Files, tmp_path: Path, run: Run, write_area: WriteArea
) -> None:
    area, out = write_area("aoi.gpkg", square(500_000, 5_000_000 - 1280, 1280)), tmp_path / "chips"
    words = ("chip", "--aoi", area, "--size", 32, "-o", out)
    failed = run(*words, "--source", f"s2=http://{files.address}/503/a.tif")
    assert failed.exit_code == 1
    assert not (out / "index.gpkg").exists()
    done = run(*words, "--source", f"s2=http://{files.address}/ok/a.tif")
    assert done.exit_code == 0, done.stderr


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    server = S3()
    server.empty()
    for name, value in {
        "AWS_S3_ENDPOINT": server.host,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.mark.usefixtures("_impatient")
def test_a_bucket_is_read_by_s3_addresses(bucket: S3, write_raster: WriteRaster) -> None:
    bucket.put("deep/a.tif", write_raster("a.tif", PIXELS, names=NAMES, **COG).read_bytes())
    bucket.put("private.tif", b"nothing", acl="private")
    for address in ("s3://archive/deep/a.tif", "/vsis3/archive/deep/a.tif"):
        stored, valid = pixels(found(address))
        np.testing.assert_array_equal(stored, PIXELS)
        assert valid.all()
    with pytest.raises(ImageryError, match=r"s3://archive/none\.tif"):
        found("s3://archive/none.tif")


def test_addresses_keep_their_slashes_and_the_environment_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("/project")
    for address in ("/vsizip//vsicurl/https://a.test/b.zip/c.tif", "https://a.test/b.tif", "s3://a/b.tif"):
        assert addresses.resolve(folder, address) == address
        assert addresses.is_far(address)
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "9")
    with rasters.gdal(far=True) as env:
        assert "GDAL_HTTP_MAX_RETRY" not in env.options
        assert env.options["GDAL_HTTP_CONNECTTIMEOUT"] == "5"
