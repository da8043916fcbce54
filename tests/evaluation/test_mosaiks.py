"""Random convolutional features, against loops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from chip_folders import CHANNELS, make_chips

from geoembed.chips import batches
from geoembed.chips.batches import Reader, Statistics
from geoembed.evaluation import mosaiks


def test_filters_are_whitened_patches_of_train_chips(tmp_path: Path) -> None:
    """Chips of 10 x 10 pixels have 64 patches, so that all of them are drawn from."""
    chipset = make_chips(tmp_path / "chips", n=40, size=10, absent=0.2, clouds=0.05)
    reader = Reader(chipset, chipset.channels)
    *_, statistics = batches.measure(reader, reader.rows_of("train"))
    assert isinstance(statistics, Statistics)
    for name in chipset.channels:
        patches = []
        for row in np.flatnonzero(chipset.index["split"] == "train"):
            batch = reader.batch(np.array([row]), statistics)
            if batch.present[name]:
                pixels = np.nan_to_num(batch.values[name][0].numpy().astype(float))
                patches += [pixels[:, y : y + 3, x : x + 3].ravel() for y in range(8) for x in range(8)]
        some = np.array(patches)
        some = some - some.mean(1)[:, None]
        some /= np.linalg.norm(some, axis=1)[:, None]
        covariance = some.T @ some / len(some)
        wanted = some @ np.linalg.inv(covariance + 0.001 * np.eye(len(covariance)))
        found = mosaiks.draw_filters(reader, statistics, name, 0)
        assert found.shape == (256, len(CHANNELS[name]), 3, 3) and found.dtype == torch.float32
        distance = torch.cdist(found.flatten(1).double(), torch.from_numpy(wanted)).min(1)
        assert len(set(distance.indices.tolist())) == 256  # drawn without repeats
        assert float(distance.values.max()) < 1e-3 * float(found.flatten(1).norm(dim=1).min())
        assert torch.equal(found, mosaiks.draw_filters(reader, statistics, name, 0))
        assert not torch.equal(found, mosaiks.draw_filters(reader, statistics, name, 1))


def test_responses_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, filters = rng.normal(size=(5, 2, 5, 6)).astype(np.float32), rng.normal(size=(4, 2, 3, 3)).astype(np.float32)
    values[1, 0, 2, 3] = values[2, 1] = np.nan
    monkeypatch.setattr(mosaiks, "RESPONSES", 2 * 4 * 5 * 6)  # two chips at a time
    found = mosaiks.respond(torch.from_numpy(values), torch.from_numpy(filters))
    assert found.shape == (5, 8)
    for i, chip in enumerate(np.nan_to_num(values)):
        responses = np.array(
            [[(chip[:, y : y + 3, x : x + 3] * one).sum() for y in range(3) for x in range(4)] for one in filters]
        )
        wanted = [*np.maximum(responses, 0).mean(1), *np.maximum(-responses, 0).mean(1)]
        np.testing.assert_allclose(found[i], wanted, atol=1e-5)
    small = mosaiks.respond(torch.full((1, 2, 2, 2), 2.0), torch.from_numpy(filters))
    np.testing.assert_allclose(small[0, :4] - small[0, 4:], 2 * filters[:, :, :2, :2].sum((1, 2, 3)), atol=1e-5)
