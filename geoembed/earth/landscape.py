"""The hidden landscape: what is where, before any satellite looks at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from geoembed.earth.noise import Field, fractal, magnify, mixed, ranks, uniform
from geoembed.earth.parcels import Cells, bricks, districts, mean_of, numbered, turned
from geoembed.earth.places import Place
from geoembed.earth.relief import COARSE, shape_relief, slope
from geoembed.earth.settlement import Settlement, settle
from geoembed.earth.surfaces import CODES, Surface
from geoembed.earth.waters import Waters, embanked, make_waters

PIXEL = 10.0
ROUND = 999.0  # in place of the distance to the edge in circular fields, which have no hedges
Mask = NDArray[np.bool_]
CROPS = (Surface.CEREAL, Surface.SUMMER_CROP, Surface.RICE, Surface.FALLOW, Surface.GREENHOUSE)


@dataclass(frozen=True)
class Landscape:
    """One area's ground, all (n, n) on the 10 m lattice."""

    place: Place
    height: Field  # metres
    surface: NDArray[np.uint8]  # of `Surface`
    shift: Field  # how early (-) or late (+) a parcel's year is, in seasons
    vigour: Field  # how well a parcel or patch grows, about -1 to 1
    damp: Field  # rank of the soil's moisture, 0 on ridges to 1 in hollows
    street: Field  # direction of the streets, radians north of east
    depth: Field  # of the full reservoirs, metres
    playa: Field  # of basins that fill in the wet season, metres
    weeds: Field  # plants on the water where they grow, 0 none to 1 closed
    silt: Field  # of the water, 0 clear to 1 brown

    @property
    def worldcover(self) -> NDArray[np.uint8]:
        """The class of each pixel in the WorldCover legend."""
        return np.asarray(CODES[self.surface])

    def drowned(self, phase: int) -> Mask:
        """Whether each pixel is under water in a phase of the year (0 winter to 3 autumn)."""
        reservoir = self.depth > 0
        wettest = sorted(self.place.wet)
        brim = {wettest[3]: 0.0, wettest[2]: 0.1, wettest[1]: 0.4}.get(self.place.wet[phase], 1e3)
        full = (self.playa > brim * self.playa.max()) & (self.surface == Surface.MUD)
        lakes = np.where(reservoir, self.depth > self.place.drawdown[phase], self.surface == Surface.WATER)
        return np.asarray(lakes | full)


def build(place: Place, rng: np.random.Generator, n: int = 1088) -> Landscape:
    """Make one area of n x n pixels of 10 m (a multiple of 32), the same for the same generator state."""
    coarse, flow = shape_relief(place, rng, round(n * PIXEL / COARSE))
    height = magnify(coarse, n)
    east, north = slope(height)
    steep = np.asarray(np.hypot(east, north), np.float32)
    height += fractal(rng, n, 2.8, 64, 2.5) * (0.6 + 14 * np.minimum(steep, 0.5)).astype(np.float32)
    waters = make_waters(place, rng, coarse, flow, height)
    height = embanked(height, waters)
    towns = settle(place, rng, coarse, waters, steep)
    bend = (fractal(rng, n, 3.2, 300, 20), fractal(rng, n, 3.2, 300, 20))
    low = 1 - ranks(height - scipy.ndimage.gaussian_filter(height, 60, mode="nearest"))

    surface = _wild(place, rng, height, steep, low, waters)
    fields = _farmland(place, rng, n, bend)
    number, ids = numbered(fields.ids)
    farmed = _farm(place, rng, surface, number, ids, fields, steep, low, waters, towns)
    street = _build_up(place, rng, surface, bend, towns, farmed)
    _farmsteads(rng, surface, towns, farmed)
    silt, weeds = _water(place, rng, surface, waters)
    vary = uniform(ids, 21)[number]
    patch = 0.5 * fractal(rng, n, 2.2, 90, 3)
    return Landscape(
        place=place, height=height, surface=surface,
        shift=np.where(farmed, uniform(ids, 22)[number] - 0.5, 0.15 * bend[0]).astype(np.float32),
        vigour=np.where(farmed, 2 * vary - 1 + 0.35 * patch, patch).astype(np.float32),
        damp=low, street=street, depth=waters.depth, playa=waters.playa, weeds=weeds, silt=silt,
    )  # fmt: skip


