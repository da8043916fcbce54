import time
from typing import Any

import numpy as np
import pytest

from geoembed.fits import draws, experiments, forecast, sweep
from geoembed.fits.draws import TaskDraws
from geoembed.fits.experiments import Experiment
from geoembed.labels.targets import Targets


def experiment(sizes: tuple[int, ...], full: int, repeats: int, tested: int = 1000, tasks: int = 1) -> Experiment:
    drawn = TaskDraws(0, sizes, full, np.zeros((repeats, 1), np.int64))
    return Experiment("", np.arange(1), (drawn,) * tasks, (experiments.Tested("curve", "", np.arange(tested)),))


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A fit costs as many seconds as it has labels; what is asked for the cost is kept."""
    asked: list[Any] = []

    def cost(*given: Any) -> Any:
        asked.append(given)
        return float

    monkeypatch.setattr(forecast, "_cost", cost)
    return asked


def test_every_size_counts_for_every_draw_and_all_labels_once(priced: list[Any]) -> None:
    assert forecast.seconds([experiment((10, 50), 700, 3)], 8, ["ridge"]) == 3 * (10 + 50) + 700
    assert forecast.seconds([experiment((10, 50), 0, 3)], 8, ["ridge"]) == 3 * (10 + 50)
    both = [experiment((10, 50), 700, 3, tasks=2), experiment((20,), 0, 5)]
    assert forecast.seconds(both, 8, ["ridge", "knn"]) == 2 * (2 * (3 * (10 + 50) + 700) + 5 * 20)
    assert set(priced) == {(8, 1000, ("ridge",)), (8, 1000, ("ridge", "knn"))}
    assert forecast.seconds([], 8, ["ridge"]) == 0


def test_many_test_chips_take_longer(priced: list[Any]) -> None:
    few, many = (
        forecast.seconds([experiment((10,), 0, 1, tested=n)], 8, ["ridge"])
        for n in (forecast.CHIPS, 4 * forecast.CHIPS)
    )
    assert many == 2 * few
    assert {asked[1] for asked in priced} == {forecast.CHIPS}  # no more than that are timed


def test_a_fit_costs_what_it_costs_here() -> None:
    forecast._cost.cache_clear()
    each = forecast._cost(16, 200, ("ridge",))
    costs = [each(n) for n in (5, 20, 300, 2000, 4000, 40_000)]
    assert all(cost > 0 for cost in costs)
    assert costs[0] == costs[1]  # nothing smaller is timed
    assert costs[4] == pytest.approx(2 * costs[3]) and costs[5] == pytest.approx(20 * costs[3])
    assert min(each(100), each(500)) * 0.999 <= costs[2] <= max(each(100), each(500)) * 1.001
    assert forecast._cost(16, 200, ("ridge",)) is each  # timed once


def test_the_forecast_of_a_sweep_is_about_what_it_takes() -> None:
    rng, repeats = np.random.default_rng(0), 10
    X, rows = rng.normal(size=(3000, 16)).astype(np.float32), np.arange(3000)
    tasks = [Targets(str(t), "", (X[:, t] > 0.5).astype(float), (0, 1)) for t in range(3)]
    drawn = [
        draws.of_task(t, one, rows, rows.astype(np.uint64), (20, 100, 500), full=False, repeats=repeats, seed=0)
        for t, one in enumerate(tasks)
    ]
    there = Experiment("", rows, tuple(one for one in drawn if one), (experiments.Tested("curve", "", rows),))
    told = forecast.seconds([there], 16, ["ridge"])
    began = time.perf_counter()
    assert sum(done.models for done in sweep.Sweep(X, "", "", [there], tasks, ["ridge"], seed=0).run({})) == 90
    assert 1 / 20 < told / (time.perf_counter() - began) < 20  # other programs run beside the tests
