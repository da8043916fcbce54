"""Fitted classifiers in files, without pickle (owns skops)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoembed.errors import ProbeError, nearest
from geoembed.fits import classifiers
from geoembed.fits.classifiers.protocol import Fitted
from geoembed.outputs import atomic
from geoembed.project import remedies
from geoembed.project.kinds import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write(path: Path, fitted: Fitted, described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a fitted classifier whole, with JSON-ready words and further arrays that its use needs."""
    import skops.io

    content = {
        "kind": fitted.classifier.name,
        "classes": fitted.classes,
        "prior": fitted.prior,
        "penalty": fitted.penalty,
        "state": dict(fitted.arrays),
        "described": described,
        "arrays": arrays,
    }
    with atomic.replacing(path) as part:
        skops.io.dump(content, part)


def read(path: Path) -> tuple[Fitted, dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `write` wrote; raises ProbeError for anything else, and never runs code from the file."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        content = skops.io.load(path, trusted=[])
        name, classes, prior, penalty = (content[key] for key in ("kind", "classes", "prior", "penalty"))
        state = {key: np.asarray(value) for key, value in content["state"].items()}
        described, arrays = content["described"], content["arrays"]
        known = name in classifiers.TABLE
    except UntrustedTypesFoundException as error:
        raise ProbeError(f"{path}: holds types that a probe has not ({error}); do not use it") from None
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError) as error:
        place = path if path.exists() else path.parent
        fault = remedies.of_another_kind(place, Kind.PROBE if place.is_dir() else Kind.FITTED)
        if not fault:
            fault = f"not a fitted probe ({str(error).splitlines()[0]})" if place == path else "missing"
        raise ProbeError(f"{place if fault.startswith('is ') else path}: {fault}; {remedies.probe(place)}") from None
    if not known:
        raise ProbeError(f"{path}: fitted by an unknown classifier, {name}{nearest(name, classifiers.TABLE)}")
    return Fitted(classifiers.named(name, classes), classes, prior, penalty, state), described, arrays
