"""Chips in two areas, a model with random weights, embeddings of the chips, and labels of two tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from chip_folders import make_chips

from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Reader, Statistics
from geoembed.chips.folder import ChipSet
from geoembed.learning import checkpoint
from geoembed.learning.checkpoint import Description
from geoembed.learning.presets import PRESETS
from geoembed.steps import embed


def write_model(folder: Path, chipset: ChipSet, seed: int = 1) -> Path:
    """Write a finished model whose weights and centres are random, with the statistics of the train chips."""
    reader = Reader(chipset, chipset.channels)
    *_, statistics = batches.measure(reader, reader.rows_of("train"))
    assert isinstance(statistics, Statistics)
    described = Description(PRESETS["tiny"].config(chipset.channels, chipset.size), statistics, {"seed": 0}, {})
    model = checkpoint.build(described.model, seed)
    for encoder in model.encoders.values():
        encoder.get_buffer("centre").normal_(generator=torch.Generator().manual_seed(seed))
    checkpoint.write_config(folder, described)
    checkpoint.write_weights(folder, model, described)
    return folder


def make_embedded(folder: Path, n: int = 120, size: int = 8) -> ChipSet:
    """Write chips/, model/, e.h5, and the labels upper.csv and odd.csv, of which a sixth are wrong."""
    made = make_chips(folder / "chips", n=n, size=size, absent=0.1, clouds=0.05)
    kind = made.index["aoi"].str[-1].astype(int).to_numpy()
    index = made.index.assign(aoi=np.where(np.arange(n) % 20 < 10, "west", "east"))
    (folder / "chips" / chip_folder.INDEX).unlink()
    chip_folder.write_index(folder / "chips", index, chip_folder.read_description(folder / "chips").made_from)
    chipset = chip_folder.read(folder / "chips")
    write_model(folder / "model", chipset)
    embed.embed(folder / "chips", model=folder / "model", output=folder / "e.h5", device="cpu")
    rng = np.random.default_rng(0)
    for name, shown in (("upper", kind >= 2), ("odd", kind % 2 == 1)):
        label = (shown ^ (rng.random(n) < 1 / 6)).astype(int)
        pd.DataFrame({"chip_id": index["chip_id"], "label": label}).to_csv(folder / f"{name}.csv", index=False)
    return chipset
