import csv
import json
from pathlib import Path

from conftest import Run


def test_it_writes_a_model(here: Path, run: Run) -> None:
    assert {"config.json", "training.csv", "weights.safetensors"} <= {one.name for one in (here / "model").iterdir()}
    with (here / "model" / "training.csv").open() as file:
        assert {"step", "loss", "learning_rate", "temperature", "chips_per_second"} <= set(next(csv.reader(file)))
    result = run("pretrain")
    assert (result.exit_code, result.stdout) == (0, "model\n"), result.stderr


def test_epochs_or_minutes(here: Path, run: Run, tmp_path: Path) -> None:
    result = run("pretrain", "--epochs", 1, "--minutes", 1, "-o", tmp_path / "m")
    assert result.exit_code in (1, 2)
    assert "minutes" in result.stderr


def test_options_reach_the_training(here: Path, run: Run, tmp_path: Path) -> None:
    words = ("--epochs", 0.1, "--batch-size", 8, "--drop-channels", 0.25, "--transductive", "-o", tmp_path / "m")
    assert run("pretrain", *words).exit_code == 0
    training = json.loads((tmp_path / "m" / "config.json").read_text())["training"]
    assert (training["drop_channels"], training["transductive"]) == (0.25, True)


def test_missing_chips_say_what_to_run(here: Path, run: Run, tmp_path: Path) -> None:
    result = run("pretrain", tmp_path / "none", "-o", tmp_path / "m")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no chips here; name a folder that has them, such as chips\n" in result.stderr
