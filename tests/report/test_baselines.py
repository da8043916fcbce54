"""Baselines: their numbers against loops, what they may not know, and when they are kept."""

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from chip_folders import CHANNELS, make_chips, write_chip
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Reader, Statistics
from geoembed.chips.folder import ChipSet
from geoembed.errors import ChipError, ConfigError, ModelError, StaleError
from geoembed.fits import embeddings
from geoembed.fits.embeddings import Embeddings
from geoembed.learning import checkpoint
from geoembed.learning.checkpoint import Described
from geoembed.learning.model import contrasted, fuse
from geoembed.learning.presets import PRESETS
from geoembed.report import baselines

CPU = torch.device("cpu")


def write_model(folder: Path, chipset: ChipSet, seed: int = 3) -> Described:
    """A finished model with random weights, and the statistics of the train chips."""
    reader = Reader(chipset, chipset.channels)
    *_, statistics = batches.measure(reader, reader.rows_of("train"))
    assert isinstance(statistics, Statistics)
    described = Described(PRESETS["tiny"].config(chipset.channels, chipset.size), statistics, {"seed": seed}, {})
    checkpoint.write_config(folder, described)
    checkpoint.write_weights(folder, checkpoint.build(described.model, seed + 1), described)
    return described


def make(kind: str, output: Path, chipset: ChipSet, model: Path, seed: int = 0) -> Embeddings:
    done = [p.done for p in baselines.make(kind, output, chipset, model, device=CPU, seed=seed, workers=2)]
    assert done == sorted(done) and (not done or done[-1] == len(chipset.index))
    return embeddings.read(output)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[ChipSet, Path]:
    """Chips of 10 x 10 pixels, some without one modality, clouded, one without two channels; and a model's folder."""
    folder = tmp_path_factory.mktemp("baselines")
    chipset = make_chips(folder / "chips", n=40, size=10, absent=0.2, clouds=0.05)
    row = np.flatnonzero(chipset.index["s2"].notna())[3]
    path = chipset.path_of(chipset.index["chip_id"][row], "s2")
    with rasterio.open(path) as file:
        crs, transform = file.crs, file.transform
    write_chip(path, np.nan_to_num(chip_folder.read_chip(path).values[2:]), "s2", CHANNELS["s2"][2:], crs, transform)
    write_model(folder / "model", chipset)
    return chipset, folder / "model"


def split_rows(chipset: ChipSet, split: str) -> np.ndarray:
    return np.flatnonzero(chipset.index["split"] == split)


def standardised(rows: np.ndarray, train: np.ndarray) -> np.ndarray:
    """By the train rows that are there; what a chip lacks is 0, a chip that lacks everything stays NaN."""
    middle, spread = np.nanmean(rows[train], 0), np.nanstd(rows[train], 0)
    found = np.nan_to_num((rows - middle) / spread)
    found[np.isnan(rows).all(1)] = np.nan
    return found


def test_a_summary_is_what_numpy_says() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(-12, 3, (3, 4, 101)).astype(np.float32)
    values[0, 1, rng.random(101) < 0.4] = np.nan
    values[1, 2, 1:] = np.nan
    values[2, 3] = np.nan
    found = baselines.summary(values)
    for i, j in np.ndindex(3, 4):
        valid = values[i, j][~np.isnan(values[i, j])]
        if (i, j) == (2, 3):
            assert np.isnan(found[i, j]).all()
        else:
            wanted = [valid.mean(), valid.std(), *np.percentile(valid, (5, 25, 50, 75, 95))]
            np.testing.assert_allclose(found[i, j], wanted, rtol=1e-5, atol=1e-6)
    assert found.shape == (3, 4, 7) and found.dtype == np.float32


