"""The step that takes over embeddings: tables and rasters of vectors of others, and exports of geoembed's own."""

import logging
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoembed import names, settings
from geoembed.chips import folder as chip_folder
from geoembed.chips import splits
from geoembed.chips.folder import ChipSet
from geoembed.errors import ConfigError, EmbeddingsError, StaleError
from geoembed.exchange import footprints, geoparquet, matching, pooling, rasters, tables
from geoembed.exchange.geoparquet import About
from geoembed.exchange.matching import Pairs
from geoembed.exchange.pooling import Pool
from geoembed.exchange.rasters import Tile
from geoembed.exchange.scratch import Scratch
from geoembed.exchange.tables import Table
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits.embeddings import FUSED, Chunk
from geoembed.ground.grid import Cells
from geoembed.outputs import atomic, digests, locks, records
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike, Paths

log = logging.getLogger(__name__)

STEP = "import"
BLOCK = 4096
"""Chips that are written at a time."""

FEW = 0.5
"""Share of a chip with valid pixels below which it is counted aloud."""

Counts = dict[str, int | float]


@dataclass(frozen=True)
class Ground:
    """The chips that vectors are pooled over.

    chip_id, aoi, split: (N,).
    pairs: which vectors of tables lie on which chips; None of rasters.
    """

    cells: Cells
    chip_id: NDArray[np.str_]
    aoi: NDArray[np.str_]
    split: NDArray[np.str_]
    pairs: Pairs | None = None


