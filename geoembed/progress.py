"""What a step tells while it works and when it is done.

A step is a generator: it yields `Progress` and returns an `Outcome`. Whoever runs it decides what to show.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True)
class Progress:
    """How far a step is: `done` of `total` in `unit`, and a few words that change, such as the loss."""

    done: float
    total: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a step wrote (as the user spelled it), what it counted, and a table for people, if it has one."""

    paths: tuple[Path, ...]
    counts: dict[str, int | float] = field(default_factory=dict)
    table: str = ""


Steps: TypeAlias = Generator[Progress, None, Outcome]


def finish(steps: Steps) -> Outcome:
    """Run a step to its end, showing nothing."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
