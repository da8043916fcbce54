"""Embed chips with a pretrained model."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoembed import settings
from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Batch, Reader
from geoembed.chips.folder import ChipSet
from geoembed.errors import ChipError, ConfigError, ModelError
from geoembed.fits import embeddings
from geoembed.fits.embeddings import Chunk, Embeddings
from geoembed.learning import checkpoint
from geoembed.learning.checkpoint import Trained
from geoembed.learning.model import SPACE, Model, autocast, choose_device, encode
from geoembed.outputs import atomic, journal, locks, records
from geoembed.outputs.journal import Journal
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike, Words

log = logging.getLogger(__name__)

DTYPES = ("float32", "float16")
CHUNK_SECONDS, CHUNK_CHIPS = 20.0, 4096
"""A chunk is put away when it is this old or this long, so that a kill costs little and chunks stay few."""


@dataclass(frozen=True)
class Begun:
    """An unfinished output: a folder beside it with a journal, and a file for each chunk that the journal names."""

    folder: Path

    @property
    def journal(self) -> Path:
        """Return where the journal lies."""
        return self.folder / "journal.jsonl"

    def chunk(self, start: int, stop: int) -> Path:
        """Return where the chunk of some rows lies."""
        return self.folder / f"{start:09d}-{stop:09d}.npz"

    def finished(self, lines: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
        """Return first row and end of the chunks that follow each other from row 0 on, and delete the others."""
        rows: list[tuple[int, int]] = []
        for line in lines:
            start, stop = line["rows"]
            if start == (rows[-1][1] if rows else 0) and self.chunk(start, stop).exists():
                rows.append((start, stop))
        for path in set(self.folder.glob("*-*.npz")) - {self.chunk(*pair) for pair in rows}:
            path.unlink()
        return rows

    def write(self, start: int, stop: int, parts: list[Chunk]) -> None:
        """Put the embeddings of rows start to stop away, whole."""
        arrays: dict[str, Any] = {
            name: np.concatenate([part.vectors[name] for part in parts]) for name in parts[0].vectors
        }
        arrays["_present"] = np.concatenate([part.present for part in parts])
        arrays["_broken"] = np.concatenate([part.broken for part in parts])
        with atomic.replacing(self.chunk(start, stop)) as part, part.open("wb") as file:
            np.savez(file, **arrays)

    def read(self, start: int, stop: int) -> Chunk:
        """Read a chunk that was put away."""
        with np.load(self.chunk(start, stop), allow_pickle=False) as arrays:
            vectors = {name: arrays[name] for name in arrays.files if not name.startswith("_")}
            return Chunk(arrays["_present"], vectors, arrays["_broken"])

    def remove(self) -> None:
        """Delete the folder and what geoembed made in it, the journal first: chunks count only if it names them."""
        if self.folder.exists():
            self.journal.unlink(missing_ok=True)
            atomic.sweep(self.folder)
            self.finished([])
            self.folder.rmdir()


@verb
def embed(
    chips: PathLike = "chips",
    *,
    output: PathLike = "embeddings.h5",
    model: PathLike = "model",
    modalities: Words | None = None,
    channels: Mapping[str, Words] | Sequence[str] = (),
    batch_size: int | None = None,
    dtype: str = "float32",
    device: str = "auto",
    workers: int = 2,
    strict: bool = False,
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[dict[str, NDArray[np.float32]]]:
    """Embed the chips of a folder, in the order of its index, and return the vectors (N, D) per modality and fused.

    `modalities` and `channels` (names or globs per modality, or such as `s2=jja_*`) restrict what is used. A broken
    chip file is named in a warning; its modality is absent from that chip, and ChipError is raised once the output is
    complete, or at once with `strict`. A re-run embeds chips that were mended since, and keeps the rest.

    Raises ConfigError, ChipError, ModelError (no finished model, or a modality that it does not know) and StaleError
    where `output`, or what is there of it, was made from something else.
    """
    target, path = choose_device(device), Path(output)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is not {' or '.join(DTYPES)}")
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size {batch_size} is below 1")
    chipset = chip_folder.read(Path(chips))
    trained = checkpoint.read(Path(model), device=target)
    used, unknown = _choose(chipset, trained, settings.words(modalities), settings.globs("--channels", channels))
    if unknown:
        log.warning("%d channels of the chips are left out, as the model does not know them", unknown)
    known = {name: trained.described.model.channels[name] for name in used}
    reader = Reader(chipset, known, only=used, strict=strict, memory=0)
    record = Record(
        "embed",
        inputs={"chips": chipset.digest, "model": trained.digest},
        options={"channels": used, "dtype": dtype},
    )
    counts: dict[str, int | float] = {"chips": len(reader.chip_ids), "unknown_channels": unknown}
    with locks.hold(path, folder=False):
        if _is_kept(path, record, update=update, overwrite=overwrite):
            counts |= _keep(path, reader, trained, record)
        else:
            size = batch_size or reader.batch_size(target.type)
            resumed = yield from _embed_all(path, reader, trained, record, size, workers)
            counts |= {"kept": resumed, "embedded": len(reader.chip_ids) - resumed}
        return _result(path, reader, counts)


def _choose(
    chipset: ChipSet,
    trained: Trained,
    modalities: tuple[str, ...] | None,
    globs: Mapping[str, Sequence[str]] | None,
) -> tuple[dict[str, tuple[str, ...]], int]:
    """Return per modality the channels to use, and how many channels of the chips the model does not know."""
    known = trained.described.model.channels
    both = {
        name: tuple(dict.fromkeys([*known.get(name, ()), *chipset.channels.get(name, ())]))
        for name in dict.fromkeys([*known, *chipset.channels])
    }
    wanted = batches.choose(both, modalities, globs)
    strange = [name for name in wanted if name not in known]
    if strange:
        raise ModelError(
            f"the model does not know the modality {', '.join(strange)} of {chipset.folder}; "
            f"choose --modalities among {', '.join(known)}, or pretrain with it"
        )
    there = {name: [c for c in names if c in chipset.channels.get(name, ())] for name, names in wanted.items()}
    used = {name: tuple(c for c in names if c in known[name]) for name, names in there.items()}
    unknown = sum(len(there[name]) - len(used[name]) for name in used)
    used = {name: names for name, names in used.items() if names}
    if not used:
        raise ChipError(
            f"{chipset.folder}: holds nothing of {', '.join(wanted)}; choose other --modalities or --channels"
        )
    return used, unknown


def _begun(output: Path) -> Begun:
    return Begun(output.with_name(f".{output.name}.blocks"))


def _is_kept(output: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a finished output stays; make room where it does not."""
    begun, finished = _begun(output), output.exists()

    def remove() -> None:
        output.unlink(missing_ok=True)
        begun.remove()

    found = embeddings.record_of(output) if finished else journal.record_of(begun.journal)
    atomic.sweep(output.parent, output.name)
    standing = records.settle(
        output, record, found, finished=finished, remove=remove, update=update, overwrite=overwrite
    )
    if standing is not Standing.BEGUN:
        begun.remove()
    return standing is Standing.KEPT


