import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import Run


def test_it_writes_a_report(here: Path, run: Run, tmp_path: Path) -> None:
    words = ("evaluate", "--labels", "labels/water.gpkg", "--sizes", "10,all", "--repeats", 2, "-o", tmp_path / "r")
    result = run(*words)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'r' / 'report.html'}\n"), result.stderr
    results = pd.read_csv(tmp_path / "r" / "results.csv")
    assert {"s1", "s2", "coh", "fused", "concat"} == set(results.features)
    assert results.n.min() == 10
    assert json.loads((tmp_path / "r" / "summary.json").read_text())
    page = (tmp_path / "r" / "report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert run(*words).exit_code == 0


def test_labels_are_required(here: Path, run: Run) -> None:
    result = run("evaluate")
    assert (result.exit_code, result.stdout) == (2, "")


def test_labels_that_match_nothing_are_an_error(here: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "far.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"label": 1}, '
        '"geometry": {"type": "Point", "coordinates": [100.0, 10.0]}}]}'
    )
    result = run("evaluate", "--labels", tmp_path / "far.geojson", "-o", tmp_path / "r")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "far.geojson" in result.stderr


WORDS = ("evaluate", "--labels", "labels/water.gpkg", "--sizes", "10,all", "--repeats", 2)


def test_a_dry_run_prints_nothing_for_the_next_program(here: Path, run: Run, tmp_path: Path) -> None:
    words = (*WORDS, "-o", tmp_path / "r", "--dry-run")
    result = run(*words)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert "nothing was written" in result.stderr
    result = run(*words, "--json")
    printed = json.loads(result.stdout)
    assert result.exit_code == 0 and printed["path"] is None
    assert printed["counts"]["fits"] > 0 and printed["counts"]["seconds"] > 0
    assert not (tmp_path / "r").exists()


def test_one_label_is_too_few(here: Path, run: Run, tmp_path: Path) -> None:
    result = run(*WORDS, "--n", 1, "-o", tmp_path / "r")
    assert (result.exit_code, result.stdout) == (1, "") and "--n 1" in result.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("--against", "none.h5"), "none.h5: no embeddings here"),
        (("--chips", "none"), "no chips here"),
        (("--chips", "chips", "--model", "none"), "none"),
        (("--features", "s2+fusd"), "--features s2+fusd: not in embeddings.h5"),
        (("--sizes", "10,some"), "--sizes some: write numbers from 2"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_used_is_one_line(
    here: Path, run: Run, tmp_path: Path, words: tuple[str, ...], printed: str
) -> None:
    result = run(*WORDS, *words, "-o", tmp_path / "r")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1 and printed in result.stderr
    assert not (tmp_path / "r").exists()


def test_it_compares_with_another_file_and_with_baselines(here: Path, run: Run, tmp_path: Path) -> None:
    words = (
        "--chips",
        "chips",
        "--against",
        "embeddings.h5",
        "--n",
        10,
        "--features",
        "s2,fused",
        "-o",
        tmp_path / "r",
    )
    result = run(*WORDS, *words)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'r' / 'report.html'}\n"), result.stderr
    results = pd.read_csv(tmp_path / "r" / "results.csv")
    key = f"{here.name}/embeddings"  # the name embeddings is that of the file measured
    assert set(results.source) == {"embeddings", key, "statistics", "mosaiks", "untrained"}
    assert set(results.question) == {"curve", "split", "missing"}
