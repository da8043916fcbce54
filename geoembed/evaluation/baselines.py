"""What embeddings are compared with: features of the same chips that took no training, as embeddings files."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from geoembed.chips import batches
from geoembed.chips.batches import Batch, Reader, Statistics
from geoembed.errors import ChipError, EmbeddingsError, StaleError
from geoembed.evaluation import descriptors, mosaiks
from geoembed.fits import embeddings, features
from geoembed.fits.embeddings import FUSED, Chunk
from geoembed.learning import checkpoint
from geoembed.learning.model import SPACE
from geoembed.outputs import atomic, digests
from geoembed.outputs.records import Record
from geoembed.progress import Progress
from geoembed.version import __version__

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from geoembed.chips.folder import ChipSet
    from geoembed.evaluation.descriptors import Describe, Rows
    from geoembed.learning.checkpoint import Trained

log = logging.getLogger(__name__)

KINDS = STATISTICS, MOSAIKS, UNTRAINED = ("statistics", "mosaiks", "untrained")

STEP = "evaluate, baseline"
"""What made the files, as their records have it."""

_PERCENTILES = " ".join(map(str, descriptors.PERCENTILES))
_BESIDE = "standardised by train chips; fused: all modalities side by side"
_SPACES = {
    STATISTICS: f"mean, standard deviation, percentiles {_PERCENTILES} per channel, {_BESIDE}",
    MOSAIKS: f"{2 * mosaiks.FILTERS} random convolutional features (MOSAIKS), {_BESIDE}",
    UNTRAINED: f"encoders with the random weights that their training began with: {SPACE}",
}


@dataclass(frozen=True)
class Baseline:
    """One kind of features, and what it is made from.

    kind: one of KINDS.
    reader: reads the channels that chips are described by, in their order.
    statistics: what values are normalised by; None where they stay in their unit.
    name: what the file names in place of a model's digest.
    record: what its file is made from.
    """

    kind: str
    reader: Reader
    statistics: Statistics | None
    name: str
    record: Record

    def batch(self, raw: Batch, channels: dict[str, tuple[str, ...]]) -> Batch:
        """Return the chips of a batch, read in their unit with these channels, as `reader` would read them."""
        values, present = {}, {}
        for name, wanted in self.reader.channels.items():
            pixels = raw.values[name]
            if wanted != channels[name]:
                pixels = pixels[:, [channels[name].index(channel) for channel in wanted]]
            if self.statistics is not None:
                mean, std = (
                    torch.from_numpy(np.asarray(by[name], np.float32))[:, None, None]
                    for by in (self.statistics.mean, self.statistics.std)
                )
                pixels = (pixels - mean).div_(std)
            values[name], present[name] = pixels, ~pixels.isnan().flatten(1).all(1)
        modalities, numbers = list(channels), {name: m for m, name in enumerate(self.reader.channels)}
        broken = [(row, numbers[modalities[m]]) for row, m in raw.broken if modalities[m] in numbers]
        return Batch(raw.rows, values, present, tuple(broken))


@dataclass
class _Features:
    """Features of all chips, which come in batch by batch.

    chips: their number, N.
    rows: (N, F) per modality, and for 'fused' where that is not the modalities side by side; NaN where absent.
    broken: row and number of the modality of the chip files that could not be read.
    """

    chips: int
    rows: Rows = field(default_factory=dict)
    broken: list[tuple[int, int]] = field(default_factory=list)

    def add(self, batch: Batch, rows: Rows) -> None:
        """Add the features of the chips of a batch."""
        for name, values in rows.items():
            if name not in self.rows:
                self.rows[name] = np.full((self.chips, values.shape[1]), np.nan, np.float32)
            self.rows[name][batch.rows] = values
        self.broken.extend(batch.broken)


def make(
    folder: Path, chipset: ChipSet, model_folder: Path, *, device: torch.device, seed: int, workers: int
) -> Generator[Progress, None, dict[str, Path]]:
    """Write the features of all KINDS for all chips, an embeddings file each; return the files by kind.

    A file that still holds is kept, the others are made, and each chip is read once for all of them. Uses the channels
    in `chipset.channels` (fewer where the caller replaced it by fewer); `mosaiks` and `untrained` take of them those
    that the model knows, normalised as for the model. Filters (by `seed`), centres and scales come from train chips
    alone; a modality that no train chip has is left out. A chip file that cannot be read is logged and its modality
    absent; once it can be, the features no longer hold.

    Raises ModelError without a finished model, ChipError without train chips, and StaleError where a file of that name
    was not made by geoembed.
    """
    trained = checkpoint.read(model_folder, device=device, untrained=True)
    paths = {kind: folder / f"{kind}.h5" for kind in KINDS}
    broken: set[tuple[int, str]] = set()  # shared, so that a broken file is named once
    lacking = []
    for baseline in (_baseline(kind, chipset, trained, seed) for kind in KINDS):
        baseline.reader.broken = broken
        if _holds(paths[baseline.kind], baseline.record, baseline.reader):
            atomic.touch(paths[baseline.kind])
        else:
            lacking.append(baseline)
    if lacking:
        described = yield from _describe(
            lacking, [_describer(baseline, trained, seed) for baseline in lacking], workers
        )
        for baseline, table in zip(lacking, described, strict=True):
            _write(paths[baseline.kind], baseline, table)
    return paths


def _baseline(kind: str, chipset: ChipSet, trained: Trained, seed: int) -> Baseline:
    """Say what one kind of features is made from."""
    statistics = trained.described.statistics
    known = chipset.channels if kind == STATISTICS else trained.described.model.channels
    used = _used(chipset, known)
    digest = {STATISTICS: None, MOSAIKS: digests.of_value(asdict(statistics)), UNTRAINED: trained.digest}[kind]
    name = {STATISTICS: "chip statistics", MOSAIKS: "random convolutional features", UNTRAINED: trained.digest}[kind]
    inputs = {"chips": chipset.digest, "model": digest, "geoembed_version": __version__}
    record = Record(STEP, inputs, {"kind": kind, "channels": used, "seed": seed if kind == MOSAIKS else None})
    reader = Reader(chipset, {name: known[name] for name in used}, only=used, memory=0)
    return Baseline(kind, reader, None if kind == STATISTICS else statistics, name, record)


def _used(chipset: ChipSet, known: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the known channels that the chips have, of the modalities that train chips have."""
    train = chipset.index[chipset.index["split"] == "train"]
    there = {name: [c for c in channels if c in chipset.channels.get(name, ())] for name, channels in known.items()}
    used = {name: tuple(channels) for name, channels in there.items() if channels and train[name].notna().any()}
    if not used:
        raise ChipError(f"{chipset.folder}: no chip of the train split has {', '.join(known)}; nothing to compare with")
    return used


