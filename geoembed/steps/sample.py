"""The step that writes a simulated Earth: areas, imagery, land cover, and the files of `sample_folder`."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import rasterio
import shapely
import shapely.affinity
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetWriter
from rasterio.warp import Resampling, reproject, transform_bounds
from rasterio.windows import Window

from geoembed.earth import landscape, optics, radar
from geoembed.earth import record as earth_record
from geoembed.earth.places import PLACES, Place
from geoembed.earth.record import Earth
from geoembed.earth.surfaces import LEGEND
from geoembed.errors import GeoembedError, StaleError
from geoembed.ground import aoi, crs
from geoembed.outputs import atomic, documents, geopackage, locks, records
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike
from geoembed.version import __version__

log = logging.getLogger(__name__)

RECORD = earth_record.NAME
TEXTS = Path(__file__).with_name("sample_folder")
"""Where the files lie that are copied: settings, Makefile and README."""
SIDE, PIXELS = 10_100.0, 1088
"""Side of an area's polygon in metres, and of its rasters in pixels of 10 m."""
COVER_STEP = 12_000
"""Land-cover pixels per degree, as WorldCover has."""


@dataclass(frozen=True)
class Site:
    """Where the rasters of an area lie.

    place: the area.
    crs: its UTM zone, as authority code.
    left, top: upper left corner, in metres.
    """

    place: Place
    crs: str
    left: float
    top: float

    def transform(self, pixel: float) -> Affine:
        """Return the transform of a raster with pixels of so many metres."""
        return Affine(pixel, 0, self.left, 0, -pixel, self.top)


