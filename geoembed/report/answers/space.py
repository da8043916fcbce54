"""What the space of embeddings looks like, and whether it is healthy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from geoembed.outputs.colours import PALETTE, VERMILION
from geoembed.report import charts
from geoembed.report.answers.view import View
from geoembed.report.markup import decimal, details, figure, gallery, grid, heading, listed, paragraph, section, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoembed.evaluation.space import Health, Map, Retrieval

TWO = ("#a6a6a6", VERMILION)
AREA = "the area"
"""What maps are coloured by besides tasks, none of which can have this name."""


def looks_like(view: View) -> str:
    """Show maps of the space, coloured by tasks and areas, which training does not know, and what lies near to what."""
    maps, galleries = view.findings.maps, view.findings.neighbours
    if not maps and not galleries:
        return ""
    drawn = []
    for space_map in maps:
        figures = [_coloured(space_map, task, values, _names(view, task)) for task, values in space_map.values.items()]
        areas, numbers = np.unique(space_map.aoi, return_inverse=True)
        if len(areas) > 1:
            figures.append(_coloured(space_map, AREA, numbers.astype(np.float64), [str(name) for name in areas]))
        inside = paragraph(space_map.note, "quiet") + grid(figures)
        last = space_map is maps[-1]
        drawn.append(heading(_name(space_map)) + inside if last else details(_name(space_map), inside))
    return section(
        "What does the space look like?",
        _alike(maps[-1], view) if maps else "",
        *drawn,
        details("What lies nearest to what", "".join(map(gallery, galleries))),
    )


def _name(space_map: Map) -> str:
    return f"{space_map.method} of {space_map.features}"


def _names(view: View, task: str) -> list[str]:
    """Return the names of a task's classes, none for numbers."""
    classes = view.findings.facts.tasks.get(task, ((), 0))[0]
    return [str(name) for name in classes]


def _coloured(space_map: Map, by: str, values: NDArray[np.float64], names: Sequence[str]) -> str:
    """Draw a map coloured by a task or by area."""
    shown = [name if by == AREA else f"{by} {name}" if name.isdigit() else name for name in names]
    return figure(
        f"coloured by {by}",
        charts.scatter(
            f"{_name(space_map)}, coloured by {by}",
            space_map.xy,
            values,
            shown,
            axis=space_map.method,
            colours=TWO if len(names) == 2 and by != AREA else PALETTE,
        ),
    )


def _alike(space_map: Map, view: View) -> str:
    """Say how often a chip and the one nearest to it on the map share a class or area, and how often by chance."""
    from sklearn.neighbors import NearestNeighbors

    parts = []
    areas, numbers = np.unique(space_map.aoi, return_inverse=True)
    coloured = {task: values for task, values in space_map.values.items() if _names(view, task)}
    if len(areas) > 1:
        coloured[AREA] = numbers.astype(np.float64)
    for task, values in coloured.items():
        known = values[~np.isnan(values)]
        if len(known) < 2:
            continue
        search = NearestNeighbors(n_neighbors=1).fit(space_map.xy[~np.isnan(values)])
        nearest = search.kneighbors(return_distance=False)[:, 0]  # of each chip, never itself
        chance = float(((np.unique(known, return_counts=True)[1] / len(known)) ** 2).sum())
        share = float(np.mean(known[nearest] == known))
        parts.append(f"on {task} for {100 * share:.0f} % of chips (by chance {100 * chance:.0f} %)")
    if not parts:
        return ""
    return (
        f"On the {space_map.method} map, a chip and the chip nearest to it agree {listed(parts)}; some of these pairs"
        " are also neighbours on the ground."
    )


def healthy(view: View) -> str:
    """Answer how the vectors fill their space, and whether the modalities of a chip find each other."""
    health, retrieval = view.findings.health, view.findings.retrieval
    if not health and not retrieval:
        return ""
    fills = [
        f"{decimal(one.effective_rank, 0)} of {one.dimensions:,} in {one.features}"
        for one in health
        if not math.isnan(one.effective_rank)
    ]
    finds = [
        f"for {_percent(one.at_1)} of chips between {_pair(one)} (by chance {_percent(one.chance)})"
        for one in retrieval
        if not math.isnan(one.at_1)
    ]
    finding = f"Of the directions they have, the embeddings use {listed(fills)} (effective rank)." if fills else ""
    if finds:
        finding += f" A search for a chip by its other modality finds it first: {listed(finds)}."
    return section(
        "Is the space healthy?",
        finding.strip(),
        details("How the space is filled", _filling(health) + paragraph(_FILLS, "quiet") if health else ""),
        details(
            "Whether modalities find each other",
            _finding_each_other(retrieval) + paragraph(_FINDS, "quiet") if retrieval else "",
        ),
    )


def _filling(health: Sequence[Health]) -> str:
    rows = [
        (
            *(one.features, f"{one.n:,}", f"{one.dimensions:,}"),
            *(decimal(one.effective_rank, 1), decimal(one.uniformity, 2)),
        )
        for one in health
    ]
    return table(["features", "chips", "dimensions", "effective rank", "uniformity"], rows)


def _finding_each_other(retrieval: Sequence[Retrieval]) -> str:
    rows = [
        (
            *(_pair(one), f"{one.n:,}"),
            *map(_percent, (one.at_1, one.at_10, one.chance, min(10 * one.chance, 1))),
            *(decimal(one.alignment), decimal(one.gap)),
        )
        for one in retrieval
    ]
    asked = ["first", "among ten", "first by chance", "among ten by chance"]
    return table(["modalities", "chips", *asked, "alignment", "gap"], rows)


_FILLS = (
    "Effective rank is the number of directions that vectors use: near 1 where all lie on a line (collapse), at most"
    " the number of dimensions. Uniformity is log mean exp(\u22122 d²) over the distances d of pairs of unit vectors:"
    " 0 where all are equal, lower where they fill the sphere more evenly, down to about \u22124."
)
_FINDS = (
    "Retrieval searches for a chip of one modality among all chips of the other, in both directions, in the space that"
    " training contrasts (embeddings before their mean is subtracted); 100 % is perfect. Alignment is the mean squared"
    " distance between the two unit vectors of a chip: 0 is perfect, unrelated vectors have 2. The gap is the distance"
    " between the mean vectors of the two modalities: 0 where both share one space, 2 at most."
)


def _pair(retrieval: Retrieval) -> str:
    return f"{retrieval.first} and {retrieval.second}"


def _percent(share: float) -> str:
    if math.isnan(share):
        return ""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
