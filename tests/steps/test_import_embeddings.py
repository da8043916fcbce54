"""Embeddings of others become an embeddings file that every other step reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from chip_folders import make_chips
from other_vectors import write_embeddings, write_raster, write_table

from geoembed.chips.folder import ChipSet
from geoembed.errors import ConfigError, EmbeddingsError, GeoembedError, ImageryError, StaleError
from geoembed.exchange import encodings, rasters, tables
from geoembed.fits import embeddings
from geoembed.steps.export import export
from geoembed.steps.import_embeddings import import_embeddings
from geoembed.steps.probe import probe

pytest.importorskip("pyarrow", reason="GeoParquet needs pyarrow")
import pyarrow
from pyarrow import parquet

SIDE = 8
"""Pixels of 10 m along a chip's side."""


@pytest.fixture(scope="module")
def chipset(tmp_path_factory: pytest.TempPathFactory) -> ChipSet:
    return make_chips(tmp_path_factory.mktemp("chips") / "chips", n=40, size=SIDE, channels={"s2": ("jja_red",)})


def corner(chipset: ChipSet, row: int) -> tuple[float, float]:
    """Upper left corner of a chip in UTM."""
    cells = chipset.cells
    return cells.grid.upper_left(int(cells.columns[row]), int(cells.rows[row]))


def vectors_of(chipset: ChipSet, width: int = 5) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(len(chipset.index), width)).astype(np.float32)


# --- geoembed's own


def test_an_export_is_restored_and_kept(tmp_path: Path) -> None:
    file = write_embeddings(tmp_path / "e.h5")
    export(file.path, output=tmp_path / "e.parquet")
    output = tmp_path / "again.h5"
    made = import_embeddings(tmp_path / "e.parquet", output=output)
    again = embeddings.read(output)
    assert (again.digest, again.digests, again.attributes) == (file.digest, file.digests, file.attributes)
    np.testing.assert_array_equal(made.made["s1"], file.vectors("s1"))
    before = output.read_bytes()
    import_embeddings(tmp_path / "e.parquet", output=output)
    assert output.read_bytes() == before
    import_embeddings(tmp_path / "e.parquet", output=file.path)  # the very file
    write_embeddings(tmp_path / "other.h5", width=7)
    export(tmp_path / "other.h5", output=tmp_path / "other.parquet")
    with pytest.raises(StaleError, match="holds other numbers of the same chips"):
        import_embeddings(tmp_path / "other.parquet", output=output)
    import_embeddings(tmp_path / "other.parquet", output=output, overwrite=True)
    assert embeddings.read(output).widths["fused"] == 7
    with pytest.raises(ConfigError, match="restored as it was; drop --name, or pool it over chips with --chips"):
        import_embeddings(tmp_path / "e.parquet", output=output, name="x")


def test_an_export_pools_over_other_chips_too(tmp_path: Path, chipset: ChipSet) -> None:
    write_table(tmp_path / "t.parquet", chipset.index.geometry, vectors_of(chipset))
    import_embeddings(tmp_path / "t.parquet", output=tmp_path / "t.h5")
    export(tmp_path / "t.h5", output=tmp_path / "e.parquet")
    made = import_embeddings(tmp_path / "e.parquet", output=tmp_path / "p.h5", chips=chipset.folder, column="t")
    np.testing.assert_array_equal(made.made["e"], vectors_of(chipset))


# --- tables


