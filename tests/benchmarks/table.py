"""How embeddings compare with chip statistics and with an encoder that was never trained: the learning-curve table.

Run: python tests/benchmarks/table.py FOLDER TASK..., FOLDER holding chips/, model/, embeddings.h5, labels/TASK.gpkg.
Prints mean balanced accuracy on test chips, all areas pooled, per task and features, with 95 % intervals over draws.
"""

from __future__ import annotations

import csv
import logging
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

from geoembed import chips, embeddings
from geoembed.embed import embed
from geoembed.evaluate import evaluate
from geoembed.steps import finish

PERCENTILES = (5, 25, 50, 75, 95)
SIZES = ("10", "30", "100", "300", "500", "all")
REPEATS = 10


def summary(chipset: chips.ChipSet, modality: str) -> np.ndarray:
    """Mean, standard deviation and percentiles of every channel, (N, 7 C); NaN rows where a chip lacks the modality."""
    channels = chipset.channels[modality]
    rows = np.full((len(chipset.index), len(channels), 2 + len(PERCENTILES)), np.nan, dtype=np.float32)
    for i, (chip_id, fraction) in enumerate(zip(chipset.index.chip_id, chipset.index[modality], strict=True)):
        if np.isnan(fraction):
            continue
        chip = chips.read_chip(chipset.path_of(chip_id, modality))
        for name, values in zip(chip.channels, chip.values, strict=True):
            valid = values[np.isfinite(values)]
            figures = [valid.mean(), valid.std(), *np.percentile(valid, PERCENTILES)]
            rows[i, channels.index(name)] = figures
    flat = rows.reshape(len(rows), -1)
    train = (chipset.index.split == "train").to_numpy()
    absent = np.isnan(flat).all(axis=1)
    middle, spread = np.nanmean(flat[train], axis=0), np.nanstd(flat[train], axis=0) + 1e-9
    flat = np.nan_to_num((flat - middle) / spread, nan=0.0)
    flat[absent] = np.nan
    return flat


def write_statistics(chipset: chips.ChipSet, output: Path) -> None:
    """Write chip statistics as an embeddings file; fused is all modalities side by side."""
    vectors = {name: summary(chipset, name) for name in chipset.modalities}
    present = np.stack([~np.isnan(one).all(axis=1) for one in vectors.values()], axis=1)
    vectors["fused"] = np.nan_to_num(np.concatenate(list(vectors.values()), axis=1))
    index = chipset.index
    embeddings.write(
        output, index.chip_id.to_numpy(), index.aoi.to_numpy(), index.split.to_numpy(), grids=chipset.grids,
        modalities=chipset.modalities, blocks=[embeddings.Block(present, vectors)],
        attributes={"model_sha256": "chip statistics", "model_config": {}, "channels": chipset.channels,
                    "space": "chip statistics", "made_from": {}},
    )  # fmt: skip


def scores(folder: Path, source: Path, labels: tuple[Path, ...], output: Path) -> dict[tuple[str, str, str], str]:
    """Evaluate; return mean and interval per task, features and size."""
    finish(evaluate(source, labels, output, sizes=SIZES, repeats=REPEATS, overwrite=True))
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    most: dict[tuple[str, str], int] = defaultdict(int)
    with (output / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["aoi"] == "all" and row["metric"] == "balanced_accuracy"]
    for row in rows:
        most[row["task"], row["features"]] = max(most[row["task"], row["features"]], int(row["n"]))
    for row in rows:
        size = "all" if int(row["n"]) == most[row["task"], row["features"]] else row["n"]
        found[row["task"], row["features"], size].append(float(row["value"]))
    told = {}
    for key, values in found.items():
        half = 0.0
        if len(values) > 1:
            half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
        told[key] = f"{statistics.mean(values):.3f}" + (f" +-{half:.3f}" if half else "       ")
    return told


def main() -> None:
    """Compare three kinds of features on the same labels and draws."""
    logging.disable(logging.WARNING)
    folder, tasks = Path(sys.argv[1]), sys.argv[2:]
    labels = tuple(folder / "labels" / f"{task}.gpkg" for task in tasks)
    chipset = chips.read(folder / "chips")
    compared = folder / "compared"
    compared.mkdir(exist_ok=True)
    write_statistics(chipset, compared / "statistics.h5")
    finish(embed(folder / "chips", folder / "model", compared / "untrained.h5", untrained=True, overwrite=True))
    sources = {
        "embeddings": folder / "embeddings.h5",
        "statistics": compared / "statistics.h5",
        "untrained": compared / "untrained.h5",
    }
    told = {name: scores(folder, path, labels, compared / name) for name, path in sources.items()}
    sizes = [size for size in SIZES if any(key[2] == size for one in told.values() for key in one)]
    print(f"{'task':11}{'features':9}{'from':11}" + "".join(f"{size:>15}" for size in sizes))
    for task in tasks:
        for feature in (*chipset.modalities, "fused", "concat"):
            for name, one in told.items():
                cells = "".join(f"{one.get((task, feature, size), ''):>15}" for size in sizes)
                print(f"{task:11}{feature:9}{name:11}{cells}")


if __name__ == "__main__":
    main()
