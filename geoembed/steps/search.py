"""The step that finds which chips look like given ones, and unlike others."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoembed import settings
from geoembed.chips import folder as chip_folder
from geoembed.chips.folder import ChipSet
from geoembed.errors import SearchError, StaleError, nearest
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits.embeddings import FUSED, Embeddings
from geoembed.outputs import atomic, digests, geopackage, locks, records, styles
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.retrieval import direction, examples, results
from geoembed.retrieval import page as pages
from geoembed.retrieval.examples import Examples
from geoembed.retrieval.page import Shown
from geoembed.retrieval.ranking import Nearest, Ranked

if TYPE_CHECKING:
    import geopandas

    from geoembed.settings import PathLike, Paths

log = logging.getLogger(__name__)

LIKE, UNLIKE = "--like", "--not"
RUNS, RUN = 32, 512
"""Runs of rows, spread evenly, and rows of each, that stand for all chips where examples are told from others."""


@dataclass(frozen=True)
class _Vectors:
    """Examples of a kind as vectors.

    own: (k, D) of rows of the embeddings that are searched.
    others: (m, D) of chips from elsewhere.
    chip_ids: (m,) of these.
    """

    own: NDArray[np.float32]
    others: NDArray[np.float32]
    chip_ids: NDArray[np.str_]

    @property
    def usable(self) -> NDArray[np.float32]:
        """Return all that are numbers and not all zeros."""
        vectors: NDArray[np.float32] = np.concatenate([self.own, self.others])
        return vectors[np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)]


@verb
def search(
    embeddings: PathLike = "embeddings.h5",
    *,
    like: Paths = (),
    unlike: Paths = (),
    features: str = FUSED,
    by: str | None = None,
    n: int = 100,
    chips: PathLike | None = None,
    page: bool = False,
    model: PathLike = "model",
    device: str = "auto",
    output: PathLike = "similar.gpkg",
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Find the `n` chips most like some, by the cosine of their vectors; the result is the map, nearest first.

    Examples, of `like` and `unlike`, are texts: `lon,lat` in degrees, a chip id, or a path: of a vector file, whose
    points and polygons name chips; of a chip folder, whose chips `model` embeds; or of an embeddings file of the same
    model. Examples are not among the chips found.

    Chips are ranked by the mean of the examples, each scaled to unit length. With `unlike`, they are ranked by a ridge
    regression of +1 for examples, -1 for counterexamples and 0 for chips from all over the file.

    features: which vectors are searched, a modality or fused.
    by: which vectors the examples are known by; None: the same. Others must share a space, which training makes.
    page: whether to write a page beside the map, named as it is and ending in .html, with pictures where `chips` are.

    Raises SearchError, EmbeddingsError, ChipError, ModelError and StaleError.
    """
    path, file = Path(output), embeddings_file.read(Path(embeddings))
    _require(path, file, features, by or features, n, settings.texts(like))
    chipset = None if chips is None else chip_folder.read(Path(chips))
    liked = examples.read(LIKE, settings.texts(like), file)
    disliked = examples.read(UNLIKE, settings.texts(unlike), file)
    _require_apart(liked, disliked, file)
    record = Record(
        "search",
        inputs={"embeddings": file.digest, "like": liked.digest(file), "not": disliked.digest(file)},
        options={
            "like": _named(settings.texts(like)), "not": _named(settings.texts(unlike)), "features": features,
            "by": by or features, "n": n,
        },
    )  # fmt: skip
    beside = path.with_suffix(".html") if page else None
    seal = digests.of_value([record.digest, chipset.digest if chipset else ""])
    with locks.hold(path, folder=False):
        if _is_kept(path, beside, seal, record, update=update, overwrite=overwrite):
            atomic.touch(*filter(None, (styles.beside(path), beside, path)))
            return _result(path, beside, {"found": len(results.read(path)), "kept": 1})
        yield Progress(0, 1, "steps", "examples")
        asked = _Asked(file, features, by or features, n, Path(model), device)
        up, down = (yield from asked.vectors(liked)), (yield from asked.vectors(disliked))
        ranked, how = yield from _ranked(asked, (liked, disliked), up, down)
        table = results.build(file, ranked)
        if beside is not None:
            text = _page(asked, chipset, (liked, disliked), table, how, seal)
            geopackage.require_closed(path)
            atomic.write_text(beside, text)
        geopackage.remove(path)
        results.write(path, table, record)
        first, last = float(table["similarity"].iloc[0]), float(table["similarity"].iloc[-1])
        log.info("%s: %d chips %s; similarity %.3f to %.3f", path, len(table), how, first, last)
        counts = {
            "found": len(table), "compared": ranked.compared, f"chips_without_{features}": ranked.missing,
            "examples": len(up.usable), "counterexamples": len(down.usable),
        }  # fmt: skip
        return _result(path, beside, counts, {"similarity": [first, last], "ranked": how})


