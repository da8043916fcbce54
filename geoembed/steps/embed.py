"""Embed chips with a pretrained model."""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Batch, Reader
from geoembed.errors import ChipError, ConfigError, ModelError
from geoembed.fits import embeddings
from geoembed.fits.embeddings import Block, Embeddings
from geoembed.learning import checkpoint
from geoembed.learning.model import SPACE, Model, autocast, choose_device, encode
from geoembed.outputs import atomic, record
from geoembed.progress import Outcome, Progress, Steps

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from geoembed.learning.checkpoint import Trained

log = logging.getLogger(__name__)

DTYPES = ("float32", "float16")
BLOCK_SECONDS, BLOCK_CHIPS = 20.0, 4096
"""A block is put away when it is this old or this long, so that a kill costs little and blocks stay few."""
_RECORD = "record.json"


@dataclass(frozen=True)
class Work:
    """Finished blocks beside an unfinished output: files named by the rows that they hold."""

    folder: Path

    def path_of(self, start: int, stop: int) -> Path:
        """Return where the block of some rows lies."""
        return self.folder / f"{start:09d}-{stop:09d}.npz"

    def blocks(self) -> list[Path]:
        """Return the finished blocks that follow each other from row 0 on."""
        found, stop = [], 0
        for path in sorted(self.folder.glob("*-*.npz")):
            start, end = map(int, path.stem.split("-"))
            if start == stop:
                found.append(path)
                stop = end
        return found

    def done(self) -> int:
        """Return the number of rows done so far."""
        found = self.blocks()
        return int(found[-1].stem.split("-")[1]) if found else 0

    def write(self, start: int, stop: int, parts: list[Block]) -> None:
        """Put the embeddings of rows start to stop away, whole."""
        arrays: dict[str, Any] = {
            name: np.concatenate([part.vectors[name] for part in parts]) for name in parts[0].vectors
        }
        arrays["_present"] = np.concatenate([part.present for part in parts])
        arrays["_broken"] = np.concatenate([part.broken for part in parts])
        with atomic.replacing(self.path_of(start, stop)) as part, part.open("wb") as file:
            np.savez(file, **arrays)

    def read(self, path: Path) -> Block:
        """Read a block that was put away."""
        with np.load(path, allow_pickle=False) as arrays:
            vectors = {name: arrays[name] for name in arrays.files if not name.startswith("_")}
            return Block(arrays["_present"], vectors, arrays["_broken"])

    def remove(self) -> None:
        """Delete the folder and what geoembed made in it, the record first: blocks without it never count."""
        if self.folder.exists():
            (self.folder / _RECORD).unlink(missing_ok=True)
            self.sweep(all_of_it=True)
            self.folder.rmdir()

    def sweep(self, *, all_of_it: bool = False) -> None:
        """Delete what is half written, and blocks that do not follow those before; or all blocks."""
        atomic.sweep(self.folder)
        kept = set() if all_of_it else set(self.blocks())
        for path in set(self.folder.glob("*-*.npz")) - kept:
            path.unlink()


def embed(
    chips_folder: Path,
    model_folder: Path,
    output: Path,
    *,
    modalities: tuple[str, ...] | None = None,
    channels: Mapping[str, Sequence[str]] | None = None,
    batch_size: int | None = None,
    dtype: str = "float32",
    device: str = "auto",
    workers: int = 2,
    strict: bool = False,
    overwrite: bool = False,
) -> Steps:
    """Embed the chips of a folder, in the order of its index, and write an embeddings file.

    `modalities` and `channels` (names or globs per modality) restrict what is used. A broken chip file is named in a
    warning; its modality is absent from that chip, and ChipError is raised once the output is complete, or at once
    with `strict`. A re-run embeds chips that were mended since, and keeps the rest.

    Raises ConfigError, ChipError, ModelError (no finished model, or a modality that it does not know) and StaleError
    where `output`, or what is there of it, was made from something else.
    """
    target = choose_device(device)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is not {' or '.join(DTYPES)}")
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size {batch_size} is below 1")
    chipset = chip_folder.read(chips_folder)
    trained = checkpoint.read(model_folder, device=target)
    used, unknown = _choose(chipset, trained, modalities, channels)
    if unknown:
        log.warning("%d channels of the chips are left out, as the model does not know them", unknown)
    known = {name: trained.described.model.channels[name] for name in used}
    reader = Reader(chipset, known, only=used, strict=strict, memory=0)
    made_from = {"chips": chipset.digest, "model": trained.digest, "channels": used, "dtype": dtype}
    work = Work(output.with_name(f".{output.name}.blocks"))
    counts: dict[str, int | float] = {"chips": len(reader.chip_ids), "unknown_channels": unknown}
    if _settle(output, work, made_from, overwrite):
        found = embeddings.read(output)
        mended = _mended(found, reader)
        if mended.size:
            _mend(found, mended, reader, trained, made_from)
        counts |= {"kept": len(found) - len(mended), "embedded": len(mended)}
    else:
        size = batch_size or reader.batch_size(target.type)
        resumed = work.done()
        yield from _embed_blocks(work, reader, trained, np.arange(resumed, len(reader.chip_ids)), size, workers)
        _write(output, reader, trained, made_from, (work.read(path) for path in work.blocks()))
        work.remove()
        counts |= {"kept": resumed, "embedded": len(reader.chip_ids) - resumed}
    return _outcome(output, reader, counts)


