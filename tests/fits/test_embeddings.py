"""The HDF5 format: what it holds, and what becomes of damage, strangers and faults of the disk."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import pytest
import synthetic

from geoembed.errors import EmbeddingsError
from geoembed.fits import embeddings
from geoembed.fits.embeddings import Chunk
from geoembed.fits.hdf5 import writer
from geoembed.fits.hdf5.seals import SEAL
from geoembed.ground import grid
from geoembed.outputs import disk

LATTICE = grid.utm(32, south=False, size=32, resolution=10)


def write(
    path: Path,
    *,
    dtype: str = "float32",
    block: int = 2,
    shift: float = 0.0,
    attributes: dict[str, Any] | None = None,
) -> dict[str, np.ndarray]:
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
        attributes={"space": "unit length", "channels": {"s2": ["jja_red"], "s1": ["jja_vv"]}, **(attributes or {})},
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
    with pytest.raises(EmbeddingsError, match=r"text\.h5: is no HDF5 file, or its beginning is damaged; move it away"):
        embeddings.read(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(EmbeddingsError, match="made by another version of geoembed or another program; move it away"):
        embeddings.read(tmp_path / "other.h5")
    with h5py.File(tmp_path / "new.h5", "w", libver=("v110", "v110")) as file:
        file["x"] = [1]
    with pytest.raises(EmbeddingsError, match="lacks the attributes geoembed_version, created"):
        embeddings.read(tmp_path / "new.h5")
    for content in (b"", bytes(9999)):
        (tmp_path / "blank.h5").write_bytes(content)
        with pytest.raises(EmbeddingsError, match="is empty, as a run that ended too early left it; make it again"):
            embeddings.read(tmp_path / "blank.h5")
    write(tmp_path / "e.h5")
    with pytest.raises(EmbeddingsError, match="has no embeddings 'coh'; it holds s2, s1, fused"):
        embeddings.read(tmp_path / "e.h5").vectors("coh")


def test_what_hdf5_says_over_several_lines_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "e.h5")
    monkeypatch.setattr("h5py.File", lambda *_: (_ for _ in ()).throw(OSError("cannot open\nerror stack\n")))
    with pytest.raises(EmbeddingsError) as caught:
        embeddings.read(tmp_path / "e.h5")
    assert "cannot be read (cannot open)" in str(caught.value) and "\n" not in str(caught.value)


def test_damage_is_told_by_checksums_in_all_of_a_file(tmp_path: Path) -> None:
    write(tmp_path / "e.h5")
    data = (tmp_path / "e.h5").read_bytes()
    assert data[8] == 3, "the superblock that has a checksum"
    for old in (b"GCOL", b"HEAP", b"TREE", b"SNOD"):
        assert old not in data, "structures without checksums"
    with h5py.File(tmp_path / "e.h5") as file:
        datasets = [
            "chip_id",
            "aoi",
            "split",
            "lonlat",
            "bounds",
            "present",
            *(f"embeddings/{n}" for n in file["embeddings"]),
        ]
        assert all(file[name].fletcher32 and len(file[name].attrs["sha256"]) == 64 for name in datasets)
        assert file["broken"].attrs["sha256"] and len(file.attrs["sha256"]) == 64
        assert h5py.check_string_dtype(file["chip_id"].dtype).length == 19


def test_chunks_hold_about_a_megabyte(tmp_path: Path) -> None:
    vectors = {name: np.ones((3000, 256), np.float32) for name in ("s2", "fused")}
    found = synthetic.embeddings_file(tmp_path / "e.h5", vectors, columns=50)
    with h5py.File(tmp_path / "e.h5") as file:
        assert file["embeddings/s2"].chunks == (1024, 256)
    rows = np.array([0, 1, 1023, 1024, 2999])
    assert found.vectors("s2", rows).shape == (5, 256)


def test_long_attributes_are_read(tmp_path: Path) -> None:
    write(tmp_path / "e.h5", attributes={"model_config": {"long": ["x" * 1000] * 200}})
    assert embeddings.read(tmp_path / "e.h5").attributes["model_config"]["long"][199] == "x" * 1000


@pytest.mark.parametrize("name", ["chip_id", "aoi", "split", "lonlat", "bounds", "present"])
def test_rows_that_were_edited_are_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "e.h5")
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file[name][0] = b"x" if name == "aoi" else file[name][4]
    with pytest.raises(EmbeddingsError, match=f"e.h5: was edited or damaged: {name} is not what its digest says; make"):
        embeddings.read(tmp_path / "e.h5")
    assert embeddings.record_of(tmp_path / "e.h5") is None, "a record is known without the rows"


@pytest.mark.parametrize("name", ["space", "modalities", "channels", "created", "digest", "sha256", "extra"])
def test_attributes_that_were_edited_are_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "e.h5")
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        value = {"modalities": b'["s1", "s2"]', "channels": b"{}"}.get(name, b"abc")
        file.attrs.create(name, np.bytes_(value))
    fault = (
        "was edited or damaged: its attributes are not what its digest says; make it again with geoembed embed --over"
    )
    for read in (embeddings.read, embeddings.record_of):
        with pytest.raises(EmbeddingsError, match=f"e.h5: {fault}"):
            read(tmp_path / "e.h5")


def test_vectors_are_compared_at_first_use_and_after_a_change(tmp_path: Path) -> None:
    vectors = write(tmp_path / "e.h5")
    found = embeddings.read(tmp_path / "e.h5")
    np.testing.assert_array_equal(found.vectors("s2", np.array([0])), vectors["s2"][:1])
    with h5py.File(tmp_path / "e.h5", "r+") as file:
        file["embeddings/s2"][3] = -file["embeddings/s2"][3]
    os.utime(tmp_path / "e.h5", (1, 1))
    fault = "was edited or damaged: embeddings/s2 is not what its digest says"
    for file in (found, embeddings.read(tmp_path / "e.h5")):
        for rows in (None, slice(0, 1), np.array([0])):
            with pytest.raises(EmbeddingsError, match=fault):
                file.vectors("s2", rows)
        np.testing.assert_array_equal(file.vectors("s1"), vectors["s1"])
        np.testing.assert_array_equal(file.glimpse("s2", np.array([0])), vectors["s2"][:1])
        assert embeddings.faults(file, whole=False) == []
        (line,) = embeddings.faults(file, whole=True)
        assert fault in line


def test_vectors_of_another_file_are_not_taken_for_those_of_the_one_read(tmp_path: Path) -> None:
    write(tmp_path / "e.h5")
    found = embeddings.read(tmp_path / "e.h5")
    found.vectors("s2")
    write(tmp_path / "e.h5", shift=1)
    for read in (found.vectors, lambda name: found.glimpse(name, np.array([0])), found.compare):
        with pytest.raises(EmbeddingsError, match="has changed since it was read; make it"):
            read("s2")


@pytest.mark.parametrize("where", ["checksum", "padding"])
def test_what_only_a_chunks_checksum_tells_is_damage(tmp_path: Path, where: str) -> None:
    vectors = {name: np.random.default_rng(0).normal(size=(1500, 256)).astype(np.float32) for name in ("s2", "fused")}
    found = synthetic.embeddings_file(tmp_path / "e.h5", vectors, columns=50)
    assert embeddings.faults(found, whole=True) == []
    with h5py.File(tmp_path / "e.h5") as file:
        chunk = file["embeddings/s2"].id.get_chunk_info_by_coord((1024, 0))
    with (tmp_path / "e.h5").open("r+b") as bytes_:
        bytes_.seek(chunk.byte_offset + chunk.size - (1 if where == "checksum" else 9))
        bytes_.write(b"x")
    np.testing.assert_array_equal(found.vectors("s2"), vectors["s2"])
    (line,) = embeddings.faults(found, whole=True)
    assert "e.h5: cannot be read (" in line and line.endswith("make it again with geoembed embed --overwrite")
    with pytest.raises(EmbeddingsError, match="cannot be read"):
        found.glimpse("s2", np.array([1499]))


def test_a_flipped_bit_is_told_by_the_chunk(tmp_path: Path) -> None:
    vectors = write(tmp_path / "e.h5")
    data = bytearray((tmp_path / "e.h5").read_bytes())
    data[data.index(vectors["fused"].tobytes()) + 5] ^= 1
    (tmp_path / "e.h5").write_bytes(data)
    with pytest.raises(EmbeddingsError, match="cannot be read"):
        embeddings.read(tmp_path / "e.h5").glimpse("fused", np.array([4]))


def replace(file: h5py.File, name: str, **options: Any) -> None:
    """Put a dataset of another kind in one's place, with its digest."""
    values, digest = file[name][:], file[name].attrs["sha256"]
    del file[name]
    file.create_dataset(name, **{"data": values, **options}).attrs.create("sha256", digest)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((5, 4), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (5, 4))
    del file["embeddings/s2"]
    file.create_virtual_dataset("embeddings/s2", layout)


