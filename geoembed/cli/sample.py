"""geoembed sample."""

from pathlib import Path
from typing import Annotated

import typer

from geoembed.cli.app import command
from geoembed.cli.options import Overwrite, Seed, Update

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to.")]


@command
def sample(
    directory: Folder = Path("sample"), seed: Seed = 0, update: Update = False, overwrite: Overwrite = False
) -> None:
    """Write a simulated Earth, and a Makefile that runs everything.

    Example: geoembed sample earth && make -C earth
    """
