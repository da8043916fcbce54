"""Steps: the progress that they yield, the results that they return, and how they are run.

A step is a generator that yields `Progress` and returns a `Result`; `verb` makes a plain function of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, cast

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")
T = TypeVar("T")

PLAIN_EVERY = 15.0
"""Seconds between two lines of progress where standard error is not a terminal."""


@dataclass(frozen=True)
class Progress:
    """How far a step is.

    done, total: in `unit`.
    unit: a plural, such as chips.
    note: a few words that change, such as the loss.
    """

    done: float
    total: float
    unit: str
    note: str = ""


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
    """

    paths: tuple[Path, ...]
    counts: dict[str, int | float] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    read: Callable[[], T] | None = field(default=None, repr=False)

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
    """Make a function of a step; its parameter `progress` decides whether a bar is shown on standard error."""

    @wraps(steps)
    def do(*args: P.args, **kwargs: P.kwargs) -> Result[T]:
        return run(steps(*args, **kwargs), shown=bool(kwargs.get("progress")))

    function = cast(Verb[P, T], do)
    function.steps = steps
    return function


def run(steps: Steps[T], *, shown: bool = False) -> Result[T]:
    """Run a step to its end; `shown`: with a bar on standard error, or with lines where that is not a terminal."""
    results: list[Result[T]] = []

    def returning() -> Iterator[Progress]:
        results.append((yield from steps))

    for _ in _watched(returning()) if shown else returning():
        pass
    return results[0]


def _watched(steps: Iterator[Progress]) -> Iterator[None]:
    """Show the progress of a step."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = stderr()
    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[unit]}"), TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None, unit="", speed="", note="")
        began, first, printed, count = time.monotonic(), 0.0, time.monotonic(), ("", 0.0)
        for step in steps:
            if (step.unit, step.total) != count:  # another count begins
                began, first, count = time.monotonic(), step.done, (step.unit, step.total)
            speed = _speed(step, first, time.monotonic() - began)
            bar.update(task, completed=step.done, total=step.total, unit=step.unit, speed=speed, note=step.note)
            if not console.is_terminal and time.monotonic() - printed > PLAIN_EVERY:
                printed = time.monotonic()
                console.print(f"{step.done:g}/{step.total:g} {step.unit} {speed} {step.note}".rstrip())
            yield


def _speed(progress: Progress, first: float, seconds: float) -> str:
    done = progress.done - first
    return f"{done / seconds:.3g} {progress.unit}/s" if done > 0 and seconds > 0.5 else ""


@cache
def stderr() -> Console:
    """Return the console of standard error, on which a progress bar makes room for messages."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


def show(table: Table) -> None:
    """Print a table on standard error, as wide as the terminal (80 columns where there is none)."""
    from rich.table import Table as Grid

    grid = Grid(title=table.title, title_justify="left", title_style="", box=None, pad_edge=False)
    for title, *cells in zip(*table.rows, strict=True):
        numbers = all(cell[:1] in "0123456789.-" for cell in cells)
        grid.add_column(title, justify="right" if numbers else "left", overflow="fold")
    for row in table.rows[1:]:
        grid.add_row(*row)
    stderr().print(grid, highlight=False, markup=False, soft_wrap=False)
