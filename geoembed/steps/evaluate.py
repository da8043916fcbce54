"""The step that measures how many labels are enough, compared with what, and whether to believe it; writes a report."""

from __future__ import annotations

import csv
import json
import logging
import math
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed import __version__, settings
from geoembed.errors import ProbeError
from geoembed.fits import calibration, curves, forecast, metrics, sweep
from geoembed.fits import classifiers as models
from geoembed.fits import embeddings as embeddings_file
from geoembed.fits import features as features_of
from geoembed.fits.curves import NOTHING, OURS, Fit
from geoembed.fits.sweep import Sweep, Tested
from geoembed.labels import files as label_files
from geoembed.labels import targets as targets_of
from geoembed.outputs import atomic, locks, records
from geoembed.outputs import journal as journals
from geoembed.outputs.journal import Journal
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.report import page, protocol, space
from geoembed.report.findings import Facts, Findings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from geoembed.fits.calibration import Trust
    from geoembed.fits.embeddings import Embeddings
    from geoembed.fits.sweep import Place
    from geoembed.labels.files import LabelFile
    from geoembed.report.origin import Origin
    from geoembed.report.protocol import Layout, Source
    from geoembed.settings import PathLike, Paths, Words

log = logging.getLogger(__name__)

RESULTS, SUMMARY, REPORT, JOURNAL, BASELINES = "results.csv", "summary.json", "report.html", ".fits.jsonl", "baselines"
COLUMNS = (
    "task", "aoi", "features", "classifier", "n", "seed", "metric", "value", "seconds", "source", "question", "tested",
)  # fmt: skip
FEW = 20
"""Test chips of a class below which its recall moves by more than 5 % with each."""

MOST_CHIPS, MOST_PIXELS = 2000, 2**26
"""Most test chips that are mapped or embedded again with inputs removed, and most pixels (of a channel) of them."""

SIZES = (*(str(step * 10**decade) for decade in range(1, 7) for step in (1, 2, 5)), "all")


