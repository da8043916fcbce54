"""Adoption: chips that geetiles and sartiles made, as M3LEO has them, are read where they lie and never changed.

    <area>_partitions_<name>_<hash>.geojson       tiles: identifier, geometry (EPSG:4326), perhaps split, split_<name>
    <area>_partitions_<name>_<hash>_splits*.csv   identifier and split (train, test, val), perhaps split_<name>
    <area>_partitions_<name>_<hash>/<dataset>/<identifier>.tif

So write rramosp/geetiles (partitions.py and cmds.py at 0022d48, gee.py at 1058d2c, defs/ as noted at KNOWN) and
rramosp/sartiles (chop.py at 138127f), and so reads spaceml-org/M3LEO (src/fdlsar, datamodules/components/base.py and
io/io.py at 6ce3ac1). The netCDF files of sartiles (gssic.py at 005bcbd) are on larger pixels and are not adopted.
"""

import csv
import fnmatch
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray

from geoembed import names
from geoembed.chips.cells import AreaCells
from geoembed.chips.cutting import Contents, Held
from geoembed.chips.folder import LARGEST, Adopted, Reading
from geoembed.errors import ChipError, ConfigError, nearest, of_library
from geoembed.ground import crs, vectors
from geoembed.ground.aoi import ALL, Area
from geoembed.ground.grid import Grid
from geoembed.outputs import digests

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
"""Our word for each of theirs."""

SEASONS = {"winter": "djf", "spring": "mam", "summer": "jja", "fall": "son"}
"""Our word for each of theirs; winter begins in December of the year before."""

LOOKED_AT = 50
"""Files of a data set whose size and bands are looked at to tell what most have."""

OFF = 1.001
"""Pixels up to which a file may lie off its tile: Earth Engine and rasterio round a tile's edges to whole pixels."""


@dataclass(frozen=True)
class Known:
    """A data set of geetiles: what it is and how its numbers are read.

    pattern: its name.
    modality: what it is.
    unit: of a value.
    bands: their names, in order, for files that do not tell them.
    scale: value = stored number * scale.
    signed: see `Reading`.
    """

    pattern: str
    modality: str
    unit: str
    bands: tuple[str, ...]
    scale: float
    signed: bool = False


def _bands(times: Iterable[str], *parts: str) -> tuple[str, ...]:
    return tuple(f"{time}_{part}" for time in times for part in parts)


_MONTHS = tuple(f"{month:02d}" for month in range(1, 13))
_COLOURS = ("red", "green", "blue")

KNOWN = (
    Known("s2rgbm-*", "s2", "surface reflectance", _bands(_MONTHS, *_COLOURS), 0.3 / 255),
    Known("s2rgb-*", "s2", "brightness", _bands(SEASONS, *_COLOURS), 1 / 255),
    Known("sentinel2-rgb-median-*", "s2", "surface reflectance", ("vis-red", "vis-green", "vis-blue"), 0.3 / 255),
    Known("s1grd-*", "s1", "sigma0 in dB", _bands(SEASONS, "vvasc", "vvdes", "vhasc", "vhdes"), 1.0, signed=True),
    Known("s1grdm-*", "s1", "sigma0 in dB", _bands(_MONTHS, "vv", "vh"), 1.0, signed=True),
)
"""The data sets that are imagery; 0 stands for no value in all of them, as Earth Engine writes it for masked pixels.

s2rgbm (13662e1) and sentinel2rgbmedian2020 (92abbc6) show reflectance from 0 to 0.3 as 0 to 255; s2rgb (1520209) bends
that by a gamma. s1grd (05ee4ca) and s1grdm (20e534e) cut decibels to whole numbers and write them as uint16, of which
M3LEO makes int16 again.
"""


class Stamp(NamedTuple):
    """A file's size in bytes and modification time in nanoseconds."""

    size: int
    modified: int


@dataclass(frozen=True)
class Tile:
    """A tile of an area.

    bounds: west, south, east, north in degrees.
    split: ours; None where they dealt out none.
    """

    identifier: str
    area: str
    bounds: tuple[float, float, float, float]
    split: str | None


