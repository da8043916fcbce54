"""How fast `embed` is, files to file, against the bare forward pass on the same tensors in memory.

Run: PYTHONPATH=tests python tests/benchmarks/bench_embed.py. Prints, paired, the share of the bare speed left.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from pathlib import Path

import torch
from chip_folders import make_chips

from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.learning import checkpoint
from geoembed.learning.model import encode
from geoembed.steps.embed import embed
from geoembed.steps.pretrain import pretrain

ROUNDS = 3


def compare(folder: Path, preset: str, size: int, n: int) -> None:
    """Embed n chips of three modalities both ways, in turn."""
    make_chips(folder / "chips", n=n, size=size)
    pretrain(folder / "chips", output=folder / "model", preset=preset, epochs=0.01, batch_size=2, device="cpu")
    chipset = chip_folder.read(folder / "chips")
    trained = checkpoint.read(folder / "model", device=torch.device("cpu"))
    known = dict(trained.described.model.channels)
    reader = batches.Reader(chipset, known, memory=0)
    rows = range(len(chipset.index))
    size_of_batch = min(64, n)
    held = [
        reader.batch(torch.arange(i, min(i + size_of_batch, n)).numpy(), trained.described.statistics)
        for i in rows[::size_of_batch]
    ]
    shares, rates = [], []
    for turn in range(ROUNDS):
        began = time.perf_counter()
        with torch.no_grad():
            for batch in held:
                encode(trained.model, batch.values)
        bare = time.perf_counter() - began
        began = time.perf_counter()
        embed(
            folder / "chips",
            model=folder / "model",
            output=folder / f"e{turn}.h5",
            batch_size=size_of_batch,
            device="cpu",
        )
        whole = time.perf_counter() - began
        shares.append(bare / whole)
        rates.append(n / whole)
    print(
        f"{preset}, {n} chips of {size} px: {statistics.median(rates):.1f} chips/s, "
        f"{statistics.median(shares):.2f} ({min(shares):.2f}-{max(shares):.2f}) of the bare forward pass",
        flush=True,
    )


def main() -> None:
    """Compare small chips with the tiny preset and larger ones with small."""
    logging.disable(logging.WARNING)
    for preset, size, n in (("tiny", 32, 3000), ("small", 128, 400), ("small", 224, 120)):
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), preset, size, n)


if __name__ == "__main__":
    main()
