"""The command line: one module per command, settings from three places, and the one boundary for errors.

Translation only: options in, one call of a step, a path out. No work is done here.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable
from copy import copy
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperGroup

from geoembed import __version__, settings
from geoembed.cli.options import Config, Json, Quiet, Verbose
from geoembed.errors import GeoembedError
from geoembed.progress import Steps
from geoembed.settings import Option

log = logging.getLogger(__name__)

OPTIONS: dict[str, list[Option]] = {}
"""Per command the options that geoembed.toml and the environment may set."""


class Commands(TyperGroup):
    """The group of commands; what the library raises ends here, as one line and exit status 1."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        try:
            return super().main(*args, **kwargs)
        except GeoembedError as error:
            typer.echo(f"geoembed: {error}", err=True)
        except OSError as error:
            told = f"{error.filename}: {error.strerror}" if error.filename else str(error).splitlines()[0]
            typer.echo(f"geoembed: {told}; check that path, its permissions and the space left", err=True)
        sys.exit(1)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"geoembed {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")]


def _load(context: typer.Context, path: Path | None) -> Path | None:
    """Take defaults from the settings file; an eager option's callback, so that they are there for all others."""
    root = context.find_root()
    if context is root:
        settings.check_environment(os.environ, OPTIONS)
        default = Path(settings.FILE)
        path = path or (default if default.exists() else None)
    if path is not None:
        values = settings.read(path, OPTIONS)
        context.default_map = values if context is root else values.get(context.info_name or "", {})
        root.obj = path
    return path


def _eager(annotation: Any, variable: str) -> Any:
    """Return the --config option with the callback that loads the file."""
    kind, option = get_args(annotation)
    option = copy(option)
    option.callback, option.is_eager, option.envvar, option.show_envvar = _load, True, variable, False
    return Annotated[kind, option]


@app.callback()
def geoembed(
    config: _eager(Config, "GEOEMBED_CONFIG") = None,  # type: ignore[valid-type]
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Maps from few labels: chips, embeddings and probes for Sentinel-1 and Sentinel-2.

    Every command reads files and writes files, and prints the path of what it wrote:

    geoembed chip --aoi aoi.gpkg | geoembed embed - | geoembed probe - --labels water.gpkg --n 500
    """


def command(body: Callable[..., Steps]) -> Callable[..., Steps]:
    """Make a command of a function that turns options into a step: adds the options that every command has."""
    from geoembed.cli import streams

    name = body.__name__

    @wraps(body)
    def run(
        context: typer.Context, quiet: bool, verbose: bool, as_json: bool, config: Path | None, **options: Any
    ) -> None:
        said = context.find_root().params
        given = {"config": context.find_root().obj, "context": context}
        options |= {key: given[key] for key in inspect.signature(body).parameters if key in given}
        quiet, verbose = quiet or said["quiet"], verbose or said["verbose"]
        streams.listen(quiet, verbose)
        log.debug("settings: %s; %s: %s", context.find_root().obj, name, options)
        streams.tell(streams.watch(body(**options), quiet), as_json)

    shared = {
        "context": (typer.Context, inspect.Parameter.empty),
        "config": (_eager(Config, f"GEOEMBED_{name.upper()}_CONFIG"), None),
        "as_json": (Json, False),
        "quiet": (Quiet, False),
        "verbose": (Verbose, False),
    }
    own = [
        one
        for one in inspect.signature(body, eval_str=True).parameters.values()
        if one.name not in ("config", "context")
    ]
    own = [one.replace(annotation=_settable(name, one)) for one in own]
    OPTIONS[name].append(Option("config", "config", "path"))
    added = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for key, (annotation, default) in shared.items()
    ]
    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    run.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in [*own, *added]}
    app.command(name)(run)
    return body


def _settable(name: str, parameter: inspect.Parameter) -> Any:
    """Note an option as one that file and environment may set, and give it its variable's name."""
    found = OPTIONS.setdefault(name, [])
    kind, info = get_args(parameter.annotation)
    if not isinstance(info, typer.models.OptionInfo):
        return parameter.annotation
    declared = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str)]
    long = next(one.split("/")[0].removeprefix("--") for one in declared if one.startswith("--"))
    paths = any(part is Path for part in (kind, *get_args(kind)))
    located = info.metavar == "NAME=PATH"
    values = "located" if located else "path" if paths else "plain"
    option = Option(long.replace("-", "_"), parameter.name, values, get_origin(kind) is list)
    found.append(option)
    info = copy(info)
    info.envvar, info.show_envvar = option.variable(name), False
    return Annotated[kind, info]


from geoembed.cli import chip, embed, evaluate, label, pretrain, probe, sample  # noqa: E402 (they register themselves)

__all__ = ["app", "chip", "embed", "evaluate", "label", "pretrain", "probe", "sample"]
