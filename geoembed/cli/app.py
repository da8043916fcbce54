"""The app, the one boundary for errors, and how a declaration of options becomes a command."""

import importlib
import inspect
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Annotated, Any, cast, get_args, get_origin

import typer
from typer.core import TyperGroup

from geoembed import display, interrupts, settings
from geoembed.cli import faults, memory
from geoembed.cli.options import Config, Json, Quiet, Verbose, place
from geoembed.errors import ConfigError, shown
from geoembed.settings import Option
from geoembed.version import __version__

log = logging.getLogger(__name__)

OPTIONS: dict[str, list[Option]] = {}
"""The options that geoembed.toml and the environment may set, by command."""

FUNCTIONS = {"import": "import_embeddings"}
"""The functions, and their modules, of commands whose names are words of Python's own."""

PANICS = "pyo3_runtime"
"""Where the errors are at home that libraries in Rust, such as safetensors, raise in place of a crash."""

NAMES = {"help_option_names": ["-h", "--help"]}


class Commands(TyperGroup):
    """The group of commands. What the library raises ends here, as one line and an exit status."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; `label check` is `label-check`, unless a file is called so."""
        joined = "-".join(args[:2])
        if len(args) > 1 and joined in self.commands and not Path(args[1]).exists():
            args = [joined, *args[2:]]
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        try:
            return super().main(*args, **kwargs)
        except BaseException as error:  # typer's own are told and end before
            if not isinstance(error, Exception) and type(error).__module__ != PANICS:
                raise
            for line in "".join(traceback.format_exception(error)).splitlines():
                log.debug("%s", shown(line))
            _say(faults.told(error))
        sys.exit(1)

    def invoke(self, context: Any) -> Any:
        """Run a command; an interrupt says what the step keeps, and ends with the status that shells give it."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt as interrupt:
            kept = getattr(interrupt, "__notes__", ["nothing half done stays; run the same command again"])
            is_terminated = isinstance(interrupt, interrupts.Terminated)
            fault = f"{'terminated' if is_terminated else 'interrupted'} {interrupt}".rstrip()
            _say(f"{fault}; {'; '.join(kept)}")
            raise typer.Exit(128 + (signal.SIGTERM if is_terminated else signal.SIGINT)) from None
        except typer.BadParameter as error:
            if not error.message:  # nothing was given where something has to be
                raise
            raise ConfigError(_of_value(error)) from None


def _of_value(error: typer.BadParameter) -> str:
    """Return the message of a value that typer refuses, as of one that a step refuses: --size x: ..."""
    text = error.message.removeprefix("Value error, ").removesuffix(".")
    text = text[:1].lower() + text[1:]
    if error.param is None or error.ctx is None:
        return text
    option = max(error.param.opts, key=len)
    values = [str(fault["input"]) for fault in getattr(error.__cause__, "errors", list)()[:1]]
    source = place(cast(typer.Context, error.ctx), error.param.name or "")
    files = {"DEFAULT_MAP": f"{error.ctx.find_root().obj}: [{error.ctx.info_name}] ", "ENVIRONMENT": "environment: "}
    return f"{files.get(source, '')}{' '.join([option, *values])}: {text}; see geoembed {error.ctx.info_name} --help"


def _say(fault: object) -> None:
    typer.echo(f"geoembed: {display.printable(str(fault))}", err=True)


app = typer.Typer(
    cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=NAMES
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"geoembed {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")]


def _load(context: typer.Context, path: Path | None) -> Path | None:
    """Take defaults from the settings file, as callback of an eager option: before all other options are read."""
    root = context.find_root()
    if context is root:
        settings.check_environment(os.environ, OPTIONS)
        path = settings.file(path)
    if path is not None:
        values = settings.read(path, OPTIONS)
        context.default_map = values if context is root else values.get((context.info_name or "").replace("-", "_"), {})
        root.obj = path
    return path


def _declared(annotation: Any, **changes: Any) -> Any:
    """Return an annotated option with changes to what typer knows of it."""
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
    """Make a command of a function that declares the options of the step of the same name (but see FUNCTIONS).

    The function's body checks what only the command line can know, and may return options whose value it changes; then
    the step is called with all options by name.
    """
    from geoembed.cli import streams

    function = declaration.__name__
    name = next((word for word, called in FUNCTIONS.items() if called == function), function)
    declared = inspect.signature(declaration, eval_str=True).parameters

    def run(context: typer.Context, **options: Any) -> None:
        before_command = context.find_root().params
        quiet, verbose = (bool(options.pop(key) or before_command[key]) for key in ("quiet", "verbose"))
        as_json, options["config"] = options.pop("json"), context.find_root().obj
        streams.listen(quiet, verbose)
        log.debug("settings: %s; %s: %s", options["config"], name, shown(str(options)))
        arguments = options | {"context": context}
        options |= declaration(**{key: arguments[key] for key in declared}) or {}
        step = _step(function)
        memory.require()
        streams.tell(*streams.run(name, step, options, quiet=quiet), as_json)

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=kind) for key, parameter in declared.items() if key != "context"]
    for key, (annotation, default) in SHARED.items():
        parameters.append(inspect.Parameter(key, kind, default=default, annotation=annotation))
    parameters = [_settable(name, parameter) for parameter in parameters]
    parameters.insert(0, inspect.Parameter("context", kind, annotation=typer.Context))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    prefix = f"{settings.PREFIX}_{name}".upper()
    app.command(
        name.replace("_", "-"),
        help=inspect.getdoc(declaration),
        context_settings={**NAMES, "auto_envvar_prefix": prefix},
    )(run)
    return declaration


def _step(name: str) -> Any:
    return getattr(importlib.import_module(f"geoembed.steps.{name}"), name)


def _settable(command: str, parameter: inspect.Parameter) -> inspect.Parameter:
    """Note an option as one that file and environment may set; its variable is left out of the help."""
    kind, info = get_args(parameter.annotation)
    if not isinstance(info, typer.models.OptionInfo):
        return parameter
    long = next(word for word in (info.default, *(info.param_decls or ())) if str(word).startswith("--"))
    key = str(long).split("/")[0].removeprefix("--").replace("-", "_")
    is_path = any(part is Path for part in (kind, *get_args(kind)))
    of_metavar = {"NAME=PATH": "located", "LON,LAT|ID|PATH": "either"}
    value_kind = of_metavar.get(str(info.metavar)) or ("path" if is_path else "plain")
    option = Option(key, parameter.name, value_kind, get_origin(kind) is list)
    OPTIONS.setdefault(command, []).append(option)
    # typer's own prefix makes the variable of the parameter's name, which for --class is another word.
    variable = None if key == parameter.name else option.variable(command)
    return parameter.replace(annotation=_declared(parameter.annotation, show_envvar=False, envvar=variable))