def link(file: h5py.File, to: Any) -> None:
    del file["embeddings/s2"]
    file["embeddings/s2"] = to


STRANGE: dict[str, tuple[str, Callable[[h5py.File], object]]] = {
    "virtual": ("embeddings/s2 lies elsewhere", virtual),
    "raw file": ("embeddings/s2 lies elsewhere", lambda file: replace(file, "embeddings/s2", external="x.raw")),
    "soft link": ("embeddings/s2 lies elsewhere", lambda file: link(file, h5py.SoftLink("/embeddings/s1"))),
    "link out": ("embeddings/s2 lies elsewhere", lambda file: link(file, h5py.ExternalLink("o.h5", "/embeddings/s2"))),
    "group out": ("embeddings/s2 lies elsewhere", lambda file: file.move("embeddings", "x") or file.__setitem__(
        "embeddings", h5py.SoftLink("/x"))),
    "gone": ("lacks embeddings/s2", lambda file: file.__delitem__("embeddings/s2")),
    "no group": (
        "lacks embeddings/s2",
        lambda file: file.__delitem__("embeddings") or file.__setitem__("embeddings", [1]),
    ),
    "a group": ("lacks chip_id", lambda file: file.__delitem__("chip_id") or file.create_group("chip_id")),
    "compressed": ("present is stored in a way", lambda file: replace(file, "present", compression="gzip")),
    "no checksum": ("lonlat is stored in a way", lambda file: replace(file, "lonlat", chunks=(5, 2))),
    "growing": ("lonlat is stored in a way", lambda file: replace(file, "lonlat", chunks=(5, 2), maxshape=(None, 2))),
    "other type": ("lonlat is float32", lambda file: replace(file, "lonlat", dtype="f4")),
    "big endian": ("embeddings/s2 is >f4", lambda file: replace(file, "embeddings/s2", dtype=">f4")),
    "texts of any length": (
        "aoi is object",
        lambda file: replace(file, "aoi", data=["a"] * 5, dtype=h5py.string_dtype()),
    ),
    "scalar": ("chip_id is |S1", lambda file: replace(file, "chip_id", data=np.bytes_(b"x"))),
    "compound": ("bounds is ", lambda file: replace(file, "bounds", data=np.zeros((5, 4), [("a", "f4")]))),
    "fewer rows": ("split is |S10", lambda file: replace(file, "split", data=file["split"][:3])),
    "flat": ("embeddings/fused is float32", lambda file: replace(file, "embeddings/fused", data=np.zeros(5, "f4"))),
    "vast": ("is shorter than what it says it holds", lambda file: replace(
        file, "embeddings/s2", data=None, shape=(5, 2**40), dtype="f4", chunks=(5, 8), fletcher32=True)),
    "attribute of any length": ("its attribute 'space'", lambda file: file.attrs.__setitem__("space", "text")),
    "attribute of numbers": ("its attribute 'space'", lambda file: file.attrs.__setitem__("space", [1, 2])),
    "attribute without end": ("space' is none", lambda file: file.attrs.create("space", h5py.Empty("S8"))),
    "bytes that are no text": ("can't decode byte", lambda file: file.attrs.create("space", np.bytes_(b"\xff\xfe"))),
}  # fmt: skip


