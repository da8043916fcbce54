"""Modalities: their channels, units and sources of imagery; three are built in, geoembed.toml may add others."""

import logging
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import pydantic
from pydantic import BeforeValidator, Field, StrictFloat, StrictInt, StrictStr

from geoembed import names as checked
from geoembed.errors import ConfigError, nearest
from geoembed.imagery import addresses
from geoembed.imagery.catalogues import SEASONAL_YEAR, SEASONS, Fetch, Resampling, Seasonal, Stac
from geoembed.imagery.drivers import EVERYWHERE, Trust, is_local

log = logging.getLogger(__name__)

Model = TypeVar("Model")
Paths = Annotated[tuple[StrictStr, ...], BeforeValidator(lambda paths: (paths,) if isinstance(paths, str) else paths)]


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(populate_by_name=True))
class Source:
    """Where imagery of a modality lies, and how its numbers are read: a table in geoembed.toml.

    paths: addresses of rasters, globs or folders, in the order of precedence; the table's key is `source`.
    bands: numbers from 1 or band descriptions; None: all.
    names: the channels, one per band; None: the bands' descriptions.
    scale, offset: value = stored number * scale + offset; None: the file's own.
    nodata: the stored number that stands for no value; None: the file's own.
    resampling: GDAL's name of the method; None: average where a raster is finer than the chips, else bilinear.
    stored: what a scaled SAR number is: db, linear (power) or amplitude; None: db in a modality in dB.
    driver: GDAL's names of drivers that may open the rasters besides the usual ones (see `drivers.USUAL`).
    outside: whether a VRT may name files that lie neither beside it nor below, or which: folders and addresses.
    """

    paths: Annotated[Paths, Field(alias="source")] = ()
    bands: Annotated[tuple[StrictInt | StrictStr, ...] | None, Field(min_length=1)] = None
    names: Annotated[tuple[checked.Channel, ...] | None, Field(min_length=1)] = None
    scale: StrictFloat | None = None
    offset: StrictFloat | None = None
    nodata: StrictFloat | None = None
    resampling: Resampling | None = None
    stored: Literal["value", "db", "linear", "amplitude"] | None = None
    driver: Paths = ()
    outside: bool | Paths = False

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Self:
        if self.scale == 0:
            raise ValueError("scale = 0 makes every value one; give the file's scale, or leave it out")
        if self.bands and self.names and len(self.bands) != len(self.names):
            raise ValueError(f"{len(self.bands)} bands but {len(self.names)} names; give one name per band")
        if self.names and len(set(self.names)) != len(self.names):
            raise ValueError("a name occurs twice in names; channels are told apart by name")
        return self

    @property
    def trust(self) -> Trust:
        """Return what may be opened besides what is usual."""
        everywhere = (EVERYWHERE,) if self.outside else ()
        return Trust(self.driver, everywhere if isinstance(self.outside, bool) else self.outside)


class Table(pydantic.BaseModel):
    """A [modalities.NAME] table. Its other keys are those of its only source, or defaults of all its sources.

    unit: of a value.
    sources: tables of sources, where there are several.
    stac, seasonal: the catalogue or bucket that gives what files do not.
    """

    model_config = pydantic.ConfigDict(extra="allow")

    unit: StrictStr | None = None
    sources: list[dict[str, Any]] | None = None
    stac: dict[str, Any] | None = None
    seasonal: dict[str, Any] | None = None

    def source_tables(self) -> list[dict[str, Any]]:
        """Return the keys of each source."""
        shared = self.model_extra or {}
        if self.sources is None:
            return [shared] if shared else []
        return [shared | table for table in self.sources]


@dataclass(frozen=True)
class Modality:
    """A kind of imagery.

    name: of the modality.
    channels: the known channels in order; imagery may have others, which follow.
    unit: of a value.
    decibel: whether values are in dB.
    sources: files, in the order of precedence.
    archive: the catalogue or bucket that gives what the files do not.
    """

    name: str
    channels: tuple[str, ...] = ()
    unit: str = ""
    decibel: bool = False
    sources: tuple[Source, ...] = ()
    archive: Stac | Seasonal | None = None


