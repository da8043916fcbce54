"""Files and folders are made with the user's umask, whoever else writes the bytes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run


@pytest.fixture(params=[0o002, 0o027], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    try:
        yield request.param
    finally:
        os.umask(before)


def test_every_step_writes_with_the_users_umask(here: Path, run: Run, tmp_path: Path, umask: int) -> None:
    for words in (
        ["chip", "--aoi", "aoi.gpkg", "--size", 40, "-o", tmp_path / "chips"],
        ["label", "landcover.tif", "--class", "water", "-o", tmp_path / "labels/water.gpkg"],
        ["pretrain", "--epochs", 0.1, "-o", tmp_path / "model"],
        ["embed", "--model", tmp_path / "model", "-o", tmp_path / "embeddings.h5"],
        ["export", "-o", tmp_path / "e.parquet"],
        ["import", tmp_path / "e.parquet", "-o", tmp_path / "again.h5"],
        ["probe", "--labels", "labels/water.gpkg", "-o", tmp_path / "probe/water"],
        ["evaluate", "--labels", "labels/water.gpkg", "--sizes", "all", "--repeats", 1, "--n", 10, "--features", "s2",
         "--chips", "chips", "-o", tmp_path / "report"],
    ):  # fmt: skip
        result = run(*words)
        assert result.exit_code == 0, result.stderr
    written = [path for path in tmp_path.rglob("*") if path.suffix != ".lock"]
    assert {path.suffix for path in written if path.is_file()} >= {
        ".tif", ".gpkg", ".qml", ".json", ".jsonl", ".csv", ".safetensors", ".h5", ".skops", ".html",
    }  # fmt: skip
    for path in written:
        whole = 0o777 if path.is_dir() else 0o666
        assert oct(path.stat().st_mode & 0o777) == oct(whole & ~umask), path
