"""Candidates: what TAB offers for options, from the files at hand. Nothing slow is imported, and no fault is shown."""

from __future__ import annotations

import csv
import json
import logging
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import typer

from geoembed.fits.classifiers import TABLE

LABEL_FILES = tuple(f"{folder}*.{ending}" for folder in ("labels/", "") for ending in ("gpkg", "geojson", "csv", "shp"))
SAMPLES, SAMPLE = 3, 256
"""Windows of a raster along each axis, and their pixels, in which its classes are looked for."""

Completer = Callable[[typer.Context, str], list[str]]


def _offered(candidates: Callable[[typer.Context, str], Iterable[str]], *, listed: bool = False) -> Completer:
    """Make a completer: of the candidates, those that begin with what is typed; none where looking for them fails.

    listed: the option takes several, parted by commas, of which the last is completed.
    """

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        before, comma, begun = incomplete.rpartition(",") if listed else ("", "", incomplete)
        logging.disable()
        try:
            with warnings.catch_warnings(action="ignore"):
                found = dict.fromkeys(candidates(context, begun))
        except Exception:
            return []
        finally:
            logging.disable(logging.NOTSET)
        return [f"{before}{comma}{name}" for name in found if name.startswith(begun) and name not in before.split(",")]

    return complete


def _files(*globs: str, folder_of: str = "") -> Completer:
    """Offer the files that match globs, or the folders that hold `folder_of`, in the folder typed so far."""

    def candidates(context: typer.Context, begun: str) -> Iterable[str]:
        typed = os.path.dirname(begun)  # noqa: PTH120 (keeps the ./ and // that a person typed)
        typed = f"{typed}/" if typed and typed != "/" else typed
        folder = Path(typed or ".")
        if folder_of:
            return (f"{typed}{path.parent.relative_to(folder)}" for path in sorted(folder.glob(f"*/{folder_of}")))
        return (f"{typed}{path.relative_to(folder)}" for glob in globs for path in sorted(folder.glob(glob)))

    return _offered(candidates)


def _modalities(context: typer.Context, begun: str) -> Iterable[str]:
    """Return the modalities of the chips, and of the model where the command uses one."""
    names = list(_json(_given(context, "chips")[0] / "chips.json")["modalities"])
    config = _given(context, "model")[0] / "config.json" if "model" in context.params else None
    known = _json(config)["model"]["channels"] if config and config.exists() else names
    return [name for name in names if name in known]


def _features(context: typer.Context, begun: str) -> Iterable[str]:
    from geoembed.fits import embeddings

    names = embeddings.names_in(_given(context, "embeddings")[0])
    return [*names, "concat"] if len(names) > 2 else names


def _vectors(context: typer.Context, begun: str) -> Iterable[str]:
    from geoembed.fits import embeddings

    return embeddings.names_in(_given(context, "embeddings")[0])


def _feature_lists(context: typer.Context, begun: str) -> Iterable[str]:
    return [*_features(context, begun), "subsets"]


def _columns(context: typer.Context, begun: str) -> Iterable[str]:
    """Return the columns of the label files on the command line."""
    for path in _given(context, "labels"):
        yield from _columns_of(path)


def _columns_of(path: Path) -> Iterable[str]:
    match path.suffix.lower():
        case ".gpkg":
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                layers = database.execute("SELECT table_name, column_name FROM gpkg_geometry_columns").fetchall()
                for layer, geometry in layers:
                    columns = database.execute("SELECT name FROM pragma_table_info(?)", (layer,)).fetchall()
                    yield from (name for (name,) in columns if name not in (geometry, "fid", "chip_id"))
        case ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                first = file.readline()
                yield from next(csv.reader([first], csv.Sniffer().sniff(first)))
        case ".geojson" | ".json":
            with path.open(encoding="utf-8") as file:
                text = file.read(1_000_000)
            start = text.index('"properties"', text.index('"features"'))
            yield from json.JSONDecoder().raw_decode(text, text.index("{", start))[0]


def _classes(context: typer.Context, begun: str) -> Iterable[str]:
    """Return the classes of the raster on the command line, by the legend's names, or the legend where there is none.

    A few windows of the first raster are read, so that a large one costs no time.
    """
    from geoembed.labels import legend

    rasters = [path for path in _given(context, "rasters") if path.is_file()]
    if not rasters:
        return legend.WORLDCOVER
    return [legend.name_of(value) or f"{value}" for value in _values(rasters[0])]


def _values(path: Path) -> list[int]:
    import numpy as np
    import rasterio
    from rasterio.windows import Window

    values: set[int] = set()
    with rasterio.open(path) as raster:
        for row in np.linspace(0, max(0, raster.height - SAMPLE), SAMPLES):
            for column in np.linspace(0, max(0, raster.width - SAMPLE), SAMPLES):
                pixels = raster.read(1, window=Window(int(column), int(row), SAMPLE, SAMPLE), masked=True)
                values.update(np.unique(pixels.compressed()).astype(int).tolist())
    return sorted(values)


def _given(context: typer.Context, name: str) -> list[Path]:
    """Return the paths that an option or argument names, or its default.

    Before an option without its value, arguments are left over in `context.args`.
    """
    parameter = next(parameter for parameter in context.command.params if parameter.name == name)
    is_argument = parameter.param_type_name == "argument"
    value = (context.args if is_argument else None) or context.params.get(name) or parameter.default or ()
    return [Path(str(path)) for path in (value if isinstance(value, list | tuple) else [value])]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


classifier = _offered(lambda context, begun: TABLE)
classifiers = _offered(lambda context, begun: TABLE, listed=True)
modalities = _offered(_modalities, listed=True)
features = _offered(_features)
vectors = _offered(_vectors)
feature_lists = _offered(_feature_lists, listed=True)
columns = _offered(_columns)
classes = _offered(_classes)
labels = _files(*LABEL_FILES)
chips = _files(folder_of="chips.json")
models = _files(folder_of="weights.safetensors")
embeddings = _files("*.h5")
probes = _files("probe/*/probe.skops", "*.skops", "*/probe.skops")
