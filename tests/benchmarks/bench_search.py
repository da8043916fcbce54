"""How fast `search` is at a million chips, against the bare matrix product; and how well it finds, by its direction.

Run: PYTHONPATH=tests python tests/benchmarks/bench_search.py [EMBEDDINGS LABELS...]. Prints seconds of the comparison
alone, of the pass that also compares the file with its digest, and of the whole command, ratios to the matrix product
of the same rows in memory, and peak memory. With embeddings and label files of 0 and 1, prints the precision of the 100
nearest by the mean of the examples, by the difference of means, and by the ridge direction.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import geopandas
import numpy as np
from numpy.typing import NDArray

from geoembed.fits import embeddings
from geoembed.fits.embeddings import Chunk, Embeddings
from geoembed.ground import grid
from geoembed.retrieval import direction
from geoembed.retrieval.ranking import Nearest, Ranked
from geoembed.steps.search import search

N, D, FOUND, SIDE = 1_000_000, 256, 100, 1000
DRAWS = 25
ASKED = ((1, 1), (1, 3), (3, 1), (3, 3), (3, 10), (10, 3), (10, 10))
"""Numbers of examples and of counterexamples."""


def write(path: Path) -> None:
    """Write a million unit vectors of noise."""
    lattice = grid.utm(32, south=False, size=16, resolution=10)
    ids = np.array([lattice.chip_id(1500 + i % SIDE, 17000 + i // SIDE) for i in range(N)])

    def blocks() -> Iterator[Chunk]:
        rng = np.random.default_rng(0)
        for part in embeddings.slices(N, 8192):
            x = rng.standard_normal((part.stop - part.start, D), dtype=np.float32)
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            yield Chunk(np.ones((len(x), 1), bool), {"s2": x[:, :8], "fused": x})

    columns = ids, np.full(N, "here"), np.full(N, "train")
    embeddings.write(path, *columns, grids=(lattice,), modalities=("s2",), blocks=blocks(), attributes={})


def rank(file: Embeddings, way: NDArray[np.float64]) -> Ranked:
    """Rank all rows of a file."""
    nearest, nothing = Nearest(way, FOUND), np.zeros(len(file), bool)
    for where, vectors in file.in_blocks("fused"):
        nearest.add(where.start, vectors, nothing[where])
    return nearest.ranked


def speed(folder: Path) -> None:
    """Time a search of a million chips in its parts."""
    path = folder / "e.h5"
    write(path)
    way = np.random.default_rng(1).standard_normal(D)
    seconds: dict[str, tuple[float, float]] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began, busy = time.perf_counter(), time.process_time()
        yield
        seconds[name] = time.perf_counter() - began, time.process_time() - busy

    with timed("read and check rows"):
        file = embeddings.read(path)
    for name in ("compare, with digest", "compare"):  # a second pass needs no digest
        with timed(name):
            ranked = rank(file, way)
    tracemalloc.start()
    rank(file, way)
    held = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    with timed("the whole command"):
        search(path, like=str(file.chip_id[0]), output=folder / "similar.gpkg")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    X = file.vectors("fused")
    single = (way / np.linalg.norm(way)).astype(np.float32)
    with timed("bare"):
        cosines = X @ single
    bare, _ = seconds.pop("bare")
    assert ranked.rows[:10].tolist() == np.argsort(-cosines, kind="stable")[:10].tolist()
    for name, (value, busy) in seconds.items():
        print(f"{name}: {value:.2f} s ({busy:.2f} s of processors), {value / bare:.1f} times the bare matrix product")
    print(f"bare matrix product in memory: {bare:.3f} s")
    print(f"{N:,} x {D}: a pass holds {held:.0f} MiB; peak of the process {peak:.2f} GiB, of {X.nbytes / 2**30:.2f}")


def quality(path: Path, labels: list[Path]) -> None:
    """Print the mean precision of the nearest 100, with counterexamples drawn at random and among what was wrong."""
    file = embeddings.read(path)
    X = file.vectors("fused")
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    for hard in (False, True):
        for examples, others in ASKED:
            scores: dict[str, list[float]] = {}
            for labelled in labels:
                table = geopandas.read_file(labelled).set_index("chip_id")["label"]
                y = table.reindex(file.chip_id).fillna(0).to_numpy(int)
                for draw in range(DRAWS):
                    rng = np.random.default_rng([draw, examples, others])
                    up = rng.choice(np.flatnonzero(y == 1), examples, replace=False)
                    begun = direction.mean(X[up])
                    order = np.argsort(-(unit @ begun))
                    order = order[~np.isin(order, up)]
                    wrong = order[:300][y[order[:300]] == 0][: 2 * others] if hard else np.flatnonzero(y == 0)
                    if len(wrong) < others:
                        continue
                    down = rng.choice(wrong, others, replace=False)
                    ways = {"mean": begun, "difference": begun - direction.mean(X[down])}
                    ways["ridge"] = direction.ridge(X[up], X[down], X)
                    for name, way in ways.items():
                        nearest = np.argsort(-(unit @ way))
                        nearest = nearest[~np.isin(nearest, [*up, *down])][:FOUND]
                        scores.setdefault(name, []).append(float(y[nearest].mean()))
            told = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in scores.items())
            print(f"{examples} like, {others} not ({'wrong ones found' if hard else 'at random'}): {told}", flush=True)


def main() -> None:
    """Time, and measure where embeddings and labels are given."""
    if sys.argv[1:]:
        quality(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
        return
    with tempfile.TemporaryDirectory() as folder:
        speed(Path(folder))


if __name__ == "__main__":
    main()
