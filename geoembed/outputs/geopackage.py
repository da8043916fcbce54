"""GeoPackages of one layer that carry what they were made from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from geoembed.outputs import atomic

if TYPE_CHECKING:
    from pathlib import Path

    import geopandas

_RECORD = "geoembed"


def write(path: Path, layer: str, table: geopandas.GeoDataFrame, made_from: dict[str, Any]) -> None:
    """Write a GeoPackage whole, with what it was made from (JSON-ready) in the layer's metadata."""
    import pyogrio

    multi = bool((table.geometry.geom_type == "MultiPolygon").any())
    metadata = {_RECORD: json.dumps(made_from)}
    with atomic.replacing(path) as part:
        pyogrio.write_dataframe(
            table, part, layer=layer, driver="GPKG", promote_to_multi=multi, layer_metadata=metadata
        )


def made_from(path: Path, layer: str) -> dict[str, Any] | None:
    """Return what a GeoPackage that `write` wrote was made from; None where it is something else."""
    import pyogrio

    try:
        metadata = pyogrio.read_info(path, layer=layer).get("layer_metadata") or {}
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError):
        return None
    if _RECORD not in metadata:
        return None
    found: dict[str, Any] = json.loads(metadata[_RECORD])
    return found
