"""The step that suggests which chips to label next, in a file to be filled in."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geoembed import names
from geoembed.active import sheets, suggestions
from geoembed.chips import folder as chip_folder
from geoembed.chips.folder import ChipSet
from geoembed.errors import LabelError, ProbeError, nearest
from geoembed.fits import assessment, classifiers
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits import features as features_of
from geoembed.fits.classifiers.protocol import LIKELIEST
from geoembed.fits.embeddings import Embeddings
from geoembed.labels import files as label_files
from geoembed.labels import targets as targets_of
from geoembed.labels.files import LabelFile, Reading
from geoembed.labels.targets import Targets
from geoembed.outputs import locks
from geoembed.outputs.records import Record
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike

log = logging.getLogger(__name__)

TITLE = "to be labelled"


@verb
def suggest(
    embeddings: PathLike = "embeddings.h5",
    *,
    n: int = 20,
    labels: PathLike | None = None,
    chips: PathLike | None = None,
    areas: str | Sequence[str] = (),
    test: bool = False,
    names: str | Sequence[str] = (),
    features: str = "fused",
    classifier: str = "logistic",
    target: str | None = None,
    layer: str | None = None,
    crs: str | None = None,
    overlap: float | str | None = None,
    weight: str | None = None,
    seed: int = 0,
    output: PathLike = "to-label.gpkg",
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[geopandas.GeoDataFrame]:
    """Suggest which `n` chips to label next; the result is the file to fill in, the most useful chip first.

    Without `labels`, the chips are those that cover the space of the embeddings: centres of clusters. With labels of
    classes, a probe learns from all of them, and the chips are those of which it is least sure, that differ from each
    other and have no labelled one near; with numbers, those that lie farthest from the labelled ones. Chips that have a
    label are never suggested, and chips of the test split only with `test`. `areas` are the names of those to choose
    from.

    The file has a column `label` (or that of the labels), empty, a form that offers the classes (those of the labels,
    or `names`, parted by commas), and with `chips`, the chip folder, a picture of each chip as map tip. Filled in, it
    is a label file as any other. What somebody filled in is never replaced. Raises ProbeError, LabelError, StaleError.
    """
    path = Path(output)
    if n < 1:
        raise ProbeError(f"--n {n}: suggest at least one chip")
    if path.suffix.lower() != ".gpkg":
        raise LabelError(f"{path}: is written as a GeoPackage; give it a name that ends in .gpkg")
    file = embeddings_file.read(Path(embeddings))
    reading = Reading(target, layer, crs, overlap, weight)
    label_file = None if labels is None else label_files.read(Path(labels), reading)
    chipset = None if chips is None else chip_folder.read(Path(chips))
    features_of.require(file, (features,))
    classifiers.require((classifier,))
    classes, chosen = _words(names), _known(file, [areas] if isinstance(areas, str) else areas)
    if label_file is not None and classes:
        raise ProbeError("--names: the classes are those of --labels; drop one of the two")
    record = Record(
        "suggest",
        inputs={"embeddings": file.digest}
        | ({"labels": label_file.digest} if label_file else {})
        | ({"chips": chipset.digest} if chipset else {}),
        options={
            "n": n, "labels": label_file.path.name if label_file else None, "areas": chosen, "test": test,
            "names": classes, "features": features, "classifier": classifier, "seed": seed,
            "target": label_file.column if label_file else None, **reading.options,
        },
    )  # fmt: skip
    with locks.hold(path, folder=False):
        if not sheets.is_kept(path, record, update=update, overwrite=overwrite):
            yield Progress(0, 2, "steps", "choosing")
            targets = None if label_file is None else targets_of.join(label_file, file.chip_id, file.grids)
            candidates = _candidates(file, features, targets, chosen, test=test)
            rows, columns = _choose(file, features, classifier, targets, candidates, n, seed)
            yield Progress(1, 2, "steps", "pictures")
            _write(path, file, rows, columns, (targets, label_file, classes), chipset, record)
        made = sheets.read(path)
        counts: dict[str, int | float] = {"suggested": len(made), "labelled": sheets.labelled(path)}
        return Result((path,), counts, read=partial(sheets.read, path))


def _words(given: str | Sequence[str]) -> tuple[str, ...]:
    parts = [part.strip() for each in ([given] if isinstance(given, str) else given) for part in each.split(",")]
    words = tuple(dict.fromkeys(part for part in parts if part))
    for word in words:
        try:
            names.word(word)
        except ValueError as error:
            raise ProbeError(f"--names {error}") from None
    return words


def _known(file: Embeddings, areas: Sequence[str]) -> tuple[str, ...]:
    """Return the areas asked for; raises ProbeError for one that there is not."""
    known = np.unique(file.aoi).tolist()
    for area in areas:
        if area not in known:
            raise ProbeError(f"--area {area}: not in {file.path}{nearest(area, known)}")
    return tuple(sorted(set(areas)))


def _candidates(
    file: Embeddings, features: str, targets: Targets | None, areas: tuple[str, ...], *, test: bool
) -> NDArray[np.int64]:
    """Return the rows to choose from; raises ProbeError where there are none."""
    usable = features_of.usable(file, features)
    mask = usable & (np.isin(file.aoi, areas) if areas else True)
    if not test:
        mask &= file.split != "test"
    if targets is not None:
        mask &= ~targets.known
    if not mask.any():
        left = "" if test else ", or pass --test to choose from the test split too"
        raise ProbeError(f"{file.path}: all chips to choose from are labelled; take another --area{left}")
    if without := int(np.count_nonzero(~usable)):
        log.warning("%s chips have no %s and are not suggested", f"{without:,}", features)
    return np.flatnonzero(mask)


def _choose(
    file: Embeddings,
    features: str,
    classifier: str,
    targets: Targets | None,
    candidates: NDArray[np.int64],
    n: int,
    seed: int,
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Return the rows suggested, the most useful first, and columns that say why."""
    if n > len(candidates):
        log.warning("%s: there are %s chips to choose from, fewer than %s", file.path, f"{len(candidates):,}", f"{n:,}")
    X = features_of.read(file, features)
    train = np.flatnonzero(features_of.usable(file, features) & (file.split == "train"))
    Z = features_of.scaled(X, features_of.scaling(X, train if len(train) else candidates))
    if targets is None:
        rows = candidates[suggestions.cover(Z[candidates], n, seed)]
        return rows, {}
    labelled = np.flatnonzero(targets.known & features_of.usable(file, features))
    if targets.numeric:
        return suggestions.farthest(Z, labelled, candidates, n), {}
    assessment.require_two(targets, labelled, None, "")
    learner = classifiers.named(classifier, len(targets.classes))
    fitted = learner.fit(Z[labelled], targets.values[labelled], len(targets.classes), seed)
    p = fitted.predict(Z[candidates])
    at = suggestions.unsure(Z[candidates], p, Z[labelled], n, seed)
    guessed = fitted.decide(p[at], LIKELIEST)
    return candidates[at], {
        "prediction": [targets.classes[k] for k in guessed],
        "confidence": p[at, guessed].round(6),
        "margin": suggestions.margin(p[at]).round(6),
    }


def _write(
    path: Path,
    file: Embeddings,
    rows: NDArray[np.int64],
    columns: dict[str, Any],
    asked: tuple[Targets | None, LabelFile | None, tuple[str, ...]],
    chipset: ChipSet | None,
    record: Record,
) -> None:
    targets, label_file, classes = asked
    column = label_file.column if label_file else "label"
    kind: Any = "string"
    if targets is not None:
        kind = "Float64" if targets.numeric else "string" if isinstance(targets.classes[0], str) else "Int64"
    told = {column: pd.array([pd.NA] * len(rows), dtype=kind)} | columns
    if chipset is not None:
        told[sheets.PICTURE] = sheets.pictures(chipset, file.chip_id[rows])
        if missing := sum(picture is None for picture in told[sheets.PICTURE]):
            log.warning("%s: has no picture of %d of %d chips", chipset.folder, missing, len(rows))
    sheet = sheets.table(file, rows, told)
    known, task = (targets.classes, targets.name) if targets is not None else (classes, "label")
    sheets.write(path, sheet, record, column=column, classes=known, task=task, title=TITLE)
    log.info("%s: %d chips to look at; fill in its column %s, then pass it as --labels", path, len(rows), column)
