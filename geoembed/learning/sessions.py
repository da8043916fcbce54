"""Sessions: a training from its first step, or from its last saved state, to its end."""

import logging
import math
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoembed.chips import batches
from geoembed.chips.batches import Batch, Reader
from geoembed.errors import ModelError
from geoembed.learning import checkpoint, health, loss, training
from geoembed.learning.checkpoint import Description, Run
from geoembed.learning.model import FUSED, Model, autocast, centre
from geoembed.learning.presets import Options
from geoembed.outputs import atomic

log = logging.getLogger(__name__)

COLUMNS = (
    "step", "epoch", "seconds", "loss", "learning_rate", "temperature", "chips_per_second", "retrieval_at_1",
    "effective_rank",
)  # fmt: skip
"""Columns of training.csv, which the effective rank of each modality follows. Retrieval and ranks are of validation
chips, and empty in most rows; see HEALTH_SHARE."""
SAVE_SECONDS = 45.0
"""Longest time between two saved states, so that a kill costs less than a minute."""
CENTRED_CHIPS = 256
"""Most train chips on which the centre of embeddings is measured."""
ROW_STEPS = 50
"""Most steps between two rows of training.csv."""
HEALTH_SHARE = 0.03
"""Largest share of the work of a training that goes into measures on validation chips."""
COLLAPSED = 2.0
"""Effective rank of validation embeddings below which they are said to collapse."""
ALARM_AFTER, ALARM_CHIPS = 0.2, 16
"""Share of the training, and number of validation chips, from which on that is said."""


