"""Windows of remote GeoTIFFs equal those of the files, or end in one clear line."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from archives.conftest import LATE, Server
from numpy.typing import NDArray

from geoembed.archives import blocks
from geoembed.archives import client as clients
from geoembed.archives.client import Client
from geoembed.errors import AbsentError, FetchError
from geoembed.ground import crs

SIDE, BLOCK = 600, 128


@pytest.fixture(scope="module")
def numbers() -> NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    numbers = rng.integers(1, 10_000, (SIDE, SIDE)).astype(np.uint16)
    numbers[:BLOCK, BLOCK : 2 * BLOCK] = 0  # a block that is empty
    return numbers


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(clients, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(clients, "READ", 0.5)
    monkeypatch.setattr(clients, "LONGEST", 2**16)
    made = Client([server.address], tries=2)
    yield made
    made.close()


def write(path: Path, numbers: NDArray[Any], **options: Any) -> None:
    profile = {
        "driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate",
        "predictor": 2, "nodata": 0, "sparse_ok": True, **options,
    }  # fmt: skip
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 3e5, 0, -10, 5e6)}
    height, width = numbers.shape
    with rasterio.open(path, "w", height=height, width=width, count=1, dtype=numbers.dtype, **place, **profile) as file:
        file.write(numbers, 1)


LAYOUTS: dict[str, dict[str, Any]] = {
    "deflate": {},
    "zstd": {"compress": "zstd"},
    "lzw, big": {"compress": "lzw", "bigtiff": "yes"},
    "plain": {"compress": "none", "predictor": 1},
    "strips": {"tiled": False, "blockxsize": SIDE, "blockysize": 7},
    "big-endian": {"endianness": "big"},
    "cog": {"driver": "COG", "blocksize": BLOCK},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_equal_those_of_the_file(
    client: Client, server: Server, tmp_path: Path, numbers: NDArray[np.uint16], layout: str
) -> None:
    options = LAYOUTS[layout]
    if options.get("driver") == "COG":
        write(tmp_path / "plain.tif", numbers)
        rasterio.shutil.copy(tmp_path / "plain.tif", server.folder / "a.tif", driver="COG", blocksize=BLOCK)
    else:
        write(server.folder / "a.tif", numbers, **options)
    with blocks.opened(client, server.url("a.tif"), tmp_path) as remote:
        assert (remote.box.height, remote.box.width, remote.nodata) == (SIDE, SIDE, 0)
        assert crs.same(remote.box.crs, "EPSG:32633")
        for row, column, height, width in ((0, 0, SIDE, SIDE), (100, 130, 3, 300), (599, 599, 1, 1)):
            part = numbers[row : row + height, column : column + width]
            np.testing.assert_array_equal(remote.read(row, column, height, width), part)
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_headers_that_lie_at_the_end_are_found(
    client: Client, server: Server, tmp_path: Path, numbers: NDArray[np.uint16]
) -> None:
    write(server.folder / "a.tif", numbers)
    with rasterio.open(server.folder / "a.tif", "r+") as file:
        file.update_tags(note="x" * 3000)  # makes GDAL write the directory anew, behind the pixels
    with blocks.opened(client, server.url("a.tif"), tmp_path) as remote:
        np.testing.assert_array_equal(remote.read(0, 0, SIDE, SIDE), numbers)


def test_only_blocks_that_are_wanted_are_read(
    client: Client, server: Server, tmp_path: Path, numbers: NDArray[np.uint16]
) -> None:
    write(server.folder / "a.tif", numbers)
    wanted = np.zeros((2, 2), dtype=bool)
    wanted[1, 0] = True
    with blocks.opened(client, server.url("a.tif"), tmp_path) as remote:
        before = client.traffic.bytes
        part = remote.read(2 * BLOCK, 2 * BLOCK, 2 * BLOCK, 2 * BLOCK, wanted)
        read = client.traffic.bytes - before
        expected = numbers[2 * BLOCK : 4 * BLOCK, 2 * BLOCK : 4 * BLOCK].copy()
        expected[:BLOCK] = 0
        expected[:, BLOCK:] = 0
        np.testing.assert_array_equal(part, expected)
        assert 0 < read < 1.1 * 2 * BLOCK * BLOCK
        requests = client.traffic.requests
        remote.read(2 * BLOCK, 2 * BLOCK, 2 * BLOCK, 2 * BLOCK, wanted)
        assert not remote.read(0, BLOCK, BLOCK, BLOCK).any()
        assert client.traffic.requests == requests, "neither what is there nor what is empty is asked for"


@pytest.mark.parametrize("compress", ["none", "lzw", "zstd", "packbits", "deflate"])
def test_blocks_that_are_fetched_later_are_not_taken_for_what_lay_there_before(
    client: Client, server: Server, tmp_path: Path, compress: str
) -> None:
    numbers = np.random.default_rng(3).integers(1, 60_000, (SIDE, SIDE)).astype(np.uint16)
    write(server.folder / "a.tif", numbers, compress=compress, predictor=1)
    with blocks.opened(client, server.url("a.tif"), tmp_path) as remote:
        for row, column in itertools.product(range(0, SIDE, BLOCK), range(0, SIDE, BLOCK)):
            expected = numbers[row : row + BLOCK, column : column + BLOCK]
            np.testing.assert_array_equal(remote.read(row, column, *expected.shape), expected)


@pytest.mark.parametrize("nodata", [255, None])
def test_blocks_without_values_are_nodata(client: Client, server: Server, tmp_path: Path, nodata: int | None) -> None:
    numbers = np.full((SIDE, SIDE), 7, np.uint8)
    numbers[:BLOCK, BLOCK:] = nodata or 0
    write(server.folder / "a.tif", numbers, nodata=nodata)
    wanted = np.ones((5, 5), dtype=bool)
    wanted[0, 4] = False
    with blocks.opened(client, server.url("a.tif"), tmp_path) as remote:
        np.testing.assert_array_equal(remote.read(0, 0, SIDE, SIDE), numbers)
        numbers[:BLOCK, 4 * BLOCK :] = 0
        np.testing.assert_array_equal(remote.read(0, 0, SIDE, SIDE, wanted), numbers)


DEFLATED: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("uint16", {"predictor": 1}),
    "differences": ("int16", {}),
    "big-endian": ("uint16", {"endianness": "big"}),
    "real": ("float32", {"predictor": 3}),
    "strips": ("uint8", {"tiled": False, "blockxsize": SIDE, "blockysize": 7}),
    "twelve bits": ("uint16", {"nbits": 12, "predictor": 1}),
}


@pytest.mark.parametrize("layout", DEFLATED)
def test_a_wrong_byte_in_deflated_blocks_is_told_or_changes_nothing(
    client: Client, server: Server, tmp_path: Path, layout: str
) -> None:
    dtype, options = DEFLATED[layout]
    rng = np.random.default_rng(2)
    numbers = (np.add.outer(np.arange(SIDE), np.arange(SIDE)) % 3000 + rng.integers(0, 50, (SIDE, SIDE))).astype(dtype)
    write(tmp_path / "a.tif", numbers, **options)
    data = (tmp_path / "a.tif").read_bytes()
    with rasterio.open(tmp_path / "a.tif") as file:
        places = [
            (int(file.get_tag_item(f"BLOCK_OFFSET_0_{row}", "TIFF", bidx=1)),
             int(file.get_tag_item(f"BLOCK_SIZE_0_{row}", "TIFF", bidx=1)), row * file.block_shapes[0][0])
            for row in range(-(-SIDE // file.block_shapes[0][0]))
        ]  # fmt: skip
    told = 0
    for number in range(20):
        offset, size, row = places[int(rng.integers(len(places)))]
        damaged = bytearray(data)
        damaged[offset + int(rng.integers(size))] ^= int(rng.integers(1, 256))
        (server.folder / f"{number}.tif").write_bytes(damaged)
        with blocks.opened(client, server.url(f"{number}.tif"), tmp_path) as remote:
            for _ in range(2):
                try:
                    part = remote.read(row, 0, 7, BLOCK)
                except FetchError as fault:
                    assert "cannot be decoded" in str(fault) or "are not those that were written" in str(fault)
                    told += 1
                else:  # the last byte before the checksum may hold nothing of the numbers
                    np.testing.assert_array_equal(part, numbers[row : row + 7, :BLOCK])
    assert told >= 36


def test_blocks_and_files_that_are_too_large_are_one_line(
    client: Client, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: NDArray[np.uint16]
) -> None:
    write(server.folder / "a.tif", np.ones_like(numbers))  # blocks of 32 kB, packed to far less
    monkeypatch.setattr(blocks, "LARGEST", 30_000)
    with pytest.raises(FetchError, match="has blocks that are too large"), \
            blocks.opened(client, server.url("a.tif"), tmp_path):  # fmt: skip
        pass
    monkeypatch.setattr(blocks, "LARGEST_FILE", 1000)
    with pytest.raises(FetchError, match="larger than any raster"), \
            blocks.opened(client, server.url("a.tif", "grown"), tmp_path):  # fmt: skip
        pass


def test_headers_are_kept_up_to_a_limit(
    client: Client, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: NDArray[np.uint16]
) -> None:
    monkeypatch.setattr(blocks, "MOST_KEPT", 2 * (blocks.HEADER + 1000))
    for name in "abc":
        write(server.folder / f"{name}.tif", numbers)
    asked = []
    for name in "abcca":
        before = client.traffic.requests
        with blocks.opened(client, server.url(f"{name}.tif"), tmp_path):
            asked.append(client.traffic.requests - before)
    assert asked == [1, 1, 1, 0, 1]


def test_closing_a_file_that_is_read_ends_the_reading(
    client: Client, server: Server, tmp_path: Path, numbers: NDArray[np.uint16]
) -> None:
    write(server.folder / "a.tif", numbers)
    told: list[str] = []

    def read(remote: blocks.Remote) -> None:
        try:
            while True:
                remote.read(0, 0, SIDE, SIDE)
        except FetchError as fault:
            told.append(str(fault))

    for _ in range(10):
        with blocks.opened(client, server.url("a.tif"), tmp_path) as remote:
            remote.read(0, 0, SIDE, SIDE)
            thread = threading.Thread(target=read, args=[remote])
            thread.start()
            time.sleep(0.02)
        thread.join()
    assert len(told) == 10
    assert all("was given up" in text for text in told)


def test_a_header_is_asked_for_once(
    client: Client, server: Server, tmp_path: Path, numbers: NDArray[np.uint16]
) -> None:
    write(server.folder / "a.tif", numbers)
    for _ in range(3):
        with blocks.opened(client, server.url("a.tif"), tmp_path):
            pass
    assert client.traffic.requests == 1


FAULTS = (
    "trunc", "stall", "stallclose", "trickle", "flip", "zeros", "closed", "503", "changed", "grown", "shifted",
    "packedpart", "norange", "html",
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_line_and_never_nodata(
    client: Client, server: Server, tmp_path: Path, numbers: NDArray[np.uint16], fault: str
) -> None:
    write(server.folder / "a.tif", numbers)
    assert (server.folder / "a.tif").stat().st_size > 4 * LATE
    with pytest.raises(FetchError) as told, blocks.opened(client, server.url("a.tif", fault), tmp_path) as remote:
        remote.read(0, 0, SIDE, SIDE)
    assert str(told.value).startswith(f"{server.address}/{fault}/a.tif: ")


def test_what_is_not_there_is_told_apart(client: Client, server: Server, tmp_path: Path) -> None:
    with pytest.raises(AbsentError), blocks.opened(client, server.url("a.tif"), tmp_path):
        pass


@pytest.mark.parametrize("length", [0, 3, 8, 100, 400, 1500])
def test_files_that_end_too_early_are_one_line(
    client: Client, server: Server, tmp_path: Path, numbers: NDArray[np.uint16], length: int
) -> None:
    write(tmp_path / "a.tif", numbers)
    (server.folder / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:length])
    with pytest.raises(FetchError), blocks.opened(client, server.url("a.tif"), tmp_path) as remote:
        remote.read(0, 0, SIDE, SIDE)


def test_damaged_headers_are_one_line_or_change_nothing(
    client: Client, server: Server, tmp_path: Path, numbers: NDArray[np.uint16]
) -> None:
    write(tmp_path / "a.tif", numbers)
    data = (tmp_path / "a.tif").read_bytes()
    rng = np.random.default_rng(1)
    ends: set[bool | str] = set()
    for number in range(40):
        damaged = bytearray(data)
        damaged[int(rng.integers(0, 700))] ^= int(rng.integers(1, 256))
        (server.folder / f"{number}.tif").write_bytes(damaged)
        try:
            with blocks.opened(client, server.url(f"{number}.tif"), tmp_path) as remote:
                ends.add(np.array_equal(remote.read(0, 0, SIDE, SIDE), numbers))
        except FetchError as fault:
            assert "\n" not in str(fault)
            ends.add("told")
    assert {"told", True} <= ends
