"""Rivers that meander down the drainage, and reservoirs that fill valleys to one level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from geoembed.earth.noise import Field, fractal, magnify
from geoembed.earth.places import Place
from geoembed.earth.relief import COARSE, Drainage

Line = NDArray[np.float64]  # (points, 2): row and column, in pixels of 10 m
PIXEL = 10.0
LAKES = (0.45, 0.3, 0.25)  # shares of the lakes' area; several, so that no split lacks water
PLAYAS = (0.28, 0.22)  # shares of the same for basins that are dry for half of the year


@dataclass(frozen=True)
class Waters:
    """What is water, on the 10 m lattice."""

    river: NDArray[np.bool_]
    to_river: Field  # metres to the nearest bank, 0 on the river
    width: Field  # of the nearest river, metres
    bars: NDArray[np.bool_]  # sand and gravel inside the bends
    oxbow: NDArray[np.bool_]
    depth: Field  # of the full reservoirs, metres; 0 outside
    playa: Field  # of basins that fill in the wet season only


def chains(flow: Drainage, least: float) -> list[NDArray[np.int64]]:
    """Return the streams that drain at least `least` cells, longest water first, as flat indices going downstream."""
    wet = flow.area >= least
    feeders = np.zeros(flow.area.size)
    keep = wet & (flow.receiver != np.arange(flow.area.size))
    np.add.at(feeders, flow.receiver[keep], 1)
    heads = np.flatnonzero(wet & (feeders == 0))
    seen = np.zeros(flow.area.size, bool)
    streams = []
    # The largest flow first, so that the main river's line runs through where others join it.
    for head in heads[np.argsort(-flow.area[heads], kind="stable")]:
        line, cell = [int(head)], int(head)
        while not seen[cell] and flow.receiver[cell] != cell:
            seen[cell] = True
            cell = int(flow.receiver[cell])
            line.append(cell)
        if len(line) > 4:
            streams.append(np.asarray(line))
    return streams


def smooth_line(cells: NDArray[np.int64], columns: int, sigma: float, spacing: float = 0.6) -> Line:
    """Turn a path over coarse cells into a smooth line in pixels, its ends kept in place."""
    ratio = COARSE / PIXEL
    path = (np.stack(np.divmod(cells, columns), 1) + 0.5) * ratio
    soft = scipy.ndimage.gaussian_filter1d(path, sigma, axis=0, mode="nearest")
    blend = np.clip(np.minimum(np.arange(len(path)), np.arange(len(path))[::-1]) / (2 * sigma + 1), 0, 1)[:, None]
    soft = blend * soft + (1 - blend) * path
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(soft, axis=0).T))])
    even = np.arange(0.0, along[-1], spacing)
    return np.stack([np.interp(even, along, soft[:, k]) for k in (0, 1)], 1)


def meandering(line: Line, width: float, angle: float, rng: np.random.Generator) -> Line:
    """Bend a line into sine-generated curves (Langbein and Leopold 1966), eleven widths long, of varying angle."""
    if len(line) < 30 or angle <= 0:
        return line
    step = float(np.hypot(*np.diff(line, axis=0).T).mean())
    wavelength = 11 * width / PIXEL
    wander = scipy.ndimage.gaussian_filter1d(
        rng.standard_normal((2, len(line))), 0.9 * wavelength / step, mode="nearest"
    )
    wander /= wander.std(axis=1, keepdims=True) + 1e-9
    phase = rng.uniform(0, 2 * np.pi) + np.cumsum(2 * np.pi * step / wavelength * np.exp(0.4 * wander[0]))
    bend = np.clip(angle * (0.75 + 0.45 * wander[1]), 0.05, 1.75)  # past 2.2 a curve would cross itself
    # The curve of a bend for each angle, scaled so that a wavelength of the curve advances by one wavelength.
    angles = np.linspace(0, 2 * np.pi, 241)
    sideways, forward = np.zeros(len(line)), np.zeros(len(line))
    levels = np.linspace(0, bend.max(), 24)
    tables = []
    for level in levels:
        theta = level * np.sin(angles)
        x = np.concatenate([[0.0], np.cumsum((np.cos(theta)[1:] + np.cos(theta)[:-1]) / 2)])
        y = np.concatenate([[0.0], np.cumsum((np.sin(theta)[1:] + np.sin(theta)[:-1]) / 2)])
        y -= y.mean()
        tables.append((x / x[-1] - angles / (2 * np.pi), y / x[-1]))
    table = np.asarray(tables)  # (levels, 2, angles)
    at = (bend / levels[-1] * (len(levels) - 1), phase % (2 * np.pi) / (2 * np.pi) * 240)
    forward = scipy.ndimage.map_coordinates(table[:, 0], at, order=1, mode="nearest") * wavelength
    sideways = scipy.ndimage.map_coordinates(table[:, 1], at, order=1, mode="nearest") * wavelength
    fade = np.clip(np.minimum(np.arange(len(line)), np.arange(len(line))[::-1]) * step / (wavelength / 2), 0, 1)
    ahead = scipy.ndimage.gaussian_filter1d(np.gradient(line, axis=0), wavelength / 6 / step, axis=0, mode="nearest")
    ahead /= np.hypot(*ahead.T)[:, None] + 1e-9
    left = np.stack([-ahead[:, 1], ahead[:, 0]], 1)
    return np.asarray(line + fade[:, None] * (forward[:, None] * ahead + sideways[:, None] * left))


def distance_to(lines: list[Line], values: list[NDArray[np.float64]], n: int) -> tuple[Field, Field]:
    """Return metres to the nearest line and the line's value there; lines are filled in between their points."""
    missing = np.ones((n, n), bool)
    value = np.zeros((n, n), np.float32)
    for line, along in zip(lines, values, strict=True):
        fine = np.linspace(0, len(line) - 1, 4 * len(line))
        row, column = (np.interp(fine, np.arange(len(line)), line[:, k]) for k in (0, 1))
        r, c = np.floor(row).astype(int), np.floor(column).astype(int)
        inside = (r >= 0) & (r < n) & (c >= 0) & (c < n)
        missing[r[inside], c[inside]] = False
        value[r[inside], c[inside]] = np.interp(fine, np.arange(len(line)), along)[inside]
    if missing.all():
        return np.full((n, n), 1e6, np.float32), value
    far, nearest = scipy.ndimage.distance_transform_edt(missing, return_indices=True)
    return (far * PIXEL).astype(np.float32), value[nearest[0], nearest[1]]


