"""Baselines: their numbers against loops, what they may not know, and when they are kept."""

import logging
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from chip_folders import CHANNELS, make_chips, renew_index, write_chip
from torch.nn import functional as F  # noqa: N812 - the name that torch users know

from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Reader, Statistics
from geoembed.chips.folder import ChipSet
from geoembed.errors import ChipError, ModelError, StaleError
from geoembed.evaluation import baselines, mosaiks
from geoembed.fits import embeddings
from geoembed.fits.embeddings import Embeddings
from geoembed.learning import checkpoint
from geoembed.learning.checkpoint import Description
from geoembed.learning.model import contrasted, fuse
from geoembed.learning.presets import PRESETS

CPU = torch.device("cpu")


def write_model(folder: Path, chipset: ChipSet, seed: int = 3) -> Description:
    """A finished model with random weights, and the statistics of the train chips."""
    reader = Reader(chipset, chipset.channels)
    *_, statistics = batches.measure(reader, reader.rows_of("train"))
    assert isinstance(statistics, Statistics)
    described = Description(PRESETS["tiny"].config(chipset.channels, chipset.size), statistics, {"seed": seed}, {})
    checkpoint.write_config(folder, described)
    checkpoint.write_weights(folder, checkpoint.build(described.model, seed + 1), described)
    return described


def make(folder: Path, chipset: ChipSet, model: Path, seed: int = 0) -> dict[str, Embeddings]:
    done = [p.done for p in baselines.make(folder, chipset, model, device=CPU, seed=seed, workers=2)]
    assert done == sorted(done) and (not done or done[-1] == len(chipset.index))
    return {kind: embeddings.read(folder / f"{kind}.h5") for kind in baselines.KINDS}


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
    chipset = renew_index(folder / "chips")
    write_model(folder / "model", chipset)
    return chipset, folder / "model"


def split_rows(chipset: ChipSet, split: str) -> np.ndarray:
    return np.flatnonzero(chipset.index["split"] == split)


def standardised(rows: np.ndarray, train: np.ndarray) -> np.ndarray:
    """By the train rows that are there; what a chip lacks is 0, a chip that lacks everything stays NaN."""
    middle, spread = np.nanmean(rows[train], 0), np.nanstd(rows[train], 0)
    found = np.asarray(np.nan_to_num((rows - middle) / spread))
    found[np.isnan(rows).all(1)] = np.nan
    return found


