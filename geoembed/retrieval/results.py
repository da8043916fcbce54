"""Maps of similar chips: a row per chip, nearest first, in a GeoPackage with a style."""

from pathlib import Path

import geopandas
import numpy as np

from geoembed.errors import SearchError
from geoembed.fits.embeddings import Embeddings
from geoembed.ground import grid
from geoembed.outputs import geopackage, styles
from geoembed.outputs.records import Record
from geoembed.retrieval.ranking import Ranked

LAYER = "similar"


def build(file: Embeddings, ranked: Ranked) -> geopandas.GeoDataFrame:
    """Return a map of the rows of an embeddings file that were found, nearest first."""
    rows = ranked.rows
    columns = {
        "rank": np.arange(1, len(rows) + 1, dtype=np.int32),
        "similarity": ranked.similarity.round(6),
        "chip_id": file.chip_id[rows],
        "aoi": file.aoi[rows],
        "split": file.split[rows],
        "lon": file.lonlat[rows, 0].round(6),
        "lat": file.lonlat[rows, 1].round(6),
    }
    outlines = grid.cells(file.grids, file.chip_id[rows]).outlines
    return geopandas.GeoDataFrame(columns, geometry=outlines, crs="EPSG:4326")


def write(path: Path, table: geopandas.GeoDataFrame, record: Record) -> None:
    """Write the style of a map, then the map."""
    styles.write(path, styles.ramp("similarity", table["similarity"].min(), table["similarity"].max()))
    geopackage.write(path, LAYER, table, record)


def read(path: Path) -> geopandas.GeoDataFrame:
    """Read a map; raises SearchError where its rows are not those that were written."""
    return geopackage.read(path, LAYER, SearchError)


def is_finished(path: Path) -> bool:
    """Tell whether a map and its style are there and intact; an edited style is its user's own."""
    return not geopackage.faults(path, whole=True) and styles.is_settled(path)