def _choose(
    chipset: chip_folder.ChipSet,
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


def _settle(output: Path, work: Work, made_from: dict[str, Any], overwrite: bool) -> bool:
    """Return whether a finished output may be kept; make the work folder ready where it may not."""
    if output.exists():
        found = embeddings.read(output)
        if not overwrite:
            record.require_same(output, found.attributes.get("made_from", {}), made_from)
            work.remove()
            return True
        output.unlink()
    begun = work.folder / _RECORD
    if overwrite:
        work.remove()
    if begun.exists():
        record.require_same(output, json.loads(begun.read_text(encoding="utf-8")), made_from)
        work.sweep()
    else:
        work.remove()
        atomic.write_json(begun, made_from)
    return False


def _embed_blocks(
    work: Work, reader: Reader, trained: Trained, rows: NDArray[np.int64], batch_size: int, workers: int
) -> Generator[Progress, None, None]:
    """Embed rows that follow each other, and put finished blocks away."""
    order = batches.blocks(rows, batch_size)
    parts: list[Block] = []
    first, began = (int(rows[0]) if len(rows) else 0), time.monotonic()
    with closing(batches.ahead(reader, trained.described.statistics, order, workers)) as source:
        for batch in source:
            parts.append(embed_batch(trained.model, batch))
            stop = int(batch.rows[-1]) + 1
            if time.monotonic() - began >= BLOCK_SECONDS or stop - first >= BLOCK_CHIPS or stop == len(reader.chip_ids):
                work.write(first, stop, parts)
                parts, first, began = [], stop, time.monotonic()
            yield Progress(stop, len(reader.chip_ids), "chips")


@torch.no_grad()
def embed_batch(model: Model, batch: Batch) -> Block:
    """Embed one batch of chips, in memory."""
    with autocast(model.log_scale.device):
        vectors = encode(model, batch.values)
    arrays = {name: values.cpu().numpy() for name, values in vectors.items()}
    present = np.stack([~np.isnan(arrays[name]).any(1) for name in batch.values], 1)
    return Block(present, arrays, np.array(batch.broken, dtype=np.int64).reshape(-1, 2))


def _write(output: Path, reader: Reader, trained: Trained, made_from: dict[str, Any], blocks: Iterator[Block]) -> None:
    embeddings.write_of(
        output,
        reader.chipset,
        modalities=tuple(reader.channels),
        blocks=blocks,
        attributes={
            "model_sha256": trained.digest,
            "model_config": asdict(trained.described.model),
            "channels": made_from["channels"],
            "space": SPACE,
            "training": trained.described.training,
            "made_from": made_from,
        },
        dtype=made_from["dtype"],
    )


def _mended(found: Embeddings, reader: Reader) -> NDArray[np.int64]:
    """Return the rows of which a file that was broken can be read now; the others are named again."""
    names = found.modalities
    return np.unique([row for row, m in found.broken.tolist() if reader.pixels(row, names[m]) is not None]).astype(int)


def _mend(
    found: Embeddings, rows: NDArray[np.int64], reader: Reader, trained: Trained, made_from: dict[str, Any]
) -> None:
    """Embed some rows again and keep the others as they are."""
    fresh = embed_batch(trained.model, reader.batch(rows, trained.described.statistics))

    def blocks() -> Iterator[Block]:
        for some in embeddings.slices(len(found), BLOCK_CHIPS):
            block = found.block(some)
            inside = (rows >= some.start) & (rows < some.stop)
            at = rows[inside] - some.start
            block.present[at] = fresh.present[inside]
            for name, values in block.vectors.items():
                values[at] = fresh.vectors[name][inside]
            mended = np.isin(block.broken[:, 0], rows)
            again = fresh.broken[np.isin(fresh.broken[:, 0], rows[inside])]
            yield Block(block.present, block.vectors, np.concatenate([block.broken[~mended], again]))

    _write(found.path, reader, trained, made_from, blocks())


def _outcome(output: Path, reader: Reader, counts: dict[str, int | float]) -> Outcome:
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
    return Outcome((output,), counts | {"without": without, "broken": 0})