@dataclass(frozen=True)
class Found:
    """What is to be adopted.

    folders: by area, without links.
    tiles: of all areas, each identifier once.
    files: by modality and area, the stamps of the data set's files by identifier.
    readings, units: by modality.
    size: pixels along a chip's side.
    tables: digests of the tables of tiles and splits.
    """

    folders: dict[str, Path]
    tiles: tuple[Tile, ...]
    files: dict[str, dict[str, dict[str, Stamp]]]
    readings: dict[str, Reading]
    units: dict[str, str]
    size: int
    tables: tuple[str, ...]

    @cached_property
    def cells(self) -> AreaCells:
        """Return the tiles' cells, each on a grid of its own, as no two tiles have pixels of one size."""
        number = {name: i for i, name in enumerate(self.folders)}
        bounds = np.array([tile.bounds for tile in self.tiles])
        area_of = np.array([number[tile.area] for tile in self.tiles], np.int64)
        areas = [Area(name, shapely.box(*_total(bounds[area_of == i])), crs.LONLAT) for name, i in number.items()]
        zeros, grids = np.zeros(len(self.tiles), np.int64), tuple(map(self._grid, self.tiles))
        return AreaCells(grids, np.arange(len(grids)), zeros, zeros, areas, area_of)

    def _grid(self, tile: Tile) -> Grid:
        west, south, east, north = tile.bounds
        dx, dy = (east - west) / self.size, (north - south) / self.size
        return Grid(f"{tile.identifier}-{self.size}", crs.LONLAT, west, north, dx, dy, self.size, northward=False)

    def splits(self) -> dict[str, str]:
        """Return the splits of the chips that they dealt out one to, by chip id."""
        given = zip(self.cells.chip_ids, self.tiles, strict=True)
        return {chip_id: tile.split for chip_id, tile in given if tile.split is not None}

    def missing(self, modality: str) -> int:
        """Return how many tiles have no file of a modality."""
        return sum(tile.identifier not in self.files[modality][tile.area] for tile in self.tiles)

    def inputs(self) -> dict[str, Any]:
        """Return digests of the tables, and of names, sizes and modification times of the files, JSON-ready."""
        files = {
            name: digests.of_value([[area, sorted(stamps.items())] for area, stamps in of_areas.items()])
            for name, of_areas in self.files.items()
        }
        return {"areas": list(self.tables), "sources": files}

    def adopted(self, output: Path) -> Adopted:
        """Return what a chip folder says of where the files lie."""
        folders = {area: Path(os.path.relpath(path, output.resolve())) for area, path in self.folders.items()}
        return Adopted({area: path.as_posix() for area, path in folders.items()}, self.readings)

    def require_apart(self, output: Path) -> None:
        """Raise ConfigError where a chip folder would lie in what is adopted, or the other way round."""
        ours = output.resolve()
        for path in self.folders.values():
            if ours.is_relative_to(path) or path.is_relative_to(ours):
                raise ConfigError(f"-o {output}: lies within --adopt {path}, or that in it; choose another -o")


