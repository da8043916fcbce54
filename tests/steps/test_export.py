"""Export as GeoParquet: what is kept, made again and refused. Zarr has its own tests."""

from pathlib import Path

import pytest
from other_vectors import write_embeddings

from geoembed.errors import ConfigError, EmbeddingsError, StaleError
from geoembed.steps.export import export

pytest.importorskip("pyarrow", reason="GeoParquet needs pyarrow")


def test_kept_made_again_and_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, path = write_embeddings(tmp_path / "e.h5"), tmp_path / "e.parquet"
    made = export(file.path, output=path)
    assert made.counts == {"chips": 60, "bytes": path.stat().st_size, "kept": 0} and made.path == path
    before = path.read_bytes()
    assert export(file.path, output=path).counts["kept"] == 1 and path.read_bytes() == before
    path.write_bytes(before[:2000] + b"damaged" + before[2007:])
    assert export(file.path, output=path).counts["kept"] == 0 and path.read_bytes() == before
    assert "it is made again" in caplog.text
    with pytest.raises(StaleError, match=r'dtype was "float32", now "int8"'):
        export(file.path, output=path, dtype="int8")
    assert export(file.path, output=path, dtype="int8", overwrite=True).counts["kept"] == 0
    write_embeddings(file.path, width=7)
    with pytest.raises(StaleError, match=r"made from other inputs .*--update"):
        export(file.path, output=path, dtype="int8")
    assert export(file.path, output=path, dtype="int8", update=True).counts["kept"] == 0
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StaleError, match=r"e\.parquet: is damaged, .*--overwrite"):
        export(file.path, output=path, dtype="int8")
    assert export(file.path, output=path, dtype="int8", overwrite=True).counts["kept"] == 0


def test_a_file_of_others_stays(tmp_path: Path) -> None:
    file, path = write_embeddings(tmp_path / "e.h5"), tmp_path / "e.parquet"
    path.write_bytes(b"PAR1 of somebody else PAR1")
    for overwrite in (False, True):
        with pytest.raises(StaleError, match="was not made by geoembed"):
            export(file.path, output=path, overwrite=overwrite)
    assert path.read_bytes() == b"PAR1 of somebody else PAR1"


@pytest.mark.parametrize(("output", "dtype", "fault"), [
    ("e.csv", "float32", r"e\.csv: embeddings are exported as GeoParquet or Zarr; end -o in \.parquet or \.zarr"),
    ("e.parquet", "int4", "--dtype int4: unknown; there are float32, float16, int8"),
])  # fmt: skip
def test_options_that_do_not_go(tmp_path: Path, output: str, dtype: str, fault: str) -> None:
    file = write_embeddings(tmp_path / "e.h5")
    with pytest.raises(ConfigError, match=fault):
        export(file.path, output=tmp_path / output, dtype=dtype)


def test_damaged_embeddings_are_not_exported(tmp_path: Path) -> None:
    file = write_embeddings(tmp_path / "e.h5")
    data = bytearray(file.path.read_bytes())
    at = data.find(file.vectors("fused").tobytes())
    data[at + 9] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(EmbeddingsError, match=r"e\.h5: was edited or damaged"):
        export(file.path, output=tmp_path / "e.parquet")
    assert not (tmp_path / "e.parquet").exists()
