import csv
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from chip_folders import CHANNELS, make_chips
from embedded_chips import make_embedded, write_model
from scipy import stats
from synthetic import embeddings_file, say

from geoembed.chips import folder as chip_folder
from geoembed.errors import ChipError, EmbeddingsError, GeoembedError, ModelError, ProbeError, StaleError
from geoembed.evaluation import protocol, removal
from geoembed.evaluation.options import Options
from geoembed.evaluation.results import COLUMNS
from geoembed.fits import embeddings, jobs, sweep
from geoembed.labels import files, targets
from geoembed.outputs import documents
from geoembed.outputs import journal as journals
from geoembed.progress import Progress
from geoembed.report import markup
from geoembed.steps.evaluate import evaluate
from geoembed.steps.info import info


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
    options = {"sizes": ("10", "50", "100", "all"), "n": 50, "repeats": 3, "hold_out": True, **options}
    return evaluate(
        folder / "e.h5", labels=tuple(folder / f"{t}.csv" for t in tasks), output=folder / "report", **options
    )


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
    # 2 tasks x 3 places x 4 features x (3 sizes x 3 draws + all), and 7 metrics
    assert len(curve) == 2 * 3 * 4 * 10 * 7
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
    assert "water" in {row[0] for row in done.tables[0].rows}


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


def write_points(folder: Path, found: embeddings.Embeddings) -> pd.DataFrame:
    """Write 100 labels of three classes, four of one of them, which s2 tells apart, into points.csv."""
    s2 = found.vectors("s2")
    rng = np.random.default_rng(5)
    kind = np.where(s2[:, 0] > 2, "water", "other")
    chips = np.sort(rng.permutation(1000)[:100])
    names = kind[chips].astype(object)
    names[rng.permutation(100)[:4]] = "snow"
    table = pd.DataFrame({"chip_id": found.chip_id[chips], "label": names})
    table.to_csv(folder / "points.csv", index=False)
    return table


