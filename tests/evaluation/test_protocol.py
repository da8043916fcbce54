from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chip_folders import make_chips
from synthetic import LATTICE, embeddings_file

from geoembed.evaluation import protocol
from geoembed.evaluation.options import Options
from geoembed.evaluation.protocol import Layout
from geoembed.fits import draws, embeddings, experiments
from geoembed.fits.curves import WHOLE
from geoembed.fits.embeddings import Embeddings
from geoembed.fits.experiments import Experiment
from geoembed.labels.targets import Targets

N = 600
OPTIONS = Options((10, 50), True, n=20, repeats=3, classifiers=("ridge",), features=("s2",), seed=4, hold_out=True)


def write(path: Path, aois: int = 3) -> Embeddings:
    """600 chips; every tenth has no s1, the first 30 nothing at all."""
    rng = np.random.default_rng(0)
    s1, s2 = (rng.normal(size=(N, d)).astype(np.float32) for d in (3, 4))
    s1[::10] = s1[:30] = s2[:30] = np.nan
    fused = s2.copy()
    return embeddings_file(path, {"s1": s1, "s2": s2, "fused": fused}, columns=30, aois=aois)


def task(name: str, values: Any) -> Targets:
    return Targets(name, "", np.asarray(values, float), (0, 1))


@pytest.fixture
def found(tmp_path: Path) -> Embeddings:
    return write(tmp_path / "e.h5")


@pytest.fixture
def laid(found: Embeddings) -> Layout:
    tasks = [task(name, np.random.default_rng(seed).random(N) < 0.4) for seed, name in enumerate(("water", "crops"))]
    return protocol.layout(found, tasks, OPTIONS)


def by_name(places: Sequence[Experiment]) -> dict[tuple[str, str], Experiment]:
    """Places by their names and what they are first asked."""
    named = {(place.name, place.tested[0].question): place for place in places}
    assert len(named) == len(places)
    return named


EVERY = np.ones(N, dtype=bool)


def test_learning_curves_are_of_all_areas_and_of_each(laid: Layout) -> None:
    places, empty = laid.experiments(EVERY, ["curve"])
    assert [place.name for place in places] == ["all", "aoi0", "aoi1", "aoi2"] and empty == {}
    for place in places:
        here = EVERY if place.name == "all" else laid.aoi == place.name
        assert place.train.tolist() == np.flatnonzero(here & (laid.split == "train")).tolist()
        (tested,) = place.tested
        assert (tested.question, tested.name, tested.sizes, tested.draw) == ("curve", place.name, None, None)
        assert tested.rows.tolist() == np.flatnonzero(here & (laid.split == "test")).tolist()
        assert [one.task for one in place.draws] == [0, 1]
        assert {one.sizes for one in place.draws} == {(10, 20, 50)}  # n joins the sizes
        assert {one.full for one in place.draws} == {len(place.train)}
        assert {one.orders.shape for one in place.draws} == {(3, len(place.train))}


def test_draws_are_those_of_the_seeds(laid: Layout) -> None:
    places = by_name(laid.experiments(EVERY)[0])
    for place in places.values():
        for one in place.draws:
            values = laid.tasks[one.task].values[place.train]
            for k in range(3):
                order = draws.order(laid.keys[place.train], values, numeric=False, seed=4 + k)
                assert one.orders[k].tolist() == order.tolist()


def test_transfer_is_asked_at_n_and_at_all_labels_only(laid: Layout) -> None:
    places = by_name(laid.experiments(EVERY)[0])
    for name in laid.areas:
        first, *others = places[name, "curve"].tested
        assert (first.name, first.sizes) == (name, None)
        assert [(one.question, one.name) for one in others] == [
            ("transfer", other) for other in laid.areas if other != name
        ]
        for one in others:
            assert one.sizes == frozenset({20, WHOLE})
            assert one.rows.tolist() == np.flatnonzero((laid.aoi == one.name) & (laid.split == "test")).tolist()
    assert len(places["all", "curve"].tested) == 1


def test_all_but_one_area_learn_nothing_of_it_and_are_tested_there_alone(laid: Layout) -> None:
    places = by_name(laid.experiments(EVERY)[0])
    assert sum(name.startswith("all but ") for name, _ in places) == 3
    for name in laid.areas:
        place = places[f"all but {name}", "transfer"]
        assert place.train.tolist() == np.flatnonzero((laid.aoi != name) & (laid.split == "train")).tolist()
        (tested,) = place.tested
        assert tested.name == name
        assert tested.rows.tolist() == np.flatnonzero((laid.aoi == name) & (laid.split == "test")).tolist()
        assert {(one.sizes, one.full) for one in place.draws} == {((20,), len(place.train))}


