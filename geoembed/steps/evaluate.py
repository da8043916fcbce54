"""The step that measures how many labels are enough, compared with what, and whether to believe it; writes a report."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from geoembed import interrupts, settings
from geoembed.earth.places import PLACES
from geoembed.errors import ProbeError
from geoembed.evaluation import cautions, inputs, made, missing, options, protocol, results
from geoembed.evaluation.measurements import Measurements
from geoembed.evaluation.options import Options
from geoembed.evaluation.study import Study
from geoembed.fits import classifiers as models
from geoembed.fits import curves, heldout, metrics
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits import features as features_of
from geoembed.fits.curves import OURS
from geoembed.labels import targets as targets_of
from geoembed.labels.files import Reading
from geoembed.outputs import atomic, documents, locks, records
from geoembed.outputs import journal as journals
from geoembed.outputs.journal import Journal
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, Table, verb
from geoembed.report import page
from geoembed.version import __version__

if TYPE_CHECKING:
    from collections.abc import Generator

    import pandas as pd

    from geoembed.evaluation.findings import Findings
    from geoembed.evaluation.inputs import Inputs
    from geoembed.evaluation.made import Made
    from geoembed.evaluation.origin import Origin
    from geoembed.evaluation.protocol import FeatureSource
    from geoembed.fits.embeddings import Embeddings
    from geoembed.settings import PathLike, Paths, Words

log = logging.getLogger(__name__)

Rows: TypeAlias = Sequence[Sequence[str]]

RESULTS, SUMMARY, REPORT, JOURNAL, BASELINES = "results.csv", "summary.json", "report.html", ".fits.jsonl", "baselines"
AGAIN = "run the same evaluation again with --overwrite"


@verb
def evaluate(
    embeddings: PathLike = "embeddings.h5",
    *,
    labels: Paths,
    chips: PathLike | None = None,
    model: PathLike = "model",
    against: Paths = (),
    n: int = 200,
    sizes: Words | None = None,
    repeats: int = 5,
    classifiers: Words = "logistic",
    features: Words | None = None,
    target: str | None = None,
    layer: str | None = None,
    crs: str | None = None,
    overlap: float | str | None = None,
    weight: str | None = None,
    seed: int = 0,
    hold_out: bool = False,
    device: str = "auto",
    dry_run: bool = False,
    output: PathLike = "report",
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[pd.DataFrame]:
    """Measure embeddings as a sceptic would: every task x area x features x classifier x size x draw, on test chips.

    Where labels are fewer than 1,000, or were not made by `label`, all are tested, in a spatial cross-validation (see
    `fits.heldout`), unless `hold_out` asks for the test split.

    Draws learning curves for `sizes` (numbers, and `all`; draws are nested), and at `n` labels and at all of them asks
    whether the split leaks and whether it travels between areas. Each embeddings file in `against` is fitted on the
    same draws. With `chips` and the `model` that embedded them, so are chip statistics, random convolutional features
    and the untrained encoder, and test chips are embedded again without some of their inputs. `features` are by
    default each modality, fused, and concat; `subsets` means every subset of modalities.

    Writes results.csv (a row per fit and metric), summary.json and report.html to a folder, and the baselines that it
    made. `dry_run` only tells how many fits there are and about how long they take. A run that was killed goes on where
    it was. Its result are the rows of results.csv. Raises ProbeError, LabelError, EmbeddingsError, ModelError,
    ChipError and StaleError.
    """
    command = made.command("evaluate", signature(evaluate).parameters, locals())
    folder = Path(output)
    locks.require_folder(folder)
    file = embeddings_file.read(Path(embeddings))
    names = features_of.require(file, settings.words(features))
    kinds = models.require(settings.words(classifiers) or ())
    asked = Options(*options.numbers(settings.words(sizes)), n, repeats, kinds, names, seed, hold_out)
    origin = _origin(None if chips is None else Path(chips), Path(model), file, device)
    reading = Reading(target, layer, crs, overlap, weight)
    read = inputs.read(file, settings.paths(labels), reading, settings.paths(against), origin)
    record, rows = read.record(asked), partial(results.read, folder / RESULTS)
    if dry_run:
        return _forecast(prepare(read, asked))
    with locks.hold(folder, folder=True):
        if _is_kept(folder, record, update=update, overwrite=overwrite):
            summary = documents.read(folder / SUMMARY, _Summary, ProbeError, AGAIN)
            return Result((folder / REPORT,), summary.counts, _tables(summary.table), read=rows)
        study = prepare(read, asked)
        kept = interrupts.noted("the fits done so far are kept; run the same command again to do the others")
        with closing(Journal(folder / JOURNAL, record)) as journal, kept:
            atomic.sweep(folder, deep=True)
            measurements = yield from measure(study, folder / BASELINES, journal)
            scores = yield from answer(study, measurements, folder, record, command)
            journal.remove()
    return Result((folder / REPORT,), dict(measurements.counts), _tables(scores), read=rows)


def _origin(chips: Path | None, model: Path, file: Embeddings, device: str) -> Origin | None:
    if chips is None:
        return None
    from geoembed.evaluation import origin
    from geoembed.learning.model import choose_device

    return origin.read(chips, model, file, choose_device(device))


@dataclass(frozen=True)
class _Summary:
    """What of summary.json a kept evaluation tells."""

    made_from: Record
    counts: dict[str, int | float]
    table: list[list[str]]
    files: dict[str, str] = field(default_factory=dict)


def _is_kept(folder: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a folder holds what is wanted, and renew its time stamps; raise where it must not be replaced."""
    found, paths = _read(folder, overwrite=overwrite), [folder / name for name in (SUMMARY, RESULTS, REPORT)]
    begun = journals.read(folder / JOURNAL)[0]
    if begun and begun.digest == record.digest:  # half done, maybe in place of the report that is still there
        return False
    finished = found is not None and not documents.damaged(folder, {RESULTS: "", REPORT: "", **found.files})
    standing = records.settle(
        folder / REPORT, record, found.made_from if found else begun,
        finished=finished, update=update, overwrite=overwrite,
    )  # fmt: skip
    if standing is not Standing.KEPT:
        if found and standing is Standing.BEGUN:
            log.warning("%s: not finished, or one of its files is missing or damaged; all are made again", folder)
        return False
    atomic.touch(*paths)
    return True