@dataclass(frozen=True)
class Session:
    """What a training works with.

    folder: the model folder.
    described: what the model is.
    options: of the training.
    reader: of the chips.
    train, validation: (n,) rows of the index to learn from, and to measure on.
    model, optimiser: as the last step left them.
    run: how far the training is.
    """

    folder: Path
    described: Description
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
        """Return the number of steps in an epoch."""
        return len(self.train) // self.batch_size

    @property
    def row_steps(self) -> int:
        """Return the number of steps between two rows of training.csv."""
        return min(self.steps_per_epoch, ROW_STEPS)

    @property
    def steps(self) -> int | None:
        """Return the number of steps of the whole training, None where `minutes` sets its duration."""
        epochs = self.options.epochs
        return None if epochs is None else max(1, round(epochs * self.steps_per_epoch))

    @property
    def done(self) -> float:
        """Return the share of the training that is done, 1 or more at its end."""
        if self.steps is not None:
            return self.run.step / self.steps
        return self.run.seconds / (60 * (self.options.minutes or 1.0))

    @property
    def columns(self) -> list[str]:
        """Return the columns of training.csv."""
        return [*COLUMNS, *(f"effective_rank_{name}" for name in self.model.config.modalities)]

    @property
    def health_is_due(self) -> bool:
        """Tell whether the next row measures validation chips: the last one does, and as many as HEALTH_SHARE allows.

        A step encodes a share of its chips' patches, forward and backward, which costs three times as much as forward.
        """
        step_cost = 3 * self.batch_size * self.options.keep_tokens
        steps = math.ceil(len(self.validation) / (HEALTH_SHARE * step_cost))
        return self.done >= 1.0 or self.run.step % max(steps, self.row_steps) < self.row_steps

    def run_steps(self, started: float, workers: int) -> Generator[None]:
        """Train to the end, yielding after each step; `started` is on the monotonic clock, less the time before a kill.

        The state is saved from time to time, at the end, and where the caller closes the generator between two steps.
        Raises ModelError where the loss is not finite.
        """
        run, saved, measured, chips = self.run, time.monotonic(), time.monotonic(), 0
        order = training.order(self.train, self.batch_size, self.options.seed, run.step)
        order = islice(order, None if self.steps is None else self.steps - run.step)
        with closing(batches.ahead(self.reader, self.described.statistics, order, workers)) as source:
            while self.done < 1.0 and (batch := next(source, None)) is not None:
                rate = training.learning_rate(self.options.lr, self.done)
                run.losses.append(self._step(batch, rate))
                run.step, chips = run.step + 1, chips + len(batch.rows)
                run.seconds = time.monotonic() - started
                if run.step % self.row_steps == 0 or self.done >= 1.0:
                    run.rows.append(self._row(rate, chips / (time.monotonic() - measured)))
                    run.losses, chips, measured = [], 0, time.monotonic()
                if time.monotonic() - saved >= SAVE_SECONDS:
                    self._save()
                    saved = time.monotonic()
                try:
                    yield
                except GeneratorExit:
                    self._save()
                    raise
        self._save()

    def saved(self) -> str:
        """Return in words what the saved state holds."""
        state = checkpoint.read_state(self.folder)
        held = replace(self, run=state[1] if state else Run())
        return f"{self.folder} keeps the training up to step {held.run.step:,}, {100 * held.done:.0f} % of it"

    def figures(self) -> dict[str, float | None]:
        """Return the figures of the last row of training.csv, by column."""
        return dict(zip(self.columns, self.run.rows[-1], strict=True)) if self.run.rows else {}

    def finish(self) -> None:
        """Measure the centre of embeddings, write the weights, and delete the state."""
        drawn = np.random.default_rng(self.options.seed).permutation(self.train)[:CENTRED_CHIPS]
        centre(self.model, self._values(np.sort(drawn)))
        checkpoint.write_weights(self.folder, self.model, self.described)
        (self.folder / checkpoint.STATE).unlink(missing_ok=True)

    def _step(self, batch: Batch, rate: float) -> float:
        """Train on a batch and return its loss, NaN where it holds nothing to contrast."""
        options, source = self.options, training.generator(self.options.seed, self.run.step)
        with autocast(self.model.log_scale.device):
            value = training.batch_loss(
                self.model, batch, options.keep_tokens, source, drop_channels=options.drop_channels
            )
        if value is None:
            return math.nan
        if not math.isfinite(figure := float(value.detach())):
            raise ModelError(
                f"{self.folder}: the loss is {figure} at step {self.run.step}; train again with a lower --lr"
            )
        training.update(self.model, self.optimiser, value, rate)
        return figure

    def _row(self, rate: float, speed: float) -> list[float | None]:
        """Return a row of training.csv; warn, once, where the embeddings collapse."""
        run, names = self.run, self.model.config.modalities
        retrieval, ranks = math.nan, dict.fromkeys((*names, FUSED), math.nan)
        if len(self.validation) and self.health_is_due:
            source = training.generator(self.options.seed, 0)
            retrieval, ranks = health.measure(
                self.model, self._values(self.validation), self.options.keep_tokens, source
            )
        losses = [value for value in run.losses if not math.isnan(value)]
        collapsed = [name for name, rank in ranks.items() if rank < COLLAPSED]
        if collapsed and not run.alarmed and self.done >= ALARM_AFTER and len(self.validation) >= ALARM_CHIPS:
            run.alarmed = True
            log.warning(
                "%s: embeddings of %s collapse (effective rank %.1f, below %g); lower --lr or raise --batch-size",
                self.folder, ", ".join(collapsed), ranks[collapsed[0]], COLLAPSED,
            )  # fmt: skip
        low, high = loss.LOG_SCALE_LIMITS
        figures = [
            run.step,
            run.step / self.steps_per_epoch,
            round(run.seconds, 3),
            sum(losses) / len(losses) if losses else math.nan,
            rate,
            math.exp(-min(max(float(self.model.log_scale.detach()), low), high)),
            speed,
            retrieval,
            ranks[FUSED],
            *(ranks[name] for name in names),
        ]
        return [None if math.isnan(figure) else figure for figure in figures]

    def _values(self, rows: NDArray[np.int64]) -> Generator[dict[str, Tensor]]:
        """Yield the values of chips, batch by batch and by modality, on the model's device."""
        order = batches.blocks(rows, self.batch_size)
        with closing(batches.ahead(self.reader, self.described.statistics, order, 1)) as source:
            for batch in source:
                yield {name: pixels.to(self.model.log_scale.device) for name, pixels in batch.values.items()}

    def _save(self) -> None:
        """Save the state, then training.csv, so that the state holds every row of the file."""
        checkpoint.write_state(self.folder, training.pack(self.model, self.optimiser), self.run)
        table = pd.DataFrame(self.run.rows, columns=self.columns)
        atomic.write_text(self.folder / checkpoint.LOG, table.to_csv(index=False, lineterminator="\n"))


def begin(
    folder: Path,
    described: Description,
    options: Options,
    reader: Reader,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    device: torch.device,
) -> Session:
    """Return a session at its first step, or at the state that was last saved in the model folder.

    A damaged state gives way, aloud: the training then starts from its first step.
    """

    def session(run: Run) -> Session:
        model = checkpoint.build(described.model, options.seed).to(device)
        optimiser = training.optimiser(model, options.lr)
        return Session(folder, described, options, reader, train, validation, model, optimiser, run)

    try:
        state = checkpoint.read_state(folder)
        if state is None:
            return session(Run())
        tensors, run = state
        begun = session(run)
        _require_fit(folder, begun)
        training.unpack(tensors, begun.model, begun.optimiser)
    except (ModelError, RuntimeError, KeyError, ValueError) as error:
        fault = error if isinstance(error, ModelError) else f"{folder / checkpoint.STATE}: is of another training"
        log.warning("%s; the training starts from its first step", str(fault).partition("; ")[0])
        return session(Run())
    log.info("%s: continuing after step %d, %.0f s", folder, run.step, run.seconds)
    return begun


def _require_fit(folder: Path, session: Session) -> None:
    """Raise ModelError where rows of training.csv have not its columns."""
    if any(len(row) != len(session.columns) for row in session.run.rows):
        raise ModelError(f"{folder / checkpoint.STATE}: is of another training; delete it")
