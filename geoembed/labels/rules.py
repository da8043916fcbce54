"""Rules: what label files are made of, as texts such as `water=80` say."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from geoembed.errors import LabelError
from geoembed.labels import legend

CLASSES, NUMBERS = "classes", "numbers"
KINDS = (CLASSES, NUMBERS)
"""What the values of a raster are."""

WORLDCOVER = "worldcover"
"""Stands for the names of the WorldCover legend."""


@dataclass(frozen=True)
class Rule:
    """How a label file is made.

    name: of the file.
    kind: whether the raster holds classes or numbers.
    values: the raster values of the file's one class; empty for numbers, and for the likeliest of all classes.
    names: the names of all classes by value; a class without a name is called by its value.
    threshold: the share of a chip from which on its label is 1, or its label is the class that has most of it.
    above: the mean value of numbers above which a chip's label is 1; None: chips get no label.
    """

    name: str
    kind: str = CLASSES
    values: tuple[int, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    threshold: float = 0.5
    above: float | None = None

    @property
    def of_all(self) -> bool:
        """Tell whether the file's labels are of all classes."""
        return self.kind == CLASSES and not self.values

    @property
    def options(self) -> dict[str, object]:
        """Return what a label file depends on besides the name, JSON-ready."""
        if self.kind == NUMBERS:
            return {"above": self.above}
        if self.values:
            return {"threshold": self.threshold, "values": sorted(self.values)}
        names = {str(value): name for value, name in sorted(self.names.items())}
        return {"threshold": self.threshold, "kind": self.kind, "names": names}


def parse(text: str) -> Rule:
    """Return the rule of a class that a text means: `water=80`, `vegetation=10,20,30`, `cropland` (WorldCover) or `80`.

    Raises LabelError for other texts.
    """
    name, equals, numbers = text.partition("=")
    name = name.strip()
    if not equals and re.fullmatch(r"[\d\s,]+", name):
        name, numbers, equals = f"class_{'_'.join(re.findall(r'[0-9]+', name))}", name, "="
    if not equals:
        return Rule("_".join(name.split()), values=(legend.value_of(name),))
    name = stem(f"--class {text}", name)
    if not re.fullmatch(r"\s*-?\d+\s*(,\s*-?\d+\s*)*", numbers):
        raise LabelError(f"--class {text}: write NAME=NUMBER or NAME=NUMBER,NUMBER, as in vegetation=10,20,30")
    return Rule(name, values=tuple(int(number) for number in numbers.split(",")))


def of_each(texts: tuple[str, ...], threshold: float, name: str | None) -> list[Rule]:
    """Return the rules of classes, a file each; raises LabelError where two files would have one name."""
    rules = [replace(parse(text), threshold=threshold) for text in texts]
    twice = next((name for name, count in Counter(rule.name for rule in rules).items() if count > 1), None)
    if twice:
        raise LabelError(f"--class {twice}: given twice; give each class another name")
    if name and len(rules) > 1:
        raise LabelError("--name is for one class; name several as in --class water=80 --class crops=40")
    return [replace(rules[0], name=name)] if name else rules


def parse_names(text: str) -> dict[int, str]:
    """Return the names of classes by value, of a text such as `water=1,trees=2,3` or `worldcover`.

    Raises LabelError for other texts, and where a value has two names.
    """
    if text.strip().lower() == WORLDCOVER:
        return {value: name for name, value in legend.WORLDCOVER.items()}
    names: dict[int, str] = {}
    name = ""
    for part in text.split(","):
        before, equals, number = part.rpartition("=")
        name = before.strip() if equals else name
        if not name or not re.fullmatch(r"\s*-?\d+\s*", number):
            raise LabelError(f"--names {text}: write names and values as in water=1,trees=2,3; or {WORLDCOVER}")
        if int(number) in names:
            raise LabelError(f"--names {text}: {int(number)} has two names; drop one")
        names[int(number)] = name
    return names


def stem(option: str, name: str) -> str:
    """Return a name as the stem of a file's name; raises LabelError where it cannot be one."""
    if not re.fullmatch(r"[\w .+-]+", name) or name.startswith("."):
        raise LabelError(f"{option}: {name!r} cannot name a file; use letters, digits, - and _")
    return "_".join(name.split())
