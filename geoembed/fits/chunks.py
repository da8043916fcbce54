"""Chunks: an unfinished embeddings file, in a folder beside it that holds a journal and a file per finished chunk."""

import io
import logging
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from geoembed.errors import EmbeddingsError
from geoembed.fits.embeddings import Chunk
from geoembed.outputs import atomic, digests

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """A finished chunk, as a line of the journal has it.

    start, stop: its first row and its end.
    sha256: the digest of its file.
    """

    start: Annotated[int, Field(ge=0, lt=10**9)]
    stop: Annotated[int, Field(gt=0, le=10**9)]
    sha256: str


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

    def finished(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Return the journal's chunks that follow each other from row 0 and are intact; delete all others.

        One that is missing or damaged is told where no other takes its place: it and those after it are made again.
        """
        found: list[Piece] = []
        faults: dict[int, Path] = {}
        for piece in pieces:
            if piece.start != (found[-1].stop if found else 0) or piece.stop <= piece.start:
                continue
            path = self.path_of(piece.start, piece.stop)
            if path.is_file() and digests.of_bytes(path) == piece.sha256:
                found.append(piece)
            else:
                faults[piece.start] = path
        fault = faults.get(found[-1].stop if found else 0)
        if fault:
            log.warning("%s: missing or damaged; its chips, and those after them, are embedded again", fault)
        for path in set(self.folder.glob("*-*.npz")) - {self.path_of(piece.start, piece.stop) for piece in found}:
            path.unlink()
        return found

    def write(self, start: int, stop: int, parts: list[Chunk]) -> Piece:
        """Write the embeddings of rows start to stop, whole, and return what the journal says of them."""
        names = parts[0].vectors
        arrays: dict[str, Any] = {name: np.concatenate([part.vectors[name] for part in parts]) for name in names}
        arrays["_present"] = np.concatenate([part.present for part in parts])
        arrays["_broken"] = np.concatenate([part.broken for part in parts])
        data = io.BytesIO()
        np.savez(data, **arrays)
        atomic.write_bytes(self.path_of(start, stop), data.getvalue())
        return Piece(start, stop, digests.of_data(data.getvalue()))

    def read(self, piece: Piece) -> Chunk:
        """Read the embeddings of a finished chunk; raises EmbeddingsError where it is missing or damaged."""
        path = self.path_of(piece.start, piece.stop)
        try:
            data = path.read_bytes()
            if digests.of_data(data) != piece.sha256:
                raise ValueError("is not what its digest says")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                vectors = {name: arrays[name] for name in arrays.files if not name.startswith("_")}
                chunk = Chunk(arrays["_present"], vectors, arrays["_broken"])
            lengths = {len(chunk.present), *map(len, vectors.values())}
            if lengths != {piece.stop - piece.start} or chunk.broken.ndim != 2:
                raise ValueError("has not a row for each of its chips")
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise EmbeddingsError(f"{path}: cannot be read ({error}); run the same command again") from None
        return chunk

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
