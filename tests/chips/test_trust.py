"""Chip folders whose files were damaged, or made to mislead."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
from chip_folders import make_chips, renew_index

from geoembed.chips import cutting
from geoembed.chips import folder as chip_folder
from geoembed.chips.batches import Reader
from geoembed.chips.cutting import Held, Synced
from geoembed.errors import ChipError
from geoembed.outputs import digests, disk, journal
from geoembed.outputs.journal import Journal
from geoembed.outputs.records import Record

RECORD = Record("chip", {}, {})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trust") / "chips"
    make_chips(folder, n=6)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "chips")
    return tmp_path / "chips"


def test_no_flipped_bit_of_a_chip_is_read(folder: Path) -> None:
    chipset = chip_folder.read(folder)
    path = chipset.path_of(chipset.index["chip_id"][0], "s2")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, 8 * len(content), 200).tolist():
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(ChipError, match="was changed or damaged"):
            chipset.read(0, "s2")
    path.write_bytes(content)
    assert chipset.read(0, "s2").values.shape == (6, 16, 16)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "swapped"])
def test_damage_is_found_when_chips_are_kept(folder: Path, damage: str) -> None:
    chipset = chip_folder.read(folder)
    files = chipset.files()
    assert chip_folder.damaged(folder, files) == []
    path, other = (chip_folder.path_of(folder, chip_id, name) for chip_id, name, _ in files[:2])
    content = path.read_bytes()
    changed = {"flip": content[:200] + bytes([content[200] ^ 1]) + content[201:], "cut": content[:-1], "empty": b"",
               "swapped": other.read_bytes()}  # fmt: skip
    path.unlink()
    if damage in changed:
        path.write_bytes(changed[damage])
    assert chip_folder.damaged(folder, files) == [path]


def test_of_many_chips_the_sizes_are_looked_at_and_some_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = chip_folder.read(folder).files()
    monkeypatch.setattr(chip_folder, "CHECKED", sum(digests.size_of_small(digest) for *_, digest in files) // 2)
    paths = [chip_folder.path_of(folder, chip_id, name) for chip_id, name, _ in files]
    for path in paths[:2]:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert chip_folder.damaged(folder, files) == paths[:1]
    paths[1].write_bytes(b"")
    assert chip_folder.damaged(folder, files) == paths[:2]


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "/vsicurl/http://127.0.0.1/x-1-1-1", "32N-160-01500-17000\n"]
)
def test_an_index_that_leads_elsewhere_is_refused(folder: Path, name: str) -> None:
    index = chip_folder.read(folder).index
    index.loc[0, "chip_id"] = name
    chip_folder.write_index(folder, index, chip_folder.read_description(folder).made_from)
    with pytest.raises(ChipError, match=r"index\.gpkg: .* is no chip id; run `geoembed chip"):
        chip_folder.read(folder)


@pytest.mark.parametrize(
    ("column", "value"), [("split", "all"), ("aoi", "../a"), ("aoi", "a\x1b[2J"), ("s2_digest", "1")]
)
def test_an_index_of_other_words_is_refused(folder: Path, column: str, value: str) -> None:
    index = chip_folder.read(folder).index
    index.loc[0, column] = value
    chip_folder.write_index(folder, index, chip_folder.read_description(folder).made_from)
    with pytest.raises(ChipError, match=r"index\.gpkg: .*; run `geoembed chip"):
        chip_folder.read(folder)


def test_a_journal_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    held = {"s2": [1.0, ["jja_red"], "1-0123456789abcdef"]}
    opened = Journal(tmp_path / "j", RECORD)
    opened.write({"../../other-1-1": held})
    opened.write({"32N-160-01500-17000": {"../s2": held["s2"]}})
    opened.write({"32N-160-01500-17000": {"s2": [7.0, [], "1-0123456789abcdef"]}})
    opened.write({"32N-160-01500-17001": held})
    opened.close()
    assert list(cutting.finished(journal.read(tmp_path / "j")[1])) == ["32N-160-01500-17001"]


def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "s2").rename(tmp_path / "elsewhere")
    (folder / "s2").symlink_to(tmp_path / "elsewhere")
    chipset = chip_folder.read(folder)
    files = [(chip_id, name) for chip_id, name, _ in chipset.files()]
    with pytest.raises(ChipError, match="a link leads out of its folder"):
        chipset.read(0, "s2")
    with pytest.raises(ChipError, match="a link leads out of its folder"):
        chip_folder.remove_chips(folder, files)
    assert len(list((tmp_path / "elsewhere").rglob("*.tif"))) == 6


def test_a_folder_that_is_a_link_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    chipset = chip_folder.read(tmp_path / "link")
    assert Reader(chipset, chipset.channels).pixels(0, "s2") is not None
    renew_index(tmp_path / "link")
    assert pyogrio.read_info(folder / chip_folder.INDEX)["features"] == 6


def test_files_are_on_the_disk_before_the_journal_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    write = Journal.write

    def written(self: Journal, line: dict[str, Any]) -> None:
        calls.append("write")
        write(self, line)

    monkeypatch.setattr(disk, "sync_all", lambda folder, files: calls.append(f"sync {len(files)}"))
    monkeypatch.setattr(Journal, "write", written)
    opened = Journal(tmp_path / "j", RECORD)
    calls.clear()
    synced = Synced(tmp_path, opened)
    for row in range(3):
        synced.add({f"32N-160-01500-{row:05d}": {"s2": Held(1.0, ("a",), "1-0123456789abcdef")}})
    synced.close()
    opened.close()
    assert calls[:2] == ["sync 1", "write"] and calls.count("write") == 3
    assert calls.index("sync 1") < calls.index("write") and calls[-1] == "write"
