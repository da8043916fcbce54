"""What flows: paths in from arguments or standard input, paths or JSON out, progress and messages on standard error."""

from __future__ import annotations

import inspect
import json
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from geoembed import progress
from geoembed.errors import ConfigError

if TYPE_CHECKING:
    from geoembed.progress import Result, Verb

STDIN = Path("-")


def all_paths(paths: list[Path]) -> tuple[Path, ...]:
    """Return paths as given, with `-` replaced by those on standard input, one per line."""
    found: list[Path] = []
    for path in paths:
        if path != STDIN:
            found.append(path)
            continue
        lines = [Path(line.strip()) for line in sys.stdin if line.strip()]
        if not lines:
            raise ConfigError("standard input: holds no path; the command before this one has failed")
        found += lines
    return tuple(found)


def one_path(path: Path) -> Path:
    """Return a path as given, or the one on standard input for `-`."""
    paths = all_paths([path])
    if len(paths) > 1:
        raise ConfigError(f"standard input: holds {len(paths)} paths; this command takes one")
    return paths[0]


def run(step: Verb[..., Any], options: dict[str, Any], *, quiet: bool) -> Result[Any]:
    """Run a step with options by name, `-` among inputs replaced by standard input, showing how far it is."""
    for name, value in options.items():
        if name not in ("output", "config"):
            if value == STDIN:
                options[name] = one_path(value)
            elif isinstance(value, list) and STDIN in value:
                options[name] = all_paths(value)
    result = progress.run(step.steps(**_accepted(step, options)), shown=not quiet)
    if result.table and not quiet:
        typer.echo(result.table, err=True)
    return result


def _accepted(step: Verb[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without the settings file where the step reads none."""
    reads_config = "config" in inspect.signature(step).parameters
    return {name: value for name, value in options.items() if name != "config" or reads_config}


class Lines(logging.Handler):
    """Writes the library's messages to standard error, above a progress bar if there is one."""

    def emit(self, entry: logging.LogRecord) -> None:
        """Write one line; what is worse than information begins with its level."""
        level = "" if entry.levelno <= logging.INFO else f"{entry.levelname.lower()}: "
        progress.stderr().print(f"{level}{entry.getMessage()}", markup=False, highlight=False)


def listen(quiet: bool, verbose: bool) -> None:
    """Say what the library says: warnings only when `quiet`, everything when `verbose`."""
    progress.stderr.cache_clear()
    logger = logging.getLogger("geoembed")
    logger.handlers = [Lines()]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    # rasterio hides this warning of its own in-memory rasters, but not when two threads warp at once.
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")


def tell(result: Result[Any], as_json: bool) -> None:
    """Print what was written: paths, one per line, or one JSON object."""
    if not as_json:
        for path in result.paths:
            typer.echo(path)
        return
    paths = [str(path) for path in result.paths]
    where: dict[str, object] = {"path": paths[0] if paths else None}  # a dry run writes nothing
    if len(paths) > 1:
        where = {"path": str(result.paths[0].parent), "paths": paths}
    counts = {name: None if value != value else value for name, value in result.counts.items()}
    typer.echo(json.dumps({**where, "counts": counts}, allow_nan=False))
