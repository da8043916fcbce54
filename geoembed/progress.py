"""Steps: the progress that they yield, the results that they return, and how they are run.

A step is a generator that yields `Progress` and returns a `Result`; `verb` makes a plain function of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, cast

from geoembed import display
from geoembed.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")

MOST_SEED = 2**64 - 1
MOST_NUMBER = 2**31 - 1
"""The largest whole number of any other option, but for cells, of which more are confirmed by their number."""

RATED = ("chips", "fits")
"""Units whose number a second tells a person something."""


@dataclass(frozen=True)
class Progress:
    """How far a step is.

    done, total: in `unit`; a fraction where `done` is a float.
    unit: a plural, such as chips.
    note: a few words that change, such as the loss; several are parted by commas, the most important first.
    """

    done: float
    total: float
    unit: str
    note: str = ""

    @property
    def count(self) -> str:
        """Return in words how far the step is, as in 120 of 1,500 chips, or 1.0 of 2 minutes."""
        done = f"{self.done:,.1f}" if isinstance(self.done, float) else f"{self.done:,}"
        total = f"{self.total:,.1f}".removesuffix(".0")
        return f"{done} of {total} {self.unit}"


@dataclass(frozen=True)
class Table:
    """A table for people.

    title: what it shows.
    rows: of text, the head first.
    """

    title: str
    rows: Sequence[Sequence[str]]

    def to_json(self) -> dict[str, Any]:
        """Return title and rows, a row as a dict by the head."""
        head, *rows = self.rows
        return {"title": self.title, "rows": [dict(zip(head, row, strict=True)) for row in rows]}


@dataclass(frozen=True)
class Result(Generic[T]):
    """What a step wrote and counted.

    paths: of what was written, as the user spelled them.
    counts: of what was made, kept and left out.
    tables: for people.
    report: what else there is to tell, JSON-ready, by name.
    read: returns what was made.
    answer: tables that were asked for, of a step that tells instead of writing: they stand in place of the paths.
    """

    paths: tuple[Path, ...]
    counts: dict[str, int | float] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    read: Callable[[], T] | None = field(default=None, repr=False)
    answer: tuple[Table, ...] = ()

    @property
    def path(self) -> Path:
        """Return the path of what was written, the first of several."""
        return self.paths[0]

    @cached_property
    def made(self) -> T:
        """Return what was made; it is read from its file when first used."""
        if self.read is None:
            raise ValueError("nothing was made")
        return self.read()


Steps: TypeAlias = Generator[Progress, None, Result[T]]


class Verb(Protocol[P, T]):
    """A step as a function: calling it does all the work; its attribute `steps` is the generator."""

    steps: Callable[P, Steps[T]]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Result[T]:
        """Do the work."""


def verb(steps: Callable[P, Steps[T]]) -> Verb[P, T]:
    """Make a function of a step; its parameter `progress` decides whether a bar is shown on standard error.

    Its parameter `seed`, where it has one, is a whole number of 64 bits, and other whole numbers have 31 of them;
    ConfigError is raised for any other.
    """

    @wraps(steps)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Steps[T]:
        _require_seed(kwargs.get("seed", 0))
        _require_numbers(kwargs)
        return steps(*args, **kwargs)

    @wraps(steps)
    def do(*args: P.args, **kwargs: P.kwargs) -> Result[T]:
        return run(checked(*args, **kwargs), shown=bool(kwargs.get("progress")))

    function = cast(Verb[P, T], do)
    function.steps = checked
    return function


def _require_seed(seed: object) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MOST_SEED:
        raise ConfigError(f"--seed: give a whole number from 0 to {MOST_SEED}")


def _require_numbers(options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if isinstance(value, int) and value > MOST_NUMBER and name not in ("seed", "cells"):
            raise ConfigError(f"--{name.replace('_', '-')}: give a whole number up to {MOST_NUMBER}")


def run(steps: Steps[T], *, shown: bool = False) -> Result[T]:
    """Run a step to its end; `shown`: with its progress on standard error.

    An interrupt reaches the step where it stands, so that it can keep what it has, and says how far the step was.
    """
    results: list[Result[T]] = []
    reached: list[str] = []

    def returning() -> Iterator[Progress]:
        results.append((yield from steps))

    def counted() -> Iterator[Progress]:
        for step in returning():
            reached[:] = [step.count]
            yield step

    try:
        for _ in display.watched(_words(counted())) if shown else counted():
            pass
    except KeyboardInterrupt as interrupt:
        interrupt.args = tuple(f"at {count}" for count in reached)
        steps.throw(interrupt)
        raise
    return results[0]


def _words(steps: Iterator[Progress]) -> Iterator[tuple[float, float, list[str]]]:
    """Yield what is done, what there is to do, and what to say: the count, the time left, the note, the speed."""
    count, began, first = ("", 0.0), 0.0, 0.0
    for step in steps:
        if (step.unit, step.total) != count:  # another count begins
            count, began, first = (step.unit, step.total), time.monotonic(), step.done
        seconds, done = time.monotonic() - began, step.done - first
        words = [step.count, *filter(None, step.note.split(", "))]
        if done > 0 and seconds > 0.5:
            left = seconds * (step.total - step.done) / done
            words[1:1] = [f"{display.duration(left)} left"] if left >= 0.5 else []
            words += [f"{done / seconds:.3g} {step.unit}/s"] if step.unit in RATED else []
        yield step.done, step.total, words
