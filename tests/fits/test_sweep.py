"""Sweeps beside the plain loop that anyone would write, and what they may not depend on."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, balanced_accuracy_score, r2_score, roc_auc_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from geoembed.fits import classifiers, draws, experiments, jobs, linear, sweep
from geoembed.fits.classifiers import forest, logistic
from geoembed.fits.curves import WHOLE, Fit
from geoembed.fits.experiments import Experiment
from geoembed.labels.targets import Targets

CHIPS, COLUMNS, REPEATS, SEED = 900, 10, 3, 5
SIZES = (2, 10, 60, 90, 150, 350)
Table = dict[tuple[Any, ...], dict[str, float]]
Laid = tuple[Experiment, tuple[Targets, ...]]


def world() -> tuple[np.ndarray[Any, Any], dict[str, Targets]]:
    """Features, and tasks: water is rare, crops unknown on a third of the chips, cover of three classes, a height."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(CHIPS, COLUMNS)) * rng.uniform(0.5, 20, COLUMNS) + rng.normal(0, 9, COLUMNS)).astype("f4")
    Z = (X - X.mean(0)) / X.std(0)
    noisy = Z[:, :3] + rng.normal(size=(CHIPS, 3))
    crops = (noisy[:, 1] > 0.2).astype(float)
    crops[rng.random(CHIPS) < 1 / 3] = np.nan
    tasks = (
        Targets("water", "", (noisy[:, 0] > 1.2).astype(float), (0, 1)),
        Targets("crops", "", crops, (0, 1)),
        Targets("trees", "", (noisy[:, 2] > 0.5).astype(float), (0, 1)),
        Targets("cover", "", np.digitize(noisy[:, 1], [-0.5, 0.8]).astype(float), (0, 1, 2)),
        Targets("height", "", 30 + 4 * Z[:, 3] + noisy[:, 0], ()),
    )
    return X, {task.name: task for task in tasks}


X, TASKS = world()
KEYS = draws.keys(np.array([f"chip{i}" for i in range(CHIPS)]))
SPLIT = np.random.default_rng(1).permutation(np.repeat(["train", "test"], [600, 300]))
TRAIN, TEST = np.flatnonzero(SPLIT == "train"), np.flatnonzero(SPLIT == "test")


def lay(
    names: Sequence[str] = tuple(TASKS),
    *,
    sizes: Sequence[int] = SIZES,
    full: bool = True,
    train: np.ndarray[Any, Any] = TRAIN,
    keys: np.ndarray[Any, Any] = KEYS,
    tasks: dict[str, Targets] = TASKS,
    tested: Sequence[experiments.Tested] | None = None,
    name: str = "here",
) -> Laid:
    """An experiment with these tasks, tested on the test chips."""
    chosen = tuple(tasks[name] for name in names)
    drawn = [
        draws.of_task(t, one, train, keys, sizes, full=full, repeats=REPEATS, seed=SEED) for t, one in enumerate(chosen)
    ]
    assert all(drawn)
    tested = tested or [experiments.Tested("curve", name, TEST)]
    return Experiment(name, train, tuple(one for one in drawn if one), tuple(tested)), chosen


def run(
    kinds: Sequence[str], *laid: tuple[Experiment, tuple[Targets, ...]], features: np.ndarray[Any, Any] = X
) -> Table:
    """Scores by question, place tested, task, classifier, n and seed."""
    each, tasks = [experiment for experiment, _ in laid], laid[0][1]
    results = sweep.Sweep(features, "", "", each, tasks, kinds, seed=SEED).run({})
    fits = [one for result in results for one in result.fits]
    return table(fits)


def table(fits: Sequence[Fit]) -> Table:
    found = {(one.question, one.tested, one.task, one.classifier, one.n, one.seed): one.scores for one in fits}
    assert len(found) == len(fits)
    return found


def curve(task: str, kind: str, n: int, draw: int) -> tuple[Any, ...]:
    return ("curve", "here", task, kind, n, SEED + draw)


def drawn(task: Targets, n: int, draw: int) -> np.ndarray[Any, Any]:
    """Rows of the chips whose labels are drawn."""
    pool = TRAIN[task.known[TRAIN]]
    order = draws.order(KEYS[pool], task.values[pool], numeric=task.numeric, seed=SEED + draw)
    return np.asarray(pool[order[:n]])


