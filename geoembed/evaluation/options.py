"""What an evaluation is asked for: numbers of labels, draws, classifiers and features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoembed.errors import ProbeError
from geoembed.fits.embeddings import FUSED

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = (*(str(step * 10**decade) for decade in range(1, 7) for step in (1, 2, 5)), "all")
"""Numbers of labels of the learning curves where none are asked for."""


@dataclass(frozen=True)
class Options:
    """What an evaluation is asked for, checked.

    sizes: numbers of labels of the learning curves, in order.
    full: whether learning curves end with all labels.
    n: number of labels for every question except the learning curves.
    repeats: draws of labels per number.
    classifiers: names as `fits.classifiers` has them.
    features: names as `fits.features` has them.
    seed: of the first draw of labels; the next ones count up from it.
    hold_out: scores are those of the test split, however few its labels.
    """

    sizes: tuple[int, ...]
    full: bool
    n: int
    repeats: int
    classifiers: tuple[str, ...]
    features: tuple[str, ...]
    seed: int
    hold_out: bool = False

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ProbeError(f"--repeats {self.repeats}: draw at least once")
        if self.n < 2:
            raise ProbeError(f"--n {self.n}: learn from two labels at least")

    @property
    def main(self) -> str:
        """Return the features that every question is about; all others have learning curves only."""
        return FUSED if FUSED in self.features else self.features[-1]

    def to_json(self) -> dict[str, Any]:
        """Return the options as a JSON-ready dict."""
        return {
            "n": self.n,
            "sizes": [*self.sizes, *(["all"] if self.full else [])],
            "repeats": self.repeats,
            "classifiers": list(self.classifiers),
            "features": list(self.features),
            "seed": self.seed,
            "hold_out": self.hold_out,
        }


def numbers(sizes: Sequence[str] | None) -> tuple[tuple[int, ...], bool]:
    """Return the numbers of labels that --sizes names, in order, and whether it names `all`; SIZES for None.

    Raises ProbeError for anything else.
    """
    wanted = SIZES if sizes is None else sizes
    if not wanted:
        raise ProbeError("--sizes: names none; write numbers, and all, as in --sizes 10,50,all, or leave it out")
    wrong = [size for size in wanted if size != "all" and not (str(size).isdigit() and int(size) > 1)]
    if wrong:
        raise ProbeError(f"--sizes {wrong[0]}: write numbers from 2, and all, as in --sizes 10,50,all")
    return tuple(sorted({int(size) for size in wanted if size != "all"})), "all" in wanted
