"""Relief that running water has shaped, and where that water goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import depth_first_order, minimum_spanning_tree

from geoembed.earth.noise import Field, fractal
from geoembed.earth.places import Place

COARSE = 64.0  # metres; valleys are made on this lattice, the detail between them on the 10 m one
INFLOW = 3000  # cells' worth of water that the main river brings from upstream of the area


@dataclass(frozen=True)
class Drainage:
    """Where the water of each coarse cell goes; all by flat index of the cells."""

    receiver: NDArray[np.int64]  # the cell that each flows to, the outlet to itself
    order: NDArray[np.int64]  # depth first from the outlet: the cells that drain through a cell come right after it
    area: NDArray[np.float64]  # how many cells drain through each, with the river's inflow from outside
    cells: NDArray[np.int64]  # the same without that inflow


def edges(shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return start, end and length (in cells) of the links between each cell and its eight neighbours, once each."""
    index = np.arange(shape[0] * shape[1]).reshape(shape)
    pairs = [
        (index[:, :-1], index[:, 1:], 1.0),
        (index[:-1], index[1:], 1.0),
        (index[:-1, :-1], index[1:, 1:], 2**0.5),
        (index[:-1, 1:], index[1:, :-1], 2**0.5),
    ]
    start = np.concatenate([a.ravel() for a, _, _ in pairs])
    end = np.concatenate([b.ravel() for _, b, _ in pairs])
    length = np.concatenate([np.full(a.size, d) for a, _, d in pairs])
    return start, end, length


def drain(height: NDArray[np.float64], outlet: int, inlet: int) -> Drainage:
    """Send every cell's water to the outlet over the lowest passes.

    The lowest pass between any two cells lies on the minimum spanning tree of the graph whose links weigh as much as
    their higher end (the idea of priority flood, Barnes et al. 2014, in one library call); a small
    share of the drop is subtracted, so that water prefers the steepest way down.
    """
    flat = height.ravel()
    a, b, length = edges((height.shape[0], height.shape[1]))
    high, low = np.maximum(flat[a], flat[b]), np.minimum(flat[a], flat[b])
    weight = high - 1e-3 * (high - low) / length
    weight += 1.0 - weight.min()  # a weight of zero would mean no link
    graph = scipy.sparse.coo_matrix((weight, (a, b)), shape=(flat.size, flat.size)).tocsr()
    tree = minimum_spanning_tree(graph)
    order, before = depth_first_order(tree, outlet, directed=False)
    receiver = np.asarray(before, np.int64)
    receiver[outlet] = outlet
    cells, to = [1] * flat.size, receiver.tolist()
    for cell in order[:0:-1].tolist():
        cells[to[cell]] += cells[cell]
    area, cell = np.asarray(cells, np.float64), inlet
    while cell != outlet:
        area[cell] += INFLOW
        cell = to[cell]
    area[outlet] += INFLOW
    return Drainage(receiver, np.asarray(order, np.int64), area, np.asarray(cells))


def shape_relief(place: Place, rng: np.random.Generator, cells: int) -> tuple[NDArray[np.float64], Drainage]:
    """Return heights (metres, cells x cells of 64 m) and their drainage, after uplift and river incision.

    Incision is the stream-power law dh/dt = -K A**0.5 S, solved implicitly from the outlet upward (Braun and Willett
    2013), which leaves concave valleys and sharp divides.
    """
    y, x = np.mgrid[0 : 1 : cells * 1j, 0 : 1 : cells * 1j]
    turn = rng.uniform(0, 2 * np.pi)
    plain = (x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn)  # falls toward -turn
    rough = fractal(rng, cells, 2.6, cells, 2.5).astype(np.float64)
    block = fractal(rng, cells, 3.5, cells * 1.2, 12).astype(np.float64)
    rising = 1 / (1 + np.exp(-6 * (block - np.quantile(block, 1 - place.mountains))))
    height = place.tilt * plain + 0.12 * (place.uplift + place.tilt) * rough + 0.5 * place.uplift * rising
    rim = np.zeros(height.shape, bool)
    rim[[0, -1]] = rim[:, [0, -1]] = True
    middle = np.abs(-(x - 0.5) * np.sin(turn) + (y - 0.5) * np.cos(turn)) < 0.3
    at = np.flatnonzero(rim & middle)
    outlet = int(at[np.argmin(height.ravel()[at] + 1e3 * (plain.ravel()[at] > 0))])
    inlet = int(at[np.argmin(height.ravel()[at] + 1e3 * (plain.ravel()[at] < 0.3))])
    steps = 14
    for _ in range(steps):
        height += (place.uplift / steps) * rising * (1 + 0.25 * rough)
        flow = drain(height, outlet, inlet)
        height = _incise(height, flow, 0.055)
        height = scipy.ndimage.gaussian_filter(height, 0.45, mode="nearest")
    return height, drain(height, outlet, inlet)


def _incise(height: NDArray[np.float64], flow: Drainage, strength: float) -> NDArray[np.float64]:
    # Bounded, as the main river would otherwise grind its whole valley flat.
    pull = (strength * np.minimum(flow.area, 900) ** 0.5).tolist()
    h, to = height.ravel().tolist(), flow.receiver.tolist()
    for cell in flow.order[1:].tolist():
        below = h[to[cell]]
        if h[cell] > below:
            h[cell] = (h[cell] + pull[cell] * below) / (1 + pull[cell])
    return np.asarray(h).reshape(height.shape)


def slope(height: Field, pixel: float = 10.0) -> tuple[Field, Field]:
    """Return the rise per metre toward the east and toward the north."""
    down, east = np.gradient(height, np.float32(pixel))
    return np.asarray(east, np.float32), -np.asarray(down, np.float32)
