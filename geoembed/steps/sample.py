"""The step that writes a simulated Earth: imagery of five areas, land cover, settings and a Makefile."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
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
from pyproj import Transformer
from rasterio.io import DatasetWriter
from rasterio.warp import Resampling, reproject, transform_bounds
from rasterio.windows import Window

from geoembed import __version__
from geoembed.earth import landscape, optics, radar
from geoembed.earth.places import PLACES, Place
from geoembed.earth.surfaces import LEGEND
from geoembed.errors import GeoembedError, StaleError
from geoembed.ground import aoi
from geoembed.outputs import atomic, locks, records
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike

log = logging.getLogger(__name__)

RECORD = ".geoembed-sample.json"
SIDE = 10_100.0  # metres; an area's polygon, turned a little, inside rasters of 10,880 m
PIXELS = 1088
COVER_STEP = 12_000  # land-cover pixels per degree, as WorldCover has


@dataclass(frozen=True)
class Site:
    """Where an area's rasters lie: UTM zone as EPSG code, upper left corner (metres), pixels of 10 m."""

    place: Place
    epsg: int
    left: float
    top: float

    def transform(self, pixel: float) -> Affine:
        """Return the affine transform of a raster of such pixels."""
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
    """Write a small simulated Earth into `directory`, the same bytes for the same seed; its result is the areas.

    What is there from the same seed is kept and what is missing is made; rasters keep their time stamps. Raises
    StaleError where another seed's Earth lies, and GeoembedError where other people's files are in the way; `update`
    makes an Earth of an older geoembed again, `overwrite` one of another seed.
    """
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise GeoembedError(f"{folder}: is a file; name a folder for the simulated Earth")
    with locks.hold(folder, folder=True):
        return (yield from _simulate(folder, seed, update, overwrite))


def _simulate(folder: Path, seed: int, update: bool, overwrite: bool) -> Steps[geopandas.GeoDataFrame]:
    rasters = [*(f"{kind}/{place.name}.tif" for place in PLACES for kind in ("s2", "s1", "coh")), "landcover.tif"]
    texts = {"geoembed.toml": SETTINGS, "Makefile": MAKEFILE, "README.txt": README}
    files = [*rasters, "aoi.gpkg", *texts]
    record = Record("sample", {"geoembed_version": __version__}, {"seed": seed})
    found = _found(folder)
    standing = records.settle(
        folder, record, found, finished=True, remove=partial(_remove, folder), update=update, overwrite=overwrite
    )
    missing = [name for name in files if not (folder / name).exists()]
    if standing is Standing.ABSENT and len(missing) < len(files):
        there = next(name for name in files if name not in missing)
        raise GeoembedError(
            f"{folder / there}: is in the way and not of geoembed's making; choose an empty folder or move it away"
        )
    atomic.sweep(folder, deep=True)
    atomic.write_json(folder / RECORD, {"made_from": record.to_json(), "files": files})
    total = len(PLACES)
    yield Progress(0, total, "areas")
    if any(name in rasters for name in missing):
        for done, name in enumerate(_write_imagery(folder, seed, missing), 1):
            yield Progress(done, total, "areas", name)
    if "aoi.gpkg" in missing:
        _write_areas(folder / "aoi.gpkg")
    for name, text in texts.items():
        if name in missing:
            atomic.write_text(folder / name, text)
    atomic.touch(folder / RECORD)
    yield Progress(total, total, "areas")
    log.info("%s: simulated Earth, seed %d, %d areas; try `make -C %s`", folder, seed, total, folder)
    counts: dict[str, int | float] = {"areas": total, "written": len(missing), "kept": len(files) - len(missing)}
    return Result((folder,), counts, read=partial(aoi.load, folder / "aoi.gpkg"))


def _found(folder: Path) -> Record | None:
    path = folder / RECORD
    found = records.read_json(path)
    if found is None and path.exists():
        raise StaleError(f"{path}: is not readable as the record of a simulated Earth; move the folder away")
    return found


