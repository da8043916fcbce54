"""What embeddings are compared with: features of the same chips that took no training, as embeddings files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

from geoembed import __version__
from geoembed.chips import batches
from geoembed.chips.batches import Batch, Reader, Statistics
from geoembed.errors import ChipError, ConfigError, EmbeddingsError, StaleError
from geoembed.fits import embeddings, features
from geoembed.fits.embeddings import FUSED, Chunk
from geoembed.learning import checkpoint
from geoembed.learning.model import SPACE, Model, autocast, centre, encode
from geoembed.outputs import atomic, digests
from geoembed.outputs.records import Record
from geoembed.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from geoembed.chips.folder import ChipSet
    from geoembed.learning.checkpoint import Trained

Rows: TypeAlias = dict[str, NDArray[np.float32]]

KINDS = ("statistics", "mosaiks", "untrained")
PERCENTILES = (5, 25, 50, 75, 95)
FILTERS, SIDE = 256, 3
"""Number of random filters per modality, and their side in pixels."""
SAMPLED_CHIPS, SAMPLED_PATCHES = 256, 64
"""Most train chips that filters are drawn from, and most patches of each."""
RESPONSES = 2**22
"""Responses of filters held at a time: 16 MB, which caches hold most of."""

_NAMES = {"statistics": "chip statistics", "mosaiks": "random convolutional features"}
_BESIDE = "standardised by train chips; fused: all modalities side by side"
_SPACES = {
    "statistics": f"mean, standard deviation, percentiles {' '.join(map(str, PERCENTILES))} per channel, {_BESIDE}",
    "mosaiks": f"{2 * FILTERS} random convolutional features (MOSAIKS), {_BESIDE}",
    "untrained": f"encoders with the random weights that their training began with: {SPACE}",
}


def make(
    kind: str, output: Path, chipset: ChipSet, model_folder: Path, *, device: torch.device, seed: int, workers: int
) -> Generator[Progress, None, None]:
    """Write the features of one of KINDS for all chips as an embeddings file, unless it is there and still holds.

    Uses the channels in `chipset.channels` (fewer where the caller replaced it by fewer); `mosaiks` and `untrained`
    take of them those that the model knows, normalised as for the model. Filters (by `seed`), centres and scales come
    from train chips alone; a modality that no train chip has is left out. A chip file that cannot be read is logged
    and its modality absent; once it can be, the output no longer holds. An output that does not hold is replaced.

    Raises ConfigError for an unknown kind, ModelError where `model_folder` lacks what is needed of it (nothing for
    `statistics`, config.json for `mosaiks`), and ChipError without train chips.
    """
    if kind not in KINDS:
        raise ConfigError(f"baseline {kind!r} is not {', '.join(KINDS)}")
    trained = checkpoint.read(model_folder, device=device, untrained=True) if kind == "untrained" else None
    if kind == "statistics":
        known, statistics, digest = chipset.channels, _raw(chipset.channels), None
    else:
        described = trained.described if trained else checkpoint.read_config(model_folder)
        known, statistics = described.model.channels, described.statistics
        digest = trained.digest if trained else digests.of_value(asdict(statistics))
    used = _used(chipset, known)
    reader = Reader(chipset, {name: known[name] for name in used}, only=used, memory=0)
    inputs = {"chips": chipset.digest, "model": digest, "geoembed_version": __version__}
    options = {"kind": kind, "channels": used, "seed": seed if kind == "mosaiks" else None}
    record = Record("evaluate, baseline", inputs, options)
    if _holds(output, record, reader):
        atomic.touch(output)
        return
    describe: Callable[[Batch], Rows] = _summarise
    if trained:
        _centre(reader, trained)
        describe = partial(_encode, trained.model)
    elif kind == "mosaiks":
        drawn = {name: draw_filters(reader, statistics, name, seed).to(device) for name in used}
        describe = partial(_respond, drawn)
    rows, broken = yield from _read(reader, statistics, describe, workers)
    blocks = _blocks(rows, broken) if trained else _blocks_beside(rows, broken, reader.rows_of("train"))
    _write(output, reader, blocks, _NAMES.get(kind) or str(digest), record)


def _raw(channels: dict[str, tuple[str, ...]]) -> Statistics:
    """Return statistics that leave values in their unit."""
    return Statistics(*({name: (value,) * len(channels[name]) for name in channels} for value in (0.0, 1.0)))


def width(kind: str, parts: Sequence[str], channels: dict[str, tuple[str, ...]], encoder: int) -> int:
    """Return how many numbers a baseline has in modalities side by side, or fused; those of the encoder are given."""
    each = {
        m: (2 + len(PERCENTILES)) * len(names) if kind == "statistics" else 2 * FILTERS for m, names in channels.items()
    }
    if kind == "untrained":
        return encoder * len(parts)
    return sum(sum(each.values()) if part == FUSED else each[part] for part in parts)


def _used(chipset: ChipSet, known: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the known channels that the chips have, of the modalities that train chips have."""
    train = chipset.index[chipset.index["split"] == "train"]
    there = {name: [c for c in channels if c in chipset.channels.get(name, ())] for name, channels in known.items()}
    used = {name: tuple(channels) for name, channels in there.items() if channels and train[name].notna().any()}
    if not used:
        raise ChipError(f"{chipset.folder}: no chip of the train split has {', '.join(known)}; nothing to compare with")
    return used


