import json
from pathlib import Path

import pandas as pd


def test_it_writes_a_report(here: Path, run, tmp_path: Path) -> None:
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


def test_labels_are_required(here: Path, run) -> None:
    result = run("evaluate")
    assert (result.exit_code, result.stdout) == (2, "")


def test_labels_that_match_nothing_are_an_error(here: Path, run, tmp_path: Path) -> None:
    (tmp_path / "far.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"label": 1}, '
        '"geometry": {"type": "Point", "coordinates": [100.0, 10.0]}}]}'
    )
    result = run("evaluate", "--labels", tmp_path / "far.geojson", "-o", tmp_path / "r")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "far.geojson" in result.stderr
