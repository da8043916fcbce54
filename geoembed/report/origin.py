"""Where embeddings came from: the chips and the model that made them, to look again at what they show and lack."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.errors import ChipError, EmbeddingsError, ModelError
from geoembed.fits.curves import NOTHING
from geoembed.fits.experiments import Tested
from geoembed.learning import checkpoint
from geoembed.outputs.records import Record
from geoembed.report import pictures, removal, space

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from geoembed.chips.batches import Reader
    from geoembed.chips.folder import ChipSet
    from geoembed.fits.embeddings import Embeddings
    from geoembed.labels.targets import Targets
    from geoembed.learning.checkpoint import Trained
    from geoembed.progress import Progress
    from geoembed.report.pictures import Gallery
    from geoembed.report.space import Retrieval

BATCH = 64
"""Most chips that are encoded at once; larger batches with inputs removed are slower, as they leave the caches."""

METRES_PER_DEGREE = 111_320.0
"""Along a meridian, and along the equator."""

QUERIES, NEIGHBOURS = 6, 5
"""Chips that are shown with what lies nearest to them, and how many of those."""


@dataclass(frozen=True)
class Origin:
    """The chips, restricted to the channels that were embedded, and the model with its folder.

    rows: (N,) the row in the chips' index of each row of the embeddings.
    """

    chipset: ChipSet
    model: Path
    trained: Trained
    channels: dict[str, tuple[str, ...]]
    rows: NDArray[np.int64]

    def reader(self) -> Reader:
        """Return what reads the chips as they were read when they were embedded."""
        known = {name: self.trained.described.model.channels[name] for name in self.channels}
        return batches.Reader(self.chipset, known, only=self.channels)

    @property
    def device(self) -> str:
        """Return the kind of device that the model is on."""
        return str(self.trained.model.log_scale.device.type)

    def missing(self, rows: NDArray[np.int64], seed: int, draws: int) -> Generator[Progress, None, list[Tested]]:
        """Embed test chips (rows of the embeddings) with inputs removed; return what to score on.

        Each draw of labels meets a random removal of its own.
        """
        cases = removal.cases(self.channels, seed=seed, draws=draws)
        reader = self.reader()
        found = yield from removal.embed(
            reader, self.trained, self.rows[rows], cases, reader.batch_size(self.device, BATCH)
        )
        tested = [Tested("missing", NOTHING, rows, found.everything)]
        return tested + [
            Tested("missing", case.name, rows, vectors, draw=case.draw - 1 if case.draw else None)
            for case, vectors in zip(cases, found.without, strict=True)
        ]

    def contrasted(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of some chips in the space that training contrasts, per modality (n, E)."""
        reader = self.reader()
        order = batches.blocks(self.rows[rows], reader.batch_size(self.device, BATCH))
        with closing(batches.ahead(reader, self.trained.described.statistics, order, 2)) as source:
            return space.contrasted(self.trained, source)

    def retrievals(self, contrasted: dict[str, NDArray[np.float32]]) -> list[Retrieval]:
        """Measure for each two modalities whether they find each other, where two chips or more have both."""
        found = [space.retrieval(a, b, contrasted[a], contrasted[b]) for a, b in combinations(contrasted, 2)]
        return [one for one in found if one.n > 1]

    def galleries(
        self,
        found: Embeddings,
        rows: NDArray[np.int64],
        contrasted: dict[str, NDArray[np.float32]],
        tasks: tuple[Targets, ...],
        seed: int,
    ) -> list[Gallery]:
        """Show what lies nearest to some of the chips `rows`: in the fused space, and across modalities."""
        album = pictures.album(self.chipset)
        queries = _queries(rows, tasks, seed)
        apart = _apart(found.lonlat[rows], found.lonlat[rows[queries]], self.chipset)
        fused = found.vectors(found.names[-1], rows)
        shown, *others = self.channels
        near = space.neighbours(fused[queries], fused, apart, NEIGHBOURS)
        note = "The most similar test chips that do not touch the first, by the fused embedding"
        galleries = [self._gallery(f"fused, shown in {shown}", note, album, rows, queries, near, shown, shown)]
        for other in others:
            near = space.neighbours(contrasted[other][queries], contrasted[shown], np.ones_like(apart), NEIGHBOURS)
            note = f"Asked with {other} alone, the nearest {shown} of test chips, in the space that training contrasts"
            title = f"{other} to {shown}"
            galleries.append(self._gallery(title, note, album, rows, queries, near, other, shown))
        return [one for one in galleries if one.rows]

    def _gallery(
        self,
        title: str,
        note: str,
        album: pictures.Album,
        rows: NDArray[np.int64],
        queries: NDArray[np.int64],
        near: NDArray[np.int64],
        asked: str,
        shown: str,
    ) -> Gallery:
        at = self.rows[rows]
        told = dict.fromkeys(f"{one}: {album.legend(one)}" for one in (asked, shown))
        note = f"{note}. {'; '.join(told)}."
        found = np.where(near < 0, -1, at[near])
        return pictures.gallery(title, note, album, at[queries], found, asked, shown)


