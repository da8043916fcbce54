"""The step that embeds: rows, restrictions, kills, broken files and re-runs."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from chip_folders import CHANNELS, make_chips
from damages import DAMAGES, damage
from synthetic import embeddings_file

from geoembed.chips.folder import ChipSet
from geoembed.errors import ChipError, ConfigError, EmbeddingsError, GeoembedError, ModelError, StaleError
from geoembed.fits import chunks, embeddings
from geoembed.fits.chunks import Chunks, Piece
from geoembed.learning import checkpoint
from geoembed.outputs import digests
from geoembed.outputs.journal import Journal
from geoembed.outputs.records import Record
from geoembed.steps import embed, pretrain

CPU: dict[str, Any] = {"device": "cpu", "batch_size": 8}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with chips, some without one modality, a model of them, and their embeddings."""
    folder = tmp_path_factory.mktemp("embed")
    make_chips(folder / "chips", n=60, absent=0.2, clouds=0.05)
    pretrain.pretrain(folder / "chips", output=folder / "model", epochs=1, batch_size=12, device="cpu")
    embed.embed(folder / "chips", model=folder / "model", output=folder / "e.h5", **CPU)
    return folder


@pytest.fixture(scope="module")
def other_model(base: Path) -> Path:
    """A model of the same chips with other weights."""
    trained = checkpoint.read(base / "model", device=torch.device("cpu"), untrained=True)
    checkpoint.write_config(base / "other", trained.described)
    checkpoint.write_weights(base / "other", trained.model, trained.described)
    return base / "other"


def vectors(path: Path) -> dict[str, np.ndarray]:
    embedded = embeddings.read(path)
    return {name: embedded.vectors(name) for name in embedded.names}


def test_rows_are_those_of_the_index(base: Path) -> None:
    from geoembed.chips import folder as chip_folder

    chipset, embedded = chip_folder.read(base / "chips"), embeddings.read(base / "e.h5")
    assert embedded.chip_id.tolist() == chipset.index["chip_id"].tolist()
    assert (
        embedded.aoi.tolist() == chipset.index["aoi"].tolist()
        and embedded.split.tolist() == chipset.index["split"].tolist()
    )
    assert embedded.modalities == ("s2", "s1")
    np.testing.assert_array_equal(embedded.present, chipset.index[["s2", "s1"]].notna().to_numpy())
    for m, name in enumerate(embedded.modalities):
        np.testing.assert_array_equal(np.isnan(embedded.vectors(name)).any(1), ~embedded.present[:, m])
    single = embedded.present.sum(1) == 1
    assert single.any()
    alone = np.where(embedded.present[:, :1], embedded.vectors("s2"), embedded.vectors("s1"))
    np.testing.assert_array_equal(embedded.vectors("fused")[single], alone[single])


def test_attributes_explain_the_file(base: Path) -> None:
    with h5py.File(base / "e.h5") as file:
        assert json.loads(file.attrs["channels"]) == {name: list(names) for name, names in CHANNELS.items()}
        assert json.loads(file.attrs["model_config"])["patch"] == 2
        assert json.loads(file.attrs["training"])["transductive"] is False
        assert len(file.attrs["model_sha256"]) == 64 and b"unit length" in file.attrs["space"]
        assert {"geoembed_version", "created"} <= set(file.attrs)


def test_embeddings_hardly_depend_on_batch_and_threads(base: Path, tmp_path: Path) -> None:
    expected, before = vectors(base / "e.h5"), torch.get_num_threads()
    try:
        for size, threads in ((1, 1), (7, 2), (60, 1)):
            torch.set_num_threads(threads)
            path = tmp_path / f"{size}.h5"
            embed.embed(base / "chips", model=base / "model", output=path, device="cpu", batch_size=size)
            for name, values in vectors(path).items():
                np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_finished_work_is_kept_and_its_time_renewed(base: Path) -> None:
    path = base / "e.h5"
    before = path.read_bytes()
    os.utime(path, (1, 1))
    outcome = embed.embed(base / "chips", model=base / "model", output=path, **CPU)
    assert outcome.counts["embedded"] == 0 and outcome.paths == (path,)
    assert path.read_bytes() == before and path.stat().st_mtime > 1e9


