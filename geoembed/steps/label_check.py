"""The step that finds labels that look wrong, and writes them in a file to be corrected."""

import logging
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geoembed.active import sheets, suspicion
from geoembed.chips import folder as chip_folder
from geoembed.errors import LabelError
from geoembed.fits import assessment, classifiers, heldout, metrics
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits import features as features_of
from geoembed.fits.classifiers.protocol import LIKELIEST, Classifier
from geoembed.fits.embeddings import Embeddings
from geoembed.labels import files as label_files
from geoembed.labels import targets as targets_of
from geoembed.labels.files import Reading
from geoembed.labels.targets import Targets
from geoembed.outputs import locks
from geoembed.outputs.records import Record
from geoembed.progress import Progress, Result, Steps, Table, verb
from geoembed.settings import PathLike

log = logging.getLogger(__name__)


@verb
def label_check(
    embeddings: PathLike = "embeddings.h5",
    *,
    labels: PathLike,
    chips: PathLike | None = None,
    features: str = "fused",
    classifier: str = "logistic",
    target: str | None = None,
    layer: str | None = None,
    crs: str | None = None,
    overlap: float | str | None = None,
    weight: str | None = None,
    seed: int = 0,
    output: PathLike = "suspicious.gpkg",
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Find labels that look wrong; the result is the file to correct them in, the most suspicious first.

    Each labelled chip is predicted by fits that have seen no label of its neighbourhood (spatial cross-validation). A
    class is suspicious where another is likelier than usual (see `active.suspicion`), a number where it lies far from
    what is predicted. In the file, `given` is the label and `seems` what it seems to be; `label` (or the labels' own
    column) is the label, to be corrected, so that `label merge LABELS OUTPUT` gives the corrected labels. With `chips`,
    map tips show the chips. The score with and without the suspicious labels among those learned from is told, both on
    the same labels, those that are not suspicious. What somebody corrected is never replaced.

    Raises ProbeError, LabelError and StaleError.
    """
    path = Path(output)
    if path.suffix.lower() != ".gpkg":
        raise LabelError(f"{path}: is written as a GeoPackage; give it a name that ends in .gpkg")
    file = embeddings_file.read(Path(embeddings))
    reading = Reading(target, layer, crs, overlap, weight)
    label_file = label_files.read(Path(labels), reading)
    chipset = None if chips is None else chip_folder.read(Path(chips))
    features_of.require(file, (features,))
    classifiers.require((classifier,))
    record = Record(
        "label check",
        inputs={"embeddings": file.digest, "labels": label_file.digest}
        | ({"chips": chipset.digest} if chipset else {}),
        options={
            "labels": label_file.path.name, "features": features, "classifier": classifier, "seed": seed,
            "target": label_file.column, **reading.options,
        },
    )  # fmt: skip
    with locks.hold(path, folder=False):
        tables: tuple[Table, ...] = ()
        if not sheets.is_kept(path, record, update=update, overwrite=overwrite):
            targets = targets_of.join(label_file, file.chip_id, file.grids)
            rows, told, table = yield from _checked(file, features, classifier, targets, seed)
            tables = (table,)
            columns: dict[str, Any] = {label_file.column: told["given"], **told}
            if chipset is not None:
                columns[sheets.PICTURE] = sheets.pictures(chipset, file.chip_id[rows])
            sheet = sheets.table(file, rows, columns)
            sheets.write(
                path, sheet, record, column=label_file.column, classes=targets.classes, task=targets.name,
                title="no label",
            )  # fmt: skip
            message = "%s: %s of %s labels look wrong; correct its column %s, then geoembed label merge %s %s"
            known = int(np.count_nonzero(targets.known))
            log.info(message, path, len(rows), f"{known:,}", label_file.column, label_file.path, path)
        counts: dict[str, int | float] = {"suspicious": len(sheets.read(path)), "corrected": sheets.labelled(path)}
        return Result((path,), counts, tables, read=partial(sheets.read, path))


def _checked(
    file: Embeddings, features: str, classifier: str, targets: Targets, seed: int
) -> Generator[Progress, None, tuple[NDArray[np.int64], dict[str, Any], Table]]:
    """Return the chips with suspicious labels, columns that tell why, and the scores with and without these labels."""
    usable = features_of.usable(file, features)
    labelled = np.flatnonzero(usable & targets.known)
    assessment.require_two(targets, labelled, None, "")
    if len(labelled) < 2 * heldout.FOLDS:
        raise LabelError(
            f"{targets.name}: {len(labelled)} labels are too few to check; give {2 * heldout.FOLDS} or more"
        )
    X = features_of.read(file, features)
    train = np.flatnonzero(usable & (file.split == "train"))
    Z = features_of.scaled(X, features_of.scaling(X, train if len(train) else labelled))
    learner = classifiers.named(classifier, len(targets.classes))
    repeats = heldout.REPEATS if len(labelled) < heldout.FEW else 1
    partitions = list(heldout.partitions(file, labelled, repeats, seed))
    everything = np.ones(len(labelled), bool)
    total = repeats * heldout.FOLDS * 2
    p = yield from _predicted(learner, Z, targets, labelled, partitions, everything, seed, (0, total))
    mean, truth = np.mean(p, axis=0), targets.values[labelled]
    if targets.classes:
        at, seems = suspicion.of_classes(truth.astype(np.int64), mean)
        told = {
            "given": _values(targets, truth[at]),
            "seems": _values(targets, seems.astype(np.float64)),
            "p_given": mean[at, truth[at].astype(np.int64)].round(6),
            "p_seems": mean[at, seems].round(6),
        }
    else:
        at = suspicion.of_numbers(truth, mean)
        told = {"given": truth[at], "seems": mean[at].round(6)}
    kept = everything.copy()
    kept[at] = False
    without = yield from _predicted(learner, Z, targets, labelled, partitions, kept, seed, (total // 2, total))
    return labelled[at], told, _scores(targets, truth, kept, {"with them": p, "without": without})


def _predicted(
    learner: Classifier,
    Z: NDArray[np.float32],
    targets: Targets,
    labelled: NDArray[np.int64],
    partitions: list[NDArray[np.int64]],
    learned_from: NDArray[np.bool_],
    seed: int,
    done: tuple[int, int],
) -> Generator[Progress, None, list[NDArray[np.float64]]]:
    """Predict each fold of the labelled chips from the others, for each partition; only from some of the labels."""
    from threadpoolctl import threadpool_limits

    K, found, (begun, total) = len(targets.classes), [], done
    for number, fold_of in enumerate(partitions):
        p = np.full((len(labelled), K) if K else len(labelled), np.nan)
        for fold in range(heldout.FOLDS):
            yield Progress(begun + number * heldout.FOLDS + fold, total, "folds", "cross-validation")
            inside = fold_of == fold
            if not inside.any():
                continue
            learned = labelled[~inside & learned_from]
            with threadpool_limits(1):
                p[inside], _ = heldout.predict(
                    learner, Z, targets, learned, labelled[inside], rule=LIKELIEST, seed=seed
                )
        found.append(p)
    return found


def _values(targets: Targets, positions: NDArray[Any]) -> Any:
    """Return classes by position, as the label file has them; true and false as 1 and 0."""
    names: list[Any] = [targets.classes[int(k)] for k in positions]
    if targets.classes and isinstance(targets.classes[0], str):
        return pd.array(names, dtype="string")
    return pd.array([int(name) for name in names], dtype="Int64")


def _scores(
    targets: Targets,
    truth: NDArray[np.float64],
    kept: NDArray[np.bool_],
    predicted: dict[str, list[NDArray[np.float64]]],
) -> Table:
    """Return the scores on labels that are not suspicious, of fits that learned from all labels and only from those."""
    K = len(targets.classes)
    rows: list[tuple[str, ...]] = []
    for name, each in predicted.items():
        scores = [
            metrics.score(truth[kept], p[kept], p[kept].argmax(axis=1) if K else np.empty(0, np.int64), K) for p in each
        ]
        means = {metric: float(np.mean([one[metric] for one in scores])) for metric in metrics.names(K)[:2]}
        rows.append((name, *(f"{value:.3f}" for value in means.values())))
    head = ("suspicious labels", *(name.replace("_", " ") for name in metrics.names(K)[:2]))
    return Table("Scores on labels that are not suspicious", [head, *rows])