def _require(path: Path, file: Embeddings, features: str, by: str, n: int, like: Sequence[str]) -> None:
    """Raise SearchError for what cannot be asked of an embeddings file."""
    if path.suffix.lower() != ".gpkg":
        raise SearchError(f"{path}: a search is written as GeoPackage; give -o a name that ends in .gpkg")
    if n < 1:
        raise SearchError(f"--n {n}: give the number of chips to find, from 1 on")
    if not like:
        raise SearchError("--like: nothing to search by; give at least one example, as LON,LAT, a chip id or a file")
    for option, name in (("--in", features), ("--by", by)):
        if name not in file.names:
            raise SearchError(f"{option} {name}: no vectors of {file.path}{nearest(name, file.names)}")
    if by != features:
        from geoembed.retrieval import images

        if not images.share_a_space(file, by, features):
            fault = f"{by} and {features} of {file.path} lie in no space that training made them share"
            raise SearchError(f"--by {by}: {fault}; search {features} by itself, without --by")


def _require_apart(liked: Examples, disliked: Examples, file: Embeddings) -> None:
    """Raise SearchError where a chip is an example of both kinds."""
    both = np.intersect1d(liked.rows, disliked.rows)
    if both.size:
        raise SearchError(f"{UNLIKE}: chip {file.chip_id[both[0]]} is given by {LIKE} too; drop it from one of them")


def _named(texts: Sequence[str]) -> list[str]:
    """Return examples as a record has them: without the folders of files, which may move."""
    return [Path(text).name if Path(text).exists() else text for text in texts]


@dataclass(frozen=True)
class _Asked:
    """What is searched, and by what.

    features, by: names of the vectors that are searched, and that examples are known by.
    n: the number of chips to find.
    model: folder of the model that embeds chips from elsewhere.
    """

    file: Embeddings
    features: str
    by: str
    n: int
    model: Path
    device: str

    def vectors(self, given: Examples) -> Generator[Progress, None, _Vectors]:
        """Return examples as vectors; raises SearchError where none of them has one."""
        file, rows = self.file, given.rows
        # Those of the searched name are compared with their digest when they are ranked.
        own = file.glimpse(self.by, rows) if self.by == self.features else file.vectors(self.by, rows)
        parts, chip_ids = [np.empty((0, own.shape[1]), np.float32)], [np.empty(0, np.str_)]
        for other in given.others:
            parts.append((yield from self._of_another_place(given.option, other)))
            chip_ids.append(other.index["chip_id"].to_numpy(str) if isinstance(other, ChipSet) else other.chip_id)
        found = _Vectors(own, np.concatenate(parts), np.concatenate(chip_ids))
        given_in_all, usable = len(own) + len(found.others), len(found.usable)
        if usable < given_in_all and not usable:
            raise SearchError(
                f"{given.option}: none of its {given_in_all:,} chips has {self.by}; give others, or another --by"
            )
        if usable < given_in_all:
            message = "%s: %s of %s chips have no %s and are left out"
            log.warning(message, given.option, f"{given_in_all - usable:,}", f"{given_in_all:,}", self.by)
        return found

    def _of_another_place(
        self, option: str, other: ChipSet | Embeddings
    ) -> Generator[Progress, None, NDArray[np.float32]]:
        if isinstance(other, ChipSet):
            from geoembed.retrieval import images

            return (yield from images.embed(other, self.model, self.file, self.by, self.device))
        if self.by not in other.names:
            raise SearchError(f"{option} {other.path}: has no {self.by}; it holds {', '.join(other.names)}")
        for key in ("model_sha256", "space"):
            if other.attributes.get(key) != self.file.attributes.get(key):
                fault = f"was embedded with another model than {self.file.path}; embed it with the same one"
                raise SearchError(f"{option} {other.path}: {fault}")
        return other.vectors(self.by)


