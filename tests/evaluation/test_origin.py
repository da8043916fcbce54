"""Where embeddings came from: what is asked of chips and model again, and when they are refused."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chip_folders import CHANNELS
from embedded_chips import make_embedded, write_model

from geoembed.chips import batches
from geoembed.chips import folder as chip_folder
from geoembed.chips.folder import ChipSet
from geoembed.errors import ChipError, ModelError
from geoembed.evaluation import origin, removal
from geoembed.evaluation.origin import Origin
from geoembed.fits import embeddings
from geoembed.fits.embeddings import Embeddings
from geoembed.labels.targets import Targets
from geoembed.learning import loss
from geoembed.learning.model import contrasted
from geoembed.steps import embed

CPU = torch.device("cpu")


@dataclass(frozen=True)
class World:
    folder: Path
    chipset: ChipSet
    found: Embeddings
    from_: Origin


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("origin")
    chipset = make_embedded(folder, n=80)
    found = reordered(embeddings.read(folder / "e.h5"), folder / "turned.h5")
    return World(folder, chipset, found, origin.read(folder / "chips", folder / "model", found, CPU))


def reordered(found: Embeddings, path: Path) -> Embeddings:
    """The same embeddings in another order than the chips' index, and not of every chip."""
    rows = np.random.default_rng(0).permutation(len(found))[:70]
    block = embeddings.Chunk(found.present[rows], {name: found.vectors(name)[rows] for name in found.names})
    embeddings.write(
        path, found.chip_id[rows], found.aoi[rows], found.split[rows], grids=found.grids, modalities=found.modalities,
        blocks=[block], attributes=found.attributes,
    )  # fmt: skip
    return embeddings.read(path)


def embedded_again(
    from_: Origin, rows: np.ndarray[Any, Any], seed: int, draws: int
) -> tuple[list[Any], dict[str, np.ndarray[Any, Any]]]:
    steps, done = from_.missing(rows, seed, draws), []
    while True:
        try:
            done.append(next(steps).done)
        except StopIteration as stop:
            assert done and done[-1] == len(rows)
            found: tuple[list[Any], dict[str, np.ndarray[Any, Any]]] = stop.value
            return found


def missing(from_: Origin, rows: np.ndarray[Any, Any], seed: int, draws: int) -> list[Any]:
    return embedded_again(from_, rows, seed, draws)[0]


def test_chips_are_found_by_id(world: World) -> None:
    index = world.chipset.index
    assert world.from_.rows.shape == (70,)
    assert index["chip_id"].iloc[world.from_.rows].tolist() == world.found.chip_id.tolist()
    assert world.from_.channels == CHANNELS and world.from_.chipset.digest == world.chipset.digest
    assert world.from_.trained.digest == world.found.attributes["model_sha256"]


def test_with_nothing_removed_the_vectors_are_those_of_the_file(world: World) -> None:
    rows = np.array([3, 60, 0, 17, 42])
    nothing, *others = missing(world.from_, rows, seed=7, draws=2)
    assert (nothing.question, nothing.name, nothing.draw) == ("missing", "nothing", None)
    np.testing.assert_allclose(nothing.vectors, world.found.vectors("fused")[rows], atol=1e-5)
    cases = removal.cases(CHANNELS, seed=7, draws=2)
    assert [one.name for one in others] == [case.name for case in cases]
    # Random removals are numbered from 1, the draws of labels from 0; every other case is asked in every draw.
    assert [one.draw for one in others] == [case.draw - 1 if case.kind == "random" else None for case in cases]
    assert {one.draw for one in others} == {None, 0, 1}
    assert all(one.rows.tolist() == rows.tolist() and one.sizes is None for one in (nothing, *others))
    s2, both = (world.found.vectors(name)[rows] for name in ("s2", "fused"))
    without = next(one for one in others if one.name == "without s1")
    present = world.found.present[rows]
    np.testing.assert_allclose(without.vectors[present[:, 0]], s2[present[:, 0]], atol=1e-5)
    assert np.abs(without.vectors - both)[present.all(1)].max() > 1e-3


