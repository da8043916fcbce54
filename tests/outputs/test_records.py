import json
from dataclasses import replace
from pathlib import Path

import pytest

from geoembed.errors import StaleError
from geoembed.outputs import documents, records
from geoembed.outputs.records import Record, Standing

RECORD = Record(
    "label", {"rasters": ["ab"], "chips": "cd"}, {"threshold": 0.5, "rasters": ("a.tif",)}, {"a.tif 5 1": "ab"}
)
NEWER = replace(RECORD, inputs={"rasters": ["ef"], "chips": "cd"})
OTHER = replace(RECORD, options={"threshold": 0.9, "rasters": ["a.tif"]})


class Place:
    """An output, whose deletion is counted."""

    def __init__(self, existing: Record | None, *, finished: bool = True) -> None:
        self.found, self.finished, self.removed = existing, finished, 0

    def remove(self) -> None:
        self.removed += 1

    def settle(self, wanted: Record, **policy: bool) -> Standing:
        return records.settle(Path("x"), wanted, self.found, finished=self.finished, remove=self.remove, **policy)


@pytest.mark.parametrize("policy", [{}, {"update": True}])
def test_the_same_is_kept_or_gone_on_with(policy: dict[str, bool]) -> None:
    again = Record.from_json(json.loads(json.dumps(RECORD.to_json())))
    place = Place(again)
    assert place.settle(replace(RECORD, stamps={}), **policy) is Standing.KEPT
    assert Place(again, finished=False).settle(RECORD, **policy) is Standing.BEGUN
    assert Place(None).settle(RECORD, **policy) is Standing.ABSENT
    assert place.removed == 0


def test_older_inputs_are_refused_until_update() -> None:
    place = Place(RECORD)
    with pytest.raises(StaleError, match=r"x: made from other inputs \(rasters differs\); pass --update"):
        place.settle(NEWER)
    assert place.removed == 0
    assert place.settle(NEWER, update=True) is Standing.ABSENT
    assert place.removed == 1


@pytest.mark.parametrize("wanted", [OTHER, replace(OTHER, inputs=NEWER.inputs)], ids=["options", "both"])
def test_other_options_are_refused_until_overwrite(wanted: Record) -> None:
    place = Place(RECORD)
    for policy in ({}, {"update": True}):
        with pytest.raises(StaleError, match=r"options \(threshold was 0.5, now 0.9.*--overwrite"):
            place.settle(wanted, **policy)
    assert place.removed == 0
    assert place.settle(wanted, overwrite=True) is Standing.ABSENT
    assert place.removed == 1


def test_what_another_step_made_stays() -> None:
    place = Place(replace(RECORD, step="probe"))
    for policy in ({}, {"update": True}, {"overwrite": True}):
        with pytest.raises(StaleError, match="x: was made by geoembed probe"):
            place.settle(RECORD, **policy)
    assert place.removed == 0


def test_stamps_do_not_decide() -> None:
    assert replace(RECORD, stamps={}) == RECORD
    assert replace(RECORD, stamps={}).digest == RECORD.digest != NEWER.digest


@pytest.mark.parametrize(
    "value", [None, 3, {}, {"step": 1, "inputs": {}, "options": {}}, {"step": "x", "inputs": [], "options": {}}]
)
def test_what_is_no_record_is_none(value: object, tmp_path: Path) -> None:
    assert Record.from_json(value) is None
    documents.write(tmp_path / "x.json", {"made_from": value})
    assert records.read_json(tmp_path / "x.json") is None
    assert records.read_json(tmp_path / "missing.json") is None


def test_other_peoples_files_are_named(tmp_path: Path) -> None:
    records.require_free(tmp_path, ("a", "b"))
    (tmp_path / "b").write_bytes(b"\0" * 99)  # as a power cut leaves a file
    records.require_free(tmp_path, ("a", "b"))
    (tmp_path / "b").write_text("theirs")
    with pytest.raises(StaleError, match=r"b: exists and was not made by geoembed"):
        records.require_free(tmp_path, ("a", "b"))