def _remove(folder: Path) -> None:
    """Delete the files that the record names, wherever in the folder they lie, and the record."""
    path = folder / RECORD
    for name in json.loads(path.read_text(encoding="utf-8")).get("files", []):
        if isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts:
            (folder / name).unlink(missing_ok=True)
    path.unlink()


def sites() -> list[Site]:
    """Return where the five areas' rasters lie; corners are multiples of 20 m, so that all lattices agree."""
    found = []
    for place in PLACES:
        zone = int((place.longitude + 180) // 6) + 1
        epsg = (32700 if place.south else 32600) + zone
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(place.longitude, place.latitude)
        half = PIXELS * 10 / 2
        found.append(Site(place, epsg, round((x - half) / 20) * 20.0, round((y + half) / 20) * 20.0))
    return found


def _write_imagery(folder: Path, seed: int, missing: list[str]) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
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
            wanted = [kind for kind in ("s2", "s1", "coh") if f"{kind}/{name}.tif" in missing]
            if wanted:
                s2 = optics.observe(land, rng)
                powers = radar.power(land, rng)
                s1, coh = radar.amplitude(powers, rng), radar.coherence(land, powers, rng)
                stored: dict[str, tuple[dict[str, Any], float, float, float]] = {
                    "s2": (s2, 10.0, 0.0001, 0),
                    "s1": (s1, 10.0, 0.01, radar.NADA),
                    "coh": (coh, 20.0, 0.01, 0),
                }
                for kind in wanted:
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
            dtype=first.dtype, crs=rasterio.CRS.from_epsg(site.epsg), transform=site.transform(pixel), nodata=nodata,
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
        f"EPSG:{site.epsg}", "EPSG:4326", site.left, site.top - reach, site.left + reach, site.top
    )
    left, top = cover.transform.c, cover.transform.f
    column, row = int(np.floor((west - left) * COVER_STEP)), int(np.floor((top - north) * COVER_STEP))
    last_column, last_row = int(np.ceil((east - left) * COVER_STEP)), int(np.ceil((top - south) * COVER_STEP))
    corner = Affine(1 / COVER_STEP, 0, left + column / COVER_STEP, 0, -1 / COVER_STEP, top - row / COVER_STEP)
    window = Window(column, row, last_column - column, last_row - row)
    found = np.zeros((last_row - row, last_column - column), np.uint8)
    reproject(
        classes, found, src_transform=site.transform(10.0), src_crs=f"EPSG:{site.epsg}", src_nodata=0,
        dst_transform=corner, dst_crs=cover.crs, dst_nodata=0,
        resampling=Resampling.nearest,
    )  # fmt: skip
    cover.write(found, 1, window=window)


def _write_areas(path: Path) -> None:
    """Write the five polygons, each turned a little off its rasters' lattice, as hand-drawn areas are."""
    shapes = []
    for number, site in enumerate(sites()):
        x, y = site.left + PIXELS * 5, site.top - PIXELS * 5
        square = shapely.box(x - SIDE / 2, y - SIDE / 2, x + SIDE / 2, y + SIDE / 2)
        turned = shapely.affinity.rotate(square, (number - 2) * 0.9 + 0.4)
        transformer = Transformer.from_crs(site.epsg, 4326, always_xy=True)
        shapes.append(shapely.Polygon(list(transformer.itransform(turned.exterior.coords))))
    table = geopandas.GeoDataFrame({"name": [site.place.name for site in sites()]}, geometry=shapes, crs=4326)
    # A GeoPackage carries the hour it was written; a fixed one keeps the bytes the same.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2026-01-01T00:00:00.000Z"})
    try:
        with atomic.replacing(path) as part:
            table.to_file(part, layer="aoi", driver="GPKG", engine="pyogrio")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def _names(template: str) -> str:
    seasons = (template.format(season=season) for season in ("djf", "mam", "jja", "son"))
    return "[\n    " + ",\n    ".join(seasons) + ",\n]"


