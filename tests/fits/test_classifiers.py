import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from geoembed.errors import ProbeError
from geoembed.fits import classifiers, linear


def blobs(n: int, classes: int, seed: int = 0, d: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    share = np.array([0.8, 0.2]) if classes == 2 else np.full(classes, 1 / classes)
    y = rng.choice(classes, n, p=share)
    centres = np.random.default_rng(99).normal(size=(classes, d))
    return (centres[y] * 0.6 + rng.normal(size=(n, d))).astype(np.float32), y.astype(float)


@pytest.mark.parametrize(("n", "d"), [(10, 24), (60, 24), (40, 96), (100, 96), (400, 24)])
def test_batched_logistic_agrees_with_sklearn(n: int, d: int) -> None:
    draws = [blobs(n, 2, seed, d) for seed in range(4)]
    X, y = np.stack([x for x, _ in draws]).astype(float), np.stack([y for _, y in draws]) > 0
    y[:, 0], y[:, 1] = True, False
    found = linear.Few(X).logistic(y)
    for b in range(4):
        peer = LogisticRegression(C=1 / found.penalty[b], tol=1e-9, max_iter=10_000).fit(X[b], y[b])
        assert found.weights[b, :, 0] == pytest.approx(peer.coef_[0], abs=1e-4)
        assert found.bias[b, 0] == pytest.approx(peer.intercept_[0], abs=1e-4)


@pytest.mark.parametrize(("n", "d"), [(10, 24), (100, 24)])
def test_batched_ridge_and_its_left_out_predictions_agree_with_sklearn(n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(3, n, d)), rng.normal(size=(3, n, 2))
    found = linear.Few(X).ridge(T)
    for b in range(3):
        peer = Ridge(alpha=found.penalty[b]).fit(X[b], T[b])
        assert found.weights[b] == pytest.approx(peer.coef_.T, abs=1e-8)
        assert found.bias[b] == pytest.approx(peer.intercept_, abs=1e-8)
        others = np.arange(n) != 3
        left_out = Ridge(alpha=found.penalty[b]).fit(X[b][others], T[b][others]).predict(X[b][3:4])
        assert found.left_out[b, 3] == pytest.approx(left_out[0], abs=1e-8)


@pytest.mark.parametrize("n", [200, 1500])
def test_tasks_on_one_design_agree_with_sklearn(n: int) -> None:
    """Several tasks share the labelled chips; with many labels, sums in single precision must not show."""
    X, _ = blobs(n, 2, d=40)
    rng = np.random.default_rng(1)
    Y = np.stack([(X @ rng.normal(size=40) + rng.normal(size=n) > level).astype(float) for level in (0.0, 1.5, 4.0)])
    design = linear.design(X)
    assert isinstance(design, linear.Many) == (n > linear.FEW)
    for given in (None, np.array([100.0, 30.0, 300.0])):
        ridge = classifiers.fit_linear("ridge", design, Y, 2, given)
        logistic = classifiers.fit_linear("logistic", design, Y, 2, given)
        again = classifiers.fit_linear("logistic", design, Y, 2, given, start=logistic)
        for y, one, two, three in zip(Y, ridge, logistic, again, strict=True):
            peer = Ridge(alpha=one.penalty).fit(X.astype(float), np.where(y > 0, 1.0, -1.0))
            assert one.state["weights"][:, 0] == pytest.approx(peer.coef_, abs=1e-5)
            peer = LogisticRegression(C=1 / two.penalty, tol=1e-9, max_iter=10_000).fit(X.astype(float), y)
            for found in (two, three):
                close = 1e-4 * max(1.0, np.abs(peer.coef_).max())
                assert found.state["weights"][:, 0] == pytest.approx(peer.coef_[0], abs=close)
                assert found.state["bias"][0] == pytest.approx(peer.intercept_[0], abs=5e-4)
            assert classifiers.penalty_of(two) == pytest.approx(classifiers.penalty_of(one))


def test_many_labels_choose_the_penalty_that_few_would() -> None:
    X, y = blobs(900, 2, d=60)
    T = np.where(y > 0, 1.0, -1.0)[None, :, None]
    few, many = linear.Few(X[None]).ridge(T), linear.Many(X).ridge(T)
    assert many.penalty[0] == pytest.approx(few.penalty[0], rel=1e-6)
    assert many.weights == pytest.approx(few.weights, abs=1e-6)
    # Many labels share the mean leverage; few have each their own.
    assert many.left_out == pytest.approx(few.left_out, abs=0.05)


def test_noise_is_regularised_more_than_signal() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1, 300, 50))
    clear = X @ rng.normal(size=(50, 1))
    noise = rng.normal(size=(1, 300, 1))
    design = linear.Few(X)
    assert design.ridge(noise).penalty[0] >= 100 * design.ridge(clear).penalty[0]


