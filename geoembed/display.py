"""What people see on standard error: progress as one line of a terminal or as lines of a log, and tables."""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

FIRST, EVERY = 10.0, 60.0
"""Seconds to the first line of progress in a log, and between two of them."""
BAR = 10
"""Columns of the bar."""
GAP = 2
"""Columns between two columns of a table."""
_JOINERS = "\u200c\u200d"


@cache
def stderr() -> Console:
    """Return the console of standard error, on which a progress bar makes room for messages."""
    return _console(stderr=True)


def stdout() -> Console:
    """Return the console of standard output."""
    return _console(stderr=False)


def _console(*, stderr: bool) -> Console:
    """Return a console as wide as the terminal; elsewhere 80 columns, or what the variable COLUMNS says."""
    from rich.console import Console

    console = Console(stderr=stderr, soft_wrap=True)
    if not console.file.isatty() and not os.environ.get("COLUMNS", "").isdigit():
        console.width = 80
    return console


def watched(steps: Iterator[tuple[float, float, Sequence[str]]]) -> Iterator[None]:
    """Show what is done, what there is to do, and words on it, the most important first.

    On a terminal they stand on one line that is drawn again and again, elsewhere on a line a minute, as in a log.
    """
    console = stderr()
    # FORCE_COLOR makes a file a terminal for rich; a line that is drawn again has no place there.
    if not console.file.isatty() or console.is_dumb_terminal:
        due = time.monotonic() + FIRST
        for _, _, words in steps:
            if time.monotonic() >= due:
                due = time.monotonic() + EVERY
                say(", ".join(words))
            yield
        return
    with _bar(console) as bar:
        task = bar.add_task("", total=None)
        for done, total, words in steps:
            text = printable(fitting(words, console.width - BAR - 2))
            bar.update(task, completed=done, total=total, description=text)
            yield


def say(text: str, console: Console | None = None) -> None:
    """Print a line on standard error (or another console), above a progress bar if there is one."""
    (console or stderr()).print(printable(text), markup=False, highlight=False)


def _bar(console: Console) -> Bar:
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    return Bar(BarColumn(BAR), TextColumn("{task.description}", markup=False), console=console, transient=True)


def fitting(words: Sequence[str], width: int) -> str:
    """Return as many of the words as fit a width, at least the first."""
    count = next((count for count in range(len(words), 1, -1) if len(", ".join(words[:count])) <= width), 1)
    return ", ".join(words[:count])


def duration(seconds: float) -> str:
    """Return a time as people say it: 5 s, 2 min 5 s, 1 h 10 min."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def printable(text: str) -> str:
    r"""Return a text on one line without letters that a terminal obeys, which a path may hold: they become as in \x1b.

    Blanks of any width stay, and the joiners that Persian and the languages of India are written with.
    """
    return "".join(letter if _is_plain(letter) else ascii(letter)[1:-1] for letter in text)


def _is_plain(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs" or letter in _JOINERS


def show(title: str, rows: Sequence[Sequence[str]], console: Console | None = None) -> None:
    """Print a table, whose first row is its head, no wider than standard error (or another console) is.

    Columns that do not fit follow in further blocks, each of which repeats the columns of text that the table begins
    with. Numbers are never cut or folded.
    """
    console = console or stderr()
    if title:
        say(title, console)
    for number, columns in enumerate(blocks(rows, console.width)):
        if number:
            say("", console)
        _print(columns, console)


Column = tuple[str, ...]


def blocks(rows: Sequence[Sequence[str]], width: int) -> list[list[Column]]:
    """Return the columns of a table, each with its head, in blocks that fit a width."""
    columns = [tuple(map(printable, column)) for column in zip(*rows, strict=True)]
    if _total(map(_natural, columns)) <= width:
        return [columns]
    keys = next((k for k, column in enumerate(columns) if _is_numeric(column)), len(columns))
    keys = max(1, min(keys, len(columns) - 1))
    room, third = width - _total(map(_natural, columns[:keys])) - GAP, width // 3
    if room < third:  # the columns of text have to be folded
        room = max(third, width - _total(map(_least, columns[:keys])) - GAP)
    parts: list[list[Column]] = [[]]
    for column in columns[keys:]:
        if parts[-1] and _total(map(_least, [*parts[-1], column])) > room:
            parts.append([])
        parts[-1].append(column)
    return [[*columns[:keys], *part] for part in parts]


def widths(columns: Sequence[Column], width: int) -> list[int | None]:
    """Return how wide to print columns: their own widths, or narrower by folding heads and text between words.

    Where that is not enough, None for columns of text, which are folded within words.
    """
    natural, least = [_natural(column) for column in columns], [_least(column) for column in columns]
    if _total(least) > width:
        return [least[i] if _is_numeric(column) else None for i, column in enumerate(columns)]
    chosen = list(natural)
    for i in sorted(range(len(columns)), key=lambda i: least[i] - natural[i]):
        chosen[i] = max(least[i], natural[i] - max(0, _total(chosen) - width))
    return [*chosen]


def _total(widths: Iterable[int]) -> int:
    """Return how wide columns of these widths are side by side."""
    return sum(width + GAP for width in widths) - GAP


def _natural(column: Column) -> int:
    return max(map(_length, column))


def _least(column: Column) -> int:
    """Return the width of a column whose head is folded between words, and its text too."""
    head, *cells = column
    words = [*head.split(), *(cells if _is_numeric(column) else " ".join(cells).split())]
    return max(map(_length, words), default=0)


def _length(text: str) -> int:
    """Return how many columns of a terminal a text takes; an ideogram takes two."""
    from rich.cells import cell_len

    return cell_len(text)


def _is_numeric(column: Column) -> bool:
    return all(cell[:1] in "0123456789.-" for cell in column[1:])


def _print(columns: Sequence[Column], console: Console) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=None, pad_edge=False)
    for column, width in zip(columns, widths(columns, console.width), strict=True):
        justify: Literal["left", "right"] = "right" if _is_numeric(column) else "left"
        grid.add_column(Text(column[0]), justify=justify, overflow="fold", width=width)
    for row in zip(*(column[1:] for column in columns), strict=True):
        grid.add_row(*map(Text, row))
    console.print(grid, soft_wrap=False)