def offered(names: Sequence[str]) -> tuple[str, ...]:
    """Return the features that are asked of baselines: their fused is side by side already, as concat is."""
    return tuple(name for name in names if name != features.CONCAT or FUSED not in names)


def width(kind: str, parts: Sequence[str], channels: dict[str, tuple[str, ...]], encoder: int) -> int:
    """Return how many numbers a baseline has in modalities side by side, or fused; those of the encoder are given."""
    if kind == UNTRAINED:
        return encoder * len(parts)
    per_channel = 2 + len(descriptors.PERCENTILES)
    each = {
        name: per_channel * len(names) if kind == STATISTICS else 2 * mosaiks.FILTERS
        for name, names in channels.items()
    }
    return sum(sum(each.values()) if part == FUSED else each[part] for part in parts)


def _holds(output: Path, record: Record, reader: Reader) -> bool:
    """Tell whether an output is intact, was made from the same, and no file that was broken then can be read now.

    A damaged one does not hold, which is told. Raises StaleError where it is none of ours.
    """
    if not output.exists():
        return False
    try:
        file = embeddings.read(output)
        made_from, faults = Record.from_json(file.attributes.get("made_from")), embeddings.faults(file, whole=True)
    except EmbeddingsError as error:
        made_from, faults = None, [str(error)] if embeddings.is_ours(output) else []
    if faults:
        log.warning("%s; it is made again", faults[0].rpartition("; ")[0])
        return False
    if made_from is None or made_from.step != record.step:
        raise StaleError(f"{output}: exists and was not made by geoembed evaluate; move it away")
    same = made_from.digest == record.digest
    return same and all(reader.pixels(row, file.modalities[m]) is None for row, m in file.broken.tolist())


