"""Pretrain one encoder per modality on chips without labels."""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

from geoembed import settings
from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Batch, Reader, Statistics
from geoembed.errors import ChipError, ModelError
from geoembed.learning import checkpoint, loss, training, views
from geoembed.learning.checkpoint import Described
from geoembed.learning.model import FUSED, Model, autocast, centre, choose_device, contrasted, fuse
from geoembed.learning.presets import PRESETS, Options
from geoembed.outputs import atomic, locks, records
from geoembed.outputs.records import Record, Standing
from geoembed.progress import Progress, Result, Steps, verb
from geoembed.settings import PathLike, Words

T = TypeVar("T")

log = logging.getLogger(__name__)

COLUMNS = (
    "step", "epoch", "seconds", "loss", "learning_rate", "temperature", "chips_per_second", "retrieval_at_1",
    "effective_rank",
)  # fmt: skip
"""Columns of training.csv; the effective rank of each modality's embeddings follows. Retrieval and ranks, of validation
chips, are empty in rows that did without; see HEALTH_SHARE."""
SAVE_SECONDS = 45.0
"""Longest time between two states, so that a kill costs less than a minute."""
MEASURED_CHIPS, CENTRED_CHIPS, VALIDATED_CHIPS = 4096, 256, 256
"""Most train chips that band statistics and the embeddings' centre, and validation chips that rows of training.csv,
are measured on."""
ROW_STEPS = 50
"""Most steps between two rows of training.csv."""
HEALTH_SHARE = 0.03
"""Largest share of the work of training that looking at validation chips takes."""
COLLAPSED = 2.0
"""Effective rank of validation embeddings below which training is said to collapse."""
ALARM_AFTER, ALARM_CHIPS = 0.2, 16
"""Share of the training before which, and number of validation chips below which, that is not said."""


@dataclass
class Run:
    """How far a training is; what its state holds beside tensors.

    losses: those of the steps since the last row. rows: those of training.csv, None where there is no figure.
    """

    step: int = 0
    seconds: float = 0.0
    alarmed: bool = False
    losses: list[float] = field(default_factory=list)
    rows: list[list[float | None]] = field(default_factory=list)


@dataclass(frozen=True)
class Session:
    """What a training works with; `train` and `validation` are rows of the index."""

    output: Path
    described: Described
    options: Options
    reader: Reader
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    model: Model
    optimiser: torch.optim.AdamW
    run: Run

    @property
    def batch_size(self) -> int:
        """Return the number of chips in a batch."""
        return min(self.options.batch_size, len(self.train))

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.train) // self.batch_size

    @property
    def row_steps(self) -> int:
        """Return the number of steps between two rows of training.csv."""
        return min(self.steps_per_epoch, ROW_STEPS)

    @property
    def health_is_due(self) -> bool:
        """Return whether this row tells of validation chips: the last one does, and those that HEALTH_SHARE allows.

        Validation chips are encoded whole, forward; a step's views in part, forward and backward, which is twice that.
        """
        step = 3 * self.batch_size * self.options.keep_tokens
        between = math.ceil(len(self.validation) / (HEALTH_SHARE * step))
        return self.done >= 1.0 or self.run.step % max(between, self.row_steps) < self.row_steps

    @property
    def steps(self) -> int | None:
        """Return the number of steps of the whole training, None where minutes say how long it is."""
        epochs = self.options.epochs
        return None if epochs is None else max(1, round(epochs * self.steps_per_epoch))

    @property
    def done(self) -> float:
        """Return which share of the training is done, 1 or more at its end."""
        if self.steps is not None:
            return self.run.step / self.steps
        return self.run.seconds / (60 * (self.options.minutes or 1.0))


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
    """Pretrain on the chips of a folder, write a model folder, and return the rows of its training.csv.

    It learns from the chips of the train split, with `transductive` from all, for maps of these very chips. The other
    options of the training are told at `presets.Options`. An unfinished training of the same chips and options goes on.

    Raises ConfigError for options, ChipError for chips that cannot be trained on, StaleError where `output` holds
    another model, and ModelError when the loss is not finite.
    """
    started, target, folder = time.monotonic(), choose_device(device), Path(output)
    options = Options.of(
        preset, epochs=epochs, minutes=minutes, batch_size=batch_size, lr=lr, keep_tokens=keep_tokens,
        drop_channels=drop_channels, transductive=transductive, seed=seed,
    )  # fmt: skip
    chipset = chip_folder.read(Path(chips))
    channels = batches.choose(chipset.channels, settings.words(modalities))
    reader = Reader(chipset, channels)
    train = _train_rows(reader, options)
    record = Record("pretrain", {"chips": chipset.digest}, {"modalities": list(channels), **options.model_dump()})
    result = Result((folder,), {"kept": 1}, read=partial(_read_log, folder))
    with locks.hold(folder, folder=True):
        if _is_kept(folder, record, update=update, overwrite=overwrite):
            return result
        described = checkpoint.read_config(folder) if (folder / checkpoint.CONFIG).exists() else None
        if described is None:
            described = yield from _describe(reader, train, options, record, workers)
            checkpoint.write_config(folder, described)
        if described.model.channels != channels:
            reader = Reader(chipset, described.model.channels)
            train = _train_rows(reader, options)
        session = _begin(folder, described, options, reader, train, target)
        yield from _train(session, started - session.run.seconds, workers)
        return replace(result, counts=_finish(session))


