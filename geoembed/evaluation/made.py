"""How an evaluation was made: when, by which version and command, from simulated areas or not, and its files."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from geoembed.version import __version__

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from inspect import Parameter

SILENT = frozenset(("progress", "update", "overwrite", "dry_run"))
"""Options that say nothing of what is found."""

COMMAS = frozenset(("sizes", "classifiers", "features"))
"""Options that take several words with commas between them; of others, each word has an option of its own."""


@dataclass(frozen=True)
class Made:
    """How an evaluation was made.

    date: such as 2026-11-25, in Universal Time.
    version: of geoembed.
    command: what to type to make it again.
    simulated: areas that `sample` simulated.
    areas: number of all areas.
    files: what else there is to read, by name: paths relative to the report.
    """

    date: str
    version: str
    command: str
    simulated: tuple[str, ...]
    areas: int
    files: dict[str, str]


def now(command: str, areas: Sequence[str], simulated: Collection[str], files: dict[str, str]) -> Made:
    """Say how an evaluation was made that ends now; simulated: names that only simulated areas have."""
    marked = tuple(area for area in areas if area in simulated)
    return Made(f"{datetime.now(UTC):%Y-%m-%d}", __version__, command, marked, len(areas), files)


def command(verb: str, parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> str:
    """Return the command line of a step's function: its arguments, and the options that are not the default."""
    words = ["geoembed", verb]
    for name, parameter in parameters.items():
        value = given[name]
        option = f"--{name.replace('_', '-')}"
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            words.append(str(value))
        elif name in SILENT or value == parameter.default or value is None:
            continue
        elif value is True:
            words.append(option)
        else:
            several = [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]
            several = [",".join(several)] if name in COMMAS and several else several
            words += [word for each in several for word in (option, each)]
    return shlex.join(words)
