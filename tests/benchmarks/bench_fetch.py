"""How lean fetching of seasonal medians is: against the same from local files, vsicurl, and odc-stac where it is there.

Run: python tests/benchmarks/bench_fetch.py. Eight dates of a tile, three bands and their classification, are
served on loopback with 20 ms latency, and 100 chips of 448 pixels lie on it. Prints for each way: requests a chip,
bytes read per byte needed, and processor time and speed relative to local files.
"""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing
import os
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoembed.archives import composites, pieces
from geoembed.archives.client import Client
from geoembed.archives.pieces import Piece
from geoembed.archives.scenes import Asset, Scene
from geoembed.ground import crs
from geoembed.ground.lattice import GeoBox
from geoembed.imagery.catalogues import Stac

LATENCY, CONNECTIONS = 0.02, 8
SIDE, BLOCK, DATES = 6144, 1024, 8
CHIP, CHIPS = 448, 10
"""Pixels along a chip, and chips along the area."""

CRS, CORNER = "EPSG:32633", (499_980.0, 4_600_020.0)
FIRST = (354, 178)
"""Row and column of the first cell of the grid that lies in the tile."""

BANDS = ("red", "green", "blue")
SETTINGS = Stac(seasons=("jja",))
VSICURL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "VSI_CACHE": "NO", "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES", "GDAL_INGESTED_BYTES_AT_OPEN": "16384", "GDAL_CACHEMAX": 512,
}  # fmt: skip


@dataclass
class Cost:
    """What a way of making all composites takes."""

    requests: int
    bytes: int
    processor: float
    seconds: float
    memory: int


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Any]]:
    """Serve files with latency from a process of its own; yields the address, and counts of requests and bytes."""
    counts, port = multiprocessing.Array("q", 2), multiprocessing.Value("i", 0)

    def serve() -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                time.sleep(LATENCY)
                path = folder / self.path.lstrip("/")
                if not path.is_file():
                    self.send_response(404)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                size = path.stat().st_size
                part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                first, last = (int(part[1]), min(int(part[2]), size - 1)) if part else (0, size - 1)
                self.send_response(206 if part else 200)
                self.send_header("Content-Length", str(last - first + 1))
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("ETag", '"one"')
                if part:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
                self.end_headers()
                sent = 0
                if self.command == "GET":
                    with path.open("rb") as file:
                        sent = os.sendfile(self.connection.fileno(), file.fileno(), first, last - first + 1)
                        while sent < last - first + 1:
                            sent += os.sendfile(
                                self.connection.fileno(), file.fileno(), first + sent, last - first + 1 - sent
                            )
                with counts.get_lock():
                    counts[0] += 1
                    counts[1] += sent

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        port.value = server.server_address[1]
        server.serve_forever()

    process = multiprocessing.get_context("fork").Process(target=serve, daemon=True)
    process.start()
    try:
        while not port.value:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port.value}", counts
    finally:
        process.terminate()
        process.join()


def write(path: Path, numbers: NDArray[Any], pixel: float) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", height=numbers.shape[0], width=numbers.shape[1], count=1, dtype=numbers.dtype,
        crs=CRS, transform=Affine(pixel, 0, CORNER[0], 0, -pixel, CORNER[1]), nodata=0, tiled=True, blockxsize=BLOCK,
        blockysize=BLOCK, compress="deflate", predictor=2,
    ) as file:  # fmt: skip
        file.write(numbers, 1)