@dataclass(frozen=True)
class _Plan:
    """The fits on one kind of features of one source, and why some of its cells are empty."""

    source: Source
    features: str
    places: tuple[Place, ...]
    empty: dict[str, int]


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
    seed: int = 0,
    device: str = "auto",
    dry_run: bool = False,
    output: PathLike = "report",
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[pd.DataFrame]:
    """Measure embeddings as a sceptic would: every task x area x features x classifier x size x draw, on test chips.

    Draws learning curves for `sizes` (numbers, and `all`; draws are nested), and at `n` labels and at all of them asks
    whether the split leaks and whether it travels between areas. Each embeddings file in `against` is fitted on the
    same draws. With `chips` and the `model` that embedded them, so are chip statistics, random convolutional features
    and the untrained encoder, and test chips are embedded again without some of their inputs. `features` are by
    default each modality, fused, and concat; `subsets` means every subset of modalities.

    Writes results.csv (a row per fit and metric), summary.json and page.html to a folder, and the baselines that it
    made. `dry_run` only tells how many fits there are and about how long they take. A run that was killed goes on where
    it was. Its result are the rows of results.csv. Raises ProbeError, LabelError, EmbeddingsError, ModelError,
    ChipError and StaleError.
    """
    folder = Path(output)
    locks.require_folder(folder)
    found = embeddings_file.read(Path(embeddings))
    names = features_of.require(found, settings.words(features))
    kinds = models.require(settings.words(classifiers) or ())
    asked = settings.words(sizes)
    numbers, full = _sizes(SIZES if asked is None else asked)
    if repeats < 1:
        raise ProbeError(f"--repeats {repeats}: draw at least once")
    if n < 2:
        raise ProbeError(f"--n {n}: learn from two labels at least")
    read = [label_files.read(path, target) for path in settings.paths(labels)]
    _require_names(read)
    origin = _origin(None if chips is None else Path(chips), Path(model), found, device)
    others = {name: embeddings_file.read(path) for name, path in _names_of(settings.paths(against), origin).items()}
    record = Record(
        "evaluate",
        inputs={
            "embeddings": found.digest,
            "against": {name: other.digest for name, other in others.items()},
            "chips": origin.chipset.digest if origin else None,
            "labels": {one.name: one.digest for one in read},
            "geoembed_version": __version__,
        },
        options={
            "against": list(others),
            "labels": [one.path.name for one in read],
            "with_chips": origin is not None,
            "n": n,
            "sizes": [*numbers, *(["all"] if full else [])],
            "repeats": repeats,
            "classifiers": list(kinds),
            "features": list(names),
            "seed": seed,
        },
    )
    rows = partial(_read_rows, folder / RESULTS)
    if not dry_run and _is_kept(folder, record, update=update, overwrite=overwrite):
        kept = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return Result((folder / REPORT,), kept["counts"], kept["table"], rows)
    tasks = tuple(targets_of.join(one, found.chip_id, found.grids) for one in read)
    laid = protocol.layout(found, tasks, numbers, full=full, n=n, repeats=repeats, seed=seed)
    sources = [protocol.source(OURS, found, found.chip_id, names)]
    sources += [protocol.source(name, other, found.chip_id, names) for name, other in others.items()]
    cautions = _cautions(laid, sources, kinds)
    if dry_run:
        return _forecast(laid, sources, origin, kinds)
    with locks.hold(folder, folder=True), closing(Journal(folder / JOURNAL, record)) as journal:
        atomic.sweep(folder, deep=True)
        sources += yield from _baselines(origin, folder / BASELINES, found.chip_id, names, device, seed)
        plans = list(_plans(laid, sources, names))
        counts = _count(plans, sources, names)
        counts["fits"] = sum(sweep.fits(plan.places, kinds) for plan in plans)
        if not counts["fits"]:
            raise ProbeError(
                f"{embeddings}: nothing could be fitted or tested ({_told(counts)}); every task needs labels of two"
                " classes in the train split and of all classes in the test split"
            )
        fits = yield from _fit_all(plans, laid, kinds, journal)
        _warn(counts)
        deep = next(plan for plan in plans if plan.source.name == OURS and plan.features == _deep(names))
        notes = _unasked(laid, origin, deep)
        fits += yield from _miss(origin, laid, deep, kinds, journal, cautions)
        fits = _in_order(fits, laid, names, kinds)
        findings = yield from _findings(laid, found, origin, deep, kinds, fits, counts)
        findings = replace(findings, notes=tuple(notes), cautions=tuple(cautions))
        result = _write(folder, findings, laid, fits, record)
        journal.remove()
    return replace(result, read=rows)


