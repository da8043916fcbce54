"""The step that labels chips from rasters: shares of classes, the likeliest class, or means of numbers."""

import logging
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import geopandas
import pandas as pd

from geoembed import settings
from geoembed.archives import providers, worldcover
from geoembed.archives.client import Client
from geoembed.chips.folder import ChipSet
from geoembed.chips.folder import read as read_chips
from geoembed.errors import FetchError, LabelError, StaleError
from geoembed.imagery import addresses, modalities, sources, windows
from geoembed.imagery.catalogues import Fetch
from geoembed.imagery.drivers import Trust
from geoembed.imagery.rasters import Raster, is_categorical
from geoembed.labels import files as label_files
from geoembed.labels import layers, legend, meaning, rules, zonal
from geoembed.labels.rules import CLASSES, NUMBERS, Rule
from geoembed.labels.zonal import Shares
from geoembed.outputs import atomic, digests, geopackage, locks, records, styles
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike, Paths

log = logging.getLogger(__name__)

WORLDCOVER = "worldcover"
"""Stands for ESA WorldCover among rasters, where no file is called so."""


@verb
def label(
    rasters: Paths,
    *,
    chips: PathLike = "chips",
    classes: str | Sequence[str] = (),
    kind: str | None = None,
    names: str | None = None,
    threshold: float = 0.5,
    above: float | None = None,
    name: str | None = None,
    driver: str | Sequence[str] = (),
    outside: str | Sequence[str] = (),
    cache: PathLike | None = None,
    offline: bool = False,
    output: PathLike | None = None,
    update: bool = False,
    overwrite: bool = False,
    config: PathLike | None = None,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Label chips from rasters, over valid pixels only and exact at cell borders; the result is the labels.

    With `classes` there is a label file for each, in which a chip has the `fraction` of its valid area that the class
    covers, and the `label` 1 where that reaches `threshold`, else 0. Without, there is one file. Of a raster of classes
    a chip has as `label` the class that covers most of its valid area, as `fraction` how much, and `share_<class>` for
    each; chips where that is below `threshold`, or two classes cover the same, get no row. Of a raster of numbers it
    has the mean `value`, and with `above` the `label` 1 where that is higher. `valid` is the share of the chip with
    valid pixels; a chip without any gets no row. The result holds the rows of all label files, whose stems stand in its
    column `labels`.

    rasters: paths, globs, folders or other addresses; several are a mosaic in name order (see `zonal`). `worldcover`,
    where nothing is called so, is ESA WorldCover of 2021, of which what lies under the chips is fetched.
    classes: texts such as `water=80`; see `rules.parse`.
    kind: `classes` or `numbers`; None: as the rasters tell (see `meaning.kind`).
    names: names of classes such as `water=1,trees=2,3`, or `worldcover`; None: as the rasters tell.
    driver: GDAL's names of drivers that may open the rasters besides the usual ones.
    outside: folders, and beginnings of addresses, of which a VRT may name files that lie neither beside it nor below.
    cache: the folder of what is fetched; None: that of `config`, else `cache`.
    config: the settings file whose [fetch] table says how; None: geoembed.toml if it exists.
    offline: ask no other machine; what is needed is in the cache.
    output: a file, or a folder for several classes; None: labels/<name>.gpkg.

    Raises LabelError, ImageryError (a raster that cannot be used), FetchError, ChipError and StaleError.
    """
    texts = (classes,) if isinstance(classes, str) else tuple(classes)
    _require_options(texts, kind, names, threshold, above)
    trust = Trust(settings.texts(driver), modalities.beginnings(Path(), settings.texts(outside)))
    locations = settings.texts(rasters)
    if not locations:
        raise LabelError("no raster given; name one or more, as in geoembed label landcover.tif")
    chipset = read_chips(Path(chips))
    fetched: list[str] = []
    if is_fetched := WORLDCOVER in locations and not Path(WORLDCOVER).exists():
        fetching = modalities.fetching(settings.file(config), None if cache is None else str(cache))
        fetched = yield from _fetch(chipset, fetching, offline)
        locations = (*(location for location in locations if location != WORLDCOVER), *fetched)
    opened = sources.first_bands(locations, scaled=True, trust=trust)
    name = None if name is None else rules.stem(f"--name {name}", name)
    if texts:
        wanted = rules.of_each(texts, threshold, name)
    else:
        kind = kind or (CLASSES if names else None)
        stem = WORLDCOVER if is_fetched else addresses.stem(opened[0].address)
        one = Rule(name or stem, threshold=threshold, above=above)
    paths = _paths(None if output is None else Path(output), wanted if texts else [one])
    if not texts:
        wanted = [(yield from _layer(one, opened, chipset, kind, names))]
    if wanted[0].kind == CLASSES:
        opened = tuple(map(_as_stored, opened))
    for raster in opened:
        if raster.count > 1:
            log.warning("%s: has %d bands; the first is used", raster.address, raster.count)
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(locks.hold(path, folder=False))
        return (yield from _label(wanted, paths, opened, fetched, chipset, update, overwrite))


def _fetch(chipset: ChipSet, fetching: Fetch, offline: bool) -> Generator[Progress, None, list[str]]:
    """Return the files of what WorldCover has under chips, of which those are fetched that are not in the cache.

    Raises LabelError where it has nothing there, and FetchError where something could not be had.
    """
    host = urlsplit(fetching.worldcover).netloc
    client = Client((host, *fetching.hosts), fetching.tries, fetching.connections, offline)
    tiles, paths, failed = worldcover.tiles(chipset.cells), [], 0
    with closing(client):
        for number, tile in enumerate(tiles):
            yield Progress(number, len(tiles), "tiles")
            try:
                paths.append(worldcover.fetch(tile, Path(fetching.cache), fetching.worldcover, client))
            except FetchError as error:
                log.warning("%s: %s", WORLDCOVER, error)
                failed += 1
    if failed:
        raise FetchError(f"{WORLDCOVER}: {failed} of {len(tiles)} tiles not fetched; run again, which fetches the rest")
    found = [str(path) for path in paths if path]
    if not found:
        raise LabelError(f"{WORLDCOVER}: has nothing where the chips of {chipset.folder} lie; label them from a raster")
    if len(found) < len(tiles):
        absent = len(tiles) - len(found)
        log.warning("%s: %d of %d tiles do not exist, as at sea", WORLDCOVER, absent, len(tiles))
    log.info("%s: %s; %s", WORLDCOVER, providers.WORLDCOVER.attribution, providers.WORLDCOVER.licence)
    return found


def _require_options(
    classes: tuple[str, ...], kind: str | None, names: str | None, threshold: float, above: float | None
) -> None:
    """Raise LabelError for options that do not go together."""
    if kind not in (None, *rules.KINDS):
        raise LabelError(f"--kind {kind}: unknown; there are {' and '.join(rules.KINDS)}")
    if not 0.0 < threshold <= 1.0:
        raise LabelError(f"--threshold {threshold:g}: a share of the chip, above 0 and at most 1")
    if above is not None and not abs(above) < float("inf"):
        raise LabelError(f"--above {above:g}: give a number")
    if classes and (kind or names):
        raise LabelError("--kind and --names are for one file of all classes, --class for a file of each; drop one")
    for_classes = "--class" if classes else "--names" if names else "--kind classes" if kind == CLASSES else None
    if for_classes and above is not None:
        raise LabelError(f"--above is for rasters of numbers and {for_classes} for classes; drop one of them")
    if names and kind == NUMBERS:
        raise LabelError("--names is for classes and --kind numbers for numbers; drop one of them")


def _layer(
    rule: Rule, rasters: Sequence[Raster], chipset: ChipSet, kind: str | None, names: str | None
) -> Generator[Progress, None, Rule]:
    """Return the rule of a label file of all classes or of numbers, as the rasters tell where the options do not."""
    named = rules.parse_names(names) if names else {}
    if kind is None and rule.above is not None:
        if any(map(is_categorical, rasters)):
            fault = "holds classes (it has a colour table or names), and --above is for numbers"
            raise LabelError(f"{rasters[0].address}: {fault}; drop it, or say which class with --class")
        kind = NUMBERS
    kind = kind or (yield from meaning.kind(rasters, chipset.cells))
    if kind == CLASSES:
        return replace(rule, names=named or meaning.names(rasters))
    if rule.threshold != 0.5:
        raise LabelError(f"--threshold is for classes, and {rasters[0].address} holds numbers, which take --above")
    return replace(rule, kind=NUMBERS)


def _as_stored(raster: Raster) -> Raster:
    """Return a raster whose values are the stored numbers, such as classes."""
    return replace(raster, encodings=tuple(replace(one, scale=1.0, offset=0.0) for one in raster.encodings))


def _label(
    wanted: list[Rule],
    paths: list[Path],
    rasters: Sequence[Raster],
    fetched: Sequence[str],
    chipset: ChipSet,
    update: bool,
    overwrite: bool,
) -> Steps[geopandas.GeoDataFrame]:
    """Write the label files that are not kept."""
    stamps: dict[str, str] = {}
    for path in paths:
        existing = _existing(path, overwrite=overwrite)
        stamps |= existing.stamps if existing else {}
    made_from = [_record(rasters, fetched, chipset, rule, stamps) for rule in wanted]
    due = [i for i, path in enumerate(paths) if not _is_kept(path, made_from[i], update=update, overwrite=overwrite)]
    counts: dict[str, int | float] = {"files_kept": len(paths) - len(due), "files_written": len(due)}
    figures: dict[str, dict[str, Any]] = {}
    if due:
        rules_due, total = [wanted[i] for i in due], len(chipset.cells)
        shares = yield from zonal.shares(rasters, chipset.cells, _classes(rules_due))
        _check_shares(rasters, shares, rules_due, chipset.folder)
        labelled = int((shares.valid > 0).sum())
        counts |= {"chips_labelled": labelled, "chips_without_valid_pixels": total - labelled}
        for k, i in enumerate(due):
            table = layers.build(chipset.index, shares, k, wanted[i])
            if wanted[i].of_all:
                counts |= {"chips_labelled": len(table), "chips_mixed": labelled - len(table)}
                _require_pure(rasters, table, shares, wanted[i])
            geopackage.remove(paths[i])
            styles.write(paths[i], _style(table, wanted[i].name))
            geopackage.write(paths[i], label_files.LAYER, table, made_from[i])
            figures[paths[i].name] = _figures(table)
            log.info("%s: %s", paths[i], _summary(table, total))
        if labelled < total:
            log.warning("%s of %s chips have no valid pixel and no label", f"{total - labelled:,}", f"{total:,}")
    atomic.touch(*paths)
    for path in paths:
        if path.name not in figures:
            figures[path.name] = _figures(geopackage.read(path, label_files.LAYER, LabelError))
    return Result(tuple(paths), counts, report={"files": figures}, read=partial(_read_all, paths))


def _figures(table: geopandas.GeoDataFrame) -> dict[str, Any]:
    """Return how many chips of a label file have which label, or the range of their values, JSON-ready."""
    if "label" not in table:
        return {"chips": len(table), "lowest": float(table["value"].min()), "highest": float(table["value"].max())}
    labels = {str(label): int(chips) for label, chips in table["label"].value_counts().items()}
    shares = {label: chips / len(table) for label, chips in labels.items()}
    return {"chips": len(table), "labels": labels, "shares": shares}


def _read_all(paths: list[Path]) -> geopandas.GeoDataFrame:
    """Return the rows of label files, whose stems stand in the column `labels`."""
    tables = [geopackage.read(path, label_files.LAYER, LabelError).assign(labels=path.stem) for path in paths]
    return pd.concat(tables, ignore_index=True)


def _classes(wanted: Sequence[Rule]) -> Sequence[Sequence[int]] | zonal.Each | None:
    """Return what to ask of `zonal.shares`."""
    if wanted[0].kind == NUMBERS:
        return None
    return zonal.EACH if wanted[0].of_all else [rule.values for rule in wanted]


def _paths(output: Path | None, wanted: list[Rule]) -> list[Path]:
    """Return the paths of the label files: `output` itself, or in the folder `output`, by default in `labels`."""
    if output is not None and output.suffix.lower() == ".gpkg":
        if len(wanted) > 1:
            raise LabelError(f"{output}: several classes need a folder; give -o a name without .gpkg")
        return [output]
    if output is not None and output.suffix and not output.is_dir():
        raise LabelError(f"{output}: labels are written as GeoPackage; give -o a name that ends in .gpkg, or a folder")
    return [(output or Path("labels")) / f"{rule.name}.gpkg" for rule in wanted]


def _record(
    rasters: Sequence[Raster], fetched: Sequence[str], chipset: ChipSet, rule: Rule, stamps: dict[str, str]
) -> Record:
    """Return what a label file is made from; the names of fetched files, which other chips change, do not count."""
    files = digests.Files(stamps)
    fingerprints = [files.fingerprint(raster.address, raster.files) for raster in rasters]
    names = [name for raster, (name, _) in zip(rasters, fingerprints, strict=True) if raster.address not in fetched]
    return Record(
        "label",
        inputs={"rasters": [digest for _, digest in fingerprints], "chips": chipset.digest},
        options={"rasters": [*names, *([WORLDCOVER] if fetched else [])], **rule.options},
        stamps=files.stamps,
    )


def _existing(path: Path, *, overwrite: bool) -> Record | None:
    """Return the record of a label file, None where there is none, or a damaged one that may be replaced.

    Raises LabelError for a file of other origin, and StaleError for a damaged one that must stay.
    """
    record = geopackage.record_of(path, label_files.LAYER)
    if record is None:
        records.require_ours(path, geopackage.is_ours, overwrite=overwrite)
    elif record.step != "label":
        raise LabelError(f"{path}: exists and was not made by geoembed label; choose another -o")
    return record


def _is_kept(path: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a label file of this record is there; raises StaleError where another must not be replaced."""
    existing = _existing(path, overwrite=overwrite)
    for name in (path.name, styles.beside(path).name):
        atomic.sweep(path.parent, name)
    if existing and not overwrite:
        geopackage.read(path, label_files.LAYER, StaleError)  # an edit is not to be lost
    finished = styles.is_settled(path) and not geopackage.faults(path, whole=True)
    standing = records.settle(path, record, existing, finished=finished, update=update, overwrite=overwrite)
    if standing is not Standing.KEPT:
        if standing is Standing.BEGUN:
            log.warning("%s: it or its style is missing or damaged; both are made again", path)
        geopackage.require_closed(path)
        return False
    if existing and existing.stamps != record.stamps:
        geopackage.renew(path, label_files.LAYER, record)
    return True


def _check_shares(rasters: Sequence[Raster], shares: Shares, wanted: list[Rule], chips: Path) -> None:
    """Raise LabelError where no chip has a valid pixel; warn of rasters and classes that no chip has a pixel of."""
    if not (shares.valid > 0).any():
        names = ", ".join(raster.address for raster in rasters[:3])
        raise LabelError(f"{names}: no valid pixel lies on a chip of {chips}; check the raster's place, CRS and nodata")
    idle = [raster.address for raster in rasters if raster.address not in shares.touched]
    if idle:
        log.warning("%d of %d rasters touch no chip, %s the first", len(idle), len(rasters), idle[0])
    for text in windows.absurd(shares.absurd):
        log.warning("%s", text)
    present = sorted(value for value, pixels in shares.pixels.items() if pixels > 0)
    names = ", ".join(f"{value:g} ({name})" if (name := legend.name_of(value)) else f"{value:g}" for value in present)
    for rule in wanted:
        if rule.values and not set(rule.values) & set(present):
            values = ",".join(map(str, rule.values))
            log.warning("%s: no chip has a pixel of class %s; the classes on chips are: %s", rule.name, values, names)


def _require_pure(rasters: Sequence[Raster], table: geopandas.GeoDataFrame, shares: Shares, rule: Rule) -> None:
    """Raise LabelError where no chip has enough of one class; warn of classes without a name, and of mixed chips."""
    mixed = int((shares.valid > 0).sum()) - len(table)
    why = f"no class covers {rule.threshold:g} of them, or two cover the same"
    if not len(table):
        raise LabelError(f"{rasters[0].address}: all chips are mixed ({why}); lower --threshold, or cut smaller chips")
    if mixed:
        log.warning("%s chips are mixed (%s) and have no label; --threshold decides", f"{mixed:,}", why)
    nameless = [f"{value:g}" for (value,) in shares.classes if int(value) not in rule.names]
    if rule.names and nameless:
        log.warning("%s: values without a name are called by number: %s", rasters[0].address, ", ".join(nameless))


def _style(table: geopandas.GeoDataFrame, name: str) -> str:
    if "label" not in table:
        return styles.ramp("value", float(table["value"].min()), float(table["value"].max()))
    labels = table["label"].drop_duplicates().sort_values().tolist()
    return styles.classes("label", (0, 1) if set(labels) <= {0, 1} else tuple(labels), name)


def _summary(table: geopandas.GeoDataFrame, chips: int) -> str:
    text = f"{len(table):,} of {chips:,} chips labelled"
    if "label" not in table:
        return f"{text}, values {table['value'].min():.4g} to {table['value'].max():.4g}"
    if set(table["label"]) <= {0, 1}:
        return f"{text}, {100 * table['label'].mean():.1f} % of them 1"
    numbers = table["label"].value_counts()
    return f"{text}: {', '.join(f'{number:,} {label}' for label, number in numbers.items())}"