def _holds(output: Path, record: Record, reader: Reader) -> bool:
    """Tell whether an output was made from the same, and none of the files that were broken then can be read now.

    Raises StaleError where it is none of ours.
    """
    if not output.exists():
        return False
    try:
        found = embeddings.read(output)
        made_from = Record.from_json(found.attributes.get("made_from"))
    except EmbeddingsError:
        made_from = None
    if made_from is None or made_from.step != record.step:
        raise StaleError(f"{output}: exists and was not made by geoembed evaluate; move it away")
    same = made_from.digest == record.digest
    return same and all(reader.pixels(row, found.modalities[m]) is None for row, m in found.broken.tolist())


def _write(output: Path, reader: Reader, blocks: Iterator[Chunk], model_sha256: str, record: Record) -> None:
    embeddings.write_of(
        output,
        reader.chipset,
        modalities=tuple(reader.channels),
        blocks=blocks,
        attributes={
            "model_sha256": model_sha256,
            "model_config": {},
            "channels": record.options["channels"],
            "space": _SPACES[record.options["kind"]],
            "made_from": record.to_json(),
        },
    )


def _read(
    reader: Reader, statistics: Statistics, describe: Callable[[Batch], Rows], workers: int
) -> Generator[Progress, None, tuple[Rows, NDArray[np.int64]]]:
    """Describe all chips, read once: (N, F) per name, NaN rows where absent; and (k, 2) the broken files."""
    total = len(reader.chip_ids)
    order = batches.blocks(np.arange(total), reader.batch_size())
    rows: Rows = {}
    broken: list[tuple[int, int]] = []
    with closing(batches.ahead(reader, statistics, order, workers)) as source:
        for batch in source:
            for name, values in describe(batch).items():
                if name not in rows:
                    rows[name] = np.full((total, values.shape[1]), np.nan, np.float32)
                rows[name][batch.rows] = values
            broken.extend(batch.broken)
            yield Progress(int(batch.rows[-1]) + 1, total, "chips")
    return rows, np.array(broken, np.int64).reshape(-1, 2)


def _blocks(rows: Rows, broken: NDArray[np.int64]) -> Iterator[Chunk]:
    """Yield blocks of an embeddings file."""
    names = [name for name in rows if name != FUSED]
    for some in embeddings.slices(len(rows[names[0]]), features.ROWS):
        present = np.stack([~np.isnan(rows[name][some]).all(1) for name in names], 1)
        inside = (broken[:, 0] >= some.start) & (broken[:, 0] < some.stop)
        yield Chunk(present, {name: values[some] for name, values in rows.items()}, broken[inside])


def _blocks_beside(rows: Rows, broken: NDArray[np.int64], train: NDArray[np.int64]) -> Iterator[Chunk]:
    """Yield blocks whose vectors are standardised by train chips and side by side in 'fused'.

    A channel that a chip lacks has the train chips' mean, and in 'fused' so has an absent modality.
    """
    scales = {name: features.scaling(values, train) for name, values in rows.items()}
    for block in _blocks(rows, broken):
        scaled = {name: features.scaled(values, scales[name]) for name, values in block.vectors.items()}
        fused = np.concatenate(list(scaled.values()), 1)
        fused[~block.present.any(1)] = np.nan
        for m, values in enumerate(scaled.values()):
            values[~block.present[:, m]] = np.nan
        yield Chunk(block.present, scaled | {FUSED: fused}, block.broken)


def _summarise(batch: Batch) -> Rows:
    """Describe each chip by mean, standard deviation and percentiles of every channel's valid pixels, (B, 7 C)."""
    return {name: summary(values.flatten(2).numpy()).reshape(len(values), -1) for name, values in batch.values.items()}


