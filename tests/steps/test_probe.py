import json
import logging
import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score
from synthetic import embeddings_file, say

from geoembed.errors import ProbeError, StaleError
from geoembed.fits import embeddings
from geoembed.steps.probe import probe


@pytest.fixture
def world(tmp_path: Path) -> tuple[embeddings.Embeddings, np.ndarray[Any, Any]]:
    """1,200 chips in two AOIs; s2 tells water (20 %) from the rest, s1 tells nothing, every tenth chip lacks it."""
    rng = np.random.default_rng(0)
    water = rng.random(1200) < 0.2
    s2 = rng.normal(size=(1200, 16)).astype(np.float32)
    s2[:, 0] += 3 * water
    s1 = rng.normal(size=(1200, 8)).astype(np.float32)
    s1[::10] = np.nan
    fused = s2 + 0.1
    embedded = embeddings_file(tmp_path / "e.h5", {"s1": s1, "s2": s2, "fused": fused}, columns=40, aois=2)
    pd.DataFrame({"chip_id": embedded.chip_id, "label": water.astype(int)}).to_csv(tmp_path / "water.csv", index=False)
    return embedded, water


def run(tmp_path: Path, **options: Any) -> Any:
    return probe(tmp_path / "e.h5", labels=tmp_path / "water.csv", output=tmp_path / "out", **options)


def test_held_out_it_maps_every_chip_and_scores_the_test_split(tmp_path: Path, world: Any) -> None:
    embedded, water = world
    done = run(tmp_path, n=100, hold_out=True, decide="balanced")
    assert done.paths == (tmp_path / "out/predictions.gpkg",)
    table = geopandas.read_file(done.paths[0])
    assert table["chip_id"].tolist() == embedded.chip_id.tolist() and table.crs == "EPSG:4326"
    assert (table["prediction"] == water).mean() > 0.85
    assert table["drawn"].sum() == 100 and set(table.loc[table["drawn"] == 1, "split"]) == {"train"}
    report = json.loads((tmp_path / "out/metrics.json").read_text())
    test = table[table["split"] == "test"]
    assert report["method"] == "test split" and report["learned_from"]["splits"] == {"train": 100}
    score = report["scores"]["all"]["balanced_accuracy"]
    assert score == pytest.approx(balanced_accuracy_score(test["label"], test["prediction"]), abs=1e-6) and score > 0.85
    assert set(report["scores"]) == {"all", "aoi0", "aoi1"} and "relative to its share" in report["decision"]
    assert sum(report["learned_from"]["classes"].values()) == 100
    # probabilities mean shares: their mean is that of the class
    assert table["p_1"].mean() == pytest.approx(water.mean(), abs=0.05)
    assert "balanced" in done.tables[0].rows[0]
    assert done.report["scores"] == report["scores"] and "user's" in done.tables[1].rows[0]
    assert (tmp_path / "out/predictions.qml").exists()
    assert 'attr="confidence"' in (tmp_path / "out/predictions-confidence.qml").read_text()


def test_chips_without_the_modality_get_no_prediction(
    tmp_path: Path, world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "geoembed"):
        done = run(tmp_path, n=50, features="s1")
    table = geopandas.read_file(done.paths[0])
    assert table["prediction"].isna().tolist() == [i % 10 == 0 for i in range(1200)]
    assert done.counts["chips_without_s1"] == 120 and "120 chips have no s1" in caplog.text
    done = probe(tmp_path / "e.h5", labels=tmp_path / "water.csv", output=tmp_path / "c", n=50, features="concat")
    assert geopandas.read_file(done.paths[0])["prediction"].notna().all()


