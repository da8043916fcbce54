"""Model folders."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from geoembed.chips.batches import Statistics
from geoembed.errors import ModelError
from geoembed.learning import checkpoint
from geoembed.learning.checkpoint import Description
from geoembed.learning.model import ModelConfig

CONFIG = ModelConfig({"s2": ("jja_red", "jja_green")}, patch=4, width=16, depth=1, heads=2)
DESCRIBED = Description(CONFIG, Statistics({"s2": (0.1, 0.2)}, {"s2": (0.3, 0.4)}), {"seed": 3}, {"chips": "abc"})
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trained = checkpoint.build(CONFIG, seed=9)
    checkpoint.write_config(tmp_path, DESCRIBED)
    checkpoint.write_weights(tmp_path, trained, DESCRIBED)
    return tmp_path


def test_a_model_is_read_as_it_was_written(folder: Path) -> None:
    model_read = checkpoint.read(folder, device=CPU)
    assert model_read.described == DESCRIBED
    expected = checkpoint.build(CONFIG, seed=9).state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in model_read.model.state_dict().items())
    assert model_read.digest == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert checkpoint.read(folder / "weights.safetensors", device=CPU).digest == model_read.digest
    assert not model_read.model.training


def test_untrained_weights_are_those_of_the_seed(folder: Path) -> None:
    model_read = checkpoint.read(folder, device=CPU, untrained=True)
    expected = checkpoint.build(CONFIG, seed=3).state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in model_read.model.state_dict().items())
    assert model_read.digest != checkpoint.read(folder, device=CPU).digest


def test_files_that_do_not_belong_together_are_refused(folder: Path) -> None:
    value = json.loads((folder / "config.json").read_text())
    value["statistics"]["mean"]["s2"][0] = 0.5
    (folder / "config.json").write_text(json.dumps(value))
    with pytest.raises(ModelError, match=r"weights\.safetensors: does not belong to the config\.json"):
        checkpoint.read(folder, device=CPU)


def test_what_is_missing_or_broken_is_named(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ModelError, match=r"empty0: no model here; run `geoembed chip --aoi FILE`"):
        checkpoint.read(tmp_path_factory.mktemp("empty"), device=CPU)
    (folder / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"weights\.safetensors: cannot be read"):
        checkpoint.read(folder, device=CPU)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="training has not finished"):
        checkpoint.read(folder, device=CPU)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"config\.json: no model description"):
        checkpoint.read(folder, device=CPU)


def test_the_state_is_one_file(tmp_path: Path) -> None:
    assert checkpoint.read_state(tmp_path) is None
    checkpoint.write_state(tmp_path, {"model.a": torch.arange(3.0)}, {"step": 4, "losses": [0.1, float("nan")]})
    model_read = checkpoint.read_state(tmp_path)
    assert model_read is not None
    assert torch.equal(model_read[0]["model.a"], torch.arange(3.0)) and model_read[1]["step"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_remove_leaves_other_files(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    checkpoint.remove(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_weights_of_another_architecture_are_told_in_one_line(folder: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = folder / "weights.safetensors"
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    save_file({"encoders.s2.other": torch.zeros(3)}, path, header)
    with pytest.raises(ModelError, match=r"weights.safetensors: made by another version.*--overwrite"):
        checkpoint.read(folder, device=CPU)
