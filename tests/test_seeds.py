"""Numbers that options take: seeds are whole numbers of 64 bits in every step alike, and absurd numbers are told."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Run

from geoembed.errors import ConfigError, LabelError
from geoembed.steps.chip import chip
from geoembed.steps.evaluate import evaluate
from geoembed.steps.label import label
from geoembed.steps.pretrain import pretrain
from geoembed.steps.probe import probe
from geoembed.steps.sample import sample

MOST = 2**64 - 1
VERBS: dict[str, Callable[..., Any]] = {
    "chip": lambda **how: chip(aoi="aoi.gpkg", output="c", **how),
    "pretrain": lambda **how: pretrain(output="m", epochs=0.1, **how),
    "probe": lambda **how: probe(labels="few.csv", classifier="forest", output="p", **how),
    "evaluate": lambda **how: evaluate(
        labels="few.csv", output="r", sizes=("10",), n=10, repeats=2, classifiers=("ridge",), features=("fused",), **how
    ),
    "sample": lambda **how: sample("e", **how),
}


@pytest.mark.parametrize(
    "seed", [-1, 2**64, 10**400, 10**5000, 1.0, True, "1", None], ids=lambda seed: type(seed).__name__
)
@pytest.mark.parametrize("verb", VERBS)
def test_other_seeds_are_refused_in_a_line(verb: str, seed: object) -> None:
    with pytest.raises(ConfigError, match=f"^--seed: give a whole number from 0 to {MOST}$"):
        VERBS[verb](seed=seed)


@pytest.mark.parametrize("seed", ["-1", str(2**64), "1" * 400, "1" * 9999, "x", "1.5"], ids=len)
def test_on_the_command_line_too(run: Run, seed: str) -> None:
    done = run("sample", "--seed", seed)
    assert done.exit_code == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 and "--seed" in done.stderr


def test_the_largest_seed_works_everywhere(project: Path) -> None:
    labels = pd.DataFrame({"chip_id": sorted(path.stem for path in Path("chips/s2").rglob("*.tif"))})
    labels.assign(label=labels.index % 2).to_csv("few.csv", index=False)
    for verb in ("chip", "pretrain", "probe", "evaluate"):
        VERBS[verb](seed=MOST)


@pytest.mark.parametrize(
    ("verb", "how", "words"),
    [
        ("chip", {"size": 10**400}, "--size: give a whole number up to 2147483647"),
        ("chip", {"workers": 2**64}, "--workers: give a whole number up to 2147483647"),
        ("chip", {"size": 0}, "--size 0: give pixels, 1 or more"),
        ("chip", {"resolution": 1e-320}, r"--resolution \S+: give metres per pixel, from 0.0001 to 1,000,000"),
        ("chip", {"resolution": float("nan")}, "--resolution nan: give metres per pixel"),
        ("chip", {"resolution": 1e300}, r"--resolution 1e\+300: give metres per pixel"),
        ("pretrain", {"epochs": 2.0**64}, r"epochs 1.8\S+: input should be less than or equal to 1000000000"),
        ("pretrain", {"minutes": 1e300, "epochs": None}, r"minutes 1e\+300: input should be less than or equal to"),
        ("evaluate", {"repeats": 2**64}, "--repeats: give a whole number up to 2147483647"),
        ("label", {"above": float("nan")}, "--above nan: give a number"),
        ("label", {"above": float("inf")}, "--above inf: give a number"),
    ],
)  # fmt: skip
def test_absurd_numbers_are_refused_in_a_line(verb: str, how: dict[str, Any], words: str) -> None:
    verbs: dict[str, Callable[..., Any]] = {
        "chip": partial(chip, "aoi.gpkg"),
        "pretrain": pretrain,
        "evaluate": partial(evaluate, labels="few.csv"),
        "label": partial(label, "dem.tif"),
    }
    with pytest.raises((ConfigError, LabelError), match=f"^{words}") as raised:
        verbs[verb](**how)
    assert "\n" not in str(raised.value)
