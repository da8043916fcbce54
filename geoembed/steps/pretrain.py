"""The step that pretrains one encoder per modality on chips, without labels."""

import logging
import math
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geoembed import display, interrupts, settings
from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Reader, Statistics
from geoembed.errors import ChipError, ModelError
from geoembed.learning import checkpoint, sessions
from geoembed.learning.checkpoint import Description
from geoembed.learning.model import choose_device
from geoembed.learning.presets import PRESETS, Options
from geoembed.learning.sessions import Session
from geoembed.outputs import atomic, locks, records
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike, Words

T = TypeVar("T")

log = logging.getLogger(__name__)

MEASURED_CHIPS, VALIDATED_CHIPS = 4096, 256
"""Most train chips that band statistics are measured on, and most validation chips that training is measured on."""


@verb
def pretrain(
    chips: PathLike = "chips",
    *,
    output: PathLike = "model",
    preset: str = "tiny",
    modalities: Words | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    keep_tokens: float | None = None,
    drop_channels: float | None = None,
    transductive: bool = False,
    seed: int = 0,
    device: str = "auto",
    workers: int = 2,
    update: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Steps[pd.DataFrame]:
    """Pretrain on the chips of a folder and write a model folder; the result is the rows of its training.csv.

    It learns from the chips of the train split; with `transductive` from all, for maps of these very chips. The other
    options of the training are described at `presets.Options`. An unfinished training of the same chips and options
    goes on.

    Raises ConfigError for options, ChipError for chips that cannot be trained on, StaleError where `output` holds
    another model, and ModelError where the loss is not finite.
    """
    started, target, folder = time.monotonic(), choose_device(device), Path(output)
    options = Options.of(
        preset, epochs=epochs, minutes=minutes, batch_size=batch_size, lr=lr, keep_tokens=keep_tokens,
        drop_channels=drop_channels, transductive=transductive, seed=seed,
    )  # fmt: skip
    chipset = chip_folder.read(Path(chips))
    channels = batches.choose(chipset.channels, settings.words(modalities), of=f"the chips in {chipset.folder}")
    reader = Reader(chipset, channels)
    train = _train_rows(reader, options)
    record = Record("pretrain", {"chips": chipset.digest}, {"modalities": list(channels), **options.model_dump()})
    result = Result((folder,), {"kept": 1}, read=lambda: pd.read_csv(folder / checkpoint.LOG))
    with locks.hold(folder, folder=True):
        if _is_kept(folder, record, update=update, overwrite=overwrite):
            return replace(result, report=_report(folder))
        described = checkpoint.read_config(folder) if (folder / checkpoint.CONFIG).exists() else None
        if described is None:
            described = yield from _describe(reader, train, options, record, workers)
            checkpoint.write_config(folder, described)
        if described.model.channels != channels:
            reader = Reader(chipset, described.model.channels)
            train = _train_rows(reader, options)
        validation = _validation_rows(reader, options.seed)
        session = sessions.begin(folder, described, options, reader, train, validation, target)
        yield from _train(session, started, workers)
        counts: dict[str, int | float] = {
            "chips": len(train),
            "steps": session.run.step,
            "parameters": sum(parameter.numel() for parameter in session.model.parameters()),
            "broken": len(reader.broken),
        }
        report = _report(folder)
        figures = report["training"]
        took, steps = display.duration(figures["seconds"]), f"{session.run.step:,}"
        log.info("%s: %s steps, %.1f epochs in %s; %s", folder, steps, figures["epoch"], took, _told(figures))
        return replace(result, counts=counts, report=report)


def _train(session: Session, started: float, workers: int) -> Generator[Progress]:
    """Train to the end, or to the end of the step at which an interrupt comes; that saves the state."""
    try:
        steps = session.run_steps(started - session.run.seconds, workers)
        with interrupts.deferred() as interrupted, closing(steps):
            for _ in steps:
                yield _progress(session)
                if interrupted:
                    break
        session.finish()
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"{session.saved()}; run the same command again to go on")
        raise
    except ModelError:
        checkpoint.remove(session.folder)  # it cannot go on, and is not to refuse a training with other options
        raise


def _train_rows(reader: Reader, options: Options) -> NDArray[np.int64]:
    rows = np.flatnonzero(reader.present.any(1)) if options.transductive else reader.rows_of("train")
    if len(rows) < 2 or reader.present[rows].sum(0).max() < 2:
        fault = f"fewer than two chips to learn from with {', '.join(reader.channels)}; choose a larger area"
        raise ChipError(f"{reader.chipset.folder}: {fault}")
    return rows


def _validation_rows(reader: Reader, seed: int) -> NDArray[np.int64]:
    rows = reader.rows_of("validation")
    if len(rows) < 2:
        log.warning("%s: no validation chips to measure training on; retrieval stays empty", reader.chipset.folder)
        return rows[:0]
    return np.sort(np.random.default_rng(seed).permutation(rows)[:VALIDATED_CHIPS])