def test_a_random_split_deals_anew_within_each_area(laid: Layout) -> None:
    places = by_name(laid.experiments(EVERY)[0])
    place = places["all", "split"]
    (tested,) = place.tested
    assert not np.intersect1d(place.train, tested.rows).size
    for name in laid.areas:
        for rows, split in ((place.train, "train"), (tested.rows, "test")):
            before = np.flatnonzero((laid.aoi == name) & (laid.split == split))
            now = rows[laid.aoi[rows] == name]
            assert len(now) == len(before)
            assert 0 < len(np.intersect1d(now, before)) < len(before)
    assert {(one.sizes, one.full) for one in place.draws} == {((20,), len(place.train))}
    again = by_name(laid.experiments(EVERY)[0])["all", "split"]
    assert again.train.tolist() == place.train.tolist()


def test_another_seed_deals_otherwise(found: Embeddings, laid: Layout) -> None:
    other = protocol.layout(found, laid.tasks, replace(OPTIONS, sizes=(10,), seed=5))
    one, two = (by_name(each.experiments(EVERY)[0])["all", "split"] for each in (laid, other))
    assert one.train.tolist() != two.train.tolist()


def test_a_random_split_is_the_same_whatever_is_usable(found: Embeddings, laid: Layout) -> None:
    """So that kinds of features can be compared on it."""
    whole, some = (by_name(laid.experiments(usable)[0])["all", "split"] for usable in (EVERY, found.present[:, 0]))
    assert some.train.tolist() == [row for row in whole.train if found.present[row, 0]]
    assert some.tested[0].rows.tolist() == [row for row in whole.tested[0].rows if found.present[row, 0]]


def test_nothing_that_is_not_usable_is_learned_from_or_tested_on(found: Embeddings, laid: Layout) -> None:
    usable = found.present[:, 0]
    for place in laid.experiments(usable)[0]:
        assert usable[place.train].all() and all(usable[one.rows].all() for one in place.tested)


def test_one_area_has_no_travel_and_one_place(tmp_path: Path) -> None:
    found = write(tmp_path / "one.h5", aois=1)
    laid = protocol.layout(found, [task("water", np.arange(N) % 3 == 0)], replace(OPTIONS, sizes=(10,)))
    assert (laid.areas, laid.everywhere) == (("aoi0",), "aoi0")
    places, _ = laid.experiments(EVERY)
    assert [(place.name, [one.question for one in place.tested]) for place in places] == [
        ("aoi0", ["curve"]),
        ("aoi0", ["split"]),
    ]


def test_a_cell_that_lacks_a_class_is_counted(found: Embeddings) -> None:
    rng = np.random.default_rng(3)
    some = rng.random(N) < 0.3
    tasks = [
        task("everywhere", some),
        task("not in aoi1", some & (found.aoi != "aoi1")),
        task("not in aoi2's test", some & ~((found.aoi == "aoi2") & (found.split == "test"))),
        task("unknown in aoi0's test", np.where((found.aoi == "aoi0") & (found.split == "test"), np.nan, some)),
    ]
    laid = protocol.layout(found, tasks, replace(OPTIONS, sizes=(10,)))
    places, empty = laid.experiments(EVERY, ["curve"])
    cells = {place.name: {tasks[one.task].name for one in place.draws} for place in places}
    names = {one.name for one in tasks}
    assert cells == {
        "all": names,
        "aoi0": names - {"unknown in aoi0's test"},
        "aoi1": names - {"not in aoi1"},
        "aoi2": names - {"not in aoi2's test"},
    }
    assert empty == {"cells_with_one_class_to_learn_from": 1, "cells_with_one_class_to_test_on": 2}
    # All but an area are tested in that area: what cannot be told there is counted again.
    places, empty = laid.experiments(EVERY)
    cells = {place.name: {tasks[one.task].name for one in place.draws} for place in places if "but" in place.name}
    assert cells == {
        "all but aoi0": names - {"unknown in aoi0's test"},
        "all but aoi1": names - {"not in aoi1"},
        "all but aoi2": names - {"not in aoi2's test"},
    }
    assert empty == {"cells_with_one_class_to_learn_from": 1, "cells_with_one_class_to_test_on": 5}


def test_a_number_that_does_not_vary_in_test_is_counted(found: Embeddings) -> None:
    values = np.where((found.split == "test") & (found.aoi == "aoi1"), 7.0, np.arange(N))
    laid = protocol.layout(found, [Targets("height", "", values, ())], replace(OPTIONS, sizes=(10,)))
    places, empty = laid.experiments(EVERY, ["curve"])
    assert [len(place.draws) for place in places] == [1, 1, 0, 1]
    assert empty == {"cells_with_one_class_to_test_on": 1}


def test_missing_inputs_are_asked_everywhere_at_n_and_at_all_labels(laid: Layout) -> None:
    rows = laid.sample(laid.split == "test", 40)
    place = laid.missing(EVERY, [experiments.Tested("missing", "nothing", rows)])
    assert (place.name, len(place.tested)) == ("all", 1)
    assert place.train.tolist() == np.flatnonzero(laid.split == "train").tolist()
    assert {(one.sizes, one.full) for one in place.draws} == {((20,), len(place.train))}


