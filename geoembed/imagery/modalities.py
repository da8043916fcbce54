"""Modalities as data: their channels, units and where their imagery lies, from the built-in three and geoembed.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from geoembed.errors import ConfigError, nearest

SEASONS = ("djf", "mam", "jja", "son")
"""Seasons by their months, as winter and summer differ between the hemispheres."""

RESAMPLINGS = ("nearest", "bilinear", "cubic", "average", "mode")
RESERVED = {"fused", "concat", "chip_id", "aoi", "split", "geometry", "geom", "fid", "grid", "column", "row"}
"""Words that mean something else in an index or among features."""

STORED = ("value", "db", "linear", "amplitude")


@dataclass(frozen=True)
class Source:
    """One table of imagery: where it lies and how its numbers are to be read.

    paths: files, globs, folders or VRTs, in the order of precedence.
    bands: numbers from 1 or band descriptions; None: all.
    names: the channels, one per band; None: the bands' descriptions.
    scale, offset, nodata: value = stored * scale + offset; None: the file's own tags.
    resampling: None: average where the source is finer than the chip's pixel, else bilinear.
    stored: how a SAR source is encoded once scaled: db, linear (power) or amplitude.
    """

    paths: tuple[str, ...]
    bands: tuple[int | str, ...] | None = None
    names: tuple[str, ...] | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    resampling: str | None = None
    stored: str | None = None


@dataclass(frozen=True)
class Modality:
    """A kind of imagery: known channels in their order (others may follow), unit, whether it is in dB, and sources."""

    name: str
    channels: tuple[str, ...] = ()
    unit: str = ""
    decibel: bool = False
    sources: tuple[Source, ...] = ()


def _seasonal(*parts: str) -> tuple[str, ...]:
    return tuple(f"{season}_{part}" for season in SEASONS for part in parts)


BUILT_IN = (
    Modality("s2", _seasonal("red", "green", "blue"), "surface reflectance"),
    Modality("s1", _seasonal("vv", "vh"), "gamma0 in dB", decibel=True),
    Modality("coh", _seasonal("coh12", "coh24", "coh36", "coh48"), "interferometric coherence"),
)


def read(config: Path | None, located: dict[str, tuple[str, ...]] | None = None) -> tuple[Modality, ...]:
    """Return the modalities that have imagery: from geoembed.toml's [modalities] tables and `--source` options.

    `located` maps a modality's name to paths that replace where its imagery lies. Relative paths in the file are
    relative to the file. Raises ConfigError.
    """
    tables: dict[str, Any] = {}
    if config is not None:
        with config.open("rb") as file:
            tables = tomllib.load(file).get("modalities", {})
        if not isinstance(tables, dict):
            raise ConfigError(f"{config}: modalities must be tables; write [modalities.s2]")
    built_in = {modality.name: modality for modality in BUILT_IN}
    located = located or {}
    chosen = []
    for name in dict.fromkeys([*built_in, *tables, *located]):
        modality = built_in.get(name, Modality(name))
        if name in tables:
            modality = _parse(modality, tables[name], config or Path())
        elif name in located and name not in built_in:
            raise ConfigError(f"--source {name}=...: no such modality{nearest(name, [*built_in, *tables])}")
        if name in located:
            modality = _relocate(modality, located[name])
        if modality.sources:
            chosen.append(modality)
    if not chosen:
        raise ConfigError("no imagery: name it with --source s2=PATH or in geoembed.toml under [modalities.s2]")
    return tuple(chosen)


def _parse(modality: Modality, table: Any, config: Path) -> Modality:
    place = f"{config}: [modalities.{modality.name}]"
    if not modality.name.isidentifier() or modality.name.lower() in RESERVED:
        raise ConfigError(f"{place}: cannot be a modality's name; use another word of letters, digits and _")
    if not isinstance(table, dict):
        raise ConfigError(f"{place}: must be a table")
    table = dict(table)
    several = table.pop("sources", None)
    unit = table.pop("unit", modality.unit)
    if several is None:
        sources = [_parse_source(table, place, config)] if table else []
    else:
        if not isinstance(several, list) or not all(isinstance(value, dict) for value in several):
            raise ConfigError(f"{place}: sources must be [[modalities.{modality.name}.sources]] tables")
        sources = [_parse_source({**table, **value}, place, config) for value in several]
    decibel = modality.decibel or any(source.stored in ("db", "linear", "amplitude") for source in sources)
    return replace(modality, unit=str(unit), decibel=decibel, sources=tuple(sources))


_KINDS: dict[str, tuple[type, ...]] = {
    "scale": (int, float),
    "offset": (int, float),
    "nodata": (int, float),
    "resampling": (str,),
    "stored": (str,),
}


def _parse_source(table: dict[str, Any], place: str, config: Path) -> Source:
    table = dict(table)
    known = ["source", *(field.name for field in fields(Source) if field.name != "paths"), "unit", "sources"]
    for key in table:
        if key not in known:
            raise ConfigError(f"{place}: unknown key {key}{nearest(key, known)}")
    located = table.pop("source", [])
    if not (isinstance(located, str) or (isinstance(located, list) and all(isinstance(one, str) for one in located))):
        raise ConfigError(f"{place}: source must be a path or a list of paths")
    for key, kinds in _KINDS.items():
        if key in table and (not isinstance(table[key], kinds) or isinstance(table[key], bool)):
            raise ConfigError(f"{place}: {key} = {table[key]!r} must be a {kinds[-1].__name__}")
    if table.get("scale") == 0:
        raise ConfigError(f"{place}: scale = 0 makes every value one; give the file's scale, or leave it out")
    for key, choices in (("resampling", RESAMPLINGS), ("stored", STORED)):
        if key in table and table[key] not in choices:
            raise ConfigError(f"{place}: {key} = {table[key]!r}; choose one of {', '.join(choices)}")
    for key in ("bands", "names"):
        if key in table:
            if not isinstance(table[key], list) or not table[key]:
                raise ConfigError(f"{place}: {key} must be a list that is not empty")
            kinds = (str,) if key == "names" else (str, int)
            if not all(isinstance(one, kinds) and not isinstance(one, bool) for one in table[key]):
                told = "words" if key == "names" else "numbers from 1 or band descriptions"
                raise ConfigError(f"{place}: {key} must be a list of {told}")
            table[key] = tuple(table[key])
    paths = tuple([located] if isinstance(located, str) else located)
    bands, names = table.get("bands"), table.get("names")
    if bands and names and len(bands) != len(names):
        raise ConfigError(f"{place}: {len(bands)} bands but {len(names)} names; give one name per band")
    if names and len(set(names)) != len(names):
        raise ConfigError(f"{place}: a name occurs twice in names; channels are told apart by name")
    return Source(paths=tuple(str(config.parent / path) for path in paths), **table)


def _relocate(modality: Modality, paths: tuple[str, ...]) -> Modality:
    if len(modality.sources) > 1:
        raise ConfigError(
            f"--source {modality.name}=...: the file has several sources for {modality.name}; say there where each lies"
        )
    source = modality.sources[0] if modality.sources else Source(())
    return replace(modality, sources=(replace(source, paths=paths),))


def located(texts: list[str]) -> dict[str, tuple[str, ...]]:
    """Return the paths per modality of `--source` options such as s2=PATH; raises ConfigError where one is not so."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ConfigError(f"--source {text}: say which modality it is, such as s2={text}")
        found[name] = (*found.get(name, ()), path)
    return found
