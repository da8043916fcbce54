"""The smallest project in which every verb has something to do, and what its outputs hold."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import h5py
import numpy as np
import pandas as pd
import pyogrio
import shapely
from places import write

from geoembed.outputs import journal
from geoembed.steps.chip import chip
from geoembed.steps.embed import embed
from geoembed.steps.evaluate import evaluate
from geoembed.steps.export import export
from geoembed.steps.import_embeddings import import_embeddings
from geoembed.steps.label import label
from geoembed.steps.pretrain import pretrain
from geoembed.steps.probe import probe
from geoembed.steps.sample import sample
from geoembed.steps.search import search
from geoembed.steps.suggest import suggest

SIDE, SIZE = 48, 8
"""Pixels along the place's side and along a chip's: 36 chips."""

SETTINGS = """
[modalities.s2]
source = "s2.tif"
[modalities.coh]
source = "coh.tif"
"""

TIMES = {"seconds", "took_seconds", "chips_per_second", "created", "date", "sha256", "stamps", "made", "files"}
"""Words that stand for times in documents and tables, and for digests of what holds times."""


@dataclass(frozen=True)
class Work:
    """A verb as the small project runs it.

    name: of the verb.
    run: does the work in the working folder, and raises what the verb raises.
    output: of the verb, a file or a folder.
    """

    name: str
    run: Callable[[], Any]
    output: str


WORKS = {
    work.name: work
    for work in (
        Work("sample", lambda: sample("sample"), "sample"),
        Work("chip", lambda: chip("few.gpkg", source=["s2=s2.tif"], output="few", size=SIZE, workers=1), "few"),
        Work(
            "label",
            lambda: label("landcover.tif", classes="water=80", chips="chips", output="labels/water.gpkg"),
            "labels/water.gpkg",
        ),
        Work("pretrain", lambda: pretrain(epochs=2.0, batch_size=8, workers=1, device="cpu"), "model"),
        Work("embed", lambda: embed(workers=1, device="cpu", batch_size=12), "embeddings.h5"),
        Work("suggest", lambda: suggest(n=4, features="s2", chips="chips"), "to-label.gpkg"),
        Work("export", lambda: export("embeddings.h5", output="e.parquet"), "e.parquet"),
        Work("import", lambda: import_embeddings("e.parquet", output="again.h5"), "again.h5"),
        Work("probe", lambda: probe(labels="labels/water.gpkg", features="s2"), "probe/water"),
        Work(
            "evaluate",
            lambda: evaluate(
                labels="labels/water.gpkg", chips="chips", sizes="all", n=8, repeats=1, features="s2", device="cpu"
            ),
            "report",
        ),
        Work(
            "search",
            lambda: search(like="few.gpkg", features="s2", n=9, chips="chips", page=True, output="found/s.gpkg"),
            "found",
        ),
    )
}


def make(folder: Path) -> None:
    """Write rasters, areas and settings, and run every verb but `sample`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    water = (np.sin(x / 7.0) + np.cos(y / 9.0)) > 0.0
    noise = rng.normal(size=(5, SIDE, SIDE))
    s2 = np.where(water, 500, 2000)[None] + 100 * noise[:3]
    coh = np.clip(np.where(water, 15, 60)[None] + 5 * noise[3:5], 1, 99)
    write(folder / "s2.tif", s2.astype("uint16"), ("jja_red", "jja_green", "jja_blue"), 1e-4, nodata=0)
    write(folder / "coh.tif", coh.astype("uint8"), ("jja_coh12", "jja_coh24"), 0.01, nodata=0)
    write(folder / "landcover.tif", np.where(water, 80, 40)[None].astype("uint8"), ("class",), nodata=0)
    west, north, cell = 499_200, 4_999_680, SIZE * 10
    whole = shapely.box(west, north - SIDE * 10, west + SIDE * 10, north)
    few = shapely.box(west, north - 2 * cell, west + 3 * cell, north)
    for name, area in (("aoi", whole), ("few", few)):
        geopandas.GeoDataFrame({"name": [name]}, geometry=[area], crs="EPSG:32632").to_file(folder / f"{name}.gpkg")
    (folder / "geoembed.toml").write_text(SETTINGS)
    with inside(folder):
        chip("aoi.gpkg", size=SIZE, workers=1)
        for work in WORKS.values():
            if work.name != "sample":
                work.run()


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def remove(path: Path) -> None:
    """Delete an output and what lies hidden beside it."""
    for each in (path, *path.parent.glob(f".{path.name}*"), path.with_suffix(".qml")):
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[str]:
    """Return parts and locks that should not be there."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.name.startswith(".part-") or path.name.endswith(".lock")
    )


def content(path: Path) -> dict[str, Any]:
    """Return what an output holds, by file, without times: equal for outputs that are as good as each other."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    beside = [path.with_suffix(".qml")] if path.is_file() and path.with_suffix(".qml").exists() else []
    return {str(file.relative_to(path.parent)): _content(file) for file in (*files, *beside)}


def _content(path: Path) -> Any:
    reader = _READERS.get(path.suffix, _digest)
    return reader(path)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _of_vectors(path: Path) -> Any:
    layers = pyogrio.list_layers(path)[:, 0]
    tables = {}
    for layer in layers:
        table = pyogrio.read_dataframe(path, layer=layer)
        info = pyogrio.read_info(path, layer=layer)
        record = json.loads((info["layer_metadata"] or {}).get("geoembed", "null"))
        rows = pd.DataFrame(table.drop(columns="geometry")).to_csv(index=False, float_format="%.6g")
        tables[str(layer)] = [rows, shapely.to_wkb(table.geometry.to_numpy()).tolist(), _timeless(record)]
    return tables


def _of_hdf5(path: Path) -> Any:
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = [str(item.dtype), item.shape, np.asarray(item[()]).tolist().__repr__()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
        found["attributes"] = {name: str(value) for name, value in file.attrs.items() if name not in TIMES}
    return found


def _of_document(path: Path) -> Any:
    return _timeless(json.loads(path.read_text()))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(part) for key, part in value.items() if key not in TIMES}
    return list(map(_timeless, value)) if isinstance(value, list) else value


def _of_table(path: Path) -> Any:
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def _of_journal(path: Path) -> Any:
    record, lines = journal.read(path)
    assert record is not None
    merged: dict[str, Any] = {}
    for line in lines:
        merged |= _timeless(line)
    return [record.digest, merged]


def _of_archive(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return sorted(hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist() if "npy" in name)


def _of_page(path: Path) -> Any:
    return re.sub(r"[0-9.,]+", "", path.read_text())


_READERS: dict[str, Callable[[Path], Any]] = {
    ".gpkg": _of_vectors,
    ".h5": _of_hdf5,
    ".json": _of_document,
    ".csv": _of_table,
    ".jsonl": _of_journal,
    ".skops": _of_archive,
    ".html": _of_page,
}
