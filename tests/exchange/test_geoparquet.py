"""GeoParquet: what the file holds by the specification, and what it gives again."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from other_vectors import COLUMN, LATTICE, write_embeddings

from geoembed.errors import EmbeddingsError
from geoembed.exchange import geoparquet
from geoembed.fits import embeddings
from geoembed.fits.embeddings import Embeddings
from geoembed.ground import crs, grid
from geoembed.outputs.records import Record

pytest.importorskip("pyarrow", reason="GeoParquet needs pyarrow")
from pyarrow import parquet

RECORD = Record("export", {}, {})


def export(file: Embeddings, path: Path, dtype: str = "float32") -> Path:
    for _ in geoparquet.write(path, file, dtype, RECORD):
        pass
    return path


def restored(path: Path, output: Path) -> Embeddings:
    for _ in geoparquet.restore(path, output):
        pass
    return embeddings.read(output)


def geo(path: Path) -> dict[str, Any]:
    metadata = parquet.read_schema(path).metadata
    found: dict[str, Any] = json.loads(metadata[b"geo"])
    return found


@pytest.fixture
def file(tmp_path: Path) -> Embeddings:
    return write_embeddings(tmp_path / "e.h5")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_back_again_to_the_bit(tmp_path: Path, dtype: str) -> None:
    file = write_embeddings(tmp_path / "e.h5", dtype=dtype)
    for stored in ("float32", dtype):
        again = restored(export(file, tmp_path / f"{stored}.parquet", stored), tmp_path / f"{stored}.h5")
        assert (again.digest, again.digests, again.attributes) == (file.digest, file.digests, file.attributes)
        assert (again.grids, again.modalities) == (file.grids, file.modalities)
        np.testing.assert_array_equal(again.present, file.present)
        np.testing.assert_array_equal(again.broken, file.broken)
        for name in file.names:
            assert again.vectors(name).tobytes() == file.vectors(name).tobytes()
        assert embeddings.number_type(again.path) == dtype


def test_what_is_odd_comes_back_too(tmp_path: Path) -> None:
    file = write_embeddings(tmp_path / "e.h5")
    arrays = file.arrays()
    arrays["s2"][2] = [np.nan, 1.0, -0.0, np.inf, -np.inf, 1e-42]  # a vector with NaN in it is none that is absent
    arrays["fused"].view(np.uint32)[3] = 0xFFC00001  # NaN with other bits
    embeddings.write(
        tmp_path / "odd.h5", file.chip_id, file.aoi, file.split, grids=file.grids, modalities=file.modalities,
        blocks=[embeddings.Chunk(file.present, arrays, file.broken)], attributes=file.attributes,
    )  # fmt: skip
    odd = embeddings.read(tmp_path / "odd.h5")
    again = restored(export(odd, tmp_path / "odd.parquet"), tmp_path / "again.h5")
    assert again.digests == odd.digests and again.digest != file.digest


def test_the_metadata_is_that_of_geoparquet_1_1(file: Embeddings, tmp_path: Path) -> None:
    path = export(file, tmp_path / "e.parquet")
    about = geo(path)
    assert (about["version"], about["primary_column"]) == ("1.1.0", "geometry")
    column = about["columns"]["geometry"]
    assert (column["encoding"], column["geometry_types"], column["edges"]) == ("WKB", ["Polygon"], "planar")
    assert column["orientation"] == "counterclockwise" and column["crs"]["id"] == {"authority": "OGC", "code": "CRS84"}
    assert column["covering"] == {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}}
    table = geopandas.read_parquet(path)
    assert table.crs.to_authority() == ("OGC", "CRS84")
    assert shapely.is_ccw(table.geometry.exterior).all()
    np.testing.assert_allclose(column["bbox"], table.total_bounds)
    bbox = parquet.read_table(path)["bbox"].to_pylist()
    boxes = np.array([[box[side] for side in ("xmin", "ymin", "xmax", "ymax")] for box in bbox])
    np.testing.assert_array_equal(boxes, shapely.bounds(table.geometry.to_numpy()))
    rows = table["row"].to_numpy()
    outlines = grid.cells(file.grids, file.chip_id).outlines[rows]
    assert shapely.equals(table.geometry.to_numpy(), outlines).all()
    for name in ("chip_id", "aoi", "split"):
        np.testing.assert_array_equal(table[name], getattr(file, name)[rows])
    np.testing.assert_array_equal(np.stack(table["present"]), file.present[rows])
    absent: Any = np.isnan(file.vectors("s2")).all(axis=1)
    np.testing.assert_array_equal(table["s2"].isna(), absent[rows])
    np.testing.assert_array_equal(np.stack(table["s2"][~absent[rows]]), file.vectors("s2")[rows[~absent[rows]]])
    chunk = parquet.read_metadata(path).row_group(0).column(0)
    assert chunk.compression == "ZSTD"


def test_metadata_of_the_embeddings_extension(file: Embeddings, tmp_path: Path) -> None:
    path = export(file, tmp_path / "e.parquet", "int8")
    collection = json.loads(parquet.read_schema(path).metadata[b"stac_collection"])
    assert collection["stac_extensions"] == ["https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"]
    assert (collection["emb:type"], collection["emb:dimensions"], collection["data_type"]) == ("chip", 6, "int8")
    assert collection["gsd"] == 10.0
    layout = {"layout_type": "regular_grid", "chip_size": [8, 8], "stride": [8, 8], "grid_id": LATTICE.name}
    assert collection["emb:chip_layout"] == layout
    links = [link["rel"] for link in collection["links"]]
    assert links == ["emb:model", "emb:source-data", "emb:source-data"]
    assert collection["links"][0]["href"] == f"urn:geoembed:model:{'ab' * 32}"


def test_rows_follow_a_hilbert_curve(tmp_path: Path) -> None:
    file = write_embeddings(tmp_path / "e.h5", n=256, width=3)
    rows = geopandas.read_parquet(export(file, tmp_path / "e.parquet"))["row"].to_numpy()
    assert sorted(rows) == list(range(256)) and not np.array_equal(rows, np.arange(256))

    def step(order: Any) -> float:
        return float(np.abs(np.diff(file.lonlat[order], axis=0)).sum(axis=1).mean())

    shuffled = np.random.default_rng(0).permutation(256)
    assert step(rows) < 0.3 * step(shuffled)
    # On a curve of Hilbert, each quarter of the square is left once: its quarters of rows lie together.
    lonlat = np.stack(np.meshgrid(np.arange(16.0), np.arange(16.0)), axis=-1).reshape(-1, 2)
    quarters = (lonlat[geoparquet.hilbert(lonlat)] // 8).reshape(4, 64, 2)
    assert all(len(np.unique(quarter, axis=0)) == 1 for quarter in quarters)
    assert np.abs(np.diff(lonlat[geoparquet.hilbert(lonlat)], axis=0)).sum(axis=1).max() == 1


def test_row_groups_are_bounded(file: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert geoparquet.rows_of_group(4 * 768 * 4, 10**6) * 4 * 768 * 4 == pytest.approx(2**27, rel=0.05)
    assert geoparquet.rows_of_group(2**30, 10) == 1 and geoparquet.rows_of_group(8, 10) == 10
    monkeypatch.setattr(geoparquet, "GROUP", 7000)  # 64 bytes of vectors and 300 of all else: 19 rows
    path = export(file, tmp_path / "e.parquet")
    groups = parquet.ParquetFile(path).metadata
    assert [groups.row_group(k).num_rows for k in range(groups.num_row_groups)] == [19, 19, 19, 3]
    assert restored(path, tmp_path / "again.h5").digest == file.digest
    assert [len(rows.rows) for rows in geoparquet.rows_in(path)] == [19, 19, 19, 3]


def test_int8_has_a_scale_per_dimension(file: Embeddings, tmp_path: Path) -> None:
    path = export(file, tmp_path / "e.parquet", "int8")
    about = geoparquet.about(path)
    assert about is not None and not about.lossless
    again = restored(path, tmp_path / "again.h5")
    assert again.attributes == file.attributes and list(again.chip_id) == list(file.chip_id)
    for name in file.names:
        values, scales = file.vectors(name), np.array(about.scales[name])
        np.testing.assert_allclose(scales, np.nanmax(np.abs(values), axis=0) / 127, rtol=1e-6)
        assert np.nanmax(np.abs(again.vectors(name) - values) / scales) <= 0.5 + 1e-4
        np.testing.assert_array_equal(np.isnan(again.vectors(name)), np.isnan(values))
    stored = np.stack(geopandas.read_parquet(path)["s2"].dropna())
    assert stored.min() >= -127 and 127 in np.abs(stored)


def test_int8_has_no_room_for_nan_inside_a_vector(tmp_path: Path) -> None:
    file = write_embeddings(tmp_path / "e.h5")
    arrays = file.arrays()
    arrays["s2"][2, 1] = np.nan
    embeddings.write(
        tmp_path / "odd.h5", file.chip_id, file.aoi, file.split, grids=file.grids, modalities=file.modalities,
        blocks=[embeddings.Chunk(file.present, arrays)], attributes={},
    )  # fmt: skip
    with pytest.raises(
        EmbeddingsError, match=r"odd\.h5: has numbers in s2 that int8 cannot hold; pass --dtype float32"
    ):
        export(embeddings.read(tmp_path / "odd.h5"), tmp_path / "e.parquet", "int8")
    assert not (tmp_path / "e.parquet").exists()


def test_chips_over_180_degrees_and_several_grids(tmp_path: Path) -> None:
    edge, _ = crs.transformer(crs.LONLAT, "EPSG:32601").transform(-180.0, 45.15)
    lattices = (grid.Grid("01N-80", "EPSG:32601", edge - 80 * (COLUMN + 6.5), 0.0, 10.0, 10.0, 8, True), LATTICE)
    file = write_embeddings(tmp_path / "e.h5", lattices=lattices)
    path = export(file, tmp_path / "e.parquet")
    column = geo(path)["columns"]["geometry"]
    assert (file.bounds[:, 0] > file.bounds[:, 2]).any(), "no chip crosses"
    assert column["geometry_types"] == ["Polygon", "MultiPolygon"] and column["bbox"][::2] == [-180.0, 180.0]
    table = geopandas.read_parquet(path)
    assert set(table.geom_type) == {"Polygon", "MultiPolygon"} and table.total_bounds[2] <= 180.0
    assert restored(path, tmp_path / "again.h5").digests == file.digests


def test_a_modality_called_as_a_column_keeps_its_vectors(tmp_path: Path) -> None:
    file = write_embeddings(tmp_path / "e.h5")
    vectors = {"bbox": file.vectors("s2"), "fused": file.vectors("fused")}
    embeddings.write(
        tmp_path / "b.h5", file.chip_id, file.aoi, file.split, grids=file.grids, modalities=("bbox",),
        blocks=[embeddings.Chunk(file.present[:, :1], vectors)], attributes={},
    )  # fmt: skip
    odd = embeddings.read(tmp_path / "b.h5")
    path = export(odd, tmp_path / "b.parquet")
    assert "embedding_bbox" in parquet.read_schema(path).names
    assert restored(path, tmp_path / "again.h5").digests == odd.digests


def test_damage_anywhere_is_one_line_or_changes_no_number(file: Embeddings, tmp_path: Path) -> None:
    path = export(file, tmp_path / "e.parquet")
    whole, told = path.read_bytes(), 0
    for where in np.linspace(8, len(whole) - 12, 60).astype(int).tolist():
        data = bytearray(whole)
        data[where : where + 4] = bytes(byte ^ 0x55 for byte in data[where : where + 4])
        path.write_bytes(data)
        (fault,) = geoparquet.faults(path) or [""]
        told += bool(fault)
        assert not fault or (fault.startswith(f"{path}: ") and "; " in fault and "\n" not in fault)
    assert told >= 45, "statistics and a copy of the schema at the end are all that may go unseen"
    path.write_bytes(whole[:300] + b"damaged" + whole[307:])
    with pytest.raises(EmbeddingsError):
        restored(path, tmp_path / "again.h5")
    assert not (tmp_path / "again.h5").exists() and not list(tmp_path.glob(".part-*"))


@pytest.mark.parametrize("size", [0, 3, 500, -9])
def test_a_cut_file_is_one_line(file: Embeddings, tmp_path: Path, size: int) -> None:
    path = export(file, tmp_path / "e.parquet")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(EmbeddingsError, match=r"e\.parquet: cannot be read as GeoParquet \(.*\); give another"):
        geoparquet.about(path)


def test_rows_that_another_program_changed_are_refused(file: Embeddings, tmp_path: Path) -> None:
    table = parquet.read_table(export(file, tmp_path / "e.parquet"))
    for changed in (table.slice(1), table.take([1, 0, *range(2, len(table))])):
        parquet.write_table(changed, tmp_path / "changed.parquet")
        with pytest.raises(EmbeddingsError, match="edited or damaged"):
            restored(tmp_path / "changed.parquet", tmp_path / "again.h5")
    metadata = {**table.schema.metadata, b"geoembed": table.schema.metadata[b"geoembed"].replace(b"unit", b"UNIT")}
    parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "changed.parquet")
    with pytest.raises(EmbeddingsError, match="edited or damaged"):
        restored(tmp_path / "changed.parquet", tmp_path / "again.h5")


def test_without_pyarrow_the_message_names_it(
    file: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(EmbeddingsError, match="pip install pyarrow"):
        export(file, tmp_path / "e.parquet")


def test_the_public_checker_agrees(file: Embeddings, tmp_path: Path) -> None:
    checker = shutil.which("gpio")
    if checker is None:
        pytest.skip("gpio (geoparquet-io) is not installed")
    path = export(file, tmp_path / "e.parquet")
    done = subprocess.run([checker, "check", "spec", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "0 failed" in done.stdout, done.stdout + done.stderr