@pytest.mark.parametrize("case", STRANGE)
def test_what_geoembed_does_not_write_is_refused(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "e.h5")
    fault, change = STRANGE[case]
    with h5py.File(tmp_path / "e.h5", "r+", libver=("v110", "v110")) as file:
        change(file)
    with pytest.raises(EmbeddingsError) as caught:
        embeddings.read(tmp_path / "e.h5")
    assert fault in str(caught.value) and "\n" not in str(caught.value)


def chunk(file: h5py.File, content: bytes | None, **layout: Any) -> None:
    """Put a dataset of one chunk in another's place, with its digest; no chunk where there is no content."""
    digest = file["embeddings/s2"].attrs["sha256"]
    del file["embeddings/s2"]
    made = file.create_dataset("embeddings/s2", **{"dtype": "f4", "shape": (5, 4), "fletcher32": True, **layout})
    made.attrs.create("sha256", digest)
    if content is not None:
        made.id.write_direct_chunk((0, 0), content, filter_mask=int(len(content) == 80))


CHUNKS: dict[str, tuple[str, Callable[[h5py.File], object]]] = {
    "nowhere": ("cannot be read|buffer", lambda file: chunk(file, None, chunks=(5, 4))),
    "without checksum": ("s2 has a chunk", lambda file: chunk(file, bytes(80), chunks=(5, 4))),
    "short": ("s2 has a chunk", lambda file: chunk(file, bytes(64), chunks=(5, 4))),
    "long": ("cannot be read|buffer", lambda file: chunk(file, bytes(90), chunks=(5, 4))),
    "narrow": ("s2 is stored in a way", lambda file: chunk(file, None, chunks=(5, 2))),
    "taller than all": ("s2 is stored in a way", lambda file: chunk(file, None, chunks=(2**26, 4), maxshape=(None, 4))),
}


