import csv
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import embeddings_file

from geoembed import embeddings, markup
from geoembed.errors import GeoembedError, ProbeError, StaleError
from geoembed.evaluate import COLUMNS, evaluate
from geoembed.steps import Progress, finish


@pytest.fixture
def world(tmp_path: Path) -> embeddings.Embeddings:
    """1,000 chips in two AOIs; s2 tells water and crops, s1 tells nothing; ice lies in the first AOI alone."""
    rng = np.random.default_rng(0)
    water, crops = rng.random(1000) < 0.2, rng.random(1000) < 0.4
    s2 = rng.normal(size=(1000, 12)).astype(np.float32)
    s2[:, 0] += 2.5 * water
    s2[:, 1] += 2.5 * crops
    s1 = rng.normal(size=(1000, 6)).astype(np.float32)
    s1[:50] = np.nan
    found = embeddings_file(tmp_path / "e.h5", {"s1": s1, "s2": s2, "fused": s2.copy()}, columns=40, aois=2)
    for name, values in (("water", water), ("crops", crops), ("ice", water & (found.aoi == "aoi0"))):
        table = pd.DataFrame({"chip_id": found.chip_id, "label": values.astype(int)})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    pd.DataFrame({"chip_id": found.chip_id, "value": s2[:, 2] * 3.0}).to_csv(tmp_path / "height.csv", index=False)
    return found


def run(folder: Path, *tasks: str, **options: Any) -> Any:
    options = {"sizes": ("10", "50", "100", "all"), "n": 50, "repeats": 3, **options}
    return finish(evaluate(folder / "e.h5", tuple(folder / f"{t}.csv" for t in tasks), folder / "report", **options))


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "report/results.csv")


def curve_rows(folder: Path) -> pd.DataFrame:
    table = rows(folder)
    return table[table["question"] == "curve"]


def test_one_row_per_fit_and_metric(tmp_path: Path, world: embeddings.Embeddings) -> None:
    done = run(tmp_path, "water", "crops")
    assert done.paths == (tmp_path / "report/report.html",)
    table = rows(tmp_path)
    assert tuple(table.columns) == COLUMNS
    curve = table[table["question"] == "curve"]
    # 2 tasks x 3 places x 4 features x (3 sizes x 3 draws + all), and 6 metrics
    assert len(curve) == 2 * 3 * 4 * 10 * 6
    # of fused also a random split and two times all but one area, at 50 labels and at all
    assert done.counts["fits"] == 240 + 2 * 3 * 4
    assert set(table["question"]) == {"curve", "split", "transfer"}
    keys = ["question", "tested", "task", "aoi", "features", "classifier", "n", "seed", "metric"]
    assert not table.duplicated(keys).any()
    best = curve[(curve["metric"] == "balanced_accuracy") & (curve["aoi"] == "all") & (curve["n"] == 100)]
    means = best.groupby(["task", "features"])["value"].mean()
    assert means["water", "s2"] > 0.8 and abs(means["water", "s1"] - 0.5) < 0.06
    assert means["water", "concat"] > 0.8 and means["water", "fused"] > 0.8


def test_summary_says_how_many_are_enough(tmp_path: Path, world: embeddings.Embeddings) -> None:
    done = run(tmp_path, "water")
    summary = json.loads((tmp_path / "report/summary.json").read_text())
    train = int((world.split == "train").sum())
    cell = next(
        one
        for one in summary["cells"]
        if (one["aoi"], one["features"], one["metric"]) == ("all", "s2", "balanced_accuracy")
    )
    assert cell["full"]["n"] == train and [point["n"] for point in cell["curve"]] == [10, 50, 100]
    assert cell["enough"]["95%"] in (50, 100)
    assert all(point["low"] < point["mean"] < point["high"] for point in cell["curve"])
    assert f"<h1>{markup.text(summary['answer'])}</h1>" in (tmp_path / "report/report.html").read_text()
    assert summary["over_all_cells"]["95%"]["cells"] > 3
    assert "water" in done.table