def _begin(
    folder: Path, described: Described, options: Options, reader: Reader, train: NDArray[np.int64], target: torch.device
) -> Session:
    """Make the model and the optimiser, as the last state left them where there is one."""
    model = checkpoint.build(described.model, options.seed).to(target)
    optimiser = training.optimiser(model, options.lr)
    run = _resume(folder, model, optimiser)
    validation = _validation_rows(reader, options.seed)
    return Session(folder, described, options, reader, train, validation, model, optimiser, run)


def _finish(session: Session) -> dict[str, int | float]:
    """Measure the embeddings' centre, write the weights, and count."""
    drawn = np.sort(np.random.default_rng(session.options.seed).permutation(session.train)[:CENTRED_CHIPS])
    centre(session.model, _batches(session, drawn))
    checkpoint.write_weights(session.output, session.model, session.described)
    (session.output / checkpoint.STATE).unlink(missing_ok=True)
    return {
        "chips": len(session.train),
        "steps": session.run.step,
        "parameters": sum(parameter.numel() for parameter in session.model.parameters()),
        "broken": len(session.reader.broken),
    }


def _read_log(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / checkpoint.LOG)


def _train_rows(reader: Reader, options: Options) -> NDArray[np.int64]:
    rows = np.flatnonzero(reader.present.any(1)) if options.transductive else reader.rows_of("train")
    if len(rows) < 2 or reader.present[rows].sum(0).max() < 2:
        names = ", ".join(reader.channels)
        raise ChipError(
            f"{reader.chipset.folder}: fewer than two chips to learn from with {names}; choose a larger area"
        )
    return rows


def _validation_rows(reader: Reader, seed: int) -> NDArray[np.int64]:
    rows = reader.rows_of("validation")
    if len(rows) < 2:
        log.warning("%s: no validation chips to measure training on; retrieval stays empty", reader.chipset.folder)
        return rows[:0]
    return np.sort(np.random.default_rng(seed).permutation(rows)[:VALIDATED_CHIPS])


def _is_kept(folder: Path, record: Record, *, update: bool, overwrite: bool) -> bool:
    """Tell whether a finished model stays; make room where it does not."""
    path = folder / checkpoint.CONFIG
    found = records.read_json(path)
    if not path.exists():
        records.require_free(folder, (checkpoint.WEIGHTS, checkpoint.LOG, checkpoint.STATE))
    elif found is None and overwrite and checkpoint.is_ours(folder):  # of an older version
        checkpoint.remove(folder)
    elif not overwrite or found is None:
        checkpoint.read_config(folder)
    atomic.sweep(folder)
    standing = records.settle(
        folder,
        record,
        found,
        finished=(folder / checkpoint.WEIGHTS).exists(),
        remove=partial(checkpoint.remove, folder),
        update=update,
        overwrite=overwrite,
    )
    if standing is not Standing.KEPT:
        return False
    (folder / checkpoint.STATE).unlink(missing_ok=True)
    atomic.touch(path, folder / checkpoint.LOG, folder / checkpoint.WEIGHTS)
    log.info("%s: kept, as chips and options are the same", folder)
    return True


