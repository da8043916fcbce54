"""The sweep of an evaluation against a plain loop over scikit-learn, on made-up embeddings.

3 modalities x 5 AOIs x 4 tasks x 10 sizes x 10 draws = 6,000 fits on 150,000 chips of 768 numbers (1.8 GB on disk),
for ridge and for logistic. The loop is timed on some fits of each size, one after another with all cores, and added up
for all 6,000: once with the penalty that the sweep chose, and once choosing it, as the sweep does, on the training
labels at each n up to 1,000 (13 penalties: RidgeClassifierCV's leave-one-out, LogisticRegressionCV's five folds).

Run: PYTHONPATH=tests python tests/benchmarks/bench_evaluate.py [CHIPS [FOLDER]]; 150000 and a temporary folder by
default.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from geoembed.evaluation import protocol
from geoembed.evaluation.options import Options
from geoembed.fits import classifiers, embeddings, features, sweep
from geoembed.labels.targets import Targets

MODALITIES, AREAS, DIMENSIONS = ("s1", "s2", "coh"), 5, 768
SIZES, REPEATS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000), 10
SHARES = (0.5, 0.3, 0.1, 0.05)
PENALTIES = np.logspace(-1.5, 4.5, 13)


def make(path: Path, chips: int) -> None:
    """Write embeddings of a landscape with 24 hidden factors, and the tasks that four of them make, beside them."""
    from synthetic import embeddings_file

    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(chips, 24)).astype(np.float32)
    vectors = {}
    for name in (*MODALITIES, "fused"):
        mixing = rng.normal(size=(24, DIMENSIONS)).astype(np.float32) * np.geomspace(
            1, 0.1, DIMENSIONS, dtype=np.float32
        )
        X = np.tanh(hidden @ mixing / 3)
        X += 0.5 * rng.normal(size=X.shape).astype(np.float32)
        vectors[name] = X / np.linalg.norm(X, axis=1, keepdims=True)
    embeddings_file(path, vectors, columns=AREAS * 100, aois=AREAS)
    noisy = hidden[:, :4] + 0.5 * rng.normal(size=(chips, 4))
    tasks = [noisy[:, t] > np.quantile(noisy[:, t], 1 - share) for t, share in enumerate(SHARES)]
    np.save(path.with_suffix(".npy"), np.stack(tasks))


def layout(path: Path) -> tuple[embeddings.Embeddings, protocol.Layout]:
    found = embeddings.read(path)
    values = np.load(path.with_suffix(".npy")).astype(np.float64)
    tasks = tuple(Targets(f"task{t}", "label", one, (0, 1)) for t, one in enumerate(values))
    asked = Options(
        SIZES, False, n=SIZES[0], repeats=REPEATS, classifiers=("ridge",), features=MODALITIES, seed=0, hold_out=True
    )
    return found, protocol.layout(found, tasks, asked)


def run(path: Path, kind: str) -> None:
    """Run the sweep over single areas; print seconds, fits, peak memory, and a score per size."""
    start = time.perf_counter()
    found, laid = layout(path)
    scores: dict[int, list[float]] = {}
    models = 0
    for name in MODALITIES:
        experiments, _ = laid.experiments(features.usable(found, name), ["curve"])
        alone = experiments[1:]
        for done in sweep.Sweep(features.read(found, name), "embeddings", name, alone, laid.tasks, [kind], seed=0).run(
            {}
        ):
            models += done.models
            for fit in done.fits:
                scores.setdefault(fit.n, []).append(fit.scores["balanced_accuracy"])
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    means = {n: float(np.mean(values)) for n, values in sorted(scores.items())}
    print(json.dumps({"seconds": seconds, "fits": models, "peak": peak, "scores": means}))


def loop(path: Path, kind: str, fits: int) -> tuple[float, float, float]:
    """Return the seconds that scikit-learn's loop takes, with penalties given and chosen, and how far scores differ."""
    found, laid = layout(path)
    X = features.read(found, MODALITIES[0])
    place = laid.experiments(features.usable(found, MODALITIES[0]), ["curve"])[0][1]
    Z = features.scaled(X, features.scaling(X, place.train))
    rng, test = np.random.default_rng(1), place.tested[0].rows
    given = chosen = furthest = 0.0
    for n in SIZES:
        times: list[tuple[float, float]] = []
        for _ in range(3):
            cell, k = place.draws[rng.integers(len(place.draws))], int(rng.integers(REPEATS))
            rows = place.train[cell.orders[k, :n]]
            values = laid.tasks[cell.task].values
            ours = classifiers.named(kind, 2).fit(Z[rows], values[rows], 2, 0)
            start = time.perf_counter()
            p = _peer(kind, ours.penalty).fit(Z[rows], values[rows])
            score = _score(p, Z[test], values[test], kind)
            once = time.perf_counter() - start
            mine = ours.predict(Z[test])[:, 1]
            furthest = max(furthest, abs(_area(values[test], mine) - score))
            start = time.perf_counter()
            if n <= 1000:
                _score(_chooser(kind).fit(Z[rows], values[rows]), Z[test], values[test], kind)
            times.append((once, time.perf_counter() - start if n <= 1000 else once))
        each = np.median(times, axis=0)
        given, chosen = given + each[0] * fits / len(SIZES), chosen + each[1] * fits / len(SIZES)
    return given, chosen, furthest