@dataclass(frozen=True)
class Source:
    """What is imported: tables or tiles, of vectors of the same dimensions.

    locations: as the user wrote them.
    """

    locations: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    tiles: tuple[Tile, ...] = ()

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Return the names of the dimensions of a vector."""
        return self.tables[0].dimensions if self.tables else self.tiles[0].dimensions

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """Return the local files behind each of the tables or tiles, by name."""
        return {str(table.path): (str(table.path),) for table in self.tables} | {
            tile.array or tile.raster.address: tile.files for tile in self.tiles
        }

    @cached_property
    def name(self) -> str:
        """Return what its embeddings are called where nobody says: the model that is known, else the file."""
        if (self.tables and tables.is_alphaearth(self.tables[0])) or (
            self.tiles and self.tiles[0].encoding == rasters.ALPHAEARTH
        ):
            return "alphaearth"
        if self.tiles and self.tiles[0].encoding == rasters.SCALED and len(self.dimensions) == 128:
            return "tessera"
        return re.sub(r"\W+", "_", Path(self.locations[0]).stem, flags=re.ASCII).strip("_")


@verb
def import_embeddings(
    source: Paths,
    *,
    output: PathLike = "embeddings.h5",
    chips: PathLike | None = None,
    name: str | None = None,
    column: str | None = None,
    pool: str = pooling.MEAN,
    match: str | None = None,
    scales: PathLike | None = None,
    crs: str | None = None,
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[dict[str, NDArray[np.float32]]]:
    """Take over embeddings as an embeddings file; the result is the vectors (N, D), by modality and fused.

    An export of geoembed's own gives the embeddings file that it was made of, to the bit where it was exported in
    float32. Others give a file with one modality, the same as `fused`.

    source: GeoParquet files with a column of vectors and geometry, or rasters with a band per dimension, of which
        those of AlphaEarth (int8) and TESSERA (int8 with a file of scales) are decoded as published.
    chips: the chips that vectors are pooled over; None: of tables, each footprint is a chip of its own.
    name: what the modality is called; None: alphaearth, tessera, or the file's name.
    column: the column of vectors of a table; None: the only one, or else columns such as A00 to A63.
    pool: `mean`, or `stats`: mean, deviation, minimum and maximum of each dimension.
    match: `centre` or `overlap`; None: as footprints are smaller or larger than chips (see `matching`).
    scales: the file of scales of a raster of integers; None: the one beside it that is called after it.
    crs: of a table whose geometry names none.

    Raises ConfigError, EmbeddingsError, ImageryError, ChipError, and StaleError where `output` was made of others.
    """
    path, locations = Path(output), settings.texts(source)
    _require_options(locations, pool, match)
    own = _own(locations) if chips is None else None
    if own is not None:
        _require_alone(locations, {"--name": name, "--column": column, "--match": match, "--scales": scales})
        return (yield from _restore(Path(locations[0]), own, path, update=update, overwrite=overwrite))
    found = _source(locations, column, None if scales is None else str(scales), crs)
    chipset = None if chips is None else chip_folder.read(Path(chips))
    if chipset is None and found.tiles:
        raise ConfigError(f"{locations[0]}: is a raster, which is pooled over chips; name them with --chips")
    modality = _modality(found, name)
    options = {"name": modality, "column": column, "pool": pool, "match": match, "crs": crs}
    existing = _existing(path, overwrite=overwrite)
    record = _record(found, chipset, options, existing)
    with locks.hold(path, folder=False):
        atomic.sweep(path.parent, path.name)
        standing = records.settle(path, record, existing, finished=True, update=update, overwrite=overwrite)
        counts: Counts = {}
        if standing is not Standing.KEPT or not _is_intact(path):
            ground = _ground(found, chipset, match)
            counts = yield from _write(path, found, ground, modality, pool, record)
        atomic.touch(path)
        return _result(path, counts)


def _require_options(locations: tuple[str, ...], pool: str, match: str | None) -> None:
    if not locations:
        raise ConfigError("no source given; name a GeoParquet file or rasters, as in geoembed import alphaearth.tif")
    if pool not in pooling.KINDS:
        raise ConfigError(f"--pool {pool}: unknown; there are {' and '.join(pooling.KINDS)}")
    if match not in (None, *matching.WAYS):
        raise ConfigError(f"--match {match}: unknown; there are {' and '.join(matching.WAYS)}")


def _is_table(location: str) -> bool:
    return Path(location).suffix.lower() in geoparquet.SUFFIXES


def _own(locations: tuple[str, ...]) -> About | None:
    """Return what an export of ours says of itself; None where the source is none, or several."""
    return geoparquet.about(Path(locations[0])) if len(locations) == 1 and _is_table(locations[0]) else None


def _require_alone(locations: tuple[str, ...], options: dict[str, object]) -> None:
    given = [option for option, value in options.items() if value is not None]
    if given:
        fault = "is an export of geoembed's own, which is restored as it was"
        raise ConfigError(f"{locations[0]}: {fault}; drop {given[0]}, or pool it over chips with --chips")


def _source(locations: tuple[str, ...], column: str | None, scales: str | None, crs: str | None) -> Source:
    """Read what there is; raises ConfigError where options are for another kind, and EmbeddingsError."""
    kinds = {_is_table(location) for location in locations}
    if len(kinds) > 1:
        raise ConfigError(f"{locations[0]} and others: are tables and rasters; import them apart")
    if kinds == {True}:
        if scales is not None:
            raise ConfigError(f"--scales {scales}: is for rasters, and {locations[0]} is a table; drop it")
        found = tuple(tables.read(Path(location), column, crs) for location in locations)
        for table in found:
            if len(table.dimensions) != len(found[0].dimensions):
                numbers = f"{len(table.dimensions)} dimensions, and {found[0].path} has {len(found[0].dimensions)}"
                raise EmbeddingsError(f"{table.path}: has {numbers}; import them apart")
        return Source(locations, tables=found)
    for option, value in {"--column": column, "--crs": crs}.items():
        if value is not None:
            raise ConfigError(f"{option} {value}: is for tables, and {locations[0]} is none; drop it")
    return Source(locations, tiles=tuple(rasters.find(locations, scales)))


def _modality(source: Source, name: str | None) -> str:
    try:
        return names.modality(name or source.name)
    except ValueError as error:
        raise ConfigError(f"--name: {error}") from None


def _existing(path: Path, *, overwrite: bool) -> Record | None:
    """Return the record of the output, None where there is none or a damaged one that may go; raises StaleError."""
    if not path.exists() or atomic.is_blank(path):
        return None
    try:
        record = embeddings_file.record_of(path)
    except EmbeddingsError:
        record = None
    if record is None:
        records.require_ours(path, embeddings_file.is_ours, overwrite=overwrite)
    return record


def _record(source: Source, chipset: ChipSet | None, options: Mapping[str, object], existing: Record | None) -> Record:
    files = digests.Files(existing.stamps if existing else {})
    prints = [files.fingerprint(address, paths) for address, paths in source.files.items()]
    inputs = {"source": [digest for _, digest in prints], "chips": chipset.digest if chipset else None}
    return Record(STEP, inputs, {"source": [name for name, _ in prints], **options}, files.stamps)


def _is_intact(path: Path) -> bool:
    """Tell whether all that a kept file holds is what its digests say, and say so where it is not."""
    faults = embeddings_file.faults(embeddings_file.read(path), whole=True)
    if faults:
        log.warning("%s; it is made again", faults[0].rpartition("; ")[0])
    return not faults


def _ground(source: Source, chipset: ChipSet | None, match: str | None) -> Ground:
    """Return the chips, and which vectors of tables lie on them; raises EmbeddingsError where none does."""
    if chipset is not None:
        chip_id, aoi, split = (chipset.index[name].to_numpy(str) for name in ("chip_id", "aoi", "split"))
        pairs = _matched(source.tables, chipset.cells, match) if source.tables else None
        return Ground(chipset.cells, chip_id, aoi, split, pairs)
    if match is not None:
        raise ConfigError(f"--match {match}: is about chips; name them with --chips, or drop it")
    placed = _placed(source.tables)
    chip_id, lonlat = np.array(placed.cells.chip_ids, np.str_), placed.cells.lonlat()
    side = float(np.median([grid.side_metres for grid in placed.cells.grids]))
    split = splits.assign(lonlat, side, np.random.default_rng(0))
    aoi = np.full(len(chip_id), names.text(Path(source.locations[0]).stem))
    vectors = np.flatnonzero(placed.cell_of >= 0)
    pairs = Pairs(vectors, placed.cell_of[vectors], np.ones(len(vectors)))
    return Ground(placed.cells, chip_id, aoi, split, pairs)


def _placed(sources: Sequence[Table]) -> footprints.Placed:
    """Return the footprints of tables as cells, and say what is not kept as it is."""
    shapes = np.concatenate([matching.in_crs(tables.shapes(table), table.crs, sources[0].crs) for table in sources])
    try:
        placed = footprints.place(shapes, sources[0].crs)
    except EmbeddingsError as error:
        raise EmbeddingsError(f"{sources[0].path}: {error}") from None
    if placed.changed:
        path, number = sources[0].path, f"{placed.changed:,}"
        log.warning("%s: %s footprints are no rectangles; their chips are their bounds", path, number)
    return placed


def _matched(sources: Sequence[Table], cells: Cells, match: str | None) -> Pairs:
    shapes = np.concatenate([matching.in_crs(tables.shapes(table), table.crs, sources[0].crs) for table in sources])
    pairs = matching.match(shapes, sources[0].crs, cells, match)
    if not pairs.chips.size:
        fault = matching.nowhere(shapes, sources[0].crs, cells)
        raise EmbeddingsError(f"{sources[0].path}: {fault}; give the file of that ground, or other --chips")
    return pairs


def _write(
    path: Path, source: Source, ground: Ground, modality: str, kind: str, record: Record
) -> Generator[Progress, None, Counts]:
    """Pool the vectors and write the embeddings file, whole; return what was left out."""
    with Scratch(path) as scratch:
        pool = Pool(len(ground.cells), len(source.dimensions), kind, scratch)
        pooling_of = _of_tables(source, ground, pool) if source.tables else _of_tiles(source, ground, pool)
        counts = yield from pooling_of
        present = pool.present
        if not present.any():
            raise EmbeddingsError(
                f"{source.locations[0]}: has no usable vector on a chip; give another, or other --chips"
            )
        lacking = int((~present).sum())
        if lacking:
            log.warning("%s: %s of %s chips have no vector", path, f"{lacking:,}", f"{len(present):,}")
        embeddings_file.write(
            path, ground.chip_id, ground.aoi, ground.split, grids=ground.cells.grids, modalities=(modality,),
            blocks=_blocks(pool, modality, len(present)),
            attributes={
                "model_sha256": modality,
                "model_config": {},
                "channels": {modality: pool.names(source.dimensions)},
                "space": f"vectors of {', '.join(record.options['source'])[:200]}, per chip: {_WORDS[kind]}",
                "made_from": record.to_json(),
            },
        )  # fmt: skip
    return counts | {"without": lacking}


_WORDS = {pooling.MEAN: "their mean", pooling.STATS: "their mean, deviation, minimum and maximum"}


def _of_tables(source: Source, ground: Ground, pool: Pool) -> Generator[Progress, None, Counts]:
    """Pool the vectors of tables; return how many lie nowhere and how many lack numbers, said aloud."""
    assert ground.pairs is not None
    start, lacking, total = 0, 0, sum(table.rows for table in source.tables)
    for table in source.tables:
        for rows, vectors in tables.batches(table):
            pairs = ground.pairs.within(slice(start + rows.start, start + rows.stop))
            usable = np.asarray(~np.isnan(vectors).any(axis=1))
            lacking += int((~usable).sum())
            which = ground.pairs.vectors[pairs] - (start + rows.start)
            chosen = usable[which]
            pool.add(ground.pairs.chips[pairs][chosen], vectors[which[chosen]], ground.pairs.weights[pairs][chosen])
            yield Progress(start + rows.stop, total, "vectors")
        start += table.rows
    outside = total - len(np.unique(ground.pairs.vectors))
    path = source.locations[0]
    if lacking:
        log.warning("%s: %s of %s vectors are NULL or have NaN; they are left out", path, f"{lacking:,}", f"{total:,}")
    if outside:
        log.warning("%s: %s of %s vectors lie on no chip; they are left out", path, f"{outside:,}", f"{total:,}")
    return {"vectors": total, "vectors_outside": outside, "vectors_lacking": lacking}


def _of_tiles(source: Source, ground: Ground, pool: Pool) -> Generator[Progress, None, Counts]:
    """Pool the pixels of tiles; return how many chips have few, said aloud."""
    valid = yield from rasters.pool(source.tiles, ground.cells, pool)
    if not pool.present.any():
        where = matching.extent(ground.cells.lonlat())
        raise EmbeddingsError(
            f"{source.locations[0]}: has no valid pixel on a chip; these lie {where}; give tiles of there"
        )
    few = int(((valid > 0) & (valid < FEW)).sum())
    if few:
        log.warning("%s: %s chips are covered by less than half", source.locations[0], f"{few:,}")
    return {"tiles": len(source.tiles), "chips_half_covered": few}


def _blocks(pool: Pool, modality: str, n: int) -> Iterator[Chunk]:
    for rows in embeddings_file.slices(n, BLOCK):
        vectors = pool.vectors(rows)
        yield Chunk(pool.present[rows, None], {modality: vectors, FUSED: vectors})


def _restore(
    source: Path, about: About, path: Path, *, update: bool, overwrite: bool
) -> Steps[dict[str, NDArray[np.float32]]]:
    """Write the embeddings file that an export was made of, where it is not there already."""
    with locks.hold(path, folder=False):
        atomic.sweep(path.parent, path.name)
        if not _is_same(path, about, update=update, overwrite=overwrite):
            yield from geoparquet.restore(source, path)
        if not about.lossless:
            log.warning("%s: was exported as %s; the vectors are rounded", source, about.stored)
        atomic.touch(path)
        return _result(path, {})


def _is_same(path: Path, about: About, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a path holds what an export gives; raises StaleError for something else that must stay."""
    existing = _existing(path, overwrite=overwrite)
    if existing is None:
        return False
    file, of_export = embeddings_file.read(path), Record.from_json(about.attributes.get("made_from"))
    if file.attributes == about.attributes and (file.digest == about.digest or not about.lossless):
        return _is_intact(path)
    if of_export is None:
        raise StaleError(f"{path}: holds other embeddings; choose another -o, or move it away")
    standing = records.settle(path, of_export, existing, finished=True, update=update, overwrite=overwrite)
    if standing is Standing.KEPT:
        raise StaleError(f"{path}: holds other numbers of the same chips; choose another -o or pass --overwrite")
    return False


def _result(path: Path, counts: Counts) -> Result[dict[str, NDArray[np.float32]]]:
    file = embeddings_file.read(path)
    present = dict(zip(file.modalities, file.present.sum(0).tolist(), strict=True))
    shown = ", ".join(f"{name} {n}" for name, n in present.items())
    log.info("%s: %s chips (%s)", path, f"{len(file):,}", shown)
    return Result((path,), {"chips": len(file), "kept": int(not counts), **counts, **present}, read=file.arrays)
