"""Towns, the roads between them, and what stands on each lot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra, minimum_spanning_tree

from geoembed.earth.noise import Field, fractal, magnify, ranks
from geoembed.earth.places import Place
from geoembed.earth.relief import COARSE, edges
from geoembed.earth.waters import Waters, distance_to, smooth_line

PIXEL = 10.0


@dataclass(frozen=True)
class Settlement:
    """Where people live."""

    to_road: Field  # metres to the nearest road
    density: Field  # of towns, 0 outside to 1 in the middle


def settle(
    place: Place, rng: np.random.Generator, coarse: NDArray[np.float64], waters: Waters, steep: Field
) -> Settlement:
    """Found towns on flat ground near water, link them by the easiest roads, and let them grow along these."""
    n, m = steep.shape[0], coarse.shape[0]
    pick = np.minimum((np.arange(m) + 0.5) * n / m, n - 1).astype(int)
    grid = np.ix_(pick, pick)
    water = ((waters.depth + waters.playa > 0) | waters.river)[grid]
    lake = (waters.depth + waters.playa > 0)[grid]
    flat = steep[grid]
    near = np.exp(-waters.to_river[grid] / 1500)
    score = near - 6 * flat + 0.5 * fractal(rng, m, 2.0, 60, 4) - 9 * water
    centres = _spread(score, place.towns, 0.55 * m / np.sqrt(place.towns))
    lines = _roads(rng, centres, 1 + (flat * 22) ** 2 + 12 * water + 250 * lake)
    to_road, _ = distance_to(lines, [np.zeros(len(line)) for line in lines], n)
    density = _density(place, rng, centres, m, n, to_road, steep, waters)
    return Settlement(to_road, density)


def _spread(score: Field, count: int, apart: float) -> NDArray[np.int64]:
    score, centres = score.copy(), []
    score[:6], score[-6:], score[:, :6], score[:, -6:] = -99, -99, -99, -99
    rows, columns = np.indices(score.shape)
    for _ in range(count):
        at = np.unravel_index(int(np.argmax(score)), score.shape)
        centres.append(at)
        score[np.hypot(rows - at[0], columns - at[1]) < apart] = -99
    return np.asarray(centres)


def _roads(
    rng: np.random.Generator, centres: NDArray[np.int64], cost: NDArray[np.floating]
) -> list[NDArray[np.float64]]:
    m = cost.shape[0]
    # A little chance in the cost keeps roads over even ground from running on the lattice's diagonals.
    cost = cost * np.exp(0.3 * fractal(rng, m, 1.5, 30, 2))
    a, b, length = edges((m, m))
    toll = cost.ravel()
    graph = scipy.sparse.coo_matrix((length * (toll[a] + toll[b]) / 2, (a, b)), shape=(m * m, m * m)).tocsr()
    rim = rng.integers(8, m - 8, 4)
    gates = np.array([[0, rim[0]], [m - 1, rim[1]], [rim[2], 0], [rim[3], m - 1]])
    ends = np.concatenate([centres, gates])
    at = ends[:, 0] * m + ends[:, 1]
    far, before = dijkstra(graph, directed=False, indices=at, return_predecessors=True)
    between = far[:, at]
    links = {tuple(sorted(pair)) for pair in np.argwhere(minimum_spanning_tree(between).toarray() > 0).tolist()}
    for town in range(len(centres)):
        links.add(tuple(sorted((town, int(np.argsort(between[town])[2])))))
    lines = []
    for start, end in sorted(links):
        path, cell = [int(at[end])], int(at[end])
        while cell != at[start]:
            cell = int(before[start, cell])
            path.append(cell)
        if len(path) > 3:
            lines.append(smooth_line(np.asarray(path), m, 2.2))
    return lines


def _density(
    place: Place, rng: np.random.Generator, centres: NDArray[np.int64], m: int, n: int,
    to_road: Field, steep: Field, waters: Waters,
) -> Field:  # fmt: skip
    rows, columns = np.indices((m, m))
    pull = np.zeros((m, m))
    for rank, (row, column) in enumerate(centres):
        radius = (1.0 + 0.5 * rng.random()) * (rank + 1.0) ** -0.3  # towns' sizes fall off with rank (Zipf)
        pull += np.exp(-np.hypot(rows - row, columns - column) * COARSE / (900 * radius)) * radius
    grown = magnify(pull, n) * np.exp(0.35 * fractal(rng, n, 2.4, 160, 6)) + 0.10 * np.exp(-to_road / 90)
    grown *= np.exp(-((steep / 0.22) ** 2))
    dry = ~(waters.river | (waters.depth + waters.playa > 0))
    dense = ranks(np.log(grown + 1e-6), dry)
    return np.asarray(np.clip((dense - (1 - place.town)) / place.town, 0, 1) * dry, np.float32)
