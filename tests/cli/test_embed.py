import shutil
from pathlib import Path

import h5py
import numpy as np
from conftest import Run

from geoembed.chips import folder as chip_folder


def test_it_reads_the_chips_path_from_stdin(here: Path, run: Run, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from geoembed.cli import app

    words = ["embed", "-", "--modalities", "s1,coh", "--channels", "coh=*_coh12", "-o", str(tmp_path / "e.h5")]
    result = CliRunner().invoke(app, words, input="chips\n")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'e.h5'}\n"), result.stderr
    with h5py.File(tmp_path / "e.h5") as file:
        assert set(file["embeddings"]) == {"s1", "coh", "fused"}
        assert file["embeddings/fused"].shape[0] == len(chip_folder.read(here / "chips").index)


def test_a_broken_chip_stops_nothing_but_is_told_every_time(here: Path, run: Run, tmp_path: Path) -> None:
    shutil.copytree(here / "chips", tmp_path / "chips")
    found = chip_folder.read(tmp_path / "chips")
    path = found.path_of(found.index.chip_id[3], "s1")
    path.write_bytes(b"broken")
    for _ in range(2):
        result = run("embed", tmp_path / "chips", "-o", tmp_path / "e.h5")
        assert (result.exit_code, result.stdout) == (1, "")
        assert path.name in result.stderr
        with h5py.File(tmp_path / "e.h5") as file:
            lacking = np.isnan(file["embeddings/s1"][:]).all(axis=1)
            assert np.flatnonzero(lacking).tolist() == [3]
            assert np.isfinite(file["embeddings/fused"][:]).all()
    strict = run("embed", tmp_path / "chips", "-o", tmp_path / "strict.h5", "--strict")
    assert strict.exit_code == 1
    assert not (tmp_path / "strict.h5").exists()


def test_an_unknown_modality_names_the_nearest(here: Path, run: Run, tmp_path: Path) -> None:
    result = run("embed", "--modalities", "cho", "-o", tmp_path / "e.h5")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "coh" in result.stderr


def test_the_model_can_come_from_stdin(here: Path, run: Run, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from geoembed.cli import app

    result = CliRunner().invoke(app, ["embed", "--model", "-", "-o", str(tmp_path / "e.h5")], input="model\n")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'e.h5'}\n"), result.stderr
