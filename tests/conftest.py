"""A small place on Earth, made on the fly: rasters, an area, and the folder of the real scenes where it is."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from places import make_place

# Tests run side by side: threads of PyTorch must not wait by spinning (read when torch is imported).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SCENES = Path(__file__).parents[2] / "shared" / "data"


LONGEST = (
    "test_scenes.py",
    "test_from_nothing.py",
    "test_injection.py",
    "test_machine.py",
    "test_evaluate.py",
    "test_fuzz.py",
    "test_docs.py",
)
"""Files of tests that take longest: they start first, so that no worker is left with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; workers get files whole (`--dist loadfile`) and set up once what a file shares."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture
def scenes() -> Path:
    """The folder of real scenes; skips where it is absent."""
    if not (SCENES / "five-scenes").is_dir():
        pytest.skip(f"the real scenes are not beside this checkout ({SCENES})")
    return SCENES


def drivers() -> set[str]:
    """What this rasterio's GDAL can read: its wheels have most, other builds may lack some."""
    with rasterio.Env() as env:
        return set(env.drivers())


def require(driver: str) -> None:
    """Skip a test where GDAL lacks a driver."""
    if driver not in drivers():
        pytest.skip(f"this GDAL has no driver {driver}")


WriteRaster = Callable[..., Path]


@pytest.fixture
def write_raster(tmp_path: Path) -> WriteRaster:
    """Write a GeoTIFF into the test's folder: name, numbers (C, H, W), upper left x and y, and more."""

    def write(
        name: str,
        numbers: np.ndarray[Any, Any],
        x: float = 500_000.0,
        y: float = 5_000_000.0,
        *,
        pixel: float = 10.0,
        crs: str | None = "EPSG:32632",
        names: tuple[str, ...] = (),
        scale: float = 1.0,
        offset: float = 0.0,
        nodata: float | None = None,
        **profile: Any,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        transform = Affine(pixel, 0.0, x, 0.0, -pixel, y)
        count, height, width = numbers.shape
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=height, width=width, dtype=numbers.dtype, crs=crs,
            transform=transform, nodata=nodata, **profile,
        ) as file:  # fmt: skip
            file.write(numbers)
            if names:
                file.descriptions = names
            file.scales, file.offsets = (scale,) * count, (offset,) * count
        return path

    return write


WriteArea = Callable[..., Path]


@pytest.fixture
def write_area(tmp_path: Path) -> WriteArea:
    """Write polygons as an area of interest: name of the file, polygons, CRS, and their names."""

    def write(name: str, *polygons: Any, crs: str = "EPSG:32632", names: tuple[str, ...] | None = None) -> Path:
        table = geopandas.GeoDataFrame({"name": names} if names else {}, geometry=list(polygons), crs=crs)
        path = tmp_path / name
        table.to_file(path)
        return path

    return write


def square(x: float, y: float, side: float) -> Any:
    """A square by its lower left corner."""
    return shapely.box(x, y, x + side, y + side)


def edit_raster(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the pixels (C, H, W) of a raster in place."""
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        file.write(np.asarray(change(pixels)).astype(pixels.dtype))


Run = Callable[..., Any]


@contextmanager
def log_as_before() -> Iterator[None]:
    """Undo what a command line changes in how the library logs, which later tests would inherit."""
    logger = logging.getLogger("geoembed")
    before = logger.level, logger.handlers, logger.propagate
    try:
        yield
    finally:
        logger.level, logger.handlers, logger.propagate = before
        logger.setLevel(logger.level)  # which forgets what loggers below remember of it


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    with log_as_before():
        yield


@pytest.fixture
def run() -> Run:
    """Run geoembed in this process, as on the command line."""
    from typer.testing import CliRunner

    from geoembed.cli import app

    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def work(folder: Path, *commands: str) -> None:
    """Run commands in a folder."""
    from typer.testing import CliRunner

    from geoembed.cli import app

    with contextlib.chdir(folder), log_as_before():
        for words in commands:
            result = CliRunner().invoke(app, words.split())
            assert result.exit_code == 0, result.stderr


@pytest.fixture(scope="session")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which chip, label, pretrain and embed have run."""
    folder = tmp_path_factory.mktemp("worked")
    make_place(folder)
    work(folder, "chip --aoi aoi.gpkg", "label landcover.tif --class water", "pretrain", "embed")
    return folder


@pytest.fixture(scope="session")
def finished(worked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every step has run, but for the report."""
    folder = tmp_path_factory.mktemp("finished") / "here"
    shutil.copytree(worked, folder)
    work(folder, "probe --labels labels/water.gpkg")
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished folder, as the working folder."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder
