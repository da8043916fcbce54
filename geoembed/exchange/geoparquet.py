"""Embeddings files as GeoParquet 1.1: a row per chip with its outline and its vectors, and the way back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoembed.errors import EmbeddingsError, of_library
from geoembed.exchange import conventions
from geoembed.exchange.scratch import Scratch
from geoembed.fits import embeddings
from geoembed.fits.embeddings import FUSED, Chunk, Embeddings
from geoembed.ground import grid
from geoembed.ground.grid import Cells, Grid
from geoembed.names import Modality
from geoembed.outputs import atomic, disk, documents
from geoembed.outputs.records import Record
from geoembed.progress import Progress
from geoembed.version import __version__

if TYPE_CHECKING:
    from collections.abc import Generator

KEY, SEAL = b"geoembed", b"geoembed_sha256"
"""Keys of the file's metadata: what it says of itself, and the SHA-256 of its metadata and of all rows."""

SEALED = (b"geo", b"stac_collection", KEY)

GROUP = 2**27
"""Bytes of a row group, about, before compression."""

BLOCK = 4096
"""Rows that are restored at a time."""

DTYPES = ("float32", "float16", "int8")
LEVELS = 127
"""Steps of int8 on either side of 0; -128 is not used, so that both sides are alike."""

TEXTS = ("chip_id", "aoi", "split")
COLUMNS = (*TEXTS, "row", "present", "bbox", "geometry")
"""Columns besides the vectors; a modality of one of these names has a column called embedding_<name>."""

SUFFIXES = (".parquet", ".geoparquet", ".pq")


@dataclass(frozen=True)
class About:
    """What an export says of itself.

    digest: that of the embeddings file.
    dtype: in which that file stores vectors.
    stored: in which they are stored here.
    columns: the column of each of the vectors' names.
    broken: rows of the embeddings file, and columns of `present`, of the chip files that could not be read.
    scales: with int8, per name what a stored number is multiplied with, by dimension.
    attributes: those of the embeddings file.
    """

    geoembed_version: str
    made_from: Record
    digest: str
    dtype: str
    stored: str
    modalities: tuple[Modality, ...]
    columns: dict[str, str]
    grids: tuple[Grid, ...]
    broken: list[tuple[int, int]]
    attributes: dict[str, Any]
    scales: dict[str, list[float]] = field(default_factory=dict)

    @property
    def lossless(self) -> bool:
        """Return whether the embeddings file can be had again to the bit."""
        return self.stored in ("float32", self.dtype)


@dataclass(frozen=True)
class Rows:
    """Some rows of an export.

    rows: (n,) their positions in the embeddings file.
    texts: chip_id, aoi and split, (n,) strings each.
    present: (n, M) bool.
    vectors: per name (n, D), 0 where a chip has none.
    absent: per name (n,) bool, where a chip has none.
    """

    rows: NDArray[np.int64]
    texts: dict[str, NDArray[np.str_]]
    present: NDArray[np.bool_]
    vectors: dict[str, NDArray[Any]]
    absent: dict[str, NDArray[np.bool_]]

    def seen(self, digest: Any) -> None:
        """Add the rows to a digest."""
        digest.update(self.rows.tobytes() + json.dumps([self.texts[name].tolist() for name in TEXTS]).encode())
        digest.update(np.ascontiguousarray(self.present).tobytes())
        for name, values in self.vectors.items():
            digest.update(self.absent[name].tobytes())
            digest.update(np.ascontiguousarray(values).data)


def require() -> Any:
    """Return pyarrow with its part for Parquet; raises EmbeddingsError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise EmbeddingsError("GeoParquet: is read and written by pyarrow; pip install pyarrow") from None
    return pyarrow


def write(path: Path, file: Embeddings, dtype: str, made_from: Record) -> Generator[Progress, None, None]:
    """Write an embeddings file as GeoParquet, whole, a row group at a time.

    Chips follow a Hilbert curve over their centres, so that a row group is a patch of ground. A chip without a vector
    has NULL there. Raises EmbeddingsError where the file is damaged, or a vector that int8 cannot hold has NaN in it.
    """
    arrow = require()
    about = _about(file, dtype, made_from)
    cells, order = grid.cells(file.grids, file.chip_id), hilbert(file.lonlat)
    metadata = _metadata(file, about, cells)
    schema = _schema(arrow, file, about).with_metadata(metadata)
    step = rows_of_group(sum(file.widths.values()) * np.dtype(dtype).itemsize, len(file))
    digest = _begun(metadata)
    with atomic.replacing(path) as part, disk.create(part) as sink:
        options = {"compression": "zstd", "compression_level": 9, "write_page_checksum": True, "version": "2.6"}
        with arrow.parquet.ParquetWriter(sink, schema, use_dictionary=["aoi", "split"], **options) as writer:
            for block in embeddings.slices(len(file), step):
                rows = _rows(file, order[block], about)
                rows.seen(digest)
                writer.write_table(_table(arrow, schema, rows, about, cells), row_group_size=step)
                yield Progress(block.stop, len(file), "chips")
            writer.add_key_value_metadata({SEAL: digest.hexdigest().encode()})


def rows_of_group(width: int, n: int) -> int:
    """Return how many rows of `width` bytes of vectors a row group has, with some 300 bytes for all else."""
    return max(1, min(n, GROUP // (width + 300)))


def hilbert(lonlat: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order of points (N, 2) along a Hilbert curve over their bounds, (N,) positions."""
    distances = geopandas.GeoSeries.from_xy(*lonlat.T).hilbert_distance()
    return np.argsort(distances.to_numpy(), kind="stable").astype(np.int64)