def make_waters(
    place: Place, rng: np.random.Generator, coarse: NDArray[np.float64], flow: Drainage, height: Field
) -> Waters:
    """Draw the rivers, the bars and cut-off bends beside them, and fill the reservoir."""
    n = height.shape[0]
    lines, widths = [], []
    biggest = flow.area.max()
    old: list[Line] = []
    for cells in chains(flow, 0.006 * coarse.size):
        area = flow.area[cells]
        # Width grows with the square root of discharge (Leopold and Maddock 1953).
        width = place.river * np.sqrt(area / biggest)
        straight = smooth_line(cells, coarse.shape[1], 3.0)
        along = np.interp(np.linspace(0, 1, len(straight)), np.linspace(0, 1, len(cells)), width)
        typical = float(max(np.median(along), 14))
        angle = place.meander * min(1.0, 0.45 + typical / 150)
        lines.append(meandering(straight, typical, angle, rng))
        widths.append(along)
        if typical > 40:
            old.append(meandering(straight, typical * 0.9, angle * 1.1, rng))
    far, width = distance_to(lines, widths, n)
    river = far <= np.maximum(width / 2, 4.0) * (width > 12)
    bank = np.maximum(far - width / 2, 0)
    patch = fractal(rng, n, 3.0, 60, 5)
    bars = (bank < 0.35 * width) & (patch > 1.0) & (width > 30) & ~river
    past, _ = distance_to(old, [np.zeros(len(line)) for line in old], n)
    kept = fractal(rng, n, 4.0, 120, 25) > 0.9
    oxbow = (past < 0.22 * place.river) & kept & (bank > 0.5 * place.river) & (bank < 900)
    return Waters(river, bank, width, bars, oxbow, *_reservoirs(place, rng, coarse, flow, height))


def _reservoirs(
    place: Place, rng: np.random.Generator, coarse: NDArray[np.float64], flow: Drainage, height: Field
) -> tuple[Field, Field]:
    """Return depths of lakes and playas of the wanted areas, each behind the best of some dams and away from others."""
    rank = np.argsort(flow.order)
    depth, playa = np.zeros((2, *height.shape), np.float32)
    taken = np.zeros(coarse.shape, bool)
    ragged = fractal(rng, len(height), 2.4, 60, 3)
    for number, share in enumerate(LAKES + PLAYAS):
        wanted = share * place.lake * coarse.size
        apart = scipy.ndimage.distance_transform_edt(~taken) if taken.any() else np.full(coarse.shape, 1e3)
        sites = np.flatnonzero((flow.area > 1.5 * wanted) & (apart.ravel() > 0.15 * coarse.shape[0]))
        best, chosen = np.inf, None
        for site in rng.permutation(sites)[:80]:
            basin = flow.order[rank[site] : rank[site] + flow.cells[site]]
            basin = basin[apart.ravel()[basin] > 8]
            if basin.size <= wanted:
                continue
            # All of the basin drains to the dam, so that what lies below a level in it is one pool.
            level = float(np.partition(coarse.ravel()[basin], int(wanted))[int(wanted)])
            pool = np.zeros(coarse.shape, bool)
            pool.ravel()[basin[coarse.ravel()[basin] <= level]] = True
            rim = pool[[0, -1]].sum() + pool[:, [0, -1]].sum()
            # The pool should not be cut off by the area's border, and the dam should not be high.
            cost = rim + 200 * (level - coarse.ravel()[site]) / (place.uplift + place.tilt)
            if cost < best:
                best, chosen = cost, (level, pool)
        if chosen is None:
            continue
        level, pool = chosen
        taken |= pool
        reach = magnify(scipy.ndimage.binary_dilation(pool, iterations=2).astype(np.float64), len(height))
        dam = magnify(pool.astype(np.float64), len(height)) > 0.3
        below = (reach > np.clip(0.5 + 0.2 * ragged, 0.1, 0.9)) & (height < level - 0.5)
        here = np.where(dam | below, level - height, 0)
        if number >= len(LAKES):
            playa = np.maximum(playa, here * (depth == 0)).astype(np.float32)
        else:
            depth = np.maximum(depth, here).astype(np.float32)
    return depth, playa


def embanked(height: Field, waters: Waters) -> Field:
    """Return heights as seen from above: lakes and playas are level, and dams slope down from them."""
    lake = waters.depth + waters.playa
    seen = height + lake
    if not lake.any():
        return seen
    far, near = scipy.ndimage.distance_transform_edt(lake == 0, return_indices=True)
    level = seen[near[0], near[1]]
    return np.asarray(np.maximum(seen, np.where(lake > 0, seen, level - 0.3 * PIXEL * far)), np.float32)
