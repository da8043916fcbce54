"""Settings: options given as lists of paths and words, in geoembed.toml and in the environment.

An option on the command line beats the environment, which beats the file.
"""

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
"""What the names of environment variables begin with, such as GEOEMBED_CHIP_MIN_VALID."""

FETCHING = ("cache", "keep", "tries", "connections", "hosts", "worldcover")
"""Keys of [fetch] that are no options of a command; see `imagery.catalogues.Fetch`."""

PathLike: TypeAlias = str | os.PathLike[str]
Paths: TypeAlias = PathLike | Sequence[PathLike]
Words: TypeAlias = str | Sequence[str]


def paths(value: Paths) -> tuple[Path, ...]:
    """Return one path or several as a tuple."""
    return tuple(map(Path, texts(value)))


def texts(value: Paths) -> tuple[str, ...]:
    """Return one address or several as a tuple of texts; made a path, a URL would lose a slash."""
    return (str(value),) if isinstance(value, str | os.PathLike) else tuple(map(str, value))


def words(value: Words | None) -> tuple[str, ...] | None:
    """Return the words of a text such as "s1,coh", or of a sequence; None for None."""
    if value is None:
        return None
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else tuple(value)


def by_modality(option: str, values: Mapping[str, Paths] | Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return texts by modality, from a mapping or from texts such as s2=PATH; raises ConfigError for other texts."""
    if isinstance(values, Mapping):
        return {name: texts(value) for name, value in values.items()}
    texts_of: dict[str, tuple[str, ...]] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if equals and not (name and value):
            raise ConfigError(f"{option} {text}: write a modality before the = and a value behind it")
        if not equals:
            raise ConfigError(f"{option} {text}: say which modality it is, such as s2={text}")
        texts_of[name] = (*texts_of.get(name, ()), value)
    return texts_of


def globs(option: str, values: Mapping[str, Words] | Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return names or globs by modality, from a mapping or from texts such as s2=jja_*,son_*; raises ConfigError."""
    if isinstance(values, Mapping):
        return {name: words(patterns) or () for name, patterns in values.items()}
    return {name: words(",".join(patterns)) or () for name, patterns in by_modality(option, values).items()}


def file(path: PathLike | None) -> Path | None:
    """Return the path of the settings file: the given one, else geoembed.toml where it exists."""
    if path is None and not Path(FILE).exists():
        return None
    return Path(path or FILE)


@dataclass(frozen=True)
class Option:
    """An option of a command that the settings file and the environment may set.

    key: its key in the file: its long name with underscores.
    parameter: the name of the parameter of the step.
    kind: "path", "located" (NAME=PATH), or "either" (a path, or other text where there is no such file), where relative
        paths are relative to the file, or "plain".
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
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; mend --config, or GEOEMBED_CONFIG where that names it") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}); mend it") from None


def read(path: Path, commands: Mapping[str, Iterable[Option]]) -> dict[str, dict[str, Any]]:
    """Return the options that a file sets, by command and parameter; their relative paths are resolved.

    Those of chip hold for fetch too, unless its own table says otherwise.

    Raises ConfigError where the file cannot be read, or where a table or key is unknown, naming the nearest known one.
    """
    values_of = {}
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
            if name == "fetch" and key in FETCHING:  # read with the modalities
                continue
            if key not in options:
                raise ConfigError(f"{path}: [{name}] has no option {key}{nearest(key, options)}")
            values[options[key].parameter] = _value(path, name, options[key], value)
        values_of[name] = values
    if "fetch" in commands and "chip" in values_of:  # what is fetched is what is to be cut
        shared = {option.parameter for option in commands["fetch"]}
        of_chip = {key: value for key, value in values_of["chip"].items() if key in shared}
        values_of["fetch"] = of_chip | values_of.get("fetch", {})
    return values_of


def _value(path: Path, command: str, option: Option, value: Any) -> Any:
    if isinstance(value, dict):
        raise ConfigError(f"{path}: [{command}] {option.key} must be a value, not a table")
    if isinstance(value, list) and not option.repeatable:
        raise ConfigError(f"{path}: [{command}] {option.key} takes one value, not a list")
    if option.repeatable:
        return [_resolved(path, option, item) for item in (value if isinstance(value, list) else [value])]
    return _resolved(path, option, value)


def _resolved(path: Path, option: Option, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    text = str(value)
    if option.kind == "path":
        return str(path.parent / text)
    if option.kind == "either":
        return str(path.parent / text) if (path.parent / text).exists() else text
    if option.kind == "located":
        name, _, address = text.partition("=")
        return f"{name}={addresses.resolve(path.parent, address)}"
    return text


def check_environment(environment: Iterable[str], commands: Mapping[str, Iterable[Option]]) -> None:
    """Raise ConfigError for a variable whose name begins with GEOEMBED_ and that sets no option."""
    known = [f"{PREFIX}_CONFIG"]
    for command, options in commands.items():
        known += [option.variable(command) for option in options]
    for name in environment:
        if name.startswith(f"{PREFIX}_") and name not in known:
            raise ConfigError(f"environment: {name} sets no option{nearest(name, known, 'unset it')}")
