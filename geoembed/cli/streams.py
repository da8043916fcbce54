"""What flows: paths in from arguments or standard input, paths or JSON out, progress and messages on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from geoembed.errors import ConfigError
from geoembed.progress import Outcome, Progress, Steps

if TYPE_CHECKING:
    from rich.console import Console

STDIN = "-"
PLAIN_EVERY = 15.0
"""Seconds between lines of progress where standard error is no terminal."""


def all_texts(texts: list[str]) -> tuple[str, ...]:
    """Return paths or addresses as given, with `-` replaced by those on standard input, one per line."""
    found: list[str] = []
    for text in texts:
        if text != STDIN:
            found.append(text)
            continue
        lines = [line.strip() for line in sys.stdin if line.strip()]
        if not lines:
            raise ConfigError("standard input: holds no path; the command before this one has failed")
        found += lines
    return tuple(found)


def all_paths(paths: list[Path]) -> tuple[Path, ...]:
    """Return paths as `all_texts` does."""
    return tuple(map(Path, all_texts(list(map(str, paths)))))


def one_path(path: Path) -> Path:
    """Return a path as given, or the one on standard input for `-`."""
    paths = all_paths([path])
    if len(paths) > 1:
        raise ConfigError(f"standard input: holds {len(paths)} paths; this command takes one")
    return paths[0]


def watch(steps: Steps, quiet: bool) -> Outcome:
    """Run a step, showing how far it is on standard error."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = _console()
    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[unit]}"), TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    shown = not quiet and console.is_terminal
    with Bar(*columns, console=console, disable=not shown, transient=True) as bar:
        task = bar.add_task("", total=None, unit="", speed="", note="")
        began, first, said, counted = time.monotonic(), 0.0, time.monotonic(), ("", 0.0)
        for progress in (iterate := _Returning(steps)):
            if (progress.unit, progress.total) != counted:  # another count begins
                began, first = time.monotonic(), progress.done
                counted = (progress.unit, progress.total)
            speed = _speed(progress, first, time.monotonic() - began)
            bar.update(
                task, completed=progress.done, total=progress.total, unit=progress.unit, speed=speed, note=progress.note
            )
            if not (shown or quiet) and time.monotonic() - said > PLAIN_EVERY:
                said = time.monotonic()
                console.print(f"{progress.done:g}/{progress.total:g} {progress.unit} {speed} {progress.note}".rstrip())
    if iterate.outcome.table and not quiet:
        typer.echo(iterate.outcome.table, err=True)
    return iterate.outcome


class _Returning:
    """Iterates over a step and keeps what it returns."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.outcome = Outcome(())

    def __iter__(self) -> Steps:
        self.outcome = yield from self._steps
        return self.outcome


def _speed(progress: Progress, first: float, seconds: float) -> str:
    done = progress.done - first
    return f"{done / seconds:.3g} {progress.unit}/s" if done > 0 and seconds > 0.5 else ""


@cache
def _console() -> Console:
    """Return the one way to standard error, on which a progress bar makes room for messages."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


class Lines(logging.Handler):
    """Writes the library's messages to standard error, above a progress bar if there is one."""

    def emit(self, entry: logging.LogRecord) -> None:
        """Write one line; what is worse than information begins with its level."""
        level = "" if entry.levelno <= logging.INFO else f"{entry.levelname.lower()}: "
        _console().print(f"{level}{entry.getMessage()}", markup=False, highlight=False)


def listen(quiet: bool, verbose: bool) -> None:
    """Say what the library says: warnings only when `quiet`, everything when `verbose`."""
    _console.cache_clear()
    logger = logging.getLogger("geoembed")
    logger.handlers = [Lines()]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    # rasterio hides this warning of its own in-memory rasters, but not when two threads warp at once.
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")


def tell(outcome: Outcome, as_json: bool) -> None:
    """Print what was written: paths, one per line, or one JSON object."""
    if not as_json:
        for path in outcome.paths:
            typer.echo(path)
        return
    paths = [str(path) for path in outcome.paths]
    where: dict[str, object] = {"path": paths[0] if paths else None}  # a dry run writes nothing
    if len(paths) > 1:
        where = {"path": str(outcome.paths[0].parent), "paths": paths}
    counts = {name: None if value != value else value for name, value in outcome.counts.items()}
    typer.echo(json.dumps({**where, "counts": counts}, allow_nan=False))


def globs(texts: list[str]) -> dict[str, tuple[str, ...]] | None:
    """Return the globs per modality of options such as s2=jja_*,son_*; None where nothing was said."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, patterns = text.partition("=")
        if not (name and equals and patterns):
            raise ConfigError(f"--channels {text}: say which modality it is, such as s2={text}")
        found[name] = (*found.get(name, ()), *(one for one in patterns.replace(",", " ").split()))
    return found or None