def _read_rows(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(path)


def _sizes(asked: Sequence[str]) -> tuple[list[int], bool]:
    """Return the numbers in order, and whether all labels are asked for, too."""
    if not asked:
        raise ProbeError("--sizes: names none; write numbers, and all, as in --sizes 10,50,all, or leave it out")
    numbers = set()
    for text in asked:
        if text == "all":
            continue
        if not str(text).isdigit() or int(text) < 2:
            raise ProbeError(f"--sizes {text}: write numbers from 2, and all, as in --sizes 10,50,all")
        numbers.add(int(text))
    return sorted(numbers), "all" in asked


def _names_of(against: Sequence[Path], origin: Origin | None) -> dict[str, Path]:
    """Return what other embeddings files are called in the results: by their stems, with the folder where two agree."""
    taken: tuple[str, ...] = ()
    if origin is not None:
        from geoembed.report.baselines import KINDS as taken  # noqa: N811
    found: dict[str, Path] = {}
    for path in against:
        name = path.stem if path.stem not in (OURS, *taken, *found) else f"{path.resolve().parent.name}/{path.stem}"
        if name in found:
            raise ProbeError(f"{path}: is called {name} in the results, like {found[name]}; rename one")
        found[name] = path
    return found


def _require_names(read: Sequence[LabelFile]) -> None:
    names: dict[str, Path] = {}
    for one in read:
        if one.name in names:
            raise ProbeError(f"{one.path}: its task is called {one.name}, like that of {names[one.name]}; rename one")
        names[one.name] = one.path


def _origin(chips: Path | None, model: Path, found: Embeddings, device: str) -> Origin | None:
    if chips is None:
        return None
    from geoembed.learning.model import choose_device
    from geoembed.report import origin

    return origin.read(chips, model, found, choose_device(device))


def _is_kept(folder: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a folder holds what is wanted, and renew its time stamps; raise where it must not be replaced."""
    paths = [folder / name for name in (SUMMARY, RESULTS, REPORT)]
    found = records.read_json(paths[0])
    if not paths[0].exists():
        records.require_free(folder, (RESULTS, REPORT))
    elif found is None or found.step != "evaluate":
        raise ProbeError(f"{paths[0]}: exists and was not made by geoembed evaluate; choose another -o")
    finished = all(path.exists() for path in paths)
    remove = partial((folder / JOURNAL).unlink, missing_ok=True)
    found = found or journals.record_of(folder / JOURNAL)
    standing = records.settle(
        folder / REPORT, record, found, finished=finished, remove=remove, update=update, overwrite=overwrite
    )
    if standing is not Standing.KEPT:
        return False
    atomic.touch(*paths)
    return True


def _baselines(
    origin: Origin | None, folder: Path, chip_ids: NDArray[np.str_], names: Sequence[str], device: str, seed: int
) -> Generator[Progress, None, list[Source]]:
    """Make what the embeddings are compared with, or keep it where it was made before."""
    if origin is None:
        return []
    from geoembed.learning.model import choose_device
    from geoembed.report import baselines

    found = []
    for kind in baselines.KINDS:
        path = folder / f"{kind}.h5"
        making = baselines.make(
            kind, path, origin.chipset, origin.model, device=choose_device(device), seed=seed, workers=2
        )
        for progress in making:
            yield Progress(progress.done, progress.total, progress.unit, kind)
        found.append(protocol.source(kind, embeddings_file.read(path), chip_ids, _of_baselines(names)))
    return found


def _of_baselines(names: Sequence[str]) -> tuple[str, ...]:
    """Return the features that baselines are asked for: their fused is side by side already, as concat is."""
    return tuple(name for name in names if name != features_of.CONCAT or embeddings_file.FUSED not in names)


def _deep(names: Sequence[str]) -> str:
    """Return the features of which more than learning curves are asked: fused, else the last."""
    return embeddings_file.FUSED if embeddings_file.FUSED in names else names[-1]


def _plans(laid: Layout, sources: Sequence[Source], names: Sequence[str]) -> Iterator[_Plan]:
    """Yield what to fit; every source learns a kind of features from the same chips."""
    for name in names:
        places, empty = laid.places(protocol.usable(sources, name), deep=name == _deep(names))
        for one in sources:
            if name in one.names:
                yield _Plan(one, name, places, empty if one is sources[0] else {})


def _count(plans: Sequence[_Plan], sources: Sequence[Source], names: Sequence[str]) -> dict[str, int]:
    """Count what is left out."""
    counts = {"fits": 0, "cells_empty": 0}
    for name in names:
        ours = sources[0].usable(name)
        counts[f"chips_without_{name}"] = int(np.count_nonzero(~ours))
        elsewhere = int(np.count_nonzero(ours & ~protocol.usable(sources, name)))
        if elsewhere:
            counts[f"chips_without_{name}_elsewhere"] = elsewhere
    for one in sources[1:]:
        counts[f"chips_not_in_{one.name}"] = int(np.count_nonzero(one.rows < 0))
    for plan in plans:
        for reason, number in plan.empty.items():
            counts[reason] = counts.get(reason, 0) + number
            counts["cells_empty"] += number
    return counts


def _fit_all(
    plans: Sequence[_Plan], laid: Layout, kinds: Sequence[str], journal: Journal
) -> Generator[Progress, None, list[Fit]]:
    """Run every plan, yielding progress and keeping a journal; return the fits in the order in which they were done."""
    total, done = sum(sweep.fits(plan.places, kinds) for plan in plans), 0
    fits: list[Fit] = []
    resumed = 0
    for plan in plans:
        of_plan = [plan.source.name, plan.features]
        before = {line["key"]: line for line in journal.lines if line["of"] == of_plan}
        for line in before.values():
            fits += [Fit(*row) for row in line["fits"]]
            resumed += line["models"]
        done += sum(line["models"] for line in before.values())
        if sum(line["models"] for line in before.values()) == sweep.fits(plan.places, kinds):
            continue
        X = plan.source.read(plan.features)
        run = Sweep(X, plan.source.name, plan.features, plan.places, laid.tasks, kinds, seed=laid.seed)
        for one in run.run({key: line["penalties"] for key, line in before.items()}):
            rows = [astuple(fit) for fit in one.fits]
            told = {"of": of_plan, "key": one.key, "models": one.models, "penalties": one.penalties}
            journal.write(told | {"fits": rows})
            fits += one.fits
            done += one.models
            yield Progress(done, total, "fits", f"{plan.source.name} {plan.features}")
    if resumed:
        log.info("%s fits were there from a run before", f"{resumed:,}")
    return fits


def _unasked(laid: Layout, origin: Origin | None, plan: _Plan) -> list[str]:
    """Tell which questions are not asked, and why."""
    notes = []
    if origin is None:
        notes.append(
            "Simple baselines, missing inputs, neighbours and retrieval were not measured: they need --chips and"
            " --model."
        )
    elif plan.features != embeddings_file.FUSED:
        notes.append("Missing inputs were not measured: they need fused among --features.")
    if len(laid.areas) < 2:
        notes.append("Whether it travels was not asked, as there is one area.")
    few = sorted({place.name for place in plan.places for one in place.cells if laid.n not in one.sizes})
    if few:
        notes.append(
            f"At {laid.n:,} labels nothing is told of tasks in {', '.join(few)}: there are no more than that, or not"
            " two of each class among as few."
        )
    return notes


def _miss(
    origin: Origin | None, laid: Layout, plan: _Plan, kinds: Sequence[str], journal: Journal, cautions: list[str]
) -> Generator[Progress, None, list[Fit]]:
    """Score test chips that lack inputs with what was learned from complete ones."""
    if origin is None or plan.features != embeddings_file.FUSED:
        return []
    kept = [line for line in journal.lines if line["of"] == _MISSING]
    if kept:
        cautions += kept[0]["cautions"]
        return [Fit(*row) for row in kept[0]["fits"]]
    usable = plan.source.usable(plan.features)
    rows = laid.sample(usable, _most(origin), "test")
    if not laid.missing(usable, [Tested("missing", NOTHING, rows)]).cells:
        cautions.append("missing inputs were not measured, as the test chips that were drawn for it lack a class")
        return []
    tested = yield from origin.missing(rows, laid.seed, laid.repeats)
    place = laid.missing(usable, tested)
    run = Sweep(
        plan.source.read(plan.features), plan.source.name, plan.features, [place], laid.tasks, kinds, seed=laid.seed
    )
    fits = [fit for one in run.run({}) for fit in one.fits]
    told = _left_with_nothing(tested)
    cautions += told
    journal.write({"of": _MISSING, "cautions": told, "fits": [astuple(fit) for fit in fits]})
    return fits


_MISSING = "missing inputs"


def _left_with_nothing(tested: Sequence[Tested]) -> list[str]:
    """Tell of chips of which a removal leaves nothing: they are taken for an average chip."""
    bare = {one.name: int(np.isnan(one.vectors[:, 0]).sum()) for one in tested if one.vectors is not None}
    bare = {name: number for name, number in bare.items() if number}
    if not bare:
        return []
    most = max(bare, key=lambda name: bare[name])
    return [
        f"{len(bare)} removals of inputs leave nothing of some chips, at most {bare[most]:,} of {len(tested[0].rows):,}"
        f" ({most}); these are taken for an average chip"
    ]


def _most(origin: Origin) -> int:
    return max(2, min(MOST_CHIPS, MOST_PIXELS // origin.chipset.size**2))


def _findings(
    laid: Layout,
    found: Embeddings,
    origin: Origin | None,
    deep: _Plan,
    kinds: Sequence[str],
    fits: list[Fit],
    counts: dict[str, int],
) -> Generator[Progress, None, Findings]:
    """Bring together all answers."""
    by_name = {task.name: task for task in laid.tasks}
    yield Progress(0, 3, "questions", "scores")
    drawn = curves.of_fits(fits, lambda task, metric: metrics.chance(metric, len(by_name[task].classes)))
    beside = curves.contrasts(fits, laid.n, lambda task: metrics.names(len(by_name[task].classes))[0])
    trust = _trust(laid, deep, kinds[0])
    yield Progress(1, 3, "questions", "maps")
    usable = deep.source.usable(deep.features)
    rows = laid.sample(usable, MOST_CHIPS, "test")
    values = {task.name: task.values[rows] for task in laid.tasks}
    vectors = features_of.read(found, deep.features, rows)
    maps = space.maps(np.nan_to_num(vectors), deep.features, values, laid.aoi[rows], laid.seed)
    health = [space.health(name, found.vectors(name, rows)) for name in found.names]
    galleries, retrieval = [], []
    if origin is not None:
        yield Progress(2, 3, "questions", "neighbours")
        seen = laid.sample(usable, _most(origin), "test")
        contrasted = origin.contrasted(seen)
        retrieval = origin.retrievals(contrasted)
        galleries = origin.galleries(found, seen, contrasted, laid.tasks, laid.seed)
    return Findings(
        _facts(laid, found, counts), tuple(drawn), tuple(beside), tuple(trust), maps, tuple(galleries), tuple(health),
        tuple(retrieval),
    )  # fmt: skip


def _trust(laid: Layout, plan: _Plan, kind: str) -> list[Trust]:
    """Measure whether probabilities hold everywhere, at n labels."""
    X = plan.source.read(plan.features)
    run = Sweep(X, plan.source.name, plan.features, plan.places, laid.tasks, [kind], seed=laid.seed)
    draws: dict[int, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    for task, truth, p in run.probabilities(kind, laid.n):
        draws.setdefault(task, []).append((truth, p))
    return [
        calibration.trust(laid.tasks[t].name, plan.features, kind, len(laid.tasks[t].classes), laid.n, some)
        for t, some in draws.items()
    ]


def _facts(laid: Layout, found: Embeddings, counts: dict[str, int]) -> Facts:
    return Facts(
        chips={name: int(np.count_nonzero(laid.split == name)) for name in ("train", "validation", "test")},
        tasks={task.name: (task.classes, task.counts["chips_labelled"]) for task in laid.tasks},
        areas=laid.areas,
        counts=counts,
        n=laid.n,
        repeats=laid.repeats,
        seed=laid.seed,
        embeddings=found.path.name,
        model=str(found.attributes.get("model_sha256", ""))[:12],
        split_apart=protocol.parted(found.chip_id, found.split),
    )


def _forecast(laid: Layout, sources: Sequence[Source], origin: Origin | None, kinds: Sequence[str]) -> Result[Any]:
    """Tell how many fits there are and about how long they take; write nothing."""
    ours = sources[0]
    plans = list(_plans(laid, sources, ours.names))
    wide = [features_of.width(plan.source.file, plan.features) for plan in plans]
    if origin is not None:
        from geoembed.report import baselines

        for kind in baselines.KINDS:
            stand_in = protocol.Source(kind, ours.file, ours.rows, _of_baselines(ours.names))
            more = list(_plans(laid, [stand_in], ours.names))
            plans += more
            encoder = features_of.width(ours.file, embeddings_file.FUSED)
            wide += [
                baselines.width(kind, features_of.parts(ours.file, plan.features), origin.channels, encoder)
                for plan in more
            ]
    number = sum(sweep.fits(plan.places, kinds) for plan in plans)
    seconds = sum(forecast.seconds(plan.places, width, kinds) for plan, width in zip(plans, wide, strict=True))
    told = f"{seconds / 60:.0f} minutes" if seconds > 90 else f"{seconds:.0f} seconds"
    beside = "" if origin is None else ", besides reading all chips three times and embedding test chips again"
    table = f"{number:,} fits, about {told} on this machine{beside}; nothing was written"
    return Result((), {"fits": number, "seconds": round(seconds, 3)}, table)


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {key.replace('_', ' ')}" for key, number in counts.items() if number) or "no cells"


def _warn(counts: dict[str, int]) -> None:
    left_out = {key: number for key, number in counts.items() if number and key.startswith(("chips_", "cells_"))}
    left_out.pop("cells_empty", None)
    if left_out:
        log.warning("left out: %s", _told(left_out))


def _cautions(laid: Layout, sources: Sequence[Source], kinds: Sequence[str]) -> list[str]:
    """Tell, also in the log, what makes scores uncertain: few test chips of a class, training that saw test chips."""
    if "logistic" in kinds and any(task.numeric for task in laid.tasks):
        log.warning("where the target is a number, logistic means ridge")
    told, test = [], laid.split == "test"
    for task in laid.tasks:
        for number, name in enumerate(task.classes):
            held = int(np.count_nonzero(task.values[test] == number))
            if 0 < held < FEW:
                told.append(f"{task.name}: only {held} test chips are {name}; the task's scores hang on them")
    told += [
        f"the model of {one.name} learned from the chips of all splits (--transductive), test chips among them"
        for one in sources
        if one.file.transductive
    ]
    for one in sources[1:]:
        there = one.rows >= 0
        if not there.any():
            raise ProbeError(f"{one.file.path}: holds none of these chips; name embeddings of the same with --against")
        if not there.all():
            told.append(f"{np.count_nonzero(~there):,} chips are not in {one.name} and left out of all scores")
        seen = int(np.count_nonzero(test & there & (one.file.split[one.rows] == "train")))
        if seen:
            told.append(f"{seen:,} test chips are train chips of {one.name}, whose encoder may have seen them")
    for caution in told:
        log.warning("%s", caution)
    return told


def _write(output: Path, findings: Findings, laid: Layout, fits: Sequence[Fit], record: Record) -> Result[Any]:
    """Write the three files: the summary first, as it says whose they are, and the report, that all are there, last."""
    (output / REPORT).unlink(missing_ok=True)
    shown = [one for one in findings.curves if one.metric in metrics.HEADLINES and one.aoi == laid.everywhere]
    deep = _deep(record.options["features"])
    table = curves.table([one for one in shown if one.source == OURS or one.features == deep])
    summary = {
        "made_from": record.to_json(),
        "geoembed_version": __version__,
        "answer": page.answer(findings.curves),
        "interval": "95 % t-interval of the mean over draws of labels: the uncertainty of which labels are drawn",
        "counts": findings.facts.counts,
        "tasks": {
            task.name: {"target": task.column, "classes": [str(name) for name in task.classes], **task.counts}
            for task in laid.tasks
        },
        "table": table,
        **findings.to_json(),
    }
    atomic.write_json(output / SUMMARY, summary)
    with atomic.replacing(output / RESULTS) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for fit in fits:
            head = (fit.task, fit.aoi, fit.features, fit.classifier, fit.n, fit.seed)
            tail = (f"{fit.seconds:.6f}", fit.source, fit.question, fit.tested)
            for metric, value in fit.scores.items():
                rows.writerow((*head, metric, "" if math.isnan(value) else f"{value:.6f}", *tail))
    atomic.write_text(output / REPORT, page.html(findings))
    counts: dict[str, int | float] = dict(findings.facts.counts)
    return Result((output / REPORT,), counts, table)


def _in_order(fits: Sequence[Fit], laid: Layout, names: Sequence[str], kinds: Sequence[str]) -> list[Fit]:
    """Return fits in the order of a reader: by source, question, classifier, features, task, area, size and draw."""
    questions, tasks = ("curve", "split", "transfer", "missing"), [task.name for task in laid.tasks]
    sources, tested = ([*dict.fromkeys(each)] for each in zip(*((fit.source, fit.tested) for fit in fits), strict=True))
    sources = [OURS, *(source for source in sources if source != OURS)]
    return sorted(
        fits,
        key=lambda fit: (
            sources.index(fit.source), questions.index(fit.question), kinds.index(fit.classifier),
            names.index(fit.features), tasks.index(fit.task), fit.aoi != laid.everywhere, fit.aoi,
            tested.index(fit.tested) if fit.question == "missing" else 0, fit.tested, fit.n, fit.seed,
        ),
    )  # fmt: skip