def catalogue(folder: Path, address: str) -> list[Scene]:
    """Write a tile of eight dates with texture and patches of cloud; a date's bands are one file by three names."""
    generator = np.random.default_rng(0)
    rough = generator.normal(size=(SIDE // 16, SIDE // 16)).cumsum(0).cumsum(1)
    ground: NDArray[np.float32] = np.kron(
        (1500 + 300 * rough / rough.std()).astype(np.float32), np.ones((16, 16), dtype=np.float32)
    )
    box: dict[str, Any] = {"crs": CRS, "transform": Affine(10, 0, CORNER[0], 0, -10, CORNER[1]), "height": SIDE,
                           "width": SIDE}  # fmt: skip
    found = []
    for number in range(DATES):
        noise = generator.normal(0, 40, ground.shape).astype(np.float32)
        write(folder / f"{number}-red.tif", np.clip(ground + noise, 1, 9999).astype(np.uint16), 10)
        for name in BANDS[1:]:
            os.link(folder / f"{number}-red.tif", folder / f"{number}-{name}.tif")
        patches = generator.choice([4, 5, 9], (SIDE // 256, SIDE // 256), p=[0.5, 0.3, 0.2]).astype(np.uint8)
        write(folder / f"{number}-scl.tif", np.kron(patches, np.ones((128, 128), dtype=np.uint8)), 20)
        time_ = datetime(2020, 6, 3, tzinfo=UTC) + timedelta(days=7 * number)
        bands = {name: Asset(f"{address}/{number}-{name}.tif", 1e-4, -0.1, **box) for name in BANDS}
        classes = Asset(f"{address}/{number}-scl.tif")
        found.append(Scene(f"S2A_{number}", "33TVM", time_, "sentinel-2a", None, 20.0, "05.00", "",
                           (14.0, 41.0, 16.0, 42.0), bands, classes))  # fmt: skip
    return found


def cells() -> NDArray[Any]:
    """Outlines of the chips in degrees."""
    rows, columns = (first + CHIP * np.arange(CHIPS) for first in FIRST)
    left, top = np.meshgrid(CORNER[0] + 10.0 * columns, CORNER[1] - 10.0 * rows)
    x = np.stack([left, left + 10 * CHIP, left + 10 * CHIP, left], axis=-1).reshape(-1, 4)
    y = np.stack([top, top, top - 10 * CHIP, top - 10 * CHIP], axis=-1).reshape(-1, 4)
    lon, lat = crs.transformer(CRS, crs.LONLAT).transform(x, y)
    return np.asarray(shapely.polygons(np.stack([lon, lat], axis=-1)))


def from_windows(base: str, windows: list[Window], folder: Path) -> None:
    """Make the composites of windows, each read from all files, and files of them: a plain loop, eight threads."""

    def read(name: str, window: Window) -> NDArray[Any]:
        with rasterio.Env(**VSICURL), rasterio.open(f"{base}/{name}") as file:
            return np.asarray(file.read(1, window=window))

    def masked(number: int, name: str, window: Window, cloudy: NDArray[np.bool_]) -> NDArray[np.uint16]:
        numbers = read(f"{number}-{name}.tif", window)
        numbers[cloudy | (numbers == 0)] = composites.INVALID
        return numbers

    whole = Affine(10, 0, CORNER[0], 0, -10, CORNER[1])
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for window in windows:
            row, column, height, width = window.row_off, window.col_off, window.height, window.width
            coarse = Window(column // 2, row // 2, -(-(column % 2 + width) // 2), -(-(row % 2 + height) // 2))
            classes = pool.map(lambda n, coarse=coarse: read(f"{n}-scl.tif", coarse), range(DATES))
            cloudy = [
                np.isin(scl, SETTINGS.mask).repeat(2, 0).repeat(2, 1)[row % 2 :, column % 2 :][:height, :width]
                for scl in classes
            ]
            bands = []
            for name in BANDS:
                stack = list(pool.map(masked, range(DATES), [name] * DATES, [window] * DATES, cloudy))
                bands.append(
                    np.concatenate(
                        [
                            composites.median(np.stack([part[top : top + 32] for part in stack]))
                            for top in range(0, height, 32)
                        ]
                    )
                )
            with rasterio.open(
                folder / f"{row}-{column}.tif", "w", driver="GTiff", count=3, height=height, width=width,
                dtype="uint16", nodata=0, crs=CRS, tiled=True, blockxsize=512, blockysize=512, compress="zstd",
                zstd_level=1, predictor=2, transform=whole @ Affine.translation(column, row),
            ) as file:  # fmt: skip
                file.write(np.stack(bands))


def of_pieces(planned: list[Piece]) -> list[Window]:
    """Return the windows of pieces, in strips of blocks."""
    return [
        Window(piece.column, piece.row + top, piece.box.width, min(BLOCK, piece.box.height - top))
        for piece in planned
        for top in range(0, piece.box.height, BLOCK)
    ]


def of_chips() -> list[Window]:
    """Return the windows of chips."""
    return [
        Window(FIRST[1] + CHIP * column, FIRST[0] + CHIP * row, CHIP, CHIP)
        for row in range(CHIPS)
        for column in range(CHIPS)
    ]


def odc(scenes: list[Scene]) -> None:
    """Load the same with odc-stac, in chunks of 1,024 pixels, and take the median of what is clear."""
    pystac, odc_stac = importlib.import_module("pystac"), importlib.import_module("odc.stac")

    items = []
    for scene in scenes:
        item = pystac.Item(scene.id, shapely.geometry.mapping(shapely.box(*scene.bounds)), list(scene.bounds),
                           scene.time, {"proj:epsg": 32633})  # fmt: skip
        for name, asset in [*scene.bands.items(), ("scl", scene.classification)]:
            assert asset is not None
            pixel = 20 if name == "scl" else 10
            extra = {"proj:shape": [SIDE * 10 // pixel] * 2,
                     "proj:transform": [pixel, 0, CORNER[0], 0, -pixel, CORNER[1]]}  # fmt: skip
            item.add_asset(name, pystac.Asset(asset.href, media_type=pystac.MediaType.COG, extra_fields=extra))
        items.append(item)
    left, top = CORNER[0] + 10 * FIRST[1], CORNER[1] - 10 * FIRST[0]
    side = 10 * CHIP * CHIPS
    data = odc_stac.load(items, bands=[*BANDS, "scl"], crs=CRS, resolution=10, x=(left, left + side),
                         y=(top - side, top), chunks={"x": 1024, "y": 1024}, resampling="nearest")  # fmt: skip
    clear = ~data.scl.isin(SETTINGS.mask)
    with rasterio.Env(**VSICURL):
        data[list(BANDS)].where(clear).median("time").compute(scheduler="threads", num_workers=CONNECTIONS)


def measured(work: Callable[[], object], counts: Any) -> Cost:
    """Do some work in a process of its own, so that nothing is cached, and return what it took."""
    result = multiprocessing.get_context("fork").Array("d", 3)

    def inside() -> None:
        began = time.perf_counter()
        before = resource.getrusage(resource.RUSAGE_SELF)
        work()
        after = resource.getrusage(resource.RUSAGE_SELF)
        result[0] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        result[1], result[2] = time.perf_counter() - began, after.ru_maxrss / 1024

    before = counts[:]
    process = multiprocessing.get_context("fork").Process(target=inside)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("a way of reading failed")
    return Cost(counts[0] - before[0], counts[1] - before[1], result[0], result[1], int(result[2]))


def unsaid(scene: Scene) -> GeoBox:
    raise AssertionError(f"{scene.id} says where its pixels lie")


def main() -> None:
    """Print how each way does."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        remote = folder / "remote"
        remote.mkdir()
        made = folder / "made"
        made.mkdir()
        with served(remote) as (address, counts):
            with ProcessPoolExecutor(1) as process:  # whose memory is not counted below
                scenes = process.submit(catalogue, remote, address).result()
            planned, _ = pieces.plan({"jja": scenes}, cells(), SETTINGS, folder / "cache", unsaid)
            size = sum(path.stat().st_size for path in remote.iterdir())
            needed = size * (CHIP * CHIPS / SIDE) ** 2

            def ours() -> None:
                client = Client([address.partition("://")[2]], connections=CONNECTIONS)
                for piece in planned:
                    composites.make(piece, client, SETTINGS)
                client.close()

            ways: dict[str, Callable[[], object]] = {
                "local files, along blocks": lambda: from_windows(str(remote), of_pieces(planned), made),
                "geoembed": ours,
                "vsicurl, along blocks": lambda: from_windows(f"/vsicurl/{address}", of_pieces(planned), made),
                "vsicurl, chip by chip": lambda: from_windows(f"/vsicurl/{address}", of_chips(), made),
            }
            if importlib.util.find_spec("odc") and importlib.util.find_spec("odc.stac"):
                ways["odc-stac, chunks of 1024"] = lambda: odc(scenes)
            else:
                print("odc-stac is left out, as it is not installed: pip install odc-stac")
            local = None
            chips = CHIPS * CHIPS
            for name, work in ways.items():
                cost = measured(work, counts)
                local = local or cost
                print(
                    f"{name:26} {cost.requests / chips:6.2f} requests/chip, {cost.bytes / needed:5.2f} read/needed, "
                    f"{cost.processor / local.processor:5.2f} x the processor time and "
                    f"{local.seconds / cost.seconds:5.2f} x the speed of local files, "
                    f"{chips / cost.seconds:.1f} chips/s, {cost.memory:,} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
