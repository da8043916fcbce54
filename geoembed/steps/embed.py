"""The step that embeds chips with a pretrained model."""

import logging
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geoembed import interrupts, settings
from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Batch, Reader
from geoembed.chips.folder import ChipSet
from geoembed.errors import ChipError, ConfigError, EmbeddingsError, ModelError, StaleError
from geoembed.fits import chunks, embeddings
from geoembed.fits.chunks import Piece
from geoembed.fits.embeddings import Chunk, Embeddings
from geoembed.learning import checkpoint
from geoembed.learning.checkpoint import Trained
from geoembed.learning.model import SPACE, Model, autocast, choose_device, encode
from geoembed.outputs import atomic, journal, locks, records
from geoembed.outputs.journal import Journal
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.project import remedies
from geoembed.project.kinds import Kind
from geoembed.settings import PathLike, Words

log = logging.getLogger(__name__)

DTYPES = ("float32", "float16")
CHUNK_SECONDS, CHUNK_CHIPS = 20.0, 4096
"""Age and length at which a chunk is written, so that a kill costs little and chunks stay few."""


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
    """Embed the chips of a folder, in the order of its index; the result is the vectors (N, D), by modality and fused.

    A broken chip file is named in a warning, its modality is absent from that chip, and ChipError is raised once the
    output is complete, or at once with `strict`. A re-run embeds chips that were mended since, and keeps the rest.

    Vectors have unit length. In float32 on a CPU, other batch sizes and numbers of threads change a number by less than
    1e-5 (7e-7 at most was measured, with batches of 1, 7 and 64 and one or two threads, trained models of the presets
    tiny and small); equal bits need the same of both, the same PyTorch and the same kind of processor.

    modalities: those to use; None: all.
    channels: names or globs of the channels to use, by modality or in texts such as `s2=jja_*`.

    Raises ConfigError, ChipError, ModelError (no finished model, or a modality that it does not know) and StaleError
    where `output`, finished or not, was made from something else.
    """
    target, path = choose_device(device), Path(output)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is not {' or '.join(DTYPES)}")
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size {batch_size} is below 1")
    chipset = chip_folder.read(Path(chips))
    trained = checkpoint.read(Path(model), device=target, chips=chipset.folder)
    wanted, globs = settings.words(modalities), settings.globs("--channels", channels)
    used, unknown = _choose(chipset, trained, Path(model), wanted, globs)
    if unknown:
        log.warning("%d channels of the chips are left out, as the model does not know them", unknown)
    known = {name: trained.described.model.channels[name] for name in used}
    reader = Reader(chipset, known, only=used, strict=strict, memory=0)
    record = Record(
        "embed", inputs={"chips": chipset.digest, "model": trained.digest}, options={"channels": used, "dtype": dtype}
    )
    total = len(reader.chip_ids)
    with locks.hold(path, folder=False):
        if _is_kept(path, record, update=update, overwrite=overwrite):
            kept = total - _embed_mended(path, reader, trained, record)
        else:
            size = batch_size or reader.batch_size(target.type)
            kept = yield from _embed_all(path, reader, trained, record, size, workers)
        return _result(path, reader, {"unknown_channels": unknown, "kept": kept, "embedded": total - kept})


def _choose(
    chipset: ChipSet,
    trained: Trained,
    model: Path,
    modalities: tuple[str, ...] | None,
    globs: Mapping[str, Sequence[str]] | None,
) -> tuple[dict[str, tuple[str, ...]], int]:
    """Return the channels to use, by modality, and how many channels of the chips the model does not know."""
    known = trained.described.model.channels
    either = {
        name: tuple(dict.fromkeys([*known.get(name, ()), *chipset.channels.get(name, ())]))
        for name in dict.fromkeys([*known, *chipset.channels])
    }
    chosen = batches.choose(either, modalities, globs, of=f"the chips in {chipset.folder} or of the model in {model}")
    shared = ",".join(name for name in known if name in chipset.channels)
    remedy = f"pass --modalities {shared}" if shared else "pretrain a model of these chips and name it with --model"
    for name in chosen:
        if name not in known:
            raise ModelError(f"{model}: the model has no modality {name}, which the chips have; {remedy}")
    present = {name: [c for c in names if c in chipset.channels.get(name, ())] for name, names in chosen.items()}
    used = {name: tuple(c for c in names if c in known[name]) for name, names in present.items()}
    unknown = sum(len(present[name]) - len(used[name]) for name in used)
    used = {name: names for name, names in used.items() if names}
    if not used:
        raise ChipError(
            f"{chipset.folder}: the chips have nothing of {', '.join(chosen)} that the model knows; {remedy}"
        )
    for name in modalities or ():
        if name not in used:
            log.warning("%s: the chips have nothing of %s that the model knows; it is left out", chipset.folder, name)
    return used, unknown