def _embed_all(
    output: Path, reader: Reader, trained: Trained, record: Record, batch_size: int, workers: int
) -> Generator[Progress, None, int]:
    """Embed chunk by chunk, going on where an earlier run ended, and write the output; return the rows it had done."""
    begun, total = _begun(output), len(reader.chip_ids)
    with closing(Journal(begun.journal, record)) as done:
        atomic.sweep(begun.folder)
        rows = begun.finished(done.lines)
        resumed = rows[-1][1] if rows else 0
        for start, stop, parts in _chunks(reader, trained, np.arange(resumed, total), batch_size, workers):
            if parts:
                begun.write(start, stop, parts)
                done.write({"rows": [start, stop]})
                rows.append((start, stop))
            yield Progress(stop, total, "chips")
        _write(output, reader, trained, record, (begun.read(*pair) for pair in rows))
    begun.remove()
    return resumed


def _chunks(
    reader: Reader, trained: Trained, rows: NDArray[np.int64], batch_size: int, workers: int
) -> Iterator[tuple[int, int, list[Chunk]]]:
    """Yield first row and end of what is embedded, batch by batch, and a chunk's batches where it is complete."""
    order = batches.blocks(rows, batch_size)
    parts: list[Chunk] = []
    first, began = (int(rows[0]) if len(rows) else 0), time.monotonic()
    with closing(batches.ahead(reader, trained.described.statistics, order, workers)) as source:
        for batch in source:
            parts.append(embed_batch(trained.model, batch))
            stop = int(batch.rows[-1]) + 1
            old, long = time.monotonic() - began >= CHUNK_SECONDS, stop - first >= CHUNK_CHIPS
            if old or long or stop == len(reader.chip_ids):
                yield first, stop, parts
                parts, first, began = [], stop, time.monotonic()
            else:
                yield first, stop, []


