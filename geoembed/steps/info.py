"""The step that tells what files and folders hold, where, made from what, and whether they are intact."""

import logging
from pathlib import Path
from typing import Any

from geoembed import settings
from geoembed.errors import GeoembedError, ImageryError, nearest
from geoembed.imagery import addresses, modalities
from geoembed.inventory.facts import Facts
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.project import kinds
from geoembed.project.kinds import Kind
from geoembed.settings import Paths

log = logging.getLogger(__name__)


@verb
def info(paths: Paths = (), *, verify: bool = False, progress: bool = False) -> Steps[list[dict[str, Any]]]:
    """Tell of files and folders that geoembed reads or writes; the result is what is told, JSON-ready, path by path.

    paths: files, folders, globs or other addresses of rasters; none: the current folder.
    verify: read everything, not only headers and samples.

    Raises GeoembedError where one is damaged, missing or nothing that geoembed knows.
    """
    locations = settings.texts(paths) or (".",)
    told: list[Facts] = []
    for number, location in enumerate(locations):
        yield Progress(number, len(locations), "paths")
        told.append(_tell(location, verify))
    faults = list(dict.fromkeys(fault for found in told for fault in found.faults))
    if len(faults) > 1:
        for fault in faults:
            log.warning("%s", fault)
        raise GeoembedError(f"{len(faults)} files or folders are damaged, named above; mend each as its line says")
    if faults:
        raise GeoembedError(faults[0])
    found = [facts.to_json(location) for facts, location in zip(told, locations, strict=True)]
    tables = tuple(table for facts, location in zip(told, locations, strict=True) for table in facts.shown(location))
    counts: dict[str, int | float] = {"paths": len(told)}
    return Result(tuple(map(Path, locations)), counts, answer=tables, report={"found": found}, read=lambda: found)


def _tell(location: str, verify: bool) -> Facts:
    """Return the facts of a path or another address; raises GeoembedError where it cannot be told of."""
    path = Path(location)
    kind = kinds.of(path)
    if kind is Kind.FOLDER and _is_of_rasters(path):
        kind = Kind.RASTER
    if kind is Kind.RASTER or (kind is None and (not path.exists() or path.is_file())):
        return _of_rasters(location, kind, verify)
    assert kind is not None
    return _of_kind(path, kind, verify)


def _of_kind(path: Path, kind: Kind, verify: bool) -> Facts:
    if kind in (Kind.CHIPS, Kind.CHIP):
        from geoembed.inventory import chips

        return (chips.of_folder if kind is Kind.CHIPS else chips.of_file)(path, verify=verify)
    if kind is Kind.MODEL:
        from geoembed.inventory import models

        return models.of_folder(path, verify=verify)
    if kind is Kind.EMBEDDINGS:
        from geoembed.inventory import embeddings

        return embeddings.of_file(path, verify=verify)
    if kind in (Kind.PROBE, Kind.FITTED, Kind.REPORT):
        from geoembed.inventory import probes

        tellers = {Kind.PROBE: probes.of_folder, Kind.FITTED: probes.of_fitted, Kind.REPORT: probes.of_report}
        return tellers[kind](path, verify=verify)
    if kind in (Kind.SAMPLE, Kind.FOLDER):
        from geoembed.inventory import projects

        return projects.of_folder(path, verify=verify, tell=lambda output: _tell(str(output), verify))
    if kind is Kind.SETTINGS:
        from geoembed.inventory import projects

        return projects.of_settings(path, verify=verify)
    from geoembed.inventory import vectors

    return vectors.of_file(path, verify=verify)


def _of_rasters(location: str, kind: Kind | None, verify: bool) -> Facts:
    """Tell of rasters; what GDAL cannot open, whatever its name, is nothing that geoembed knows."""
    from geoembed.inventory import rasters

    path, config = Path(location), settings.file(None)
    missing = addresses.is_path(location) and not path.exists() and not set("*?[") & set(location)
    if missing:
        names = [str(other) for other, _ in kinds.within(path.parent, depth=1)]
        raise GeoembedError(f"{location}: no such file or folder{nearest(location, names, 'mend its path')}")
    try:
        known = modalities.read(config) if config else ()
    except GeoembedError as error:
        log.warning("%s", error)
        known = ()
    try:
        return rasters.of_location(location, known, verify=verify)
    except ImageryError:
        if kind is None and path.exists():
            raise GeoembedError(f"{location}: is nothing that geoembed reads or writes; name another path") from None
        raise


def _is_of_rasters(folder: Path) -> bool:
    """Tell whether a folder holds rasters, or folders of rasters, and nothing else."""
    inside = {kind for _, kind in kinds.within(folder)}
    return Kind.RASTER in inside and inside <= {Kind.RASTER, Kind.FOLDER}
