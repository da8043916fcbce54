"""Band statistics, normalised batches and the choice of channels."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from chip_folders import CHANNELS, make_chips, renew_index

from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Reader, Statistics
from geoembed.errors import ChipError, ConfigError


def measured(reader: Reader, rows: np.ndarray) -> Statistics:
    *_, last = batches.measure(reader, rows)
    assert isinstance(last, Statistics)
    return last


def test_statistics_are_of_valid_train_pixels(tmp_path: Path) -> None:
    chipset = make_chips(tmp_path, n=20, absent=0.3, clouds=0.3)
    reader = Reader(chipset, chipset.channels)
    rows = reader.rows_of("train")
    statistics_of = measured(reader, rows)
    for name in chipset.channels:
        rows_present = [i for i in rows if chipset.index[name].notna()[i]]
        values = [chip_folder.read_chip(reader.path_of(i, name)).values.astype(float) for i in rows_present]
        pixels = np.concatenate([value.reshape(len(value), -1) for value in values], 1)
        np.testing.assert_allclose(statistics_of.mean[name], np.nanmean(pixels, 1), rtol=1e-9)
        np.testing.assert_allclose(statistics_of.std[name], np.nanstd(pixels, 1), rtol=1e-9)


def test_a_batch_is_normalised_and_keeps_gaps(tmp_path: Path) -> None:
    chipset = make_chips(tmp_path, n=20, absent=0.3, clouds=0.2)
    reader = Reader(chipset, chipset.channels)
    statistics = measured(reader, np.arange(20))
    batch = reader.batch(np.array([7, 3, 11]), statistics)
    for name, values in batch.values.items():
        assert values.shape == (3, len(CHANNELS[name]), 16, 16) and values.dtype == torch.float32
        for i, row in enumerate((7, 3, 11)):
            rows_present = bool(chipset.index[name].notna()[row])
            assert bool(batch.present[name][i]) is rows_present
            if rows_present:
                raw = chip_folder.read_chip(reader.path_of(row, name)).values
                mean, std = (np.array(v[name])[:, None, None] for v in (statistics.mean, statistics.std))
                np.testing.assert_allclose(values[i].numpy(), (raw - mean) / std, atol=1e-5)
                assert np.isnan(raw).any()
            else:
                assert values[i].isnan().all()


def test_channels_are_matched_by_name(tmp_path: Path) -> None:
    chipset = make_chips(tmp_path, n=4, channels={"s2": ("jja_blue", "jja_red")})
    plain = Reader(chipset, chipset.channels).pixels(0, "s2")
    reordered = Reader(chipset, {"s2": ("jja_red", "djf_red", "jja_blue")}).pixels(0, "s2")
    assert plain is not None and reordered is not None
    np.testing.assert_array_equal(reordered[0], plain[1])
    np.testing.assert_array_equal(reordered[2], plain[0])
    assert np.isnan(reordered[1]).all()
    only = Reader(chipset, chipset.channels, only={"s2": ("jja_red",)}).pixels(0, "s2")
    assert only is not None and np.isnan(only[0]).all() and not np.isnan(only[1]).any()


def test_order_does_not_depend_on_threads(tmp_path: Path) -> None:
    chipset = make_chips(tmp_path, n=24)
    reader = Reader(chipset, chipset.channels, memory=0)
    statistics = measured(reader, np.arange(24))
    order = [np.arange(i, i + 4) for i in range(0, 24, 4)]
    alone = [batch.values["s1"] for batch in batches.ahead(reader, statistics, order, 1)]
    many = [batch.values["s1"] for batch in batches.ahead(reader, statistics, order, 5)]
    assert len(alone) == 6 and all(torch.equal(a, b) for a, b in zip(alone, many, strict=True))


def test_what_was_read_is_remembered_within_the_memory(tmp_path: Path) -> None:
    chipset = make_chips(tmp_path, n=4)
    size = 6 * 16 * 16 * 4
    reader = Reader(chipset, chipset.channels, memory=2 * size)
    for row in range(4):
        assert reader.pixels(row, "s2") is not None
    for row in range(4):
        reader.path_of(row, "s2").unlink()
    assert [reader.pixels(row, "s2") is not None for row in range(4)] == [True, True, False, False]


def test_a_broken_file_is_named_once_and_its_modality_absent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chipset = make_chips(tmp_path, n=4)
    reader = Reader(chipset, chipset.channels)
    path = reader.path_of(1, "s1")
    path.write_bytes(b"II*\0 no tiff")
    statistics = measured(reader, np.arange(4))
    with caplog.at_level(logging.WARNING):
        batch = reader.batch(np.array([0, 1]), statistics)
    assert batch.broken == ((1, 1),) and batch.present["s1"].tolist() == [True, False]
    assert sum(path.name in line for line in caplog.messages) <= 1 and reader.broken == {(1, "s1")}
    with pytest.raises(ChipError, match=path.name):
        Reader(chipset, chipset.channels, strict=True).batch(np.array([0, 1]), statistics)


def test_a_chip_of_another_size_is_broken(tmp_path: Path) -> None:
    make_chips(tmp_path / "small", n=2, size=8)
    chipset = make_chips(tmp_path / "large", n=2, size=16)
    source = next((tmp_path / "small").rglob("*.tif"))
    chipset.path_of(chipset.index["chip_id"][0], "s2").write_bytes(source.read_bytes())
    chipset = renew_index(tmp_path / "large")
    reader = Reader(chipset, chipset.channels, strict=True)
    with pytest.raises(ChipError, match="8 x 8 pixels, not 16 x 16"):
        reader.pixels(0, "s2")


def test_choose() -> None:
    assert batches.choose(CHANNELS, None) == CHANNELS
    assert batches.choose(CHANNELS, ("s1",)) == {"s1": CHANNELS["s1"]}
    chosen = batches.choose(CHANNELS, None, {"s2": ("jja_*", "djf_red")})
    assert chosen["s2"] == ("djf_red", "jja_red", "jja_green", "jja_blue") and chosen["s1"] == CHANNELS["s1"]
    with pytest.raises(ConfigError, match="--modalities s3: no modality of the chips; did you mean s2"):
        batches.choose(CHANNELS, ("s3",))
    with pytest.raises(ConfigError, match="--channels s2=jja_rad: no channel of the chips; did you mean jja_red"):
        batches.choose(CHANNELS, None, {"s2": ("jja_rad",)})
    with pytest.raises(ConfigError, match="--channels radar: no modality of the chips; known are s2, s1"):
        batches.choose(CHANNELS, None, {"radar": ("*",)})