def _wild(
    place: Place, rng: np.random.Generator, height: Field, steep: Field, low: Field, waters: Waters
) -> NDArray[np.uint8]:
    """Cover the ground as if nobody lived there: with forest, shrub, grass and marsh, or leave it bare."""
    n = height.shape[0]
    high = ranks(height)
    broad, fine = fractal(rng, n, 2.5, 500, 3), fractal(rng, n, 1.2, 30, 2)
    woody = ranks(broad + 1.6 * np.minimum(steep, 0.5) / 0.25 + 0.35 * fine - 3.0 * np.maximum(high - 0.93, 0) / 0.07)
    rest = ranks(fractal(rng, n, 2.6, 400, 3) + 0.3 * fine - 2.2 * np.minimum(steep, 0.6) / 0.3 + 0.8 * low)
    surface = np.full((n, n), Surface.SOIL, np.uint8)
    bare = 1 - place.shrub - place.grass
    surface[rest > bare] = Surface.SHRUB
    surface[rest > bare + place.shrub * 0.9] = Surface.GRASS
    stony = (surface == Surface.SOIL) & (0.16 * fine + steep * 3 + 0.25 * broad > 0.2)
    surface[stony] = Surface.ROCK
    level = surface == Surface.SOIL
    dunes = ranks(fractal(rng, n, 3.0, 400, 20) + 0.1 * fine, level)
    surface[level & (dunes > 1 - place.sand)] = Surface.SAND
    forest = woody > 1 - place.forest
    cold = ranks(high + 0.25 * fractal(rng, n, 2.2, 200, 5), forest)
    surface[forest] = np.where(cold > 1 - place.conifers, Surface.CONIFER, Surface.BROADLEAF)[forest]
    lone = (fine > 2.1) & (surface == Surface.GRASS)
    surface[lone] = Surface.BROADLEAF
    surface[forest & (fine < -2.2)] = Surface.GRASS
    patch = fractal(rng, n, 2.4, 60, 3)
    surface[(waters.to_river < 45) & (patch > -0.2)] = Surface.BROADLEAF
    surface[(waters.to_river < 1.2 * waters.width + 40) & (patch > 1.2) & (waters.width > 25)] = Surface.MARSH
    return surface


def _farmland(place: Place, rng: np.random.Generator, n: int, bend: tuple[Field, Field]) -> Cells:
    """Cut the whole area into fields, as if all of it were farmed."""
    count = int(np.clip((n * PIXEL / (place.parcel * 6)) ** 2, 25, 160))
    group = districts(rng, n, count, bend, 12)
    angle = rng.uniform(0, np.pi / 2, count) * (rng.random(count) < 0.75) + 0.1
    width = place.parcel * np.exp(0.35 * rng.standard_normal(count))
    length = width * rng.uniform(1.0, 2.8, count)
    reach = 2.0 if place.parcel > 200 else 4.0
    along, across = turned(n, angle.astype(np.float32)[group], bend, reach)
    fields = bricks(group, along, across, width.astype(np.float32)[group], length.astype(np.float32)[group])
    if place.pivots:
        fields = _pivots(place, group, n, fields)
    return fields


def _pivots(place: Place, group: NDArray[np.int64], n: int, fields: Cells) -> Cells:
    """Lay circles of centre-pivot irrigation, 260 to 400 m in radius, over some of the farmland."""
    rows, columns = np.indices((n, n), dtype=np.float32)
    pitch = 82.0
    r, c = np.floor(rows / pitch), np.floor(columns / pitch)
    cell = mixed(r.astype(np.int64), c.astype(np.int64), 77)
    radius = 26 + 14 * uniform(cell, 7)
    far = np.hypot(rows - (r + 0.5) * pitch, columns - (c + 0.5) * pitch)
    inside = (far < radius) & (uniform(cell, 8) < place.pivots)
    ids = np.where(inside, cell, fields.ids)
    return Cells(ids, np.where(inside, ROUND, fields.edge).astype(np.float32))