def _about(file: Embeddings, dtype: str, made_from: Record) -> About:
    return About(
        geoembed_version=__version__,
        made_from=made_from,
        digest=file.digest,
        dtype=embeddings.number_type(file.path),
        stored=dtype,
        modalities=file.modalities,
        columns={name: f"embedding_{name}" if name.lower() in COLUMNS else name for name in file.names},
        grids=file.grids,
        broken=[(int(row), int(m)) for row, m in file.broken],
        attributes=file.attributes,
        scales={name: _scales(file, name) for name in file.names} if dtype == "int8" else {},
    )


def _scales(file: Embeddings, name: str) -> list[float]:
    """Return the step of int8 of each dimension: its largest number is LEVELS steps from 0."""
    largest = np.zeros(file.widths[name], np.float32)
    for rows in embeddings.slices(len(file), BLOCK):
        values = file.vectors(name, rows)
        part = np.isnan(values)
        if (part.any(1) & ~part.all(1)).any() or np.isinf(values).any():
            raise EmbeddingsError(f"{file.path}: has numbers in {name} that int8 cannot hold; pass --dtype float32")
        largest = np.fmax(largest, np.fmax.reduce(np.abs(values), axis=0, initial=0.0))
    return [float(value) for value in np.where(largest > 0, largest / np.float32(LEVELS), 1.0).astype(np.float32)]