def test_only_channels_that_were_embedded_are_looked_at(world: World) -> None:
    path = world.folder / "few.h5"
    options: dict[str, Any] = {"modalities": ("s2",), "channels": {"s2": ("jja_*",)}, "device": "cpu"}
    embed.embed(world.folder / "chips", model=world.folder / "model", output=path, **options)
    found = embeddings.read(path)
    few = origin.read(world.folder / "chips", world.folder / "model", found, CPU)
    assert few.channels == {"s2": ("jja_red", "jja_green", "jja_blue")} == few.chipset.channels
    rows = np.flatnonzero(found.present[few.rows, 0])[:6]
    nothing, *others = missing(few, rows, seed=0, draws=1)
    np.testing.assert_allclose(nothing.vectors, found.vectors("fused")[rows], atol=1e-5)
    assert {one.name for one in others if one.draw is None} == {f"without s2 jja_{c}" for c in ("red", "green", "blue")}
    assert list(few.contrasted(rows)) == ["s2"] and few.retrievals(few.contrasted(rows)) == []


def test_a_batch_holds_no_more_than_fits(world: World) -> None:
    def size(pixels: int, most: int = 256) -> int:
        chipset = replace(world.chipset, size=pixels)
        return replace(world.from_, chipset=chipset).reader().batch_size("cpu", most)

    chip = sum(map(len, CHANNELS.values())) * 8 * 8 * 4
    assert size(8) == 256 < batches.BATCH_BYTES["cpu"] // chip and size(8, origin.BATCH) == origin.BATCH
    assert size(448) == batches.BATCH_BYTES["cpu"] // (10 * 448 * 448 * 4) == 4
    assert size(4480) == 1


def test_contrasted_vectors_are_what_the_encoders_give(world: World) -> None:
    rows = np.array([5, 1, 33, 20])
    found, trained = world.from_.contrasted(rows), world.from_.trained
    assert set(found) == {"s2", "s1"}
    for name, vectors in found.items():
        here = world.found.present[rows, world.found.modalities.index(name)]
        assert np.isnan(vectors).any(1).tolist() == (~here).tolist()
        assert np.linalg.norm(vectors[here], axis=1) == pytest.approx(1.0, abs=1e-5)
        for i in np.flatnonzero(here):  # one chip at a time
            at = world.from_.rows[rows[i : i + 1]]
            values = world.from_.reader().batch(at, trained.described.statistics).values
            with torch.no_grad():
                wanted = contrasted(trained.model, values)[name]
            np.testing.assert_allclose(vectors[i], wanted[0].numpy(), atol=1e-5)


def test_contrasted_vectors_come_with_the_missing_inputs(world: World) -> None:
    rows = np.arange(0, 70, 3)
    _, found = embedded_again(world.from_, rows, seed=0, draws=1)
    wanted = world.from_.contrasted(rows)
    assert list(found) == list(wanted)
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])


def test_retrieval_is_asked_of_each_two_modalities(world: World) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(9, 4)).astype(np.float32) for _ in range(2))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    lone = np.full((9, 4), np.nan, np.float32)
    lone[3] = a[3]
    found = world.from_.retrievals({"s2": a, "s1": b, "coh": lone})
    assert [(one.first, one.second, one.n) for one in found] == [("s2", "s1", 9)]  # one chip is no contest
    ranks = [(a[i] @ b.T > a[i] @ b[i]).sum() for i in range(9)] + [(b[i] @ a.T > b[i] @ a[i]).sum() for i in range(9)]
    assert found[0].at_1 == pytest.approx(np.mean(np.array(ranks) < 1))
    assert loss.retrieval_at(1, [(torch.from_numpy(a), torch.from_numpy(b))]) == pytest.approx(found[0].at_1)


