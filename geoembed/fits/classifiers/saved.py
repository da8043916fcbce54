"""Fitted classifiers in files, without pickle (owns skops).

A file holds a JSON text, arrays, and a digest of both, so that it can be told intact alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geoembed.errors import ProbeError, nearest
from geoembed.fits import classifiers
from geoembed.fits.classifiers.protocol import Fitted
from geoembed.names import Modality, Task
from geoembed.outputs import atomic, documents
from geoembed.project import remedies
from geoembed.project.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MEMBERS = 10_000
"""Most members of the archive that a file is."""

SCALING = {"mean", "deviation"}
"""The arrays besides those of the classifier: they scale its features."""


@dataclass(frozen=True)
class Described:
    """What a fitted probe predicts, and what the embeddings that it is used on must have in common with its own.

    task: the name of what is predicted.
    column: the target column of its labels.
    classes: in order; empty for numbers.
    features: the name of the features that it learned from.
    modalities: those that stand side by side in them, if that depends on the embeddings.
    model_sha256, space: of the embeddings.
    decide: the rule by which a class is decided.
    """

    task: Task
    column: str
    classes: tuple[bool | int | str, ...]
    features: str
    modalities: tuple[Modality, ...]
    model_sha256: str | None
    space: str | None
    decide: Literal["likeliest", "balanced"]


@dataclass(frozen=True)
class _Head:
    """The JSON text of a file: the classifier's name, its number of classes and penalty (None: none), and the rest."""

    kind: str
    classes: int
    penalty: float | None
    described: Described


def write(path: Path, fitted: Fitted, described: Described, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a fitted classifier whole, with the mean and deviation that scale its features."""
    import skops.io

    penalty = None if math.isnan(fitted.penalty) else float(fitted.penalty)
    head = json.dumps(asdict(_Head(fitted.classifier.name, fitted.classes, penalty, described)))
    parts = {"state": dict(fitted.arrays), "arrays": {"prior": fitted.prior, **arrays}}
    with atomic.replacing(path) as part:
        skops.io.dump({"head": head, **parts, "sha256": _digest(head, parts)}, part)


def read(path: Path) -> tuple[Fitted, Described, dict[str, NDArray[Any]]]:
    """Read what `write` wrote; raises ProbeError for anything else, and never runs code from the file."""
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        head, parts = _content(path)
    except UntrustedTypesFoundException as error:
        raise ProbeError(f"{path}: holds types that a probe has not ({error}); do not use it") from None
    except Exception as error:
        place = path if path.exists() else path.parent
        fault = remedies.of_another_kind(place, Kind.PROBE if place.is_dir() else Kind.FITTED)
        if not fault:
            text = next(iter(str(error).splitlines()), type(error).__name__)
            fault = f"not a fitted probe, or damaged ({text})" if place == path else "missing"
        raise ProbeError(f"{place if fault.startswith('is ') else path}: {fault}; {remedies.probe(place)}") from None
    if head.kind not in classifiers.TABLE:
        raise ProbeError(f"{path}: fitted by an unknown classifier, {head.kind}{nearest(head.kind, classifiers.TABLE)}")
    try:
        return _checked(head, **parts), head.described, parts["arrays"]
    except Exception as error:
        text = next(iter(str(error).splitlines()), type(error).__name__)
        raise ProbeError(f"{path}: its arrays predict nothing ({text}); fit it again with --overwrite") from None


def digest(path: Path) -> str:
    """Return the SHA-256 of what a fitted probe holds, the same for the same probe fitted again."""
    fitted, described, arrays = read(path)
    rest = {"prior": fitted.prior, **arrays}
    return _digest(json.dumps([fitted.classifier.name, asdict(described)]), {"state": fitted.arrays, "arrays": rest})


def is_ours(path: Path) -> bool:
    """Tell whether `write` wrote a file, in whatever state it is now: the name of its text is somewhere in it."""
    return b'"head"' in path.read_bytes() if path.is_file() else False


def _content(path: Path) -> tuple[_Head, dict[str, dict[str, NDArray[Any]]]]:
    """Return text and arrays of an intact file; raises whatever a garbled one leads to."""
    import skops.io

    # Nothing in it is compressed, so that it takes no more memory than it says.
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if len(members) > MEMBERS or sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("is larger inside than outside")
    content = skops.io.load(path, trusted=[])
    parts = {
        name: {str(key): np.asarray(value) for key, value in content[name].items()} for name in ("state", "arrays")
    }
    if content["sha256"] != _digest(content["head"], parts):
        raise ValueError("its content is not what its digest says")
    return documents.parsed(json.loads(content["head"]), _Head), parts


def _digest(head: str, parts: Mapping[str, Mapping[str, NDArray[Any]]]) -> str:
    digest = hashlib.sha256(head.encode())
    for name, arrays in sorted(parts.items()):
        for key, array in sorted(arrays.items()):
            digest.update(f"{name} {key} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _checked(head: _Head, state: dict[str, NDArray[Any]], arrays: dict[str, NDArray[Any]]) -> Fitted:
    """Return a fitted classifier whose arrays fit together; raises ValueError and others where they do not."""
    prior, mean, deviation = arrays.pop("prior"), arrays["mean"], arrays["deviation"]
    if head.classes != len(head.described.classes) or prior.shape != (head.classes,) or set(arrays) != SCALING:
        raise ValueError("the classes are not those of its shares")
    if mean.ndim != 1 or mean.shape != deviation.shape or not (deviation > 0).all():
        raise ValueError("the scaling is none")
    if any(array.dtype.kind not in "iufb" for array in (*state.values(), prior, mean, deviation)):
        raise ValueError("they are no numbers")
    if not all(np.isfinite(array).all() for array in (prior, mean, deviation)):
        raise ValueError("they are not finite")
    penalty = math.nan if head.penalty is None else head.penalty
    fitted = Fitted(classifiers.named(head.kind, head.classes), head.classes, prior, penalty, state)
    fitted.classifier.check(fitted, len(mean))
    return fitted
