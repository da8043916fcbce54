"""What a training step of the base preset costs: batch 2, a quarter of the patches, 448 pixels, all 36 channels.

Run: python tests/benchmarks/bench_base.py. Prints parameters, seconds a step, and the process's peak memory.
"""

from __future__ import annotations

import resource
import statistics
import time

import numpy as np
import torch

from geoembed.chips.batches import Batch
from geoembed.imagery.modalities import BUILT_IN
from geoembed.learning import checkpoint, training
from geoembed.learning.presets import PRESETS

SIZE, BATCH, STEPS = 448, 2, 4


def main() -> None:
    """Train a few steps on noise; the first is not counted."""
    preset = PRESETS["base"]
    model = checkpoint.build(preset.config({one.name: one.channels for one in BUILT_IN}, SIZE), seed=0)
    optimiser = training.optimiser(model, preset.lr)
    values = {one.name: torch.randn(BATCH, len(one.channels), SIZE, SIZE) for one in BUILT_IN}
    present = {one.name: torch.ones(BATCH, dtype=torch.bool) for one in BUILT_IN}
    batch = Batch(np.arange(BATCH), values, present, ())
    seconds = []
    for step in range(STEPS):
        began = time.perf_counter()
        value = training.batch_loss(model, batch, preset.keep_tokens, training.generator(0, step))
        assert value is not None
        training.update(model, optimiser, value, preset.lr)
        seconds.append(time.perf_counter() - began)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = statistics.median(seconds[1:])
    print(f"base: {millions:.1f} million parameters, {told:.1f} s a step at batch {BATCH}, peak {peak:.1f} GiB")


if __name__ == "__main__":
    main()