def test_statistics_are_those_of_a_loop(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, model = base
    found = make(tmp_path, chipset, model)["statistics"]
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


def test_mosaiks_is_standardised_by_train_chips(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, model = base
    found = make(tmp_path, chipset, model)["mosaiks"]
    described, reader = checkpoint.read_config(model), Reader(chipset, chipset.channels)
    batch, train, beside = reader.batch(np.arange(40), described.statistics), split_rows(chipset, "train"), []
    for name, values in batch.values.items():
        filters = mosaiks.draw_filters(reader, described.statistics, name, 0)
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
    found = make(tmp_path, chipset, model)["untrained"]
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


def test_chips_outside_train_have_no_influence(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, model = base
    shutil.copytree(chipset.folder, tmp_path / "chips")
    changed = chip_folder.read(tmp_path / "chips")
    for row in np.flatnonzero(chipset.index["split"] != "train"):
        for name in chipset.channels:
            path = changed.path_of(changed.index["chip_id"][row], name)
            if path.exists():
                other = np.flatnonzero(chipset.index[name].notna() & (chipset.index["split"] == "train"))[row % 5]
                shutil.copy(chipset.path_of(chipset.index["chip_id"][other], name), path)
    changed = renew_index(tmp_path / "chips")
    before, after = make(tmp_path / "before", chipset, model), make(tmp_path / "after", changed, model)
    for kind in baselines.KINDS:
        for name in before[kind].names:
            vectors = before[kind].vectors(name), after[kind].vectors(name)
            same = np.array(
                [np.allclose(*pair, rtol=0, atol=1e-6, equal_nan=True) for pair in zip(*vectors, strict=True)]
            )
            assert same[chipset.index["split"] == "train"].all()
            assert not same[(chipset.index["split"] != "train") & before[kind].present.all(1)].any()


def test_each_chip_is_read_once_for_all_baselines(
    base: tuple[ChipSet, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chipset, model = base
    reads: Counter[tuple[str, bool]] = Counter()
    read_chip = chip_folder.read_chip
    train = set(chipset.index["chip_id"][split_rows(chipset, "train")])

    def counted(path: Path, digest: str) -> chip_folder.Chip:
        reads[str(path), path.stem in train] += 1
        return read_chip(path, digest)

    monkeypatch.setattr(chip_folder, "read_chip", counted)
    whole = make(tmp_path, chipset, model)
    # Of so few chips, all train chips are looked at for the filters and for the centre.
    assert {(learned, times) for (_, learned), times in reads.items()} == {(True, 3), (False, 1)}
    assert len(reads) == int(chipset.index[["s2", "s1"]].notna().to_numpy().sum())
    for kind, times in (("statistics", 1), ("mosaiks", 2), ("untrained", 2)):
        reads.clear()
        (tmp_path / f"{kind}.h5").unlink()
        alone = make(tmp_path, chipset, model)[kind]
        assert alone.digest == whole[kind].digest, "made by itself, it is the same to the last bit"
        assert {(learned, count) for (_, learned), count in reads.items()} == {(True, times), (False, 1)}


def test_what_holds_is_kept_and_what_does_not_is_replaced(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, _ = base
    model, folder = tmp_path / "model", tmp_path / "made"
    shutil.copytree(base[1], model)
    folder.mkdir()
    (folder / "statistics.h5").write_text("theirs")
    with pytest.raises(StaleError, match="was not made by geoembed"):
        make(folder, chipset, model)
    (folder / "statistics.h5").unlink()
    first = make(folder, chipset, model)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for path in before:
        os.utime(path, (1, 1))
    elsewhere = replace(chipset, folder=tmp_path / "gone")  # no chip can be read there
    assert list(baselines.make(folder, elsewhere, model, device=CPU, seed=0, workers=2)) == []
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert all(path.stat().st_mtime > 1e9 for path in before)

    again = make(folder, chipset, model, seed=1)
    assert [kind for kind in first if again[kind].digest != first[kind].digest] == ["mosaiks"]
    write_model(model, chipset, seed=8)  # the same statistics, other weights
    last = make(folder, chipset, model, seed=1)
    assert [kind for kind in first if last[kind].digest != again[kind].digest] == ["untrained"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{kind}.h5" for kind in baselines.KINDS)

    few = make(folder, replace(chipset, channels={"s2": CHANNELS["s2"][:2]}), model)
    for found in few.values():
        assert found.modalities == ("s2",) and found.attributes["channels"] == {"s2": list(CHANNELS["s2"][:2])}
    np.testing.assert_array_equal(few["untrained"].vectors("fused"), few["untrained"].vectors("s2"))
    assert few["statistics"].vectors("s2").shape == (40, 14)


def test_a_model_that_knows_other_channels_has_its_own_features(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    """Statistics are of the chips' channels; the model lacks two of them, knows one more, and in another order."""
    chipset, _ = base
    reader = Reader(chipset, chipset.channels)
    *_, statistics = batches.measure(reader, reader.rows_of("train"))
    assert isinstance(statistics, Statistics)
    known = {"s1": CHANNELS["s1"][::-1], "s2": (*CHANNELS["s2"][2:], "djf_nir")}
    at = {name: [CHANNELS[name].index(c) if c in CHANNELS[name] else 0 for c in names] for name, names in known.items()}
    picked = Statistics(
        *({name: tuple(by[name][i] for i in at[name]) for name in known} for by in (statistics.mean, statistics.std))
    )
    described = Description(PRESETS["tiny"].config(known, chipset.size), picked, {"seed": 3}, {})
    checkpoint.write_config(tmp_path / "model", described)
    checkpoint.write_weights(tmp_path / "model", checkpoint.build(described.model, 4), described)
    found = make(tmp_path / "made", chipset, tmp_path / "model")
    assert found["statistics"].modalities == ("s2", "s1") and found["untrained"].modalities == ("s1", "s2")
    assert found["untrained"].attributes["channels"] == {"s1": list(known["s1"]), "s2": list(known["s2"][:-1])}
    used = {"s1": known["s1"], "s2": known["s2"][:-1]}
    batch = Reader(chipset, known, only=used).batch(np.arange(40), picked)
    first = checkpoint.build(described.model, 3).eval()
    with torch.no_grad():
        vectors = contrasted(first, batch.values)
    train = split_rows(chipset, "train")
    for name, rows in vectors.items():
        wanted = F.normalize(rows - rows[train].nanmean(0), dim=1)
        np.testing.assert_allclose(found["untrained"].vectors(name), wanted, atol=1e-4)


def test_a_broken_file_is_absent_until_it_is_mended(
    base: tuple[ChipSet, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(base[0].folder, tmp_path / "chips")
    chipset = chip_folder.read(tmp_path / "chips")
    row = int(np.flatnonzero(chipset.index["s1"].notna() & (chipset.index["split"] == "train"))[0])
    path = chipset.path_of(chipset.index["chip_id"][row], "s1")
    content = path.read_bytes()
    path.write_bytes(b"broken")
    with caplog.at_level(logging.WARNING):
        broken = make(tmp_path / "made", chipset, base[1])
    assert sum(path.name in line for line in caplog.messages) == 1
    for found in broken.values():
        assert found.broken.tolist() == [[row, 1]] and not found.present[row, 1]
        assert np.isnan(found.vectors("s1")[row]).all()
    kept = make(tmp_path / "made", chipset, base[1])
    path.write_bytes(content)
    mended, whole = make(tmp_path / "made", chipset, base[1]), make(tmp_path / "whole", base[0], base[1])
    for kind, found in mended.items():
        assert kept[kind].attributes["created"] == broken[kind].attributes["created"]
        assert found.present[row, 1] and not len(found.broken)
        assert found.digest == whole[kind].digest


def test_what_cannot_be_compared_is_said(base: tuple[ChipSet, Path], tmp_path: Path) -> None:
    chipset, model = base
    with pytest.raises(ModelError, match="no model here"):
        make(tmp_path / "made", chipset, tmp_path / "model")
    no_train = replace(chipset, index=chipset.index.assign(split="test"))
    with pytest.raises(ChipError, match="no chip of the train split has s2, s1"):
        make(tmp_path / "made", no_train, model)
    with pytest.raises(ChipError, match="no s2 chip of the train split can be read"):
        make(tmp_path / "made", replace(chipset, folder=tmp_path), model)
    assert list(tmp_path.iterdir()) == []

    lone = chipset.index.assign(s1=np.where(chipset.index["split"] == "train", np.nan, chipset.index["s1"]))
    for found in make(tmp_path / "made", replace(chipset, index=lone, digest="another"), model).values():
        assert found.modalities == ("s2",) and np.isnan(found.vectors("fused")[~found.present[:, 0]]).all()
