"""geoembed sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli import command
from geoembed.cli.options import Overwrite, Seed
from geoembed.progress import Steps

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to.")]


@command
def sample(directory: Folder = Path("sample"), seed: Seed = 0, overwrite: Overwrite = False) -> Steps:
    """Write a small simulated Earth with everything that the other commands need, and a Makefile that runs them all.

    Example: geoembed sample earth && make -C earth
    """
    from geoembed.steps.sample import simulate

    return simulate(directory, seed=seed, overwrite=overwrite)