def test_footprints_become_chips_that_a_probe_maps(tmp_path: Path, chipset: ChipSet) -> None:
    vectors = vectors_of(chipset)
    kind = (chipset.index["aoi"].str[-1].astype(int) >= 2).astype(int).to_numpy()
    vectors[:, 0] += 5 * kind
    path = write_table(tmp_path / "clay v1.parquet", chipset.index.geometry, vectors, name="embeddings")
    made = import_embeddings(path, output=tmp_path / "c.h5")
    file = embeddings.read(tmp_path / "c.h5")
    assert made.counts["chips"] == 40 and file.names == ("clay_v1", "fused")
    np.testing.assert_allclose(file.bounds, chipset.cells.bounds(), atol=1e-5)
    np.testing.assert_array_equal(file.vectors("clay_v1"), vectors)
    assert set(file.split) == {"train", "validation", "test"} and set(file.aoi) == {"clay v1"}
    assert file.attributes["channels"] == {"clay_v1": ["0", "1", "2", "3", "4"]}
    points = chipset.index.geometry.representative_point()
    pd.DataFrame({"lon": points.x, "lat": points.y, "label": kind}).to_csv(tmp_path / "labels.csv", index=False)
    mapped = probe(tmp_path / "c.h5", labels=tmp_path / "labels.csv", output=tmp_path / "probe", hold_out=True)
    assert (mapped.made["prediction"].to_numpy() == kind).mean() > 0.9


def test_points_are_averaged_over_chips_and_misses_counted(
    tmp_path: Path, chipset: ChipSet, caplog: pytest.LogCaptureFixture
) -> None:
    middles = shapely.centroid(chipset.index.geometry.to_numpy())
    shapes = [middles[3], middles[3], middles[5], middles[6], shapely.Point(20, 20), None, middles[7]]
    vectors = [[1.0, 2.0], [3.0, 6.0], [5.0, 5.0], [np.nan, 1.0], [9.0, 9.0], [9.0, 9.0], None]
    path = write_table(tmp_path / "p.parquet", shapes, vectors)
    made = import_embeddings(path, output=tmp_path / "p.h5", chips=chipset.folder, pool="stats")
    assert (made.counts["vectors"], made.counts["vectors_outside"], made.counts["vectors_lacking"]) == (7, 2, 2)
    assert (made.counts["without"], made.counts["p"], made.counts["chips"]) == (38, 2, 40)
    assert made.made["p"][3].tolist() == [2.0, 4.0, 1.0, 2.0, 1.0, 2.0, 3.0, 6.0]
    file = embeddings.read(tmp_path / "p.h5")
    assert np.isnan(made.made["fused"][6]).all() and file.present[:, 0].nonzero()[0].tolist() == [3, 5]
    assert file.chip_id.tolist() == chipset.index["chip_id"].tolist() and file.grids == chipset.grids
    assert file.attributes["channels"]["p"][:3] == ["0_mean", "1_mean", "0_deviation"]
    for words in (
        "2 of 7 vectors are NULL or have NaN",
        "2 of 7 vectors lie on no chip",
        "38 of 40 chips have no vector",
    ):
        assert words in caplog.text


def test_columns_of_dimensions_as_of_alphaearth(tmp_path: Path, chipset: ChipSet) -> None:
    stored = np.random.default_rng(1).integers(-127, 128, (40, 64)).astype(np.int8)
    stored[4] = -128
    middles = chipset.index.geometry.representative_point()
    columns = {name: stored[:, k] for k, name in reversed(list(enumerate(encodings.AXES)))}
    geopandas.GeoDataFrame({"year": 2024, **columns}, geometry=middles).to_parquet(tmp_path / "a.parquet")
    made = import_embeddings(tmp_path / "a.parquet", output=tmp_path / "a.h5", chips=chipset.folder)
    wanted = (stored / 127.5) ** 2 * np.sign(stored)
    wanted[4] = np.nan
    np.testing.assert_allclose(made.made["alphaearth"], wanted, rtol=1e-5, atol=1e-7)
    floats = {name: wanted[:, k] for k, name in enumerate(encodings.AXES)} | {"lon": middles.x, "lat": middles.y}
    pd.DataFrame(floats).to_parquet(tmp_path / "f.parquet")
    other = import_embeddings(tmp_path / "f.parquet", output=tmp_path / "f.h5", chips=chipset.folder)
    np.testing.assert_allclose(other.made["alphaearth"], wanted, rtol=1e-5, atol=1e-7)


