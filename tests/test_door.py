"""The door for notebooks: every command is a function of the same name and options that does the work."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import typer.main
from places import make_place

import geoembed
from geoembed.cli import COMMANDS, FUNCTIONS, app
from geoembed.errors import ProbeError

PARAMETERS = {name.replace("-", "_"): command.params for name, command in typer.main.get_command(app).commands.items()}  # type: ignore[attr-defined]
ONLY_THERE = {"json", "quiet", "verbose", "config"}
"""What says how the command line talks; only `chip` reads the settings file for more than options."""


def plain(default: object) -> object:
    """A default as both sides have it: paths as text, nothing for nothing."""
    return None if default in ([], (), None) else str(default)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_function_has_its_commands_options_and_defaults(name: str) -> None:
    function = inspect.signature(getattr(geoembed, FUNCTIONS.get(name, name))).parameters
    command = {parameter.name: parameter for parameter in PARAMETERS[name]}
    assert set(function) - {"progress", "config"} == set(command) - ONLY_THERE - {"help"}
    for key, parameter in command.items():
        if key in function and not parameter.required:
            assert plain(function[key].default) == plain(parameter.default), key
    for key in {key for key, parameter in command.items() if parameter.required}:
        assert function[key].default is inspect.Parameter.empty
    assert function["progress"].default is False
    assert inspect.getdoc(getattr(geoembed, FUNCTIONS.get(name, name)))


def test_the_door_lists_all_commands_and_no_more() -> None:
    assert set(geoembed.__all__) == {*(FUNCTIONS.get(name, name) for name in COMMANDS), "open_embeddings"}
    assert set(geoembed.__all__) <= set(dir(geoembed))
    with pytest.raises(AttributeError, match="no attribute 'chop'"):
        geoembed.chop  # noqa: B018


def test_importing_loads_nothing() -> None:
    program = (
        "import sys, geoembed; heavy = {'numpy', 'torch', 'rasterio', 'pandas', 'typer', 'rich'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_pipeline_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_place(tmp_path)
    monkeypatch.chdir(tmp_path)
    chips = geoembed.chip("aoi.gpkg", size=16)
    assert (chips.path, chips.counts["chips"]) == (Path("chips"), len(chips.made)) and chips.counts["chips"] > 50
    assert isinstance(chips.made, geopandas.GeoDataFrame) and {"chip_id", "split", "s2"} <= set(chips.made.columns)
    labels = geoembed.label("landcover.tif", classes=["water", "crops=40"])
    assert [path.name for path in labels.paths] == ["water.gpkg", "crops.gpkg"]
    assert labels.made.groupby("labels").size().to_dict() == dict.fromkeys(("water", "crops"), len(chips.made))
    model = geoembed.pretrain(epochs=1)
    assert len(model.made) >= 1 and model.made["loss"].notna().all()
    embedded = geoembed.embed(modalities="s1,coh")
    assert set(embedded.made) == {"s1", "coh", "fused"} and embedded.made["fused"].shape == (len(chips.made), 256)
    mapped = geoembed.probe(labels="labels/water.gpkg", n=20)
    assert len(mapped.made) == len(chips.made) and mapped.made["prediction"].isin([0, 1]).all()
    report = geoembed.evaluate(labels="labels/water.gpkg", sizes="10,all", repeats=2, n=10)
    assert report.path == Path("report/report.html") and {"task", "n", "value"} <= set(report.made.columns)
    assert capsys.readouterr().out == ""
    opened = geoembed.open_embeddings("embeddings.h5")
    np.testing.assert_array_equal(opened["fused"], embedded.made["fused"])
    assert opened.sizes == {"chip": len(chips.made), "dimension": 256, "modality": 2}
    assert opened["lat"].to_numpy() == pytest.approx(45.14, abs=0.05)
    again = geoembed.chip("aoi.gpkg", size=16, progress=True)
    assert again.counts["cells_cut"] == 0
    with pytest.raises(ProbeError, match="either --labels"):
        geoembed.probe()