def _seasonal(*parts: str) -> tuple[str, ...]:
    return tuple(f"{season}_{part}" for season in SEASONS for part in parts)


BUILT_IN = (
    Modality("s2", _seasonal("red", "green", "blue"), "surface reflectance"),
    Modality("s1", _seasonal("vv", "vh"), "gamma0 in dB", decibel=True),
    Modality("coh", _seasonal("coh12", "coh24", "coh36", "coh48"), "interferometric coherence"),
)


ARCHIVES: dict[str, Stac | Seasonal] = {"s2": Stac(), "s1": Seasonal(), "coh": Seasonal()}
"""Where the built-in modalities come from when nothing is said."""


def read(
    config: Path | None,
    located: dict[str, tuple[str, ...]] | None = None,
    wanted: tuple[str, ...] | None = None,
    year: int | None = None,
    seasons: tuple[str, ...] | None = None,
) -> tuple[Modality, ...]:
    """Return the modalities that have imagery, from the [modalities] tables of a settings file; raises ConfigError.

    Where neither the file nor `located` says where any imagery lies, the built-in modalities come from ARCHIVES.

    located: paths by modality that replace where its imagery lies, as `--source` does.
    wanted: the names of those to return, of which built-in ones come from ARCHIVES where nothing else is said.
    year, seasons: in place of those of catalogues and buckets; the seasonal data set is of one year alone.
    """
    tables: dict[str, Any] = {}
    if config is not None:
        tables = tomllib.loads(config.read_text(encoding="utf-8-sig")).get("modalities", {})
        if not isinstance(tables, dict):
            raise ConfigError(f"{config}: modalities must be tables; write [modalities.s2]")
    built_in = {modality.name: modality for modality in BUILT_IN}
    located = located or {}
    for name in wanted or ():
        if name not in {*built_in, *tables, *located}:
            raise ConfigError(f"--modalities {name}: no such modality{nearest(name, [*built_in, *tables])}")
    known = []
    for name in dict.fromkeys([*built_in, *tables, *located]):
        modality = built_in.get(name, Modality(name))
        if name in tables:
            modality = _parse(modality, tables[name], config or Path())
        elif name in located and name not in built_in:
            raise ConfigError(f"--source {name}=...: no such modality{nearest(name, [*built_in, *tables])}")
        if name in located:
            modality = _relocate(modality, located[name])
        known.append(modality)
    fetched = wanted or (() if any(map(_has_imagery, known)) else tuple(ARCHIVES))
    known = [
        replace(modality, archive=ARCHIVES.get(modality.name))
        if modality.name in fetched and not _has_imagery(modality)
        else modality
        for modality in known
    ]
    chosen = [modality for modality in known if _has_imagery(modality) and (not wanted or modality.name in wanted)]
    if not chosen:
        raise ConfigError("no imagery: name it with --source s2=PATH or in geoembed.toml under [modalities.s2]")
    return tuple(_of_time(modality, year, seasons) for modality in chosen)


def fetching(config: Path | None, cache: str | None = None) -> Fetch:
    """Return how imagery is fetched, from the [fetch] table of a settings file; raises ConfigError.

    cache: the folder, in place of the file's; there it is relative to the file.
    """
    table: Any = {}
    if config is not None:
        table = tomllib.loads(config.read_text(encoding="utf-8-sig")).get("fetch", {})
    keys = {field.name for field in fields(Fetch)}
    place = f"{config}: [fetch]"
    fetch = _validate(Fetch, {key: value for key, value in table.items() if key in keys}, place)
    if "cache" in table:
        fetch = replace(fetch, cache=str((config or Path()).parent / fetch.cache))
    return fetch if cache is None else replace(fetch, cache=cache)


def _has_imagery(modality: Modality) -> bool:
    return bool(modality.sources) or modality.archive is not None