def test_the_likeliest_class_by_default(tmp_path: Path, world: Any) -> None:
    table = run(tmp_path, n=100).made
    assert (table["prediction"] == (table["p_1"] > 0.5)).all()
    assert (table["confidence"] == table[["p_0", "p_1"]].max(axis=1)).all()
    balanced = run(tmp_path, n=100, decide="balanced", overwrite=True).made
    assert balanced["prediction"].sum() > table["prediction"].sum() and (balanced["p_1"] == table["p_1"]).all()
    again = probe(tmp_path / "e.h5", apply=tmp_path / "out", output=tmp_path / "again").made
    assert (again["prediction"] == balanced["prediction"]).all()
    for _ in range(2):  # made, and kept
        told = probe(tmp_path / "e.h5", apply=tmp_path / "out", output=tmp_path / "again")
        assert "relative to its share" in told.report["decision"]
        assert told.report["classes"] == {str(k): int((again["prediction"] == k).sum()) for k in (0, 1)}


def points(tmp_path: Path, world: Any, names: list[str], counts: list[int]) -> pd.DataFrame:
    """Labels by hand of some classes, which s2 tells apart, in labels.csv; embeddings in e.h5."""
    embedded, _ = world
    rng = np.random.default_rng(1)
    chips = rng.permutation(1200)[: sum(counts)]
    kind = np.repeat(np.arange(len(counts)), counts)
    vectors = {name: embedded.vectors(name) for name in embedded.names}
    for name in ("s2", "fused"):
        vectors[name][chips, kind] += 5
    embeddings_file(tmp_path / "e.h5", vectors, columns=40, aois=2)
    frame = pd.DataFrame({"chip_id": embedded.chip_id[chips], "label": np.array(names)[kind]})
    frame.to_csv(tmp_path / "labels.csv", index=False)
    return frame.assign(split=embedded.split[chips])


