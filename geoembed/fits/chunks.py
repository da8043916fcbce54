"""Chunks: an unfinished embeddings file, in a folder beside it that holds a journal and a file per finished chunk."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoembed.fits.embeddings import Chunk
from geoembed.outputs import atomic


@dataclass(frozen=True)
class Chunks:
    """The chunks of an unfinished embeddings file; those count that the journal names.

    folder: where they lie.
    """

    folder: Path

    @property
    def journal(self) -> Path:
        """Return the path of the journal."""
        return self.folder / "journal.jsonl"

    def path_of(self, start: int, stop: int) -> Path:
        """Return the path of the chunk of rows start to stop."""
        return self.folder / f"{start:09d}-{stop:09d}.npz"

    def finished(self, lines: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
        """Return first row and end of the journal's chunks that follow each other from row 0; delete all others."""
        rows: list[tuple[int, int]] = []
        for line in lines:
            start, stop = line["rows"]
            if start == (rows[-1][1] if rows else 0) and self.path_of(start, stop).exists():
                rows.append((start, stop))
        for path in set(self.folder.glob("*-*.npz")) - {self.path_of(*pair) for pair in rows}:
            path.unlink()
        return rows

    def write(self, start: int, stop: int, parts: list[Chunk]) -> None:
        """Write the embeddings of rows start to stop, whole."""
        names = parts[0].vectors
        arrays: dict[str, Any] = {name: np.concatenate([part.vectors[name] for part in parts]) for name in names}
        arrays["_present"] = np.concatenate([part.present for part in parts])
        arrays["_broken"] = np.concatenate([part.broken for part in parts])
        with atomic.replacing(self.path_of(start, stop)) as part, part.open("wb") as file:
            np.savez(file, **arrays)

    def read(self, start: int, stop: int) -> Chunk:
        """Read the embeddings of rows start to stop."""
        with np.load(self.path_of(start, stop), allow_pickle=False) as arrays:
            vectors = {name: arrays[name] for name in arrays.files if not name.startswith("_")}
            return Chunk(arrays["_present"], vectors, arrays["_broken"])

    @contextmanager
    def tidied(self) -> Iterator[None]:
        """Delete the folder at the end where it is empty, as work ended before the first chunk."""
        try:
            yield
        finally:
            with suppress(OSError):  # it holds chunks, for a run that goes on, or is gone
                self.folder.rmdir()

    def remove(self) -> None:
        """Delete the folder: the journal first, so that a kill in between leaves no chunk that counts."""
        if self.folder.exists():
            self.journal.unlink(missing_ok=True)
            atomic.sweep(self.folder)
            self.finished([])
            self.folder.rmdir()


def beside(output: Path) -> Chunks:
    """Return the chunks of an embeddings file that is to be."""
    return Chunks(output.with_name(f".{output.name}.blocks"))