@torch.no_grad()
def embed_batch(model: Model, batch: Batch) -> Chunk:
    """Embed one batch of chips, in memory."""
    with autocast(model.log_scale.device):
        vectors = encode(model, batch.values)
    arrays = {name: values.cpu().numpy() for name, values in vectors.items()}
    present = np.stack([~np.isnan(arrays[name]).any(1) for name in batch.values], 1)
    return Chunk(present, arrays, np.array(batch.broken, dtype=np.int64).reshape(-1, 2))


def _write(output: Path, reader: Reader, trained: Trained, record: Record, blocks: Iterator[Chunk]) -> None:
    embeddings.write_of(
        output,
        reader.chipset,
        modalities=tuple(reader.channels),
        blocks=blocks,
        attributes={
            "model_sha256": trained.digest,
            "model_config": asdict(trained.described.model),
            "channels": record.options["channels"],
            "space": SPACE,
            "training": trained.described.training,
            "made_from": record.to_json(),
        },
        dtype=record.options["dtype"],
    )


def _keep(output: Path, reader: Reader, trained: Trained, record: Record) -> dict[str, int | float]:
    """Embed the chips again whose broken files were mended; return how many, and how many are as they were."""
    found = embeddings.read(output)
    mended = _mended(found, reader)
    if mended.size:
        _mend(found, mended, reader, trained, record)
    return {"kept": len(found) - len(mended), "embedded": len(mended)}


def _mended(found: Embeddings, reader: Reader) -> NDArray[np.int64]:
    """Return the rows of which a file that was broken can be read now; the others are named again."""
    names = found.modalities
    return np.unique([row for row, m in found.broken.tolist() if reader.pixels(row, names[m]) is not None]).astype(int)


def _mend(found: Embeddings, rows: NDArray[np.int64], reader: Reader, trained: Trained, record: Record) -> None:
    """Embed some rows again and keep the others as they are."""
    fresh = embed_batch(trained.model, reader.batch(rows, trained.described.statistics))

    def blocks() -> Iterator[Chunk]:
        for some in embeddings.slices(len(found), CHUNK_CHIPS):
            block = found.block(some)
            inside = (rows >= some.start) & (rows < some.stop)
            at = rows[inside] - some.start
            block.present[at] = fresh.present[inside]
            for name, values in block.vectors.items():
                values[at] = fresh.vectors[name][inside]
            mended = np.isin(block.broken[:, 0], rows)
            again = fresh.broken[np.isin(fresh.broken[:, 0], rows[inside])]
            yield Chunk(block.present, block.vectors, np.concatenate([block.broken[~mended], again]))

    _write(found.path, reader, trained, record, blocks())


def _result(output: Path, reader: Reader, counts: dict[str, int | float]) -> Result[dict[str, NDArray[np.float32]]]:
    found = embeddings.read(output)
    for row, m in found.broken.tolist():
        if (row, found.modalities[m]) not in reader.broken:
            log.warning("%s: could not be read", reader.path_of(row, found.modalities[m]))
    if len(found.broken):
        raise ChipError(
            f"{output}: complete, but {len(found.broken)} chip files could not be read (named above); "
            "mend them and run geoembed embed again"
        )
    atomic.touch(output)
    without = int((~found.present.any(1)).sum())
    shown = ", ".join(f"{name} {int(n)}" for name, n in zip(found.modalities, found.present.sum(0), strict=True))
    log.info("%s: %d chips (%s), %d without any, %d kept", output, len(found), shown, without, counts["kept"])
    return Result((output,), counts | {"without": without, "broken": 0}, read=found.arrays)
