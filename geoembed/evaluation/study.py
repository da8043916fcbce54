"""A study of embeddings: which fits it takes, what it leaves out, how long they take, and how they are done."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.evaluation import protocol, results
from geoembed.fits import features, forecast, sweep
from geoembed.fits.curves import Fit
from geoembed.fits.embeddings import FUSED
from geoembed.fits.sweep import Sweep
from geoembed.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from geoembed.evaluation.origin import Origin
    from geoembed.evaluation.protocol import FeatureSource, Layout
    from geoembed.fits.experiments import Experiment
    from geoembed.outputs.journal import Journal

log = logging.getLogger(__name__)

MOST_CHIPS, MOST_PIXELS = 2000, 2**26
"""Most test chips that are mapped or embedded again with inputs removed, and most pixels (of a channel) of them."""


@dataclass(frozen=True)
class _Line:
    """A line of the journal: a job that is done.

    of: the source and the features that it fitted.
    key: the job's; see `jobs.Job`.
    models, penalties, fits: what it gave; see `jobs.JobResult`.
    """

    of: tuple[str, str]
    key: str
    models: int
    penalties: dict[str, float]
    fits: list[Fit]


@dataclass(frozen=True)
class Study:
    """What is measured.

    layout: the chips, tasks and draws of labels.
    sources: whose features are fitted; the first are the embeddings that the study is about.
    origin: the chips and the model that the embeddings were made from; None where they are not named.
    cautions: what makes scores uncertain, a sentence each.
    """

    layout: Layout
    sources: tuple[FeatureSource, ...]
    origin: Origin | None = None
    cautions: tuple[str, ...] = ()

    @property
    def ours(self) -> FeatureSource:
        """Return the embeddings that the study is about."""
        return self.sources[0]

    def plans(self) -> list[Plan]:
        """Return what to fit; on features of one name, all sources learn from the same chips."""
        options = self.layout.options
        plans = []
        for name in options.features:
            sources = [source for source in self.sources if name in source.features]
            if sources:
                questions = protocol.QUESTIONS if name == options.main else (protocol.CURVE,)
                experiments, empty = self.layout.experiments(protocol.usable(sources, name), questions)
                plans += [Plan(source, name, experiments, empty if source is self.ours else {}) for source in sources]
        return plans

    def embedded_again(self, usable: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the rows of some usable test chips, no more than can be embedded many times in reasonable time."""
        assert self.origin is not None
        most = max(2, min(MOST_CHIPS, MOST_PIXELS // self.origin.chipset.size**2))
        return self.layout.sample(usable & self.layout.main.tested, most)

    def count(self, plans: Sequence[Plan]) -> dict[str, int]:
        """Count the fits of plans, and what is left out."""
        options = self.layout.options
        counts = Counter(fits=0, cells_empty=0)
        for name in options.features:
            usable = self.ours.usable(name)
            counts[f"chips_without_{name}"] = int(np.count_nonzero(~usable))
            elsewhere = int(np.count_nonzero(usable & ~protocol.usable(self.sources, name)))
            if elsewhere:
                counts[f"chips_without_{name}_elsewhere"] = elsewhere
        for source in self.sources[1:]:
            counts[f"chips_not_in_{source.name}"] = int(np.count_nonzero(source.rows < 0))
        for plan in plans:
            counts.update(plan.empty)
            counts["cells_empty"] += sum(plan.empty.values())
            counts["fits"] += plan.fits(options.classifiers)
        return dict(counts)

    def fit(self, plans: Sequence[Plan], journal: Journal) -> Generator[Progress, None, list[Fit]]:
        """Do the fits that the journal does not hold, and write them there; return all, as they were done."""
        classifiers = self.layout.options.classifiers
        total, done, resumed = sum(plan.fits(classifiers) for plan in plans), 0, 0
        lines = [line for line in journal.of(_Line) if self.asks(line.fits)]  # what does not fit is done again
        fits: list[Fit] = []
        for plan in plans:
            of_plan = plan.source.name, plan.features
            before = {line.key: line for line in lines if line.of == of_plan}
            fits += [fit for line in before.values() for fit in line.fits]
            held = sum(line.models for line in before.values())
            done, resumed = done + held, resumed + held
            if held == plan.fits(classifiers):
                continue
            penalties = {key: line.penalties for key, line in before.items()}
            for result in plan.sweep(self.layout, plan.experiments, classifiers).run(penalties):
                journal.write(asdict(_Line(of_plan, result.key, result.models, result.penalties, result.fits)))
                fits += result.fits
                done += result.models
                yield Progress(done, total, "fits", f"{plan.source.name} {plan.features}")
        if resumed:
            log.info("%s fits were done by an earlier run", f"{resumed:,}")
        return fits

    def asks(self, fits: Sequence[Fit]) -> bool:
        """Tell whether fits that a journal holds are of what is measured here."""
        options, tasks = self.layout.options, {task.name for task in self.layout.tasks}
        return all(
            fit.task in tasks
            and fit.features in options.features
            and fit.classifier in options.classifiers
            and fit.question in results.ORDER
            for fit in fits
        )

    def cost(self) -> tuple[int, float]:
        """Return how many fits the study takes, with those of baselines to be made, and about how many seconds.

        On this machine, without the time for reading chips and embedding them again.
        """
        classifiers = self.layout.options.classifiers
        planned = [(plan, features.width(plan.source.file, plan.features)) for plan in self.plans()]
        if self.origin is not None:
            planned += _of_baselines(self, self.origin)
        fits = sum(plan.fits(classifiers) for plan, _ in planned)
        return fits, sum(forecast.seconds(plan.experiments, width, classifiers) for plan, width in planned)


@dataclass(frozen=True)
class Plan:
    """The fits on one kind of features of one source.

    source: whose features they are.
    features: their name.
    experiments: where labels are from, and which chips are scored.
    empty: how often a task has no fit in an experiment, by reason; the same for all sources of these
        features, so that only the first has it.
    """

    source: FeatureSource
    features: str
    experiments: tuple[Experiment, ...]
    empty: dict[str, int]

    def fits(self, classifiers: Sequence[str]) -> int:
        """Return how many fits it takes."""
        return sweep.fits(self.experiments, classifiers)

    def sweep(self, layout: Layout, experiments: Sequence[Experiment], classifiers: Sequence[str]) -> Sweep:
        """Read the features; return what fits them."""
        X = self.source.read(self.features)
        return Sweep(
            X, self.source.name, self.features, experiments, layout.tasks, classifiers, seed=layout.options.seed
        )


def _of_baselines(study: Study, origin: Origin) -> Iterator[tuple[Plan, int]]:
    """Yield the plans of baselines that are not made yet, and how many numbers a chip has in their features."""
    from geoembed.evaluation import baselines

    file = study.ours.file
    encoder = features.width(file, FUSED)
    for kind in baselines.KINDS:
        source = protocol.FeatureSource(kind, file, study.ours.rows, baselines.offered(study.ours.features))
        for plan in Study(study.layout, (source,)).plans():
            yield plan, baselines.width(kind, features.parts(file, plan.features), origin.channels, encoder)