def penalty(kind: str, task: Targets, n: int, draw: int) -> float:
    """What a draw chooses for itself; above `linear.FEW` what the first draw does."""
    rows = drawn(task, n, draw if n <= linear.FEW else 0)
    Z = StandardScaler().fit(X[TRAIN].astype(float)).transform(X[rows].astype(float)).astype(np.float32)
    classes = len(task.classes)
    return classifiers.named(kind, classes).fit(Z, task.values[rows], classes, 0).penalty


def plainly(kind: str, task: Targets, n: int, draw: int) -> dict[str, float]:
    """Fit and score one model as a reader of scikit-learn's documentation would."""
    scaler = StandardScaler().fit(X[TRAIN].astype(float))
    rows, test = drawn(task, n, draw), TEST[task.known[TEST]]
    A, B = scaler.transform(X[rows].astype(float)), scaler.transform(X[test].astype(float))
    y, truth, strength = task.values[rows], task.values[test], penalty(kind, task, n, draw)
    if task.numeric:
        return {"r2": r2_score(truth, Ridge(alpha=strength).fit(A, y).predict(B))}
    if kind == "ridge":
        score = Ridge(alpha=strength).fit(A, np.where(y > 0, 1.0, -1.0)).predict(B)
        return {"roc_auc": roc_auc_score(truth, score), "average_precision": average_precision_score(truth, score)}
    p = LogisticRegression(C=1 / strength, tol=1e-6, max_iter=10_000).fit(A, y).predict_proba(B)
    share = np.bincount(y.astype(int)) / len(y)
    scores = {"balanced_accuracy": balanced_accuracy_score(truth, (p / share).argmax(1))}
    if len(task.classes) == 2:
        scores["roc_auc"] = roc_auc_score(truth, p[:, 1])
        scores["brier"] = float(((p[:, 1] - truth) ** 2).mean())
    return scores


@pytest.mark.parametrize(("few", "batch"), [(linear.FEW, jobs.BATCH), (300, 60 * COLUMNS * 2)])
def test_scores_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch, few: int, batch: int) -> None:
    """Below SMALL, between, and above FEW labels; the small draws in one batch, and in several."""
    monkeypatch.setattr(linear, "FEW", few)
    monkeypatch.setattr(jobs, "BATCH", batch)
    found = run(("logistic", "ridge"), lay())
    for name, task in TASKS.items():
        whole = int(task.known[TRAIN].sum())
        least = 2 if task.numeric else 2 * len(task.classes)
        wanted = {(n, k) for n in SIZES if n >= least for k in range(REPEATS)} | {(whole, 0)}
        for kind in ("logistic", "ridge"):
            assert {(key[4], key[5] - SEED) for key in found if key[2:4] == (name, kind)} == wanted
            for n, k in wanted:
                if len(task.classes) == 3 and kind == "ridge":
                    continue  # its probabilities are of three curves: see test_classifiers.py
                with threadpool_limits(1):
                    scores = plainly(kind, task, n, k)
                for metric, value in scores.items():
                    # a class's few test chips are what one decision at the edge weighs
                    close = 0.011 if metric == "balanced_accuracy" else 0.002
                    assert found[curve(name, kind, n, k)][metric] == pytest.approx(value, abs=close), (kind, n, k)


def test_above_few_labels_the_first_draw_chooses_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEW", 120)
    given: dict[tuple[int, bytes], Any] = {}
    chosen: dict[tuple[int, bytes], Any] = {}
    fit = logistic.Logistic.fit_together

    def watched(self: Any, design: Any, values: Any, classes: int, penalties: Any = None, start: Any = None) -> Any:
        models = fit(self, design, values, classes, penalties, start)
        key = values.shape[1], np.sort(values).tobytes() + np.asarray(design.mean).tobytes()
        given[key], chosen[key] = penalties, [self.ridge_penalty(one) for one in models]
        return models

    monkeypatch.setattr(logistic.Logistic, "fit_together", watched)
    run(("logistic",), lay(("water",)))
    for n in (10, 60, 90):
        assert [penalties for (size, _), penalties in given.items() if size == n] == [None]
    for n in (150, 350):
        of_n = [key for key in given if key[0] == n]
        first, *others = sorted(of_n, key=lambda key: given[key] is not None)
        assert given[first] is None and len(others) == REPEATS - 1
        for key in others:
            assert given[key] == pytest.approx(chosen[first]) and chosen[key] == pytest.approx(chosen[first])