def _read(folder: Path, *, overwrite: bool) -> _Summary | None:
    """Return what summary.json says; None where there is none, or a damaged one that may be replaced.

    Raises StaleError and ProbeError for files that must stay.
    """
    path = folder / SUMMARY
    try:
        found = documents.read(path, _Summary, ProbeError, AGAIN)
    except ProbeError:
        records.require_ours(path, documents.is_ours, overwrite=overwrite)
        if not path.exists() or atomic.is_blank(path):
            records.require_ours(folder / RESULTS, results.is_ours, overwrite=overwrite)
            records.require_ours(folder / REPORT, page.is_ours, overwrite=overwrite)
        return None
    if found.made_from.step != "evaluate":
        raise ProbeError(f"{path}: exists and was not made by geoembed evaluate; choose another -o")
    return found


def prepare(read: Inputs, asked: Options) -> Study:
    """Join labels to chips, match other embeddings by chip, and warn of what makes scores uncertain."""
    file = read.embeddings
    tasks = [targets_of.join(label_file, file.chip_id, file.grids) for label_file in read.label_files]
    by_hand = [not label_file.made_by_label for label_file in read.label_files]
    layout = protocol.layout(file, tasks, asked, by_hand)
    tested = np.flatnonzero(layout.tested)
    if asked.hold_out and not any(heldout.distinct(task, tested) > 1 for task in tasks):
        names = ", ".join(str(label_file.path) for label_file in read.label_files)
        raise ProbeError(f"{names}: the test split has no labels of two classes; drop --hold-out, or add labels")
    if layout.options.n < asked.n:
        log.warning("--n %d: there are too few labels to draw as many; %d are drawn", asked.n, layout.options.n)
    files = {OURS: file, **read.against}
    sources = [protocol.feature_source(name, files[name], file.chip_id, asked.features) for name in files]
    for source in sources:
        if not (source.rows >= 0).any():
            fault = "holds none of these chips; name embeddings of the same with --against"
            raise ProbeError(f"{source.file.path}: {fault}")
    for kind in asked.classifiers if any(task.numeric for task in tasks) else ():
        learner = models.named(kind, 0)
        if learner.name != kind:
            log.warning("where the target is a number, %s means %s", kind, learner.name)
    warnings = cautions.of_sources(layout, sources)
    for caution in warnings:
        log.warning("%s", caution)
    return Study(layout, tuple(sources), read.origin, tuple(warnings))


