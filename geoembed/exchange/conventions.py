"""Metadata of the geo-embeddings conventions: the STAC extension `emb`, the Zarr convention `geoemb`.

Both are proposals of 2026, and may change.

Sources: github.com/geo-embeddings/embeddings-stac-specification (extension v0.0.1) and
github.com/geo-embeddings/embeddings-zarr-convention (v1), with the Zarr conventions `proj` and `spatial` (v1 both).
"""

from typing import Any
from urllib.parse import quote

from geoembed.fits.embeddings import FUSED, Embeddings
from geoembed.ground import crs as crs_
from geoembed.ground.grid import Grid
from geoembed.version import __version__

STAC_EXTENSION = "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"

GEOEMB = {
    "schema_url": "https://raw.githubusercontent.com/geo-embeddings/embeddings-zarr-convention/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/geo-embeddings/embeddings-zarr-convention/blob/v1/README.md",
    "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    "name": "geoemb:",
    "description": "Geoembeddings convention for geospatial embedding arrays with model provenance",
}
SPATIAL = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "name": "spatial",
    "description": "Spatial coordinate information",
}
PROJ = {
    "schema_url": "https://raw.githubusercontent.com/zarr-experimental/geo-proj/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-experimental/geo-proj/blob/v1/README.md",
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj:",
    "description": "Coordinate reference system information for geospatial data",
}

MOST_NAMED = 100
"""Grids that are named one by one."""


def stac_collection(file: Embeddings, dtype: str) -> dict[str, Any]:
    """Return a STAC collection (1.0.0) with the fields of the extension, JSON-ready.

    Which model and imagery there were is told by URNs, as neither has an address that is known; so is no licence, for
    which STAC has the word proprietary, and no time.
    """
    west, south = file.bounds[:, :2].min(axis=0).tolist()
    east, north = file.bounds[:, 2:].max(axis=0).tolist()
    if (file.bounds[:, 0] > file.bounds[:, 2]).any():
        west, east = -180.0, 180.0
    links = [{"rel": "emb:model", "href": model(file)}]
    links += [{"rel": "emb:source-data", "href": address, "title": address} for address in sources(file)]
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "stac_extensions": [STAC_EXTENSION],
        "id": f"geoembed-{file.digest[:16]}",
        "description": f"Embeddings of {len(file)} chips, by geoembed {__version__}",
        "license": "proprietary",
        "extent": {
            "spatial": {"bbox": [[west, south, east, north]]},
            "temporal": {"interval": [[None, None]]},
        },
        "emb:type": "chip",
        "emb:dimensions": file.widths[FUSED],
        "data_type": dtype,
        "gsd": resolution(file.grids),
        "emb:chip_layout": _layout(file.grids, irregular="variable_grid"),
        "links": links,
    }


def zarr_root(file: Embeddings, dtype: str) -> dict[str, Any]:
    """Return the attributes of the root group of a Zarr store, JSON-ready."""
    return {
        "zarr_conventions": [GEOEMB],
        "geoemb:type": "chip",
        "geoemb:dimensions": file.widths[FUSED],
        "geoemb:model": model(file),
        "geoemb:source_data": sources(file),
        "geoemb:data_type": dtype,
        "geoemb:gsd": resolution(file.grids),
        "geoemb:chip_layout": _layout(file.grids, irregular="irregular"),
        "geoemb:build_version": __version__,
    }


def zarr_grid(grid: Grid, shape: tuple[int, int], corner: tuple[float, float]) -> dict[str, Any]:
    """Return the attributes of the group of a grid: its CRS, and where its cells lie, a cell being a pixel.

    shape: rows and columns of cells.
    corner: x and y of the upper left corner, in the grid's CRS.
    """
    name = crs_.name(grid.crs)
    is_code = ":" in name and len(name) < 40
    (height, width), (left, top) = shape, corner
    return {
        "zarr_conventions": [PROJ, SPATIAL],
        **({"proj:code": name} if is_code else {"proj:wkt2": name}),
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [height, width],
        "spatial:transform": [grid.width, 0.0, left, 0.0, -grid.height, top],
        "spatial:bbox": [left, top - height * grid.height, left + width * grid.width, top],
        "spatial:registration": "pixel",
    }


def model(file: Embeddings) -> str:
    """Return a URN of the model that made embeddings."""
    return f"urn:geoembed:model:{quote(str(file.attributes.get('model_sha256') or 'unknown'), safe='')}"


def sources(file: Embeddings) -> list[str]:
    """Return a URN for each modality of imagery."""
    return [f"urn:geoembed:modality:{quote(name, safe='')}" for name in file.modalities]


def resolution(grids: tuple[Grid, ...]) -> float:
    """Return the side of the finest pixel in metres."""
    return min(grid.side_metres / grid.size for grid in grids)


def _layout(grids: tuple[Grid, ...], *, irregular: str) -> dict[str, Any]:
    """Return how chips are laid out; `irregular` is the word for chips of several sizes."""
    sizes = {(grid.size, grid.width, grid.height) for grid in grids}
    size = max(grid.size for grid in grids)
    layout: dict[str, Any] = {"layout_type": "regular_grid" if len(sizes) == 1 else irregular}
    layout |= {"chip_size": [size, size], "stride": [size, size]}
    return layout | {"grid_id": ",".join(grid.name for grid in grids[:MOST_NAMED])}
