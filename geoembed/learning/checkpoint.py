"""Model folders: the description of a model, its weights, and the state that an unfinished training resumes from."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
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

_STATES = (b'{"__metadata__":{"progress"', b'{"__metadata__":{"sha256"')
"""How the header of a state begins, behind its length of eight bytes."""


@dataclass(frozen=True)
class Description:
    """What config.json says of a model.

    model: what is needed to build it.
    statistics: of the bands, which normalise its input.
    training: the options of the training, JSON-ready.
    made_from: the record of the model, JSON-ready.
    files: SHA-256 of the files of a finished model, by name; empty before.
    """

    model: ModelConfig
    statistics: Statistics
    training: dict[str, Any]
    made_from: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for kind, by_modality in asdict(self.statistics).items():
            if {name: len(values) for name, values in by_modality.items()} != self.model.numbers:
                raise ValueError(f"statistics have not one {kind} for each channel")
            numbers = [value for values in by_modality.values() for value in values]
            if not all(map(math.isfinite, numbers)) or (kind == "std" and min(numbers) <= 0):
                raise ValueError(f"statistics have a {kind} that no band has")


@dataclass
class Run:
    """How far a training is: what its saved state holds besides tensors.

    step: number of steps done.
    seconds: spent so far.
    alarmed: whether a collapse was reported.
    losses: of the steps since the last row.
    rows: of training.csv; None where there is no figure.
    """

    step: Annotated[int, Field(ge=0)] = 0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    alarmed: bool = False
    losses: list[float] = field(default_factory=list)
    rows: list[list[int | float | None]] = field(default_factory=list)


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
        value = documents.load(path)
        return _described(value)
    except (OSError, ValueError) as error:
        fault = error.strerror if isinstance(error, OSError) else str(error)
        remedy = "pretrain it again with --overwrite" if is_ours(folder) else "choose another folder"
        raise ModelError(f"{path}: {fault}; {remedy}") from None


def _described(value: dict[str, Any]) -> Description:
    """Return what a document says; raises ValueError where it does not describe a model of this version."""
    if isinstance(value.get("model"), dict) and set(value["model"]) != {part.name for part in fields(ModelConfig)}:
        raise ValueError("made by another version of geoembed")
    described = documents.parsed(value, Description)
    seed = described.training.get("seed")
    if not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise ValueError("training.seed: no whole number of 64 bits")
    return described


def is_ours(folder: Path) -> bool:
    """Tell whether config.json is geoembed's, of any version and in any state; if it is gone, whether all files are."""
    if (folder / CONFIG).exists():
        return documents.is_ours(folder / CONFIG)
    return all(map(is_part, (folder / name for name in (WEIGHTS, STATE, LOG) if (folder / name).exists())))


def is_part(path: Path) -> bool:
    """Tell by its first bytes whether a file is part of a model: a log, weights, or a state; or begun, thus empty."""
    with path.open("rb") as file:
        first = file.read(2**16)
    marks = (b"step,epoch,seconds,loss,",) if path.name == LOG else (b'{"__metadata__":{"config"', *_STATES)
    return atomic.is_blank(path) or first.startswith(marks) or first[8:].startswith(marks)


def write_weights(folder: Path, model: Model, described: Description) -> None:
    """Write weights.safetensors, whole, once config.json has the digests of it and of the log.

    Its header holds model and statistics, so that its digest covers them too.
    """
    with atomic.replacing(folder / WEIGHTS) as part:
        _save(part, model.state_dict(), {"config": _header(described)})
        files = documents.of_files(folder, [LOG] if (folder / LOG).exists() else [])
        write_config(folder, replace(described, files={WEIGHTS: digests.of_bytes(part), **files}))


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
    require_intact(folder, described, chips)
    model = build(described.model, int(described.training["seed"]))
    digest = described.files[WEIGHTS]
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


def require_intact(folder: Path, described: Description, chips: Path | None = None) -> None:
    """Raise ModelError where the weights are not those that config.json names."""
    if documents.damaged(folder, {WEIGHTS: described.files.get(WEIGHTS, "")}):
        command = remedies.again(described.made_from, folder, chips)
        raise ModelError(f"{folder / WEIGHTS}: is not what {CONFIG} says; run {command}, which trains it again")


def damaged(folder: Path, described: Description) -> list[Path]:
    """Return the files of a finished model that are missing, or others than config.json says."""
    return documents.damaged(folder, {WEIGHTS: "", LOG: "", **described.files})


def write_state(folder: Path, tensors: dict[str, Tensor], run: Run) -> None:
    """Write the state of an unfinished training, whole: tensors and, in the same file, how far it is."""
    progress = json.dumps(asdict(run))
    with atomic.replacing(folder / STATE) as part:
        _save(part, tensors, {"progress": progress, "sha256": _digest(tensors, progress)})


def read_state(folder: Path) -> tuple[dict[str, Tensor], Run] | None:
    """Read the state of an unfinished training, None where there is none; raises ModelError where it is damaged."""
    path = folder / STATE
    if not path.exists():
        return None
    tensors, header = _load(path)
    if header.get("sha256") != _digest(tensors, header.get("progress", "")):
        raise ModelError(f"{path}: is damaged, as its digest says; delete it")
    try:
        return tensors, TypeAdapter(Run).validate_json(header["progress"])
    except (KeyError, ValidationError) as error:
        fault = of_validation(error) if isinstance(error, ValidationError) else f"lacks {error}"
        raise ModelError(f"{path}: {fault}; delete it") from None


def remove(folder: Path) -> None:
    """Delete a model's files, first the weights, whose presence means finished; other files stay."""
    for name in (WEIGHTS, STATE, LOG, CONFIG):
        atomic.remove(folder / name)


def _header(described: Description) -> str:
    return json.dumps({"model": asdict(described.model), "statistics": asdict(described.statistics)}, sort_keys=True)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Return the SHA-256 of tensors, by name, and a text."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        numbers = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {numbers.dtype} {tuple(numbers.shape)}".encode())
        digest.update(numbers.reshape(-1).numpy().data)
    return digest.hexdigest()


def _save(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path, header)


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        fault = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{path}: cannot be read ({fault}); pretrain it again with --overwrite") from None