def test_modalities_and_channels_restrict_what_is_used(base: Path, tmp_path: Path) -> None:
    expected = vectors(base / "e.h5")
    embed.embed(base / "chips", model=base / "model", output=tmp_path / "s1.h5", modalities=("s1",), **CPU)
    embedded = embeddings.read(tmp_path / "s1.h5")
    assert embedded.names == ("s1", "fused") and not embedded.present.all()
    np.testing.assert_allclose(embedded.vectors("s1"), expected["s1"], atol=1e-5)
    np.testing.assert_array_equal(embedded.vectors("fused"), embedded.vectors("s1"))

    embed.embed(base / "chips", model=base / "model", output=tmp_path / "jja.h5", channels={"s2": ("jja_*",)}, **CPU)
    embedded = embeddings.read(tmp_path / "jja.h5")
    assert embedded.attributes["channels"] == {"s2": list(CHANNELS["s2"][3:]), "s1": list(CHANNELS["s1"])}
    has_s1 = embedded.present[:, 0]
    assert np.abs(embedded.vectors("s2")[has_s1] - expected["s2"][has_s1]).max() > 1e-3
    np.testing.assert_allclose(embedded.vectors("s1"), expected["s1"], atol=1e-5)


def test_what_is_asked_for_must_be_known(base: Path, tmp_path: Path) -> None:
    for options, fault in (
        (
            {"modalities": ("s3",)},
            "--modalities s3: no modality of the chips in .* or of the model in .*; did you mean",
        ),
        (
            {"channels": {"s2": ("jja_rde",)}},
            "--channels s2=jja_rde: no channel of the chips in .*; did you mean jja_red",
        ),
        ({"dtype": "int8"}, "dtype 'int8' is not float32 or float16"),
        ({"batch_size": 0}, "batch_size 0 is below 1"),
    ):
        with pytest.raises(ConfigError, match=fault):
            embed.embed(base / "chips", model=base / "model", output=tmp_path / "e.h5", **options)
    assert list(tmp_path.iterdir()) == []