def test_large_footprints_and_several_files(tmp_path: Path, chipset: ChipSet) -> None:
    left, top = corner(chipset, 20)  # of the second row, from the south
    halves = [
        shapely.box(left, top - 200, left + 4, top + 200),
        shapely.box(left + 4, top - 200, left + 4000, top + 200),
    ]
    for number, (shape, vector) in enumerate(zip(halves, ([1.0, 0.0], [0.0, 1.0]), strict=True)):
        write_table(tmp_path / f"{number}.parquet", [shape], [vector], crs="EPSG:32632")
    paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    made = import_embeddings(paths, output=tmp_path / "m.h5", chips=chipset.folder, name="two", match="overlap")
    np.testing.assert_allclose(made.made["two"][20], [4 / 80, 76 / 80], atol=1e-3)
    np.testing.assert_allclose(made.made["two"][21], [0, 1], atol=1e-6)


def list_of(vectors: list[Any]) -> Any:
    return pyarrow.array(vectors, pyarrow.list_(pyarrow.float32()))


def plain(path: Path, columns: dict[str, Any], geo: Any = None) -> None:
    metadata = None if geo is None else {"geo": json.dumps(geo)}
    table = pyarrow.table(columns)
    parquet.write_table(table.replace_schema_metadata(metadata), path)


WKB = [shapely.to_wkb(shapely.Point(9, 45))] * 2
VECTORS = [[1.0, 2.0], [3.0, 4.0]]


def geo(**column: Any) -> dict[str, Any]:
    about = {"encoding": "WKB", "geometry_types": [], **column}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": about}}


BAD: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "no vectors": (
        lambda path: plain(path, {"v": ["a", "b"], "geometry": WKB}, geo()), {},
        r"t\.parquet: has no column of vectors \(lists of numbers; numbered columns: none\); give another",
    ),
    "two columns": (
        lambda path: plain(path, {"a": list_of(VECTORS), "b": list_of(VECTORS), "geometry": WKB}, geo()), {},
        "has vectors in a, b; choose one, as in --column a",
    ),
    "another column": (
        lambda path: plain(path, {"vector": list_of(VECTORS), "geometry": WKB}, geo()), {"column": "vectr"},
        "has no column vectr; did you mean vector?",
    ),
    "a column of texts": (
        lambda path: plain(path, {"a": ["x", "y"], "geometry": WKB}, geo()), {"column": "a"},
        "column a is string, no lists of numbers",
    ),
    "mixed dimensions": (
        lambda path: plain(path, {"v": list_of([[1.0, 2.0], [3.0]]), "geometry": WKB}, geo()), {},
        "vectors have 1 to 2 dimensions, which differ",
    ),
    "no CRS": (
        lambda path: plain(path, {"v": list_of(VECTORS), "geometry": WKB}, geo(crs=None)), {},
        "its geometry has no CRS; pass --crs, as in --crs EPSG:4326",
    ),
    "plain Parquet": (
        lambda path: plain(path, {"v": list_of(VECTORS), "geometry": WKB}), {},
        "its geometry has no CRS; pass --crs, as in --crs EPSG:4326",
    ),
    "no places": (
        lambda path: plain(path, {"v": list_of(VECTORS)}), {}, "has no geometry, nor columns lon and lat",
    ),
    "another encoding": (
        lambda path: plain(path, {"v": list_of(VECTORS), "geometry": WKB}, geo(encoding="point")), {},
        "its geometry is encoded as point; write it as WKB",
    ),
    "metres that say degrees": (
        lambda path: write_table(path, [shapely.Point(5e5, 5e6)] * 2, VECTORS), {}, "which cannot be degrees",
    ),
    "only NaN": (
        lambda path: write_table(path, [shapely.Point(9, 45)] * 2, [[np.nan, 1.0]] * 2), {},
        "has no usable vector on a chip",
    ),
    "no rows": (lambda path: write_table(path, [], np.empty((0, 3), np.float32)), {}, "has no"),
    "broken WKB": (
        lambda path: plain(path, {"v": list_of(VECTORS), "geometry": [b"\x01\x02", b"x"]}, geo()), {},
        "cannot be read as GeoParquet",
    ),
    "broken metadata": (
        lambda path: plain(path, {"v": list_of(VECTORS), "geometry": WKB}, {"columns": 3}), {},
        "cannot be read as GeoParquet",
    ),
    "no Parquet": (lambda path: path.write_bytes(b"PAR1 cut"), {}, "cannot be read as GeoParquet"),
    "missing": (lambda path: None, {}, r"t\.parquet: no such file; mend its path"),
    "scales": (
        lambda path: write_table(path, [shapely.Point(9, 45)] * 2, VECTORS), {"scales": "s.tif"},
        "is for rasters, and .* is a table; drop it",
    ),
    "match without chips": (
        lambda path: write_table(path, [shapely.Point(9, 45)] * 2, VECTORS), {"match": "centre"}, "is about chips",
    ),
    "name": (
        lambda path: write_table(path, [shapely.Point(9, 45)] * 2, VECTORS), {"name": "fused"},
        "--name: 'fused' cannot be a modality's name",
    ),
    "pool": (lambda path: None, {"pool": "max"}, "--pool max: unknown; there are mean and stats"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "options", "fault"), BAD.values(), ids=BAD)
