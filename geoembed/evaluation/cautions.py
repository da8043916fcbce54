"""What makes scores uncertain, what was left out, and which questions were not asked: a sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoembed.fits import heldout
from geoembed.fits.embeddings import FUSED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from geoembed.evaluation.protocol import FeatureSource, Layout
    from geoembed.evaluation.study import Plan, Study
    from geoembed.fits.experiments import Tested

FEW = 20
"""Test chips of a class below which its recall moves by more than 5 % with each."""


def of_sources(layout: Layout, sources: Sequence[FeatureSource]) -> list[str]:
    """Warn of few test chips of a class, of chips that other sources lack, and of training that saw test chips."""
    return [
        *_cross_validated(layout),
        *_few_test_chips(layout),
        *(
            f"the model of {source.name} learned from the chips of all splits (--transductive), test chips among them"
            for source in sources
            if source.file.transductive
        ),
        *(caution for source in sources[1:] for caution in _of_other(layout, source)),
    ]


def _cross_validated(layout: Layout) -> list[str]:
    """Say where scores are those of a cross-validation, in which some tested chips are chips that the encoder saw."""
    if not len(layout.folds):
        return []
    labelled = int(np.count_nonzero(layout.tested))
    by_hand = [task.name for task, by_hand in zip(layout.tasks, layout.by_hand, strict=True) if by_hand]
    reason = f"labels of {', '.join(by_hand)} were given by hand" if by_hand else "labels are few"
    return [
        f"{reason}, so that all {labelled:,} are tested, in {heldout.FOLDS} spatial folds, each by fits on the others;"
        " the encoder has seen the chips of the train split, without labels (--hold-out scores on the test split alone)"
    ]


def _few_test_chips(layout: Layout) -> list[str]:
    cautions = []
    for task in layout.tasks:
        lacking = []
        for number, name in enumerate(task.classes):
            chips = int(np.count_nonzero(task.values[layout.tested] == number))
            if not chips:
                lacking.append(str(name))
            elif chips < FEW:
                cautions.append(
                    f"{task.name}: only {chips} test chips are {name}; the task's scores depend on these few"
                )
        if lacking:
            cautions.append(
                f"{task.name}: no test chip is {', '.join(lacking)}; scores are means over the other classes"
            )
    return cautions


def _of_other(layout: Layout, source: FeatureSource) -> list[str]:
    """Warn of chips that other embeddings lack, and of test chips that their encoder may have learned from."""
    cautions, there = [], source.rows >= 0
    if not there.all():
        lacking = np.count_nonzero(~there)
        cautions.append(f"{lacking:,} chips are not in {source.name}; all scores leave them out")
    seen_there = there & (source.file.split[source.rows] == "train")
    seen = np.count_nonzero(layout.tested & (layout.split == "test") & seen_there)
    if seen:
        cautions.append(f"{seen:,} test chips are train chips of {source.name}, whose encoder may have seen them")
    return cautions


def of_removals(tested: Sequence[Tested]) -> list[str]:
    """Warn of chips of which a removal of inputs leaves nothing: scaled features of 0 stand for them."""
    bare = {case.name: int(np.isnan(case.vectors[:, 0]).sum()) for case in tested if case.vectors is not None}
    bare = {name: chips for name, chips in bare.items() if chips}
    if not bare:
        return []
    worst = max(bare, key=lambda name: bare[name])
    return [
        f"{len(bare)} of the removals of inputs leave nothing of some chips (at most {bare[worst]:,} of"
        f" {len(tested[0].rows):,}, {worst}); these are scored as average chips"
    ]


def unasked(study: Study, main: Plan) -> list[str]:
    """Return which questions are not asked, and why; `main` is the plan that all questions are about."""
    notes, n = [], study.layout.options.n
    if study.origin is None:
        notes.append(
            "Simple baselines, missing inputs, neighbours and retrieval were not measured: they need --chips and"
            " --model."
        )
    elif main.features != FUSED:
        notes.append("Missing inputs were not measured: they need fused among --features.")
    if len(study.layout.areas) < 2:
        notes.append("Whether classifiers work in other areas was not measured, as there is one area.")
    few = sorted({each.name for each in main.experiments for draws in each.draws if n not in draws.sizes})
    if few:
        notes.append(
            f"Some tasks have no score at {n:,} labels in {', '.join(few)}: there are no more labels than that, or so"
            " few cannot hold two of each class."
        )
    return notes


def left_out(counts: Mapping[str, int]) -> str:
    """List the chips and cells that were left out, by reason; nothing where none were."""
    kept = {key: number for key, number in counts.items() if key.startswith(("chips_", "cells_"))}
    kept.pop("cells_empty", None)
    return listed(kept)


def listed(counts: Mapping[str, int]) -> str:
    """Return counts in words, without those that are 0."""
    return ", ".join(f"{number:,} {key.replace('_', ' ')}" for key, number in counts.items() if number)
