"""Rasters on other machines, read through GDAL: right pixels or an error, never nodata; and no secrets in any text."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, WriteArea, WriteRaster, square
from remote_files import Files, serving
from s3 import S3

from geoembed.chips import folder as chip_folder
from geoembed.errors import ImageryError
from geoembed.imagery import addresses, rasters, sources, windows
from geoembed.imagery.modalities import BUILT_IN, Source
from geoembed.imagery.rasters import Raster
from geoembed.imagery.windows import Readers, Window
from geoembed.outputs import digests

S2 = BUILT_IN[0]
PIXELS = np.random.default_rng(0).integers(1, 9_000, (3, 128, 128), dtype="uint16")
NAMES = ("jja_red", "jja_green", "jja_blue")
COG = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "nodata": 0, "scale": 1e-4}


@pytest.fixture
def files(tmp_path: Path, write_raster: WriteRaster) -> Iterator[Files]:
    write_raster("remote/a.tif", PIXELS, names=NAMES, **COG)
    with serving(tmp_path / "remote") as files:
        yield files


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
    # In a process of its own, as the server is in this one, and GDAL lets no other thread run while it asks.
    done = subprocess.run([sys.executable, "-c", READ_BUCKET], capture_output=True, text=True, check=True)
    *read, missing = done.stdout.splitlines()
    assert read == [digests.of_data(PIXELS.tobytes())] * 2
    assert "s3://archive/none.tif" in missing


READ_BUCKET = """
from geoembed.errors import ImageryError
from geoembed.imagery import sources, windows
from geoembed.imagery.modalities import BUILT_IN, Source
from geoembed.outputs import digests
from dataclasses import replace

for address in ("s3://archive/deep/a.tif", "/vsis3/archive/deep/a.tif", "s3://archive/none.tif"):
    try:
        (raster,) = sources.find(replace(BUILT_IN[0], sources=(Source((address,)),)))
    except ImageryError as fault:
        print(fault)
        continue
    stored, valid = windows.read(raster, (0, 1, 2), windows.Window(0, 0, 128, 128), windows.Readers())
    assert valid.all()
    print(digests.of_data(stored.tobytes()))
"""


def test_addresses_keep_their_slashes_and_the_environment_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("/project")
    for address in ("/vsizip//vsicurl/https://a.test/b.zip/c.tif", "https://a.test/b.tif", "s3://a/b.tif"):
        assert addresses.resolve(folder, address) == address
        assert addresses.is_far(address)
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "9")
    with rasters.gdal(far=True) as env:
        assert "GDAL_HTTP_MAX_RETRY" not in env.options
        assert env.options["GDAL_HTTP_CONNECTTIMEOUT"] == "5"
