"""What a study of made-up embeddings plans and counts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import embeddings_file

from geoembed.evaluation import protocol
from geoembed.evaluation.options import Options
from geoembed.evaluation.study import Study
from geoembed.fits.curves import Fit
from geoembed.labels.targets import Targets
from geoembed.outputs import journal as journals
from geoembed.outputs.journal import Journal
from geoembed.outputs.records import Record

N = 600
ASKED = Options(
    (10, 50), True, n=20, repeats=2, classifiers=("ridge", "logistic"), features=("s1", "fused"), seed=0, hold_out=True
)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two files of the same chips; the second has no s1, and lacks the first 50 chips."""
    rng = np.random.default_rng(0)
    s1, s2 = (rng.normal(size=(N, 3)).astype(np.float32) for _ in range(2))
    s1[::10] = np.nan
    file = embeddings_file(tmp_path / "e.h5", {"s1": s1, "s2": s2, "fused": s2}, columns=30, aois=2)
    other = embeddings_file(tmp_path / "o.h5", {"s2": s2, "fused": s2}, columns=30, aois=2)
    layout = protocol.layout(file, [Targets("water", "", (s2[:, 0] > 0).astype(float), (0, 1))], ASKED)
    sources = [protocol.feature_source(*pair, file.chip_id, ASKED.features) for pair in (("ours", file), ("o", other))]
    sources[1] = replace(sources[1], rows=np.where(np.arange(N) < 50, -1, sources[1].rows))
    return Study(layout, tuple(sources))


def test_every_question_is_planned_for_the_main_features(study: Study) -> None:
    plans = study.plans()
    assert [(plan.source.name, plan.features) for plan in plans] == [("ours", "s1"), ("ours", "fused"), ("o", "fused")]
    questions = [{case.question for experiment in plan.experiments for case in experiment.tested} for plan in plans]
    assert questions == [{"curve"}, {"curve", "split", "transfer"}, {"curve", "split", "transfer"}]
    assert plans[1].experiments is plans[2].experiments, "both learn from the same chips"
    assert (
        min(experiment.train.min() for experiment in plans[1].experiments) >= 50 > plans[0].experiments[0].train.min()
    )


def test_fits_and_what_is_left_out_are_counted(study: Study) -> None:
    plans = study.plans()
    counts = study.count(plans)
    # 3 places x (3 numbers x 2 draws + all) of each, and of fused a random split and twice all but one: 2 draws and all
    assert counts["fits"] == 2 * (3 * 7 + 2 * (3 * 7 + 3 * 3)) == sum(plan.fits(ASKED.classifiers) for plan in plans)
    assert counts["chips_without_s1"] == 60 and counts["chips_without_fused"] == 0
    assert counts["chips_without_fused_elsewhere"] == counts["chips_not_in_o"] == 50
    assert study.cost()[0] == counts["fits"]


def test_fits_that_the_journal_holds_are_not_done_again(study: Study, tmp_path: Path) -> None:
    plans = study.plans()

    def run() -> tuple[list[object], int]:
        journal = Journal(tmp_path / "journal", Record("test", {}, {}))
        steps, done = study.fit(plans, journal), 0
        while True:
            try:
                done = int(next(steps).done)
            except StopIteration as stop:
                journal.close()
                return [(fit.source, fit.features, fit.n, fit.seed, fit.scores) for fit in stop.value], done

    first, done = run()
    assert done == study.count(plans)["fits"]
    again, done = run()
    assert again == first and done == 0, "all are there, and nothing is told of progress"


def test_lines_that_do_not_fit_are_done_again(study: Study, tmp_path: Path) -> None:
    study = replace(study, layout=replace(study.layout, options=replace(ASKED, classifiers=("ridge",))))
    plans, record = study.plans()[:1], Record("evaluate", {}, {})

    def run(journal: Journal) -> list[Fit]:
        steps = study.fit(plans, journal)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return sorted((replace(fit, seconds=0.0) for fit in done.value), key=str)

    journal = Journal(tmp_path / "j", record)
    whole = run(journal)
    journal.close()
    _, lines = journals.read(tmp_path / "j")
    wrong: list[Any] = [
        {"of": 3}, {"of": ["ours", "s1"], "key": "k"}, lines[0] | {"models": "x"}, lines[0] | {"penalties": [1]},
        lines[0] | {"fits": [{"task": 1}]}, lines[0] | {"fits": [[1, 2]]}, {},
        *(lines[0] | {"fits": [lines[0]["fits"][0] | {name: "x"}]} for name in ("question", "task", "features")),
    ]  # fmt: skip
    (tmp_path / "j").unlink()
    journal = Journal(tmp_path / "j", record)
    for line in wrong:
        journal.write(line)
    journal.close()
    journal = Journal(tmp_path / "j", record)
    assert len(journal.lines) == len(wrong) and run(journal) == whole
    journal.close()
    again = Journal(tmp_path / "j", record)
    assert run(again) == whole, "what was done is taken from the journal"
    again.close()
