"""Made-up chip folders, rasters and embeddings for the tests of the measuring half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from affine import Affine

from geoembed.chips import folder as folders
from geoembed.chips.folder import Contained, Description
from geoembed.fits import embeddings
from geoembed.fits.curves import Fit
from geoembed.ground import grid
from geoembed.outputs.records import Record
from geoembed.version import __version__

LATTICE = grid.utm(32, south=False, size=32, resolution=10.0)


def ids(lattice: grid.Grid, columns: int, rows: int, column: int = 1500, row: int = 16000) -> np.ndarray[Any, Any]:
    """Chip ids of a rectangle of cells, by rows from the south."""
    return np.array([lattice.chip_id(column + c, row + r) for r in range(rows) for c in range(columns)])


def chip_folder(
    folder: Path, chip_ids: np.ndarray[Any, Any], grids: tuple[grid.Grid, ...] = (LATTICE,), aoi: Any = "here"
) -> Path:
    """A chip folder without pixels: index and description, as `chips.read` reads them."""
    shapes = grid.cells(grids, chip_ids).outlines
    table = geopandas.GeoDataFrame(
        {"chip_id": chip_ids, "aoi": aoi, "split": "train", "s2": 1.0, "s2_digest": "1-0123456789abcdef"},
        geometry=shapes,
        crs="EPSG:4326",
    )
    folder.mkdir(parents=True, exist_ok=True)
    contained = {"s2": Contained(("jja_red",), "reflectance")}
    record = Record("chip", {}, {})
    folders.write_description(folder, Description(__version__, grids[0].size, grids, contained, record))
    folders.write_index(folder, table, record)
    return folder


def raster(path: Path, values: np.ndarray[Any, Any], left: float, top: float, pixel: float, **options: Any) -> Path:
    """A one-band GeoTIFF in the lattice's CRS, unless `crs` is given."""
    options = {"crs": LATTICE.crs, **options}
    colours = options.pop("colours", None)
    scale = options.pop("scale", None)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        transform=Affine(pixel, 0, left, 0, -pixel, top),
        **options,
    ) as file:
        file.write(values, 1)
        if colours:
            file.write_colormap(1, colours)
        if scale:
            file.scales, file.offsets = (scale[0],), (scale[1],)
    return path


def embeddings_file(
    path: Path, vectors: dict[str, np.ndarray[Any, Any]], *, columns: int, aois: int = 1, seed: int = 0
) -> embeddings.Embeddings:
    """An embeddings file of a rectangle of cells: AOIs side by side, splits dealt at random (60/20/20)."""
    n = len(next(iter(vectors.values())))
    chip_ids = ids(LATTICE, columns, n // columns)
    aoi = np.array([f"aoi{i * aois // columns}" for _ in range(n // columns) for i in range(columns)])
    split = np.random.default_rng(seed + 1000).choice(["train", "validation", "test"], n, p=[0.6, 0.2, 0.2])
    modalities = tuple(name for name in vectors if name != "fused")
    present = np.stack([~np.isnan(vectors[name][:, 0]) for name in modalities], axis=1)
    block = embeddings.Chunk(present, vectors)
    attributes = {"model_sha256": "ab" * 32, "space": "last layer", "model_config": {}, "channels": {}}
    embeddings.write(
        path, chip_ids, aoi, split, grids=(LATTICE,), modalities=modalities, blocks=[block], attributes=attributes
    )
    return embeddings.read(path)


def say(path: Path, **said: Any) -> None:
    """Write an embeddings file again that says something else of itself."""
    file = embeddings.read(path)
    kept = {name: value for name, value in file.attributes.items() if name not in ("geoembed_version", "created")}
    block = embeddings.Chunk(file.present, file.arrays())
    embeddings.write(
        path, file.chip_id, file.aoi, file.split, grids=file.grids, modalities=file.modalities, blocks=[block],
        attributes={**kept, **said},
    )  # fmt: skip


def blobs(n: int, classes: int, seed: int = 0, d: int = 24) -> tuple[Any, Any]:
    """Features (n, d) and classes that overlap a little; of two, the second has a fifth of the chips."""
    rng = np.random.default_rng(seed)
    share = np.array([0.8, 0.2]) if classes == 2 else np.full(classes, 1 / classes)
    y = rng.choice(classes, n, p=share)
    centres = np.random.default_rng(99).normal(size=(classes, d))
    return (centres[y] * 0.6 + rng.normal(size=(n, d))).astype(np.float32), y.astype(float)


def fit(n: int, seed: int, value: float, metric: str = "balanced_accuracy", **other: Any) -> Fit:
    """The score of one fit; all labels are 1,000."""
    key = {"question": "curve", "source": "embeddings", "aoi": "all", "tested": "all", "whole": n == 1000, **other}
    return Fit(
        task="water", features="s2", classifier="logistic", n=n, seed=seed, scores={metric: value}, seconds=0.1, **key
    )
