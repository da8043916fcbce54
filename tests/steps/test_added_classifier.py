"""A classifier that is added to the table runs through every step, and its scores are its own."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
from boosting import NAME, Boosting, peer
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score
from synthetic import embeddings_file

from geoembed.errors import ProbeError
from geoembed.fits import classifiers, draws, features
from geoembed.fits.embeddings import Embeddings
from geoembed.steps.evaluate import evaluate
from geoembed.steps.probe import probe

N, SEED = 100, 4


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Embeddings, np.ndarray[Any, Any]]:
    """800 chips, of which water is told by a number that is large or small: stumps see it, lines do not."""
    monkeypatch.setitem(classifiers.TABLE, NAME, Boosting)
    s2 = np.random.default_rng(0).normal(size=(800, 6)).astype(np.float32)
    water = np.abs(s2[:, 0]) + 0.3 * s2[:, 1] > 1.2
    found = embeddings_file(tmp_path / "e.h5", {"s2": s2, "fused": s2}, columns=40)
    table = pd.DataFrame({"chip_id": found.chip_id, "label": water.astype(int), "value": s2[:, 2]})
    table.to_csv(tmp_path / "water.csv", index=False)
    return found, water


def scaled(found: Embeddings, X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Scaled by the train chips of `found`, as every step does."""
    return features.scaled(X, features.scaling(found.vectors("s2"), np.flatnonzero(found.split == "train")))


def fitted(found: Embeddings, water: np.ndarray[Any, Any], seed: int, n: int = N) -> Any:
    """Return what scikit-learn alone learns from a draw; draws are by `seed`, the fit by SEED."""
    train = np.flatnonzero(found.split == "train")
    order = draws.order(draws.keys(found.chip_id[train]), water[train].astype(float), numeric=False, seed=seed)
    rows = train[order[:n]]
    return peer(scaled(found, found.vectors("s2"))[rows], water[rows].astype(float), SEED)


def test_probe_and_apply_map_with_it(tmp_path: Path, world: Any) -> None:
    found, water = world
    options: dict[str, Any] = {"n": N, "classifier": NAME, "features": "s2", "seed": SEED, "hold_out": True}
    done = probe(tmp_path / "e.h5", labels=tmp_path / "water.csv", output=tmp_path / "out", **options)
    model = fitted(found, water, SEED)
    p = model.predict_proba(scaled(found, found.vectors("s2")))[:, 1]
    assert geopandas.read_file(done.paths[0])["p_1"].to_numpy(float) == pytest.approx(p, abs=1e-6)
    test = found.split == "test"
    scores = json.loads((tmp_path / "out/metrics.json").read_text())["scores"]["all"]
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(water[test], p[test]), abs=1e-6)
    assert scores["brier"] == pytest.approx(brier_score_loss(water[test], p[test]), abs=1e-6)
    assert scores["balanced_accuracy"] > 0.8

    far = np.random.default_rng(1).normal(size=(200, 6)).astype(np.float32)
    embeddings_file(tmp_path / "far.h5", {"s2": far, "fused": far}, columns=20)
    mapped = geopandas.read_file(probe(tmp_path / "far.h5", apply=tmp_path / "out", output=tmp_path / "far").paths[0])
    p = model.predict_proba(scaled(found, far))[:, 1]
    assert mapped["p_1"].to_numpy(float) == pytest.approx(p, abs=1e-6)


def test_evaluate_scores_it_and_nothing_else_in_its_name(tmp_path: Path, world: Any) -> None:
    found, water = world
    options: dict[str, Any] = {
        "sizes": ("20", str(N), "all"),
        "n": N,
        "repeats": 2,
        "features": ("s2",),
        "seed": SEED,
        "hold_out": True,
    }
    kinds = ("logistic", NAME, "forest")
    evaluate(
        tmp_path / "e.h5", labels=(tmp_path / "water.csv",), output=tmp_path / "report", classifiers=kinds, **options
    )
    table = pd.read_csv(tmp_path / "report/results.csv")
    table = table[table["question"] == "curve"]
    assert table.groupby("classifier").size().to_dict() == dict.fromkeys(kinds, 7 * 5)  # metrics, and fits
    test = found.split == "test"
    Z, truth = scaled(found, found.vectors("s2"))[test], water[test]
    whole = int((found.split == "train").sum())
    for n, seed in ((20, SEED), (N, SEED), (N, SEED + 1), (whole, SEED)):
        p = fitted(found, water, seed, n).predict_proba(Z)[:, 1]
        rows = table[(table["classifier"] == NAME) & (table["n"] == n) & (table["seed"] == seed)]
        scores = rows.set_index("metric")["value"]
        assert scores["roc_auc"] == pytest.approx(roc_auc_score(truth, p), abs=2e-6)
        assert scores["brier"] == pytest.approx(brier_score_loss(truth, p), abs=2e-6)
    means = table[(table["n"] == whole) & (table["metric"] == "balanced_accuracy")].set_index("classifier")["value"]
    assert means[NAME] > 0.8 > 0.7 > means["logistic"]  # stumps see what lines do not
    decided = fitted(found, water, SEED, whole).predict_proba(Z)[:, 1] > water[found.split == "train"].mean()
    assert means[NAME] == pytest.approx(balanced_accuracy_score(truth, decided), abs=1e-6)


def test_a_dry_run_tells_how_long_it_takes(tmp_path: Path, world: Any) -> None:
    options: dict[str, Any] = {"sizes": ("20", "all"), "n": 20, "repeats": 2, "features": ("s2",), "dry_run": True}
    options["hold_out"] = True
    done = evaluate(
        tmp_path / "e.h5", labels=(tmp_path / "water.csv",), output=tmp_path / "r", classifiers=(NAME,), **options
    )
    # three fits of the curve, three of a random split
    assert done.counts["fits"] == 6 and done.counts["seconds"] > 0
    assert not (tmp_path / "r").exists()


def test_what_it_cannot_learn_is_an_error(tmp_path: Path, world: Any) -> None:
    embeddings, labels = tmp_path / "e.h5", tmp_path / "water.csv"
    with pytest.raises(ProbeError, match="--classifier boosting: learns two classes"):
        probe(embeddings, labels=labels, output=tmp_path / "out", classifier=NAME, target="value")
    with pytest.raises(ProbeError, match="--classifier boosting: learns two classes"):
        evaluate(embeddings, labels=(labels,), output=tmp_path / "report", classifiers=("ridge", NAME), target="value")


def test_without_it_every_step_says_that_it_is_unknown(
    tmp_path: Path, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings, labels = tmp_path / "e.h5", tmp_path / "water.csv"
    probe(embeddings, labels=labels, output=tmp_path / "out", n=N, classifier=NAME)
    monkeypatch.delitem(classifiers.TABLE, NAME)
    monkeypatch.setitem(classifiers.TABLE, "boosted", Boosting)
    unknown = "--classifier boosting: unknown; did you mean boosted"
    with pytest.raises(ProbeError, match=unknown):
        probe(embeddings, labels=labels, output=tmp_path / "other", classifier=NAME)
    for dry_run in (False, True):
        with pytest.raises(ProbeError, match=unknown):
            evaluate(
                embeddings, labels=(labels,), output=tmp_path / "report", classifiers=("ridge", NAME), dry_run=dry_run
            )
    with pytest.raises(
        ProbeError, match=r"probe.skops: fitted by an unknown classifier, boosting; did you mean boosted"
    ):
        probe(embeddings, apply=tmp_path / "out", output=tmp_path / "mapped")
    assert not any((tmp_path / name).exists() for name in ("other", "report", "mapped"))
