"""The step that measures how many labels are enough, compared with what, and whether to believe it; writes a report."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoembed import __version__
from geoembed.errors import ProbeError
from geoembed.fits import classifiers as models
from geoembed.fits import curves, metrics
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits import features as features_of
from geoembed.fits.curves import OURS
from geoembed.labels import targets as label_files
from geoembed.outputs import atomic, folders, record
from geoembed.outputs.journal import Journal
from geoembed.progress import Outcome, Progress
from geoembed.report import cautions, missing, options, page, protocol, results
from geoembed.report.measurements import Measurements
from geoembed.report.options import Options
from geoembed.report.study import Study

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from geoembed.fits.embeddings import Embeddings
    from geoembed.labels.targets import Labels
    from geoembed.progress import Steps
    from geoembed.report.findings import Findings
    from geoembed.report.origin import Origin
    from geoembed.report.protocol import FeatureSource

log = logging.getLogger(__name__)

RESULTS, SUMMARY, REPORT, JOURNAL, BASELINES = "results.csv", "summary.json", "report.html", ".fits.jsonl", "baselines"


@dataclass(frozen=True)
class _Inputs:
    """What is read.

    embeddings: the embeddings that are measurements.
    against: other embeddings of the same chips, by their names in the results.
    label_files: a file per task.
    origin: the chips and the model of the embeddings; None where they are not named.
    """

    embeddings: Embeddings
    against: dict[str, Embeddings]
    label_files: list[Labels]
    origin: Origin | None

    def record(self, options: Options) -> dict[str, Any]:
        """Return what outputs are made from."""
        return {
            "step": "evaluate",
            "embeddings": self.embeddings.digest,
            "against": {name: file.digest for name, file in self.against.items()},
            "chips": self.origin.chipset.digest if self.origin else None,
            "labels": {label_file.name: label_files.digest(label_file) for label_file in self.label_files},
            **options.record(),
            "geoembed_version": __version__,
        }


def evaluate(
    embeddings: Path,
    labels: tuple[Path, ...],
    output: Path = Path("report"),
    *,
    against: tuple[Path, ...] = (),
    chips: Path | None = None,
    model: Path = Path("model"),
    device: str = "auto",
    n: int = 200,
    sizes: tuple[str, ...] | None = None,
    repeats: int = 5,
    classifiers: tuple[str, ...] = ("logistic",),
    features: tuple[str, ...] | None = None,
    target: str | None = None,
    seed: int = 0,
    dry_run: bool = False,
    overwrite: bool = False,
) -> Steps:
    """Measure embeddings as a sceptic would: every task x area x features x classifier x size x draw, on test chips.

    Draws learning curves for `sizes` (numbers, and `all`; draws are nested), and at `n` labels and at all of them asks
    whether the split leaks and whether it travels between areas. Each embeddings file in `against` is fitted on the
    same draws. With `chips` and the `model` that embedded them, so are chip statistics, random convolutional features
    and the untrained encoder, and test chips are embedded again without some of their inputs. `features` are by
    default each modality, fused, and concat; `subsets` means every subset of modalities.

    Writes results.csv (a row per fit and metric), summary.json and report.html to a folder, and the baselines that it
    made. `dry_run` only tells how many fits there are and about how long they take. A run that was killed goes on where
    it was. Raises ProbeError, LabelError, EmbeddingsError, ModelError, ChipError and StaleError.
    """
    folders.require_folder(output)
    file = embeddings_file.read(embeddings)
    names, kinds = features_of.require(file, features), models.require(classifiers)
    asked = Options(*options.numbers(sizes), n, repeats, kinds, names, seed)
    inputs = _read(file, labels, target, against, _origin(chips, model, file, device))
    made_from = inputs.record(asked)
    if not dry_run and _is_kept(output, made_from, overwrite=overwrite):
        kept = json.loads((output / SUMMARY).read_text(encoding="utf-8"))
        return Outcome((output / REPORT,), kept["counts"], kept["table"])
    study = prepare(inputs, asked)
    if dry_run:
        return _forecast(study)
    journal = Journal(output / JOURNAL, made_from, overwrite=overwrite)
    try:
        measurements = yield from measure(study, output / BASELINES, journal)
        outcome = yield from answer(study, measurements, output, made_from)
        journal.remove()
    finally:
        journal.close()
    return outcome


def _origin(chips: Path | None, model: Path, file: Embeddings, device: str) -> Origin | None:
    if chips is None:
        return None
    from geoembed.learning.model import choose_device
    from geoembed.report import origin

    return origin.read(chips, model, file, choose_device(device))


def _read(
    file: Embeddings, labels: Sequence[Path], target: str | None, against: Sequence[Path], origin: Origin | None
) -> _Inputs:
    """Read label files and other embeddings, whose names in the results must differ."""
    read = [label_files.read(path, target) for path in labels]
    tasks: dict[str, Path] = {}
    for label_file in read:
        if label_file.name in tasks:
            like = f"its task is called {label_file.name}, like that of {tasks[label_file.name]}"
            raise ProbeError(f"{label_file.path}: {like}; rename one")
        tasks[label_file.name] = label_file.path
    paths = _names_of(against, origin)
    return _Inputs(file, {name: embeddings_file.read(path) for name, path in paths.items()}, read, origin)


def _names_of(against: Sequence[Path], origin: Origin | None) -> dict[str, Path]:
    """Return what other embeddings files are called in the results: by their stems, with the folder where two agree."""
    taken = {OURS}
    if origin is not None:
        from geoembed.report import baselines

        taken.update(baselines.KINDS)
    paths: dict[str, Path] = {}
    for path in against:
        name = path.stem if path.stem not in taken | paths.keys() else f"{path.resolve().parent.name}/{path.stem}"
        if name in paths:
            raise ProbeError(f"{path}: is called {name} in the results, like {paths[name]}; rename one")
        paths[name] = path
    return paths


def _is_kept(output: Path, made_from: dict[str, Any], *, overwrite: bool) -> bool:
    """Tell whether a folder holds what is wanted, and renew its time stamps; raise where it must not be replaced."""
    paths = [output / name for name in (SUMMARY, RESULTS, REPORT)]
    if not paths[0].exists():
        folders.require_free(output, (RESULTS, REPORT))
        return False
    try:
        found = json.loads(paths[0].read_text(encoding="utf-8"))["made_from"]
    except (ValueError, KeyError, TypeError):
        raise ProbeError(f"{paths[0]}: exists and was not made by geoembed evaluate; choose another -o") from None
    if overwrite:
        return False
    record.require_same(output / REPORT, found, made_from)
    if not all(path.exists() for path in paths):
        return False
    atomic.touch(*paths)
    return True


def prepare(inputs: _Inputs, asked: Options) -> Study:
    """Join labels to chips, match other embeddings by chip, and warn of what makes scores uncertain."""
    file = inputs.embeddings
    tasks = [label_files.join(label_file, file.chip_id, file.grids) for label_file in inputs.label_files]
    layout = protocol.layout(file, tasks, asked)
    sources = [
        protocol.feature_source(name, one, file.chip_id, asked.features)
        for name, one in {OURS: file, **inputs.against}.items()
    ]
    for source in sources:
        if not (source.rows >= 0).any():
            fault = "holds none of these chips; name embeddings of the same with --against"
            raise ProbeError(f"{source.file.path}: {fault}")
    if "logistic" in asked.classifiers and any(task.numeric for task in tasks):
        log.warning("where the target is a number, logistic means ridge")
    warnings = cautions.of_sources(layout, sources)
    for caution in warnings:
        log.warning("%s", caution)
    return Study(layout, tuple(sources), inputs.origin, tuple(warnings))


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
            " every task needs labels of two classes in the train split and of all classes in the test split"
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
    from geoembed.report import baselines

    paths = yield from baselines.make(
        folder, origin.chipset, origin.model, device=origin.device, seed=layout.options.seed, workers=2
    )
    wanted = baselines.offered(layout.options.features)
    return [
        protocol.feature_source(kind, embeddings_file.read(path), layout.chip_id, wanted)
        for kind, path in paths.items()
    ]


def answer(
    study: Study, measurements: Measurements, output: Path, made_from: dict[str, Any]
) -> Generator[Progress, None, Outcome]:
    """Answer the report's questions; write summary, results and page."""
    findings = yield from measurements.findings(study)
    table = _table(findings, study)
    # The report says that all is there: it goes first and comes last. The summary says whose the other files are.
    (output / REPORT).unlink(missing_ok=True)
    atomic.write_json(output / SUMMARY, _summary(study, findings, made_from, table))
    results.write(output / RESULTS, measurements.fits)
    atomic.write_text(output / REPORT, page.html(findings))
    return Outcome((output / REPORT,), dict(measurements.counts), table)


