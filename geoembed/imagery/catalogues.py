"""Where imagery of a modality comes from when no file is named: a STAC catalogue, or the seasonal data set's bucket.

Tables [modalities.NAME.stac], [modalities.NAME.seasonal] and [fetch] of geoembed.toml.
"""

from dataclasses import field
from typing import Annotated, Literal

import pydantic
from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from geoembed import names as checked

Season = Literal["djf", "mam", "jja", "son"]
Resampling = Literal["nearest", "bilinear", "cubic", "average", "mode"]

SEASONS: tuple[Season, ...] = ("djf", "mam", "jja", "son")
"""Seasons, named by the first letters of their months, as winter and summer differ between the hemispheres."""

SEASONAL_YEAR = 2020
"""The year of the seasonal Sentinel-1 data set: December 2019 to November 2020."""

Seasons = Annotated[tuple[Season, ...], Field(min_length=1)]
Year = Annotated[StrictInt, Field(ge=2015, le=2100)]

_STRICT = pydantic.ConfigDict(extra="forbid")


@pydantic.dataclasses.dataclass(frozen=True, config=_STRICT)
class Stac:
    """A catalogue of Sentinel-2 scenes of which seasonal medians are made.

    api: address of a STAC API.
    collection: in it.
    year: of the seasons; djf begins in December of the year before.
    seasons: of which channels are made.
    scenes: of a season, the clearest at a place that the median is of.
    max_cloud: percent of a scene above which it is not looked at.
    classification: the asset with the scene classification.
    mask: classes of it (see the Sentinel-2 Products Specification) whose pixels do not count.
    assets: key of the asset of each channel, in the order of the channels, which are called `<season>_<key>`.
    sign: how addresses are signed.
    resampling: of composites onto chips' pixels, as for files (see `modalities.Source`).
    """

    api: StrictStr = "https://earth-search.aws.element84.com/v1"
    collection: StrictStr = "sentinel-2-c1-l2a"
    year: Year = 2020
    seasons: Seasons = SEASONS
    scenes: Annotated[StrictInt, Field(ge=1, le=100)] = 12
    max_cloud: Annotated[StrictFloat, Field(ge=0.0, le=100.0)] = 60.0
    classification: StrictStr = "scl"
    mask: tuple[Annotated[StrictInt, Field(ge=0, le=255)], ...] = (0, 1, 3, 8, 9, 10)
    assets: Annotated[dict[checked.Channel, StrictStr], Field(min_length=1)] = field(
        default_factory=lambda: {"red": "red", "green": "green", "blue": "blue"}
    )
    sign: Literal["", "planetary-computer"] = ""
    resampling: Resampling | None = None


@pydantic.dataclasses.dataclass(frozen=True, config=_STRICT)
class Seasonal:
    """The bucket of the global seasonal Sentinel-1 data set of 2020 (see `seasonal`).

    url: its address.
    seasons: of which channels are fetched.
    resampling: of tiles onto chips' pixels, as for files.
    """

    url: StrictStr = "https://sentinel-1-global-coherence-earthbigdata.s3.us-west-2.amazonaws.com"
    seasons: Seasons = SEASONS
    resampling: Resampling | None = None


@pydantic.dataclasses.dataclass(frozen=True, config=_STRICT)
class Fetch:
    """How imagery is fetched.

    cache: the folder that holds it.
    keep: whether files stay once the chips are cut from them.
    tries: how often a request is made before it fails.
    connections: requests in flight at most.
    hosts: that may be asked besides those of the catalogues and buckets named, and those known to hold their assets.
    worldcover: address of the bucket of ESA WorldCover.
    """

    cache: StrictStr = "cache"
    keep: StrictBool = True
    tries: Annotated[StrictInt, Field(ge=1, le=100)] = 5
    connections: Annotated[StrictInt, Field(ge=1, le=64)] = 8
    hosts: tuple[StrictStr, ...] = ()
    worldcover: StrictStr = "https://esa-worldcover.s3.eu-central-1.amazonaws.com"