SETTINGS = f"""\
# Settings of this folder, for all geoembed commands run in it. Paths are relative to this file.
# The imagery here is SIMULATED (geoembed sample); to use your own, change `source`, or pass --source s2=PATH.

[chip]
size = 32                # pixels of 10 m: chips of 320 m, small so that five small areas give some 5,000

# A modality is data, not code: where it lies, what its bands are called and what a stored number means
# (value = stored * scale + offset). Another one, say elevation, is another table.
[modalities.s2]
source = "s2/*.tif"      # Sentinel-2 surface reflectance, 0-1; seasons are months, the same in both hemispheres
names = {_names('"{season}_red", "{season}_green", "{season}_blue"')}
scale = 0.0001
nodata = 0               # no clear date in that season

[modalities.s1]
source = "s1/*.tif"      # Sentinel-1 gamma0 in dB
names = {_names('"{season}_vv", "{season}_vh"')}
scale = 0.01
nodata = -32768

[modalities.coh]
source = "coh/*.tif"     # Sentinel-1 coherence, 0-1, on 20 m pixels, over 12, 24, 36 and 48 days
names = {_names('"{season}_coh12", "{season}_coh24", "{season}_coh36", "{season}_coh48"')}
scale = 0.01
nodata = 0
"""

MAKEFILE = """\
# Everything that geoembed does, step by step: `make` in this folder, `make -j1 -n` to see the commands.
# The areas, the imagery and the land cover are SIMULATED; scores say nothing about the real Earth.
# Targets are the files that the steps write last, so a step that is done is not done again. What was made from older
# versions of its inputs is made again (--update); what was made with other options needs --overwrite by hand.

GEOEMBED ?= geoembed
PRETRAIN ?= --preset tiny --minutes 2
N ?= 500

TASKS := water vegetation built cropland
CLASSES_water := 80
CLASSES_vegetation := 10,20,30
CLASSES_built := 50
CLASSES_cropland := 40
LABELS := $(TASKS:%=labels/%.gpkg)

all: probe/water/predictions.gpkg report/report.html

chips/index.gpkg: aoi.gpkg geoembed.toml $(wildcard s2/*.tif s1/*.tif coh/*.tif)
\t$(GEOEMBED) chip --update --aoi aoi.gpkg

# One command writes all four label files. Make knows it by the first and only renews the others, or mends them.
labels/water.gpkg: chips/index.gpkg landcover.tif
\t$(GEOEMBED) label --update landcover.tif $(foreach task,$(TASKS),--class $(task)=$(CLASSES_$(task)))

labels/vegetation.gpkg labels/built.gpkg labels/cropland.gpkg: labels/water.gpkg
\t@test -f $@ || $(GEOEMBED) label --update landcover.tif --class $(@F:.gpkg=)=$(CLASSES_$(@F:.gpkg=))
\t@touch $@

model/weights.safetensors: chips/index.gpkg
\t$(GEOEMBED) pretrain --update chips $(PRETRAIN)

embeddings.h5: chips/index.gpkg model/weights.safetensors
\t$(GEOEMBED) embed --update chips

probe/water/predictions.gpkg: embeddings.h5 labels/water.gpkg
\t$(GEOEMBED) probe --update embeddings.h5 --labels labels/water.gpkg --n $(N)

report/report.html: embeddings.h5 $(LABELS)
\t$(GEOEMBED) evaluate --update embeddings.h5 --chips chips $(LABELS:%=--labels %)

clean:
\trm -rf chips labels model embeddings.h5 probe report

.PHONY: all clean
"""

README = """\
A simulated Earth, written by `geoembed sample`.

NOTHING HERE WAS OBSERVED. Five areas of 10 km by 10 km, their relief, rivers, towns, fields and forests, and what
Sentinel-1 and Sentinel-2 would see of them, were drawn by a program from published numbers and one random seed. They
lie in the open Atlantic so that nobody takes them for real places. Scores reached here say that the tool works, and
nothing about how it does on the real Earth.

  aoi.gpkg       the five areas
  s2/  s1/  coh/ seasonal reflectance, radar backscatter and coherence: one raster per area
  landcover.tif  what is truly there, in the legend of ESA WorldCover (one sparse raster for all areas)
  geoembed.toml  where the imagery lies and what its bands mean
  Makefile       `make` runs the whole pipeline and ends with report/report.html
"""
