"""A map of all chips from few labels, and what is known of how true it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from geoembed.errors import ProbeError
from geoembed.fits import accuracy, draws, heldout
from geoembed.fits.accuracy import Accuracy
from geoembed.fits.heldout import BY_FOLDS, BY_SPLIT, HeldOut
from geoembed.ground import grid, outlines
from geoembed.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from geoembed.fits.classifiers.protocol import Classifier, Fitted
    from geoembed.fits.embeddings import Embeddings
    from geoembed.labels.targets import Targets

FEW_PER_CLASS = 20
"""Held-out labels of a class below which each moves its accuracy by more than 5 %."""

NO_SAMPLE = (
    "accuracies and areas hold for labels that are a random sample of each class of the map; where labels were placed"
    " by hand or lie in clusters, they and their intervals can be far off"
)


@dataclass(frozen=True)
class Asked:
    """How a map is made.

    n: labels to draw; None for all.
    stratified: whether draws keep the classes' proportions.
    hold_out: the test split's labels are kept out of the map, and it is scored on them.
    rule: how classes are decided, one of `classifiers.protocol.RULES`.
    seed: of draws, folds and fits.
    """

    n: int | None = None
    stratified: bool = False
    hold_out: bool = False
    rule: str = "likeliest"
    seed: int = 0


@dataclass(frozen=True)
class Assessment:
    """A map of N chips, and how true it is.

    rows: of the labels that the map learned from.
    fitted: what it learned.
    predicted: (N, K) probabilities, or (N,) numbers.
    decided: (N,) positions of the classes predicted; empty for numbers.
    held: the held-out predictions that it is scored by.
    accuracy: of classes, with the area of each; None for numbers.
    cautions: what makes scores uncertain, a sentence each.
    """

    rows: NDArray[np.int64]
    fitted: Fitted
    predicted: NDArray[np.float64]
    decided: NDArray[np.int64]
    held: HeldOut
    accuracy: Accuracy | None
    cautions: tuple[str, ...]


def assess(
    file: Embeddings,
    Z: NDArray[np.float32],
    usable: NDArray[np.bool_],
    targets: Targets,
    learner: Classifier,
    asked: Asked,
    *,
    by_hand: bool,
) -> Generator[Progress, None, Assessment]:
    """Score on labels that are held out, then learn from every label, or from those asked for, and map all chips.

    Labels that are few or were given by hand (`by_hand`) are cross-validated, others held out by split: see `heldout`.
    With `n` or `hold_out` the map learns from no label of the test split where that is what it is scored on.

    Z: (N, D) scaled features.
    usable: (N,) whether a chip has features.
    Raises ProbeError where labels are too few or all alike.
    """
    labelled = np.flatnonzero(usable & targets.known)
    train = labelled[file.split[labelled] == "train"]
    tested = labelled[file.split[labelled] == "test"]
    by_folds = not asked.hold_out and heldout.by_folds(targets, usable, file.split, by_hand=by_hand)
    if asked.hold_out and heldout.distinct(targets, tested) < 2:
        raise ProbeError(f"{targets.name}: the test split has no labels of two classes; drop --hold-out")
    keys = draws.keys(file.chip_id)
    pool = labelled if by_folds else train
    require_two(targets, pool, asked.n, "" if by_folds else " in the train split")
    if by_folds:
        held = yield from _by_folds(file, Z, targets, learner, labelled, keys, asked)
    else:
        yield Progress(0, 2, "steps", "scoring")
        learned = draw(pool, targets, keys, asked)
        predicted, decided = heldout.predict(learner, Z, targets, learned, tested, rule=asked.rule, seed=asked.seed)
        names = tuple(map(str, targets.classes))
        truth = targets.values[tested]
        held = HeldOut(BY_SPLIT, 1, tested, truth, predicted[None], decided[None], names)
    rows = labelled if asked.n is None and not asked.hold_out else draw(pool, targets, keys, asked)
    yield Progress(1, 2, "steps", "the map")
    fitted = learner.fit(Z[rows], targets.values[rows], len(targets.classes), asked.seed)
    everywhere = fitted.predict(Z)
    if not targets.classes:
        nothing = np.empty(0, np.int64)
        return Assessment(rows, fitted, everywhere, nothing, held, None, tuple(_cautions(file, held, None)))
    classes = fitted.decide(everywhere, asked.rule)
    square_metres = outlines.areas(grid.cells(file.grids, file.chip_id))
    judged = usable & np.isin(file.aoi, np.unique(file.aoi[held.rows]))  # labels tell nothing of other areas
    mapped = np.bincount(classes[judged], square_metres[judged], len(targets.classes)) / 1e6
    estimated = accuracy.assess(held.classes, held.confusion(), mapped)
    return Assessment(rows, fitted, everywhere, classes, held, estimated, tuple(_cautions(file, held, estimated)))


def require_two(targets: Targets, pool: NDArray[np.int64], n: int | None, where: str) -> None:
    """Raise ProbeError where labels are of one class, or n is too small to hold two of each."""
    values = targets.values[pool]
    distinct = np.unique(values)
    if len(distinct) < 2:
        content = f"only {targets.classes[int(distinct[0])]!r}" if targets.classes and len(distinct) else "no variation"
        raise ProbeError(f"{targets.name}: {len(pool)} labels{where}, with {content}; add labels of another class")
    least = draws.smallest(values, numeric=targets.numeric)
    if n is not None and n < least:
        raise ProbeError(f"--n {n}: too few for two labels of each of {len(distinct)} classes; give at least {least}")


def draw(pool: NDArray[np.int64], targets: Targets, keys: NDArray[np.uint64], asked: Asked) -> NDArray[np.int64]:
    """Return the rows of the n labels drawn from those of `pool`, all where there are no more."""
    if asked.n is None or asked.n >= len(pool):
        return pool
    order = draws.order(
        keys[pool], targets.values[pool], numeric=targets.numeric, seed=asked.seed, stratified=asked.stratified
    )
    return pool[order[: asked.n]]


def _by_folds(
    file: Embeddings,
    Z: NDArray[np.float32],
    targets: Targets,
    learner: Classifier,
    labelled: NDArray[np.int64],
    keys: NDArray[np.uint64],
    asked: Asked,
) -> Generator[Progress, None, HeldOut]:
    """Predict each fold of the labelled chips from the others, in several repetitions."""
    from threadpoolctl import threadpool_limits

    predictions, decisions = [], []
    repeats = heldout.REPEATS if len(labelled) < heldout.FEW else 1
    partitions = list(heldout.partitions(file, labelled, repeats, asked.seed))
    total = len(partitions) * heldout.FOLDS
    for repeat, fold_of in enumerate(partitions):
        predicted = np.full((len(labelled), *([len(targets.classes)] if targets.classes else [])), np.nan)
        decided = np.zeros(len(labelled), np.int64)
        for fold in range(heldout.FOLDS):
            yield Progress(repeat * heldout.FOLDS + fold, total, "folds", "cross-validation")
            inside = fold_of == fold
            if not inside.any():
                continue
            learned = draw(labelled[~inside], targets, keys, replace(asked, seed=asked.seed + repeat))
            with threadpool_limits(1):  # small matrices gain nothing from threads, and crawl where cores are shared
                p, classes = heldout.predict(
                    learner, Z, targets, learned, labelled[inside], rule=asked.rule, seed=asked.seed
                )
            predicted[inside] = p
            if targets.classes:
                decided[inside] = classes
        predictions.append(predicted)
        decisions.append(decided)
    names, truth = tuple(map(str, targets.classes)), targets.values[labelled]
    return HeldOut(BY_FOLDS, heldout.FOLDS, labelled, truth, np.stack(predictions), np.stack(decisions), names)


def _cautions(file: Embeddings, held: HeldOut, estimated: Accuracy | None) -> list[str]:
    """Return what makes the scores of a map uncertain."""
    cautions = []
    if held.lacking:
        cautions.append(f"no label of {', '.join(held.lacking)} is held out; scores are over the other classes")
    silent = sorted(set(map(str, np.unique(file.aoi))) - set(map(str, file.aoi[held.rows])))
    if silent:
        cautions.append(
            f"no label held out lies in {', '.join(silent)}: how true the map is there is not known, and accuracies and"
            " areas leave it out"
        )
    count = Counter(held.truth.astype(int).tolist()) if held.classes else Counter()
    few = [f"{name} ({count[k]})" for k, name in enumerate(held.classes) if 0 < count[k] < FEW_PER_CLASS]
    if few:
        cautions.append(f"few held-out labels of {', '.join(few)}: what is said of these classes depends on each label")
    if file.transductive:
        cautions.append("the model learned from the chips of all splits, test chips among them")
    elif held.method == BY_FOLDS:
        cautions.append(
            "the encoder has seen chips of the train split, without their labels; scores of an area that it has never"
            " seen may be lower"
        )
    if estimated is not None:
        cautions.append(NO_SAMPLE)
        if estimated.unchecked > 0:
            cautions.append(
                f"{estimated.unchecked:,.4g} km2 are mapped as classes with fewer than two labels there, and are in no"
                " estimate"
            )
    return cautions
