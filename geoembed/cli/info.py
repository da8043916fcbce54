"""geoembed info."""

from typing import Annotated

import typer

from geoembed.cli.app import command

Told = Annotated[
    list[str],
    typer.Argument(
        metavar="[PATH]...",
        help="Files, folders, globs of rasters; - reads them from stdin [default: this folder].",
        show_default=False,
    ),
]
Verify = Annotated[bool, typer.Option("--verify", help="Read everything, to find what is damaged.")]


@command
def info(paths: Told = [], verify: Verify = False) -> None:  # noqa: B006 (typer copies it)
    """Tell what files and folders hold, and if they are intact.

    Tells of whatever geoembed reads or writes, and of a folder which steps are done and what to run next.

    Example: geoembed info chips embeddings.h5 --verify
    """
