"""Every output file of label, probe and evaluate, damaged in every way: the messages lead to the folder as it was."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
from damages import DAMAGES, damage
from synthetic import LATTICE, chip_folder, embeddings_file, ids, raster

from geoembed.errors import GeoembedError
from geoembed.evaluation import results
from geoembed.fits.classifiers import saved
from geoembed.outputs import documents, geopackage
from geoembed.steps.evaluate import evaluate
from geoembed.steps.label import label
from geoembed.steps.probe import probe

Verb = Callable[..., Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Verb]]:
    """What each verb has made, in folders of its name, and the verbs, which take where to write and --overwrite."""
    base = tmp_path_factory.mktemp("world")
    chips = chip_folder(base / "chips", ids(LATTICE, 4, 3))
    cover = raster(
        base / "c.tif", np.random.default_rng(0).integers(1, 3, (96, 128)).astype("uint8"), 480e3, 5120960, 10
    )
    water = np.random.default_rng(0).random(300) < 0.4
    vectors = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32) + water[:, None]
    file = embeddings_file(base / "e.h5", {"s2": vectors, "fused": vectors}, columns=20, aois=2)
    pd.DataFrame({"chip_id": file.chip_id, "label": water.astype(int)}).to_csv(base / "water.csv", index=False)
    given: dict[str, Any] = {"labels": base / "water.csv", "hold_out": True}
    probe(base / "e.h5", output=base / "fitted", **given)
    verbs: dict[str, Verb] = {
        "label": lambda out, **how: label((cover,), output=out / "a.gpkg", chips=chips, classes=("a=1",), **how),
        "probe": lambda out, **how: probe(base / "e.h5", output=out, **given, **how),
        "apply": lambda out, **how: probe(base / "e.h5", output=out, apply=base / "fitted", **how),
        "evaluate": lambda out, **how: evaluate(
            base / "e.h5", output=out, sizes=("10",), n=10, repeats=2, classifiers=("ridge",), features=("s2",),
            **given, **how,
        ),
    }  # fmt: skip
    for name, verb in verbs.items():
        verb(base / name)
    return base, verbs


FILES = [
    *(("label", name) for name in ("a.gpkg", "a.qml")),
    *(("probe", name) for name in ("predictions.gpkg", "metrics.json", "probe.skops", "predictions.qml",
                                   "predictions-confidence.qml")),
    *(("apply", name) for name in ("predictions.gpkg", "predictions.qml")),
    *(("evaluate", name) for name in ("summary.json", "results.csv", "report.html")),
]  # fmt: skip


def content(path: Path) -> Any:
    """What a file says, without the seconds that it took, and digests of such files."""
    if path.suffix == ".gpkg":
        layer = "labels" if path.stem == "a" else "predictions"
        assert geopackage.read(path, layer, GeoembedError) is not None
        return geopandas.read_file(path).to_json(), geopackage.record_of(path, layer)
    if path.suffix == ".json":
        return {name: value for name, value in documents.load(path).items() if name != "files"}
    if path.suffix == ".skops":
        return saved.digest(path)
    text = path.read_text().replace(str(path.parent), "")  # a report says where it was written to
    return results.read(path).drop(columns="seconds").to_csv() if path.suffix == ".csv" else text


def contents(folder: Path) -> dict[str, Any]:
    return {path.name: content(path) for path in folder.iterdir()}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize(("verb", "name"), FILES)
def test_the_messages_lead_out(
    world: tuple[Path, dict[str, Verb]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    verb: str,
    name: str,
    how: str,
) -> None:
    base, verbs = world
    folder = tmp_path / verb
    shutil.copytree(base / verb, folder)
    damage(folder / name, how)
    with caplog.at_level(logging.WARNING, "geoembed"):
        words = _run(verbs[verb], folder)
    if "--overwrite" in words:
        assert not _run(verbs[verb], folder, overwrite=True)
    elif words:
        assert "move it away" in words, words
        (folder / name).unlink()
        assert not _run(verbs[verb], folder)
    if f"{name}: was made or edited by hand and stays; delete it" in caplog.text:
        assert name.endswith(".qml") and how == "flipped"
        (folder / name).unlink()
        assert not _run(verbs[verb], folder)
    assert contents(folder) == contents(base / verb)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not _run(verbs[verb], folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "kept"


def _run(verb: Verb, folder: Path, **how: Any) -> str:
    """Run a verb; return its message, empty where it did its work."""
    try:
        verb(folder, **how)
    except GeoembedError as error:
        assert "\n" not in str(error)
        return str(error)
    return ""


@pytest.mark.parametrize("key", ["scores", "method", "counts", "accuracy"])
def test_a_sealed_document_of_another_form_is_told(
    world: tuple[Path, dict[str, Verb]], tmp_path: Path, key: str
) -> None:
    base, verbs = world
    folder = tmp_path / "probe"
    shutil.copytree(base / "probe", folder)
    content = documents.load(folder / "metrics.json")
    documents.write(folder / "metrics.json", {name: value for name, value in content.items() if name != key})
    words = _run(verbs["probe"], folder)
    assert words.startswith(f"{folder / 'metrics.json'}: was edited: it is not what geoembed probe writes; ")
    assert not _run(verbs["probe"], folder, overwrite=True)
