"""Options from geoembed.toml and the environment; the command line beats the environment, which beats the file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoembed.errors import ConfigError, nearest
from geoembed.imagery import addresses

FILE = "geoembed.toml"
PREFIX = "GEOEMBED_"


@dataclass(frozen=True)
class Option:
    """An option of a command: its key in the file (the long name with underscores) and what its values are.

    kind: "path" (relative ones are relative to the file), "located" (NAME=PATH, likewise) or "plain".
    """

    key: str
    parameter: str
    kind: str = "plain"
    repeatable: bool = False

    def variable(self, command: str) -> str:
        """Return the name of its environment variable, such as GEOEMBED_CHIP_MIN_VALID."""
        return f"{PREFIX}{command}_{self.key}".upper()


def read(path: Path, commands: Mapping[str, Iterable[Option]]) -> dict[str, dict[str, Any]]:
    """Return the options that a file sets, per command, by parameter name, with paths relative to the file.

    Raises ConfigError where the file cannot be read, or a table or key is unknown (naming the nearest known one).
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; mend --config") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}); mend it") from None
    set_by_file = {}
    for name, table in tables.items():
        if name == "modalities":
            continue
        if name not in commands:
            raise ConfigError(f"{path}: unknown table [{name}]{nearest(name, [*commands, 'modalities'])}")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name} must be a table; write [{name}]")
        options = {option.key: option for option in commands[name]}
        values = {}
        for key, value in table.items():
            if key not in options:
                raise ConfigError(f"{path}: [{name}] has no option {key}{nearest(key, options)}")
            values[options[key].parameter] = _value(path, name, options[key], value)
        set_by_file[name] = values
    return set_by_file


def _value(path: Path, command: str, option: Option, value: Any) -> Any:
    if isinstance(value, dict):
        raise ConfigError(f"{path}: [{command}] {option.key} must be a value, not a table")
    if isinstance(value, list) and not option.repeatable:
        raise ConfigError(f"{path}: [{command}] {option.key} takes one value, not a list")
    if option.repeatable:
        return [_placed(path, option, one) for one in (value if isinstance(value, list) else [value])]
    return _placed(path, option, value)


def _placed(path: Path, option: Option, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    text = str(value)
    if option.kind == "path":
        return str(path.parent / text)
    if option.kind == "located":
        name, _, located = text.partition("=")
        return f"{name}={addresses.beside(path.parent, located)}"
    return text


def check_environment(environment: Iterable[str], commands: Mapping[str, Iterable[Option]]) -> None:
    """Raise ConfigError for a variable that begins like ours and sets no option."""
    known = [f"{PREFIX}CONFIG"]
    for command, options in commands.items():
        known += [option.variable(command) for option in options]
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(f"environment: {name} sets no option{nearest(name, known, 'unset it')}")
