"""What users set: lists of paths and words, and options from geoembed.toml and the environment.

The command line beats the environment, which beats the file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from geoembed.errors import ConfigError, nearest
from geoembed.imagery import addresses

FILE = "geoembed.toml"
PREFIX = "GEOEMBED"
"""Before the names of environment variables, such as GEOEMBED_CHIP_MIN_VALID."""

PathLike: TypeAlias = str | os.PathLike[str]
Paths: TypeAlias = PathLike | Sequence[PathLike]
Words: TypeAlias = str | Sequence[str]


def paths(given: Paths) -> tuple[Path, ...]:
    """Return one path or several as a tuple."""
    return (Path(given),) if isinstance(given, str | os.PathLike) else tuple(map(Path, given))


def texts(given: Paths) -> tuple[str, ...]:
    """Return one address or several as a tuple of texts: a URL loses a slash where it is made a path."""
    return (str(given),) if isinstance(given, str | os.PathLike) else tuple(map(str, given))


def words(given: Words | None) -> tuple[str, ...] | None:
    """Return the words of a list such as "s1,coh", or those given one by one; None where nothing was said."""
    if given is None:
        return None
    return tuple(given.replace(",", " ").split()) if isinstance(given, str) else tuple(given)


def globs(given: Mapping[str, Words] | Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return names or globs per modality, also of texts such as s2=jja_*,son_*."""
    if isinstance(given, Mapping):
        return {name: words(patterns) or () for name, patterns in given.items()}
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, equals, patterns = text.partition("=")
        if not (name and equals and patterns):
            raise ConfigError(f"--channels {text}: say which modality it is, such as s2={text}")
        found[name] = (*found.get(name, ()), *(words(patterns) or ()))
    return found


def file(given: PathLike | None) -> Path | None:
    """Return the settings file: the one named, else geoembed.toml where it exists."""
    if given is not None:
        return Path(given)
    return Path(FILE) if Path(FILE).exists() else None


@dataclass(frozen=True)
class Option:
    """An option of a command that file and environment may set.

    key: its key in the file, the long name with underscores.
    parameter: the name of the function's parameter.
    kind: "path" (relative ones are relative to the file), "located" (NAME=PATH, likewise) or "plain".
    repeatable: whether it takes a list.
    """

    key: str
    parameter: str
    kind: str = "plain"
    repeatable: bool = False

    def variable(self, command: str) -> str:
        """Return the name of its environment variable, such as GEOEMBED_CHIP_MIN_VALID."""
        return f"{PREFIX}_{command}_{self.key}".upper()


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; raises ConfigError where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; mend --config") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}); mend it") from None


def read(path: Path, commands: Mapping[str, Iterable[Option]]) -> dict[str, dict[str, Any]]:
    """Return the options that a file sets, per command, by parameter name, with paths relative to the file.

    Raises ConfigError where the file cannot be read, or a table or key is unknown (naming the nearest known one).
    """
    set_by_file = {}
    for name, table in read_toml(path).items():
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
        return [_placed(path, option, item) for item in (value if isinstance(value, list) else [value])]
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
    known = [f"{PREFIX}_CONFIG"]
    for command, options in commands.items():
        known += [option.variable(command) for option in options]
    for name in environment:
        if name.startswith(f"{PREFIX}_") and name not in known:
            raise ConfigError(f"environment: {name} sets no option{nearest(name, known, 'unset it')}")
