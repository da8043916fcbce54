"""Model folders: what a model is, the weights, and the state that resumes an unfinished training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoembed import __version__
from geoembed.chips.batches import Statistics
from geoembed.errors import ModelError
from geoembed.learning.model import SPACE, Model, ModelConfig
from geoembed.outputs import atomic

CONFIG, LOG, STATE, WEIGHTS = "config.json", "training.csv", "state.safetensors", "weights.safetensors"


@dataclass(frozen=True)
class Described:
    """What config.json says.

    training: the options of the training; made_from: its record; both JSON-ready.
    """

    model: ModelConfig
    statistics: Statistics
    training: dict[str, Any]
    made_from: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the description as a JSON-ready dict."""
        return {
            "geoembed_version": __version__,
            "torch_version": torch.__version__,
            "space": SPACE,
            **asdict(self),
        }


@dataclass(frozen=True)
class Trained:
    """A finished model; `digest` is the SHA-256 of its weights file, whose header repeats what the model is."""

    described: Described
    model: Model
    digest: str


def build(config: ModelConfig, seed: int) -> Model:
    """Return a model with its first, random weights; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Model(config)


def write_config(folder: Path, described: Described) -> None:
    """Write config.json, whole."""
    atomic.write_json(folder / CONFIG, described.to_json())


def read_config(folder: Path) -> Described:
    """Read config.json; raises ModelError where it is missing or not one of ours."""
    path = folder / CONFIG
    if not path.exists():
        raise ModelError(f"{path}: no model here; run geoembed pretrain -o {folder}")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        model, statistics = value["model"], value["statistics"]
        channels = {name: tuple(names) for name, names in model.pop("channels").items()}
        if set(model) != {field.name for field in fields(ModelConfig)} - {"channels"}:
            raise ModelError(f"{path}: made by another version of geoembed; run geoembed pretrain --overwrite")
        return Described(
            ModelConfig(channels=channels, **model),
            Statistics(*({name: tuple(v) for name, v in statistics[key].items()} for key in ("mean", "std"))),
            value["training"],
            value["made_from"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise ModelError(f"{path}: no model description ({told}); choose another folder or pretrain again") from None


def is_ours(folder: Path) -> bool:
    """Tell whether config.json describes a model, of whatever version of geoembed."""
    try:
        return {"geoembed_version", "model"} <= set(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return False


def write_weights(folder: Path, model: Model, described: Described) -> None:
    """Write weights.safetensors, whole; its header holds model and statistics, so that its digest covers them."""
    _save(folder / WEIGHTS, model.state_dict(), {"config": _header(described)})


def read(folder: Path, *, device: torch.device, untrained: bool = False) -> Trained:
    """Read a finished model; accepts the folder or its weights.safetensors.

    `untrained` gives the random weights that its training began with. Raises ModelError where there is no finished
    model or its files do not belong together.
    """
    folder = folder.parent if folder.name in (WEIGHTS, CONFIG) else folder
    described = read_config(folder)
    path = folder / WEIGHTS
    if not path.exists():
        raise ModelError(f"{path}: training has not finished; run geoembed pretrain -o {folder} again")
    model = build(described.model, int(described.training["seed"]))
    digest = _digest(path)
    if untrained:
        digest = hashlib.sha256(f"untrained {digest}".encode()).hexdigest()
    else:
        tensors, header = _load(path)
        if header.get("config") != _header(described):
            raise ModelError(f"{path}: does not belong to the {CONFIG} beside it; run geoembed pretrain --overwrite")
        try:
            model.load_state_dict(tensors)
        except RuntimeError:
            raise ModelError(
                f"{path}: made by another version of geoembed; run geoembed pretrain --overwrite"
            ) from None
    return Trained(described, model.to(device).eval(), digest)


def write_state(folder: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
    """Write the state of an unfinished training, whole and in one file: tensors, and JSON-ready progress."""
    _save(folder / STATE, tensors, {"progress": json.dumps(progress)})


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the state of an unfinished training; None where there is none yet. Raises ModelError when it is broken."""
    path = folder / STATE
    if not path.exists():
        return None
    tensors, header = _load(path)
    return tensors, json.loads(header["progress"])


def remove(folder: Path) -> None:
    """Delete a model's files, and nothing else, the weights first, as their presence means finished."""
    for name in (WEIGHTS, STATE, LOG, CONFIG):
        (folder / name).unlink(missing_ok=True)


def _header(described: Described) -> str:
    return json.dumps({"model": asdict(described.model), "statistics": asdict(described.statistics)}, sort_keys=True)


def _save(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    with atomic.replacing(path) as part:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part, header)


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); run geoembed pretrain --overwrite") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