def test_scores_are_of_the_test_split_and_draws_of_the_train_split(
    tmp_path: Path, world: embeddings.Embeddings
) -> None:
    run(tmp_path, "water", features=("s2",))
    before = curve_rows(tmp_path)
    # Turning every test label round mirrors ROC AUC; had test chips been learned from, it would not.
    labels = pd.read_csv(tmp_path / "water.csv")
    labels.loc[world.split == "test", "label"] ^= 1
    labels.to_csv(tmp_path / "water.csv", index=False)
    run(tmp_path, "water", features=("s2",), overwrite=True)
    areas = [table.loc[table["metric"] == "roc_auc", "value"].to_numpy() for table in (before, curve_rows(tmp_path))]
    assert areas[0] == pytest.approx(1 - areas[1], abs=2e-6)


def test_same_seed_same_results_whatever_the_cores(
    tmp_path: Path, world: embeddings.Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, "water")
    one = rows(tmp_path).drop(columns="seconds")
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    run(tmp_path, "water", overwrite=True)
    assert one.equals(rows(tmp_path).drop(columns="seconds"))
    run(tmp_path, "water", overwrite=True, seed=7)
    assert not one["value"].equals(rows(tmp_path)["value"])


def test_cells_without_a_class_are_empty_and_counted(
    tmp_path: Path, world: embeddings.Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "geoembed"):
        done = run(tmp_path, "ice", features=("s2", "s1"))
    # aoi1 of both features; of the last also all but aoi0, which has no ice to learn from, and all but aoi1
    assert done.counts["cells_empty"] == 4 and done.counts["chips_without_s1"] == 50
    assert set(rows(tmp_path)["aoi"]) == {"all", "aoi0"}
    assert "3 cells with one class to learn from" in caplog.text and "50 chips without s1" in caplog.text


def test_numbers_are_fitted_by_ridge(
    tmp_path: Path, world: embeddings.Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "geoembed"):
        done = run(tmp_path, "height", "water", features=("s2",))
    assert "logistic means ridge" in caplog.text
    table = rows(tmp_path)
    assert set(table.loc[table["task"] == "height", "metric"]) == {"r2", "rmse"}
    assert table.loc[(table["metric"] == "r2") & (table["n"] > 200), "value"].min() > 0.95
    assert "r2" in done.table


def test_several_classifiers_agree_on_the_easy_task(tmp_path: Path, world: embeddings.Embeddings) -> None:
    run(tmp_path, "water", features=("s2",), sizes=("100",), repeats=2, classifiers=("ridge", "forest", "knn"))
    table = rows(tmp_path)
    found = table[(table["metric"] == "balanced_accuracy") & (table["aoi"] == "all")]
    assert (found.groupby("classifier")["value"].mean() > 0.7).all() and found["classifier"].nunique() == 3


def test_rerun_is_free_and_other_options_are_refused(tmp_path: Path, world: embeddings.Embeddings) -> None:
    done = run(tmp_path, "water", features=("s2",))
    before = (tmp_path / "report/results.csv").read_bytes()
    again = run(tmp_path, "water", features=("s2",))
    assert (tmp_path / "report/results.csv").read_bytes() == before and again.table == done.table
    with pytest.raises(StaleError, match="seed was 0, now 1"):
        run(tmp_path, "water", features=("s2",), seed=1)
    (tmp_path / "report/summary.json").write_text("{}")
    with pytest.raises(ProbeError, match="not made by geoembed"):
        run(tmp_path, "water", features=("s2",), overwrite=True)


def test_progress_counts_fits(tmp_path: Path, world: embeddings.Embeddings) -> None:
    steps = list(
        evaluate(tmp_path / "e.h5", (tmp_path / "water.csv",), tmp_path / "r", sizes=("10", "all"), n=10, repeats=2)
    )
    assert all(isinstance(step, Progress) for step in steps)
    fits = [step for step in steps if step.unit == "fits"]
    # 3 places x 4 features, and a random split and two times all but one area of fused
    assert fits[-1].done == fits[-1].total == 3 * 4 * 3 + 3 * 3
    with (tmp_path / "r/results.csv").open() as file:
        found = list(csv.DictReader(file))
    assert sum(row["question"] == "curve" for row in found) == 36 * 6