def test_chips_with_more_or_less_than_the_model_knows(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_chips(tmp_path / "chips", n=6, channels={"s2": ("mam_red", "jja_blue", "djf_red")})
    outcome = embed.embed(tmp_path / "chips", model=base / "model", output=tmp_path / "e.h5", **CPU)
    assert outcome.counts["unknown_channels"] == 1 and "1 channels of the chips are left out" in caplog.text
    embedded = embeddings.read(tmp_path / "e.h5")
    assert embedded.modalities == ("s2",) and embedded.attributes["channels"] == {"s2": ["djf_red", "jja_blue"]}
    assert not np.isnan(embedded.vectors("fused")).any()

    make_chips(tmp_path / "more", n=6, channels={"coh": ("jja_coh12",), "s2": ("jja_red",)})
    with pytest.raises(
        ModelError, match="model: the model has no modality coh, which the chips have; pass --modalities s2"
    ):
        embed.embed(tmp_path / "more", model=base / "model", output=tmp_path / "more.h5", **CPU)
    embed.embed(tmp_path / "more", model=base / "model", output=tmp_path / "more.h5", modalities=("s2", "s1"), **CPU)
    with pytest.raises(
        ChipError, match="more: the chips have nothing of s1 that the model knows; pass --modalities s2"
    ):
        embed.embed(tmp_path / "more", model=base / "model", output=tmp_path / "none.h5", modalities=("s1",), **CPU)


def test_half_precision(base: Path, tmp_path: Path) -> None:
    embed.embed(base / "chips", model=base / "model", output=tmp_path / "e.h5", dtype="float16", **CPU)
    with h5py.File(tmp_path / "e.h5") as file:
        assert file["embeddings/s2"].dtype == np.float16
    np.testing.assert_allclose(vectors(tmp_path / "e.h5")["fused"], vectors(base / "e.h5")["fused"], atol=1e-3)


def test_other_models_and_options_are_refused(base: Path, other_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    shutil.copy(base / "e.h5", path)
    with pytest.raises(StaleError, match="dtype was"):
        embed.embed(base / "chips", model=base / "model", output=path, dtype="float16", **CPU)
    embed.embed(base / "chips", model=other_model, output=path, overwrite=True, **CPU)
    assert np.abs(vectors(path)["s1"] - vectors(base / "e.h5")["s1"])[embeddings.read(path).present[:, 1]].max() > 0.01
    with pytest.raises(StaleError, match="model differs"):
        embed.embed(base / "chips", model=base / "model", output=path, **CPU)
    path.write_text("theirs")
    with pytest.raises(GeoembedError, match="no embeddings file that geoembed embed wrote; move it away"):
        embed.embed(base / "chips", model=base / "model", output=path, overwrite=True, **CPU)
    assert path.read_text() == "theirs"


CODE = """
import sys
from pathlib import Path
from geoembed.steps import embed
embed.CHUNK_SECONDS = 0.0
folder, output = Path(sys.argv[1]), sys.argv[2]
for progress in embed.embed.steps(folder / "chips", model=folder / "model", output=output, device="cpu", batch_size=8):
    print(progress.done, flush=True)
"""


def test_killed_it_resumes_and_refuses_to_mix(base: Path, other_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    process = subprocess.Popen([sys.executable, "-c", CODE, str(base), str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()
    assert not path.exists()
    with pytest.raises(StaleError, match="model differs"):
        embed.embed(base / "chips", model=other_model, output=path, **CPU)
    outcome = embed.embed(base / "chips", model=base / "model", output=path, **CPU)
    assert outcome.counts["kept"] >= 24 and outcome.counts["kept"] + outcome.counts["embedded"] == 60
    for name, values in vectors(path).items():
        np.testing.assert_allclose(values, vectors(base / "e.h5")[name], atol=1e-6)
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.h5"]
    assert embeddings.read(path).attributes["made_from"] == embeddings.read(base / "e.h5").attributes["made_from"]


@pytest.fixture
def broken(base: Path, tmp_path: Path) -> tuple[ChipSet, Path, bytes]:
    """Chips of which one file is broken, its path, and what it ought to hold."""
    shutil.copytree(base / "chips", tmp_path / "chips")
    from geoembed.chips import folder as chip_folder

    chipset = chip_folder.read(tmp_path / "chips")
    row = int(np.flatnonzero(chipset.index[["s2", "s1"]].notna().all(axis=1))[2])
    path = chipset.path_of(chipset.index["chip_id"][row], "s1")
    content = path.read_bytes()
    path.write_bytes(b"broken")
    return chipset, path, content


def test_a_broken_file_stops_nothing_and_is_embedded_once_mended(
    base: Path, tmp_path: Path, broken: tuple[ChipSet, Path, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    _, file, content = broken
    output = tmp_path / "e.h5"
    run = {"chips": tmp_path / "chips", "model": base / "model", "output": output, **CPU}
    expected = vectors(base / "e.h5")
    row = embeddings.read(base / "e.h5").chip_id.tolist().index(file.stem)
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING), pytest.raises(ChipError, match="complete, but 1 chip files could not"):
            embed.embed(**run)
        assert sum(str(file) in line for line in caplog.messages) == 1
    embedded = embeddings.read(output)
    assert embedded.present[row].tolist() == [True, False] and len(embedded) == 60
    np.testing.assert_array_equal(embedded.vectors("fused")[row], embedded.vectors("s2")[row])
    file.write_bytes(content)
    outcome = embed.embed(**run)
    assert outcome.counts["embedded"] == 1 and outcome.counts["kept"] == 59 and outcome.counts["broken"] == 0
    for name, values in vectors(output).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)
    assert embeddings.read(output).present[row].all()


def test_strict_stops_at_once(base: Path, tmp_path: Path, broken: tuple[ChipSet, Path, bytes]) -> None:
    _, file, _ = broken
    with pytest.raises(ChipError, match=file.name):
        embed.embed(tmp_path / "chips", model=base / "model", output=tmp_path / "e.h5", strict=True, **CPU)
    assert not (tmp_path / "e.h5").exists()


def test_the_model_must_be_finished(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model here"):
        embed.embed(base / "chips", model=tmp_path / "model", output=tmp_path / "e.h5")
    shutil.copytree(base / "model", tmp_path / "model")
    (tmp_path / "model/weights.safetensors").unlink()
    with pytest.raises(ModelError, match="training has not finished"):
        embed.embed(base / "chips", model=tmp_path / "model", output=tmp_path / "e.h5")


def begin(base: Path, output: Path, record: Record, *rows: tuple[int, int]) -> Chunks:
    """Leave an unfinished output whose chunks hold nothing that can be read."""
    begun = chunks.beside(output)
    journal = Journal(begun.journal, record)
    for start, stop in rows:
        begun.path_of(start, stop).write_bytes(b"whatever")
        journal.write({"start": start, "stop": stop, "sha256": digests.of_bytes(begun.path_of(start, stop))})
    journal.close()
    return begun


def test_a_gap_in_the_chunks_is_embedded_again(base: Path, tmp_path: Path) -> None:
    record = embeddings.record_of(base / "e.h5")
    assert record is not None
    begin(base, tmp_path / "e.h5", record, (8, 16), (16, 60))
    outcome = embed.embed(base / "chips", model=base / "model", output=tmp_path / "e.h5", **CPU)
    assert outcome.counts["kept"] == 0
    for name, values in vectors(tmp_path / "e.h5").items():
        np.testing.assert_allclose(values, vectors(base / "e.h5")[name], atol=1e-6)
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.h5"]


def test_killed_while_removing_chunks_it_starts_anew(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin(base, tmp_path / "e.h5", Record("embed", {"chips": "other"}, {}), (0, 8), (8, 60))
    unlink = Path.unlink
    gone: list[str] = []

    def killed(path: Path, **options: bool) -> None:
        if len(gone) == 2:
            raise KeyboardInterrupt
        unlink(path, **options)
        gone.append(path.name)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", killed)
        begun.remove()
    outcome = embed.embed(base / "chips", model=base / "model", output=tmp_path / "e.h5", **CPU)
    assert outcome.counts["embedded"] == 60 and not begun.folder.exists()


def test_no_modality_at_all_is_an_error(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--modalities: names none"):
        embed.embed(base / "chips", model=base / "model", output=tmp_path / "e.h5", modalities=(), **CPU)


def test_a_file_without_a_record_is_replaced_when_asked_for(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    shutil.copy(base / "e.h5", path)
    with h5py.File(path, "a") as file:
        del file.attrs["made_from"]
    before = path.read_bytes()
    with pytest.raises(StaleError, match=r"e.h5: was edited or damaged: .*; pass --overwrite to make it again"):
        embed.embed(base / "chips", model=base / "model", output=path, **CPU)
    assert path.read_bytes() == before
    embed.embed(base / "chips", model=base / "model", output=path, overwrite=True, **CPU)
    assert embeddings.read(path).digest == embeddings.read(base / "e.h5").digest


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_output_is_made_again(
    base: Path, tmp_path: Path, how: str, overwrite: bool, caplog: pytest.LogCaptureFixture
) -> None:
    run = {"chips": base / "chips", "model": base / "model", "output": tmp_path / "e.h5", **CPU}
    shutil.copy(base / "e.h5", tmp_path / "e.h5")
    damage(tmp_path / "e.h5", how)
    if how == "truncated" and not overwrite:
        with pytest.raises(StaleError, match=r"e.h5: was cut: .*; pass --overwrite to make it again"):
            embed.embed(**run)
        overwrite = True
    assert embed.embed(**run, overwrite=overwrite).counts["embedded"] == 60
    assert embeddings.read(tmp_path / "e.h5").digest == embeddings.read(base / "e.h5").digest
    told = [line for line in caplog.messages if "it is made again" in line]
    assert len(told) == (how == "flipped" and not overwrite), told
    assert embed.embed(**run).counts["kept"] == 60
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.h5"]


def test_a_flipped_bit_never_gives_other_vectors(base: Path, tmp_path: Path) -> None:
    run = {"chips": base / "chips", "model": base / "model", "output": tmp_path / "e.h5", **CPU}
    whole, rng = (base / "e.h5").read_bytes(), np.random.default_rng(0)
    for at in [9, 30, *rng.integers(48, len(whole), 10).tolist()]:
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "e.h5").write_bytes(data)
        try:
            counts = embed.embed(**run).counts
        except StaleError as error:
            assert "pass --overwrite to make it again" in str(error), (at, error)
            counts = embed.embed(**run, overwrite=True).counts
        found = vectors(tmp_path / "e.h5")
        for name, values in vectors(base / "e.h5").items():
            np.testing.assert_array_equal(found[name], values, err_msg=f"byte {at}")
        assert counts["embedded"] in (0, 60), "all of it is made again, or nothing that is read was damaged"


@pytest.mark.parametrize("name", ["embeddings/s2", "split"])
def test_what_is_damaged_is_not_kept(base: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "e.h5"
    shutil.copy(base / "e.h5", path)
    with h5py.File(path, "r+") as file:
        file[name][0] = file[name][-1]
    outcome = embed.embed(base / "chips", model=base / "model", output=path, **CPU)
    assert f"{path}: was edited or damaged: {name} is not what its digest says; it is made again" in caplog.text
    assert outcome.counts["embedded"] == 60
    assert embeddings.read(path).digest == embeddings.read(base / "e.h5").digest
    caplog.clear()
    assert embed.embed(base / "chips", model=base / "model", output=path, **CPU).counts["kept"] == 60


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda data: data[:-100], "was cut: it is shorter than it says"),
        (lambda data: data[:5000], "was cut: it is shorter than it says"),
        (lambda data: bytes(100) + data[100:], "is no HDF5 file, or its beginning is damaged"),
        (lambda data: data.replace(b"chip_id", b"chip_ib"), "cannot be read"),
    ],
)
def test_what_geoembed_made_can_be_overwritten_however_damaged(
    base: Path, tmp_path: Path, damage: Callable[[bytes], bytes], fault: str
) -> None:
    path = tmp_path / "e.h5"
    path.write_bytes(damage((base / "e.h5").read_bytes()))
    before = path.read_bytes()
    with pytest.raises(StaleError, match=rf"e.h5: {fault}.*; pass --overwrite to make it again, or choose another -o"):
        embed.embed(base / "chips", model=base / "model", output=path, **CPU)
    assert path.read_bytes() == before
    embed.embed(base / "chips", model=base / "model", output=path, overwrite=True, **CPU)
    assert embeddings.read(path).digest == embeddings.read(base / "e.h5").digest


def killed(base: Path, output: Path) -> Chunks:
    """Leave an output of which chunks of 8 chips are finished, all but the last."""
    steps = embed.embed.steps(base / "chips", model=base / "model", output=output, **CPU)
    for _ in range(4):
        next(steps)
    steps.close()
    return chunks.beside(output)


CHUNK_DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:900] + b"\x01" + path.read_bytes()[901:]),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-50]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(len(path.read_bytes()))),
    "gone": Path.unlink,
    "another": lambda path: path.write_bytes((path.parent / "000000000-000000008.npz").read_bytes()),
    "pickled": lambda path: np.savez(path, fused=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("damage", CHUNK_DAMAGES)
def test_a_damaged_chunk_and_those_after_it_are_embedded_again(
    base: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embed, "CHUNK_SECONDS", 0.0)
    begun = killed(base, tmp_path / "e.h5")
    assert len(list(begun.folder.glob("*.npz"))) >= 3
    path = begun.path_of(8, 16)
    CHUNK_DAMAGES[damage](path)
    outcome = embed.embed(base / "chips", model=base / "model", output=tmp_path / "e.h5", **CPU)
    assert f"{path}: missing or damaged; its chips, and those after them, are embedded again" in caplog.text
    assert outcome.counts["kept"] == 8 and outcome.counts["embedded"] == 52
    assert embeddings.read(tmp_path / "e.h5").digest == embeddings.read(base / "e.h5").digest
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.h5"]


def test_a_chunk_that_is_damaged_on_the_way_is_named(base: Path, tmp_path: Path) -> None:
    begun = Chunks(tmp_path)
    whole = embeddings.read(base / "e.h5").block(slice(0, 8))
    piece = begun.write(0, 8, [whole])
    np.testing.assert_array_equal(begun.read(piece).vectors["fused"], whole.vectors["fused"])
    with pytest.raises(EmbeddingsError, match=r"000000000-000000008.npz: cannot be read \(has not a row for each"):
        begun.read(forged(begun))
    begun.path_of(0, 8).write_bytes(b"PK")
    with pytest.raises(EmbeddingsError, match=r"npz: cannot be read \(is not what its digest says\); run the same"):
        begun.read(piece)


def forged(begun: Chunks) -> Piece:
    """Write a chunk whose digest is right and whose rows are too few."""
    np.savez(begun.path_of(0, 8), _present=np.ones((7, 1), bool), _broken=np.empty((0, 2)), fused=np.ones((7, 2)))
    return Piece(0, 8, digests.of_bytes(begun.path_of(0, 8)))


@pytest.mark.parametrize("line", [{"rows": [0, 8]}, {"start": -1, "stop": 8, "sha256": "x"},
                                  {"start": 0, "stop": "../8", "sha256": "x"}, {"start": 0, "stop": 8}])  # fmt: skip
def test_lines_of_another_form_do_not_count(base: Path, tmp_path: Path, line: dict[str, Any]) -> None:
    record = embeddings.record_of(base / "e.h5")
    assert record is not None
    journal = Journal(chunks.beside(tmp_path / "e.h5").journal, record)
    journal.write(line)
    journal.close()
    outcome = embed.embed(base / "chips", model=base / "model", output=tmp_path / "e.h5", **CPU)
    assert outcome.counts["kept"] == 0


def test_ended_before_the_first_chunk_it_leaves_nothing(base: Path, tmp_path: Path) -> None:
    steps = embed.embed.steps(base / "chips", model=base / "model", output=tmp_path / "new/e.h5", **CPU)
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_program_wrote_with_geoembed_is_not_replaced(base: Path, tmp_path: Path) -> None:
    embeddings_file(tmp_path / "e.h5", {name: np.ones((4, 2), np.float32) for name in ("s2", "fused")}, columns=2)
    before = (tmp_path / "e.h5").read_bytes()
    for overwrite in (False, True):
        with pytest.raises(StaleError, match=r"e.h5: is no embeddings file that geoembed embed wrote; move it away"):
            embed.embed(base / "chips", model=base / "model", output=tmp_path / "e.h5", overwrite=overwrite, **CPU)
    assert (tmp_path / "e.h5").read_bytes() == before
