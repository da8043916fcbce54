"""What suggested labels are worth beside random ones, and whether wrong labels are found; on any embeddings and labels.

Rounds: without labels the centres of clusters, then those in doubt, ROUND chips a time, of the train split. Each label
file is a task with its labels as the truth; scores are of the test split, as a share of the score with all labels of
the train split, mean over tasks and draws. Wrong labels: 5 % of 500 drawn labels are turned to another class.

Run: PYTHONPATH=tests python tests/benchmarks/labelling.py EMBEDDINGS LABELS... [--draws 6]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoembed.active import suggestions, suspicion
from geoembed.fits import classifiers, draws, embeddings, features, heldout, metrics
from geoembed.fits.classifiers.protocol import BALANCED
from geoembed.fits.embeddings import Embeddings
from geoembed.labels import files, targets
from geoembed.labels.targets import Targets

SIZES, FIRST, ROUND = (20, 28, 50, 100, 200), 20, 20
WRONG, OF = 0.05, 500


def suggested(
    Z: NDArray[np.float32], task: Targets, pool: NDArray[np.int64], most: int, seed: int
) -> NDArray[np.int64]:
    """Return rows of a pool in the order in which rounds of suggestions would have them labelled."""
    learner = classifiers.named("logistic", len(task.classes))
    rows = pool[suggestions.cover(Z[pool], FIRST, seed)]
    while len(rows) < most:
        rest = np.setdiff1d(pool, rows)
        values = task.values[rows]
        if len(np.unique(values)) < 2:
            more = rest[suggestions.cover(Z[rest], ROUND, seed + len(rows))]
        else:
            p = learner.fit(Z[rows], values, len(task.classes), seed).predict(Z[rest])
            more = rest[suggestions.unsure(Z[rest], p, Z[rows], ROUND, seed + len(rows))]
        rows = np.concatenate([rows, more])
    return rows


def score(Z: NDArray[np.float32], task: Targets, rows: NDArray[np.int64], tested: NDArray[np.int64]) -> float:
    learner = classifiers.named("logistic", len(task.classes))
    p, decided = heldout.predict(learner, Z, task, rows, tested, rule=BALANCED, seed=0)
    return metrics.score(task.values[tested], p, decided, len(task.classes))["balanced_accuracy"]


def curves(file: Embeddings, Z: NDArray[np.float32], tasks: list[Targets], number: int) -> dict[str, dict[int, Any]]:
    """Return shares of the full score, (tasks, draws), by manner and number of labels."""
    found: dict[str, dict[int, Any]] = {"random": {}, "suggested": {}}
    keys = draws.keys(file.chip_id)
    for task in tasks:
        pool = np.flatnonzero(task.known & (file.split == "train"))
        tested = np.flatnonzero(task.known & (file.split == "test"))
        full = score(Z, task, pool, tested)
        print(f"{task.name}: {len(pool):,} labels score {full:.3f}", flush=True)
        for draw in range(number):
            order = draws.order(keys[pool], task.values[pool], numeric=False, seed=draw)
            for manner, rows in {
                "random": pool[order],
                "suggested": suggested(Z, task, pool, SIZES[-1], draw),
            }.items():
                for n in SIZES:
                    found[manner].setdefault(n, []).append(score(Z, task, rows[:n], tested) / full)
    return found


def wrong(file: Embeddings, Z: NDArray[np.float32], task: Targets, draw: int) -> tuple[float, float, int]:
    """Return precision and recall of the labels found wrong, and how many are found."""
    rng = np.random.default_rng(draw)
    rows = np.sort(rng.choice(np.flatnonzero(task.known), OF, replace=False))
    truth, K = task.values[rows].astype(int), len(task.classes)
    turned = rng.choice(OF, round(WRONG * OF), replace=False)
    given = task.values.copy()
    given[rows[turned]] = (truth[turned] + rng.integers(1, K, len(turned))) % K
    changed = Targets(task.name, task.column, given, task.classes)
    learner, p = classifiers.named("logistic", K), np.zeros((OF, K))
    for fold_of in heldout.partitions(file, rows, heldout.REPEATS, draw):
        for fold in range(heldout.FOLDS):
            inside = fold_of == fold
            if inside.any():
                p[inside] += heldout.predict(learner, Z, changed, rows[~inside], rows[inside], rule=BALANCED, seed=0)[0]
    found, _ = suspicion.of_classes(given[rows].astype(np.int64), p / heldout.REPEATS)
    hits = np.isin(found, turned).sum()
    return float(hits / max(len(found), 1)), float(hits / len(turned)), len(found)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("labels", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=6)
    asked = parser.parse_args()
    file = embeddings.read(asked.embeddings)
    X = features.read(file, "fused")
    Z = features.scaled(X, features.scaling(X, np.flatnonzero(file.split == "train")))
    tasks = [targets.join(files.read(path), file.chip_id, file.grids) for path in asked.labels]
    found = curves(file, Z, tasks, asked.draws)
    print("share of the full score, mean (deviation over draws)")
    print("labels     " + "".join(f"{n:>16}" for n in SIZES))
    for manner, shares in found.items():
        cells = []
        for n in SIZES:
            by_draw = np.array(shares[n]).reshape(len(tasks), asked.draws).mean(axis=0)
            cells.append(f"{by_draw.mean():.3f} ({by_draw.std():.3f})")
        print(f"{manner:<11}" + "".join(f"{cell:>16}" for cell in cells))
    print(f"{100 * WRONG:.0f} % of {OF} labels turned: precision, recall, found (mean of {asked.draws} draws)")
    for task in tasks:
        each = np.array([wrong(file, Z, task, draw) for draw in range(asked.draws)]).mean(axis=0)
        print(f"{task.name:<11}{each[0]:8.2f}{each[1]:8.2f}{each[2]:8.0f}")


if __name__ == "__main__":
    main()