def test_neighbours_are_the_most_alike_that_do_not_touch(world: World) -> None:
    rows = np.arange(70)
    wet = np.flatnonzero(world.found.present[:, 0])[-1]
    water = np.where(rows == wet, 1.0, 0.0)
    tasks = (Targets("water", "", water, (0, 1)), Targets("height", "", np.arange(70.0), ()))
    contrasted = world.from_.contrasted(rows)
    fused, s1_to = world.from_.galleries(world.found, rows, contrasted, tasks, 0)
    assert [fused.title, s1_to.title] == ["fused, shown in s2", "s1 to s2"]
    assert "red" in fused.note and "s1:" in s1_to.note
    V = world.found.vectors("fused").astype(float)
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    index = world.chipset.index.set_index("chip_id")
    at = {chip_id: row for row, chip_id in enumerate(world.found.chip_id)}
    columns = np.array([[int(part) for part in chip_id.split("-")[-2:]] for chip_id in world.found.chip_id])
    asked = [told(pictures[0]) for pictures in fused.rows]
    assert 0 < len(asked) <= origin.QUERIES
    assert asked[0] == ("s2", world.found.chip_id[wet])  # of each task's last class, one is shown
    for pictures in fused.rows:
        query = at[told(pictures[0])[1]]
        touching = np.abs(columns - columns[query]).max(1) <= 1
        alike = np.where(touching, -np.inf, V @ V[query])
        nearest = np.argsort(-alike, kind="stable")[: origin.NEIGHBOURS]
        with_picture = [row for row in nearest if index["s2"].notna()[world.found.chip_id[row]]]
        assert {told(one)[0] for one in pictures[1:]} <= {"s2"}
        # Nearly untrained vectors are nearly alike, and rounding may swap them.
        np.testing.assert_allclose([alike[at[told(one)[1]]] for one in pictures[1:]], alike[with_picture], atol=1e-5)
    for pictures in s1_to.rows:
        query = at[told(pictures[0])[1]]
        alike = contrasted["s2"] @ contrasted["s1"][query]
        wanted = np.sort(-np.nan_to_num(alike, nan=-np.inf))[: origin.NEIGHBOURS]
        first, *others = (told(one) for one in pictures)
        assert first == ("s1", world.found.chip_id[query]) and {name for name, _ in others} == {"s2"}
        # Nearly untrained vectors are nearly alike, and rounding may swap them.
        np.testing.assert_allclose([-alike[at[chip_id]] for _, chip_id in others], wanted, atol=1e-5)


def told(picture: Any) -> tuple[str, str]:
    """The modality and the chip that a picture shows."""
    modality, _, rest = picture.alt.partition(" of chip ")
    return modality, rest.split(",")[0]


def test_chips_that_touch_do_so_over_180_degrees_too(world: World) -> None:
    side = world.chipset.grids[0].side_metres / 111_320  # degrees at the equator
    query = np.array([[-180 + 0.4 * side, 0.0]])
    chips_ = np.array([[180 - 0.6 * side, 0.0], [180 - 0.6 * side, side], [180 - 1.6 * side, 0.0], [0.0, 0.0]])
    assert origin._apart(chips_, query, world.chipset).tolist() == [[False, False, True, True]]
    # Degrees of longitude are shorter in the north: two sides away, and one.
    north = np.array([[0.0, 60.0]])
    east = np.array([[4 * side, 60.0], [2 * side, 60.0]])
    assert origin._apart(east, north, world.chipset).tolist() == [[True, False]]


def test_another_model_is_refused(world: World, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", world.chipset, seed=2)
    with pytest.raises(ModelError, match=r"other: .*turned.h5 was embedded with another model; .*--model"):
        origin.read(world.folder / "chips", other, world.found, CPU)
    with pytest.raises(ModelError, match="nowhere"):
        origin.read(world.folder / "chips", tmp_path / "nowhere", world.found, CPU)


def test_chips_that_lack_some_are_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "chips").mkdir()
    shutil.copy(world.folder / "chips" / chip_folder.DESCRIPTION, tmp_path / "chips")
    chip_folder.write_index(
        tmp_path / "chips", world.chipset.index[:50], chip_folder.read_description(tmp_path / "chips").made_from
    )
    lost = int((world.from_.rows >= 50).sum())
    with pytest.raises(ChipError, match=f"chips: lacks {lost} of 70 chips of .*turned.h5; .*--chips"):
        origin.read(tmp_path / "chips", world.folder / "model", world.found, CPU)
    with pytest.raises(ChipError, match="no chips here"):
        origin.read(tmp_path, world.folder / "model", world.found, CPU)


def test_the_reader_reads_what_was_embedded(world: World) -> None:
    reader = world.from_.reader()
    assert isinstance(reader, batches.Reader) and reader.channels == CHANNELS
    np.testing.assert_array_equal(reader.present[world.from_.rows], world.found.present)
