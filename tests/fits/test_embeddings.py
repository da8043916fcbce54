"""The HDF5 format."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from geoembed.errors import EmbeddingsError
from geoembed.fits import embeddings
from geoembed.fits.embeddings import Chunk
from geoembed.ground import grid

LATTICE = grid.utm(32, south=False, size=32, resolution=10)


def write(path: Path, *, dtype: str = "float32", block: int = 2, shift: float = 0.0) -> dict[str, np.ndarray]:
    ids = np.array([LATTICE.chip_id(1500 + i, 17000) for i in range(5)])
    rng = np.random.default_rng(0)
    vectors = {name: rng.normal(size=(5, 4)).astype(np.float32) + shift for name in ("s2", "s1", "fused")}
    present = np.array([[True, True], [True, False], [True, True], [True, True], [False, True]])
    vectors["s1"][1] = vectors["s2"][4] = np.nan
    blocks = (
        Chunk(present[rows], {name: values[rows] for name, values in vectors.items()})
        for rows in embeddings.slices(5, block)
    )
    embeddings.write(
        path,
        ids,
        np.array(["København"] * 5),
        np.array(["train", "train", "validation", "test", "test"]),
        grids=(LATTICE,),
        modalities=("s2", "s1"),
        blocks=blocks,
        attributes={"space": "unit length", "channels": {"s2": ["jja_red"], "s1": ["jja_vv"]}},
        dtype=dtype,
    )
    return vectors


def test_what_is_written_is_read(tmp_path: Path) -> None:
    vectors = write(tmp_path / "e.h5")
    found = embeddings.read(tmp_path / "e.h5")
    assert len(found) == 5 and found.names == ("s2", "s1", "fused") and found.grids == (LATTICE,)
    assert found.aoi[0] == "København" and list(found.split[1:4]) == ["train", "validation", "test"]
    for name in found.names:
        np.testing.assert_array_equal(found.vectors(name), vectors[name])
    np.testing.assert_array_equal(found.vectors("s2", slice(3, 5)), vectors["s2"][3:5])
    assert found.present.tolist()[1] == [True, False]
    assert found.attributes["channels"] == {"s2": ["jja_red"], "s1": ["jja_vv"]}
    assert found.attributes["space"] == "unit length"
    assert {"geoembed_version", "created"} <= found.attributes.keys()
    inside = (found.bounds[:, 0] < found.lonlat[:, 0]) & (found.lonlat[:, 0] < found.bounds[:, 2])
    assert inside.all() and np.all(
        (found.bounds[:, 1] < found.lonlat[:, 1]) & (found.lonlat[:, 1] < found.bounds[:, 3])
    )


def test_plain_h5py_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "e.h5", dtype="float16")
    with h5py.File(tmp_path / "e.h5") as file:
        assert file["embeddings/fused"].dtype == np.float16
        assert file["chip_id"].asstr()[0] == "32N-320-01500-17000"
        assert file["present"].dtype == bool
        assert file.attrs["modalities"].decode() == '["s2", "s1"]'


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    write(tmp_path / "b.h5", block=5)
    write(tmp_path / "c.h5", shift=1e-3)
    a, b, c = (embeddings.read(tmp_path / f"{name}.h5").digest for name in "abc")
    assert a == b != c


def test_blocks_that_do_not_add_up_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 rows of embeddings for 5 chips"):
        embeddings.write(
            tmp_path / "e.h5",
            np.array([LATTICE.chip_id(1500 + i, 17000) for i in range(5)]),
            np.array(["a"] * 5),
            np.array(["train"] * 5),
            grids=(LATTICE,),
            modalities=("s2",),
            blocks=[Chunk(np.ones((3, 1), bool), {name: np.zeros((3, 2), np.float32) for name in ("s2", "fused")})],
            attributes={},
        )
    assert list(tmp_path.iterdir()) == []


def test_errors_name_the_file_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingsError, match=r"none\.h5: no embeddings here; run `geoembed chip"):
        embeddings.read(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(EmbeddingsError, match=r"text\.h5: cannot be read as HDF5"):
        embeddings.read(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(EmbeddingsError, match="lacks chip_id"):
        embeddings.read(tmp_path / "other.h5")
    write(tmp_path / "e.h5")
    with pytest.raises(EmbeddingsError, match="has no embeddings 'coh'; it holds s2, s1, fused"):
        embeddings.read(tmp_path / "e.h5").vectors("coh")


def test_what_hdf5_says_over_several_lines_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "e.h5").write_bytes(b"")
    monkeypatch.setattr("h5py.File", lambda *_: (_ for _ in ()).throw(OSError("cannot read\nerror stack\n")))
    with pytest.raises(EmbeddingsError) as caught:
        embeddings.read(tmp_path / "e.h5")
    assert "cannot read" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_attribute_is_named(tmp_path: Path) -> None:
    write(tmp_path / "e.h5")
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        del file.attrs["grids"]
    with pytest.raises(EmbeddingsError, match=r"e.h5: lacks the attributes grids; move it away and make it again"):
        embeddings.read(tmp_path / "e.h5")
