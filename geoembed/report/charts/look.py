"""What lines and dots look like, so that the same name looks the same in every chart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

from geoembed.outputs.colours import BLUE, GREEN, GREY, ORANGE, PINK, SKY, VERMILION

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Look:
    """How a name is drawn; each part alone tells names apart, so that print in grey does, too.

    colour: as #rrggbb.
    dash: of lines, as matplotlib has it.
    marker: of points, as matplotlib has it.
    """

    colour: str
    dash: Any
    marker: str


_FIXED = {
    "fused": Look(BLUE, "-", "o"),
    "embeddings": Look(BLUE, "-", "o"),
    "concat": Look(VERMILION, (0, (4, 1.5)), "s"),
    "statistics": Look(ORANGE, (0, (5, 1.5)), "s"),
    "mosaiks": Look(GREEN, (0, (1.5, 1.2)), "^"),
    "untrained": Look(GREY, (0, (6, 1.5, 1.5, 1.5)), "D"),
}
_FREE = (
    Look(GREEN, (0, (5, 2)), "^"),
    Look(ORANGE, (0, (2, 1.5)), "D"),
    Look(PINK, (0, (6, 1.5, 1.5, 1.5)), "v"),
    Look(SKY, (0, (1, 1)), "P"),
    Look("#333333", (0, (8, 2)), "X"),
)


def looks(names: Iterable[str], *, first: bool = False) -> dict[str, Look]:
    """Give each name a look of its own, known names always the same; with `first` blue is free for the first."""
    free = cycle((Look(BLUE, "-", "o"), *_FREE) if first else _FREE)
    return {name: _FIXED[name] if name in _FIXED and not first else next(free) for name in dict.fromkeys(names)}
