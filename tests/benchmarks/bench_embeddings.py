"""Writing and reading embeddings against plain h5py, with the same chunks and no checksums, and against .npy.

Two names of 200,000 x 256 float32; ours has the rows' columns besides. Every file is synced, and read from the system's
cache. The ways take turns in one process.

Run: PYTHONPATH=tests python tests/benchmarks/bench_embeddings.py [CHIPS [FOLDER]]; without a disk's noise in /dev/shm.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from synthetic import LATTICE, ids

from geoembed.fits import embeddings
from geoembed.outputs import disk

NAMES, WIDTH, BLOCK, TURNS = ("s2", "fused"), 256, 1024, 7
Vectors = dict[str, NDArray[np.float32]]


@cache
def chip_ids(n: int) -> NDArray[np.str_]:
    return np.asarray(ids(LATTICE, 200, n // 200), np.str_)


def write_ours(path: Path, vectors: Vectors) -> None:
    """Write as `embed` does, in blocks of 16 chunks."""
    n = len(vectors["s2"])
    present = np.ones((n, 1), bool)
    blocks = (
        embeddings.Chunk(present[rows], {name: values[rows] for name, values in vectors.items()})
        for rows in embeddings.slices(n, 16 * BLOCK)
    )
    columns = chip_ids(n), np.full(n, "here"), np.full(n, "train")
    embeddings.write(path, *columns, grids=(LATTICE,), modalities=("s2",), blocks=blocks, attributes={"channels": {}})


def write_hdf5(path: Path, vectors: Vectors) -> None:
    with h5py.File(path, "w", libver="v110") as file:
        for name, values in vectors.items():
            file.create_dataset(f"embeddings/{name}", data=values, chunks=(BLOCK, WIDTH))
    disk.sync(path)


def read_hdf5(path: Path) -> Vectors:
    with h5py.File(path) as file:
        return {name: file[f"embeddings/{name}"][:] for name in NAMES}


def write_npy(path: Path, vectors: Vectors) -> None:
    for name, values in vectors.items():
        np.save(path.with_name(f"{name}.npy"), values)
        disk.sync(path.with_name(f"{name}.npy"))


def read_npy(path: Path) -> Vectors:
    return {name: np.load(path.with_name(f"{name}.npy")) for name in NAMES}


WAYS: dict[str, tuple[Callable[[Path, Vectors], None], Callable[[Path], Vectors]]] = {
    "geoembed": (write_ours, lambda path: embeddings.read(path).arrays()),
    "h5py": (write_hdf5, read_hdf5),
    ".npy": (write_npy, read_npy),
}


def main() -> None:
    """Print medians and ratios of seconds, and of processor seconds."""
    chips = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    rng = np.random.default_rng(0)
    vectors = {name: rng.standard_normal((chips, WIDTH), np.float32) for name in NAMES}
    chip_ids(chips)  # once, before anything is timed
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        for _ in range(TURNS):
            for way, (write, read) in WAYS.items():
                path = Path(folder, f"{way.strip('.')}.h5")
                path.unlink(missing_ok=True)
                for verb, call in (("write", partial(write, path, vectors)), ("read", partial(read, path))):
                    began, worked = time.perf_counter(), time.process_time()
                    found = call()
                    took = time.perf_counter() - began, time.process_time() - worked
                    times.setdefault((verb, way), []).append(took)
                    assert found is None or np.array_equal(found["s2"], vectors["s2"])
    print(f"load {os.getloadavg()[0]:.1f}; seconds, processor seconds:")
    for (verb, way), each in times.items():
        seconds, mine = np.array(each), np.array(times[verb, "geoembed"])
        wall, processor = np.median(seconds, axis=0)
        slower, dearer = np.median(mine / seconds, axis=0)
        print(f"{verb:5} {way:8} {wall:.2f} {processor:.2f}; geoembed {slower:.2f} x, processor {dearer:.2f} x")


if __name__ == "__main__":
    main()
