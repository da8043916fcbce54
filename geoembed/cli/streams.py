"""Streams: paths in from standard input, paths or JSON out, progress and messages on standard error."""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
import time
import unicodedata
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from geoembed import display, progress
from geoembed.errors import ConfigError

if TYPE_CHECKING:
    from geoembed.progress import Result, Verb

STDIN = "-"
WRITTEN = ("output", "config")
"""Options whose paths are never read from standard input."""

log = logging.getLogger(__name__)

LIBRARIES = ("rasterio", "pyogrio", "fiona", "h5py", "shapely")
"""Libraries that write to logs of their own."""


def run(reader: str, step: Verb[..., Any], options: dict[str, Any], *, quiet: bool) -> tuple[Result[Any], float]:
    """Run a step with options by name, showing its progress, and return the seconds that it took with its result.

    `-` among the inputs stands for standard input.

    reader: the name of the command.
    """
    if "config" not in inspect.signature(step).parameters:  # the step reads no settings of its own
        options.pop("config")
    options = {name: value if name in WRITTEN else _piped(value, reader) for name, value in options.items()}
    _require_plain(options)
    began = time.monotonic()
    result = progress.run(step.steps(**options), shown=not quiet)
    seconds = time.monotonic() - began
    for table in () if quiet else result.tables:
        display.show(table.title, table.rows)
    if seconds >= display.FIRST:
        log.info("took %s", display.duration(seconds))
    return result, seconds


def _require_plain(options: dict[str, Any]) -> None:
    """Raise ConfigError for a path or another text that is not UTF-8, which GDAL, HDF5 and JSON do not take.

    Nor may it hold control characters: paths are lines of text for the next program.
    """
    values = [item for value in options.values() for item in (value if isinstance(value, list) else [value])]
    for text in [str(value) for value in values if isinstance(value, str | Path)]:
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(text).decode("ascii", "backslashreplace")
            raise ConfigError(f"{shown}: this name is not UTF-8; rename it") from None
        if any(unicodedata.category(letter) == "Cc" for letter in text):
            raise ConfigError(f"{display.printable(text)}: this name holds control characters; rename it")


def _piped(value: Any, reader: str) -> Any:
    """Return an option's value with the paths on standard input for `-`: a single one, or any number in a list."""
    if isinstance(value, list):
        return [path for item in value for path in (_paths(reader) if str(item) == STDIN else [item])]
    if not isinstance(value, str | Path) or str(value) != STDIN:
        return value
    paths = _paths(reader)
    if len(paths) > 1:
        raise ConfigError(f"standard input: holds {len(paths)} paths; geoembed {reader} takes one")
    return paths[0]


def _paths(reader: str) -> list[str]:
    try:
        paths = [line.strip() for line in sys.stdin or () if line.strip()]  # None: standard input is closed
    except UnicodeDecodeError:
        raise ConfigError("standard input: holds a path that is not UTF-8; rename that file") from None
    if not paths:
        raise ConfigError(
            f"standard input: holds no path for geoembed {reader}, as the command before it failed; mend that one"
        )
    return paths


class Lines(logging.Handler):
    """Writes the library's messages to standard error, above a progress bar if there is one."""

    def emit(self, entry: logging.LogRecord) -> None:
        """Write a message as one line, which begins with its level if that is above information."""
        level = "" if entry.levelno <= logging.INFO else f"{entry.levelname.lower()}: "
        display.say(f"{level}{entry.getMessage()}")


def listen(quiet: bool, verbose: bool) -> None:
    """Show the library's messages on standard error: warnings only if `quiet`, everything if `verbose`."""
    display.stderr.cache_clear()
    logger = logging.getLogger("geoembed")
    logger.handlers = [Lines()]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    for name in LIBRARIES:  # what they say of a file, in its own words, is for those who want to hear more
        other = logging.getLogger(name)
        other.handlers, other.propagate = [Lines() if verbose else logging.NullHandler()], False
    # rasterio hides this warning of its own in-memory rasters, but not when two threads warp at once.
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    warnings.showwarning = _note


def _note(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Tell those who want to hear more of a warning of a library, which is about our code and not about their files."""
    log.debug("%s, line %d: %s: %s", filename, lineno, category.__name__, message)


def tell(result: Result[Any], seconds: float, as_json: bool) -> None:
    """Print what was written: paths, one per line, or one JSON object, which holds what people are told too."""
    if not as_json:
        for number, table in enumerate(result.answer):
            typer.echo("\n" * bool(number), nl=False)
            display.show(table.title, table.rows, display.stdout())
        # A terminal obeys what a pipe only carries.
        shown = display.printable if sys.stdout.isatty() else str
        for path in () if result.answer else result.paths:
            typer.echo(shown(str(path)))
        return
    paths = [str(path) for path in result.paths]
    where: dict[str, object] = {"path": paths[0] if paths else None}  # a dry run writes nothing
    if len(paths) > 1:
        where = {"path": str(result.paths[0].parent), "paths": paths}
    counts = {name: None if value != value else value for name, value in result.counts.items()}
    tables = {"tables": [table.to_json() for table in result.tables]} if result.tables else {}
    took = {"took_seconds": round(seconds, 1)}
    typer.echo(json.dumps({**where, "counts": counts, **result.report, **tables, **took}, allow_nan=False))
