"""Inventory of embeddings files."""

from pathlib import Path
from typing import Any

import numpy as np

from geoembed.fits import embeddings
from geoembed.fits.embeddings import Embeddings
from geoembed.inventory import facts, places
from geoembed.inventory.facts import Facts, Rows
from geoembed.outputs.records import Record
from geoembed.project.kinds import Kind

SAMPLED = 4096
"""Rows whose vectors are read."""


def of_file(path: Path, *, verify: bool) -> Facts:
    """Tell of an embeddings file; raises GeoembedError where it cannot be read."""
    file = embeddings.read(path)
    attributes = file.attributes
    about: dict[str, Any] = {
        "chips": len(file),
        "crs": [grid.crs for grid in file.grids],
        "bounds": places.bounds(file.bounds),
        "areas": {str(name): int(n) for name, n in zip(*np.unique(file.aoi, return_counts=True), strict=True)},
        "splits": {str(name): int(n) for name, n in zip(*np.unique(file.split, return_counts=True), strict=True)},
        "broken_chip_files": len(file.broken),
        "transductive": file.transductive,
        "model": str(attributes.get("model_sha256", ""))[:8],
        "created": attributes.get("created"),
        **facts.of_record(Record.from_json(attributes.get("made_from")), attributes.get("geoembed_version")),
    }
    read = "all vectors, with their digests" if verify else f"vectors of {SAMPLED:,} at most, --verify reads all"
    faults = embeddings.faults(file, whole=verify)
    vectors = [] if faults else _vectors(file)
    return Facts(
        Kind.EMBEDDINGS.value,
        f"rows and attributes, with their digests, and {read}",
        about,
        {"vectors": vectors},
        tuple(faults),
    )


def _vectors(file: Embeddings) -> Rows:
    """Return a row for each modality and for fused: how many chips have it, and the range of its numbers."""
    rows = []
    some = np.unique(np.linspace(0, len(file) - 1, min(SAMPLED, len(file))).astype(np.int64))
    channels = file.attributes.get("channels") or {}
    for name in file.names:
        values = file.glimpse(name, some)
        present = file.present[:, file.modalities.index(name)] if name in file.modalities else file.present.any(1)
        finite = values[np.isfinite(values)]
        rows.append({
            "name": name,
            "chips": int(present.sum()),
            "dimensions": int(values.shape[1]),
            "channels": len(channels.get(name, ())) or None,
            "minimum": float(finite.min()) if finite.size else None,
            "maximum": float(finite.max()) if finite.size else None,
        })  # fmt: skip
    return rows
