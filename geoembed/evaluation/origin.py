"""Where embeddings come from: the chips and the model that made them, to show chips and to embed them again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.errors import ChipError, EmbeddingsError, ModelError
from geoembed.evaluation import pictures, removal, space
from geoembed.fits.curves import NOTHING
from geoembed.fits.experiments import Tested
from geoembed.ground import distances
from geoembed.learning import checkpoint
from geoembed.outputs.records import Record
from geoembed.project import kinds
from geoembed.project.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from geoembed.chips.batches import Reader
    from geoembed.chips.folder import ChipSet
    from geoembed.evaluation.pictures import Gallery
    from geoembed.evaluation.space import Retrieval
    from geoembed.fits.embeddings import Embeddings
    from geoembed.labels.targets import Targets
    from geoembed.learning.checkpoint import Trained
    from geoembed.progress import Progress

BATCH = 64
"""Most chips that are encoded at once; larger batches with inputs removed are slower, as they leave the caches."""

QUERIES, NEIGHBOURS = 6, 5
"""Number of chips that are shown with what lies nearest to them, and of neighbours of each."""


@dataclass(frozen=True)
class Origin:
    """The chips and the model that embeddings were made from.

    chipset: the chips, with the channels that were embedded.
    model: the model's folder.
    trained: the model.
    channels: for each modality the channels that were embedded.
    rows: (N,) for each row of the embeddings the row in the chips' index.
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
    def device(self) -> torch.device:
        """Return the device that the model is on."""
        return self.trained.model.log_scale.device

    def missing(
        self, rows: NDArray[np.int64], seed: int, draws: int
    ) -> Generator[Progress, None, tuple[list[Tested], dict[str, NDArray[np.float32]]]]:
        """Embed test chips (rows of the embeddings) with inputs removed; return what to score on.

        Each draw of labels meets a random removal of its own. Also returns what `contrasted` gives for these rows, as
        their chips are read here.
        """
        cases = removal.cases(self.channels, seed=seed, draws=draws)
        reader = self.reader()
        batch_size = reader.batch_size(self.device.type, BATCH)
        removed = yield from removal.embed(reader, self.trained, self.rows[rows], cases, batch_size)
        tested = [Tested("missing", NOTHING, rows, removed.everything)]
        tested += [
            Tested("missing", case.name, rows, vectors, draw=case.draw - 1 if case.draw else None)
            for case, vectors in zip(cases, removed.without, strict=True)
        ]
        return tested, removed.contrasted

    def contrasted(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of some chips in the space that training contrasts, per modality (n, E)."""
        reader = self.reader()
        order = batches.blocks(self.rows[rows], reader.batch_size(self.device.type, BATCH))
        with closing(batches.ahead(reader, self.trained.described.statistics, order, 2)) as source:
            return space.contrasted(self.trained, source)

    def retrievals(self, contrasted: dict[str, NDArray[np.float32]]) -> list[Retrieval]:
        """Measure for each two modalities whether they find each other, where at least two chips have both."""
        pairs = [space.retrieval(a, b, contrasted[a], contrasted[b]) for a, b in combinations(contrasted, 2)]
        return [pair for pair in pairs if pair.n > 1]

    def galleries(
        self,
        embeddings: Embeddings,
        rows: NDArray[np.int64],
        contrasted: dict[str, NDArray[np.float32]],
        tasks: tuple[Targets, ...],
        seed: int,
    ) -> list[Gallery]:
        """Show what lies nearest to some of the chips `rows`, by fused embeddings and from one modality to another."""
        album, at = pictures.album(self.chipset), self.rows[rows]
        queries = _queries(rows, tasks, seed)
        shown, *rest = self.channels

        def gallery(title: str, note: str, asked: str, nearest: NDArray[np.int64]) -> Gallery:
            legends = dict.fromkeys(f"{name}: {album.legend(name)}" for name in (asked, shown))
            neighbours = np.where(nearest < 0, -1, at[nearest])
            note = f"{note}. {'; '.join(legends)}."
            return pictures.gallery(title, note, album, at[queries], neighbours, asked, shown)

        apart = _apart(embeddings.lonlat[rows], embeddings.lonlat[rows[queries]], self.chipset)
        fused = embeddings.vectors(embeddings.names[-1], rows)
        nearest = space.neighbours(fused[queries], fused, apart, NEIGHBOURS)
        note = "A test chip and those most similar to it by the fused embedding, without chips that touch it"
        galleries = [gallery(f"fused, shown in {shown}", note, shown, nearest)]
        for asked in rest:
            vectors = contrasted[asked][queries]
            nearest = space.neighbours(vectors, contrasted[shown], np.ones_like(apart), NEIGHBOURS)
            note = f"A test chip in {asked}, and the chips whose {shown} is nearest to that in the space of training"
            galleries.append(gallery(f"{asked} to {shown}", note, asked, nearest))
        return [shown_chips for shown_chips in galleries if shown_chips.rows]


def read(chips: Path, model: Path, embeddings: Embeddings, device: torch.device) -> Origin:
    """Read the chips and the model that embeddings were made from.

    Raises ModelError or ChipError where they are others.
    """
    import pandas as pd

    made_from = Record.from_json(embeddings.attributes.get("made_from"))
    lacking = [name for name in ("model_sha256", "channels") if name not in embeddings.attributes]
    lacking += [] if made_from else ["made_from"]
    if made_from is None or lacking:
        raise EmbeddingsError(
            f"{embeddings.path}: lacks the attributes {', '.join(lacking)};"
            " embed into another file with -o, or drop --chips"
        )
    if kinds.of(model) is not Kind.MODEL:
        fault = f"no model here, and that of {embeddings.path} is asked for"
        raise ModelError(f"{model}: {fault}; name it with --model, or drop --chips")
    trained = checkpoint.read(model, device=device)
    if trained.digest != embeddings.attributes["model_sha256"]:
        raise ModelError(f"{model}: {embeddings.path} was embedded with another model; name that one with --model")
    chipset = chip_folder.read(chips)
    rows = pd.Index(chipset.index["chip_id"]).get_indexer(embeddings.chip_id)
    if (rows < 0).any():
        lost = f"{int((rows < 0).sum()):,} of {len(embeddings):,} chips of {embeddings.path}"
        raise ChipError(f"{chips}: lacks {lost}; name the folder that was embedded with --chips")
    channels = {name: tuple(names) for name, names in embeddings.attributes["channels"].items()}
    gone = [name for name, names in channels.items() if not set(names) <= set(chipset.channels.get(name, ()))]
    if gone or made_from.inputs.get("chips") != chipset.digest:
        fault = f"lacks channels of {', '.join(gone)}" if gone else "are other chips, or were dealt out anew"
        raise ChipError(
            f"{chips}: {fault} than when {embeddings.path} was made;"
            " name the same with --chips, or embed again with --update"
        )
    return Origin(replace(chipset, channels=channels), model, trained, channels, rows.astype(np.int64))


def _queries(rows: NDArray[np.int64], tasks: tuple[Targets, ...], seed: int) -> NDArray[np.int64]:
    """Return positions in `rows` of QUERIES chips to show: for each task one of its last class, then any at random."""
    order = np.random.default_rng([seed, 3]).permutation(len(rows))
    queries: list[int] = []
    for task in tasks:
        values = task.values[rows[order]]
        of_class = order[values == len(task.classes) - 1] if task.classes else order[:0]
        queries += [at for at in of_class.tolist() if at not in queries][:1]
    queries += [at for at in order.tolist() if at not in queries]
    return np.array(queries[:QUERIES])


def _apart(lonlat: NDArray[np.float64], queries: NDArray[np.float64], chipset: ChipSet) -> NDArray[np.bool_]:
    """Tell which chips (n, 2) do not touch each query (q, 2), all degrees east and north: (q, n)."""
    side = max(lattice.side_metres for lattice in chipset.grids)
    return distances.metres(queries[:, None], lonlat) > 1.6 * side  # the chip at a corner is 1.41 sides away
