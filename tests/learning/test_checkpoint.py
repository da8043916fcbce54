"""Model folders."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from geoembed.chips.batches import Statistics
from geoembed.errors import ModelError
from geoembed.learning import checkpoint
from geoembed.learning.checkpoint import Description, Run
from geoembed.learning.model import ModelConfig
from geoembed.outputs import disk, documents

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


def reseal(folder: Path, **changes: Any) -> None:
    """Change config.json as somebody would who also mends its digest."""
    documents.write(folder / "config.json", documents.load(folder / "config.json") | changes)


def test_files_that_do_not_belong_together_are_refused(folder: Path) -> None:
    reseal(folder, statistics={"mean": {"s2": [0.5, 0.2]}, "std": {"s2": [0.3, 0.4]}})
    with pytest.raises(ModelError, match=r"weights\.safetensors: does not belong to the config\.json"):
        checkpoint.read(folder, device=CPU)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model": {"of_old": 1}}, "made by another version of geoembed; pretrain it again with --overwrite"),
        ({"statistics": {"mean": {"s2": [0.5]}, "std": {"s2": [1.0]}}}, "statistics have not one mean for each"),
        ({"statistics": {"mean": {"s2": [0.5, 0.5]}, "std": {"s2": [1.0, 0.0]}}}, "statistics have a std"),
        ({"statistics": {"mean": {"s2": [0.5, 1e999]}, "std": {"s2": [1.0, 1.0]}}}, "not JSON compliant"),
        ({"training": {}}, "training.seed"),
        ({"training": {"seed": 2**64}}, "training.seed"),
        ({"made_from": 3}, "made_from 3: "),
    ],
)
def test_what_no_model_has_is_one_line(folder: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises((ModelError, ValueError), match=fault) as told:
        reseal(folder, **changes)
        checkpoint.read(folder, device=CPU)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 8192, "depth": 64, "heads": 64}, {"width": 2**40}, {"depth": 0}, {"heads": 3}, {"channels": {}},
        {"channels": {"s2": []}}, {"channels": {"../s2": ["red"]}}, {"channels": {"s2": ["re\x1bd", "b"]}},
        {"channels": {"s2": ["/vsicurl/x", "b"]}}, {"patch": -4},
    ],
)  # fmt: skip
def test_no_description_makes_a_model_beyond_bounds(folder: Path, changes: dict[str, Any]) -> None:
    reseal(folder, model=documents.load(folder / "config.json")["model"] | changes)
    with pytest.raises(ModelError, match=r"config\.json: model.*; pretrain it again with --overwrite"):
        checkpoint.read(folder, device=CPU)


def test_what_is_missing_or_broken_is_named(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ModelError, match=r"empty0: no model here; run `geoembed chip --aoi FILE`"):
        checkpoint.read(tmp_path_factory.mktemp("empty"), device=CPU)
    whole = (folder / "weights.safetensors").read_bytes()
    for broken in (
        b"nothing",
        b"",
        whole[:-1],
        b"\0" * len(whole),
        whole[:900] + bytes([whole[900] ^ 1]) + whole[901:],
    ):
        (folder / "weights.safetensors").write_bytes(broken)
        with pytest.raises(
            ModelError, match=r"weights\.safetensors: is not what config\.json says; run `geoembed pret"
        ):
            checkpoint.read(folder, device=CPU)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="training has not finished"):
        checkpoint.read(folder, device=CPU)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"config\.json: holds no JSON object; choose another folder"):
        checkpoint.read(folder, device=CPU)
    (folder / "config.json").write_bytes(b"\0" * 99)
    with pytest.raises(ModelError, match=r"config\.json: is empty.*; pretrain it again with --overwrite"):
        checkpoint.read(folder, device=CPU)


def test_the_description_names_the_files_before_the_weights_are_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert checkpoint.read_config(folder).files == {"weights.safetensors": digest}
    before = (folder / "config.json").read_bytes()
    (folder / "weights.safetensors").unlink()
    checkpoint.write_config(folder, DESCRIBED)
    monkeypatch.setattr(disk, "rename", Renames(disk.rename, "weights.safetensors").rename)
    with pytest.raises(OSError, match="no room"):
        checkpoint.write_weights(folder, checkpoint.build(CONFIG, seed=9), DESCRIBED)
    assert (folder / "config.json").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json"]


class Renames:
    """Renames files, but for one name, for which there is no room."""

    def __init__(self, rename: Callable[[Path, Path], None], but: str) -> None:
        self._rename, self._but = rename, but

    def rename(self, path: Path, to: Path) -> None:
        if to.name == self._but:
            raise OSError("no room")
        self._rename(path, to)


def test_the_state_is_one_file(tmp_path: Path) -> None:
    assert checkpoint.read_state(tmp_path) is None
    run = Run(4, 0.5, False, [0.1, float("nan")], [[1.0, None]])
    checkpoint.write_state(tmp_path, {"model.a": torch.arange(3.0), "step": torch.tensor(4.0)}, run)
    model_read = checkpoint.read_state(tmp_path)
    assert model_read is not None
    assert torch.equal(model_read[0]["model.a"], torch.arange(3.0)) and model_read[1].rows == [[1.0, None]]
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_no_damaged_state_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.write_state(tmp_path, {"model.a": torch.arange(30.0)}, Run(4, 0.5, False, [0.1], [[1.0, None]]))
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :])
        try:
            found = checkpoint.read_state(tmp_path)
        except ModelError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        else:  # a blank that pads the header became another
            assert found is not None and found[1].step == 4 and torch.equal(found[0]["model.a"], torch.arange(30.0))
    for broken in (b"", b"\0" * len(whole), whole[:-1], whole[:200]):
        path.write_bytes(broken)
        with pytest.raises(ModelError):
            checkpoint.read_state(tmp_path)


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
    reseal(folder, files=documents.of_files(folder, [path.name]))
    with pytest.raises(ModelError, match=r"weights.safetensors: made by another version.*--overwrite"):
        checkpoint.read(folder, device=CPU)
