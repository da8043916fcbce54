from inspect import signature
from pathlib import Path

import pytest

from geoembed.earth.places import PLACES
from geoembed.evaluation import made
from geoembed.steps.evaluate import evaluate
from geoembed.version import __version__

GIVEN = {name: parameter.default for name, parameter in signature(evaluate).parameters.items()}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"labels": "water.gpkg"}, "geoembed evaluate e.h5 --labels water.gpkg"),
        (
            {"labels": [Path("my water.gpkg"), Path("crops.gpkg")], "sizes": ["10", "all"], "n": 50, "progress": True},
            "geoembed evaluate e.h5 --labels 'my water.gpkg' --labels crops.gpkg --n 50 --sizes 10,all",
        ),
        (
            {"labels": ("a.csv",), "classifiers": ("knn", "ridge"), "overwrite": True, "hold_out": True},
            "geoembed evaluate e.h5 --labels a.csv --classifiers knn,ridge --hold-out",
        ),
    ],
)
def test_the_command_can_be_typed_again(given: dict[str, object], wanted: str) -> None:
    parameters = signature(evaluate).parameters
    assert made.command("evaluate", parameters, GIVEN | {"embeddings": Path("e.h5")} | given) == wanted


def test_simulated_areas_are_known_by_the_names_that_only_these_have() -> None:
    simulated = {place.name for place in PLACES}
    found = made.now("geoembed evaluate", ("sim-doab", "sim-valley", "tarn"), simulated, {})
    assert found.simulated == ("sim-doab",) and found.areas == 3 and found.version == __version__
