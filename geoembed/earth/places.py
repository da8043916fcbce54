"""Where the five areas lie, and the climate, relief and land use that each is given.

They lie in the open Atlantic near the equator, so that nobody takes them for a real place, and within eighteen degrees
of longitude, so that one land-cover raster holds all five. Their climates are those of other latitudes on purpose:
what the sun and the crops do there is set below and not by the latitude.
"""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[float, float, float]
FourSeasons = tuple[float, float, float, float]

SEASONS = ("djf", "mam", "jja", "son")
BANDS = ("red", "green", "blue")


@dataclass(frozen=True)
class Place:
    """One area. Shares are of the land, 0-1; lengths in metres; four numbers are winter, spring, summer, autumn."""

    name: str
    longitude: float
    latitude: float
    tilt: float  # fall of the plain over the whole area
    uplift: float  # height that mountains gain above it
    mountains: float  # share of the area that rises
    river: float  # width of the main river
    meander: float  # largest angle of its bends, radians
    turbidity: float  # 0 clear, 1 brown
    lake: float  # share of the area under the reservoir
    drawdown: FourSeasons  # how far the reservoir's level lies below full
    towns: int
    town: float
    farms: float  # share of the ground that is farmed
    parcel: float  # typical field's width
    crops: tuple[float, float, float, float, float]  # winter cereal, summer crop, rice, fallow, greenhouse
    pivots: float  # share of the farmed blocks watered by a centre pivot
    forest: float  # of what is neither farm nor town
    conifers: float
    shrub: float
    grass: float  # the rest is bare
    sand: float  # share of the bare, level ground
    hedges: float
    soil: RGB
    rock: RGB
    wet: FourSeasons  # soil moisture, 0-1
    green: FourSeasons  # green share of the grass, 0-1
    sun: FourSeasons  # elevation at the overpass, degrees
    haze: float
    cloud: FourSeasons  # share of the pixels without any clear date
    wind: FourSeasons  # roughness of the water, 0 calm, 1 rough
    weeds: float  # share of still water that plants cover in summer
    tiles: float  # share of the roofs that are red
    adobe: float  # how far roofs have the colour of the ground
    snow: float  # share of the ground, the highest, under winter snow

    @property
    def south(self) -> bool:
        """Whether the seasons are reversed."""
        return self.latitude < 0

    def phase(self, season: int) -> int:
        """Return 0 winter, 1 spring, 2 summer, 3 autumn for a season of `SEASONS`."""
        return (season + 2) % 4 if self.south else season


PLACES = (
    Place(
        name="sim-prairie", longitude=-24.42, latitude=4.1,
        tilt=60, uplift=70, mountains=0.5, river=200, meander=1.45, turbidity=0.7,
        lake=0.095, drawdown=(2.0, 0.0, 1.5, 4.5), towns=6, town=0.16,
        farms=0.55, parcel=330, crops=(0.42, 0.45, 0.0, 0.13, 0.0), pivots=0.12,
        forest=0.42, conifers=0.15, shrub=0.14, grass=0.74, sand=0.3, hedges=0.25,
        soil=(0.150, 0.115, 0.085), rock=(0.25, 0.22, 0.18),
        wet=(0.6, 0.7, 0.35, 0.4), green=(0.15, 0.75, 0.6, 0.3), sun=(24, 50, 62, 36), haze=0.008,
        cloud=(0.06, 0.03, 0.02, 0.03), wind=(0.9, 1.0, 0.1, 0.6), weeds=0.2, tiles=0.2, adobe=0.15, snow=0.0,
    ),
    Place(
        name="sim-doab", longitude=-20.63, latitude=2.7,
        tilt=30, uplift=25, mountains=0.35, river=240, meander=1.25, turbidity=1.0,
        lake=0.07, drawdown=(1.0, 3.5, 0.5, 0.0), towns=16, town=0.22,
        farms=0.62, parcel=110, crops=(0.4, 0.15, 0.28, 0.13, 0.04), pivots=0.0,
        forest=0.4, conifers=0.0, shrub=0.3, grass=0.45, sand=0.3, hedges=0.3,
        soil=(0.215, 0.170, 0.125), rock=(0.27, 0.24, 0.20),
        wet=(0.35, 0.2, 0.85, 0.55), green=(0.35, 0.15, 0.8, 0.65), sun=(40, 62, 66, 48), haze=0.022,
        cloud=(0.02, 0.01, 0.11, 0.02), wind=(0.1, 0.6, 1.0, 0.3), weeds=0.35, tiles=0.3, adobe=0.6, snow=0.0,
    ),
    Place(
        name="sim-sierra", longitude=-14.37, latitude=3.6,
        tilt=120, uplift=330, mountains=0.75, river=90, meander=0.9, turbidity=0.25,
        lake=0.105, drawdown=(12.0, 6.0, 0.0, 8.0), towns=7, town=0.21,
        farms=0.5, parcel=140, crops=(0.5, 0.28, 0.0, 0.2, 0.02), pivots=0.0,
        forest=0.48, conifers=0.75, shrub=0.22, grass=0.46, sand=0.12, hedges=0.35,
        soil=(0.185, 0.140, 0.100), rock=(0.23, 0.215, 0.195),
        wet=(0.6, 0.6, 0.4, 0.5), green=(0.15, 0.65, 0.7, 0.35), sun=(22, 46, 58, 33), haze=0.006,
        cloud=(0.08, 0.05, 0.03, 0.04), wind=(0.9, 0.2, 0.1, 0.8), weeds=0.12, tiles=0.6, adobe=0.2, snow=0.3,
    ),
    Place(
        name="sim-pampa", longitude=-9.32, latitude=-4.4,
        tilt=50, uplift=45, mountains=0.5, river=180, meander=1.6, turbidity=0.55,
        lake=0.105, drawdown=(0.3, 0.0, 3.0, 1.2), towns=7, town=0.155,
        farms=0.45, parcel=240, crops=(0.28, 0.5, 0.05, 0.15, 0.02), pivots=0.04,
        forest=0.3, conifers=0.1, shrub=0.2, grass=0.7, sand=0.35, hedges=0.15,
        soil=(0.190, 0.120, 0.080), rock=(0.26, 0.21, 0.17),
        wet=(0.65, 0.6, 0.45, 0.5), green=(0.4, 0.75, 0.5, 0.5), sun=(30, 52, 64, 42), haze=0.010,
        cloud=(0.04, 0.04, 0.05, 0.03), wind=(1.0, 0.3, 0.2, 0.9), weeds=0.32, tiles=0.5, adobe=0.35, snow=0.0,
    ),
    Place(
        name="sim-wadi", longitude=-5.61, latitude=-2.8,
        tilt=120, uplift=190, mountains=0.5, river=110, meander=1.1, turbidity=0.5,
        lake=0.105, drawdown=(0.0, 1.0, 9.0, 5.0), towns=8, town=0.165,
        farms=0.33, parcel=120, crops=(0.4, 0.25, 0.0, 0.25, 0.1), pivots=0.45,
        forest=0.06, conifers=0.0, shrub=0.17, grass=0.17, sand=0.5, hedges=0.08,
        soil=(0.290, 0.220, 0.155), rock=(0.27, 0.215, 0.165),
        wet=(0.3, 0.2, 0.05, 0.1), green=(0.45, 0.4, 0.05, 0.05), sun=(38, 58, 66, 46), haze=0.014,
        cloud=(0.03, 0.02, 0.01, 0.01), wind=(0.2, 0.8, 1.0, 0.5), weeds=0.15, tiles=0.12, adobe=0.75, snow=0.0,
    ),
)  # fmt: skip
