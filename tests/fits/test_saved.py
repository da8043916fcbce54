"""Fitted probes in files: told intact alone, and nothing else is read."""

import shutil
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import blobs

from geoembed.errors import ProbeError
from geoembed.fits import classifiers
from geoembed.fits.classifiers import saved
from geoembed.fits.classifiers.protocol import Fitted
from geoembed.fits.classifiers.saved import Described

DESCRIBED = Described("water", "label", ("no", "yes"), "fused", (), "ab" * 32, "last", "likeliest")
D = 8
SCALING = {"mean": np.zeros(D, np.float32), "deviation": np.ones(D, np.float32)}


def fit(kind: str) -> Fitted:
    X, y = blobs(60, 2, d=D)
    return classifiers.named(kind, 2).fit(X, y, 2, 0)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Fitted]:
    return {kind: fit(kind) for kind in classifiers.TABLE}


def test_no_damage_is_read_as_another_probe(tmp_path: Path, fitted: dict[str, Fitted]) -> None:
    path = tmp_path / "probe.skops"
    saved.write(path, fitted["ridge"], DESCRIBED, SCALING)
    whole, wanted, rng = path.read_bytes(), saved.digest(path), np.random.default_rng(0)
    saved.write(path, fitted["ridge"], DESCRIBED, SCALING)
    assert saved.digest(path) == wanted, "the same probe written again"
    for i in range(400):
        at, length = int(rng.integers(len(whole))), int(rng.choice([1, 1, 16, 512]))
        there = whole[at : at + length]
        new = {0: bytes([there[0] ^ 1 << i % 8]) + there[1:], 1: bytes(len(there)), 2: b""}[i % 3]
        path.write_bytes(whole[:at] + new + whole[at + length :])
        try:
            assert saved.digest(path) == wanted
        except ProbeError as error:
            assert str(path) in str(error) and "\n" not in str(error)


HOSTILE: dict[str, dict[str, Any]] = {
    "a task that leads elsewhere": {"described": {"task": "../../x"}},
    "a modality that leads elsewhere": {"described": {"modalities": ["/vsicurl/x"]}},
    "an unknown rule": {"described": {"decide": "best"}},
    "classes of another number": {"described": {"classes": ["a", "b", "c"]}},
    "a scaling of another width": {"arrays": {"mean": np.zeros(3), "deviation": np.ones(3)}},
    "a deviation of zero": {"arrays": {"mean": np.zeros(D), "deviation": np.zeros(D)}},
    "a mean that is infinite": {"arrays": {"mean": np.full(D, np.inf), "deviation": np.ones(D)}},
    "a mean of words": {"arrays": {"mean": np.array(["a"] * D), "deviation": np.ones(D)}},
    "a scaling that is missing": {"arrays": {"mean": np.zeros(D)}},
    "weights that are no numbers": {"state": {"weights": np.full((D, 1), np.nan)}},
    "weights of another shape": {"state": {"weights": np.zeros((D + 1, 1))}},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_somebody_wrote_on_purpose_is_refused_in_a_line(
    tmp_path: Path, fitted: dict[str, Fitted], name: str
) -> None:
    changes, path = HOSTILE[name], tmp_path / "probe.skops"
    described = replace(DESCRIBED, **changes.get("described", {}))
    probe = replace(fitted["logistic"], arrays={**fitted["logistic"].arrays, **changes.get("state", {})})
    saved.write(path, probe, described, changes.get("arrays", SCALING))
    with pytest.raises(ProbeError, match=r"probe\.skops: ") as told:
        saved.read(path)
    assert "\n" not in str(told.value) and asdict(described)


@pytest.mark.parametrize("key", ["left", "roots", "feature", "depth"])
def test_no_forest_leads_out_of_itself(tmp_path: Path, fitted: dict[str, Fitted], key: str) -> None:
    arrays = {name: array.copy() for name, array in fitted["forest"].arrays.items()}
    arrays[key] = (
        np.asarray(10**9) if key == "depth" else np.where(np.arange(len(arrays[key])) == 1, 10**9, arrays[key])
    )
    saved.write(tmp_path / "p.skops", replace(fitted["forest"], arrays=arrays), DESCRIBED, SCALING)
    with pytest.raises(ProbeError, match="its arrays predict nothing"):
        saved.read(tmp_path / "p.skops")


def test_nothing_unpacks_to_more_than_it_is(tmp_path: Path, fitted: dict[str, Fitted]) -> None:
    path, bomb = tmp_path / "probe.skops", tmp_path / "bomb.skops"
    saved.write(path, fitted["ridge"], DESCRIBED, SCALING)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as out:
        for name in archive.namelist():
            out.writestr(name, archive.read(name))
        out.writestr("zeros", bytes(10**7))
    with pytest.raises(ProbeError, match="is larger inside than outside"):
        saved.read(bomb)
    shutil.copy(path, bomb)
    with zipfile.ZipFile(bomb, "a") as out:
        for i in range(saved.MEMBERS):
            out.writestr(f"{i}", b"")
    with pytest.raises(ProbeError, match="is larger inside than outside"):
        saved.read(bomb)
