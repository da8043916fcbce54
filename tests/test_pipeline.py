"""The whole job in a shell: a pipe, an interruption, and a Makefile."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from places import make_place

    make_place(tmp_path)
    return tmp_path


def shell(folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", text], cwd=folder, capture_output=True, text=True, check=False, env=ENVIRONMENT
    )


def test_paths_flow_through_a_pipe_and_a_failure_stops_it(folder: Path) -> None:
    first = shell(folder, "geoembed chip --aoi aoi.gpkg && geoembed pretrain && "
                          "geoembed label landcover.tif --class water -o water.gpkg")  # fmt: skip
    assert first.stdout.splitlines() == ["chips", "model", "water.gpkg"], first.stderr
    pipe = (
        "set -o pipefail; geoembed chip --aoi {} | geoembed embed - --modalities s1,coh "
        "| geoembed probe - --labels water.gpkg --n 50"
    )
    done = shell(folder, pipe.format("aoi.gpkg"))
    assert (done.returncode, done.stdout) == (0, "probe/water/predictions.gpkg\n"), done.stderr
    failed = shell(folder, pipe.format("typo.gpkg"))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "typo.gpkg: no such file" in failed.stderr
    assert "standard input: holds no path" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_ctrl_c_is_130_and_nothing_is_lost(folder: Path) -> None:
    assert shell(folder, "geoembed chip --aoi aoi.gpkg").returncode == 0
    process = subprocess.Popen(
        [BIN / "geoembed", "pretrain", "--epochs", "500"], cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (folder / "model" / "config.json").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    again = shell(folder, "geoembed pretrain && geoembed chip --aoi aoi.gpkg")
    assert (again.returncode, again.stdout) == (1, ""), "another number of epochs is another model"
    assert "--overwrite" in again.stderr
    again = shell(folder, "geoembed pretrain --overwrite && geoembed chip --aoi aoi.gpkg")
    assert again.stdout.splitlines() == ["model", "chips"], again.stderr
