"""Inputs taken away: which, and that the vectors are those of chips that never had them."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chip_folders import CHANNELS, make_chips

from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Reader, Statistics
from geoembed.chips.folder import ChipSet
from geoembed.evaluation import removal
from geoembed.evaluation.removal import Case, Removed
from geoembed.fits import embeddings
from geoembed.learning import checkpoint
from geoembed.learning.checkpoint import Description, Trained
from geoembed.learning.model import encode
from geoembed.learning.presets import PRESETS
from geoembed.steps import embed

CPU = torch.device("cpu")
ALL = [(name, channel) for name, channels in CHANNELS.items() for channel in channels]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ChipSet, Trained]:
    """A folder with chips, some without one modality and clouded, and a model."""
    folder = tmp_path_factory.mktemp("removal")
    chipset = make_chips(folder / "chips", n=40, absent=0.2, clouds=0.05)
    reader = Reader(chipset, chipset.channels)
    *_, statistics = batches.measure(reader, reader.rows_of("train"))
    assert isinstance(statistics, Statistics)
    described = Description(PRESETS["tiny"].config(chipset.channels, chipset.size), statistics, {"seed": 0}, {})
    model = checkpoint.build(described.model, 0)
    for encoder in model.encoders.values():
        encoder.get_buffer("centre").normal_(generator=torch.Generator().manual_seed(1))
    checkpoint.write_config(folder / "model", described)
    checkpoint.write_weights(folder / "model", model, described)
    return folder, chipset, checkpoint.read(folder / "model", device=CPU)


def run(reader: Reader, trained: Trained, rows: np.ndarray, cases: tuple[Case, ...], batch_size: int = 7) -> Removed:
    steps, done = removal.embed(reader, trained, rows, cases, batch_size), []
    while True:
        try:
            done.append(next(steps).done)
        except StopIteration as stop:
            assert done == sorted(done) and done[-1] == len(rows)
            found: Removed = stop.value
            return found


def removed(case: Case) -> list[tuple[str, str]]:
    return [(name, channel) for name, channels in case.removed.items() for channel in channels]


def test_cases_take_away_modalities_seasons_shares_and_channels() -> None:
    cases = removal.cases(CHANNELS, seed=0)
    assert Counter(case.kind for case in cases) == {"modality": 2, "season": 2, "random": 12, "channel": 10}
    by_name = {case.name: removed(case) for case in cases if case.kind != "random"}
    assert by_name["without s1"] == [("s1", channel) for channel in CHANNELS["s1"]]
    assert by_name["without jja"] == [one for one in ALL if one[1].startswith("jja_")]
    assert by_name["without s2 djf_red"] == [("s2", "djf_red")]
    for share, k in ((10, 1), (30, 3), (50, 5), (70, 7)):
        drawn = [case for case in cases if case.name == f"{share} % of channels"]
        assert [case.draw for case in drawn] == [1, 2, 3] and {case.kind for case in drawn} == {"random"}
        for case in drawn:
            assert len(removed(case)) == k and set(removed(case)) <= set(ALL)
            assert [one for one in ALL if one in removed(case)] == removed(case)
    assert all(case.draw == 0 for case in cases if case.kind != "random")
    random = [removed(case) for case in cases if case.kind == "random"]
    assert len({tuple(some) for some in random}) > 8
    assert cases == removal.cases(CHANNELS, seed=0) and cases != removal.cases(CHANNELS, seed=1)
    assert sum(case.kind == "random" for case in removal.cases(CHANNELS, seed=0, draws=5)) == 20


def test_what_there_is_one_of_is_not_taken_away() -> None:
    one_season = removal.cases({"s2": ("jja_red", "jja_blue"), "dem": ("dem_height",)}, seed=0)
    assert Counter(case.kind for case in one_season) == {"modality": 2, "random": 12, "channel": 3}
    assert {len(removed(case)) for case in one_season if case.name == "70 % of channels"} == {2}
    two = removal.cases({"s2": ("jja_red", "jja_blue")}, seed=0)
    assert Counter(case.kind for case in two) == {"random": 12, "channel": 2}
    assert {len(removed(case)) for case in two if case.kind == "random"} == {1}
    assert removal.cases({"s2": ("jja_red",)}, seed=0) == ()


def test_vectors_are_those_of_chips_without_it(base: tuple[Path, ChipSet, Trained]) -> None:
    _, chipset, trained = base
    reader, rows = Reader(chipset, CHANNELS), np.array([38, 3, 4, 9, 14, 19, 20, 0, 7, 31])
    cases = removal.cases(CHANNELS, seed=0)
    found = run(reader, trained, rows, cases)
    assert len(found.without) == len(cases) == 26
    values = reader.batch(rows, trained.described.statistics).values
    for case, vectors in zip([Case("none", "", {}), *cases], [found.everything, *found.without], strict=True):
        assert vectors.shape == (10, 256) and vectors.dtype == np.float32
        less = {name: pixels.clone() for name, pixels in values.items()}
        for name, channel in removed(case):
            less[name][:, CHANNELS[name].index(channel)] = np.nan
        with torch.no_grad():
            wanted = encode(trained.model, less)["fused"].numpy()
        np.testing.assert_allclose(vectors, wanted, atol=1e-5)
        if case.removed:
            left = ~np.isnan(vectors).any(1)
            touched = np.any([~values[name].isnan().flatten(1).all(1).numpy() for name in case.removed], 0)
            assert (np.abs(vectors - found.everything).max(1) > 1e-4)[left & touched].all()
            np.testing.assert_array_equal(vectors[~touched], found.everything[~touched])


def test_a_chip_of_which_nothing_is_left_is_nan(base: tuple[Path, ChipSet, Trained]) -> None:
    _, chipset, trained = base
    cases = removal.cases(CHANNELS, seed=0)
    without_s1 = next(i for i, case in enumerate(cases) if case.name == "without s1")
    found = run(Reader(chipset, CHANNELS), trained, np.arange(40), cases)
    only_s1 = chipset.index["s2"].isna().to_numpy()
    assert only_s1.any()
    np.testing.assert_array_equal(np.isnan(found.without[without_s1]).all(1), only_s1)
    np.testing.assert_array_equal(np.isnan(found.without[without_s1]).any(1), only_s1)
    assert not np.isnan(found.everything).any()


def test_with_everything_it_is_what_embed_writes(base: tuple[Path, ChipSet, Trained], tmp_path: Path) -> None:
    folder, chipset, trained = base
    rows = np.flatnonzero(chipset.index["split"] == "test")
    for channels, only in (({}, CHANNELS), ({"s2": ("jja_*",)}, CHANNELS | {"s2": CHANNELS["s2"][3:]})):
        path = tmp_path / f"{len(channels)}.h5"
        options: dict[str, Any] = {"channels": channels, "device": "cpu", "batch_size": 5}
        embed.embed(folder / "chips", model=folder / "model", output=path, **options)
        cases = removal.cases(only, seed=0)
        found = run(Reader(chipset, CHANNELS, only=only), trained, rows, cases)
        np.testing.assert_allclose(found.everything, embeddings.read(path).vectors("fused")[rows], atol=1e-5)
        s2 = next(vectors for case, vectors in zip(cases, found.without, strict=True) if case.name == "without s2")
        here = chipset.index["s1"].notna().to_numpy()[rows]
        np.testing.assert_allclose(s2[here], embeddings.read(path).vectors("s1")[rows][here], atol=1e-5)


def test_each_chip_is_read_once(base: tuple[Path, ChipSet, Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    _, chipset, trained = base
    read: Counter[Path] = Counter()
    read_chip = chip_folder.read_chip

    def counted(path: Path, digest: str) -> chip_folder.Chip:
        read[path] += 1
        return read_chip(path, digest)

    monkeypatch.setattr(chip_folder, "read_chip", counted)
    rows = np.arange(5, 20)
    run(Reader(chipset, CHANNELS, memory=0), trained, rows, removal.cases(CHANNELS, seed=0))
    assert set(read.values()) == {1} and len(read) == chipset.index[list(CHANNELS)].notna().to_numpy()[rows].sum()
    with pytest.raises(ValueError, match="not in tuple"):
        run(Reader(chipset, CHANNELS), trained, rows, (Case("channel", "", {"s2": ("jja_nir",)}),))