def _describer(baseline: Baseline, trained: Trained, seed: int) -> Describe:
    if baseline.kind == STATISTICS:
        return descriptors.summarise
    if baseline.kind == MOSAIKS:
        return descriptors.random_convolutions(baseline.reader, trained, seed)
    return descriptors.untrained_encoder(baseline.reader, trained)


def _describe(
    baselines: Sequence[Baseline], describers: Sequence[Describe], workers: int
) -> Generator[Progress, None, list[_Features]]:
    """Describe all chips for each baseline; every chip is read once."""
    reader = _reader_for(baselines)
    total = len(reader.chip_ids)
    # The last bits of vectors depend on the size of batches: the last baseline, a model, takes its usual ones.
    order = batches.blocks(np.arange(total), baselines[-1].reader.batch_size())
    tables = [_Features(total) for _ in baselines]
    with closing(batches.ahead(reader, _in_unit(reader.channels), order, workers)) as source:
        for raw in source:
            for baseline, describe, table in zip(baselines, describers, tables, strict=True):
                batch = baseline.batch(raw, reader.channels)
                table.add(batch, describe(batch))
            yield Progress(int(raw.rows[-1]) + 1, total, "chips", "baselines")
    return tables


def _reader_for(baselines: Sequence[Baseline]) -> Reader:
    """Return what reads the channels of all baselines; those that the chips lack are missing."""
    chipset = baselines[0].reader.chipset
    channels: dict[str, tuple[str, ...]] = {}
    for baseline in baselines:
        for name, names in baseline.reader.channels.items():
            channels[name] = tuple(dict.fromkeys((*channels.get(name, ()), *names)))
    reader = Reader(chipset, channels, only={name: chipset.channels[name] for name in channels}, memory=0)
    reader.broken = baselines[0].reader.broken
    return reader


def _in_unit(channels: dict[str, tuple[str, ...]]) -> Statistics:
    """Return statistics that leave values in their unit."""
    return Statistics(*({name: (value,) * len(channels[name]) for name in channels} for value in (0.0, 1.0)))


def _write(output: Path, baseline: Baseline, table: _Features) -> None:
    train = baseline.reader.rows_of("train")
    embeddings.write_of(
        output,
        baseline.reader.chipset,
        modalities=tuple(baseline.reader.channels),
        blocks=_blocks(table) if FUSED in table.rows else _blocks_beside(table, train),
        attributes={
            "model_sha256": baseline.name,
            "model_config": {},
            "channels": baseline.record.options["channels"],
            "space": _SPACES[baseline.kind],
            "made_from": baseline.record.to_json(),
        },
    )


def _blocks(table: _Features) -> Iterator[Chunk]:
    """Yield blocks of an embeddings file."""
    modalities = [name for name in table.rows if name != FUSED]
    broken = np.array(table.broken, np.int64).reshape(-1, 2)
    for rows in embeddings.slices(table.chips, features.ROWS):
        present = np.stack([~np.isnan(table.rows[name][rows]).all(1) for name in modalities], 1)
        inside = (broken[:, 0] >= rows.start) & (broken[:, 0] < rows.stop)
        yield Chunk(present, {name: values[rows] for name, values in table.rows.items()}, broken[inside])


def _blocks_beside(table: _Features, train: NDArray[np.int64]) -> Iterator[Chunk]:
    """Yield blocks whose vectors are standardised by train chips and side by side in 'fused'.

    A channel that a chip lacks has the train chips' mean, and in 'fused' so has an absent modality.
    """
    scales = {name: features.scaling(values, train) for name, values in table.rows.items()}
    for block in _blocks(table):
        scaled = {name: features.scaled(values, scales[name]) for name, values in block.vectors.items()}
        fused = np.concatenate(list(scaled.values()), 1)
        fused[~block.present.any(1)] = np.nan
        for m, values in enumerate(scaled.values()):
            values[~block.present[:, m]] = np.nan
        yield Chunk(block.present, scaled | {FUSED: fused}, block.broken)
