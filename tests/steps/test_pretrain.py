"""The step that pretrains: files, re-runs, kills and complaints."""

import csv
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chip_folders import make_chips
from damages import DAMAGES, damage
from safetensors.torch import load_file

from geoembed.chips import folder as chip_folder
from geoembed.chips.folder import Contained
from geoembed.errors import ChipError, ConfigError, GeoembedError, ModelError, StaleError
from geoembed.learning import checkpoint, sessions, training
from geoembed.learning.sessions import COLUMNS
from geoembed.outputs import documents
from geoembed.steps import pretrain

SMALL: dict[str, Any] = {"batch_size": 12, "device": "cpu"}


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrain") / "chips"
    make_chips(folder, n=60, absent=0.1, clouds=0.05)
    return folder


@pytest.fixture(scope="module")
def model(chips: Path) -> Path:
    """A model of four epochs that was never killed."""
    output = chips.parent / "model"
    pretrain.pretrain(chips, output=output, epochs=4, **SMALL)
    return output


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "training.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_model_folder_holds_what_it_should(chips: Path, model: Path) -> None:
    assert sorted(path.name for path in model.iterdir()) == ["config.json", "training.csv", "weights.safetensors"]
    config = json.loads((model / "config.json").read_text())
    assert config["model"]["channels"]["s1"] == ["djf_vv", "djf_vh", "jja_vv", "jja_vh"]
    assert 0.1 < config["statistics"]["mean"]["s2"][0] < 0.3 and config["training"]["epochs"] == 4
    outcomes = rows(model)
    assert [row["step"] for row in outcomes] == ["3", "6", "9", "12"]
    assert list(outcomes[0]) == [*COLUMNS, "effective_rank_s2", "effective_rank_s1"]
    health = {"retrieval_at_1", "effective_rank", "effective_rank_s2", "effective_rank_s1"}
    assert all(float(value) >= 0 for row in outcomes for key, value in row.items() if value or key not in health)
    # Looking at 8 validation chips costs 18 steps of 12 chips of which an eighth is seen: the last row alone tells.
    assert [row["retrieval_at_1"] != "" for row in outcomes] == [False, False, False, True]
    checkpoint.read(model, device=torch.device("cpu"))


def test_progress_counts_epochs(chips: Path, tmp_path: Path) -> None:
    reports = list(pretrain.pretrain.steps(chips, output=tmp_path / "model", epochs=1, **SMALL))
    assert reports[-1].unit == "epochs" and reports[-1].done == reports[-1].total == 1 and "loss" in reports[-1].note


def test_finished_work_is_kept_and_its_time_renewed(chips: Path, model: Path) -> None:
    weights = model / "weights.safetensors"
    before = weights.read_bytes()
    os.utime(weights, (1, 1))
    outcome = pretrain.pretrain(chips, output=model, epochs=4, **SMALL)
    assert (outcome.paths, outcome.counts) == ((model,), {"kept": 1})
    assert weights.read_bytes() == before and weights.stat().st_mtime > 1e9


def test_other_options_are_refused_and_overwrite_keeps_other_files(chips: Path, tmp_path: Path) -> None:
    output = tmp_path / "model"
    pretrain.pretrain(chips, output=output, epochs=1, **SMALL)
    (output / "notes.txt").write_text("mine")
    with pytest.raises(StaleError, match=r"epochs was 1.0, now 2.0"):
        pretrain.pretrain(chips, output=output, epochs=2, **SMALL)
    with pytest.raises(ConfigError):
        pretrain.pretrain(chips, output=output, modalities=("s9",), overwrite=True)
    assert (output / "weights.safetensors").exists()
    pretrain.pretrain(chips, output=output, epochs=2, overwrite=True, **SMALL)
    assert len(rows(output)) == 2 and (output / "notes.txt").read_text() == "mine"


CODE = """
import sys
from geoembed.learning import sessions
from geoembed.steps import pretrain
sessions.SAVE_SECONDS = 0.0
for progress in pretrain.pretrain.steps(sys.argv[1], output=sys.argv[2], epochs=4, batch_size=12, device="cpu"):
    print(progress.done, flush=True)
"""


