"""The step that writes embeddings for others: as GeoParquet, or as Zarr where chips lie on regular grids."""

import logging
from pathlib import Path

from geoembed.errors import ConfigError
from geoembed.exchange import geoparquet, zarr
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits.embeddings import Embeddings
from geoembed.outputs import atomic, locks, records
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Result, Steps, verb
from geoembed.settings import PathLike

log = logging.getLogger(__name__)

OF_ZARR = geoparquet.DTYPES[:2]


@verb
def export(
    embeddings: PathLike = "embeddings.h5",
    *,
    output: PathLike = "embeddings.parquet",
    dtype: str = "float32",
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[Path]:
    """Write embeddings as GeoParquet 1.1, or as Zarr 3 where `output` ends in .zarr; the result is its path.

    GeoParquet: a row per chip with its outline in degrees, a column of vectors per modality and `fused`, NULL where a
    chip has none; chips along a Hilbert curve in row groups near 128 MiB. In float32 it holds all that the embeddings
    file holds, which `import_embeddings` gives again to the bit.
    Zarr: a group per grid, in which an array (y, x, feature) has a pixel for each chip, NaN where there is none.

    dtype: float32, float16, or of GeoParquet int8, with a scale for each dimension.

    Raises ConfigError, EmbeddingsError, and StaleError where `output` was made from something else.
    """
    path, source = Path(output), Path(embeddings)
    is_zarr = path.suffix.lower() == zarr.SUFFIX
    _require_options(path, dtype, is_zarr=is_zarr)
    (zarr if is_zarr else geoparquet).require()
    file = embeddings_file.read(source)
    record = Record("export", inputs={"embeddings": file.digest}, options={"dtype": dtype})
    with locks.hold(path, folder=False):
        is_kept = (_is_store_kept if is_zarr else _is_table_kept)(path, record, update=update, overwrite=overwrite)
        if not is_kept:
            yield from (zarr if is_zarr else geoparquet).write(path, file, dtype, record)
        atomic.touch(path)
        return _result(path, file, is_kept=is_kept)


def _require_options(path: Path, dtype: str, *, is_zarr: bool) -> None:
    """Raise ConfigError for a type that is unknown or that Zarr does not get, and for an output of another kind."""
    if dtype not in geoparquet.DTYPES:
        raise ConfigError(f"--dtype {dtype}: unknown; there are {', '.join(geoparquet.DTYPES)}")
    if is_zarr and dtype not in OF_ZARR:
        raise ConfigError(f"--dtype {dtype}: is for GeoParquet; for Zarr give {' or '.join(OF_ZARR)}")
    if not is_zarr and path.suffix.lower() not in geoparquet.SUFFIXES:
        raise ConfigError(f"{path}: embeddings are exported as GeoParquet or Zarr; end -o in .parquet or .zarr")


def _is_table_kept(path: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a GeoParquet file stays; a damaged one of the same record is made again, aloud."""
    atomic.sweep(path.parent, path.name)
    existing = geoparquet.record_of(path) if path.is_file() else None
    if existing is None:
        records.require_ours(path, geoparquet.is_ours, overwrite=overwrite)
    standing = records.settle(path, record, existing, finished=True, update=update, overwrite=overwrite)
    return standing is Standing.KEPT and _is_intact(geoparquet.faults(path))


def _is_store_kept(path: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a Zarr store stays, as of a file; else it is deleted."""
    atomic.sweep(path.parent, path.name)
    zarr.require_ours(path, overwrite=overwrite)
    standing = records.settle(path, record, zarr.record_of(path), finished=True, update=update, overwrite=overwrite)
    is_kept = standing is Standing.KEPT and _is_intact(zarr.faults(path))
    if not is_kept:
        zarr.remove(path)
    return is_kept


def _is_intact(faults: list[str]) -> bool:
    if faults:
        log.warning("%s; it is made again", faults[0].rpartition("; ")[0])
    return not faults


def _result(path: Path, file: Embeddings, *, is_kept: bool) -> Result[Path]:
    size = sum(part.stat().st_size for part in path.rglob("*")) if path.is_dir() else path.stat().st_size
    log.info("%s: %s chips, %s bytes", path, f"{len(file):,}", f"{size:,}")
    counts: dict[str, int | float] = {"chips": len(file), "bytes": size, "kept": int(is_kept)}
    return Result((path,), counts, read=lambda: path)
