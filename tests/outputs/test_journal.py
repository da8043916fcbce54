import json
from pathlib import Path
from typing import Any

import pytest

from geoembed.errors import StaleError
from geoembed.outputs import journal as journals
from geoembed.outputs.journal import Journal
from geoembed.outputs.records import Record

MADE_FROM = Record("evaluate", {"labels": "ab"}, {"seed": 0, "sizes": [10, "all"]}, {"a": "b"})
OTHER = Record("evaluate", {"labels": "ab"}, {"seed": 1, "sizes": [10, "all"]})


def write(path: Path, *lines: dict[str, Any]) -> None:
    journal = Journal(path, MADE_FROM)
    for line in lines:
        journal.write(line)
    journal.close()


def test_a_run_that_goes_on_finds_what_was_finished(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".fits.jsonl"
    write(path, {"key": "a", "value": 0.1 + 0.2}, {"key": "b", "value": None})
    write(path, {"key": "c"})
    journal = Journal(path, MADE_FROM)
    assert journal.lines == [{"key": "a", "value": 0.1 + 0.2}, {"key": "b", "value": None}, {"key": "c"}]
    journal.close()


def test_what_is_not_a_number_comes_back(tmp_path: Path) -> None:
    path = tmp_path / ".fits.jsonl"
    write(path, {"scores": {"r2": float("nan")}})
    journal = Journal(path, MADE_FROM)
    assert journal.lines[0]["scores"]["r2"] != journal.lines[0]["scores"]["r2"]
    journal.close()


@pytest.mark.parametrize("kept", [1, 10, -1])
def test_a_line_half_written_does_not_count_and_hides_none_after_it(tmp_path: Path, kept: int) -> None:
    path = tmp_path / ".fits.jsonl"
    write(path, {"key": "a"}, {"key": "b"})
    with path.open("a") as file:
        file.write(json.dumps({"key": "c", "fits": [[1, 2], [3, 4]]})[:kept])
    write(path, {"key": "d"})
    journal = Journal(path, MADE_FROM)
    assert [line["key"] for line in journal.lines] == ["a", "b", "d"]
    journal.close()


def test_a_journal_whose_first_line_is_half_written_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / ".fits.jsonl"
    write(path, {"key": "b"})
    path.write_bytes(path.read_bytes()[:20])
    write(path, {"key": "a"})
    assert journals.read(path) == (MADE_FROM, [{"key": "a"}])


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    """A kill asks for no leave: nothing waits in a buffer."""
    journal = Journal(tmp_path / ".fits.jsonl", MADE_FROM)
    journal.write({"key": "a"})
    assert journal.path.read_text().splitlines()[-1].endswith(' {"key":"a"}')
    journal.close()


def test_a_journal_of_another_record_gives_way(tmp_path: Path) -> None:
    path = tmp_path / ".fits.jsonl"
    write(path, {"key": "a"})
    assert journals.read(path) == (MADE_FROM, [{"key": "a"}])
    journal = Journal(path, OTHER)
    assert journal.lines == []
    journal.write({"key": "b"})
    journal.close()
    again = Journal(path, OTHER)
    assert again.lines == [{"key": "b"}]
    again.close()


def test_one_that_holds_no_work_goes(tmp_path: Path) -> None:
    Journal(tmp_path / ".fits.jsonl", MADE_FROM).close()
    assert list(tmp_path.iterdir()) == []
    assert journals.read(tmp_path / ".fits.jsonl") == (None, [])


@pytest.mark.parametrize(
    "content", ["theirs\n", "[1, 2]\n", "17\n", '{"theirs": true}\n', '{"theirs": true}\n["more"]\n']
)
def test_what_others_wrote_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".fits.jsonl"
    path.write_text(content)
    with pytest.raises(StaleError):
        Journal(path, MADE_FROM)
    assert path.read_text() == content


def test_removing_deletes_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / ".fits.jsonl", MADE_FROM)
    journal.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 10, 40])
def test_a_journal_cut_in_its_first_line_is_begun_anew(tmp_path: Path, kept: int) -> None:
    path = tmp_path / ".fits.jsonl"
    write(path, {"key": "a"})
    path.write_bytes(path.read_bytes()[:kept])
    write(path, {"key": "b"})
    journal = Journal(path, MADE_FROM)
    assert journal.lines == [{"key": "b"}]
    journal.close()