def test_statistics_are_those_of_a_loop(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, _ = base
    found = make("statistics", tmp_path / "s.h5", chipset, tmp_path / "no model needed")
    train, beside = split_rows(chipset, "train"), []
    for m, (name, channels) in enumerate(CHANNELS.items()):
        rows = np.full((40, len(channels), 7), np.nan)
        for i in np.flatnonzero(chipset.index[name].notna()):
            chip = chip_folder.read_chip(chipset.path_of(chipset.index["chip_id"][i], name))
            for channel, values in zip(chip.channels, chip.values, strict=True):
                valid = values[np.isfinite(values)]
                figures = [valid.mean(), valid.std(), *np.percentile(valid, (5, 25, 50, 75, 95))]
                rows[i, channels.index(channel)] = figures
        wanted = standardised(rows.reshape(40, -1), train)
        np.testing.assert_allclose(found.vectors(name), wanted, atol=2e-4)
        np.testing.assert_array_equal(found.present[:, m], chipset.index[name].notna())
        beside.append(wanted)
        if name == "s2":
            lacking = ~np.isnan(rows[:, 2, 0]) & np.isnan(rows[:, 0, 0])
            assert lacking.sum() == 1 and (found.vectors(name)[lacking, :14] == 0).all()
    np.testing.assert_allclose(found.vectors("fused"), np.nan_to_num(np.concatenate(beside, 1)), atol=2e-4)
    assert found.attributes["model_sha256"] == "chip statistics"
    assert found.split.tolist() == chipset.index["split"].tolist()


def test_filters_are_whitened_patches_of_train_chips(base: tuple[ChipSet, Path]) -> None:
    """Chips of 10 x 10 pixels have 64 patches, so that all of them are drawn from."""
    chipset, model = base
    described = checkpoint.read_config(model)
    reader = Reader(chipset, chipset.channels)
    for name in chipset.modalities:
        patches = []
        for row in split_rows(chipset, "train"):
            batch = reader.batch(np.array([row]), described.statistics)
            if batch.present[name]:
                pixels = np.nan_to_num(batch.values[name][0].numpy().astype(float))
                patches += [pixels[:, y : y + 3, x : x + 3].ravel() for y in range(8) for x in range(8)]
        some = np.array(patches)
        some = some - some.mean(1)[:, None]
        some /= np.linalg.norm(some, axis=1)[:, None]
        covariance = some.T @ some / len(some)
        wanted = some @ np.linalg.inv(covariance + 0.001 * np.eye(len(covariance)))
        found = baselines.draw_filters(reader, described.statistics, name, 0)
        assert found.shape == (256, len(CHANNELS[name]), 3, 3) and found.dtype == torch.float32
        distance = torch.cdist(found.flatten(1).double(), torch.from_numpy(wanted)).min(1)
        assert len(distance.indices.unique()) == 256  # drawn without repeats
        assert float(distance.values.max()) < 1e-3 * float(found.flatten(1).norm(dim=1).min())
        assert torch.equal(found, baselines.draw_filters(reader, described.statistics, name, 0))
        assert not torch.equal(found, baselines.draw_filters(reader, described.statistics, name, 1))


def test_responses_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, filters = rng.normal(size=(5, 2, 5, 6)).astype(np.float32), rng.normal(size=(4, 2, 3, 3)).astype(np.float32)
    values[1, 0, 2, 3] = values[2, 1] = np.nan
    monkeypatch.setattr(baselines, "RESPONSES", 2 * 4 * 5 * 6)  # two chips at a time
    found = baselines.respond(torch.from_numpy(values), torch.from_numpy(filters))
    assert found.shape == (5, 8)
    for i, chip in enumerate(np.nan_to_num(values)):
        responses = np.array(
            [[(chip[:, y : y + 3, x : x + 3] * one).sum() for y in range(3) for x in range(4)] for one in filters]
        )
        wanted = [*np.maximum(responses, 0).mean(1), *np.maximum(-responses, 0).mean(1)]
        np.testing.assert_allclose(found[i], wanted, atol=1e-5)
    small = baselines.respond(torch.full((1, 2, 2, 2), 2.0), torch.from_numpy(filters))
    np.testing.assert_allclose(small[0, :4] - small[0, 4:], 2 * filters[:, :, :2, :2].sum((1, 2, 3)), atol=1e-5)


def test_mosaiks_is_standardised_by_train_chips(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, model = base
    found = make("mosaiks", tmp_path / "m.h5", chipset, model)
    described, reader = checkpoint.read_config(model), Reader(chipset, chipset.channels)
    batch, train, beside = reader.batch(np.arange(40), described.statistics), split_rows(chipset, "train"), []
    for name, values in batch.values.items():
        filters = baselines.draw_filters(reader, described.statistics, name, 0)
        responses = F.conv2d(values.nan_to_num(0.0), filters)
        rows = torch.cat([F.relu(responses).mean((2, 3)), F.relu(-responses).mean((2, 3))], 1).numpy()
        rows[chipset.index[name].isna()] = np.nan
        beside.append(standardised(rows, train))
        np.testing.assert_allclose(found.vectors(name), beside[-1], atol=5e-4)
    np.testing.assert_allclose(found.vectors("fused"), np.nan_to_num(np.concatenate(beside, 1)), atol=5e-4)
    assert found.vectors("fused").shape == (40, 1024)
    assert found.attributes["model_sha256"] == "random convolutional features"
    assert found.attributes["made_from"]["options"]["seed"] == 0 and "MOSAIKS" in found.attributes["space"]


def test_untrained_is_the_first_weights_about_their_centre(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, model = base
    found = make("untrained", tmp_path / "u.h5", chipset, model)
    described = checkpoint.read_config(model)
    first = checkpoint.build(described.model, 3).eval()
    batch = Reader(chipset, chipset.channels).batch(np.arange(40), described.statistics)
    with torch.no_grad():
        found_first = contrasted(first, batch.values)
    train = split_rows(chipset, "train")
    placed = {name: F.normalize(rows - rows[train].nanmean(0), dim=1) for name, rows in found_first.items()}
    for name, rows in (placed | {"fused": fuse(placed)}).items():
        np.testing.assert_allclose(found.vectors(name), rows, atol=1e-4)
    np.testing.assert_array_equal(found.present, chipset.index[["s2", "s1"]].notna())
    assert found.attributes["model_sha256"] == checkpoint.read(model, device=CPU, untrained=True).digest
    assert found.attributes["model_config"] == {} and "random weights" in found.attributes["space"]


@pytest.mark.parametrize("kind", baselines.KINDS)
def test_chips_outside_train_have_no_influence(kind: str, base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, model = base
    shutil.copytree(chipset.folder, tmp_path / "chips")
    changed = chip_folder.read(tmp_path / "chips")
    for row in np.flatnonzero(chipset.index["split"] != "train"):
        for name in chipset.modalities:
            path = changed.path_of(changed.index["chip_id"][row], name)
            if path.exists():
                other = np.flatnonzero(chipset.index[name].notna() & (chipset.index["split"] == "train"))[row % 5]
                shutil.copy(chipset.path_of(chipset.index["chip_id"][other], name), path)
    found = make(kind, tmp_path / "a.h5", chipset, model)
    wanted = make(kind, tmp_path / "b.h5", changed, model)
    for name in found.names:
        same = np.isclose(found.vectors(name), wanted.vectors(name), rtol=0, atol=1e-6, equal_nan=True).all(1)
        assert same[chipset.index["split"] == "train"].all()
        assert not same[(chipset.index["split"] != "train") & found.present.all(1)].any()


def test_what_holds_is_kept_and_what_does_not_is_replaced(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, _ = base
    model, output = tmp_path / "model", {kind: tmp_path / f"{kind}.h5" for kind in baselines.KINDS}
    shutil.copytree(base[1], model)
    output["statistics"].write_text("theirs")
    with pytest.raises(StaleError, match="was not made by geoembed"):
        make("statistics", output["statistics"], chipset, model)
    output["statistics"].unlink()
    for kind, path in output.items():
        make(kind, path, chipset, model)
    before = {kind: path.read_bytes() for kind, path in output.items()}
    elsewhere = replace(chipset, folder=tmp_path / "gone")  # no chip can be read there
    for kind, path in output.items():
        os.utime(path, (1, 1))
        assert list(baselines.make(kind, path, elsewhere, model, device=CPU, seed=0, workers=2)) == []
        assert path.read_bytes() == before[kind] and path.stat().st_mtime > 1e9

    digests = {kind: embeddings.read(path).digest for kind, path in output.items()}
    again = {kind: make(kind, path, chipset, model, seed=1).digest for kind, path in output.items()}
    assert [kind for kind in output if again[kind] != digests[kind]] == ["mosaiks"]
    write_model(model, chipset, seed=8)  # the same statistics, other weights
    again |= {"untrained": digests["untrained"]}
    last = {kind: make(kind, path, chipset, model, seed=1).digest for kind, path in output.items()}
    assert [kind for kind in output if last[kind] != again[kind]] == ["untrained"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["model", *(p.name for p in output.values())])

    few = replace(chipset, channels={"s2": CHANNELS["s2"][:2]})
    for kind, path in output.items():
        found = make(kind, path, few, model)
        assert found.modalities == ("s2",) and found.attributes["channels"] == {"s2": list(CHANNELS["s2"][:2])}
    np.testing.assert_array_equal(found.vectors("fused"), found.vectors("s2"))
    assert embeddings.read(output["statistics"]).vectors("s2").shape == (40, 14)


@pytest.mark.parametrize("kind", baselines.KINDS)
def test_a_broken_file_is_absent_until_it_is_mended(
    kind: str, base: tuple[ChipSet, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(base[0].folder, tmp_path / "chips")
    chipset = chip_folder.read(tmp_path / "chips")
    row = int(np.flatnonzero(chipset.index["s1"].notna() & (chipset.index["split"] == "train"))[0])
    path = chipset.path_of(chipset.index["chip_id"][row], "s1")
    content = path.read_bytes()
    path.write_bytes(b"broken")
    with caplog.at_level(logging.WARNING):
        found = make(kind, tmp_path / "e.h5", chipset, base[1])
    assert sum(path.name in line for line in caplog.messages) == 1
    assert found.broken.tolist() == [[row, 1]] and not found.present[row, 1]
    assert np.isnan(found.vectors("s1")[row]).all()
    assert make(kind, tmp_path / "e.h5", chipset, base[1]).attributes["created"] == found.attributes["created"]
    path.write_bytes(content)
    found = make(kind, tmp_path / "e.h5", chipset, base[1])
    assert found.present[row, 1] and not len(found.broken)
    assert found.digest == make(kind, tmp_path / "whole.h5", base[0], base[1]).digest


def test_what_cannot_be_compared_is_said(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, model = base
    with pytest.raises(ConfigError, match="baseline 'pixels' is not statistics, mosaiks, untrained"):
        make("pixels", tmp_path / "e.h5", chipset, model)
    for kind in ("mosaiks", "untrained"):
        with pytest.raises(ModelError, match="no model here"):
            make(kind, tmp_path / "e.h5", chipset, tmp_path / "model")
    no_train = replace(chipset, index=chipset.index.assign(split="test"))
    with pytest.raises(ChipError, match="no chip of the train split has s2, s1"):
        make("statistics", tmp_path / "e.h5", no_train, model)
    with pytest.raises(ChipError, match="no s2 chip of the train split can be read"):
        make("mosaiks", tmp_path / "e.h5", replace(chipset, folder=tmp_path), model)
    assert list(tmp_path.iterdir()) == []

    one = chipset.index.assign(s1=np.where(chipset.index["split"] == "train", np.nan, chipset.index["s1"]))
    found = make("statistics", tmp_path / "e.h5", replace(chipset, index=one, digest="another"), model)
    assert found.modalities == ("s2",) and np.isnan(found.vectors("fused")[~found.present[:, 0]]).all()
