"""What people are told is in the JSON too: every number of every line and table that a command shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run


def numbers(value: Any) -> Iterator[float]:
    """All numbers in a JSON value, those in keys and in the cells of tables too; shares also as percentages."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (*told(key), *numbers(item))
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield from (float(value), 100.0 * value)
    elif isinstance(value, str):
        yield from told(value)


def told(text: str) -> list[float]:
    """The numbers of a text, without those that are part of a name, such as s2 or F1."""
    found = re.findall(r"(?<![\w./-])-?\d[\d,]*(?:\.\d+)?(?![\w./-]*[A-Za-z_/])", text)
    return [float(number.replace(",", "")) for number in found]


def decimals(number: float) -> int:
    return len(f"{number:.10f}".rstrip("0").partition(".")[2])


def is_among(number: float, known: list[float]) -> bool:
    """Whether a number is one of those known, as it is rounded."""
    return any(abs(number - other) <= 0.5 * 10.0 ** -decimals(number) + 1e-9 for other in known)


COMMANDS = {
    "chip": "chip --aoi aoi.gpkg --size 40 --min-valid 0.9 -o {0}/chips",
    "label classes": "label landcover.tif --class water --class crops=40 -o {0}/labels",
    "label numbers": "label coh.tif --above 20 -o {0}/coh.gpkg",
    "pretrain": "pretrain --epochs 2 -o {0}/model",
    "embed": "embed -o {0}/embeddings.h5",
    "suggest": "suggest --n 5 -o {0}/to-label.gpkg",
    "export": "export -o {0}/e.parquet",
    "import": "import landcover.tif --chips chips -o {0}/e.h5",
    "probe": "probe --labels labels/water.gpkg --n 30 -o {0}/probe",
    "evaluate": "evaluate --labels labels/water.gpkg --sizes 10,all --repeats 2 --n 10 --features s1,s2 -o {0}/report",
    "search": "search --like 32N-160-03120-31238 --not 32N-160-03122-31240 --in s1 --n 12 -o {0}/s.gpkg",
    "evaluate --dry-run": "evaluate --labels labels/water.gpkg --n 10 -o {0}/report --dry-run",
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_number_told_is_in_the_json(here: Path, run: Run, tmp_path: Path, words: str) -> None:
    result = run(*words.format(tmp_path).split(), "--json")
    assert result.exit_code == 0, result.stderr
    printed = json.loads(result.stdout)
    known = [*numbers(printed)]
    lines = [line for line in result.stderr.replace(str(tmp_path), "").splitlines() if not line.startswith("warning:")]
    figures = [(line, number) for line in lines for number in told(line)]
    assert figures, "nothing was told"
    for line, number in figures:
        assert is_among(number, known), (number, line)


def test_a_kept_model_tells_its_figures_too(here: Path, run: Run) -> None:
    printed = json.loads(run("pretrain", "--json").stdout)
    assert printed["counts"] == {"kept": 1}
    assert printed["training"]["loss"] > 0 and printed["training"]["step"] >= 1
    assert printed["took_seconds"] >= 0


def test_what_reads_numbers_reads_them() -> None:
    assert told("1,200 chips: 18.3 % of s2, F1 0.5, -3 to 1e3") == [1200, 18.3, 0.5, -3]
    assert is_among(18.3, [18.2500001]) and not is_among(18.3, [18.2]) and is_among(1200, [1199.8])