def test_few_labels_of_seven_classes_are_all_scored_and_all_learned(
    tmp_path: Path, world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["bare", "built", "crops", "range", "snow", "trees", "water"]
    labels = points(tmp_path, world, names, [60, 50, 60, 50, 4, 40, 36])
    with caplog.at_level(logging.INFO, "geoembed"):
        done = probe(tmp_path / "e.h5", labels=tmp_path / "labels.csv", output=tmp_path / "out")
    report = json.loads((tmp_path / "out/metrics.json").read_text())
    assert report["method"] == "spatial cross-validation" and (report["folds"], report["repetitions"]) == (5, 5)
    assert "300 labels in 5 folds, repeated 5 times" in caplog.text
    assert report["scores"]["all"]["labels"] == 300 and report["scores"]["all"]["balanced_accuracy"] > 0.75
    assert report["learned_from"]["labels"] == 300 and report["classes_not_tested"] == []
    assert report["learned_from"]["splits"] == labels["split"].value_counts().to_dict()
    assert "few held-out labels of snow (4)" in caplog.text and "random sample" in caplog.text
    matrix = np.array(report["accuracy"]["confusion"]["counts"])
    assert matrix.sum(axis=0) == pytest.approx([60, 50, 60, 50, 4, 40, 36])
    mapped = [of["mapped_km2"] for of in report["accuracy"]["classes"].values()]
    table = done.made
    cells = table.to_crs(table.estimate_utm_crs()).area / 1e6
    assert mapped == pytest.approx([cells[table["prediction"] == name].sum() for name in names], rel=0.002)
    areas = [of["area_km2"]["value"] or 0 for of in report["accuracy"]["classes"].values()]
    assert sum(areas) + report["accuracy"]["unchecked_km2"] == pytest.approx(cells.sum(), rel=0.002)
    assert table["drawn"].sum() == 300 and list(done.tables[2].rows[0]) == ["mapped as", *names]


def test_with_n_the_map_learns_from_n_only(tmp_path: Path, world: Any) -> None:
    points(tmp_path, world, ["crops", "water"], [60, 40])
    done = probe(tmp_path / "e.h5", labels=tmp_path / "labels.csv", output=tmp_path / "out", n=30)
    report = json.loads((tmp_path / "out/metrics.json").read_text())
    assert done.made["drawn"].sum() == report["learned_from"]["labels"] == 30
    assert report["scores"]["all"]["labels"] == 100 and report["method"] == "spatial cross-validation"


def test_held_out_a_class_that_test_lacks_is_named(
    tmp_path: Path, world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    labels = points(tmp_path, world, ["crops", "snow", "water"], [60, 40, 40])
    frame = labels[(labels["label"] != "snow") | (labels["split"] != "test")]
    frame[["chip_id", "label"]].to_csv(tmp_path / "labels.csv", index=False)
    with caplog.at_level(logging.WARNING, "geoembed"):
        done = probe(tmp_path / "e.h5", labels=tmp_path / "labels.csv", output=tmp_path / "out", hold_out=True)
    assert "no label of snow is held out; scores are over the other classes" in caplog.text
    test = done.made[(done.made["split"] == "test") & done.made["label"].notna()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes predicted that the truth lacks
        wanted = balanced_accuracy_score(test["label"], test["prediction"])
    report = json.loads((tmp_path / "out/metrics.json").read_text())
    assert report["scores"]["all"]["balanced_accuracy"] == pytest.approx(wanted, abs=1e-6)
    assert report["classes_not_tested"] == ["snow"] and "test" not in report["learned_from"]["splits"]


def test_labels_of_one_area_or_of_neighbouring_chips(tmp_path: Path, world: Any) -> None:
    embedded, _ = world
    for rows in (np.flatnonzero(embedded.aoi == "aoi0")[:60], np.arange(12)):
        frame = pd.DataFrame({"chip_id": embedded.chip_id[rows], "label": np.arange(len(rows)) % 2})
        frame.to_csv(tmp_path / "water.csv", index=False)
        run(tmp_path, overwrite=True)
        report = json.loads((tmp_path / "out/metrics.json").read_text())
        assert report["scores"]["all"]["labels"] == len(rows) and set(report["scores"]) == {"all", "aoi0"}


def test_two_labels_in_two_areas_are_tested_by_each_other(tmp_path: Path, world: Any) -> None:
    embedded, _ = world
    for column, values in (("label", ["water", "trees"]), ("value", [1.0, 2.0])):
        rows = [int(np.flatnonzero(embedded.aoi == area)[0]) for area in ("aoi0", "aoi1")]
        frame = pd.DataFrame({"chip_id": embedded.chip_id[rows], column: values})
        frame.to_csv(tmp_path / f"{column}.csv", index=False)
        probe(tmp_path / "e.h5", labels=tmp_path / f"{column}.csv", output=tmp_path / column)
        report = json.loads((tmp_path / column / "metrics.json").read_text())
        assert report["scores"]["all"]["labels"] == 2
        assert report["scores"]["all"].get("balanced_accuracy", 0) == 0


def test_nothing_is_held_out_where_test_has_no_two_classes(tmp_path: Path, world: Any) -> None:
    embedded, water = world
    kept = embedded.split != "test"
    frame = pd.DataFrame({"chip_id": embedded.chip_id[kept], "label": water[kept].astype(int)})
    frame.to_csv(tmp_path / "water.csv", index=False)
    with pytest.raises(ProbeError, match="the test split has no labels of two classes; drop --hold-out"):
        run(tmp_path, hold_out=True)


def test_areas_without_labels_are_named_and_left_out(
    tmp_path: Path, world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    embedded, water = world
    rows = np.flatnonzero(embedded.aoi == "aoi0")[::3]
    frame = pd.DataFrame({"chip_id": embedded.chip_id[rows], "label": water[rows].astype(int)})
    frame.to_csv(tmp_path / "water.csv", index=False)
    table = run(tmp_path).made
    assert "no label held out lies in aoi1" in caplog.text
    report = json.loads((tmp_path / "out/metrics.json").read_text())
    inside = table[table["aoi"] == "aoi0"]
    area = (inside.to_crs(inside.estimate_utm_crs()).area * (inside["prediction"] == 1)).sum() / 1e6
    assert report["accuracy"]["classes"]["1"]["mapped_km2"] == pytest.approx(area, rel=0.002)


def test_a_transductive_model_is_told(tmp_path: Path, world: Any, caplog: pytest.LogCaptureFixture) -> None:
    for transductive in (False, True):
        say(tmp_path / "e.h5", training={"transductive": transductive})
        with caplog.at_level(logging.WARNING):
            run(tmp_path, n=100, overwrite=True)
        assert ("chips of all splits" in caplog.text) == transductive
        assert json.loads((tmp_path / "out/metrics.json").read_text())["transductive"] is transductive


def test_the_test_split_changes_nothing_in_the_fit(tmp_path: Path, world: Any) -> None:
    embedded, _ = world
    run(tmp_path, n=100, features="s2", hold_out=True)
    vectors = {name: embedded.vectors(name) for name in embedded.names}
    for name in vectors:
        vectors[name][embedded.split == "test"] *= 100
    embeddings_file(tmp_path / "e2.h5", vectors, columns=40, aois=2)
    options: dict[str, Any] = {"n": 100, "features": "s2", "hold_out": True}
    anew = probe(tmp_path / "e2.h5", labels=tmp_path / "water.csv", output=tmp_path / "o2", **options)
    first, second = (geopandas.read_file(path) for path in (tmp_path / "out/predictions.gpkg", anew.paths[0]))
    train = first["split"] != "test"
    assert (first["p_1"][train] == second["p_1"][train]).all()


def test_rerun_is_free_and_other_options_are_refused(tmp_path: Path, world: Any) -> None:
    done = run(tmp_path, n=100)
    before = (tmp_path / "out/predictions.gpkg").read_bytes()
    again = run(tmp_path, n=100)
    assert (tmp_path / "out/predictions.gpkg").read_bytes() == before and again.tables == done.tables
    with pytest.raises(StaleError, match="n was 100, now 50"):
        run(tmp_path, n=50)
    run(tmp_path, n=50, overwrite=True)


@pytest.mark.parametrize("features", ["s2", "concat"])
def test_a_fitted_probe_maps_new_embeddings(tmp_path: Path, world: Any, features: str) -> None:
    embedded, _ = world
    run(tmp_path, n=100, features=features)
    done = probe(tmp_path / "e.h5", apply=tmp_path / "out", output=tmp_path / "again")
    first, second = (geopandas.read_file(path) for path in (tmp_path / "out/predictions.gpkg", done.paths[0]))
    assert (first["p_1"].round(4) == second["p_1"].round(4)).all()
    probe(tmp_path / "e.h5", apply=tmp_path / "out/probe.skops", output=tmp_path / "again")
    vectors = {name: embedded.vectors(name) for name in embedded.names}
    block = embeddings.Chunk(embedded.present, vectors)
    embeddings.write(
        tmp_path / "other.h5", embedded.chip_id, embedded.aoi, embedded.split, grids=embedded.grids,
        modalities=embedded.modalities, blocks=[block], attributes={"model_sha256": "cd" * 32, "space": "last layer"},
    )  # fmt: skip
    with pytest.raises(ProbeError, match="model_sha256 differ"):
        probe(tmp_path / "other.h5", apply=tmp_path / "out", output=tmp_path / "third")


def test_more_classes_and_numbers(tmp_path: Path, world: Any, caplog: pytest.LogCaptureFixture) -> None:
    embedded, _ = world
    s2 = embedded.vectors("s2")
    crop = np.where(s2[:, 1] > 0.5, "rice", np.where(s2[:, 2] > 0, "maize", "other"))
    frame = pd.DataFrame({"chip_id": embedded.chip_id, "label": crop, "value": s2[:, 3] * 2.0 + 1})
    frame.to_csv(tmp_path / "crop.csv", index=False)
    done = probe(tmp_path / "e.h5", labels=tmp_path / "crop.csv", output=tmp_path / "crop", n=300)
    table = geopandas.read_file(done.paths[0])
    assert (table["prediction"] == crop).mean() > 0.8
    assert (table[["p_maize", "p_other", "p_rice"]].sum(axis=1) - 1).abs().max() < 1e-4
    with caplog.at_level(logging.WARNING, "geoembed"):
        done = probe(tmp_path / "e.h5", labels=tmp_path / "crop.csv", output=tmp_path / "value", target="value")
    assert "logistic means ridge" in caplog.text
    report = json.loads((tmp_path / "value/metrics.json").read_text())
    assert report["scores"]["all"]["r2"] > 0.99 and report["accuracy"] is None
    assert "label" not in geopandas.read_file(done.paths[0])


def test_asking_for_too_much_or_too_little(tmp_path: Path, world: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "geoembed"):
        done = run(tmp_path, n=10_000)
    assert "there are 1,200 labels to draw from, fewer than 10,000; all are used" in caplog.text
    assert done.counts["labels_drawn"] == 1200
    for options, words in (
        ({"n": 3}, "at least 4"),
        ({"features": "s3"}, "did you mean s2"),
        ({"classifier": "forrest"}, "did you mean forest"),
        ({"draw": "all"}, "random and stratified"),
        ({"decide": "fair"}, "likeliest and balanced"),
    ):
        with pytest.raises(ProbeError, match=words):
            run(tmp_path, **options, overwrite=True)
    embedded, _ = world
    pd.DataFrame({"chip_id": embedded.chip_id[:50], "label": 1}).to_csv(tmp_path / "water.csv", index=False)
    with pytest.raises(ProbeError, match="with only 1"):
        run(tmp_path, overwrite=True)
    assert (tmp_path / "out/predictions.gpkg").exists()


@pytest.mark.parametrize("name", ["predictions.gpkg", "metrics.json", "probe.skops", "predictions.qml"])
def test_other_peoples_files_are_not_touched(tmp_path: Path, world: Any, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("theirs")
    for overwrite in (False, True):
        with pytest.raises(StaleError, match=rf"{name}: exists and was not made by geoembed"):
            run(tmp_path, n=50, overwrite=overwrite)
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [(name, "theirs")]


def test_killed_while_overwriting_nothing_old_is_kept(
    tmp_path: Path, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, n=100)
    with monkeypatch.context() as patch:
        patch.setattr("geoembed.fits.classifiers.saved.write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, n=50, overwrite=True)
    assert not (tmp_path / "out/predictions.gpkg").exists()
    assert geopandas.read_file(run(tmp_path, n=50).paths[0])["drawn"].sum() == 50


def test_classes_that_differ_in_case_only(tmp_path: Path, world: Any) -> None:
    embedded, water = world
    names = np.where(water, "Water", np.where(embedded.vectors("s2")[:, 1] > 0, "water", "WATER"))
    pd.DataFrame({"chip_id": embedded.chip_id, "label": names}).to_csv(tmp_path / "water.csv", index=False)
    table = geopandas.read_file(run(tmp_path, n=300).paths[0])
    assert (table[["p_WATER", "p_Water_2", "p_water_3"]].sum(axis=1) - 1).abs().max() < 1e-4


def test_a_file_is_no_folder(tmp_path: Path, world: Any) -> None:
    (tmp_path / "out").write_text("theirs")
    with pytest.raises(StaleError, match="out: is a file"):
        run(tmp_path, n=50)
    with pytest.raises(StaleError, match="out: is a file"):
        probe(tmp_path / "e.h5", apply=tmp_path / "none.skops", output=tmp_path / "out")


def test_a_fitted_probe_is_not_fitted_otherwise(tmp_path: Path, world: Any) -> None:
    run(tmp_path, n=100)
    with pytest.raises(ProbeError, match="cannot change a fitted probe"):
        probe(tmp_path / "e.h5", apply=tmp_path / "out", classifier="ridge")