@pytest.mark.parametrize("case", CHUNKS)
def test_chunks_that_geoembed_does_not_write_are_refused(tmp_path: Path, case: str) -> None:
    write(tmp_path / "e.h5")
    fault, change = CHUNKS[case]
    with h5py.File(tmp_path / "e.h5", "r+", libver=("v110", "v110")) as file:
        change(file)
    found = embeddings.read(tmp_path / "e.h5")
    with pytest.raises(EmbeddingsError, match=fault) as caught:
        found.vectors("s2")
    assert "\n" not in str(caught.value)


def test_a_heap_of_zeros_is_never_entered(tmp_path: Path) -> None:
    write(tmp_path / "e.h5")
    with h5py.File(tmp_path / "e.h5", "r+", libver=("v110", "v110")) as file:
        virtual(file)
    data = bytearray((tmp_path / "e.h5").read_bytes())
    start = data.index(b"GCOL") + 16
    data[start : start + 4080] = bytes(4080)
    (tmp_path / "e.h5").write_bytes(data)
    code = "import sys, pathlib; from geoembed.fits import embeddings; embeddings.read(pathlib.Path(sys.argv[1]))"
    words = [sys.executable, "-c", code, str(tmp_path / "e.h5")]
    found = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert "embeddings/s2 lies elsewhere" in found.stderr


def forge(path: Path, *, attributes: dict[str, Any] | None = None, **arrays: Any) -> None:
    """Write a file whose digests are right and whose content is not: some attributes or columns are others."""
    write(path)
    found = embeddings.read(path)
    with h5py.File(path) as file:
        content = {name: file[name][:] for name in embeddings._datasets(found.modalities)}
        texts = {name: value.decode() for name, value in file.attrs.items() if name != SEAL}
    path.unlink()
    for name, value in (attributes or {}).items():
        texts[name] = value if isinstance(value, str) else json.dumps(value)
    with writer.creating(path, 2**16, output=path) as file:
        file.attributes(texts)
        for name, values in content.items():
            file.array(name, np.asarray(arrays.get(name, values), values.dtype))