def _describe(
    reader: Reader, train: NDArray[np.int64], options: Options, record: Record, workers: int
) -> Generator[Progress, None, Described]:
    """Measure the bands and say what the model will be; channels that no train chip shows are left out, aloud."""
    drawn = np.sort(np.random.default_rng(options.seed).permutation(train)[:MEASURED_CHIPS])
    statistics = Statistics({}, {})
    for found in batches.measure(reader, drawn, workers):
        if isinstance(found, Statistics):
            statistics = found
        else:
            yield Progress(found, len(drawn), "chips", "measuring bands")
    shown = {
        name: [i for i, value in enumerate(means) if math.isfinite(value)] for name, means in statistics.mean.items()
    }
    for name, names in reader.channels.items():
        if len(shown[name]) < len(names):
            gone = ", ".join(channel for i, channel in enumerate(names) if i not in shown[name])
            log.warning("%s: no chip to learn from has a valid pixel in %s; the model goes without", name, gone)
    channels = _pick(reader.channels, shown)
    kept = Statistics(_pick(statistics.mean, shown), _pick(statistics.std, shown))
    if not channels:
        raise ChipError(f"{reader.chipset.folder}: the chips to learn from hold no valid pixel; make them again")
    config = PRESETS[options.preset].config(channels, reader.chipset.size)
    return Described(config, kept, options.model_dump(), record.to_json())


def _pick(values: Mapping[str, tuple[T, ...]], shown: Mapping[str, list[int]]) -> dict[str, tuple[T, ...]]:
    return {name: tuple(values[name][i] for i in kept) for name, kept in shown.items() if kept}


def _resume(output: Path, model: Model, optimiser: torch.optim.AdamW) -> Run:
    """Put back the last state, where there is one."""
    state = checkpoint.read_state(output)
    if state is None:
        return Run()
    tensors, progress = state
    training.unpack(tensors, model, optimiser)
    run = Run(**progress)
    log.info("%s: continuing after step %d, %.0f s", output, run.step, run.seconds)
    return run


def _train(session: Session, started: float, workers: int) -> Generator[Progress, None, None]:
    """Train to the end; `started` is on the monotonic clock, time before a kill taken off."""
    run, saved, measured, fresh = session.run, time.monotonic(), time.monotonic(), 0
    order = training.order(session.train, session.batch_size, session.options.seed, run.step)
    order = islice(order, None if session.steps is None else session.steps - run.step)
    with closing(batches.ahead(session.reader, session.described.statistics, order, workers)) as source:
        while session.done < 1.0 and (batch := next(source, None)) is not None:
            rate = training.learning_rate(session.options.lr, session.done)
            run.losses.append(_step(session, batch, rate))
            run.step, fresh = run.step + 1, fresh + len(batch.rows)
            run.seconds = time.monotonic() - started
            if run.step % session.row_steps == 0 or session.done >= 1.0:
                run.rows.append(_measure(session, rate, fresh / (time.monotonic() - measured)))
                run.losses, fresh, measured = [], 0, time.monotonic()
            if time.monotonic() - saved >= SAVE_SECONDS:
                _save(session)
                saved = time.monotonic()
            yield _progress(session)
    _save(session)


def _step(session: Session, batch: Batch, rate: float) -> float:
    """Train on one batch and return its loss; NaN where it holds nothing to contrast."""
    run, model = session.run, session.model
    source = training.generator(session.options.seed, run.step)
    with autocast(model.log_scale.device):
        options = session.options
        value = training.batch_loss(model, batch, options.keep_tokens, source, drop_channels=options.drop_channels)
    if value is None:
        return math.nan
    if not math.isfinite(shown := float(value.detach())):
        raise ModelError(
            f"{session.output}: the loss is {shown} at step {run.step}; train again with a lower --lr and --overwrite"
        )
    training.update(model, session.optimiser, value, rate)
    return shown