def test_a_bad_table_is_one_line(
    tmp_path: Path, make: Callable[[Path], object], options: dict[str, Any], fault: str
) -> None:
    make(tmp_path / "t.parquet")
    with pytest.raises(GeoembedError, match=fault.replace("?", r"\?")) as caught:
        import_embeddings(tmp_path / "t.parquet", output=tmp_path / "t.h5", **options)
    assert "\n" not in str(caught.value) and not (tmp_path / "t.h5").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_table_elsewhere_says_where(tmp_path: Path, chipset: ChipSet) -> None:
    path = write_table(tmp_path / "t.parquet", [shapely.Point(20, 20)] * 2, VECTORS)
    with pytest.raises(
        EmbeddingsError, match=r"t\.parquet: no vector lies on a chip: they lie at 20 to 20 degrees east"
    ):
        import_embeddings(path, output=tmp_path / "t.h5", chips=chipset.folder)


def test_crs_of_geometry_that_names_none_and_batches(
    tmp_path: Path, chipset: ChipSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BATCH", 4 * 5 * 7)  # seven rows
    wkb = shapely.to_wkb(chipset.index.to_crs("EPSG:32632").geometry.to_numpy()).tolist()
    plain(tmp_path / "t.parquet", {"v": list_of(vectors_of(chipset).tolist()), "geometry": wkb})
    made = import_embeddings(tmp_path / "t.parquet", output=tmp_path / "t.h5", chips=chipset.folder, crs="EPSG:32632")
    np.testing.assert_array_equal(made.made["t"], vectors_of(chipset))


def test_kept_updated_and_refused(tmp_path: Path, chipset: ChipSet) -> None:
    path, output = tmp_path / "t.parquet", tmp_path / "t.h5"
    write_table(path, chipset.index.geometry, vectors_of(chipset))
    assert import_embeddings(path, output=output, chips=chipset.folder).counts["kept"] == 0
    assert import_embeddings(path, output=output, chips=chipset.folder).counts["kept"] == 1
    with pytest.raises(StaleError, match='pool was "mean", now "stats"'):
        import_embeddings(path, output=output, chips=chipset.folder, pool="stats")
    write_table(path, chipset.index.geometry, vectors_of(chipset) + 1)
    with pytest.raises(StaleError, match=r"made from other inputs .*--update"):
        import_embeddings(path, output=output, chips=chipset.folder)
    assert import_embeddings(path, output=output, chips=chipset.folder, update=True).counts["kept"] == 0
    np.testing.assert_array_equal(embeddings.read(output).vectors("t"), vectors_of(chipset) + 1)
    write_embeddings(tmp_path / "own.h5")
    with pytest.raises(StaleError, match="was made by geoembed embed"):
        import_embeddings(path, output=tmp_path / "own.h5", chips=chipset.folder, overwrite=True)


# --- rasters


def pixels(values: np.ndarray[Any, Any], chipset: ChipSet, row: int, x: float, y: float) -> np.ndarray[Any, Any]:
    """The pixels (bands, n) of a chip in a raster whose upper left corner is x, y."""
    left, top = corner(chipset, row)
    i, j = round((y - top) / 10), round((left - x) / 10)
    return values[:, i : i + SIDE, j : j + SIDE].reshape(len(values), -1)


@pytest.fixture
def ground(chipset: ChipSet) -> tuple[float, float, int, int]:
    """Upper left corner, and rows and columns of pixels, of a raster under all chips but the lowest left."""
    left, bottom, right, top = chipset.index.to_crs("EPSG:32632").total_bounds.round()
    return left + 10 * SIDE, top + 30, round((top - bottom) / 10) + 5, round((right - left) / 10) - SIDE + 2


@pytest.mark.parametrize("upward", [False, True])
def test_alphaearth_stored_either_way_up(
    tmp_path: Path, chipset: ChipSet, ground: Any, upward: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasters, "BLOCK", 64 * 20 * 20)  # several windows
    x, y, height, width = ground
    stored = np.random.default_rng(2).integers(-127, 128, (64, height, width)).astype(np.int8)
    stored[:, 12:14, 3:30] = -128
    path = write_raster(
        tmp_path / "x.tif", stored, x=x, y=y, nodata=-128, upward=upward, tiled=True, blockxsize=16, blockysize=16
    )
    made = import_embeddings(path, output=tmp_path / "x.h5", chips=chipset.folder, pool="stats")
    assert set(made.made) == {"alphaearth", "fused"} and made.counts["without"] == 2
    values = np.where(stored == -128, np.nan, (stored / 127.5) ** 2 * np.sign(stored))
    for row in (1, 7, 25, 39):
        own = pixels(values, chipset, row, x, y)
        own = own[:, ~np.isnan(own).any(axis=0)]
        wanted = np.concatenate([own.mean(1), own.std(1), own.min(1), own.max(1)])
        np.testing.assert_allclose(made.made["alphaearth"][row], wanted, rtol=1e-5, atol=1e-6)
    assert np.isnan(made.made["alphaearth"][[0, 20]]).all()


@pytest.mark.parametrize("form", ["raster", "array", "both arrays", "a scale per dimension", "named"])
def test_tessera_with_scales(tmp_path: Path, chipset: ChipSet, ground: Any, form: str) -> None:
    x, y, height, width = ground
    rng = np.random.default_rng(3)
    stored = rng.integers(-127, 128, (128, height, width)).astype(np.int8)
    scales = rng.random((128 if form == "a scale per dimension" else 1, height, width)).astype(np.float32) + 0.01
    scales[:, 5:7] = np.inf
    path, named = tmp_path / "grid_1_2.tif", None
    if form == "both arrays":
        np.save(path.with_suffix(".npy"), np.moveaxis(stored, 0, 2))
        write_raster(path.with_suffix(".tiff"), np.ones((1, height, width), np.uint8), x=x, y=y)
        path = path.with_suffix(".npy")
    else:
        write_raster(path, stored, x=x, y=y)
    if form in ("array", "both arrays"):
        np.save(tmp_path / "grid_1_2_scales.npy", scales[0])
    elif form == "named":
        named = write_raster(tmp_path / "other.tif", scales, x=x, y=y)
    else:
        write_raster(tmp_path / "grid_1_2_scales.tif", scales, x=x, y=y)
    source = tmp_path if form == "raster" else path
    made = import_embeddings(source, output=tmp_path / "t.h5", chips=chipset.folder, scales=named)
    values = np.where(np.isfinite(scales), stored * np.where(np.isfinite(scales), scales, 1), np.nan)
    for row in (1, 25, 39):
        wanted = np.nanmean(pixels(values, chipset, row, x, y), axis=1)
        np.testing.assert_allclose(made.made["tessera"][row], wanted, rtol=1e-4, atol=1e-4)


def test_tiles_of_floats_in_another_crs_lie_where_they_lie(tmp_path: Path, chipset: ChipSet) -> None:
    west, south, east, north = chipset.index.total_bounds
    middle, step = (west + east) / 2, 2e-5
    for number, (first, last) in enumerate(((west - 0.001, middle), (middle, east + 0.001))):
        width, height = round((last - first) / step), round((north - south + 0.002) / step)
        lon, lat = first + (np.arange(width) + 0.5) * step, north + 0.001 - (np.arange(height) + 0.5) * step
        values = np.stack(np.meshgrid(lon, lat)).astype(np.float32)
        write_raster_degrees(tmp_path / f"{number}.tif", values, first, north + 0.001, step)
    made = import_embeddings(
        [tmp_path / "0.tif", tmp_path / "1.tif"], output=tmp_path / "d.h5", chips=chipset.folder, name="d"
    )
    np.testing.assert_allclose(made.made["d"], chipset.cells.lonlat(), atol=3e-5)


def write_raster_degrees(path: Path, values: np.ndarray[Any, Any], west: float, north: float, step: float) -> None:
    import rasterio
    from affine import Affine

    profile = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2]}
    transform = Affine(step, 0, west, 0, -step, north)
    with rasterio.open(path, "w", dtype="float32", crs="EPSG:4326", transform=transform, **profile) as file:
        file.write(values)