def test_what_cannot_be_measured_says_the_remedy(tmp_path: Path, world: embeddings.Embeddings) -> None:
    for options, words in (
        ({"sizes": ("ten",)}, "--sizes ten"),
        ({"repeats": 0}, "draw at least once"),
        ({"features": ("s3",)}, "did you mean s2"),
        ({"classifiers": ("tree",)}, "unknown"),
    ):
        with pytest.raises(ProbeError, match=words):
            run(tmp_path, "water", **options)
    with pytest.raises(ProbeError, match="rename one"):
        run(tmp_path, "water", "water")
    pd.DataFrame({"chip_id": world.chip_id, "label": 1}).to_csv(tmp_path / "water.csv", index=False)
    with pytest.raises(ProbeError, match="nothing could be fitted"):
        run(tmp_path, "water")


@pytest.mark.parametrize("name", ["results.csv", "report.html", "summary.json"])
def test_other_peoples_files_are_not_touched(tmp_path: Path, world: embeddings.Embeddings, name: str) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / name).write_text("theirs")
    for overwrite in (False, True):
        with pytest.raises(GeoembedError, match=rf"{name}: exists and was not made by geoembed"):
            run(tmp_path, "water", features=("s2",), overwrite=overwrite)
    assert [(path.name, path.read_text()) for path in (tmp_path / "report").iterdir()] == [(name, "theirs")]


def test_killed_while_overwriting_nothing_old_is_kept(
    tmp_path: Path, world: embeddings.Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, "water", features=("s2",))
    with monkeypatch.context() as patch:
        patch.setattr("geoembed.report.html", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "water", features=("s2",), seed=1, overwrite=True)
    assert not (tmp_path / "report/report.html").exists()
    run(tmp_path, "water", features=("s2",), seed=1)
    assert rows(tmp_path)["seed"].max() == 3 and (tmp_path / "report/report.html").exists()


def test_a_file_is_no_folder(tmp_path: Path, world: embeddings.Embeddings) -> None:
    (tmp_path / "report").write_text("theirs")
    with pytest.raises(StaleError, match="report: is a file"):
        next(evaluate(tmp_path / "none.h5", (), tmp_path / "report"))
    with pytest.raises(StaleError, match="report: is a file"):
        next(evaluate(tmp_path / "none.h5", (), tmp_path / "report" / "here"))


CODE = """
import sys
from pathlib import Path
from threadpoolctl import threadpool_info
from geoembed import evaluate, sweep
do, seen = sweep.Sweep._do, set()
def watched(*given, **more):
    done = do(*given, **more)
    seen.update((Path(one["filepath"]).parent.name, one["num_threads"]) for one in threadpool_info())
    return done
sweep.Sweep._do = watched
folder = Path(sys.argv[1])
list(evaluate.evaluate(folder / "e.h5", (folder / "water.csv",), folder / "r", sizes=("100",), features=("s2",)))
assert seen and all(threads == 1 for _, threads in seen), seen
"""


def test_no_library_starts_threads_of_its_own(tmp_path: Path, world: embeddings.Embeddings) -> None:
    # Two threads per fit beside one fit per core made a sweep of 25 s one of 175 s.
    wanted = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], check=True, env=wanted)


def test_a_class_with_few_test_chips_is_told(
    tmp_path: Path, world: embeddings.Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    rare = np.zeros(1000, int)
    rare[np.flatnonzero(world.split == "train")[:40]] = 1
    rare[np.flatnonzero(world.split == "test")[:3]] = 1
    pd.DataFrame({"chip_id": world.chip_id, "label": rare}).to_csv(tmp_path / "rare.csv", index=False)
    with caplog.at_level(logging.WARNING):
        run(tmp_path, "rare", "crops", sizes=("all",))
    told = [entry.getMessage() for entry in caplog.records if "only" in entry.getMessage()]
    assert told == ["rare: only 3 test chips are 1; the task's scores hang on them"]