@verb
def sample(
    directory: PathLike = "sample",
    *,
    seed: int = 0,
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Write a small simulated Earth into `directory`, the same bytes for the same seed; the result is its areas.

    Files of the same seed are kept, and missing ones are made. `update` makes the Earth of an older geoembed again,
    `overwrite` that of another seed. Raises StaleError where such an Earth has to stay, and GeoembedError where other
    people's files are in the way.
    """
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise GeoembedError(f"{folder}: is a file; name a folder for the simulated Earth")
    with locks.hold(folder, folder=True):
        return (yield from _simulate(folder, seed, update, overwrite))


def _simulate(folder: Path, seed: int, update: bool, overwrite: bool) -> Steps[geopandas.GeoDataFrame]:
    rasters = [*(f"{kind}/{place.name}.tif" for place in PLACES for kind in ("s2", "s1", "coh")), "landcover.tif"]
    texts = ["geoembed.toml", "Makefile", "README.txt"]
    files = [*rasters, "aoi.gpkg", *texts]
    record = Record("sample", {"geoembed_version": __version__}, {"seed": seed})
    existing = _existing(folder, overwrite=overwrite)
    standing = records.settle(
        folder, record, existing.made_from if existing else None, finished=True,
        remove=partial(_remove, folder, existing), update=update, overwrite=overwrite,
    )  # fmt: skip
    there = [name for name in files if (folder / name).exists() and not atomic.is_blank(folder / name)]
    if existing is None and there and not (overwrite and (folder / RECORD).exists()):
        remedy = "choose an empty folder or move it away"
        if (folder / RECORD).exists():  # but empty
            remedy = "make the Earth again with --overwrite, or move the folder away"
        raise GeoembedError(f"{folder / there[0]}: is in the way and not of geoembed's making; {remedy}")
    atomic.sweep(folder, deep=True)
    written = dict.fromkeys(files, "") | (existing.files if existing and standing is Standing.KEPT else {})
    missing = _missing(folder, written, (*texts, "aoi.gpkg"))
    written |= dict.fromkeys(missing, "")
    earth_record.write(folder, record, written)
    total = len(PLACES)
    yield Progress(0, total, "areas")
    if any(name in rasters for name in missing):
        for done, name in enumerate(_write_imagery(folder, seed, missing), 1):
            of_area = [file for file in missing if Path(file).stem == name]
            earth_record.write(folder, record, written := written | documents.of_files(folder, of_area))
            yield Progress(done, total, "areas", name)
    if "aoi.gpkg" in missing:
        _write_areas(folder / "aoi.gpkg")
    for name in texts:
        if name in missing:
            atomic.write_text(folder / name, (TEXTS / name).read_text(encoding="utf-8"))
    earth_record.write(folder, record, written | documents.of_files(folder, missing))
    yield Progress(total, total, "areas")
    log.info("%s: simulated Earth, seed %d, %d areas; try `make -C %s`", folder, seed, total, folder)
    counts: dict[str, int | float] = {"areas": total, "written": len(missing), "kept": len(files) - len(missing)}
    return Result((folder,), counts, report={"seed": seed}, read=partial(aoi.load, folder / "aoi.gpkg"))


def _existing(folder: Path, *, overwrite: bool) -> Earth | None:
    """Return the record that is there; None where there is none, or a damaged one that may be replaced."""
    path = folder / RECORD
    try:
        return earth_record.read(folder, StaleError)
    except StaleError:
        if not path.exists() or atomic.is_blank(path) or (overwrite and documents.is_ours(path)):
            return None
        raise


def _missing(folder: Path, files: dict[str, str], edited: tuple[str, ...]) -> list[str]:
    """Return the files that are missing, empty or damaged; those that people edit stay, aloud."""
    missing = []
    for name, digest in files.items():
        path = folder / name
        if not documents.damaged(folder, {name: digest}):
            continue
        if name in edited and digest and path.exists() and not atomic.is_blank(path) and not _is_broken(path):
            log.warning("%s: was edited or damaged, and stays; --overwrite makes all files again", path)
            continue
        missing.append(name)
    return missing


def _is_broken(path: Path) -> bool:
    return path.suffix == ".gpkg" and bool(geopackage.faults(path, whole=True))


def _remove(folder: Path, existing: Earth | None) -> None:
    """Delete the files that the record names, unless they lie outside the folder, and the record."""
    geopackage.require_closed(folder / "aoi.gpkg")
    for name in existing.files if existing else ():
        if (folder / name).resolve().is_relative_to(folder.resolve()):
            (folder / name).unlink(missing_ok=True)
    (folder / RECORD).unlink()


def sites() -> list[Site]:
    """Return where the five areas' rasters lie; corners are multiples of 20 m, so that all lattices agree."""
    all_sites = []
    for place in PLACES:
        zone = int((place.longitude + 180) // 6) + 1
        utm = f"EPSG:{(32700 if place.south else 32600) + zone}"
        x, y = crs.transformer(crs.LONLAT, utm).transform(place.longitude, place.latitude)
        half = PIXELS * 10 / 2
        all_sites.append(Site(place, utm, round((x - half) / 20) * 20.0, round((y + half) / 20) * 20.0))
    return all_sites


def _write_imagery(folder: Path, seed: int, missing: list[str]) -> Iterator[str]:
    """Write the rasters that are missing, and yield the name of each area once it is done."""
    with ExitStack() as stack:
        cover = None
        if "landcover.tif" in missing:
            part = stack.enter_context(atomic.replacing(folder / "landcover.tif"))
            cover = stack.enter_context(_open_cover(part))
        for number, site in enumerate(sites()):
            name = site.place.name
            # One generator per area, so that none depends on another's draws.
            rng = np.random.default_rng([seed, number])
            land = landscape.build(site.place, rng, PIXELS)
            if cover is not None:
                _write_cover(cover, site, land.worldcover)
            kinds = [kind for kind in ("s2", "s1", "coh") if f"{kind}/{name}.tif" in missing]
            if kinds:
                s2 = optics.observe(land, rng)
                powers = radar.power(land, rng)
                s1, coh = radar.amplitude(powers, rng), radar.coherence(land, powers, rng)
                stored: dict[str, tuple[dict[str, Any], float, float, float]] = {
                    "s2": (s2, 10.0, 0.0001, 0),
                    "s1": (s1, 10.0, 0.01, radar.NADA),
                    "coh": (coh, 20.0, 0.01, 0),
                }
                for kind in kinds:
                    channels, pixel, scale, nodata = stored[kind]
                    _write_raster(folder / kind / f"{name}.tif", channels, site, pixel, scale, nodata)
            yield name


def _write_raster(
    path: Path, channels: dict[str, NDArray[Any]], site: Site, pixel: float, scale: float, nodata: float
) -> None:
    first = next(iter(channels.values()))
    with (
        atomic.replacing(path) as part,
        rasterio.open(
            part, "w", driver="GTiff", width=first.shape[1], height=first.shape[0], count=len(channels),
            dtype=first.dtype, crs=site.crs, transform=site.transform(pixel), nodata=nodata,
            tiled=True, blockxsize=256, blockysize=256, interleave="pixel", compress="zstd", zstd_level=1,
            predictor=2,
        ) as raster,
    ):  # fmt: skip
        raster.write(np.stack(list(channels.values())))
        raster.descriptions = tuple(channels)
        raster.scales, raster.offsets = (scale,) * len(channels), (0.0,) * len(channels)
        raster.update_tags(TIFFTAG_IMAGEDESCRIPTION="Simulated by geoembed sample; not an observation of the Earth")


def _open_cover(path: Path) -> DatasetWriter:
    """Open one land-cover raster that spans all areas; tiles that no area touches take no room (sparse)."""
    west = np.floor(min(place.longitude for place in PLACES) - 0.1)
    east = np.ceil(max(place.longitude for place in PLACES) + 0.1)
    south = np.floor(min(place.latitude for place in PLACES) - 0.1)
    north = np.ceil(max(place.latitude for place in PLACES) + 0.1)
    raster = rasterio.open(
        path, "w", driver="GTiff", width=int((east - west) * COVER_STEP), height=int((north - south) * COVER_STEP),
        count=1, dtype="uint8", nodata=0, crs=rasterio.CRS.from_epsg(4326),
        transform=Affine(1 / COVER_STEP, 0, west, 0, -1 / COVER_STEP, north),
        tiled=True, blockxsize=1024, blockysize=1024, compress="zstd", zstd_level=1, sparse_ok=True,
    )  # fmt: skip
    raster.write_colormap(1, {0: (0, 0, 0, 0)} | {code: (*rgb, 255) for code, rgb in LEGEND.items()})
    raster.descriptions = ("simulated land cover, WorldCover legend",)
    return raster


def _write_cover(cover: DatasetWriter, site: Site, classes: NDArray[np.uint8]) -> None:
    reach = PIXELS * 10
    west, south, east, north = transform_bounds(
        site.crs, crs.LONLAT, site.left, site.top - reach, site.left + reach, site.top
    )
    left, top = cover.transform.c, cover.transform.f
    column, row = int(np.floor((west - left) * COVER_STEP)), int(np.floor((top - north) * COVER_STEP))
    last_column, last_row = int(np.ceil((east - left) * COVER_STEP)), int(np.ceil((top - south) * COVER_STEP))
    corner = Affine(1 / COVER_STEP, 0, left + column / COVER_STEP, 0, -1 / COVER_STEP, top - row / COVER_STEP)
    window = Window(column, row, last_column - column, last_row - row)
    warped = np.zeros((last_row - row, last_column - column), np.uint8)
    reproject(
        classes, warped, src_transform=site.transform(10.0), src_crs=site.crs, src_nodata=0,
        dst_transform=corner, dst_crs=cover.crs, dst_nodata=0, resampling=Resampling.nearest,
    )  # fmt: skip
    cover.write(warped, 1, window=window)


def _write_areas(path: Path) -> None:
    """Write the five polygons, each turned a little off its rasters' lattice, as hand-drawn areas are."""
    shapes = []
    for number, site in enumerate(sites()):
        x, y = site.left + PIXELS * 5, site.top - PIXELS * 5
        square = shapely.box(x - SIDE / 2, y - SIDE / 2, x + SIDE / 2, y + SIDE / 2)
        turned = shapely.affinity.rotate(square, (number - 2) * 0.9 + 0.4)
        transformer = crs.transformer(site.crs, crs.LONLAT)
        shapes.append(shapely.Polygon(list(transformer.itransform(turned.exterior.coords))))
    table = geopandas.GeoDataFrame({"name": [site.place.name for site in sites()]}, geometry=shapes, crs=crs.LONLAT)
    # A GeoPackage carries the hour it was written; a fixed one keeps the bytes the same.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2026-01-01T00:00:00.000Z"})
    try:
        geopackage.write(path, "aoi", table)
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
