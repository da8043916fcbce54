"""Credits: what the archives ask those to say who use their data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Credit:
    """The terms of an archive.

    name: of the archive.
    licence: its SPDX name, such as CC-BY-4.0.
    text: how the data are to be cited, as the archive asks.
    url: where the terms stand.
    """

    name: str
    licence: str
    text: str
    url: str


SEASONAL = Credit(
    name="Global Seasonal Sentinel-1 Interferometric Coherence and Backscatter",
    licence="CC-BY-4.0",
    text="Earth Big Data LLC and ASF; Kellndorfer et al. 2022, doi:10.1038/s41597-022-01189-6; "
    "contains modified Copernicus Sentinel data 2019-2020",
    url="https://registry.opendata.aws/ebd-sentinel-1-global-coherence-backscatter/",
)

WORLDCOVER = Credit(
    name="ESA WorldCover 10 m 2021 v200",
    licence="CC-BY-4.0",
    text="(c) ESA WorldCover project / contains modified Copernicus Sentinel data (2021) processed by ESA WorldCover "
    "consortium; Zanaga et al. 2022, doi:10.5281/zenodo.7254221",
    url="https://esa-worldcover.org/en/data-access",
)
