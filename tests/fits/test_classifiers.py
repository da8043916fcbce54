"""Every classifier of the table, and what the table holds against one that is not in it."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from boosting import NAME, Boosting, peer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from synthetic import blobs

from geoembed.errors import ProbeError
from geoembed.fits import classifiers, forecast, linear, sweep
from geoembed.fits.classifiers import forest, saved
from geoembed.fits.classifiers.protocol import Batched, Fitted


def fit(name: str, X: np.ndarray, values: np.ndarray, classes: int, seed: int = 0) -> Fitted:
    return classifiers.named(name, classes).fit(X, values, classes, seed)


def described(classes: int) -> saved.Described:
    return saved.Described("water", "label", tuple(range(classes)), "fused", (), None, "last", "likeliest")


def scaling(X: np.ndarray) -> dict[str, np.ndarray]:
    return {"mean": X.mean(axis=0), "deviation": X.std(axis=0)}


def batched(name: str, classes: int) -> Batched:
    classifier = classifiers.named(name, classes)
    assert isinstance(classifier, Batched)
    return classifier


@pytest.mark.parametrize("n", [200, 1500])
def test_tasks_on_one_design_agree_with_sklearn(n: int) -> None:
    """Several tasks share the labelled chips; with many labels, sums in single precision must not show."""
    X, _ = blobs(n, 2, d=40)
    rng = np.random.default_rng(1)
    Y = np.stack([(X @ rng.normal(size=40) + rng.normal(size=n) > level).astype(float) for level in (0.0, 1.5, 4.0)])
    design = linear.design(X)
    assert isinstance(design, linear.Many) == (n > linear.FEW)
    for given in (None, np.array([100.0, 30.0, 300.0])):
        ridge = batched("ridge", 2).fit_together(design, Y, 2, given)
        logistic = batched("logistic", 2).fit_together(design, Y, 2, given)
        again = batched("logistic", 2).fit_together(design, Y, 2, given, start=logistic)
        for y, one, two, three in zip(Y, ridge, logistic, again, strict=True):
            peer = Ridge(alpha=one.penalty).fit(X.astype(float), np.where(y > 0, 1.0, -1.0))
            assert one.arrays["weights"][:, 0] == pytest.approx(peer.coef_, abs=1e-5)
            peer = LogisticRegression(C=1 / two.penalty, tol=1e-9, max_iter=10_000).fit(X.astype(float), y)
            for found in (two, three):
                close = 1e-4 * max(1.0, np.abs(peer.coef_).max())
                assert found.arrays["weights"][:, 0] == pytest.approx(peer.coef_[0], abs=close)
                assert found.arrays["bias"][0] == pytest.approx(peer.intercept_[0], abs=5e-4)
            assert batched("logistic", 2).ridge_penalty(two) == pytest.approx(one.penalty)


@pytest.mark.parametrize("kind", classifiers.TABLE)
@pytest.mark.parametrize("classes", [2, 4])
def test_every_kind_learns_and_survives_a_file(kind: str, classes: int, tmp_path: Path) -> None:
    X, y = blobs(300, classes)
    far, truth = blobs(500, classes, seed=1)
    fitted = fit(kind, X, y, classes)
    p = fitted.predict(far)
    assert p.shape == (500, classes) and p.sum(axis=1) == pytest.approx(np.ones(500), abs=1e-6)
    assert balanced_accuracy_score(truth, fitted.decide(p)) > (0.8 if kind != "knn" else 0.75)
    assert p[:, 1].mean() == pytest.approx(
        (y == 1).mean(), abs=0.1 if kind == "knn" else 0.06
    )  # probabilities under the labels' own shares
    arrays = scaling(X)
    saved.write(tmp_path / "probe.skops", fitted, described(classes), arrays)
    again, words, found = saved.read(tmp_path / "probe.skops")
    assert words == described(classes) and all((found[name] == arrays[name]).all() for name in arrays)
    assert np.array_equal(again.penalty, fitted.penalty, equal_nan=True)
    assert (again.predict(far) == p).all()


@pytest.mark.parametrize("kind", classifiers.TABLE)
def test_every_kind_predicts_numbers(kind: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 6)).astype(np.float32)
    y = X @ np.array([1, -1, 0.5, 0, 0, 0.0]) + 10
    fitted = fit(kind, X[:400], y[:400], 0)
    assert np.corrcoef(fitted.predict(X[400:]), y[400:])[0, 1] > 0.8


@pytest.mark.parametrize("kind", classifiers.TABLE)
def test_a_class_without_labels_is_never_predicted(kind: str) -> None:
    X, y = blobs(200, 4)
    for absent in ([2.0], [1.0, 3.0]):
        rows = np.flatnonzero(~np.isin(y, absent))
        fitted = fit(kind, X[rows], y[rows], 4)
        p = fitted.predict(X)
        assert np.isfinite(p).all()
        assert not np.isin(fitted.decide(p), absent).any()


def test_ridge_ranks_as_sklearn_does_with_however_few_labels() -> None:
    far, truth = blobs(800, 2, seed=9, d=200)
    for seed in range(12):
        X, y = blobs(10, 2, seed, d=200)
        y[:2], y[2:4] = 0.0, 1.0
        fitted = fit("ridge", X, y, 2)
        peer = Ridge(alpha=fitted.penalty).fit(X.astype(float), np.where(y > 0, 1.0, -1.0))
        ours, theirs = (roc_auc_score(truth, p) for p in (fitted.predict(far)[:, 1], peer.predict(far)))
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_draws_in_a_batch_are_the_same_as_alone() -> None:
    X, y = blobs(300, 2)
    rows = np.stack([np.random.default_rng(s).permutation(300)[:40] for s in range(5)])
    for kind in ("logistic", "ridge"):
        together = batched(kind, 2).fit_together(linear.Few(X[rows]), y[rows], 2)
        alone = fit(kind, X[rows[3]], y[rows[3]], 2)
        assert together[3].arrays["weights"] == pytest.approx(alone.arrays["weights"], abs=1e-6)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_flattened_forest_is_sklearns(classes: int) -> None:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    X, y = blobs(200, 3)
    y = y if classes else y + X[:, 0]
    fitted = fit("forest", X, y, classes, seed=3)
    if classes:
        peer = RandomForestClassifier(forest.TREES, random_state=3).fit(X, y).predict_proba(X)
    else:
        peer = RandomForestRegressor(forest.TREES, random_state=3, max_features=1 / 3).fit(X, y).predict(X)
    assert fitted.predict(X) == pytest.approx(peer, abs=1e-9)


def test_a_forest_is_seeded() -> None:
    X, y = blobs(100, 2)
    one, two, three = (fit("forest", X, y, 2, seed) for seed in (0, 0, 1))
    assert (one.predict(X) == two.predict(X)).all()
    assert (one.predict(X) != three.predict(X)).any()


def test_neighbours_are_sklearns() -> None:
    X, y = blobs(300, 3)
    far, _ = blobs(200, 3, seed=1)
    k = 17  # the root of 300
    votes = KNeighborsClassifier(k).fit(X, y).predict_proba(far) * k
    fitted = fit("knn", X, y, 3)
    assert fitted.predict(far) == pytest.approx((votes + np.bincount(y.astype(int)) / 300) / (k + 1), abs=1e-12)
    heights = y + X[:, 0]
    peer = KNeighborsRegressor(k).fit(X, heights).predict(far)
    assert fit("knn", X, heights, 0).predict(far) == pytest.approx(peer, abs=1e-12)


def test_neighbours_of_many_labels_need_little_memory() -> None:
    X, y = blobs(8192, 2, d=2)
    fitted = fit("knn", X, y, 2)
    tracemalloc.start()
    p = fitted.predict(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6 and p.shape == (8192, 2)


@pytest.mark.parametrize("kind", classifiers.TABLE)
@pytest.mark.parametrize(("classes", "shape"), [(0, (0,)), (2, (0, 2)), (4, (0, 4))])
def test_no_chips_are_no_predictions(kind: str, classes: int, shape: tuple[int, ...]) -> None:
    X, y = blobs(60, classes or 2)
    assert fit(kind, X, y, classes).predict(X[:0]).shape == shape


def test_logistic_of_numbers_is_ridge() -> None:
    X, y = blobs(60, 2)
    one, two = (fit(name, X, y + X[:, 0], 0) for name in ("logistic", "ridge"))
    assert (one.classifier.name, one.penalty) == ("ridge", two.penalty)
    assert (one.predict(X) == two.predict(X)).all()


def test_what_is_no_probe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.skops").write_text("no")
    with pytest.raises(ProbeError, match="not a fitted probe"):
        saved.read(tmp_path / "x.skops")
    with pytest.raises(ProbeError, match="missing"):
        saved.read(tmp_path / "y.skops")
    import skops.io
    from sklearn.pipeline import FunctionTransformer

    skops.io.dump({"kind": FunctionTransformer(print)}, tmp_path / "z.skops")
    with pytest.raises(ProbeError, match="types that a probe has not"):
        saved.read(tmp_path / "z.skops")
    for content in ([1, 2], {"kind": "ridge"}, {"kind": ["ridge"], "classes": 2, "prior": 0, "penalty": 0, "state": 3}):
        skops.io.dump(content, tmp_path / "w.skops")
        with pytest.raises(ProbeError, match="not a fitted probe"):
            saved.read(tmp_path / "w.skops")


def test_a_classifier_that_is_added_is_fitted_as_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(classifiers.TABLE, NAME, Boosting)
    X, y = blobs(300, 2)
    far, _ = blobs(200, 2, seed=1)
    fitted = fit(NAME, X, y, 2, seed=3)
    assert fitted.predict(far) == pytest.approx(peer(X, y, 3).predict_proba(far), abs=1e-9)
    saved.write(tmp_path / "probe.skops", fitted, described(2), scaling(X))
    again, _, _ = saved.read(tmp_path / "probe.skops")
    assert again.classifier.name == NAME and (again.predict(far) == fitted.predict(far)).all()
    with pytest.raises(ProbeError, match="--classifier boosting: learns two classes"):
        fit(NAME, X, X[:, 0], 0)


def test_an_unknown_classifier_is_an_error_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    X, y = blobs(60, 2)
    for asked in (
        lambda: classifiers.require(["ridge", "forrest"]),
        lambda: classifiers.named("forrest", 2),
        lambda: classifiers.load_libraries(["forrest"], [2]),
        lambda: sweep.Sweep(X, "", "", (), (), ["ridge", "forrest"], seed=0),
        lambda: forecast.seconds((), 24, ["ridge", "forrest"]),
    ):
        with pytest.raises(ProbeError, match="--classifier forrest: unknown; did you mean forest"):
            asked()
    with monkeypatch.context() as patch:
        patch.setitem(classifiers.TABLE, "forrest", Boosting)
        saved.write(tmp_path / "probe.skops", fit("forrest", X, y, 2), described(2), scaling(X))
    with pytest.raises(ProbeError, match=r"probe.skops: fitted by an unknown classifier, forrest; did you mean forest"):
        saved.read(tmp_path / "probe.skops")
    with pytest.raises(ProbeError, match="names none"):
        classifiers.require([])


def test_names_are_told_before_anything_heavy_is_loaded() -> None:
    program = (
        "import sys; from geoembed.fits import classifiers\n"
        "assert 'knn' in classifiers.TABLE\n"
        "sys.exit(bool({'numpy', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