def _measure(session: Session, rate: float, speed: float) -> list[float | None]:
    """Return a row of training.csv, and raise the alarm, once, where the embeddings collapse."""
    run, model = session.run, session.model
    retrieval, ranks = _health(session)
    loss_values = [value for value in run.losses if not math.isnan(value)]
    collapsed = [name for name, rank in ranks.items() if rank < COLLAPSED]
    if collapsed and not run.alarmed and session.done >= ALARM_AFTER and len(session.validation) >= ALARM_CHIPS:
        run.alarmed = True
        log.warning(
            "%s: embeddings of %s collapse (effective rank %.1f, below %g); lower --lr or raise --batch-size",
            session.output, ", ".join(collapsed), ranks[collapsed[0]], COLLAPSED,
        )  # fmt: skip
    low, high = loss.LOG_SCALE_LIMITS
    figures = [
        run.step,
        run.step / session.steps_per_epoch,
        round(run.seconds, 3),
        sum(loss_values) / len(loss_values) if loss_values else math.nan,
        rate,
        math.exp(-min(max(float(model.log_scale.detach()), low), high)),
        speed,
        retrieval,
        ranks[FUSED],
        *(ranks[name] for name in model.config.modalities),
    ]
    return [None if math.isnan(figure) else figure for figure in figures]


@torch.no_grad()
def _health(session: Session) -> tuple[float, dict[str, float]]:
    """Return retrieval at 1 on validation chips, across modalities, and the effective rank per modality and fused.

    All are NaN where they are not due. With one modality retrieval is between two crops.
    """
    model, source, names = session.model, training.generator(session.options.seed, 0), session.model.config.modalities
    if not len(session.validation) or not session.health_is_due:
        return math.nan, dict.fromkeys((*names, FUSED), math.nan)
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    twins: list[tuple[Tensor, Tensor]] = []
    for values in _batches(session, session.validation):
        with autocast(model.log_scale.device):
            for name, some in contrasted(model, values).items():
                parts[name].append(some)
            if len(names) == 1:
                cuts = [
                    views.view(values[names[0]], model.config.patch, session.options.keep_tokens, source)
                    for _ in range(2)
                ]
                twins.append((model(names[0], cuts[0]), model(names[0], cuts[1])))
    encoded = {name: torch.cat(some) for name, some in parts.items()}
    here = {name: ~values.isnan().any(1) for name, values in encoded.items()}
    placed = {name: F.normalize(values - values.nanmean(0), dim=1) for name, values in encoded.items()}
    placed[FUSED] = fuse(placed)
    ranks = {name: loss.effective_rank(values[~values.isnan().any(1)]) for name, values in placed.items()}
    pairs = loss.cross_modal(encoded, here)
    if twins:
        one, other = (torch.cat(side)[here[names[0]]] for side in zip(*twins, strict=True))
        pairs = [(one, other)]
    return loss.retrieval_at(1, pairs), ranks


def _batches(session: Session, rows: NDArray[np.int64]) -> Generator[dict[str, Tensor], None, None]:
    """Yield the values of some chips on the model's device."""
    order = batches.blocks(rows, session.batch_size)
    with closing(batches.ahead(session.reader, session.described.statistics, order, 1)) as source:
        for batch in source:
            yield {name: pixels.to(session.model.log_scale.device) for name, pixels in batch.values.items()}


def _save(session: Session) -> None:
    """Save the state, then training.csv, so that the state holds every row that the file shows."""
    checkpoint.write_state(session.output, training.pack(session.model, session.optimiser), asdict(session.run))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"effective_rank_{name}" for name in session.model.config.modalities)])
    writer.writerows(session.run.rows)
    atomic.write_text(session.output / checkpoint.LOG, text.getvalue())


def _progress(session: Session) -> Progress:
    run, options = session.run, session.options
    note = f"loss {run.losses[-1]:.3f}" if run.losses else ""
    if run.rows:
        figures = dict(zip(COLUMNS, run.rows[-1], strict=False))
        wanted = {"loss": "loss {:.3f}", "retrieval_at_1": "retrieval {:.2f}", "chips_per_second": "{:.0f} chips/s"}
        note = ", ".join(text.format(figures[key]) for key, text in wanted.items() if figures[key] is not None)
    if options.minutes is not None:
        return Progress(min(run.seconds / 60, options.minutes), options.minutes, "minutes", note)
    assert session.steps is not None
    return Progress(run.step / session.steps_per_epoch, session.steps / session.steps_per_epoch, "epochs", note)