def _of_time(modality: Modality, year: int | None, seasons: tuple[str, ...] | None) -> Modality:
    """Return a modality whose catalogue or bucket gives this year and these seasons; raises ConfigError."""
    if modality.archive is None:
        return modality
    for season in seasons or ():
        if season not in SEASONS:
            raise ConfigError(f"--seasons {season}: no such season{nearest(season, SEASONS)}")
    chosen = modality.archive.seasons if seasons is None else tuple(each for each in SEASONS if each in seasons)
    archive = replace(modality.archive, seasons=chosen)
    if isinstance(archive, Stac) and year is not None:
        if not 2015 <= year <= 2100:
            raise ConfigError(f"--year {year}: Sentinel-2 has imagery since 2015; give a year from then on")
        archive = replace(archive, year=year)
    elif year is not None and year != SEASONAL_YEAR:
        log.warning("%s: the seasonal Sentinel-1 data set is of %d alone", modality.name, SEASONAL_YEAR)
    return replace(modality, archive=archive)


def _parse(modality: Modality, table: Any, config: Path) -> Modality:
    place = f"{config}: [modalities.{modality.name}]"
    try:
        checked.modality(modality.name)
    except ValueError as fault:
        raise ConfigError(f"{place}: {fault}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{place}: must be a table")
    parsed = _validate(Table, table, place)
    sources, unit = [_validate(Source, keys, place) for keys in parsed.source_tables()], parsed.unit
    archive = _archive(parsed, modality.name, config)
    resolved = tuple(
        replace(
            source,
            paths=tuple(addresses.resolve(config.parent, path) for path in source.paths),
            outside=source.outside if isinstance(source.outside, bool) else beginnings(config.parent, source.outside),
        )
        for source in sources
    )
    decibel = modality.decibel or any(source.stored in ("db", "linear", "amplitude") for source in sources)
    return replace(
        modality,
        unit=modality.unit if unit is None else unit,
        decibel=decibel,
        sources=resolved,
        archive=archive,
    )


def _archive(table: Table, modality: str, config: Path) -> Stac | Seasonal | None:
    """Return the catalogue or bucket that a table names; raises ConfigError."""
    if table.stac is not None and table.seasonal is not None:
        raise ConfigError(f"{config}: [modalities.{modality}]: has both stac and seasonal; drop one")
    if table.stac is not None:
        return _validate(Stac, table.stac, f"{config}: [modalities.{modality}.stac]")
    if table.seasonal is None:
        return None
    if modality not in ("s1", "coh"):
        raise ConfigError(f"{config}: [modalities.{modality}.seasonal]: holds s1 and coh alone; remove the table")
    return _validate(Seasonal, table.seasonal, f"{config}: [modalities.{modality}.seasonal]")


def beginnings(folder: Path, places: tuple[str, ...]) -> tuple[str, ...]:
    """Return folders and beginnings of addresses, paths that are relative being relative to a folder."""
    return tuple(
        place
        if place == EVERYWHERE
        else str((folder / place).resolve())
        if is_local(place)
        else addresses.resolve(folder, place)
        for place in places
    )


_KEYS = ["source", *(field.name for field in fields(Source)[1:]), *Table.model_fields]
"""Keys of a [modalities.NAME] table."""


def _validate(kind: type[Model], keys: dict[str, Any], place: str) -> Model:
    """Return an instance made of the keys of a table; raises ConfigError with the first fault."""
    known = [field.name for field in fields(kind)] if kind in (Stac, Seasonal, Fetch) else _KEYS  # type: ignore[arg-type]
    for key in keys:
        if key not in known:
            raise ConfigError(f"{place}: unknown key {key}{nearest(key, known)}")
    try:
        return pydantic.TypeAdapter(kind).validate_python(keys)
    except pydantic.ValidationError as error:
        fault = error.errors(include_url=False)[0]
    if not fault["loc"]:
        raise ConfigError(f"{place}: {fault['ctx']['error']}")
    key, text = str(fault["loc"][0]), fault["msg"].replace("Input", "input").replace("Tuple", "list")
    raise ConfigError(f"{place}: {key} = {keys[key]!r}: {text.replace('tuple', 'list')}; mend it")


def _relocate(modality: Modality, paths: tuple[str, ...]) -> Modality:
    if len(modality.sources) > 1:
        raise ConfigError(
            f"--source {modality.name}=...: the file has several sources for {modality.name}; say there where each lies"
        )
    source = modality.sources[0] if modality.sources else Source(())
    return replace(modality, sources=(replace(source, paths=paths),))
