"""How fast `pretrain` is, files to weights, against the bare step on batches in memory; and what dropping tokens gains.

Run: PYTHONPATH=tests python tests/benchmarks/bench_train.py. Prints, paired, the share of the bare speed that training
keeps, and how much faster steps are that keep a quarter of the patches than steps that keep all.
"""

from __future__ import annotations

import csv
import logging
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from chip_folders import make_chips

from geoembed.chips import batches
from geoembed.chips.batches import Batch
from geoembed.imagery.modalities import BUILT_IN
from geoembed.learning import checkpoint, training, views
from geoembed.learning.model import Model
from geoembed.learning.presets import PRESETS
from geoembed.steps.pretrain import pretrain

ROUNDS = 3


def steps(model: Model, held: list[Batch], n: int, keep_tokens: float) -> float:
    """Train n steps on batches in memory; return chips per second."""
    optimiser = training.optimiser(model, 1e-4)
    began, seen = time.perf_counter(), 0
    for step in range(n):
        batch = held[step % len(held)]
        value = training.batch_loss(model, batch, keep_tokens, training.generator(0, step))
        assert value is not None
        training.update(model, optimiser, value, 1e-4)
        seen += len(batch.rows)
    return seen / (time.perf_counter() - began)


def compare(folder: Path, preset: str, size: int, n: int, batch_size: int, epochs: float) -> None:
    """Train on n chips of two modalities both ways, in turn."""
    chipset = make_chips(folder / "chips", n=n, size=size)
    keep, shares, rates = PRESETS[preset].keep_tokens, [], []
    for turn in range(ROUNDS):
        model = folder / f"model{turn}"
        pretrain(folder / "chips", output=model, preset=preset, epochs=epochs, batch_size=batch_size, device="cpu")
        rows = list(csv.DictReader((model / "training.csv").open()))
        first, last = rows[0], rows[-1]
        taken = float(last["seconds"]) - float(first["seconds"])
        rate = batch_size * (int(last["step"]) - int(first["step"])) / taken
        trained = checkpoint.read(model, device=torch.device("cpu"))
        reader = batches.Reader(chipset, dict(trained.described.model.channels))
        train = reader.rows_of("train")
        order = training.order(train, batch_size, 0, 0)
        held = [reader.batch(next(order), trained.described.statistics) for _ in range(len(train) // batch_size)]
        bare = steps(trained.model.train(), held, int(last["step"]) // 2, keep)
        shares.append(rate / bare)
        rates.append(rate)
    print(
        f"{preset}, {n} chips of {size} px, batch {batch_size}: {statistics.median(rates):.1f} chips/s, "
        f"{statistics.median(shares):.2f} ({min(shares):.2f}-{max(shares):.2f}) of the bare step",
        flush=True,
    )


def drop(preset: str, size: int, batch_size: int, n: int) -> None:
    """Compare steps that keep a quarter of the patches of uncropped chips with steps that keep all, on noise."""
    model = checkpoint.build(PRESETS[preset].config({one.name: one.channels for one in BUILT_IN}, size), seed=0)
    values = {one.name: torch.randn(batch_size, len(one.channels), size, size) for one in BUILT_IN}
    present = {one.name: torch.ones(batch_size, dtype=torch.bool) for one in BUILT_IN}
    held = [Batch(np.arange(batch_size), values, present, ())]
    views.SMALLEST_CROP = 1.0
    ratios = [steps(model, held, n, 0.25) / steps(model, held, n, 1.0) for _ in range(ROUNDS)]
    print(f"{preset}, {size} px, batch {batch_size}: a quarter of the patches trains {statistics.median(ratios):.2f} x "
          f"({min(ratios):.2f}-{max(ratios):.2f}) as fast as all", flush=True)  # fmt: skip


def main() -> None:
    """Compare small and large chips."""
    logging.disable(logging.WARNING)
    for preset, size, n, batch_size, epochs in (
        ("tiny", 32, 1600, 64, 20),
        ("tiny", 128, 400, 64, 40),
        ("small", 128, 200, 32, 10),
    ):
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), preset, size, n, batch_size, epochs)
    for preset, size, batch_size, n in (("tiny", 64, 64, 6), ("small", 224, 8, 2)):
        drop(preset, size, batch_size, n)


if __name__ == "__main__":
    main()
