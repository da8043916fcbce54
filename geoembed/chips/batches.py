"""Batches: chips as normalised tensors, read ahead in a fixed order, and the statistics that normalise them."""

import fnmatch
import logging
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoembed.chips import folder as chip_folder
from geoembed.errors import ChipError, ConfigError, nearest

log = logging.getLogger(__name__)

CACHE_BYTES = 2**30
"""Bytes of chips that a reader keeps in memory, so that later epochs do not read them again."""

BATCH_BYTES = {"cpu": 2**25, "cuda": 2**30}
"""Bytes of a batch's pixels, by kind of device, where the user sets no batch size."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the pixels of each channel, in the modality's unit.

    mean, std: by modality, in the order of its channels.
    """

    mean: dict[str, tuple[float, ...]]
    std: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Batch:
    """B chips.

    rows: (B,) their rows in the index.
    values: by modality (B, C, H, W) float32, normalised, NaN where a pixel, channel or modality is missing.
    present: by modality (B,) bool, whether a chip has a valid pixel in it.
    broken: row and number of the modality of each chip file that could not be read; its values are NaN.
    """

    rows: NDArray[np.int64]
    values: dict[str, Tensor]
    present: dict[str, Tensor]
    broken: tuple[tuple[int, int], ...]


class Reader:
    """Reads chips, with their channels in a fixed order, and keeps them in memory while there is room."""

    def __init__(
        self,
        chipset: chip_folder.ChipSet,
        channels: dict[str, tuple[str, ...]],
        *,
        only: dict[str, tuple[str, ...]] | None = None,
        strict: bool = False,
        memory: int = CACHE_BYTES,
    ) -> None:
        """Make a reader of the chips of a folder.

        channels: by modality, the channels of its pixels, in order.
        only: by modality, the channels to use; pixels of the others are NaN.
        strict: whether a broken chip file raises ChipError, or is logged and left out.
        memory: bytes of chips to keep.
        """
        self.chipset, self.channels, self.strict, self.memory = chipset, channels, strict, memory
        self.only = channels if only is None else only
        self.chip_ids = chipset.index["chip_id"].to_numpy(str)
        self.present = np.stack([chipset.index[name].notna().to_numpy() for name in channels], 1)  # (N, M)
        self.broken: set[tuple[int, str]] = set()
        self._cache: dict[tuple[int, str], NDArray[np.float32]] = {}
        self._lock = threading.Lock()

    def path_of(self, row: int, modality: str) -> Path:
        """Return where the file of a row's chip lies."""
        return self.chipset.path_of(self.chip_ids[row], modality)

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Return the rows of a split that have at least one of the modalities."""
        in_split = (self.chipset.index["split"] == split).to_numpy()
        return np.flatnonzero(in_split & self.present.any(1))

    def batch_size(self, device: str = "cpu", most: int = 256) -> int:
        """Return how many chips make a batch of BATCH_BYTES: at least one, and no more than `most`."""
        chip_bytes = sum(map(len, self.channels.values())) * self.chipset.size**2 * 4  # float32
        return int(min(most, max(1, BATCH_BYTES[device] // chip_bytes)))

    def pixels(self, row: int, modality: str) -> NDArray[np.float32] | None:
        """Return a chip's pixels (C, H, W) in the modality's unit, NaN where missing; None where its file is broken."""
        key = (row, modality)
        if key in self._cache:
            return self._cache[key]
        if key in self.broken:
            return None
        try:
            pixels = self._read(row, modality)
        except ChipError as error:
            if self.strict:
                raise
            log.warning("%s", error)
            self.broken.add(key)
            return None
        with self._lock:
            if pixels.nbytes <= self.memory and key not in self._cache:
                self.memory -= pixels.nbytes
                self._cache[key] = pixels
        return pixels

    def _read(self, row: int, modality: str) -> NDArray[np.float32]:
        chip, size = self.chipset.read(row, modality), self.chipset.size
        values = np.where(np.isfinite(chip.values), chip.values, np.float32(np.nan))
        if chip.channels == self.channels[modality] == self.only[modality]:
            return values
        pixels = np.full((len(self.channels[modality]), size, size), np.nan, np.float32)
        for i, name in enumerate(self.channels[modality]):
            if name in chip.channels and name in self.only[modality]:
                pixels[i] = values[chip.channels.index(name)]
        return pixels

    def batch(self, rows: NDArray[np.int64], statistics: Statistics) -> Batch:
        """Return the chips of some rows (B,), normalised."""
        size = self.chipset.size
        values, present, broken = {}, {}, []
        for m, (name, channels) in enumerate(self.channels.items()):
            stacked = np.empty((len(rows), len(channels), size, size), np.float32)
            is_present = np.zeros(len(rows), bool)
            mean, std = (np.asarray(by[name], np.float32)[:, None, None] for by in (statistics.mean, statistics.std))
            # Chip by chip, as a chip fits the processor's caches and a batch does not.
            for i, row in enumerate(rows.tolist()):
                pixels = self.pixels(row, name) if self.present[row, m] else None
                if pixels is None:
                    stacked[i] = np.nan
                    if self.present[row, m]:
                        broken.append((row, m))
                    continue
                np.subtract(pixels, mean, out=stacked[i])
                np.divide(stacked[i], std, out=stacked[i])
                is_present[i] = not np.isnan(stacked[i]).all()
            values[name], present[name] = torch.from_numpy(stacked), torch.from_numpy(is_present)
        return Batch(rows, values, present, tuple(broken))


def choose(
    known: dict[str, tuple[str, ...]],
    modalities: Sequence[str] | None,
    globs: Mapping[str, Sequence[str]] | None = None,
    *,
    of: str = "the chips",
) -> dict[str, tuple[str, ...]]:
    """Return the channels that match, by modality, in the order of `known`.

    modalities: those to choose; None: all.
    globs: names or globs of channels, by modality; a modality without any keeps all its channels.
    of: what knows them, in words.

    Raises ConfigError for what matches nothing, naming the nearest that is known.
    """
    globs = globs or {}
    if modalities is not None and not modalities:
        raise ConfigError(f"--modalities: names none; name some of {', '.join(known)}, or leave it out")
    for name in (*(modalities or ()), *globs):
        if name not in known:
            option = "--modalities" if name in (modalities or ()) else "--channels"
            raise ConfigError(f"{option} {name}: no modality of {of}{nearest(name, known)}")
    chosen = {}
    for name, channels in known.items():
        if modalities is not None and name not in modalities:
            continue
        for glob in globs.get(name, ()):
            if not fnmatch.filter(channels, glob):
                raise ConfigError(f"--channels {name}={glob}: no channel of {of}{nearest(glob, channels)}")
        patterns = globs.get(name, ("*",))
        chosen[name] = tuple(channel for channel in channels if any(fnmatch.fnmatchcase(channel, p) for p in patterns))
    return chosen


def blocks(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows in blocks of `size`, the last one shorter."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def ahead(reader: Reader, statistics: Statistics, order: Iterable[NDArray[np.int64]], workers: int) -> Generator[Batch]:
    """Yield batches of the rows in `order`, in that order; `workers` threads read ahead."""
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="chips") as pool:
        try:
            for rows in order:
                waiting.append(pool.submit(reader.batch, rows, statistics))
                if len(waiting) > max(1, workers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def measure(reader: Reader, rows: NDArray[np.int64], workers: int = 2) -> Generator[Statistics | int]:
    """Yield the number of chips measured so far, and last the statistics of all channels over the chips' valid pixels.

    Mean and deviation are NaN for a channel without a valid pixel. They are computed in float64, chip by chip in the
    order of `rows`, and merged as in Chan, Golub and LeVeque 1979 (STAN-CS-79-773).
    """
    count = {name: np.zeros(len(channels)) for name, channels in reader.channels.items()}
    mean = {name: np.zeros(len(channels)) for name, channels in reader.channels.items()}
    square = {name: np.zeros(len(channels)) for name, channels in reader.channels.items()}
    keys = [(row, name) for row in rows.tolist() for m, name in enumerate(reader.channels) if reader.present[row, m]]
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="chips") as pool:
        for start in range(0, len(keys), 256):
            block = keys[start : start + 256]
            for (_, name), sums in zip(block, pool.map(lambda key: _sums(reader.pixels(*key)), block), strict=True):
                if sums is not None:
                    n, m, s = sums
                    total = np.maximum(count[name] + n, 1.0)
                    delta = m - mean[name]
                    square[name] += s + delta**2 * count[name] * n / total
                    mean[name] += delta * n / total
                    count[name] += n
            yield int(len(rows) * (start + len(block)) / len(keys))
    with np.errstate(invalid="ignore", divide="ignore"):
        std = {name: np.sqrt(square[name] / count[name]) for name in count}
    yield Statistics(
        {name: tuple(np.where(count[name] > 0, mean[name], np.nan).tolist()) for name in mean},
        {name: tuple(np.where(std[name] == 0, 1.0, std[name]).tolist()) for name in std},
    )


def _sums(
    pixels: NDArray[np.float32] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Return number, mean and sum of squares about the mean, each (C,), of the valid pixels of (C, H, W)."""
    if pixels is None:
        return None
    values = pixels.reshape(len(pixels), -1).astype(np.float64)
    valid = ~np.isnan(values)
    n = valid.sum(1).astype(np.float64)
    mean = np.where(valid, values, 0.0).sum(1) / np.maximum(n, 1.0)
    return n, mean, np.where(valid, (values - mean[:, None]) ** 2, 0.0).sum(1)