def test_a_sample_is_seeded_in_order_and_of_its_split(laid: Layout) -> None:
    rows = laid.sample(laid.split == "test", 40)
    assert rows.tolist() == sorted(set(rows.tolist())) and len(rows) == 40
    assert (laid.split[rows] == "test").all() and rows.tolist() == laid.sample(laid.split == "test", 40).tolist()
    assert laid.sample(laid.split == "test", 10_000).tolist() == np.flatnonzero(laid.split == "test").tolist()
    assert laid.sample(laid.aoi == "aoi1", 10_000).tolist() == np.flatnonzero(laid.aoi == "aoi1").tolist()
    assert len(set(laid.aoi[rows])) == 3


def shuffled(path: Path, found: Embeddings, kept: np.ndarray[Any, Any]) -> Embeddings:
    """A file with these rows of another, in this order."""
    vectors = {name: found.vectors(name)[kept] for name in found.names}
    block = embeddings.Chunk(found.present[kept], vectors)
    embeddings.write(
        path, found.chip_id[kept], found.aoi[kept], found.split[kept], grids=(LATTICE,), modalities=found.modalities,
        blocks=[block], attributes=found.attributes,
    )  # fmt: skip
    return embeddings.read(path)


def test_a_source_is_aligned_by_id(tmp_path: Path, found: Embeddings) -> None:
    kept = np.random.default_rng(1).permutation(N)[:450]
    other = protocol.feature_source(
        "other", shuffled(tmp_path / "o.h5", found, kept), found.chip_id, ("s1", "fused", "concat")
    )
    there = np.isin(np.arange(N), kept)
    assert (other.rows >= 0).tolist() == there.tolist()
    own = protocol.feature_source("own", found, found.chip_id, ("s1", "s2", "fused", "concat", "s1+s2"))
    assert own.rows.tolist() == list(range(N))
    for name in ("s1", "s2", "fused", "concat"):
        X, ours = other.read(name), own.read(name)
        np.testing.assert_array_equal(X[there], ours[there])
        assert np.isnan(X[~there]).all() and X.shape == ours.shape
        assert other.usable(name).tolist() == (own.usable(name) & there).tolist()
    assert own.usable("s1").tolist() == found.present[:, 0].tolist()
    assert own.usable("concat").all()


def test_a_source_with_chips_that_nobody_asked_for_leaves_them_out(tmp_path: Path, found: Embeddings) -> None:
    asked = found.chip_id[::-1][:100]
    one = protocol.feature_source("own", found, asked, ("s2",))
    np.testing.assert_array_equal(one.read("s2"), found.vectors("s2")[::-1][:100])


def test_a_source_offers_what_its_file_has(tmp_path: Path, found: Embeddings) -> None:
    wanted = ("s1", "coh", "fused", "concat", "s2+s1", "s1+coh")
    assert protocol.feature_source("own", found, found.chip_id, wanted).features == ("s1", "fused", "concat", "s2+s1")
    single = embeddings_file(
        tmp_path / "s.h5", {"s2": np.ones((N, 2), "f4"), "fused": np.ones((N, 2), "f4")}, columns=30
    )
    assert protocol.feature_source("one", single, found.chip_id, wanted).features == ("fused",)


def test_all_sources_learn_from_the_same_chips(tmp_path: Path, found: Embeddings) -> None:
    halves = [np.arange(0, 500), np.arange(200, N)]
    names = (("s1", "s2"), ("s2", "fused"))
    files = [shuffled(tmp_path / f"{i}.h5", found, half) for i, half in enumerate(halves)]
    sources = [protocol.feature_source("own", found, found.chip_id, ("s1", "s2", "fused"))]
    sources += [protocol.feature_source(f"{i}", file, found.chip_id, names[i]) for i, file in enumerate(files)]
    within = [np.isin(np.arange(N), half) for half in halves]
    s1, s2 = found.present.T
    for name, wanted in (("s1", s1 & within[0]), ("s2", s2 & within[0] & within[1]), ("fused", (s1 | s2) & within[1])):
        assert protocol.usable(sources, name).tolist() == wanted.tolist()


def test_the_share_of_neighbours_parted_is_counted_by_hand(tmp_path: Path) -> None:
    chipset = make_chips(tmp_path / "chips", n=40, size=4, channels={"s2": ("jja_red",)})  # two rows of twenty
    split = np.array(["train"] * 10 + ["test"] * 10 + ["train"] * 20)
    told = protocol.parted(chipset.index["chip_id"].to_numpy().astype(str), split)
    # 38 pairs side by side, of which one is parted, and 20 one above the other, of which ten are
    assert told == pytest.approx(11 / 58)
    assert np.isnan(protocol.parted(np.array(chipset.index["chip_id"][:1]).astype(str), split[:1]))