def read(chips: Path, model: Path, found: Embeddings, device: torch.device) -> Origin:
    """Read the chips and the model that embeddings were made from.

    Raises ModelError or ChipError where they are others.
    """
    import pandas as pd

    made_from = Record.from_json(found.attributes.get("made_from"))
    lacking = [name for name in ("model_sha256", "channels") if name not in found.attributes]
    lacking += [] if made_from else ["made_from"]
    if made_from is None or lacking:
        raise EmbeddingsError(f"{found.path}: lacks the attributes {', '.join(lacking)}; embed again, or drop --chips")
    trained = checkpoint.read(model, device=device)
    if trained.digest != found.attributes["model_sha256"]:
        raise ModelError(f"{model}: {found.path} was embedded with another model; name that one with --model")
    chipset = chip_folder.read(chips)
    rows = pd.Index(chipset.index["chip_id"]).get_indexer(found.chip_id)
    if (rows < 0).any():
        lost = f"{int((rows < 0).sum()):,} of {len(found):,} chips of {found.path}"
        raise ChipError(f"{chips}: lacks {lost}; name the folder that was embedded with --chips")
    channels = {name: tuple(names) for name, names in found.attributes["channels"].items()}
    gone = [name for name, names in channels.items() if not set(names) <= set(chipset.channels.get(name, ()))]
    if gone or made_from.inputs.get("chips") != chipset.digest:
        told = f"lacks channels of {', '.join(gone)}" if gone else "are other chips, or were dealt out anew"
        raise ChipError(f"{chips}: {told} than when {found.path} was made; name the same with --chips, or embed again")
    return Origin(replace(chipset, channels=channels), model, trained, channels, rows.astype(np.int64))


def _queries(rows: NDArray[np.int64], tasks: tuple[Targets, ...], seed: int) -> NDArray[np.int64]:
    """Return positions in `rows` of chips to show: one of each task's last class, then any."""
    order = np.random.default_rng([seed, 3]).permutation(len(rows))
    found: list[int] = []
    for task in tasks:
        values = task.values[rows[order]]
        of_class = order[values == len(task.classes) - 1] if task.classes else order[:0]
        found += [int(at) for at in of_class if at not in found][:1]
    found += [int(at) for at in order if at not in found]
    return np.array(found[:QUERIES])


def _apart(lonlat: NDArray[np.float64], queries: NDArray[np.float64], chipset: ChipSet) -> NDArray[np.bool_]:
    """Tell which chips (n,) do not touch each query (q,), both degrees east and north: (q, n)."""
    north = np.abs(queries[:, None, 1] - lonlat[None, :, 1])
    east = np.abs((queries[:, None, 0] - lonlat[None, :, 0] + 180) % 360 - 180) * np.cos(
        np.radians(queries[:, None, 1])
    )
    side = max(one.side_metres for one in chipset.grids)
    return np.asarray(np.hypot(north, east) * METRES_PER_DEGREE > 1.6 * side)  # a corner's neighbour is 1.41 sides away