IDS = [LATTICE.chip_id(1500 + i, 17000).encode() for i in (0, 1, 2, 3, 3)]
GRID = asdict(LATTICE)
FORGED: dict[str, tuple[str, dict[str, Any]]] = {
    "twice": ("names a chip twice", {"chip_id": IDS}),
    "a path": ("'../../etc/passwd' is no chip id", {"chip_id": [*IDS[:4], b"../../etc/passwd"]}),
    "of no grid": ("'33N-320-1-1' is no chip id on a grid", {"chip_id": [*IDS[:4], b"33N-320-1-1"]}),
    "area": ("cannot be a name, as it holds control characters", {"aoi": [b"\x1b[31m"] * 5}),
    "split": ("has chips of the split 'tset'", {"split": [b"tset"] * 5}),
    "place": ("has chips whose places are no numbers", {"lonlat": np.full((5, 2), np.nan)}),
    "broken": ("names broken chip files that are none", {"broken": [[9, 0]]}),
    "modality": ("cannot be a modality's name", {"attributes": {"modalities": ["s2", "../s1"]}}),
    "no modality": ("modalities names none, or one twice", {"attributes": {"modalities": []}}),
    "modalities": ("modalities", {"attributes": {"modalities": "s2"}}),
    "channel": ("channels.s2.0 '/vsicurl/http://a'", {"attributes": {"channels": {"s2": ["/vsicurl/http://a"]}}}),
    "json": ("its attribute training is no JSON", {"attributes": {"training": "{"}}),
    "deep": ("its attribute training is no JSON", {"attributes": {"training": "[" * 50_000}}),
    "digits": ("its attribute training is no JSON", {"attributes": {"training": "[" + "9" * 5000 + "]"}}),
    "record": ("made_from", {"attributes": {"made_from": {"step": 1}}}),
    "grids": ("grids", {"attributes": {"grids": [1, 2]}}),
    "grid": ("describes a grid", {"attributes": {"grids": [{**GRID, "dx": -1.0}]}}),
    "grid without an end": ("describes a grid", {"attributes": {"grids": [{**GRID, "x": float("inf")}]}}),
    "grid lacks": ("crs", {"attributes": {"grids": [{name: GRID[name] for name in GRID if name != "crs"}]}}),
}


@pytest.mark.parametrize("case", FORGED)
def test_content_is_checked_though_digests_are_right(tmp_path: Path, case: str) -> None:
    fault, changes = FORGED[case]
    forge(tmp_path / "e.h5", **changes)
    with pytest.raises(EmbeddingsError) as caught:
        embeddings.read(tmp_path / "e.h5")
    assert fault in str(caught.value) and "\n" not in str(caught.value)


def look(path: Path) -> list[Any]:
    found = embeddings.read(path)
    columns = [getattr(found, name) for name in ("chip_id", "aoi", "split", "lonlat", "bounds", "present", "broken")]
    return [*columns, *found.arrays().values(), embeddings.record_of(path), found.attributes, found.grids, found.digest]


def test_mutations_are_told_or_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    write(path)
    data, wanted = path.read_bytes(), look(path)
    rng, told = np.random.default_rng(0), 0
    for number in range(150):
        changed, at = bytearray(data), int(rng.integers(len(data)))
        size = int(2 ** rng.integers(0, 10))
        if number % 5 == 0:
            changed[at] ^= 1 << int(rng.integers(8))
        elif number % 5 == 1:
            changed[at : at + size] = bytes(len(changed[at : at + size]))
        elif number % 5 == 2:
            del changed[at:]
        elif number % 5 == 3:
            changed[at:at] = changed[at : at + size]
        else:
            changed[at : at + size] = rng.bytes(len(changed[at : at + size]))
        path.write_bytes(changed)
        try:
            for found, was in zip(look(path), wanted, strict=True):
                np.testing.assert_equal(found, was)
        except EmbeddingsError as error:
            assert "\n" not in str(error) and str(error).startswith(f"{path}: ")
            told += 1
    assert told > 100


class Failing(io.BufferedIOBase):
    """A file that cannot be written from the n-th write on."""

    def __init__(self, file: BinaryIO, n: int) -> None:
        self.file, self.n = file, n

    def write(self, data: Any) -> int:
        self.n -= 1
        if self.n < 0:
            raise OSError(errno.EIO, "Input/output error")
        return self.file.write(data)

    def __getattribute__(self, name: str) -> Any:
        own = name in ("file", "n", "write")
        return object.__getattribute__(self, name) if own else getattr(self.file, name)


def test_a_failing_disk_is_one_line_at_every_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create, failed = disk.create, 0
    for n in range(100):
        monkeypatch.setattr(disk, "create", lambda path, n=n: Failing(create(path), n if path.suffix == ".h5" else 9))
        try:
            write(tmp_path / "e.h5")
            break
        except OSError as error:
            assert (error.errno, error.filename) == (errno.EIO, str(tmp_path / "e.h5"))
            assert list(tmp_path.iterdir()) == []
            failed += 1
    assert failed > 3
    assert len(embeddings.read(tmp_path / "e.h5")) == 5


def test_an_interrupt_waits_for_hdf5_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = writer._Output._write

    def interrupted(self: Any, data: memoryview) -> None:
        written(self, data)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(writer._Output, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "e.h5")
    assert list(tmp_path.iterdir()) == []