def same_weights(*models: Path) -> bool:
    """Whether models hold the same bits."""
    first, second = (load_file(model / "weights.safetensors") for model in models)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_killed_twice_it_ends_with_the_same_weights_and_rows(chips: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "model"
    for lines in (5, 4):
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(chips), str(output)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        process.wait()
        assert not (output / "weights.safetensors").exists()
    state = checkpoint.read_state(output)
    assert state is not None and state[1].step > 3
    before = rows(output)
    pretrain.pretrain(chips, output=output, epochs=4, **SMALL)
    assert rows(output)[: len(before)] == before
    assert [row["step"] for row in rows(output)] == ["3", "6", "9", "12"]
    assert same_weights(model, output)
    assert sorted(path.name for path in output.iterdir()) == ["config.json", "training.csv", "weights.safetensors"]


COMMAND = """
import os, sys, threading, time
from geoembed.__main__ import main
from geoembed.learning import sessions
sessions.SAVE_SECONDS, number, wait = float(sys.argv.pop(1)), int(sys.argv.pop(1)), float(sys.argv.pop(1))
steps, wait = divmod(wait, 1)
def interrupt():
    print(time.monotonic(), flush=True)
    os.kill(os.getpid(), number)
step = sessions.Session._step
def timed(*arguments):
    global steps
    steps -= 1
    if steps == 0:
        threading.Timer(0.03 * wait, interrupt).start()
    return step(*arguments)
sessions.Session._step = timed
main()
"""


@pytest.mark.parametrize("save_seconds", [0.0, 45.0], ids=["while the state is written", "long before it is due"])
def test_interrupted_at_any_moment_it_keeps_every_step(
    chips: Path, model: Path, tmp_path: Path, save_seconds: float
) -> None:
    """The status is the signal's, the message says what is kept, and the end is that of a training left alone."""
    output, held = tmp_path / "model", 0
    words = ["pretrain", chips, "-o", output, "--epochs", 4, "--batch-size", 12, "--device", "cpu"]
    waits = np.random.default_rng().uniform(1.0, 4.0, 2)  # in steps; another moment whenever this runs
    for number, wait, fault in zip((signal.SIGINT, signal.SIGTERM), waits, ("interrupted", "terminated"), strict=True):
        command = [sys.executable, "-c", COMMAND, save_seconds, int(number), wait, *words]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 128 + number and "Traceback" not in done.stderr, (wait, done.stderr)
        assert time.monotonic() - float(done.stdout) < 10.0  # two seconds where nobody else wants the processor
        state = checkpoint.read_state(output)
        assert state is not None and state[1].step > held
        held = state[1].step
        said = f"geoembed: {fault} at {held / 3:.1f} of 4 epochs; {output} keeps the training up to step {held}, "
        assert f"{said}{100 * held / 12:.0f} % of it; run the same command again to go on\n" in done.stderr, wait
    pretrain.pretrain(chips, output=output, epochs=4, **SMALL)
    assert [row["step"] for row in rows(output)] == ["3", "6", "9", "12"]
    assert same_weights(model, output), waits


def test_minutes_count_the_time_before_a_kill(chips: Path, tmp_path: Path) -> None:
    output = tmp_path / "model"
    steps = pretrain.pretrain.steps(chips, output=output, minutes=0.05, **SMALL)
    for progress in steps:
        if progress.unit == "minutes":
            break
    steps.close()
    described = checkpoint.read_config(output)
    model = checkpoint.build(described.model, 0)
    checkpoint.write_state(
        output,
        training.pack(model, training.optimiser(model, 1e-3)),
        checkpoint.Run(7, 2.9),
    )
    began = time.monotonic()
    pretrain.pretrain(chips, output=output, minutes=0.05, **SMALL)
    assert time.monotonic() - began < 2.0
    last = rows(output)[-1]
    assert int(last["step"]) >= 7 and 2.9 <= float(last["seconds"]) < 5.0


def test_one_modality_alone(chips: Path, tmp_path: Path) -> None:
    pretrain.pretrain(chips, output=tmp_path / "model", epochs=1, modalities=("s1",), **SMALL)
    (row,) = rows(tmp_path / "model")
    assert 0 <= float(row["retrieval_at_1"]) <= 1 and float(row["effective_rank_s1"]) > 1


def test_a_channel_that_no_train_chip_shows_is_left_out_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_chips(tmp_path / "chips", n=20, channels={"s2": ("jja_red", "jja_green")})
    described = chip_folder.read_description(tmp_path / "chips")
    more = Contained(("jja_red", "jja_green", "djf_red"), "reflectance")
    chip_folder.write_description(tmp_path / "chips", replace(described, modalities={"s2": more}))
    pretrain.pretrain(tmp_path / "chips", output=tmp_path / "model", epochs=1, **SMALL)
    assert "no chip to learn from has a valid pixel in djf_red" in caplog.text
    config = checkpoint.read_config(tmp_path / "model")
    assert config.model.channels == {"s2": ("jja_red", "jja_green")} and len(config.statistics.mean["s2"]) == 2


def test_no_validation_chips_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_chips(tmp_path / "chips", n=20, splits=("train", "test"))
    pretrain.pretrain(tmp_path / "chips", output=tmp_path / "model", epochs=1, batch_size=10, device="cpu")
    assert "no validation chips" in caplog.text
    (row,) = rows(tmp_path / "model")
    assert row["retrieval_at_1"] == row["effective_rank"] == "" and float(row["loss"]) > 0


def test_collapse_is_said_once(
    chips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "COLLAPSED", 1e9)
    monkeypatch.setattr(sessions, "ALARM_CHIPS", 2)
    pretrain.pretrain(chips, output=tmp_path / "model", epochs=3, **SMALL)
    assert sum(" collapse (effective rank" in line for line in caplog.messages) == 1


def test_a_loss_that_is_not_finite_stops(chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "batch_loss", lambda *_, **__: torch.tensor(float("nan")))
    with pytest.raises(ModelError, match="the loss is nan at step 0; train again with a lower --lr"):
        pretrain.pretrain(chips, output=tmp_path / "model", epochs=1, **SMALL)
    assert not (tmp_path / "model").exists()
    monkeypatch.undo()
    pretrain.pretrain(chips, output=tmp_path / "model", **{**SMALL, "epochs": 1, "lr": 1e-4})


def test_a_broken_chip_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chipset = make_chips(tmp_path / "chips", n=20)
    chipset.path_of(chipset.index["chip_id"][0], "s2").write_bytes(b"broken")
    with caplog.at_level(logging.WARNING):
        outcome = pretrain.pretrain(tmp_path / "chips", output=tmp_path / "model", epochs=1, **SMALL)
    assert outcome.counts["broken"] == 1 and sum("was changed or damaged" in line for line in caplog.messages) == 1


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"epochs": 1.0, "minutes": 1.0}, "epochs and minutes exclude each other"),
        ({"preset": "huge"}, "preset 'huge': input should be 'tiny', 'small' or 'base'"),
        ({"batch_size": 1}, "batch_size 1: input should be greater than or equal to 2"),
        ({"keep_tokens": 0.0}, "keep_tokens 0.0: input should be greater than 0"),
        ({"drop_channels": 1.5}, "drop_channels 1.5: input should be less than or equal to 1"),
        ({"lr": -1.0}, "lr -1.0: input should be greater than 0"),
        ({"minutes": 0.0}, "minutes 0.0: input should be greater than 0"),
        ({"modalities": ("s3",)}, "did you mean s2"),
        ({"modalities": ()}, "--modalities: names none"),
        ({"seed": -1}, "--seed: give a whole number from 0 to 18446744073709551615"),
    ],
)
def test_options_that_make_no_sense(chips: Path, tmp_path: Path, options: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        pretrain.pretrain(chips, output=tmp_path / "model", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "model").exists()


def test_transductive_learns_from_all_splits(tmp_path: Path) -> None:
    make_chips(tmp_path / "chips", n=40)  # three of five are train chips
    outcomes = {}
    for kind in (False, True):
        model = tmp_path / f"model{kind}"
        outcome = pretrain.pretrain(tmp_path / "chips", output=model, epochs=1, transductive=kind, **SMALL)
        outcomes[kind] = outcome.counts["chips"], checkpoint.read_config(model)
    assert [outcomes[kind][0] for kind in (False, True)] == [24, 40]
    assert [outcomes[kind][1].training["transductive"] for kind in (False, True)] == [False, True]
    assert outcomes[False][1].statistics != outcomes[True][1].statistics


def test_a_model_of_another_version_is_told_and_replaced(chips: Path, tmp_path: Path) -> None:
    pretrain.pretrain(chips, output=tmp_path / "model", epochs=1, **SMALL)
    path = tmp_path / "model" / "config.json"
    config = documents.load(path)
    config["model"]["space"] = 128  # as models before had it
    documents.write(path, config)
    with pytest.raises(ModelError, match="made by another version of geoembed; pretrain it again with --overwrite"):
        pretrain.pretrain(chips, output=tmp_path / "model", epochs=1, **SMALL)
    pretrain.pretrain(chips, output=tmp_path / "model", epochs=1, overwrite=True, **SMALL)
    assert "space" not in json.loads(path.read_text())["model"]


def test_too_few_train_chips(tmp_path: Path) -> None:
    make_chips(tmp_path / "chips", n=6, splits=("train", "test", "test", "test", "test", "validation"))
    with pytest.raises(ChipError, match="fewer than two chips to learn from"):
        pretrain.pretrain(tmp_path / "chips", output=tmp_path / "model")


@pytest.mark.parametrize("name", ["weights.safetensors", "training.csv", "state.safetensors"])
def test_other_peoples_files_are_not_touched(chips: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"theirs")
    with pytest.raises(GeoembedError, match="not made by geoembed"):
        pretrain.pretrain(chips, output=tmp_path, overwrite=True)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"theirs")]
    with pytest.raises(GeoembedError, match="is a file"):
        pretrain.pretrain(chips, output=tmp_path / name)