def test_few_labels_are_all_tested_in_folds(
    tmp_path: Path, world: embeddings.Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    write_points(tmp_path, world)
    with caplog.at_level(logging.WARNING, "geoembed"):
        done = run(tmp_path, "points", features=("s2", "fused"), n=200, repeats=2, hold_out=False)
    assert "labels of points were given by hand, so that all 100 are tested, in 5 spatial folds" in caplog.text
    told = re.search(r"--n 200: there are too few labels to draw as many; (\d+) are drawn", caplog.text)
    n = int(told[1]) if told else 0
    assert 70 < n < 80
    assert "only 4 test chips are snow" in caplog.text
    curve = curve_rows(tmp_path)
    everywhere = curve[(curve["aoi"] == "all") & (curve["metric"] == "accuracy") & (curve["features"] == "s2")]
    # two repetitions of five folds, a draw of each size from the labels outside each fold, and all of these
    assert everywhere.groupby("n")["seed"].apply(sorted).loc[n] == list(range(10))
    whole = everywhere[~everywhere["n"].isin([10, 50, n])]
    assert len(whole) == 10 and whole["n"].mean() == pytest.approx(80)
    assert whole["value"].mean() > 0.7
    assert set(rows(tmp_path)["question"]) == {"curve", "split", "transfer"}
    summary = json.loads((tmp_path / "report/summary.json").read_text())
    full = next(one["full"] for one in summary["cells"] if (one["aoi"], one["metric"]) == ("all", "accuracy"))
    assert full["n"] == 80
    scored = summary["maps"]["points"]
    assert scored["method"] == "spatial cross-validation" and scored["scores"]["all"]["labels"] == 100
    assert {one["task"] for one in summary["trust"]} == {"points"} and done.report == {}


def test_folds_are_learned_and_tested_apart(tmp_path: Path, world: embeddings.Embeddings) -> None:
    table = write_points(tmp_path, world)
    task = targets.join(files.read(tmp_path / "points.csv"), world.chip_id, world.grids)
    asked = Options((10,), True, n=20, repeats=3, classifiers=("ridge",), features=("s2",), seed=0)
    laid = protocol.layout(world, [task], asked, [True])
    assert laid.folds.shape == (3, 1000) and (laid.folds >= 0).sum() == 300 and laid.tested.sum() == len(table)
    experiments, _ = laid.experiments(np.ones(1000, dtype=bool), ["curve"])
    everywhere = [one for one in experiments if one.name == "all"]
    assert [one.first for one in everywhere] == list(range(15))
    for repeat in range(3):
        folds = everywhere[repeat * 5 : repeat * 5 + 5]
        assert sorted(np.concatenate([one.tested[0].rows for one in folds])) == np.flatnonzero(task.known).tolist()
    for one in experiments:
        tested = one.tested[0].rows
        assert not np.isin(one.train, tested).any()
        assert all(task.known[one.train[order[:10]]].all() for draws in one.draws for order in draws.orders)


def test_a_fold_that_holds_two_classes_is_tested_in_other_ways(tmp_path: Path, world: embeddings.Embeddings) -> None:
    values = np.full(1000, np.nan)
    values[:200] = 0.0
    asked = Options((10,), True, n=10, repeats=1, classifiers=("ridge",), features=("s2",), seed=0)
    for rare in (3, 60, 117, 199):  # all labels of the second class lie in one band
        values[[rare - 1, rare]] = 1.0
        task = targets.Targets("rare", "label", values.copy(), (0, 1))
        laid = protocol.layout(world, [task], asked, [True])
        assert len(np.unique(values[laid.main.tested & ~np.isnan(values)])) == 2
        values[[rare - 1, rare]] = 0.0


def test_numbers_are_fitted_by_ridge(
    tmp_path: Path, world: embeddings.Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "geoembed"):
        done = run(tmp_path, "height", "water", features=("s2",))
    assert "logistic means ridge" in caplog.text
    table = rows(tmp_path)
    assert set(table.loc[table["task"] == "height", "metric"]) == {"r2", "rmse"}
    assert table.loc[(table["metric"] == "r2") & (table["n"] > 200), "value"].min() > 0.95
    assert "r2" in {row[1] for row in done.tables[0].rows}


def test_several_classifiers_agree_on_the_easy_task(tmp_path: Path, world: embeddings.Embeddings) -> None:
    run(tmp_path, "water", features=("s2",), sizes=("100",), repeats=2, classifiers=("ridge", "forest", "knn"))
    table = rows(tmp_path)
    found = table[(table["metric"] == "balanced_accuracy") & (table["aoi"] == "all")]
    assert (found.groupby("classifier")["value"].mean() > 0.7).all() and found["classifier"].nunique() == 3


def test_rerun_is_free_and_other_options_are_refused(tmp_path: Path, world: embeddings.Embeddings) -> None:
    done = run(tmp_path, "water", features=("s2",))
    before = (tmp_path / "report/results.csv").read_bytes()
    again = run(tmp_path, "water", features=("s2",))
    assert (tmp_path / "report/results.csv").read_bytes() == before and again.tables[0].to_json() == done.tables[
        0
    ].to_json()
    with pytest.raises(StaleError, match="seed was 0, now 1"):
        run(tmp_path, "water", features=("s2",), seed=1)
    (tmp_path / "report/summary.json").write_text("{}")
    with pytest.raises(StaleError, match="not made by geoembed"):
        run(tmp_path, "water", features=("s2",), overwrite=True)


def test_progress_counts_fits(tmp_path: Path, world: embeddings.Embeddings) -> None:
    steps = list(
        evaluate.steps(
            tmp_path / "e.h5",
            labels=(tmp_path / "water.csv",),
            output=tmp_path / "r",
            sizes=("10", "all"),
            n=10,
            repeats=2,
            hold_out=True,
        )
    )
    assert all(isinstance(step, Progress) for step in steps)
    fits = [step for step in steps if step.unit == "fits"]
    # 3 places x 4 features, and a random split and two times all but one area of fused
    assert fits[-1].done == fits[-1].total == 3 * 4 * 3 + 3 * 3
    with (tmp_path / "r/results.csv").open() as file:
        found = list(csv.DictReader(file))
    assert sum(row["question"] == "curve" for row in found) == 36 * 7


def test_what_cannot_be_measured_says_the_remedy(tmp_path: Path, world: embeddings.Embeddings) -> None:
    for options, words in (
        ({"sizes": ("ten",)}, "--sizes ten"),
        ({"repeats": 0}, "draw at least once"),
        ({"features": ("s3",)}, "did you mean s2"),
        ({"classifiers": ("tree",)}, "unknown"),
        ({"classifiers": ()}, "names none"),
        ({"sizes": ()}, "names none"),
        ({"features": ()}, "names none"),
    ):
        with pytest.raises(ProbeError, match=words):
            run(tmp_path, "water", **options)
    with pytest.raises(ProbeError, match="rename one"):
        run(tmp_path, "water", "water")
    pd.DataFrame({"chip_id": world.chip_id, "label": 1}).to_csv(tmp_path / "water.csv", index=False)
    with pytest.raises(ProbeError, match="no labels of two classes; drop --hold-out, or add labels"):
        run(tmp_path, "water")
    with pytest.raises(ProbeError, match="nothing could be fitted"):
        run(tmp_path, "water", hold_out=False)


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
        patch.setattr("geoembed.report.page.html", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "water", features=("s2",), seed=1, overwrite=True)
    assert not (tmp_path / "report/report.html").exists()
    run(tmp_path, "water", features=("s2",), seed=1)
    assert rows(tmp_path)["seed"].max() == 3 and (tmp_path / "report/report.html").exists()


def test_a_file_is_no_folder(tmp_path: Path, world: embeddings.Embeddings) -> None:
    (tmp_path / "report").write_text("theirs")
    with pytest.raises(StaleError, match="report: is a file"):
        next(evaluate.steps(tmp_path / "none.h5", labels=(), output=tmp_path / "report"))
    with pytest.raises(StaleError, match="report: is a file"):
        next(evaluate.steps(tmp_path / "none.h5", labels=(), output=tmp_path / "report" / "here"))


CODE = """
import sys
from collections import Counter
from pathlib import Path
from threadpoolctl import threadpool_info
from geoembed.fits import sweep
from geoembed.steps import evaluate
do, seen = sweep.Sweep._do, set()
def watched(*given, **more):
    done = do(*given, **more)
    seen.update((Path(one["filepath"]).parent.name, one["num_threads"]) for one in threadpool_info())
    return done
sweep.Sweep._do = watched
folder = Path(sys.argv[1])
files = {"labels": folder / "water.csv", "output": folder / "r"}
evaluate.evaluate(folder / "e.h5", **files, sizes="100", features="s2")
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
    assert told == ["rare: only 3 test chips are 1; the task's scores depend on these few"]


def test_a_transductive_model_is_told(
    tmp_path: Path, world: embeddings.Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    for transductive in ("false", "true"):
        say(tmp_path / "e.h5", training={"transductive": transductive == "true"})
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            run(tmp_path, "crops", sizes=("all",), overwrite=True)
        assert ("learned from the chips of all splits" in caplog.text) == (transductive == "true")
    assert "learned from the chips of all splits" in (tmp_path / "report/report.html").read_text()


def comparisons(folder: Path, question: str) -> list[dict[str, Any]]:
    summary = json.loads((folder / "report/summary.json").read_text())
    return [one for one in summary["comparisons"] if one["question"] == question]


def without_files(summary: Path) -> dict[str, Any]:
    """A summary without the digests of its files, which hold seconds."""
    return {name: value for name, value in documents.load(summary).items() if name != "files"}


def test_killed_in_mid_sweep_it_goes_on_where_it_was(
    tmp_path: Path, world: embeddings.Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"sizes": ("10", "150", "all"), "classifiers": ("logistic", "knn"), "features": ("s2", "fused")}
    monkeypatch.setattr("geoembed.fits.linear.FEW", 120)  # above, penalties of the first draw are used by the others
    whole = run(tmp_path, "water", "height", **options)
    wanted = rows(tmp_path).drop(columns="seconds")
    summary = without_files(tmp_path / "report/summary.json")
    shutil.rmtree(tmp_path / "report")
    done: list[str] = []
    do = sweep.Sweep._do

    def counted(self: sweep.Sweep, job: jobs.Job, *given: Any, **more: Any) -> jobs.JobResult:
        if stop and len(done) >= stop[0]:
            raise KeyboardInterrupt
        done.append(f"{self.name}/{job.key}")
        return do(self, job, *given, **more)

    monkeypatch.setattr(sweep.Sweep, "_do", counted)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    stop = [12]
    kept: set[str] = set()
    for _ in range(2):  # twice: the second time in the second kind of features
        done.clear()
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "water", "height", **options)
        journal = tmp_path / "report/.fits.jsonl"
        assert [path.name for path in (tmp_path / "report").iterdir()] == [journal.name]
        assert len(done) == stop[0] and not kept & set(done)
        kept = {f"{line['of'][1]}/{line['key']}" for line in journals.read(journal)[1]}
        assert set(done) <= kept
        with journal.open("a") as file:
            file.write('{"of":["embeddings","s2"],"key":"0/log')  # and a line half written
        stop = [30]
    stop, before = [], len(kept)
    done.clear()
    again = run(tmp_path, "water", "height", **options)
    assert not kept & set(done) and len(done) > 0
    assert before + len(done) == len(kept | set(done))
    assert rows(tmp_path).drop(columns="seconds").equals(wanted)
    assert without_files(tmp_path / "report/summary.json") == summary and again.counts == whole.counts
    assert not journal.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from geoembed.steps import evaluate
folder, left = Path(sys.argv[1]), 5
files = {"labels": folder / "water.csv", "output": folder / "report", "hold_out": True}
for step in evaluate.evaluate.steps(folder / "e.h5", **files, sizes=("10", "100"), n=50):
    left -= step.unit == "fits"
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_done_is_lost_to_a_kill(tmp_path: Path, world: embeddings.Embeddings) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    files: dict[str, Any] = {"labels": (tmp_path / "water.csv",), "output": tmp_path / "report", "hold_out": True}
    steps = evaluate.steps(tmp_path / "e.h5", **files, sizes=("10", "100"), n=50)
    first = next(step for step in steps if step.unit == "fits")
    assert first.done > 4  # those of the five pieces that were told, and of one more
    list(steps)
    assert (tmp_path / "report/report.html").exists()


def test_what_was_half_done_with_other_options_is_refused(
    tmp_path: Path, world: embeddings.Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("geoembed.fits.curves.of_fits", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "water", features=("s2",))
    with pytest.raises(StaleError, match="repeats was 3, now 2"):
        run(tmp_path, "water", features=("s2",), repeats=2)
    run(tmp_path, "water", features=("s2",), repeats=2, overwrite=True)
    assert rows(tmp_path)["seed"].max() == 1


def write_other(path: Path, world: embeddings.Embeddings, kept: np.ndarray[Any, Any], *, noise: float = 0.0) -> None:
    """Embeddings of some of the chips in another order, of s2 and fused alone."""
    rng = np.random.default_rng(5)
    s2 = world.vectors("s2")[kept]
    s2 = s2 + noise * rng.normal(size=s2.shape).astype(np.float32)
    block = embeddings.Chunk(world.present[kept][:, 1:], {"s2": s2, "fused": s2})
    embeddings.write(
        path, world.chip_id[kept], world.aoi[kept], world.split[kept], grids=world.grids, modalities=("s2",),
        blocks=[block], attributes=world.attributes,
    )  # fmt: skip


def test_another_file_learns_from_the_same_chips_and_is_paired_by_draw(
    tmp_path: Path, world: embeddings.Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = np.random.default_rng(2).permutation(1000)
    (tmp_path / "sub").mkdir()
    write_other(tmp_path / "same.h5", world, order[:900])
    write_other(tmp_path / "sub/e.h5", world, order[:900], noise=3.0)
    write_other(tmp_path / "sub/same.h5", world, order, noise=1.0)
    taught: dict[str, set[bytes]] = {}
    made = sweep.Sweep.__init__

    def watched(self: sweep.Sweep, X: Any, source: str, name: str, places: Any, *given: Any, **more: Any) -> None:
        taught.setdefault(name, set()).add(
            b"".join(place.train[one.orders].tobytes() for place in places for one in place.draws)
        )
        made(self, X, source, name, places, *given, **more)

    monkeypatch.setattr(sweep.Sweep, "__init__", watched)
    others = (tmp_path / "same.h5", tmp_path / "sub/e.h5", tmp_path / "sub/same.h5")
    done = run(tmp_path, "water", features=("s1", "s2", "fused"), against=others)
    assert {name: len(chips) for name, chips in taught.items()} == {"s1": 1, "s2": 1, "fused": 1}
    table = rows(tmp_path)
    assert list(dict.fromkeys(table["source"])) == ["embeddings", "same", "e", "sub/same"]
    assert done.counts["chips_without_s1"] == 50 and done.counts["chips_without_s2"] == 0
    assert done.counts["chips_without_s2_elsewhere"] == done.counts["chips_without_fused_elsewhere"] == 100
    scores = table[(table["question"] == "curve") & (table["metric"] == "balanced_accuracy")]
    value = scores.set_index(["source", "aoi", "features", "n", "seed"])["value"]
    compared = comparisons(tmp_path, "compared")
    # three sources x three areas x two kinds of features, at n and at all labels
    assert len(compared) == 3 * 3 * 2 * 2 and {one["features"] for one in compared} == {"s2", "fused"}
    for one in compared:
        n, seeds = one["score"]["n"], range(one["difference"]["draws"])
        ours, theirs = (
            [value[source, one["aoi"], one["features"], n, seed] for seed in seeds]
            for source in ("embeddings", one["source"])
        )
        assert len(seeds) == (3 if n == 50 else 1) and one["reference"]["n"] == n
        apart = np.subtract(ours, theirs)
        assert one["difference"]["mean"] == pytest.approx(apart.mean(), abs=2e-6)
        if n == 50:
            low, high = stats.t.interval(0.95, 2, loc=apart.mean(), scale=max(stats.sem(apart), 1e-30))
            assert (one["difference"]["low"], one["difference"]["high"]) == pytest.approx((low, high), abs=1e-5)
        if one["source"] == "same":  # the same vectors
            assert np.abs(apart).max() < 1e-6
    worse = {
        one["source"]: one["difference"]["mean"] for one in compared if one["aoi"] == "all" and one["score"]["n"] > 50
    }
    assert worse["e"] > 0.05


def test_two_files_of_one_name_are_told_apart_or_refused(tmp_path: Path, world: embeddings.Embeddings) -> None:
    write_other(tmp_path / "o.h5", world, np.arange(1000))
    with pytest.raises(ProbeError, match=r"o.h5: is called .*/o in the results, like .*o.h5; rename one"):
        run(tmp_path, "water", against=(tmp_path / "o.h5",) * 3)
    with pytest.raises(EmbeddingsError, match=r"none\.h5: no embeddings here"):
        run(tmp_path, "water", against=(tmp_path / "none.h5",))


def test_a_dry_run_counts_the_fits_and_writes_nothing(
    tmp_path: Path, world: embeddings.Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    write_other(tmp_path / "o.h5", world, np.arange(1000))
    for options in (
        {"against": (tmp_path / "o.h5",), "features": ("s2", "fused")},
        {"features": ("s1+s2", "s1"), "sizes": ("20",), "classifiers": ("ridge", "knn")},
    ):
        before = sorted(tmp_path.iterdir())
        with caplog.at_level(logging.INFO, "geoembed"):
            told = run(tmp_path, "water", "ice", "height", dry_run=True, **options)
        assert told.paths == () and sorted(tmp_path.iterdir()) == before
        assert caplog.messages[-1].startswith(f"{told.counts['fits']:,} fits, about ")
        assert "nothing was written" in caplog.messages[-1]
        assert told.counts["seconds"] > 0
        done = run(tmp_path, "water", "ice", "height", overwrite=True, **options)
        assert told.counts["fits"] == done.counts["fits"]
        shutil.rmtree(tmp_path / "report")


def test_sources_whose_names_begin_alike_do_not_mix_when_resumed(
    tmp_path: Path, world: embeddings.Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "embeddings").mkdir()
    against = (tmp_path / "s1.h5", tmp_path / "embeddings/s1.h5")
    for path in against:
        shutil.copy(world.path, path)
    options = {"against": against, "features": ("s1", "s2")}
    with monkeypatch.context() as patch:
        patch.setattr("geoembed.fits.curves.of_fits", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "water", **options)
    run(tmp_path, "water", **options)
    resumed = rows(tmp_path).drop(columns="seconds")
    shutil.rmtree(tmp_path / "report")
    run(tmp_path, "water", **options)
    assert resumed.equals(rows(tmp_path).drop(columns="seconds"))


def test_modalities_side_by_side_and_all_subsets(tmp_path: Path, world: embeddings.Embeddings) -> None:
    rng = np.random.default_rng(1)
    vectors = {name: world.vectors(name) for name in ("s1", "s2")}
    vectors["coh"] = rng.normal(size=(1000, 3)).astype(np.float32)
    found = embeddings_file(tmp_path / "e.h5", {**vectors, "fused": vectors["s2"]}, columns=40, aois=2)
    run(tmp_path, "water", features=("s1", "s1+s2", "subsets", "concat"), sizes=("100",), repeats=2)
    table = rows(tmp_path)
    assert list(dict.fromkeys(table["features"])) == ["s1", "s1+s2", "s1+coh", "s2+coh", "concat"]
    chosen = table[(table["metric"] == "balanced_accuracy") & (table["aoi"] == "all") & (table["n"] == 100)]
    means = chosen[chosen["question"] == "curve"].groupby("features")["value"].mean()
    assert (means[["s1+s2", "s2+coh", "concat"]] > 0.75).all() and (means[["s1", "s1+coh"]] < 0.6).all()
    assert set(table.loc[table["question"] != "curve", "features"]) == {"concat"}
    assert found.modalities == ("s1", "s2", "coh")


def strict(path: Path) -> dict[str, Any]:
    """Read JSON as others do, who know no NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in {path}")

    summary: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return summary


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chips in two areas, a model, embeddings, and an evaluation of them with everything asked."""
    folder = tmp_path_factory.mktemp("embedded")
    make_embedded(folder)
    run_with_chips(folder)
    return folder


def run_with_chips(folder: Path, **options: Any) -> Any:
    given = {"chips": folder / "chips", "model": folder / "model", "device": "cpu", "sizes": ("10", "all"), "n": 20}
    return run(folder, "upper", "odd", **{**given, "repeats": 2, **options})


def test_with_chips_baselines_are_compared_with(embedded: Path) -> None:
    table = rows(embedded)
    assert list(dict.fromkeys(table["source"])) == ["embeddings", "statistics", "mosaiks", "untrained"]
    curve = table[table["question"] == "curve"]
    by_source = curve.groupby("source")["features"].agg(set).to_dict()
    assert by_source.pop("embeddings") == {"s2", "s1", "fused", "concat"}
    assert all(offered == {"s2", "s1", "fused"} for offered in by_source.values())
    compared = comparisons(embedded, "compared")
    assert {(one["source"], one["features"]) for one in compared} == {
        (source, name) for source in by_source for name in ("s2", "s1", "fused")
    }
    sizes = curve[curve["n"] == 20].groupby(["source", "aoi", "features", "task"])["seed"].agg(list)
    assert all(set(seeds) == {0, 1} for seeds in sizes)


def test_with_chips_inputs_are_removed(embedded: Path) -> None:
    table = rows(embedded)
    missing = table[table["question"] == "missing"]
    cases = removal.cases(CHANNELS, seed=0, draws=2)
    assert set(missing["tested"]) == {"nothing", *(case.name for case in cases)}
    assert set(zip(missing["source"], missing["aoi"], missing["features"], missing["n"], strict=True)) == {
        ("embeddings", "all", "fused", n) for n in (20, 72)
    }
    # Every case is scored once per draw of labels: a random share's removals have a draw each.
    for n, drawn in ((20, [0, 1]), (72, [0])):
        counts = missing[missing["n"] == n].groupby(["tested", "task", "metric"])["seed"].agg(sorted)
        assert all(found == drawn for found in counts)
    # All test chips fit, so that with nothing missing it is the learning curve.
    keys = ["task", "n", "seed", "metric"]
    curve = table[(table["question"] == "curve") & (table["aoi"] == "all") & (table["source"] == "embeddings")]
    fused = curve[(curve["features"] == "fused") & (curve["n"] == 20)].set_index(keys)["value"]
    nothing = missing[(missing["tested"] == "nothing") & (missing["n"] == 20)].set_index(keys)["value"]
    assert nothing.sort_index().to_numpy() == pytest.approx(fused.sort_index().to_numpy(), abs=1e-4)
    told = comparisons(embedded, "missing")
    names = {case.name for case in cases}
    assert {(one["tested"], one["score"]["n"]) for one in told} == {(name, n) for name in names for n in (20, 72)}
    score = missing[missing["metric"] == "balanced_accuracy"].set_index(["task", "tested", "n", "seed"])["value"]
    for one in told:
        n, seeds = one["score"]["n"], range(one["difference"]["draws"])
        apart = [score[one["task"], one["tested"], n, k] - score[one["task"], "nothing", n, k] for k in seeds]
        assert len(seeds) == (2 if n == 20 else 1)
        assert one["difference"]["mean"] == pytest.approx(np.mean(apart), abs=2e-6)


def test_the_summary_holds_every_answer_as_json(embedded: Path) -> None:
    summary = strict(embedded / "report/summary.json")
    assert {one["question"] for one in summary["comparisons"]} == {"compared", "split", "transfer", "missing"}
    assert [(one["task"], one["n"]) for one in summary["trust"]] == [("upper", 20), ("odd", 20)]
    for one in summary["trust"]:
        assert 0 <= one["ece"]["mean"] <= 1 and one["brier"]["low"] <= one["brier"]["mean"] <= one["brier"]["high"]
        assert len(one["coverage"]) == len(one["accuracy"]) and one["coverage"][-1] == 1
    assert [one["features"] for one in summary["health"]] == ["s2", "s1", "fused"]
    (retrieval,) = summary["retrieval"]
    chips = embeddings.read(embedded / "e.h5")
    assert (retrieval["first"], retrieval["second"]) == ("s2", "s1")
    assert retrieval["n"] == (chips.present.all(1) & (chips.split == "test")).sum()
    assert set(summary["over_all_cells"]) == {"95%", "99%"} and summary["over_all_cells"]["95%"]["cells"] > 0
    assert summary["notes"] == []
    assert {one["aoi"] for one in summary["comparisons"] if one["question"] == "transfer"} == {
        "west", "east", "all but west", "all but east",
    }  # fmt: skip


def test_a_summary_without_answers_is_json_too(tmp_path: Path, world: embeddings.Embeddings) -> None:
    run(tmp_path, "height", "ice", features=("s2",), sizes=("all",), repeats=1)
    summary = strict(tmp_path / "report/summary.json")
    assert any(one["chance"] is None for one in summary["cells"]) and summary["retrieval"] == []
    assert "need --chips" in summary["notes"][0]


def test_the_report_asks_all_questions(embedded: Path) -> None:
    page = (embedded / "report/report.html").read_text()
    questions = re.findall("<h2>(.*?)</h2>", page)
    assert len(questions) == 12 and questions[-1] == "How this was measured"
    words = (
        "raise", "maps", "accurate", "enough", "compared", "leak", "travel", "missing", "trust", "look", "healthy",
    )  # fmt: skip
    for question, word in zip(questions, words, strict=False):
        assert word in question.lower()
    assert page.count("data:image/png") > 5  # chips beside their neighbours
    assert page.count("data:image/webp") == 2 * 2 * 2  # maps and errors of two tasks in two areas
    typed = re.search("<code>(geoembed evaluate .*?)</code>", page)
    assert typed and f"--chips {embedded / 'chips'}" in typed[1] and "--overwrite" not in typed[1]
    assert 'href="results.csv"' in page and "SIMULATED" not in page
    assert not re.search(r"\b(nan|None)\b", re.sub(r"data:image/(png|webp);base64,[^\"]+|<style>.*?</style>", "", page))


@pytest.mark.parametrize("how", ["flipped", "empty", "cut"])
def test_info_tells_of_a_damaged_baseline(beside: Path, embedded: Path, how: str) -> None:
    shutil.copytree(embedded / "report", beside / "report", dirs_exist_ok=True)
    assert info([beside / "report"], verify=True).report["found"][0]["intact"]
    path = beside / "report/baselines/mosaiks.h5"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes({"flipped": data, "empty": b"", "cut": data[: len(data) // 2]}[how]))
    with pytest.raises(GeoembedError, match=r"baselines/mosaiks.h5: .*; delete it: the next geoembed evaluate"):
        info([beside / "report"], verify=True)


def test_baselines_are_kept_by_the_next_run(embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = embedded / "report/baselines"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"statistics.h5", "mosaiks.h5", "untrained.h5"}
    wanted = rows(embedded).drop(columns="seconds")
    with monkeypatch.context() as patch:
        patch.setattr("geoembed.evaluation.baselines._describe", lambda *_: pytest.fail("chips were read again"))
        run_with_chips(embedded, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert rows(embedded).drop(columns="seconds").equals(wanted)


def test_chips_are_read_once_for_baselines_and_test_chips_once_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chipset = make_embedded(tmp_path)
    reads: Counter[str] = Counter()
    read_chip = chip_folder.read_chip

    def counted(path: Path, digest: str) -> chip_folder.Chip:
        reads[path.stem] += 1
        return read_chip(path, digest)

    monkeypatch.setattr(chip_folder, "read_chip", counted)
    monkeypatch.setattr("geoembed.evaluation.origin.Origin.galleries", lambda *_: [])  # pictures read some more
    monkeypatch.setattr("geoembed.evaluation.measurements._atlases", lambda *_: [])
    run_with_chips(tmp_path)
    index = chipset.index
    files = dict(zip(index["chip_id"], index[["s2", "s1"]].notna().sum(axis=1), strict=True))
    # Of so few chips, all train chips are looked at for the filters and for the centre.
    times = {"train": 3, "validation": 1, "test": 2}
    assert reads == {name: files[name] * times[split] for name, split in zip(files, index["split"], strict=True)}


def test_killed_after_inputs_were_removed_that_is_not_done_again(
    tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("chips", "model", "e.h5", "upper.csv", "odd.csv"):
        (tmp_path / name).symlink_to(embedded / name)
    with monkeypatch.context() as patch:
        patch.setattr("geoembed.fits.curves.of_fits", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_with_chips(tmp_path)
    monkeypatch.setattr("geoembed.evaluation.origin.Origin.missing", lambda *_: pytest.fail("embedded again"))
    run_with_chips(tmp_path)
    assert rows(tmp_path).drop(columns="seconds").equals(rows(embedded).drop(columns="seconds"))
    pages = [(folder / "report/report.html").read_text().replace(str(folder), "") for folder in (tmp_path, embedded)]
    assert pages[0] == pages[1]


@pytest.fixture
def beside(tmp_path: Path, embedded: Path) -> Path:
    """A folder with the same inputs and baselines, in which to evaluate otherwise."""
    for name in ("chips", "model", "e.h5", "upper.csv", "odd.csv"):
        (tmp_path / name).symlink_to(embedded / name)
    shutil.copytree(embedded / "report/baselines", tmp_path / "report/baselines")
    return tmp_path


def test_with_chips_a_dry_run_counts_the_same(embedded: Path, beside: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "geoembed"):
        told = run_with_chips(beside, dry_run=True)
    assert "besides reading all chips once and embedding test chips again" in caplog.messages[-1]
    assert told.counts["fits"] == strict(embedded / "report/summary.json")["counts"]["fits"]
    options = {"features": ("s2", "fused"), "sizes": ("10", "20"), "classifiers": ("ridge",)}
    told = run_with_chips(beside, dry_run=True, **options)
    assert sorted(path.name for path in (beside / "report").iterdir()) == ["baselines"]
    assert run_with_chips(beside, **options).counts["fits"] == told.counts["fits"]


def test_without_fused_no_inputs_are_removed(beside: Path) -> None:
    run_with_chips(beside, features=("s2",), classifiers=("ridge",), sizes=("10",))
    assert set(rows(beside)["question"]) == {"curve", "split", "transfer"}
    assert [one["features"] for one in strict(beside / "report/summary.json")["trust"]] == ["s2", "s2"]


def test_the_wrong_chips_or_model_are_told_with_the_remedy(tmp_path: Path, embedded: Path) -> None:
    chipset = make_chips(tmp_path / "chips", n=20, size=8)
    write_model(tmp_path / "model", chipset)
    for options, error, words in (
        ({"chips": tmp_path / "chips"}, ChipError, r"chips: lacks 100 of 120 chips of .*e.h5; .*--chips"),
        ({"chips": tmp_path}, ChipError, "no chips here; run `geoembed chip"),
        ({"model": tmp_path / "model"}, ModelError, r"model: .*e.h5 was embedded with another model; .*--model"),
        ({"model": tmp_path / "none"}, ModelError, "none"),
    ):
        for dry_run in (False, True):
            with pytest.raises(error, match=words) as told:
                run(embedded, "upper", **{"chips": embedded / "chips", "model": embedded / "model", **options},
                    dry_run=dry_run)  # fmt: skip
            assert "\n" not in str(told.value)


def test_killed_while_updating_it_goes_on(tmp_path: Path, world: embeddings.Embeddings) -> None:
    """Half-done work in place of a finished report goes on, with --update as without."""
    run(tmp_path, "water", sizes=("10", "100"))
    steps = evaluate.steps(
        tmp_path / "e.h5", labels=(tmp_path / "water.csv",), output=tmp_path / "report", n=50, overwrite=True
    )
    next(step for step in steps if step.unit == "fits")
    steps.close()
    lines = (tmp_path / "report/.fits.jsonl").read_text().count("models")
    assert lines > 0
    options: dict[str, Any] = {"labels": (tmp_path / "water.csv",), "output": tmp_path / "report", "n": 50}
    again = evaluate.steps(tmp_path / "e.h5", update=True, **options)
    next(step for step in again if step.unit == "fits")
    again.close()
    assert (tmp_path / "report/.fits.jsonl").read_text().count("models") > lines
    assert evaluate(tmp_path / "e.h5", **options).counts["fits"] > 0