def measure(study: Study, folder: Path, journal: Journal) -> Generator[Progress, None, Measurements]:
    """Make the baselines, do all fits, and score them; what was done before is taken from the journal."""
    layout, asked = study.layout, study.layout.options
    sources = yield from _baselines(study, folder)
    whole = replace(study, sources=(*study.sources, *sources))
    plans = whole.plans()
    counts = whole.count(plans)
    if not counts["fits"]:
        raise ProbeError(
            f"{study.ours.file.path}: nothing could be fitted or tested ({cautions.listed(counts) or 'no cells'});"
            " a task needs labels of two classes to learn from, and of two elsewhere to test on; add labels"
        )
    fits = yield from whole.fit(plans, journal)
    left_out = cautions.left_out(counts)
    if left_out:
        log.warning("left out: %s", left_out)
    main = next(plan for plan in plans if plan.source is study.ours and plan.features == asked.main)
    lacking = yield from missing.measure(study, main, journal)
    fits = results.in_order([*fits, *lacking.fits], layout)
    return Measurements(fits, main, counts, (*study.cautions, *lacking.cautions), lacking.contrasted)


def _baselines(study: Study, folder: Path) -> Generator[Progress, None, list[FeatureSource]]:
    """Make what the embeddings are compared with, or keep it where it was made before."""
    origin, layout = study.origin, study.layout
    if origin is None:
        return []
    from geoembed.evaluation import baselines

    paths = yield from baselines.make(
        folder, origin.chipset, origin.model, device=origin.device, seed=layout.options.seed, workers=2
    )
    wanted = baselines.offered(layout.options.features)
    return [
        protocol.feature_source(kind, embeddings_file.read(path), layout.chip_id, wanted)
        for kind, path in paths.items()
    ]


def answer(
    study: Study, measurements: Measurements, folder: Path, record: Record, command: str
) -> Generator[Progress, None, Rows]:
    """Answer the report's questions; write summary, results and page, and return scores as rows for people."""
    findings = yield from measurements.findings(study)
    findings = replace(findings, made=_made(study, folder, command))
    scores = _scores(study, findings)
    # The page says that all is there: it goes first and comes last. The summary says whose the other files are.
    atomic.remove(folder / REPORT)
    summary = _summary(study, findings, record, scores)
    documents.write(folder / SUMMARY, summary)
    results.write(folder / RESULTS, measurements.fits)
    atomic.write_text(folder / REPORT, page.html(findings))
    documents.write(folder / SUMMARY, summary | {"files": documents.of_files(folder, (RESULTS, REPORT))})
    return scores


def _made(study: Study, folder: Path, command: str) -> Made:
    """Say how the report was made; the names of simulated areas are not given to others."""
    predictions = {task.name: Path("probe") / task.name / "predictions.gpkg" for task in study.layout.tasks}
    maps = {f"map of {name}": os.path.relpath(path, folder) for name, path in predictions.items() if path.exists()}
    simulated = {place.name for place in PLACES}
    return made.now(command, study.layout.areas, simulated, {RESULTS: RESULTS, SUMMARY: SUMMARY, **maps})


def _tables(scores: Rows) -> tuple[Table, ...]:
    return (Table("Scores by number of labels", scores),)


def _scores(study: Study, findings: Findings) -> Rows:
    """Return scores everywhere: ours of all features, other sources' of the main ones."""
    main, everywhere = study.layout.options.main, study.layout.everywhere
    shown = [curve for curve in findings.curves if curve.metric in metrics.HEADLINES and curve.aoi == everywhere]
    return curves.table([curve for curve in shown if curve.source == OURS or curve.features == main])


def _summary(study: Study, findings: Findings, record: Record, scores: Rows) -> dict[str, Any]:
    tasks = {
        task.name: {"target": task.column, "classes": [str(name) for name in task.classes], **task.counts}
        for task in study.layout.tasks
    }
    return {
        "geoembed_version": __version__,
        "made_from": record.to_json(),
        "answer": page.answer(findings.curves),
        "interval": "95 % t-interval of the mean over draws of labels: the uncertainty of which labels are drawn",
        "counts": findings.facts.counts,
        "tasks": tasks,
        "table": scores,
        **findings.to_json(),
    }


def _forecast(study: Study) -> Result[Any]:
    """Tell how many fits there are and about how long they take; write nothing."""
    fits, seconds = study.cost()
    time = f"{seconds / 60:.0f} minutes" if seconds > 90 else f"{seconds:.0f} seconds"
    beside = "" if study.origin is None else ", besides reading all chips once and embedding test chips again"
    log.info("%s fits, about %s on this machine%s; nothing was written", f"{fits:,}", time, beside)
    return Result((), {"fits": fits, "seconds": round(seconds, 3)})
