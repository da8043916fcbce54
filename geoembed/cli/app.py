"""The app, the one boundary for errors, and what makes a command of a declaration of options."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperGroup

from geoembed import settings
from geoembed.cli.options import Config, Json, Quiet, Verbose
from geoembed.errors import GeoembedError
from geoembed.settings import Option
from geoembed.version import __version__

log = logging.getLogger(__name__)

OPTIONS: dict[str, list[Option]] = {}
"""Per command the options that geoembed.toml and the environment may set."""


NAMES = {"help_option_names": ["-h", "--help"]}


class Commands(TyperGroup):
    """The group of commands; what the library raises ends here, as one line and exit status 1."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        try:
            return super().main(*args, **kwargs)
        except GeoembedError as error:
            typer.echo(f"geoembed: {error}", err=True)
        except OSError as error:
            fault = f"{error.filename}: {error.strerror}" if error.filename else str(error).splitlines()[0]
            typer.echo(f"geoembed: {fault}; check that path, its permissions and the space left", err=True)
        sys.exit(1)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=NAMES,
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
        path = settings.file(path)
    if path is not None:
        values = settings.read(path, OPTIONS)
        context.default_map = values if context is root else values.get(context.info_name or "", {})
        root.obj = path
    return path


def _declared(annotation: Any, **changes: Any) -> Any:
    """Return an annotated option with some of its typer settings changed."""
    kind, info = get_args(annotation)
    info = copy(info)
    vars(info).update(changes)
    return Annotated[kind, info]


LoadedConfig = _declared(Config, callback=_load, is_eager=True, show_envvar=False)
RootConfig = _declared(LoadedConfig, envvar=f"{settings.PREFIX}_CONFIG")


@app.callback()
def geoembed(
    config: RootConfig = None,  # type: ignore[valid-type]
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Maps from few labels: chips, embeddings and probes for Sentinel-1 and Sentinel-2.

    Every command reads files and writes files, and prints the path of what it wrote:

    geoembed chip --aoi aoi.gpkg | geoembed embed - | geoembed probe - --labels water.gpkg --n 500
    """


SHARED = {"config": (LoadedConfig, None), "json": (Json, False), "quiet": (Quiet, False), "verbose": (Verbose, False)}
"""Options that every command has, with their defaults."""

Checks = Callable[..., Mapping[str, Any] | None]


def command(declaration: Checks) -> Checks:
    """Make a command of a function that declares the options of the step of the same name.

    The function's body checks what only the command line can know, and may return options that take another value;
    then the step gets them all by name.
    """
    from geoembed.cli import streams

    name = declaration.__name__
    declared = inspect.signature(declaration, eval_str=True).parameters

    def run(context: typer.Context, **options: Any) -> None:
        said = context.find_root().params
        quiet, verbose = (bool(options.pop(key) or said[key]) for key in ("quiet", "verbose"))
        as_json, options["config"] = options.pop("json"), context.find_root().obj
        streams.listen(quiet, verbose)
        log.debug("settings: %s; %s: %s", options["config"], name, options)
        given = options | ({"context": context} if "context" in declared else {})
        options |= declaration(**{key: given[key] for key in declared}) or {}
        streams.tell(streams.run(_step(name), options, quiet=quiet), as_json)

    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for key, parameter in declared.items():
        if key not in ("context", *SHARED):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    for key, (annotation, default) in SHARED.items():
        parameters.append(
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    parameters[1:] = [_settable(name, parameter) for parameter in parameters[1:]]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    prefix = f"{settings.PREFIX}_{name}".upper()
    app.command(name, help=inspect.getdoc(declaration), context_settings={**NAMES, "auto_envvar_prefix": prefix})(run)
    return declaration


def _step(name: str) -> Any:
    return getattr(importlib.import_module(f"geoembed.steps.{name}"), name)


def _settable(command: str, parameter: inspect.Parameter) -> inspect.Parameter:
    """Note an option as one that file and environment may set, and keep its variable out of the help."""
    kind, info = get_args(parameter.annotation)
    if not isinstance(info, typer.models.OptionInfo):
        return parameter
    long = next(word for word in (info.default, *(info.param_decls or ())) if str(word).startswith("--"))
    key = str(long).split("/")[0].removeprefix("--").replace("-", "_")
    is_path = any(part is Path for part in (kind, *get_args(kind)))
    values = "located" if info.metavar == "NAME=PATH" else "path" if is_path else "plain"
    option = Option(key, parameter.name, values, get_origin(kind) is list)
    OPTIONS.setdefault(command, []).append(option)
    # typer's own prefix makes the variable of the parameter's name, which for --class is another word.
    variable = None if key == parameter.name else option.variable(command)
    return parameter.replace(annotation=_declared(parameter.annotation, show_envvar=False, envvar=variable))