def _farm(
    place: Place, rng: np.random.Generator, surface: NDArray[np.uint8], number: NDArray[np.int64],
    ids: NDArray[np.uint64], fields: Cells, steep: Field, low: Field, waters: Waters, towns: Settlement,
) -> Mask:  # fmt: skip
    """Make the best parcels fields with crops, with hedges and lanes on their edges; return the farmed pixels."""
    n = surface.shape[0]
    fertile = 0.8 * fractal(rng, n, 3.0, 500, 20) - 7 * steep + 0.8 * low + 1.2 * np.exp(-waters.to_river / 700)
    fertile += 0.7 * np.exp(-towns.to_road / 400)
    dry = ~(waters.river | waters.oxbow) & (waters.depth + waters.playa == 0)
    worth = mean_of(fertile - 20 * (waters.depth + waters.playa > 0), number) + 0.25 * (uniform(ids, 11) - 0.5)
    land = worth[number]
    farm = land > np.quantile(land[dry], 1 - place.farms)
    farm &= dry & (waters.to_river > 15)
    use, draw = np.full(ids.size, Surface.FALLOW, np.uint8), uniform(ids, 12)
    edges = np.cumsum(place.crops)
    for crop, until in zip(CROPS[::-1], edges[::-1], strict=True):
        use[draw < until] = crop
    use[np.bincount(number[fields.edge == ROUND], minlength=ids.size) > 0] = Surface.SUMMER_CROP
    uncropped = uniform(ids, 13)
    use[uncropped < 0.20] = Surface.PASTURE
    use[uncropped < 0.05] = Surface.BROADLEAF
    use[uncropped < 0.025] = Surface.ORCHARD
    surface[farm] = use[number][farm]
    border = farm & (fields.edge < 6.5)
    hedge = fractal(rng, n, 1.6, 40, 2)
    surface[border] = np.where(hedge > 0.6, Surface.SHRUB, Surface.GRASS)[border]
    surface[border & (hedge > 1.3 - 3 * place.hedges)] = Surface.BROADLEAF
    surface[border & (uniform(mixed(number // 3), 5) < 0.12) & (hedge < 0.6)] = Surface.SOIL
    return np.asarray(farm & ~border)


def _build_up(
    place: Place, rng: np.random.Generator, surface: NDArray[np.uint8], bend: tuple[Field, Field],
    towns: Settlement, farmed: Mask,
) -> Field:  # fmt: skip
    """Lay out streets, blocks and lots where the towns are, and the roads between; return the streets' directions."""
    n = surface.shape[0]
    count = 150
    quarter = districts(rng, n, count, bend, 6)
    angle = np.where(rng.random(count) < 0.4, rng.uniform(0, np.pi / 2), rng.uniform(0, np.pi / 2, count))
    street = angle.astype(np.float32)[quarter]
    along, across = turned(n, street, bend, 1.5)
    width = rng.uniform(55, 100, count).astype(np.float32)[quarter]
    length = rng.uniform(80, 170, count).astype(np.float32)[quarter]
    block = bricks(quarter, along, across, width, length)
    density = towns.density
    drawn = uniform(block.ids, 31)
    taken = (density > 0) & (drawn < 0.25 + 6 * density)
    lot = mixed(block.ids.view(np.int64), np.floor(along / 18).astype(np.int64), np.floor(across / 26).astype(np.int64))
    crowded = uniform(mixed(quarter), 38)
    house = uniform(lot, 32) < 0.22 + 0.3 * crowded + 0.38 * density
    kind, tone = uniform(block.ids, 33), 0.65 * uniform(block.ids, 37) + 0.35 * uniform(lot, 34)
    roofs = np.where(tone < place.tiles, Surface.TILES, np.where(tone < 0.84, Surface.DARK_ROOF, Surface.BRIGHT_ROOF))
    yard = np.where(uniform(lot, 35) < 0.3 + 0.4 * density, Surface.PAVED, Surface.GARDEN)
    yard = np.where(uniform(lot, 36) < 0.12 + 0.4 * place.forest, Surface.BROADLEAF, yard)
    built = np.where(house, roofs, yard)
    shed = (kind < 0.07) & (block.edge > 12)
    built = np.where(shed, np.where(drawn < 0.5, Surface.BRIGHT_ROOF, Surface.DARK_ROOF), built)
    built = np.where((kind < 0.07) & ~shed, Surface.PAVED, built)
    park = (kind > 0.93) & (fractal(rng, n, 1.6, 30, 2) > 0)
    built = np.where(kind > 0.93, np.where(park, Surface.BROADLEAF, Surface.GARDEN), built)
    built = np.where((block.edge < 5.5) & (kind < 0.93), Surface.PAVED, built)
    surface[taken] = built[taken].astype(np.uint8)
    surface[towns.to_road < 7] = Surface.PAVED
    farmed &= ~taken & (towns.to_road >= 7)
    return street


def _farmsteads(rng: np.random.Generator, surface: NDArray[np.uint8], towns: Settlement, farmed: Mask) -> None:
    """Put lone farms, a few roofs and trees each, into the fields near roads."""
    spots = np.argwhere(farmed[4:-4:9, 4:-4:9] & (towns.to_road[4:-4:9, 4:-4:9] < 900)) * 9 + 4
    for row, column in rng.permutation(spots)[:130]:
        for _ in range(int(rng.integers(2, 7))):
            r, c = row + int(rng.integers(-4, 4)), column + int(rng.integers(-4, 4))
            kind = rng.choice([Surface.TILES, Surface.DARK_ROOF, Surface.BROADLEAF, Surface.BRIGHT_ROOF])
            surface[max(r, 0) : r + int(rng.integers(1, 4)), max(c, 0) : c + int(rng.integers(1, 4))] = kind
            farmed[max(r, 0) : r + 3, max(c, 0) : c + 3] = False


def _water(place: Place, rng: np.random.Generator, surface: NDArray[np.uint8], waters: Waters) -> tuple[Field, Field]:
    """Draw the permanent water, except under bridges; return how silty it is and how much floating plants cover."""
    n = surface.shape[0]
    surface[waters.bars & (surface != Surface.PAVED)] = Surface.SAND
    surface[waters.oxbow] = Surface.WATER
    bridge = surface == Surface.PAVED
    surface[waters.river & ~bridge] = Surface.WATER
    surface[(waters.playa > 0) & ~bridge] = Surface.MUD
    usual = float(np.mean(place.drawdown))
    surface[(waters.depth > 0) & (waters.depth <= usual)] = Surface.SOIL
    surface[(waters.depth > usual) & ~bridge] = Surface.WATER
    swirl = fractal(rng, n, 3.6, 500, 16)
    lake = 0.6 * place.turbidity + 0.10 * swirl - 0.3 * np.tanh(waters.depth / 9) + 0.1
    silt = np.where(waters.depth > 0, lake, place.turbidity + 0.07 * swirl)
    silt = np.where(waters.oxbow, 0.25 + 0.15 * swirl, np.where(surface == Surface.MUD, 0.8 + 0.05 * swirl, silt))
    mats = fractal(rng, n, 2.6, 160, 4) - 0.2 * waters.depth / (1 + place.tilt / 60)
    still = (surface == Surface.WATER) & ((waters.depth > 0) | waters.oxbow)
    reeds = still & (ranks(mats + 0.25 * fractal(rng, n, 2.0, 60, 3), still) > 1 - 0.4 * place.weeds)
    surface[reeds] = Surface.MARSH
    still &= ~reeds
    weeds = still * np.clip((ranks(mats, still) - 1 + place.weeds) / 0.08, 0, 1)
    return np.clip(silt, 0, 1).astype(np.float32), weeds.astype(np.float32)