BYTES = np.ones((3, 40, 200), np.int8)


def test_bad_rasters_are_one_line(tmp_path: Path, chipset: ChipSet) -> None:
    left, top = corner(chipset, 20)

    def fault(*sources: str, **options: Any) -> str:
        options = {"chips": chipset.folder, **options}
        with pytest.raises(GeoembedError) as caught:
            import_embeddings([tmp_path / name for name in sources], output=tmp_path / "r.h5", **options)
        assert "\n" not in str(caught.value) and not (tmp_path / "r.h5").exists()
        return str(caught.value)

    write_raster(tmp_path / "a.tif", BYTES, x=left, y=top)
    assert "is int8 without a scale, and no AlphaEarth" in fault("a.tif")
    assert "is a raster, which is pooled over chips; name them with --chips" in fault(
        "a.tif", chips=None, scales=tmp_path / "a.tif"
    )
    assert "--column v: is for tables" in fault("a.tif", column="v")
    write_raster(tmp_path / "far.tif", BYTES.astype(np.float32), x=left + 1e5, y=top)
    assert "has no valid pixel on a chip; these lie at" in fault("far.tif")
    write_raster(tmp_path / "two.tif", BYTES[:2].astype(np.float32), x=left, y=top)
    assert "has 2 dimensions, and" in fault("far.tif", "two.tif")
    write_raster(tmp_path / "nowhere.tif", BYTES.astype(np.float32), x=left, y=top, crs=None)
    assert "has no CRS; assign it: rio edit-info" in fault("nowhere.tif")
    np.save(tmp_path / "b_scales.npy", np.ones((3, 3), np.float32))
    write_raster(tmp_path / "b.tif", BYTES, x=left, y=top)
    assert "its scales have the shape (3, 3, 1), for 40 x 200 pixels of 3 dimensions" in fault("b.tif")
    np.save(tmp_path / "c.npy", BYTES)
    assert "tells no place; put c.tiff, which has its CRS and extent, beside it" in fault("c.npy")
    np.save(tmp_path / "a.npy", BYTES)
    assert "has the shape (3, 40, 200), and" in fault("a.npy")
    (tmp_path / "d.npy").write_bytes(b"\x93NUMPY broken")
    write_raster(tmp_path / "d.tif", BYTES, x=left, y=top)
    assert "cannot be read as a NumPy array" in fault("d.npy")
    np.save(tmp_path / "e.npy", np.array([[[{}]]], object), allow_pickle=True)
    write_raster(tmp_path / "e.tif", BYTES, x=left, y=top)
    assert "cannot be read as a NumPy array" in fault("e.npy")
    assert "are tables and rasters; import them apart" in fault("a.tif", "t.parquet")
    path = write_raster(
        tmp_path / "cut.tif", np.random.default_rng(0).random((3, 400, 200)).astype(np.float32), x=left, y=top
    )
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(ImageryError, match=r"cut\.tif: "):
        import_embeddings(path, output=tmp_path / "r.h5", chips=chipset.folder)