def _schema(arrow: Any, file: Embeddings, about: About) -> Any:
    """Return the columns of an export."""
    number = {"float32": arrow.float32(), "float16": arrow.float16(), "int8": arrow.int8()}[about.stored]
    fields = [(name, arrow.string()) for name in TEXTS]
    fields += [("row", arrow.int64()), ("present", arrow.list_(arrow.bool_(), len(file.modalities)))]
    fields += [(column, arrow.list_(number, file.widths[name])) for name, column in about.columns.items()]
    box = arrow.struct([(name, arrow.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
    fields += [("bbox", box), ("geometry", arrow.binary())]
    return arrow.schema(fields)


def _metadata(file: Embeddings, about: About, cells: Cells) -> dict[bytes, bytes]:
    """Return the metadata of an export: of GeoParquet, of STAC, and what it says of itself."""
    values = (geo_metadata(cells), conventions.stac_collection(file, about.stored), asdict(about))
    return {key: json.dumps(value).encode() for key, value in zip(SEALED, values, strict=True)}


def _begun(metadata: Mapping[bytes, bytes]) -> Any:
    """Begin the digest of an export with its metadata."""
    return hashlib.sha256(b"".join(metadata.get(key, b"") for key in SEALED))


def geo_metadata(cells: Cells) -> dict[str, Any]:
    """Return the metadata of GeoParquet 1.1.0 for the outlines of cells in degrees (OGC:CRS84), JSON-ready."""
    bounds = cells.bounds()
    crossing = bool((bounds[:, 0] > bounds[:, 2]).any())
    west, east = (-180.0, 180.0) if crossing else (bounds[:, 0].min(), bounds[:, 2].max())
    column = {
        "encoding": "WKB",
        "geometry_types": ["Polygon", "MultiPolygon"] if crossing else ["Polygon"],
        "crs": CRS("OGC:CRS84").to_json_dict(),
        "edges": "planar",
        "orientation": "counterclockwise",
        "bbox": [float(west), float(bounds[:, 1].min()), float(east), float(bounds[:, 3].max())],
        "covering": {"bbox": {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}},
    }
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _rows(file: Embeddings, rows: NDArray[np.int64], about: About) -> Rows:
    """Return rows of an embeddings file, in the order given."""
    ascending = np.argsort(rows)
    back = np.argsort(ascending)
    vectors, absent = {}, {}
    for name in file.names:
        values = file.vectors(name, rows[ascending])[back]
        is_absent = (values.view(np.uint32) == np.float32(np.nan).view(np.uint32)).all(axis=1)
        values[is_absent] = 0.0
        vectors[name], absent[name] = _stored(values, name, about), is_absent
    texts = {"chip_id": file.chip_id[rows], "aoi": file.aoi[rows], "split": file.split[rows]}
    return Rows(rows, texts, file.present[rows], vectors, absent)


def _stored(values: NDArray[np.float32], name: str, about: About) -> NDArray[Any]:
    if about.stored != "int8":
        return values.astype(about.stored, copy=False)
    return np.rint(values / np.asarray(about.scales[name], np.float32)).clip(-LEVELS, LEVELS).astype(np.int8)


def _table(arrow: Any, schema: Any, rows: Rows, about: About, cells: Cells) -> Any:
    def lists(values: NDArray[Any], absent: NDArray[np.bool_] | None = None) -> Any:
        flat = arrow.array(np.ascontiguousarray(values).reshape(-1))
        mask = None if absent is None or not absent.any() else arrow.array(absent)
        return arrow.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)

    outlines = shapely.orient_polygons(cells[rows.rows].outlines)
    bounds = shapely.bounds(outlines)
    columns = [arrow.array(rows.texts[name].tolist(), arrow.string()) for name in TEXTS]
    columns += [arrow.array(rows.rows), lists(rows.present)]
    columns += [lists(rows.vectors[name], rows.absent[name]) for name in about.columns]
    boxes = [arrow.array(bounds[:, i]) for i in range(4)]
    columns += [arrow.StructArray.from_arrays(boxes, fields=list(schema.field("bbox").type))]
    columns += [arrow.array(shapely.to_wkb(outlines).tolist(), arrow.binary())]
    return arrow.table(columns, schema=schema)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield a Parquet file for reading; what pyarrow raises in the body becomes EmbeddingsError."""
    arrow = require()
    if not path.exists():
        raise EmbeddingsError(f"{path}: no such file; mend its path")
    faults = (
        arrow.ArrowException,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
        shapely.errors.ShapelyError,
    )
    try:
        with arrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except faults as error:
        raise EmbeddingsError(f"{path}: cannot be read as GeoParquet ({of_library(error)}); give another") from None


def about(path: Path) -> About | None:
    """Return what an export says of itself, None for a Parquet file of others; raises EmbeddingsError.

    A damaged export of ours is told by EmbeddingsError too.
    """
    with opened(path) as file:
        text = (file.metadata.metadata or {}).get(KEY)
        return None if text is None else _checked(documents.parsed(json.loads(text), About))


def _checked(about: About) -> About:
    """Return what an export says of itself; raises ValueError where its parts do not go together."""
    named = {*about.modalities, FUSED}
    if set(about.columns) != named or about.stored not in DTYPES or about.dtype not in DTYPES[:2]:
        raise ValueError("what it says of its columns does not go together")
    if about.stored == "int8" and set(about.scales) != named:
        raise ValueError("it lacks scales")
    return about


def record_of(path: Path) -> Record | None:
    """Return the record of an export; None for a file of others, and for one that cannot be read."""
    try:
        found = about(path)
    except EmbeddingsError:
        return None
    return found.made_from if found else None


def is_ours(path: Path) -> bool:
    """Tell whether a file, however damaged, is a Parquet file that geoembed wrote: its metadata, at the end, say so."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**24))
        last = file.read()
    return atomic.is_blank(path) or (last.find(KEY) >= 0 and last.find(b"geoembed_version") >= 0)


def faults(path: Path) -> list[str]:
    """Return in a line each what is damaged in an export, all of which is read."""
    try:
        for _ in rows_in(path):
            pass
    except EmbeddingsError as error:
        return [str(error)]
    return []


def rows_in(path: Path) -> Iterator[Rows]:
    """Yield the rows of an export, a row group at a time; raises EmbeddingsError where it is damaged, in the end."""
    with opened(path) as file:
        metadata = file.metadata.metadata or {}
        found = _checked(documents.parsed(json.loads(metadata[KEY]), About))
        digest = _begun(metadata)
        for number in range(file.num_row_groups):
            rows = _of_table(file.read_row_group(number), found)
            rows.seen(digest)
            yield rows
        if metadata.get(SEAL, b"").decode("ascii", "replace") != digest.hexdigest():
            raise ValueError("it was edited or damaged: its content is not what its digest says")


def _of_table(table: Any, about: About) -> Rows:
    vectors, absent = {}, {}
    for name, column in about.columns.items():
        values, absent[name] = matrix(table.column(column))
        vectors[name] = values.astype(about.stored, copy=False)
        vectors[name][absent[name]] = 0
    texts = {name: np.array(table.column(name).to_pylist(), np.str_) for name in TEXTS}
    present = matrix(table.column("present"))[0].astype(bool)
    return Rows(table.column("row").to_numpy().astype(np.int64), texts, present, vectors, absent)


def matrix(column: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a column of lists of one length as (n, D), and which rows are NULL; raises ValueError for other lengths.

    Rows that are NULL hold NaN, or 0 of integers.
    """
    arrow = require()
    lists = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    if isinstance(lists, arrow.ChunkedArray):
        lists = lists.chunk(0) if lists.num_chunks else arrow.array([], lists.type)
    absent = np.asarray(lists.is_null().to_numpy(zero_copy_only=False), bool)
    there = lists.drop_null()
    flat = there.flatten()
    n = len(there)
    width = lists.type.list_size if arrow.types.is_fixed_size_list(lists.type) else (len(flat) // n if n else 0)
    if not arrow.types.is_fixed_size_list(lists.type) and n:
        lengths = np.asarray(there.value_lengths().to_numpy(zero_copy_only=False))
        if (lengths != width).any():
            raise ValueError(f"its vectors have {lengths.min()} to {lengths.max()} dimensions, which differ")
    values = np.asarray(flat.to_numpy(zero_copy_only=False))
    found = np.full((len(lists), width), np.nan if values.dtype.kind == "f" else 0, values.dtype)
    found[~absent] = values.reshape(n, width)
    return found, absent


def restore(path: Path, output: Path) -> Generator[Progress, None, None]:
    """Write the embeddings file that an export was made of, whole, with the same bits where the export has them.

    Vectors are put in their order in files beside the output, so that memory holds one row group.

    Raises EmbeddingsError where the export is damaged.
    """
    found = about(path)
    assert found is not None
    with opened(path) as file:
        n = file.metadata.num_rows
        widths = {name: _length(file.schema_arrow.field(column).type) for name, column in found.columns.items()}
    dtype = found.dtype if found.lossless else "float32"
    texts = {name: np.full(n, "", object) for name in TEXTS}
    present, places = np.zeros((n, len(found.modalities)), bool), np.zeros(n, np.int64)
    with Scratch(output) as scratch:
        vectors = {name: scratch.array((n, width), dtype) for name, width in widths.items()}
        done = 0
        for rows in rows_in(path):
            if rows.rows.size and not 0 <= rows.rows.min() <= rows.rows.max() < n:
                raise EmbeddingsError(f"{path}: was edited or damaged: has rows beyond its {n:,}; export it again")
            np.add.at(places, rows.rows, 1)
            present[rows.rows] = rows.present
            for name in TEXTS:
                texts[name][rows.rows] = rows.texts[name]
            for name, values in rows.vectors.items():
                numbers = values.astype(np.float32)
                if found.stored == "int8":
                    numbers *= np.asarray(found.scales[name], np.float32)
                numbers[rows.absent[name]] = np.nan
                vectors[name][rows.rows] = numbers
            done += len(rows.rows)
            yield Progress(done, n, "chips")
        if (places != 1).any():
            raise EmbeddingsError(f"{path}: lacks rows, or has one twice; export it again")
        broken = np.array(found.broken, np.int64).reshape(-1, 2)
        blocks = (_chunk(rows, present, vectors, broken) for rows in embeddings.slices(n, BLOCK))
        digest = embeddings.write(
            output,
            *(texts[name].astype(np.str_) for name in TEXTS),
            grids=found.grids,
            modalities=found.modalities,
            blocks=blocks,
            attributes=found.attributes,
            dtype=dtype,
        )
    if found.lossless and digest != found.digest:
        atomic.remove(output)
        raise EmbeddingsError(f"{path}: does not give the embeddings that it was made of; export them again")


def _length(kind: Any) -> int:
    """Return the length of lists of a type; raises ValueError where it has none."""
    if not require().types.is_fixed_size_list(kind):
        raise ValueError("a column of vectors is no column of lists of one length")
    return int(kind.list_size)


def _chunk(
    rows: slice, present: NDArray[np.bool_], vectors: dict[str, NDArray[Any]], broken: NDArray[np.int64]
) -> Chunk:
    inside = (broken[:, 0] >= rows.start) & (broken[:, 0] < rows.stop)
    return Chunk(present[rows], {name: np.asarray(values[rows]) for name, values in vectors.items()}, broken[inside])
