"""What a study measured, and the findings that come of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoembed.errors import ProbeError
from geoembed.evaluation import atlas, cautions, pictures, protocol, space
from geoembed.evaluation.findings import Assessed, Facts, Findings
from geoembed.evaluation.study import MOST_CHIPS
from geoembed.fits import assessment, calibration, classifiers, comparisons, curves, features, heldout, metrics
from geoembed.fits.assessment import Asked
from geoembed.ground import grid
from geoembed.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from geoembed.evaluation.atlas import Atlas
    from geoembed.evaluation.findings import Assessed
    from geoembed.evaluation.pictures import Gallery
    from geoembed.evaluation.space import Health, Map, Retrieval
    from geoembed.evaluation.study import Plan, Study
    from geoembed.fits.calibration import Trust
    from geoembed.fits.comparisons import Comparison
    from geoembed.fits.curves import Curve, Fit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurements:
    """What a study measured.

    fits: all of them, in the order of the results.
    main: the plan of our main features, which every question is about.
    counts: the number of fits, and what was left out.
    cautions: what makes scores uncertain.
    contrasted: per modality the vectors (n, E) of `Study.embedded_again` in the space that training contrasts; None
        where these chips were not embedded again.
    """

    fits: list[Fit]
    main: Plan
    counts: dict[str, int]
    cautions: tuple[str, ...]
    contrasted: dict[str, NDArray[np.float32]] | None

    def findings(self, study: Study) -> Generator[Progress, None, Findings]:
        """Answer the report's questions."""
        yield Progress(0, 4, "questions", "scores")
        drawn, compared = _scores(study, self.fits)
        trust = _trust(study, self.main)
        assessed = yield from _assessed(study, self.main)
        yield Progress(1, 4, "questions", "the space")
        maps, health = _space(study, self.main)
        galleries: list[Gallery] = []
        retrieval: list[Retrieval] = []
        if study.origin is not None:
            yield Progress(2, 4, "questions", "neighbours")
            galleries, retrieval = _neighbours(study, self)
        yield Progress(3, 4, "questions", "maps")
        return Findings(
            facts=_facts(study, self.counts),
            curves=tuple(drawn),
            comparisons=tuple(compared),
            assessed=tuple(assessed),
            trust=tuple(trust),
            maps=maps,
            neighbours=tuple(galleries),
            health=tuple(health),
            retrieval=tuple(retrieval),
            atlases=tuple(_atlases(study, assessed)),
            notes=tuple(cautions.unasked(study, self.main)),
            cautions=self.cautions,
        )


def _scores(study: Study, fits: list[Fit]) -> tuple[list[Curve], list[Comparison]]:
    """Bring fits together to learning curves, and to what is compared."""
    classes = {task.name: len(task.classes) for task in study.layout.tasks}
    drawn = curves.of_fits(fits, lambda task, metric: metrics.chance(metric, classes[task]))
    compared = comparisons.of_fits(fits, study.layout.options.n, lambda task: metrics.names(classes[task])[0])
    return drawn, compared


def _trust(study: Study, main: Plan) -> list[Trust]:
    """Measure whether the first classifier's probabilities hold, everywhere and at n labels."""
    layout, classifier = study.layout, study.layout.options.classifiers[0]
    together = heldout.FOLDS if len(layout.folds) else 1  # the folds of a repetition test all labels once
    draws: dict[tuple[int, int], list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    sweep = main.sweep(layout, main.experiments, [classifier])
    for number, draw, truth, p in sweep.probabilities(classifier, layout.options.n):
        draws.setdefault((number, draw // together), []).append((truth, p))
    trusts = []
    for number, task in enumerate(layout.tasks):
        tested = [
            (np.concatenate([truth for truth, _ in folds]), np.concatenate([p for _, p in folds]))
            for (of_task, _), folds in draws.items()
            if of_task == number
        ]
        if tested:
            trusts.append(
                calibration.trust(task.name, main.features, classifier, len(task.classes), layout.options.n, tested)
            )
    return trusts


def _assessed(study: Study, main: Plan) -> Generator[Progress, None, list[Assessed]]:
    """Map every task as `probe` does by default, with the first classifier, and say how true each map is."""
    layout, file = study.layout, study.ours.file
    usable = main.source.usable(main.features)
    X = main.source.read(main.features)
    Z = features.scaled(X, features.scaling(X, np.flatnonzero(usable & (layout.split == "train"))))
    asked = Asked(hold_out=layout.options.hold_out, seed=layout.options.seed)
    maps = []
    for task, by_hand in zip(layout.tasks, layout.by_hand, strict=True):
        learner = classifiers.named(layout.options.classifiers[0], len(task.classes))
        try:
            one = yield from assessment.assess(file, Z, usable, task, learner, asked, by_hand=by_hand)
        except ProbeError as error:  # labels of one class: the other tasks have maps all the same
            log.warning("%s", error)
        else:
            maps.append(Assessed(task, one, layout.aoi, usable))
    return maps


def _space(study: Study, main: Plan) -> tuple[tuple[Map, ...], list[Health]]:
    """Map some test chips, and measure how each kind of vector fills its space."""
    layout, file = study.layout, study.ours.file
    rows = layout.sample(main.source.usable(main.features) & layout.tested, MOST_CHIPS)
    values = {task.name: task.values[rows] for task in layout.tasks}
    vectors = np.nan_to_num(features.read(file, main.features, rows))
    maps = space.maps(vectors, main.features, values, layout.aoi[rows], layout.options.seed)
    return maps, [space.health(name, file.vectors(name, rows)) for name in file.names]


def _neighbours(study: Study, measurements: Measurements) -> tuple[list[Gallery], list[Retrieval]]:
    """Show what lies nearest to some test chips, and measure whether their modalities find each other."""
    origin, main = study.origin, measurements.main
    assert origin is not None
    rows = study.embedded_again(main.source.usable(main.features))
    contrasted = measurements.contrasted or origin.contrasted(rows)
    galleries = origin.galleries(study.ours.file, rows, contrasted, study.layout.tasks, study.layout.options.seed)
    return galleries, origin.retrievals(contrasted)


def _atlases(study: Study, assessed: Sequence[Assessed]) -> list[Atlas]:
    """Draw the maps of all tasks, over imagery where the chips are named."""
    file, origin = study.ours.file, study.origin
    album = pictures.album(origin.chipset) if origin else None
    rows = origin.rows if origin else np.arange(len(file))
    below = atlas.grounds(file.aoi, grid.cells(file.grids, file.chip_id), album, rows)
    return [atlas.of_task(below, one.task, one.assessment, one.usable) for one in assessed]


def _facts(study: Study, counts: dict[str, int]) -> Facts:
    layout, file = study.layout, study.ours.file
    return Facts(
        chips={name: int(np.count_nonzero(layout.split == name)) for name in ("train", "validation", "test")},
        tasks={task.name: (task.classes, task.counts["chips_labelled"]) for task in layout.tasks},
        areas=layout.areas,
        counts=counts,
        n=layout.options.n,
        repeats=layout.options.repeats,
        seed=layout.options.seed,
        embeddings=file.path.name,
        model=str(file.attributes.get("model_sha256", ""))[:12],
        split_apart=protocol.parted(file.chip_id, file.split),
        folds=heldout.FOLDS if len(layout.folds) else 0,
        repetitions=len(layout.folds),
    )