def test_forest_and_neighbours_run_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forest, "TREES", 10)
    names, sizes = ("water", "cover", "height"), (10, 60, 150)
    laid = lay(names, sizes=sizes, full=False)
    found = run(("forest", "knn"), laid)
    assert len(found) == 3 * 2 * 3 * REPEATS
    Z = StandardScaler().fit(X[TRAIN]).transform(X).astype(np.float32)
    for name in names:
        task, classes = TASKS[name], len(TASKS[name].classes)
        for kind, n, k in (("forest", 60, 1), ("knn", 10, 0), ("knn", 150, 2)):
            rows = drawn(task, n, k)
            model = classifiers.named(kind, classes).fit(Z[rows], task.values[rows], classes, SEED)
            predicted = model.predict(Z[TEST])
            scores, truth = found[curve(name, kind, n, k)], task.values[TEST]
            if task.numeric:
                assert scores["r2"] == pytest.approx(r2_score(truth, predicted), abs=0.005)
            else:
                wanted = balanced_accuracy_score(truth, model.decide(predicted))
                assert scores["balanced_accuracy"] == pytest.approx(wanted, abs=0.005)


@pytest.mark.parametrize("cores", [1, 5])
def test_nothing_depends_on_cores_or_order(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    kinds, laid = ("logistic", "ridge", "knn"), (lay(), lay(train=TRAIN[::2], sizes=(10, 150), name="half"))
    monkeypatch.setattr(linear, "FEW", 120)
    wanted = run(kinds, *laid)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    lay_out = jobs.lay_out
    monkeypatch.setattr(jobs, "lay_out", lambda *given: reversed(lay_out(*given)))
    monkeypatch.setattr(jobs, "HELD", 0.1)  # and one experiment at a time
    monkeypatch.setattr(jobs, "FREELY", 0)
    assert run(kinds, *laid) == wanted


def test_nothing_depends_on_the_order_of_chips() -> None:
    wanted = run(("logistic", "ridge"), lay())
    turn = np.random.default_rng(3).permutation(CHIPS)
    place_of = np.argsort(turn)  # where a chip is now
    tasks = {name: Targets(name, "", task.values[turn], task.classes) for name, task in TASKS.items()}
    tested = [experiments.Tested("curve", "here", np.sort(place_of[TEST]))]
    laid = lay(train=np.sort(place_of[TRAIN]), keys=KEYS[turn], tasks=tasks, tested=tested)
    assert_close(run(("logistic", "ridge"), laid, features=X[turn]), wanted)


def assert_close(found: Table, wanted: Table) -> None:
    assert found.keys() == wanted.keys()
    for key, scores in found.items():
        for metric, value in scores.items():
            near = 0.011 if metric in ("balanced_accuracy", "f1", "macro_f1", "ece") else 0.002
            assert value == pytest.approx(wanted[key][metric], abs=near, nan_ok=True), (key, metric)


@pytest.mark.parametrize("few", [linear.FEW, 120])
def test_nothing_depends_on_the_other_tasks(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Tasks that drew the same chips share a design, and logistic ones one run of L-BFGS."""
    monkeypatch.setattr(linear, "FEW", few)
    kinds = ("logistic", "ridge", "knn")
    together = run(kinds, lay())
    for name in TASKS:
        assert_close(run(kinds, lay((name,))), {key: scores for key, scores in together.items() if key[2] == name})


def test_other_vectors_and_a_draw_of_their_own() -> None:
    """As inputs are removed from test chips: learned from whole chips, scored on others, some for one draw alone."""
    rng, sizes = np.random.default_rng(9), (10, 150)
    worse = X[TEST] + rng.normal(0, 10, (len(TEST), COLUMNS)).astype(np.float32)
    some = TEST[::2]
    tested = [
        experiments.Tested("curve", "here", TEST),
        experiments.Tested("missing", "nothing", TEST, X[TEST]),
        experiments.Tested("missing", "worse", TEST, worse),
        experiments.Tested("missing", "worse in draw 1", TEST, worse, draw=1),
        experiments.Tested("transfer", "some", some, sizes=frozenset({150, WHOLE})),
    ]
    found = run(("logistic", "knn"), lay(("water", "height"), sizes=sizes, tested=tested))
    replaced = X.copy()
    replaced[TEST] = worse
    wanted = run(("logistic", "knn"), lay(("water", "height"), sizes=sizes), features=replaced)
    asked: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for (question, name, task, kind, n, seed), scores in found.items():
        asked.setdefault((question, name), set()).add((n, seed - SEED))
        whole = found["curve", "here", task, kind, n, seed]
        if name.startswith("worse"):
            assert scores == pytest.approx(wanted["curve", "here", task, kind, n, seed], abs=1e-6)
            assert scores != pytest.approx(whole, abs=1e-3)
        elif name == "nothing":
            assert scores == pytest.approx(whole, abs=1e-6)
    every = {(n, k) for n in sizes for k in range(REPEATS)} | {(600, 0)}
    assert asked["curve", "here"] == asked["missing", "nothing"] == asked["missing", "worse"] == every
    assert asked["missing", "worse in draw 1"] == {(10, 1), (150, 1)}
    assert asked["transfer", "some"] == {(150, 0), (150, 1), (150, 2), (600, 0)}
    alone = run(("knn",), lay(("water",), sizes=sizes, tested=[experiments.Tested("transfer", "some", some)]))
    assert found["transfer", "some", "water", "knn", 150, SEED] == alone["transfer", "some", "water", "knn", 150, SEED]


def test_what_was_done_is_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEW", 120)
    kinds, laid, other = ("logistic", "ridge", "knn"), lay(), lay(train=TRAIN[::2], sizes=(10, 150), name="half")
    both = [laid[0], other[0]]
    whole = list(sweep.Sweep(X, "", "", both, laid[1], kinds, seed=SEED).run({}))
    assert sum(done.models for done in whole) == sweep.fits(both, kinds)
    assert len({done.key for done in whole}) == len(whole)
    for kept in (whole[: len(whole) // 3], whole[::2], whole):
        before = {done.key: done.penalties for done in kept}
        rest = list(sweep.Sweep(X, "", "", both, laid[1], kinds, seed=SEED).run(before))
        assert {done.key for done in rest} == {done.key for done in whole} - before.keys()
        again = [fit for done in (*kept, *rest) for fit in done.fits]
        assert table(again) == table([fit for done in whole for fit in done.fits])


def test_probabilities_are_those_that_were_scored() -> None:
    laid = lay(sizes=(60,))
    found, seen = run(("logistic",), laid), dict.fromkeys(TASKS, 0)
    for t, _, truth, p in sweep.Sweep(X, "", "", [laid[0]], laid[1], ("logistic",), seed=SEED).probabilities(
        "logistic", 60
    ):
        task = laid[1][t]
        assert truth.tolist() == task.values[TEST[task.known[TEST]]].tolist()
        brier = ((p - np.eye(p.shape[1])[truth.astype(int)]) ** 2).sum(1).mean() / (2 if p.shape[1] == 2 else 1)
        assert brier == pytest.approx(found[curve(task.name, "logistic", 60, seen[task.name])]["brier"], abs=1e-4)
        seen[task.name] += 1
    assert seen == {"water": 3, "crops": 3, "trees": 3, "cover": 3, "height": 0}


def test_probabilities_are_not_told_at_more_labels_than_there_are() -> None:
    laid = lay(("water", "cover"), sizes=(5, 5000))
    for n, tasks in ((5000, []), (5, [0] * REPEATS)):  # of three classes five labels cannot hold two each
        found = sweep.Sweep(X, "", "", [laid[0]], laid[1], ("ridge",), seed=SEED).probabilities("ridge", n)
        assert [task for task, *_ in found] == tasks


CODE = """
from threadpoolctl import threadpool_info
import test_sweep
from geoembed.fits import classifiers, sweep
do, seen = sweep.Sweep._do, set()
def watched(*given, **more):
    result = do(*given, **more)
    seen.update((one["filepath"], one["num_threads"]) for one in threadpool_info())
    return result
sweep.Sweep._do = watched
test_sweep.run(tuple(classifiers.TABLE), test_sweep.lay(sizes=(60,), full=False))
apis = {one["user_api"] for one in threadpool_info()}
assert apis == {"blas", "openmp"}, apis
assert all(threads == 1 for _, threads in seen), seen
"""


def test_no_library_of_any_classifier_starts_threads_of_its_own() -> None:
    # OpenMP, which nearest neighbours are searched with, keeps its limit per thread.
    wanted = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    wanted["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run([sys.executable, "-c", CODE], check=True, env=os.environ | wanted)
