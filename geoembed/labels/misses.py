"""Misses: what to say of labels that lie on no chip, cover too little of one, or differ from others of their chip."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from geoembed.ground import crs as crs_
from geoembed.ground.grid import Cells
from geoembed.labels import places
from geoembed.labels.files import LabelFile
from geoembed.labels.places import Overlap, Pieces

log = logging.getLogger(__name__)

SHARES = (0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Shares of a chip that are proposed for --overlap."""


def of_ids(ids: pd.Series, chip_ids: NDArray[Any]) -> str:
    """Return why no label has the id of a chip."""
    return (
        f"none of its chip_id ({ids.iloc[0]} ...) is among the chips ({chip_ids[0]} ...);"
        " make the labels from the same chips, or drop the column to join by place"
    )


def of_places(table: Any, pieces: Pieces | None, overlap: Overlap, cells: Cells) -> str:
    """Return why no label with geometry labels a chip: it lies elsewhere, or covers too little."""
    if pieces is not None and pieces.chips.size:
        size, chip = _median_size(pieces), _area(cells)
        return (
            f"no class covers more than {overlap.share:g} of a chip: the polygons have {_km2(size * chip)} (median), a"
            f" chip has {_km2(chip)}; {_remedy(pieces)}"
        )
    crs = crs_.horizontal(table.crs.to_wkt())
    points = shapely.get_coordinates(table.geometry.to_numpy())
    turned = places.points_in_chips(points[:, ::-1], crs, cells)[1].size
    if turned:
        return f"no label lies on a chip, but {turned:,} do with x and y exchanged; exchange lon and lat"
    lonlat = np.stack(crs_.transformer(crs, crs_.LONLAT).transform(points[:, 0], points[:, 1]), axis=1)
    return (
        f"no label lies on a chip: they lie {_extent(lonlat)}, the chips {_extent(cells.lonlat())};"
        " check their CRS, and that they cover the chips"
    )


def warn(label_file: LabelFile, counts: dict[str, int], pieces: Pieces | None) -> None:
    """Warn of what was left out, of classes that differ on a chip, and of polygons far smaller than a chip."""
    words = {
        "labels_empty": f"without a {label_file.column}",
        "labels_without_weight": f"without a {label_file.weight}",
        "labels_unmatched": "on no chip" if pieces is None else _too_little(pieces, label_file.overlap),
        "chips_tied": "chips with as many labels of one class as of another",
    }
    dropped = ", ".join(f"{counts[key]:,} {text}" for key, text in words.items() if counts[key])
    path, labelled = label_file.path, f"{counts['chips_labelled']:,}"
    if dropped:
        log.warning("%s: left out %s; %s chips labelled", path, dropped, labelled)
    decided = counts["chips_disagreeing"] - counts["chips_tied"]
    if decided:
        log.warning("%s: on %s of %s chips labels differ; the class with most counts", path, f"{decided:,}", labelled)
    if label_file.weight and not counts["chips_of_several_labels"]:
        log.warning("%s: no chip has several labels, so column %s changes nothing", path, label_file.weight)
    if pieces is not None and label_file.overlap.small:
        matched = np.unique(pieces.matches(label_file.overlap).chips).size
        small = matched - pieces.chips_labelled(label_file.overlap.share)
        if small:
            log.warning(
                "%s: %s chips get the label of polygons smaller than half a chip (median: %.2g of a chip), as of"
                " points; --overlap half leaves them out",
                path,
                f"{small:,}",
                _median_size(pieces),
            )


def _too_little(pieces: Pieces, overlap: Overlap) -> str:
    remedy = "" if overlap.small or not overlap.share else f" ({_remedy(pieces)})"
    return f"that lie on no chip, or cover too little of one{remedy}"


def _median_size(pieces: Pieces) -> float:
    """Return the median size of labels, in chips, by their first polygon on a chip."""
    first = np.unique(pieces.labels, return_index=True)[1]
    return float(np.median(pieces.size[first]))


def _remedy(pieces: Pieces) -> str:
    of_any = pieces.chips_labelled(0.0)
    remedies = [f"--overlap any labels {of_any:,} chips"]
    numbers = ((share, pieces.chips_labelled(share)) for share in SHARES)
    remedies += [f"--overlap {share:g} {number:,}" for share, number in numbers if number >= of_any / 2][:1]
    return ", ".join(remedies)


def _area(cells: Cells) -> float:
    """Return the area of a chip in square metres."""
    grid = next(grid for grid, _ in cells.by_grid())
    return grid.width * grid.height * crs_.metres_per_unit(grid.crs) ** 2


def _km2(area: float) -> str:
    return f"{area / 1e6:.3g} km²" if area >= 1e4 else f"{area:,.0f} m²"


def _extent(lonlat: NDArray[np.float64]) -> str:
    lonlat = lonlat[np.isfinite(lonlat).all(axis=1)]
    if not len(lonlat):
        return "nowhere on Earth"
    (west, south), (east, north) = lonlat.min(axis=0), lonlat.max(axis=0)
    return f"at {west:.4g} to {east:.4g} degrees east and {south:.4g} to {north:.4g} north"
