"""Inventory of model folders."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from geoembed.errors import GeoembedError
from geoembed.inventory import facts
from geoembed.inventory.facts import Facts, Rows
from geoembed.learning import checkpoint
from geoembed.learning.checkpoint import Description
from geoembed.learning.model import Model
from geoembed.outputs import documents
from geoembed.outputs.records import Record
from geoembed.project import kinds, remedies
from geoembed.project.kinds import Kind


def of_folder(path: Path, *, verify: bool) -> Facts:
    """Tell of a model folder; raises GeoembedError where its description cannot be used."""
    folder = path if path.is_dir() else path.parent
    described = checkpoint.read_config(folder)
    record = Record.from_json(described.made_from)
    version = documents.load(folder / checkpoint.CONFIG).get("geoembed_version")
    about = {**_about(described), **facts.of_record(record, version)}
    tables = {"bands": _bands(described)}
    if not kinds.is_finished(folder, Kind.MODEL):
        again = remedies.again(described.made_from, folder)
        return Facts("an unfinished model folder", checkpoint.CONFIG, {"next": again, **about}, tables)
    about |= {**_trained(folder), "sha256": described.files.get(checkpoint.WEIGHTS)}
    faults = []
    try:
        checkpoint.require_intact(folder, described)
        if verify:
            checkpoint.read(folder, device=torch.device("cpu"))
    except GeoembedError as error:
        faults.append(str(error))
    for file in checkpoint.damaged(folder, described):
        if file.name != checkpoint.WEIGHTS:
            again = remedies.again(described.made_from, folder)
            faults.append(f"{file}: missing or damaged; run {again}, which trains it again")
    read = "all files, and the model that they make" if verify else "all files, --verify makes a model of them"
    return Facts(Kind.MODEL.value, read, about, tables, tuple(faults))


def _about(described: Description) -> dict[str, Any]:
    model = described.model
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in Model(model).parameters())
    return {
        "modalities": {name: len(channels) for name, channels in model.channels.items()},
        "parameters": parameters,
        "dimensions": model.space,
        "encoders": f"width {model.width}, depth {model.depth}, patches of {model.patch} pixels",
        "transductive": bool(described.training.get("transductive")),
    }


def _trained(folder: Path) -> dict[str, Any]:
    """Return what the last line of training.csv says."""
    try:
        last = pd.read_csv(folder / checkpoint.LOG).tail(1)
        shown = [name for name in ("step", "epoch", "seconds", "loss", "retrieval_at_1") if last[name].notna().any()]
        return {"trained": {name: round(float(last[name].iloc[0]), 4) for name in shown}}
    except (OSError, ValueError, KeyError):  # a damaged file is a fault, told elsewhere
        return {}


def _bands(described: Description) -> Rows:
    statistics = described.statistics
    return [
        {"modality": name, "channel": channel, "mean": round(mean, 6), "deviation": round(deviation, 6)}
        for name, channels in described.model.channels.items()
        for channel, mean, deviation in zip(channels, statistics.mean[name], statistics.std[name], strict=True)
    ]
