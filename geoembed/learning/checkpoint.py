"""Model folders: the description of a model, its weights, and the state that an unfinished training resumes from."""

import dataclasses
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoembed.chips.batches import Statistics
from geoembed.errors import ModelError, of_validation
from geoembed.learning.model import SPACE, Model, ModelConfig
from geoembed.outputs import atomic, digests, documents
from geoembed.project import remedies
from geoembed.project.kinds import Kind
from geoembed.version import __version__

CONFIG, LOG, STATE, WEIGHTS = "config.json", "training.csv", "state.safetensors", "weights.safetensors"


@dataclass(frozen=True)
class Description:
    """What config.json says of a model.

    model: what is needed to build it.
    statistics: of the bands, which normalise its input.
    training: the options of the training, JSON-ready.
    made_from: the record of the model, JSON-ready.
    """

    model: ModelConfig
    statistics: Statistics
    training: dict[str, Any]
    made_from: dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """A finished model.

    described: what config.json says of it.
    model: with its weights, for inference.
    digest: SHA-256, in hexadecimal, of the weights file, whose header repeats model and statistics.
    """

    described: Description
    model: Model
    digest: str


def build(config: ModelConfig, seed: int) -> Model:
    """Return a model with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Model(config)


def write_config(folder: Path, described: Description) -> None:
    """Write config.json, whole."""
    versions = {"geoembed_version": __version__, "torch_version": torch.__version__}
    documents.write(folder / CONFIG, {**versions, "space": SPACE, **asdict(described)})


def read_config(folder: Path, chips: Path | None = None) -> Description:
    """Read config.json; raises ModelError where it is missing or does not describe a model of this version.

    chips: the folder of the chips to embed, which a message names.
    """
    path = folder / CONFIG
    if not path.exists():
        stranger = remedies.of_another_kind(folder, Kind.MODEL)
        remedy = remedies.model(Path("model") if stranger else folder, chips)
        raise ModelError(f"{folder}: {stranger or 'no model here'}; {remedy}")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        fields = {field.name for field in dataclasses.fields(ModelConfig)}
        if isinstance(value, dict) and set(value.get("model", fields)) != fields:
            raise ModelError(f"{path}: made by another version of geoembed; pretrain it again with --overwrite")
        return pydantic.TypeAdapter(Description).validate_python(value)
    except (OSError, ValueError) as error:  # pydantic's errors are ValueErrors
        fault = of_validation(error) if isinstance(error, pydantic.ValidationError) else str(error)
        raise ModelError(f"{path}: no model description ({fault}); choose another folder or pretrain again") from None


def is_ours(folder: Path) -> bool:
    """Tell whether config.json describes a model, of any version of geoembed."""
    try:
        return {"geoembed_version", "model"} <= set(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return False


def write_weights(folder: Path, model: Model, described: Description) -> None:
    """Write weights.safetensors, whole; its header holds model and statistics, so that its digest covers them too."""
    _save(folder / WEIGHTS, model.state_dict(), {"config": _header(described)})


def read(folder: Path, *, device: torch.device, untrained: bool = False, chips: Path | None = None) -> Trained:
    """Read a finished model; raises ModelError where there is none or its files do not belong together.

    folder: the folder, or a file in it.
    untrained: give the model the random weights that its training began with.
    chips: the folder of the chips to embed, which a message names.
    """
    folder = folder.parent if folder.name in (WEIGHTS, CONFIG) else folder
    described = read_config(folder, chips)
    path = folder / WEIGHTS
    if not path.exists():
        command = remedies.again(described.made_from, folder, chips)
        raise ModelError(f"{folder}: training has not finished; run {command}, which goes on")
    model = build(described.model, int(described.training["seed"]))
    digest = digests.of_bytes(path)
    if untrained:
        digest = hashlib.sha256(f"untrained {digest}".encode()).hexdigest()
    else:
        tensors, header = _load(path)
        if header.get("config") != _header(described):
            raise ModelError(f"{path}: does not belong to the {CONFIG} beside it; pretrain it again with --overwrite")
        try:
            model.load_state_dict(tensors)
        except RuntimeError:
            fault = "made by another version of geoembed; pretrain it again with --overwrite"
            raise ModelError(f"{path}: {fault}") from None
    return Trained(described, model.to(device).eval(), digest)


def check(folder: Path) -> None:
    """Raise ModelError where the weights are not whole or do not belong to config.json, without reading them all."""
    path, described = folder / WEIGHTS, read_config(folder)
    try:
        with safe_open(path, framework="pt") as file:  # which compares the file's size with its header's
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); pretrain it again with --overwrite") from None
    if header.get("config") != _header(described):
        raise ModelError(f"{path}: does not belong to the {CONFIG} beside it; pretrain it again with --overwrite")


def write_state(folder: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
    """Write the state of an unfinished training, whole: tensors and, in the same file, JSON-ready progress."""
    _save(folder / STATE, tensors, {"progress": json.dumps(progress)})


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the state of an unfinished training, None where there is none; raises ModelError where it is broken."""
    path = folder / STATE
    if not path.exists():
        return None
    tensors, header = _load(path)
    return tensors, json.loads(header["progress"])


def read_progress(folder: Path) -> dict[str, Any]:
    """Read what the state of an unfinished training holds besides tensors; empty where there is no state."""
    path = folder / STATE
    if not path.exists():
        return {}
    with safe_open(path, framework="pt") as file:
        progress: dict[str, Any] = json.loads(file.metadata()["progress"])
    return progress


def remove(folder: Path) -> None:
    """Delete a model's files, first the weights, whose presence means finished; other files stay."""
    for name in (WEIGHTS, STATE, LOG, CONFIG):
        atomic.remove(folder / name)


def _header(described: Description) -> str:
    return json.dumps({"model": asdict(described.model), "statistics": asdict(described.statistics)}, sort_keys=True)


def _save(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    with atomic.replacing(path) as part:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part, header)


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); pretrain it again with --overwrite") from None