def summary(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map pixels (..., P), NaN where missing, to mean, standard deviation and PERCENTILES (..., 7), NaN without any.

    Percentiles are interpolated linearly, as NumPy does.
    """
    ordered = np.sort(values, axis=-1)  # NaN last
    valid = ~np.isnan(ordered)
    n = valid.sum(-1, keepdims=True)
    mean = np.where(valid, ordered, 0).sum(-1, keepdims=True) / np.maximum(n, 1).astype(np.float32)
    square = np.where(valid, ordered - mean, 0)
    deviation = np.sqrt(np.square(square, out=square).sum(-1, keepdims=True) / np.maximum(n, 1).astype(np.float32))
    at = np.maximum(n - 1, 0) * (np.array(PERCENTILES) / 100)  # (..., 5)
    below = np.floor(at).astype(np.int64)
    low = np.take_along_axis(ordered, below, -1)
    high = np.take_along_axis(ordered, np.minimum(below + 1, np.maximum(n - 1, 0)), -1)
    percentiles = low + (high - low) * (at - below).astype(np.float32)
    return np.where(n > 0, np.concatenate([mean, deviation, percentiles], -1), np.float32(np.nan))


def draw_filters(reader: Reader, statistics: Statistics, name: str, seed: int) -> Tensor:
    """Draw random filters (FILTERS, C, SIDE, SIDE) from patches of train chips, each about its mean and whitened.

    MOSAIKS: Rolf et al. 2021, Nature Communications 12:4392, whose code (mosaiks/featurization.py at
    github.com/Global-Policy-Lab/mosaiks-paper) follows Coates and Ng 2012: patches are centred and scaled to unit
    length each, then multiplied by W W', W being the ZCA matrix with 0.001 added to the eigenvalues: one W whitens the
    filter, the other the patches that it will meet. Missing values count as 0, their band's mean.

    Raises ChipError where no train chip can be read.
    """
    rng = np.random.default_rng((seed, list(reader.channels).index(name)))
    rows = reader.rows_of("train")
    rows = rows[reader.present[rows, list(reader.channels).index(name)]]
    mean, std = (np.array(by[name], np.float32)[:, None, None] for by in (statistics.mean, statistics.std))
    found = []
    for row in np.sort(rng.choice(rows, min(len(rows), SAMPLED_CHIPS), replace=False)).tolist():
        pixels = reader.pixels(row, name)
        if pixels is not None:
            patches = F.unfold(_filled(torch.from_numpy((pixels - mean) / std)[None]), SIDE)[0].T.numpy()  # (n, C 9)
            found.append(patches[rng.choice(len(patches), min(len(patches), SAMPLED_PATCHES), replace=False)])
    if not found:
        raise ChipError(f"{reader.chipset.folder}: no {name} chip of the train split can be read; make the chips again")
    patches = np.concatenate(found).astype(np.float64)
    patches -= patches.mean(1, keepdims=True)
    length = np.linalg.norm(patches, axis=1, keepdims=True)
    patches /= np.where(length < 1e-8, 1.0, length)
    variances, axes = np.linalg.eigh(patches.T @ patches / len(patches))
    chosen = patches[rng.choice(len(patches), FILTERS, replace=len(patches) < FILTERS)]
    filters = (chosen @ axes) / (variances + 1e-3) @ axes.T  # W W' = V diag(1 / (variances + 0.001)) V'
    return torch.from_numpy(filters.astype(np.float32)).view(FILTERS, -1, SIDE, SIDE)


def _filled(values: Tensor) -> Tensor:
    """Put a band's mean, 0, where values (B, C, H, W) are missing, and around chips that are smaller than a filter."""
    H, W = values.shape[2:]
    return F.pad(values.nan_to_num(0.0), (0, max(0, SIDE - W), 0, max(0, SIDE - H)))


@torch.no_grad()
def respond(values: Tensor, filters: Tensor) -> Tensor:
    """Map chips (B, C, H, W) to the means over the chip of relu(r) and of relu(-r), r the filters' responses, (B, 512).

    As in MOSAIKS, whose bias is 0; missing values count as 0, their band's mean.
    """
    filters = filters.contiguous(memory_format=torch.channels_last)
    parts = []
    for some in torch.split(values, max(1, RESPONSES // (len(filters) * values.shape[2] * values.shape[3]))):
        filled = _filled(some.to(filters.device)).contiguous(memory_format=torch.channels_last)
        responses = F.conv2d(filled, filters)
        mean = responses.mean((2, 3))
        positive = responses.clamp_(min=0).mean((2, 3))
        parts.append(torch.cat([positive, positive - mean], 1))  # relu(-r) = relu(r) - r
    return torch.cat(parts)


def _respond(filters: dict[str, Tensor], batch: Batch) -> Rows:
    rows = {}
    for name, values in batch.values.items():
        found = respond(values, filters[name]).cpu().masked_fill(~batch.present[name][:, None], np.nan)
        rows[name] = found.numpy()
    return rows


def _centre(reader: Reader, trained: Trained) -> None:
    """Give an untrained model the centre that training would have ended with, from some 256 to 511 train chips."""
    train, known = reader.rows_of("train"), trained.described.model.channels
    # The modalities that the chips lack, as they are in a chip: missing.
    lacking = {name: torch.full((1, len(known[name]), 1, 1), np.nan) for name in known if name not in reader.channels}
    order = batches.blocks(train[:: max(1, len(train) // 256)], 32)
    with closing(batches.ahead(reader, trained.described.statistics, order, 1)) as source:
        centre(trained.model, (batch.values | lacking for batch in source))


@torch.no_grad()
def _encode(model: Model, batch: Batch) -> Rows:
    with autocast(model.log_scale.device):
        vectors = encode(model, batch.values)
    return {name: values.float().cpu().numpy() for name, values in vectors.items()}
