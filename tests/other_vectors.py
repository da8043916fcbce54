"""Embeddings files, and tables and rasters of vectors as others publish them, small ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from affine import Affine

from geoembed.fits import embeddings
from geoembed.fits.embeddings import Chunk
from geoembed.ground import grid

LATTICE = grid.utm(32, south=False, size=8, resolution=10)
COLUMN, ROW = 6000, 62500
"""The first of the chips."""

Array = np.ndarray[Any, Any]


def write_embeddings(
    path: Path, n: int = 60, width: int = 6, *, dtype: str = "float32", lattices: tuple[grid.Grid, ...] = (LATTICE,)
) -> embeddings.Embeddings:
    """Write embeddings of n chips in rows of 10, on one grid or on several in turn, some without a modality."""
    rng = np.random.default_rng(3)
    ids = [lattices[i % len(lattices)].chip_id(COLUMN + i % 10, ROW + i // 10) for i in range(n)]
    present = rng.random((n, 2)) < 0.8
    present[0] = False
    vectors = {
        "s2": rng.normal(size=(n, width)),
        "s1": rng.normal(size=(n, width - 2)),
        "fused": rng.normal(size=(n, width)),
    }
    vectors = {name: values.astype(dtype).astype(np.float32) for name, values in vectors.items()}
    vectors["s2"][~present[:, 0]] = vectors["s1"][~present[:, 1]] = vectors["fused"][~present.any(1)] = np.nan
    embeddings.write(
        path,
        np.array(ids),
        np.array(["København", "west"])[np.arange(n) % 2],
        np.array(["train", "validation", "test"])[np.arange(n) % 3],
        grids=lattices,
        modalities=("s2", "s1"),
        blocks=[Chunk(present, vectors, np.array([[1, 0], [4, 1]]))],
        attributes={
            "space": "unit length",
            "model_sha256": "ab" * 32,
            "model_config": {"depth": 2, "rate": 0.1, "names": ["a", "b"]},
            "channels": {"s2": ["jja_red"], "s1": ["jja_vv"]},
            "made_from": {"step": "embed", "inputs": {"chips": "x"}, "options": {}, "stamps": {}},
        },
        dtype=dtype,
    )
    return embeddings.read(path)


def write_table(
    path: Path, shapes: Any, vectors: Any, *, crs: str | None = "EPSG:4326", name: str = "embedding"
) -> Path:
    """Write GeoParquet as geopandas does, with a column of lists."""
    columns = {name: [None if vector is None else np.asarray(vector) for vector in vectors]}
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs).to_parquet(path)
    return path


def write_raster(
    path: Path,
    values: Array,
    *,
    x: float,
    y: float,
    nodata: float | None = None,
    upward: bool = False,
    names: tuple[str, ...] = (),
    crs: str | None = "EPSG:32632",
    **profile: Any,
) -> Path:
    """Write a GeoTIFF (bands, rows, columns), pixels of 10 m from the upper left corner x, y; `upward`: south first."""
    count, height, width = values.shape
    transform = Affine(10, 0, x, 0, 10, y - 10 * height) if upward else Affine(10, 0, x, 0, -10, y)
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype, crs=crs,
        transform=transform, nodata=nodata, **profile,
    ) as file:  # fmt: skip
        file.write(values[:, ::-1] if upward else values)
        if names:
            file.descriptions = names
    return path