def _total(bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the bounds of boxes (N, 4); of none, those of a point."""
    return np.concatenate([bounds[:, :2].min(axis=0, initial=180.0), bounds[:, 2:].max(axis=0, initial=-180.0)])


def find(
    folders: Sequence[Path],
    datasets: Mapping[str, Sequence[str]],
    wanted: Sequence[str] | None,
    split: str | None,
    size: int | None,
) -> Found:
    """Look at what geetiles made; raises ChipError and ConfigError where it cannot be adopted.

    datasets: the data set of each modality; of others, those of KNOWN.
    wanted: only these modalities; None: all.
    split: the column of splits; None: `split`, or the only one that begins so.
    size: pixels along a chip's side; None: that of most files.
    """
    roots = _roots(folders)
    named = _datasets(roots, datasets, wanted)
    tiles: dict[str, Tile] = {}
    tables, files, again = [], {name: {area: _stamps(root / one) for area, root in roots.items()}
                               for name, one in named.items()}, 0  # fmt: skip
    for area, root in roots.items():
        held = {identifier: root / named[name] for name in named for identifier in files[name][area]}
        found, digest = _tiles(area, root, held, split)
        again += len(tiles.keys() & found.keys())
        tiles |= {identifier: tile for identifier, tile in found.items() if identifier not in tiles}
        tables += digest
    if again:
        log.warning("%s tiles are in two folders; they belong to the first", f"{again:,}")
    for name, one in named.items():
        strays = sum(len(stamps.keys() - {*tiles}) for stamps in files[name].values())
        if strays:
            log.warning("%s: %s files of %s are of no tile; they are left out", name, f"{strays:,}", one)
    readings, units, sizes = {}, {}, Counter[int]()
    for name, one in named.items():
        paths = [roots[area] / one / f"{identifier}.tif" for area, of in files[name].items() for identifier in of]
        readings[name], units[name] = _reading(name, one, paths, sizes)
    if size is None:
        if not sizes:
            raise ChipError(f"{next(iter(roots.values()))}: has no square GeoTIFF that can be read; adopt another")
        size = sizes.most_common(1)[0][0]
    return Found(roots, tuple(tiles.values()), files, readings, units, size, tuple(tables))


def _roots(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the folders of data sets, without links, by area: those given, or those named so within these."""
    roots: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ChipError(f"{folder}: no such folder; name the one in which the folders of data sets lie")
        inner = sorted(path for path in folder.glob("*_partitions_*") if path.is_dir())
        for path in inner or [folder]:
            root = path.resolve()
            area = root.name.partition("_partitions_")[0]
            try:
                names.text(area)
            except ValueError as fault:
                raise ChipError(f"{path}: area {fault}; rename the folder") from None
            if area == ALL or area in roots:
                remedy = (
                    "which stands for all areas; rename it"
                    if area == ALL
                    else "as that of another; name one by --adopt"
                )
                raise ChipError(f"{path}: its area is called {area!r}, {remedy}")
            roots[area] = root
    return roots


def _datasets(
    roots: Mapping[str, Path], given: Mapping[str, Sequence[str]], wanted: Sequence[str] | None
) -> dict[str, str]:
    """Return the data set of each modality; raises ConfigError, and ChipError where there is none."""
    there = sorted({path.name for root in roots.values() for path in root.iterdir() if path.is_dir()})
    for name, (one, *others) in given.items():
        try:
            names.folder(one), names.modality(name)
        except ValueError as fault:
            raise ConfigError(f"--source {name}={one}: {fault}") from None
        if others or one not in there:
            why = "name one data set alone" if others else f"no data set of --adopt{nearest(one, there)}"
            raise ConfigError(f"--source {name}={one}: {why}")
    named, left = {name: one for name, (one, *_) in given.items()}, []
    for one in there:
        known = _known(one)
        if one in named.values():
            continue
        if known is None or (wanted is not None and known.modality not in wanted) or known.modality in given:
            left.append(one)
        elif known.modality in named:
            other = named[known.modality]
            raise ConfigError(f"--adopt: {other} and {one} are both {known.modality}; choose: --source "
                              f"{known.modality}={one}")  # fmt: skip
        else:
            named[known.modality] = one
    if wanted is not None:
        for name in wanted:
            if name not in named:
                raise ConfigError(f"--modalities {name}: --adopt has no such data set{nearest(name, [*named])}")
        named = {name: one for name, one in named.items() if name in wanted}
    place = next(iter(roots.values()))
    if not named:
        example = f", such as --source s2={left[0]}" if left else ""
        raise ChipError(f"{place}: has no data set that is known; say which is what with --source{example}")
    if left:
        log.info("left out: %s; --source NAME=%s would take it as imagery, and label takes rasters of classes",
                 ", ".join(left), left[0])  # fmt: skip
    return named


def _known(dataset: str) -> Known | None:
    return next((known for known in KNOWN if fnmatch.fnmatchcase(dataset, known.pattern)), None)


def _stamps(folder: Path) -> dict[str, Stamp]:
    """Return the stamps of a data set's GeoTIFFs by identifier, in order; other files are counted aloud."""
    if not folder.is_dir():
        return {}
    found, others = {}, 0
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, ending = Path(entry.name).stem, Path(entry.name).suffix
            try:
                names.identifier(stem if ending == ".tif" else "")
                status = entry.stat()
            except (ValueError, OSError):
                others += 1
                continue
            found[stem] = Stamp(status.st_size, status.st_mtime_ns)
    if others:
        log.warning("%s: %s files are no GeoTIFF named by a tile, <identifier>.tif; they are left out",
                    folder, f"{others:,}")  # fmt: skip
    return dict(sorted(found.items()))


def _tiles(area: str, root: Path, held: Mapping[str, Path], split: str | None) -> tuple[dict[str, Tile], list[str]]:
    """Return the tiles of an area by identifier, and digests of the tables that tell of them.

    held: the folders of files, by identifier, which tell of the tiles where no table does.
    """
    path = _beside(root, ".geojson")
    of_tiles: Texts = {}
    tables = []
    if path is None:
        bounds = _bounds_of_files(held)
    else:
        bounds, of_tiles, digest = _read_tiles(path)
        tables.append(digest)
    csv_path = _beside(root, ".csv")
    if csv_path is not None:
        of_tiles = _read_csv(csv_path)
        tables.append(digests.of_value(sorted(of_tiles.items())))
    column = _column(csv_path or path, of_tiles, split)
    if column is None:
        log.info("%s: has no splits; they are dealt out", area)
        return {name: Tile(name, area, box, None) for name, box in bounds.items()}, tables
    found = {}
    for identifier, box in bounds.items():
        word = of_tiles.get(identifier, {}).get(column, "")
        if word and word not in SPLITS:
            raise ChipError(f"{csv_path or path}: tile {identifier} has the {column} {word[:60]!r}; "
                            f"there are {', '.join(SPLITS)}: mend it")  # fmt: skip
        if word:
            found[identifier] = Tile(identifier, area, box, SPLITS[word])
    without = len(bounds) - len(found)
    if not found:
        raise ChipError(
            f"{csv_path or path}: gives none of the tiles of {root} a split; name another column by --split"
        )
    if without:
        log.warning("%s: %s tiles have no %s; they are left out", area, f"{without:,}", column)
    return found, tables


def _beside(root: Path, ending: str) -> Path | None:
    """Return the table of tiles or of splits beside a folder or in it; raises ChipError where there are several."""
    is_csv = ending == ".csv"
    beside = [path for path in root.parent.iterdir() if f"{path.stem}_".startswith(f"{root.name}_")]
    inside = [path for path in root.iterdir() if "_partitions_" in path.name or path.name == "splits.csv"]
    found = sorted(
        path
        for path in (*beside, *inside)
        if path.suffix == ending
        and not path.stem.endswith(("_expanded", "_parquet"))
        and (not is_csv or "splits" in path.stem)
        and path.is_file()
    )
    exact = [path for path in found if path.stem in (root.name, f"{root.name}_splits")]
    if len(found) > 1 and not exact:
        both = " and ".join(path.name for path in found[:2])
        raise ChipError(f"{root}: {both} could both tell of its {'splits' if is_csv else 'tiles'}; move one away")
    return next(iter(exact or found), None)


Texts = dict[str, dict[str, str]]
"""Texts of columns that tell splits, by identifier."""

Boxes = dict[str, tuple[float, float, float, float]]


def _read_tiles(path: Path) -> tuple[Boxes, Texts, str]:
    """Return bounds and splits of tiles, and a digest of the table."""
    layers = [name for name, kind in vectors.layers(path, ChipError).items() if kind]
    table = vectors.read(path, vectors.chosen(path, None, layers, "layer", ChipError), ChipError) if layers else None
    if table is None or "identifier" not in table or not len(table):
        raise ChipError(f"{path}: has no tiles with a column identifier; give the file that geetiles wrote")
    shapes = table.geometry.to_numpy()
    vectors.require_place(path, table.crs, shapes, ChipError)
    if not crs.same(table.crs.to_wkt(), crs.LONLAT):
        raise ChipError(f"{path}: is in {table.crs.name}, and geetiles writes tiles in EPSG:4326; convert it: "
                        f"ogr2ogr -t_srs EPSG:4326")  # fmt: skip
    if shapely.is_missing(shapes).any() or shapely.is_empty(shapes).any():
        raise ChipError(f"{path}: has tiles without geometry; remove them")
    identifiers = _identifiers(path, table["identifier"].map(vectors.text))
    boxes: Boxes = dict(zip(identifiers, map(tuple, shapely.bounds(shapes).tolist()), strict=True))
    for identifier, box in boxes.items():
        _require_box(path, identifier, box)
    columns = [str(name) for name in table if _is_split(str(name))]
    texts = {name: table[name].map(vectors.text).tolist() for name in columns}
    rows = zip(*texts.values(), strict=True) if columns else [()] * len(identifiers)
    of_tiles = {name: dict(zip(texts, row, strict=True)) for name, row in zip(identifiers, rows, strict=True)}
    return boxes, of_tiles, digests.of_value([sorted(boxes.items()), sorted(of_tiles.items())])


def _read_csv(path: Path) -> Texts:
    """Return the splits of tiles, by identifier and column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise ChipError(f"{path}: cannot be read as CSV ({of_library(fault)}); mend it or move it away") from None
    if any("identifier" not in row for row in rows[:1]) or not rows:
        raise ChipError(f"{path}: has no rows with a column identifier; give the file that geetiles wrote")
    identifiers = _identifiers(path, [str(row["identifier"]).strip() for row in rows])
    return {
        identifier: {str(key): str(text).strip() for key, text in row.items() if _is_split(str(key))}
        for identifier, row in zip(identifiers, rows, strict=True)
    }


def _is_split(column: str) -> bool:
    return column == "split" or (column.startswith("split_") and column != "split_nb")


def _identifiers(path: Path, identifiers: Iterable[str]) -> list[str]:
    """Return identifiers as they are; raises ChipError where one is none, or there twice."""
    seen: dict[str, None] = {}
    for identifier in identifiers:
        try:
            names.identifier(identifier)
        except ValueError as fault:
            raise ChipError(f"{path}: {fault}; mend the file") from None
        if identifier in seen:
            raise ChipError(f"{path}: holds the tile {identifier} twice; remove one")
        seen[identifier] = None
    return list(seen)


def _require_box(path: Path, identifier: str, box: Sequence[float]) -> None:
    west, south, east, north = box
    if not (-180.0 <= west < east <= 180.0 and -90.0 <= south < north <= 90.0):
        raise ChipError(f"{path}: tile {identifier} lies from {west:g} {south:g} to {east:g} {north:g} degrees, which "
                        "is no tile; mend it or remove it")  # fmt: skip


def _bounds_of_files(held: Mapping[str, Path]) -> Boxes:
    """Return the bounds of tiles as their files have them; tiles whose file tells none have none."""
    boxes: Boxes = {}
    for identifier, folder in held.items():
        try:
            with _opened(folder.parent, folder / f"{identifier}.tif") as (source, _):
                _require_lonlat(source)
                box = tuple(source.bounds)
            _require_box(folder, identifier, box)
        except (UnusableError, ChipError) as fault:
            log.warning("%s: %s; its tile is left out", folder / f"{identifier}.tif", fault)
            continue
        boxes[identifier] = box
    return boxes


def _column(path: Path | None, of_tiles: Texts, wanted: str | None) -> str | None:
    """Return the column of splits; None where there is none and none is asked for."""
    columns = list(next(iter(of_tiles.values()), {}))
    if wanted is None:
        others = [name for name in columns if name != "split"]
        if "split" in columns and others:
            log.info("splits are taken from the column split; --split %s would take another", others[0])
        elif len(others) > 1:
            raise ConfigError(f"{path}: has {len(others)} columns of splits; choose one, as in --split {others[0]}")
        return next(iter(columns), None) if "split" not in columns else "split"
    if wanted not in columns:
        raise ConfigError(f"--split {wanted}: {path or '--adopt'} has no such column{nearest(wanted, columns)}")
    return wanted


class UnusableError(Exception):
    """Why a file of a tile is no chip, in words."""


@contextmanager
def _opened(root: Path, path: Path) -> Iterator[tuple[Any, bytes]]:
    """Yield a GeoTIFF of others as an open rasterio data set, and its bytes; raises UnusableError where that fails.

    root: the folder without links that it has to lie in.
    """
    if not os.path.realpath(path).startswith(f"{root}{os.sep}"):
        raise UnusableError("a link leads out of the folder")
    try:
        data = path.read_bytes()
        if not data:
            raise UnusableError("is empty")
        alone = rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR")
        with alone, rasterio.MemoryFile(data) as file, file.open(driver="GTiff") as source:
            yield source, data
    except (rasterio.errors.RasterioError, ValueError, MemoryError):
        raise UnusableError("is no GeoTIFF, or a damaged one") from None
    except OSError as fault:
        raise UnusableError(f"cannot be read ({of_library(fault)})") from None


def _require_lonlat(source: Any) -> None:
    """Raise UnusableError where an open data set is not north up in degrees."""
    if source.crs is None:
        raise UnusableError("has no CRS")
    if not crs.same(source.crs.to_wkt(), crs.LONLAT):
        raise UnusableError(f"is in {crs.name(source.crs.to_wkt())[:40]}, not in EPSG:4326")
    transform = source.transform
    if transform.b or transform.d or not transform.a > 0.0 > transform.e:
        raise UnusableError("is not north up")


def _channels(source: Any, known: Known | None) -> tuple[str, ...]:
    """Return the channels of an open data set's bands, seasons in our words; raises UnusableError."""
    bands = [text or "" for text in source.descriptions]
    if not any(bands):
        usual = known is not None and len(known.bands) == len(bands)
        bands = list(known.bands) if known and usual else [f"band_{number}" for number in source.indexes]
    parts = [band.partition("_") for band in bands]
    channels = tuple(SEASONS.get(time, time) + line + part for time, line, part in parts)
    try:
        for channel in channels:
            names.text(channel)
    except ValueError as fault:
        raise UnusableError(f"has a band of which the name {fault}") from None
    if len({*channels}) < len(channels):
        raise UnusableError("has two bands of one name")
    return channels


def _reading(modality: str, dataset: str, paths: Sequence[Path], sizes: Counter[int]) -> tuple[Reading, str]:
    """Return how the files of a data set are read, as most are of those looked at, and the unit of a value.

    sizes: counts the sides of square files.
    """
    known, seen = _known(dataset), Counter[tuple[str, ...]]()
    for number in sorted({*np.linspace(0, len(paths) - 1, min(LOOKED_AT, len(paths))).astype(int).tolist()}):
        path = paths[number]
        try:
            with _opened(path.parents[1], path) as (source, _):
                seen[_channels(source, known)] += 1
                if source.height == source.width <= LARGEST:
                    sizes[source.height] += 1
        except UnusableError:
            continue  # it is told when all files are read
    if not seen and known is None:
        raise ChipError(f"--source {modality}={dataset}: has no GeoTIFF that can be read; leave it out")
    channels = seen.most_common(1)[0][0] if seen else ()
    if known is None:
        return Reading(dataset, channels), "unknown"
    return Reading(dataset, channels, known.scale, 0.0, 0.0, known.signed), known.unit


class Adopter:
    """Reads tiles' files; may be called from several threads."""

    def __init__(self, found: Found, min_valid: float) -> None:
        """Make a reader; `min_valid` is the share of valid pixels below which a modality is absent from a chip."""
        self._found, self._min_valid = found, min_valid

    def __call__(self, tile: Tile) -> tuple[Contents, list[tuple[str, str, Path]]]:
        """Return what a tile's files hold, and of each that cannot be used its modality, why, and its path."""
        contents: Contents = {}
        unusable = []
        for name, reading in self._found.readings.items():
            if tile.identifier not in self._found.files[name][tile.area]:
                continue
            root = self._found.folders[tile.area]
            path = root / reading.dataset / f"{tile.identifier}.tif"
            try:
                contents[name] = self._held(root, path, tile, reading)
            except UnusableError as fault:
                unusable.append((name, str(fault), path))
        return contents, unusable

    def _held(self, root: Path, path: Path, tile: Tile, reading: Reading) -> Held:
        size = self._found.size
        with _opened(root, path) as (source, data):
            if (source.height, source.width) != (size, size):
                raise UnusableError(f"has {source.height} x {source.width} pixels, not {size} x {size}")
            if source.count != len(reading.channels):
                raise UnusableError(f"has {source.count} bands, not {len(reading.channels)}")
            if _channels(source, _known(reading.dataset)) != reading.channels:
                raise UnusableError("has bands of other names than most")
            if any(np.dtype(dtype).kind not in "uif" for dtype in source.dtypes):
                raise UnusableError(f"holds {source.dtypes[0]}, which are no numbers that pixels have")
            _require_lonlat(source)
            off = np.abs(np.array(source.bounds) - tile.bounds) / np.tile(np.abs(source.res), 2)
            if not off.max() <= OFF:
                raise UnusableError("does not lie on its tile")
            valid = np.isfinite(reading.decode(source))
        is_present = np.asarray(valid.any(axis=(1, 2)))
        fraction = float(valid[is_present].all(axis=0).mean()) if is_present.any() else 0.0
        if not is_present.any() or fraction < self._min_valid:
            raise UnusableError(f"has less than {100.0 * self._min_valid:g} % valid pixels (--min-valid)")
        return Held(round(fraction, 6), tuple(compress(reading.channels, is_present)), digests.of_small(data))