def _is_kept(folder: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a finished model of this record is there; delete another where it may be made again.

    Raises StaleError, and ModelError for a description of another version of geoembed.
    """
    described = _existing(folder, overwrite=overwrite)
    existing = Record.from_json(described.made_from) if described else None
    atomic.sweep(folder)
    standing = records.settle(
        folder,
        record,
        existing,
        finished=(folder / checkpoint.WEIGHTS).exists(),
        remove=partial(checkpoint.remove, folder),
        update=update,
        overwrite=overwrite,
    )
    if standing is not Standing.KEPT:
        return False
    assert described is not None
    damaged = checkpoint.damaged(folder, described)
    if damaged == [folder / checkpoint.LOG]:
        raise ModelError(
            f"{damaged[0]}: missing or damaged, and {checkpoint.WEIGHTS} is intact; restore it, or pass"
            " --overwrite to train again"
        )
    if damaged:
        log.warning("%s: missing or damaged; the model is trained again", damaged[0])
        checkpoint.remove(folder)
        return False
    (folder / checkpoint.STATE).unlink(missing_ok=True)
    atomic.touch(*(folder / name for name in (checkpoint.CONFIG, checkpoint.LOG, checkpoint.WEIGHTS)))
    log.info("%s: kept, as chips and options are the same", folder)
    return True


def _existing(folder: Path, *, overwrite: bool) -> Description | None:
    """Return what config.json says; None where there is no model, or `overwrite` has just deleted a damaged one.

    Raises StaleError for files of other people, and ModelError for a description that cannot be used.
    """
    files = [folder / name for name in (checkpoint.WEIGHTS, checkpoint.STATE, checkpoint.LOG)]
    if not (folder / checkpoint.CONFIG).exists():
        for file in files:
            records.require_ours(file, checkpoint.is_part, overwrite=overwrite)
    elif not atomic.is_blank(folder / checkpoint.CONFIG) or any(file.exists() for file in files):
        try:
            return checkpoint.read_config(folder)
        except ModelError:
            if not (overwrite and checkpoint.is_ours(folder)):
                raise
    checkpoint.remove(folder)
    return None


def _describe(
    reader: Reader, train: NDArray[np.int64], options: Options, record: Record, workers: int
) -> Generator[Progress, None, Description]:
    """Measure the bands and describe the model; channels without a valid pixel in train chips are left out, aloud."""
    drawn = np.sort(np.random.default_rng(options.seed).permutation(train)[:MEASURED_CHIPS])
    statistics = Statistics({}, {})
    for measured in batches.measure(reader, drawn, workers):
        if isinstance(measured, Statistics):
            statistics = measured
        else:
            yield Progress(measured, len(drawn), "chips", "measuring bands")
    valid = {
        name: [i for i, value in enumerate(means) if math.isfinite(value)] for name, means in statistics.mean.items()
    }
    for name, names in reader.channels.items():
        if len(valid[name]) < len(names):
            missing = ", ".join(channel for i, channel in enumerate(names) if i not in valid[name])
            log.warning("%s: no chip to learn from has a valid pixel in %s; the model goes without", name, missing)
    channels = _pick(reader.channels, valid)
    if not channels:
        raise ChipError(f"{reader.chipset.folder}: the chips to learn from hold no valid pixel; make them again")
    statistics = Statistics(_pick(statistics.mean, valid), _pick(statistics.std, valid))
    config = PRESETS[options.preset].config(channels, reader.chipset.size)
    return Description(config, statistics, options.model_dump(), record.to_json())


def _pick(values: Mapping[str, tuple[T, ...]], chosen: Mapping[str, list[int]]) -> dict[str, tuple[T, ...]]:
    """Return the chosen values by modality, without modalities of which none is chosen."""
    return {name: tuple(values[name][i] for i in positions) for name, positions in chosen.items() if positions}


def _progress(session: Session) -> Progress:
    run, options = session.run, session.options
    epochs = run.step / session.steps_per_epoch
    figures = session.figures() or {"loss": run.losses[-1]}
    note = _told(figures)
    if options.minutes is not None:
        note = ", ".join(filter(None, (note, f"epoch {epochs:.1f}")))
        return Progress(min(run.seconds / 60, options.minutes), options.minutes, "minutes", note)
    assert session.steps is not None
    return Progress(epochs, session.steps / session.steps_per_epoch, "epochs", note)


def _report(folder: Path) -> dict[str, Any]:
    """Return the last row of training.csv, JSON-ready, empty where that file is missing."""
    path = folder / checkpoint.LOG
    last = pd.read_csv(path).to_dict("records")[-1] if path.exists() else {}
    return {"training": {key: None if math.isnan(value) else value for key, value in last.items()}}


TOLD = {"loss": "loss {:.3f}", "chips_per_second": "{:,.0f} chips/s", "retrieval_at_1": "retrieval {:.2f}"}
"""Figures of a row of training.csv, as they are told to people, the most important first."""


def _told(figures: Mapping[str, float | None]) -> str:
    return ", ".join(text.format(value) for key, text in TOLD.items() if (value := figures.get(key)) is not None)