def _ranked(
    asked: _Asked, given: tuple[Examples, Examples], up: _Vectors, down: _Vectors
) -> Generator[Progress, None, tuple[Ranked, str]]:
    """Rank all chips but the examples; return them, and how they were ranked, in words."""
    file, features = asked.file, asked.features
    elsewhere = np.concatenate([up.chip_ids, down.chip_ids])
    left_out = np.isin(file.chip_id, elsewhere) if elsewhere.size else np.zeros(len(file), bool)
    for examples_of_a_kind in given:
        left_out[examples_of_a_kind.rows] = True
    which = features if asked.by == features else f"{asked.by} in {features}"
    if len(down.usable):
        rest = _background(file, features)
        way = direction.ridge(up.usable, down.usable, rest)
        how = (
            f"by a ridge direction from {_count(up, 'example')} and {_count(down, 'counterexample')} against"
            f" {len(rest):,} chips ({which})"
        )
    else:
        way = direction.mean(up.usable)
        how = f"by the mean of {_count(up, 'example')} ({which})" if len(up.usable) > 1 else f"by cosine ({which})"
    if not np.linalg.norm(way) > 1e-9:
        raise SearchError(f"{LIKE}: the examples point in no direction together; give other ones")
    nearest_chips = Nearest(way, asked.n)
    for where, vectors in file.in_blocks(features):
        nearest_chips.add(where.start, vectors, left_out[where])
        yield Progress(where.stop, len(file), "chips")
    ranked = nearest_chips.ranked
    if ranked.missing:
        log.warning("%s of %s chips have no %s and are not compared", f"{ranked.missing:,}", f"{len(file):,}", features)
    if not len(ranked.rows):
        raise SearchError(f"{file.path}: no chip besides the examples has {features}; search another file or --in")
    if len(ranked.rows) < asked.n:
        log.info("%s: has %s chips to compare, fewer than --n %s", file.path, len(ranked.rows), asked.n)
    return ranked, f"nearest {how}"


def _count(vectors: _Vectors, word: str) -> str:
    n = len(vectors.usable)
    return f"{n:,} {word}{'s' if n != 1 else ''}"


def _background(file: Embeddings, features: str) -> NDArray[np.float32]:
    """Return vectors of chips from all over a file, those that are numbers and not all zeros."""
    starts = np.linspace(0, max(0, len(file) - RUN), RUNS).astype(np.int64)
    rows = np.unique(np.concatenate([np.arange(start, min(start + RUN, len(file))) for start in starts]))
    vectors = file.glimpse(features, rows)
    return vectors[np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)]


def _page(
    asked: _Asked,
    chipset: ChipSet | None,
    given: tuple[Examples, Examples],
    table: geopandas.GeoDataFrame,
    how: str,
    seal: str,
) -> str:
    """Return the page of a search, with pictures of chips where a chip folder is given."""
    file, parts = asked.file, list[Shown]()
    for kind, title in zip(given, ("Like", "Not like"), strict=True):
        own = file.chip_id[kind.rows]
        sources = [(other, other.index["chip_id"].to_numpy(str)) for other in kind.others if isinstance(other, ChipSet)]
        for source, chip_ids in [*([(chipset, own)] if chipset and own.size else []), *sources]:
            parts.append(_shown(title, source, chip_ids, asked.by, [""] * len(chip_ids), pages.EXAMPLES))
    if chipset is not None:
        captions = [
            f"{rank}: {similarity:.3f}" for rank, similarity in zip(table["rank"], table["similarity"], strict=True)
        ]
        parts.append(_shown("Found", chipset, table["chip_id"].to_numpy(str), asked.features, captions, pages.MOST))
        if not parts[-1].pictures:
            log.warning("%s: has none of the chips found, so that the page has no pictures of them", chipset.folder)
    lines = [f"{len(table):,} of {len(file):,} chips of {file.path.name}, {how}. Examples are not among them."]
    return pages.html(seal, "Where else it looks like this", lines, parts, table)


def _shown(
    title: str, chipset: ChipSet, chip_ids: NDArray[np.str_], name: str, captions: list[str], most: int
) -> Shown:
    from geoembed.evaluation import pictures

    modality = name if name in chipset.channels else next(iter(chipset.channels))
    album = pictures.album(chipset)
    return pages.shown(f"{title} ({modality}: {album.legend(modality)})", album, chip_ids, modality, captions, most)


def _is_kept(path: Path, beside: Path | None, seal: str, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a map of this record is there, and the page where one is asked for.

    Raises StaleError where another, or an edited one, must not be replaced.
    """
    existing = geopackage.record_of(path, results.LAYER)
    if existing is None:
        records.require_ours(path, geopackage.is_ours, overwrite=overwrite)
    elif not overwrite:
        geopackage.read(path, results.LAYER, StaleError)  # an edit is not to be lost
    if beside is not None:
        records.require_ours(beside, pages.is_ours, overwrite=True)
    for name in (path.name, styles.beside(path).name, *([beside.name] if beside else [])):
        atomic.sweep(path.parent, name)
    finished = existing is not None and results.is_finished(path)
    standing = records.settle(path, record, existing, finished=finished, update=update, overwrite=overwrite)
    if standing is Standing.BEGUN:
        log.warning("%s: it or its style is missing or damaged; both are made again", path)
    if standing is not Standing.KEPT:
        geopackage.require_closed(path)
        return False
    return beside is None or pages.is_kept(beside, seal)


def _result(
    path: Path, beside: Path | None, counts: dict[str, int], report: dict[str, Any] | None = None
) -> Result[geopandas.GeoDataFrame]:
    paths = (path,) if beside is None else (path, beside)
    return Result(paths, {**counts}, report=report or {}, read=partial(results.read, path))
