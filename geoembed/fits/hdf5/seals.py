"""Digests of datasets and of whole files, as writer and reader have them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.outputs import digests

if TYPE_CHECKING:
    from collections.abc import Mapping

SEAL = "sha256"
"""The attribute of a dataset, and of a file, that holds its digest."""

MARK = "geoembed_version"
"""The attribute that is written first, by which a damaged file is known as one that geoembed made."""


def of_dataset(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Begin the digest of a dataset."""
    return hashlib.sha256(f"{np.dtype(dtype).str} {list(map(int, shape))} ".encode())


def of_file(attributes: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Return the digest of a file with these attributes and these digests of datasets."""
    return digests.of_value([sorted(attributes.items()), sorted(found.items())])
