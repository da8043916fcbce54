"""Seeds: whole numbers of 64 bits, in every step alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Run

from geoembed.errors import ConfigError
from geoembed.steps.chip import chip
from geoembed.steps.evaluate import evaluate
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