def _peer(kind: str, penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression, RidgeClassifier

    return RidgeClassifier(alpha=penalty) if kind == "ridge" else LogisticRegression(C=1 / penalty, max_iter=2000)


def _chooser(kind: str) -> Any:
    from sklearn.linear_model import LogisticRegressionCV, RidgeClassifierCV

    if kind == "ridge":
        return RidgeClassifierCV(alphas=PENALTIES * DIMENSIONS / 100)
    return LogisticRegressionCV(
        Cs=1 / PENALTIES, cv=5, max_iter=2000, scoring="neg_log_loss", use_legacy_attributes=False, l1_ratios=(0.0,)
    )


def _score(model: Any, Z: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], kind: str) -> float:
    """Score as the sweep does, with scikit-learn's functions; return the area under the ROC curve."""
    from sklearn import metrics

    decided, ranked = model.predict(Z), model.decision_function(Z)
    metrics.balanced_accuracy_score(truth, decided)
    metrics.f1_score(truth, decided)
    metrics.average_precision_score(truth, ranked)
    metrics.brier_score_loss(truth, 1 / (1 + np.exp(-ranked)))
    return float(metrics.roc_auc_score(truth, ranked))


def _area(truth: np.ndarray[Any, Any], p: np.ndarray[Any, Any]) -> float:
    from sklearn import metrics

    return float(metrics.roc_auc_score(truth, p))


def main() -> None:
    """Print time, memory, and ratios to the loop."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.filterwarnings("ignore")
    chips = int(sys.argv[1]) if len(sys.argv) > 1 else 150_000
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(sys.argv[2] if len(sys.argv) > 2 else temporary) / "embeddings.h5"
        if not path.exists():
            make(path, chips)
        size = path.stat().st_size
        for kind in ("ridge", "logistic"):
            done = subprocess.run([sys.executable, __file__, "--run", str(path), kind], capture_output=True, check=True)
            found = json.loads(done.stdout)
            seconds = found["seconds"]
            print(f"{kind}: {found['fits']:,} fits in {seconds:.0f} s, peak {found['peak'] / size:.2f} x the file")
            print("  mean balanced accuracy: " + ", ".join(f"{n} {v:.3f}" for n, v in found["scores"].items()))
            given, chosen, furthest = loop(path, kind, found["fits"])
            print(
                f"  scikit-learn's loop, added up: {chosen:.0f} s choosing penalties ({chosen / seconds:.1f} x),"
                f" {given:.0f} s with them given ({given / seconds:.1f} x);"
                f" areas under ROC curves differ by at most {furthest:.4f}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
