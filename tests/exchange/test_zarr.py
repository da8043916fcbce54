"""Zarr: chips are pixels of arrays, which xarray opens; what is not ours is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from other_vectors import LATTICE, write_embeddings

from geoembed.chips.folder import SPLITS
from geoembed.errors import ConfigError, EmbeddingsError, StaleError
from geoembed.exchange import zarr as store
from geoembed.ground import grid
from geoembed.steps.export import export

xarray = pytest.importorskip("xarray", reason="opening Zarr needs xarray")
pytest.importorskip("zarr", minversion="3", reason="Zarr needs zarr 3")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_xarray_finds_each_chip_at_its_place(tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHUNK", 300)  # some chips a chunk
    southward = grid.aligned(grid.utm(33, south=True, size=8, resolution=10).lattice, 4)
    file = write_embeddings(tmp_path / "e.h5", lattices=(LATTICE, southward))
    export(file.path, output=tmp_path / "e.zarr", dtype=dtype)
    cells = grid.cells(file.grids, file.chip_id)
    for lattice, rows in cells.by_grid():
        opened = xarray.open_zarr(tmp_path / "e.zarr", group=lattice.name, consolidated=False)
        x, y = lattice.centres(cells.columns[rows], cells.rows[rows])
        assert (np.diff(opened["x"]) > 0).all() and (np.diff(opened["y"]) < 0).all()
        at = opened.sel(
            x=xarray.DataArray(x, dims="chip"), y=xarray.DataArray(y, dims="chip"), method="nearest", tolerance=1
        )
        np.testing.assert_array_equal(at["position"], rows)
        for name in file.names:
            np.testing.assert_array_equal(at[name], file.vectors(name)[rows].astype(dtype))
        ids = [
            lattice.chip_id(c, r) for c, r in zip(at["column"].values.tolist(), at["row"].values.tolist(), strict=True)
        ]
        assert ids == file.chip_id[rows].tolist()
        assert [SPLITS[number - 1] for number in at["split"].values] == file.split[rows].tolist()
        assert [opened["aoi"].attrs["areas"][number] for number in at["aoi"].values] == file.aoi[rows].tolist()
        left, bottom, right, top = opened.attrs["spatial:bbox"]
        a, _, c, _, e, f = opened.attrs["spatial:transform"]
        assert (
            (c, f) == (left, top)
            and (right - left) / a == opened.sizes["x"]
            and (bottom - top) / e == opened.sizes["y"]
        )
        assert opened.attrs["proj:code"] == lattice.crs
        empty = opened["position"].values < 0
        assert empty.any() == (len(rows) < empty.size) and np.isnan(opened["fused"].values[empty]).all()


def test_attributes_of_the_convention(tmp_path: Path) -> None:
    file = write_embeddings(tmp_path / "e.h5")
    export(file.path, output=tmp_path / "e.zarr")
    root = json.loads((tmp_path / "e.zarr/zarr.json").read_text())
    assert (root["zarr_format"], root["node_type"]) == (3, "group")
    found = root["attributes"]
    assert [item["name"] for item in found["zarr_conventions"]] == ["geoemb:"]
    assert found["zarr_conventions"][0]["uuid"] == "61c12cc5-0e28-4056-999a-480cf3fb7e4c"
    assert (found["geoemb:type"], found["geoemb:dimensions"], found["geoemb:data_type"]) == ("chip", 6, "float32")
    assert found["geoemb:model"].startswith("urn:") and len(found["geoemb:source_data"]) == 2
    assert found["geoemb:chip_layout"]["layout_type"] == "regular_grid" and found["geoemb:gsd"] == 10.0
    group = json.loads((tmp_path / "e.zarr" / LATTICE.name / "zarr.json").read_text())["attributes"]
    assert [item["name"] for item in group["zarr_conventions"]] == ["proj:", "spatial"]


def test_kept_made_again_and_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, path = write_embeddings(tmp_path / "e.h5"), tmp_path / "e.zarr"
    assert export(file.path, output=path).counts["kept"] == 0
    assert export(file.path, output=path).counts["kept"] == 1
    chunk = next(found for found in path.rglob("c/0/0/0"))
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert export(file.path, output=path).counts["kept"] == 0
    assert "is missing or damaged; it is made again" in caplog.text
    with pytest.raises(StaleError, match="dtype was"):
        export(file.path, output=path, dtype="float16")
    (path / "notes.txt").write_text("mine")
    with pytest.raises(StaleError, match=r"notes\.txt: was not made by geoembed"):
        export(file.path, output=path, dtype="float16", overwrite=True)
    assert (path / "notes.txt").read_text() == "mine" and store.record_of(path) is not None
    (path / "notes.txt").unlink()
    assert export(file.path, output=path, dtype="float16", overwrite=True).counts["kept"] == 0
    (path / "zarr.json").write_text((path / "zarr.json").read_text().replace("float16", "float64"))
    assert not [found for found in tmp_path.iterdir() if found.name.startswith(".")]


def test_a_folder_of_others_stays(tmp_path: Path) -> None:
    file = write_embeddings(tmp_path / "e.h5")
    (tmp_path / "e.zarr").mkdir()
    (tmp_path / "e.zarr/zarr.json").write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(StaleError, match="was not made by geoembed"):
            export(file.path, output=tmp_path / "e.zarr", overwrite=overwrite)


def test_what_zarr_does_not_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_embeddings(tmp_path / "e.h5", lattices=(LATTICE, grid.utm(33, south=False, size=8, resolution=10)))
    with pytest.raises(ConfigError, match="--dtype int8: is for GeoParquet; for Zarr give float32 or float16"):
        export(file.path, output=tmp_path / "e.zarr", dtype="int8")
    monkeypatch.setattr(store, "MOST_GRIDS", 1)
    with pytest.raises(EmbeddingsError, match=r"lie on 2 grids, too many for Zarr; give -o x\.parquet"):
        export(file.path, output=tmp_path / "e.zarr")
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(EmbeddingsError, match="pip install 'zarr>=3'"):
        export(file.path, output=tmp_path / "e.zarr")