def _is_kept(output: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a finished output stays; delete it, and chunks of another record, where they do not.

    A damaged one of the same record does not stay, which is told.
    """
    unfinished, finished = chunks.beside(output), output.exists()
    if atomic.is_blank(output):
        finished = False
    existing = _record_of(output, overwrite) if finished else journal.read(unfinished.journal)[0]
    atomic.sweep(output.parent, output.name)
    remove = partial(atomic.remove, output)
    standing = records.settle(
        output, record, existing, finished=finished, remove=remove, update=update, overwrite=overwrite
    )
    if finished and existing is None:
        remove()
    if standing is not Standing.BEGUN:
        unfinished.remove()
    return standing is Standing.KEPT and _is_intact(output)


def _is_intact(output: Path) -> bool:
    """Tell whether all that a finished output holds is what its digests say; delete it, aloud, where it is not."""
    try:
        faults = embeddings.faults(embeddings.read(output), whole=True)
    except EmbeddingsError as error:
        faults = [str(error)]
    if faults:
        log.warning("%s; it is made again", faults[0].rpartition("; ")[0])
        atomic.remove(output)
    return not faults


def _record_of(output: Path, overwrite: bool) -> Record | None:
    """Return the record of a finished output, None for a damaged one that is overwritten.

    Raises StaleError for a damaged one that is not, and for a file that `embed` did not write.
    """
    try:
        record, fault = embeddings.record_of(output), ""
    except EmbeddingsError as error:
        record, fault = None, str(error).rpartition("; ")[0]
    if record is not None:
        return record
    stranger = remedies.of_another_kind(output, Kind.EMBEDDINGS)
    if stranger:
        raise StaleError(f"{output}: {stranger}; choose another -o")
    if not (fault and embeddings.is_ours(output)):
        raise StaleError(
            f"{output}: is no embeddings file that geoembed embed wrote; move it away, or choose another -o"
        )
    if not overwrite:
        raise StaleError(f"{fault}; pass --overwrite to make it again, or choose another -o")
    return None


def _embed_all(
    output: Path, reader: Reader, trained: Trained, record: Record, batch_size: int, workers: int
) -> Generator[Progress, None, int]:
    """Embed what an earlier run left, chunk by chunk, and write the output; return how many chips that run had done."""
    unfinished, total = chunks.beside(output), len(reader.chip_ids)
    kept = interrupts.noted("finished chunks of chips are kept; run the same command again to embed the others")
    with unfinished.tidied(), closing(Journal(unfinished.journal, record)) as lines, kept:
        atomic.sweep(unfinished.folder)
        pieces = unfinished.finished(lines.of(Piece))
        first = pieces[-1].stop if pieces else 0
        for start, stop, parts in _chunks(reader, trained, np.arange(first, total), batch_size, workers):
            if parts:
                pieces.append(unfinished.write(start, stop, parts))
                lines.write(asdict(pieces[-1]))
            yield Progress(stop, total, "chips")
        _write(output, reader, trained, record, map(unfinished.read, pieces))
    unfinished.remove()
    return first


def _chunks(
    reader: Reader, trained: Trained, rows: NDArray[np.int64], batch_size: int, workers: int
) -> Iterator[tuple[int, int, list[Chunk]]]:
    """Yield, batch by batch, first row and end of the chunk so far, and the batches in it once it is complete."""
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
    """Embed a batch of chips."""
    with autocast(model.log_scale.device):
        vectors = encode(model, batch.values)
    arrays = {name: values.cpu().numpy() for name, values in vectors.items()}
    present = np.stack([~np.isnan(arrays[name]).any(1) for name in batch.values], 1)
    return Chunk(present, arrays, np.array(batch.broken, dtype=np.int64).reshape(-1, 2))


def _write(output: Path, reader: Reader, trained: Trained, record: Record, blocks: Iterator[Chunk]) -> None:
    """Write the embeddings file, whole."""
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


def _embed_mended(output: Path, reader: Reader, trained: Trained, record: Record) -> int:
    """Embed again the chips whose broken files can be read now, and keep the others; return how many."""
    file = embeddings.read(output)
    readable = [row for row, m in file.broken.tolist() if reader.pixels(row, file.modalities[m]) is not None]
    rows = np.unique(readable).astype(int)
    if rows.size:
        fresh = embed_batch(trained.model, reader.batch(rows, trained.described.statistics))
        _write(output, reader, trained, record, _replaced(file, rows, fresh))
    return len(rows)


def _replaced(file: Embeddings, rows: NDArray[np.int64], fresh: Chunk) -> Iterator[Chunk]:
    """Yield the chunks of a file, with fresh embeddings in place of some of its rows."""
    for part in embeddings.slices(len(file), CHUNK_CHIPS):
        chunk = file.block(part)
        inside = (rows >= part.start) & (rows < part.stop)
        positions = rows[inside] - part.start
        chunk.present[positions] = fresh.present[inside]
        for name, values in chunk.vectors.items():
            values[positions] = fresh.vectors[name][inside]
        still_broken = chunk.broken[~np.isin(chunk.broken[:, 0], rows)]
        newly_broken = fresh.broken[np.isin(fresh.broken[:, 0], rows[inside])]
        yield Chunk(chunk.present, chunk.vectors, np.concatenate([still_broken, newly_broken]))


def _result(output: Path, reader: Reader, counts: dict[str, int]) -> Result[dict[str, NDArray[np.float32]]]:
    """Name the broken chip files, count, and renew the output's time stamp; raises ChipError for broken files."""
    file = embeddings.read(output)
    for row, m in file.broken.tolist():
        if (row, file.modalities[m]) not in reader.broken:  # those that this run met are named already
            log.warning("%s: could not be read", reader.path_of(row, file.modalities[m]))
    if len(file.broken):
        fault = f"complete, but {len(file.broken)} chip files could not be read (named above)"
        raise ChipError(f"{output}: {fault}; mend them and run geoembed embed again")
    atomic.touch(output)
    without = int((~file.present.any(1)).sum())
    present = dict(zip(file.modalities, file.present.sum(0).tolist(), strict=True))
    modalities = ", ".join(f"{name} {n}" for name, n in present.items())
    log.info("%s: %d chips (%s), %d without any, %d kept", output, len(file), modalities, without, counts["kept"])
    counts = {"chips": len(file), **counts, "without": without, "broken": 0, **present}
    return Result((output,), {**counts}, read=file.arrays)