FILES = ("config.json", "training.csv", "weights.safetensors")


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_model_is_made_again(chips: Path, quick: Path, tmp_path: Path, name: str, how: str) -> None:
    output = tmp_path / "model"
    shutil.copytree(quick, output)
    damage(output / name, how)
    if name != "weights.safetensors":
        with pytest.raises(GeoembedError, match="--overwrite"):
            pretrain.pretrain(chips, output=output, epochs=1, **SMALL)
        pretrain.pretrain(chips, output=output, epochs=1, overwrite=True, **SMALL)
    else:
        assert "kept" not in pretrain.pretrain(chips, output=output, epochs=1, **SMALL).counts
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    assert (output / "weights.safetensors").read_bytes() == (quick / "weights.safetensors").read_bytes()
    assert pretrain.pretrain(chips, output=output, epochs=1, **SMALL).counts == {"kept": 1}


@pytest.fixture(scope="module")
def quick(chips: Path) -> Path:
    """A model of one epoch."""
    output = chips.parent / "quick"
    pretrain.pretrain(chips, output=output, epochs=1, **SMALL)
    return output


@pytest.mark.parametrize("how", [*DAMAGES, "of another training"])
def test_a_damaged_state_gives_way(
    chips: Path, quick: Path, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "model"
    steps = pretrain.pretrain.steps(chips, output=output, epochs=1, **SMALL)
    while next(steps).unit != "epochs":
        pass
    steps.close()
    path = output / "state.safetensors"
    if how == "of another training":
        checkpoint.write_state(output, {"model.log_scale": torch.zeros(())}, checkpoint.Run(2))
    else:
        damage(path, how)
    pretrain.pretrain(chips, output=output, epochs=1, **SMALL)
    assert (output / "weights.safetensors").read_bytes() == (quick / "weights.safetensors").read_bytes()
    assert sum("starts from its first step" in line for line in caplog.messages) == (how != "deleted")