@pytest.mark.parametrize("kind", classifiers.KINDS)
@pytest.mark.parametrize("classes", [2, 4])
def test_every_kind_learns_and_survives_a_file(kind: str, classes: int, tmp_path: Path) -> None:
    X, y = blobs(300, classes)
    far, truth = blobs(500, classes, seed=1)
    fitted = classifiers.fit(kind, X, y, classes, seed=0)
    p = classifiers.predict(fitted, far)
    assert p.shape == (500, classes) and p.sum(axis=1) == pytest.approx(np.ones(500), abs=1e-6)
    assert balanced_accuracy_score(truth, classifiers.decide(fitted, p)) > (0.8 if kind != "knn" else 0.75)
    assert p[:, 1].mean() == pytest.approx(
        (y == 1).mean(), abs=0.1 if kind == "knn" else 0.06
    )  # probabilities under the labels' own shares
    classifiers.save(tmp_path / "probe.skops", fitted, {"word": 1}, {"mean": np.ones(3)})
    again, described, arrays = classifiers.load(tmp_path / "probe.skops")
    assert described == {"word": 1} and arrays["mean"].tolist() == [1, 1, 1]
    assert (classifiers.predict(again, far) == p).all()


@pytest.mark.parametrize("kind", classifiers.KINDS)
def test_every_kind_predicts_numbers(kind: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 6)).astype(np.float32)
    y = X @ np.array([1, -1, 0.5, 0, 0, 0.0]) + 10
    fitted = classifiers.fit(kind, X[:400], y[:400], 0, seed=0)
    assert np.corrcoef(classifiers.predict(fitted, X[400:]), y[400:])[0, 1] > 0.8


@pytest.mark.parametrize("kind", classifiers.KINDS)
def test_a_class_without_labels_is_never_predicted(kind: str) -> None:
    X, y = blobs(200, 4)
    for absent in ([2.0], [1.0, 3.0]):
        rows = np.flatnonzero(~np.isin(y, absent))
        fitted = classifiers.fit(kind, X[rows], y[rows], 4, seed=0)
        p = classifiers.predict(fitted, X)
        assert np.isfinite(p).all()
        assert not np.isin(classifiers.decide(fitted, p), absent).any()


def test_ridge_ranks_as_sklearn_does_with_however_few_labels() -> None:
    far, truth = blobs(800, 2, seed=9, d=200)
    for seed in range(12):
        X, y = blobs(10, 2, seed, d=200)
        y[:2], y[2:4] = 0.0, 1.0
        fitted = classifiers.fit("ridge", X, y, 2, seed=0)
        peer = Ridge(alpha=fitted.penalty).fit(X.astype(float), np.where(y > 0, 1.0, -1.0))
        ours, theirs = (roc_auc_score(truth, p) for p in (classifiers.predict(fitted, far)[:, 1], peer.predict(far)))
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_draws_in_a_batch_are_the_same_as_alone() -> None:
    X, y = blobs(300, 2)
    rows = np.stack([np.random.default_rng(s).permutation(300)[:40] for s in range(5)])
    for kind in ("logistic", "ridge"):
        together = classifiers.fit_linear(kind, linear.Few(X[rows]), y[rows], 2)
        alone = classifiers.fit(kind, X[rows[3]], y[rows[3]], 2, seed=0)
        assert together[3].state["weights"] == pytest.approx(alone.state["weights"], abs=1e-6)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_flattened_forest_is_sklearns(classes: int) -> None:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    X, y = blobs(200, 3)
    y = y if classes else y + X[:, 0]
    fitted = classifiers.fit("forest", X, y, classes, seed=3)
    if classes:
        peer = RandomForestClassifier(classifiers.TREES, random_state=3).fit(X, y).predict_proba(X)
    else:
        peer = RandomForestRegressor(classifiers.TREES, random_state=3, max_features=1 / 3).fit(X, y).predict(X)
    assert classifiers.predict(fitted, X) == pytest.approx(peer, abs=1e-9)


def test_a_forest_is_seeded() -> None:
    X, y = blobs(100, 2)
    one, two, three = (classifiers.fit("forest", X, y, 2, seed) for seed in (0, 0, 1))
    assert (classifiers.predict(one, X) == classifiers.predict(two, X)).all()
    assert (classifiers.predict(one, X) != classifiers.predict(three, X)).any()


def test_what_is_no_probe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.skops").write_text("no")
    with pytest.raises(ProbeError, match="not a fitted probe"):
        classifiers.load(tmp_path / "x.skops")
    with pytest.raises(ProbeError, match="missing"):
        classifiers.load(tmp_path / "y.skops")
    import skops.io
    from sklearn.pipeline import FunctionTransformer

    skops.io.dump({"kind": FunctionTransformer(print)}, tmp_path / "z.skops")
    with pytest.raises(ProbeError, match="types that a probe has not"):
        classifiers.load(tmp_path / "z.skops")
    with pytest.raises(ProbeError, match="did you mean logistic"):
        classifiers.require(["logistik"])


def test_neighbours_of_many_labels_need_little_memory() -> None:
    X, y = blobs(8192, 2, d=2)
    fitted = classifiers.fit("knn", X, y, 2, 0)
    tracemalloc.start()
    p = classifiers.predict(fitted, X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6 and p.shape == (8192, 2)
