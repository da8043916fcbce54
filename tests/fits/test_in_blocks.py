"""Vectors that are read some rows at a time are those of the file, and damage is told in the same pass."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from geoembed.errors import EmbeddingsError
from geoembed.fits import embeddings
from geoembed.fits.embeddings import Chunk
from geoembed.ground import grid

N, D = 9000, 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Vectors of two chunks of HDF5 each block, and more than one block."""
    lattice = grid.utm(32, south=False, size=16, resolution=10)
    ids = np.array([lattice.chip_id(1500 + i % 100, 17000 + i // 100) for i in range(N)])
    vectors = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
    chunk = Chunk(np.ones((N, 1), bool), {"s2": vectors, "fused": vectors.copy()})
    embeddings.write(
        tmp_path / "e.h5", ids, np.full(N, "here"), np.full(N, "train"), grids=(lattice,), modalities=("s2",),
        blocks=[chunk], attributes={},
    )  # fmt: skip
    return tmp_path / "e.h5"


def test_they_are_the_vectors_in_order_and_are_read_whole_once(path: Path) -> None:
    file = embeddings.read(path)
    blocks = list(file.in_blocks("s2"))
    assert len(blocks) > 1 and blocks[0][1].nbytes <= 2**23
    assert [where.start for where, _ in blocks[1:]] == [where.stop for where, _ in blocks[:-1]]
    assert (np.concatenate([values for _, values in blocks]) == file.vectors("s2")).all()
    assert (np.concatenate([values for _, values in file.in_blocks("s2")]) == file.vectors("s2")).all()


def test_damage_is_told_after_the_last_block(path: Path) -> None:
    with h5py.File(path) as file:
        offset = file["embeddings/s2"].id.get_chunk_info(3).byte_offset
    with path.open("r+b") as raw:
        raw.seek(offset + 100)
        raw.write(b"\x01\x02\x03")
    seen = 0
    with pytest.raises(EmbeddingsError, match="edited or damaged: embeddings/s2 is not what its digest says"):
        for where, _ in embeddings.read(path).in_blocks("s2"):
            seen = where.stop
    assert seen == N


def test_an_unknown_name_is_told(path: Path) -> None:
    with pytest.raises(EmbeddingsError, match="has no embeddings 's9'; it holds s2, fused"):
        next(iter(embeddings.read(path).in_blocks("s9")))