def _table(findings: Findings, study: Study) -> str:
    """Return scores everywhere: ours of all features, other sources' of the main ones."""
    main, everywhere = study.layout.options.main, study.layout.everywhere
    shown = [curve for curve in findings.curves if curve.metric in metrics.HEADLINES and curve.aoi == everywhere]
    return curves.table([curve for curve in shown if curve.source == OURS or curve.features == main])


def _summary(study: Study, findings: Findings, made_from: dict[str, Any], table: str) -> dict[str, Any]:
    tasks = {
        task.name: {"target": task.column, "classes": [str(name) for name in task.classes], **task.counts}
        for task in study.layout.tasks
    }
    return {
        "made_from": made_from,
        "geoembed_version": __version__,
        "answer": page.answer(findings.curves),
        "interval": "95 % t-interval of the mean over draws of labels: the uncertainty of which labels are drawn",
        "counts": findings.facts.counts,
        "tasks": tasks,
        "table": table,
        **findings.to_json(),
    }


def _forecast(study: Study) -> Outcome:
    """Tell how many fits there are and about how long they take; write nothing."""
    fits, seconds = study.cost()
    told = f"{seconds / 60:.0f} minutes" if seconds > 90 else f"{seconds:.0f} seconds"
    beside = "" if study.origin is None else ", besides reading all chips once and embedding test chips again"
    table = f"{fits:,} fits, about {told} on this machine{beside}; nothing was written"
    return Outcome((), {"fits": fits, "seconds": round(seconds, 3)}, table)
