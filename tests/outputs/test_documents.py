import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from geoembed.errors import ChipError
from geoembed.outputs import documents


@dataclass(frozen=True)
class Form:
    name: str
    sizes: tuple[int, ...]


VALUE: dict[str, Any] = {"geoembed_version": "1", "name": "ä", "sizes": [1, 2], "share": 0.1 + 0.2, "none": None}


def read(path: Path) -> Form:
    return documents.read(path, Form, ChipError, "make it again")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    documents.write(path, VALUE)
    assert read(path) == Form("ä", (1, 2))
    assert documents.load(path)["share"] == 0.1 + 0.2
    documents.write(path, documents.load(path) | {"name": "b"})  # an old digest gives way
    assert read(path).name == "b"


def test_json_is_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        documents.write(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_no_flipped_bit_is_read_as_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    documents.write(path, VALUE)
    whole = path.read_bytes()
    for i in range(len(whole)):
        for bit in (0, 1, 2, 5, 7):
            path.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << bit]) + whole[i + 1 :])
            try:
                found = read(path)
            except ChipError as error:
                assert str(path) in str(error) and str(error).endswith("; make it again") and "\n" not in str(error)
            else:
                assert found == Form("ä", (1, 2))  # a blank became another blank


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 99, b"[1]", b"17", b"{", b'{"name": 1}', b"[" * 99999, b"\xff", b'{"a": NaN}']
)
def test_anything_else_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ChipError, match=r"a\.json: .*; make it again") as found:
        read(path)
    assert "\n" not in str(found.value)


def test_a_wrong_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    documents.write(path, VALUE | {"sizes": [1, "x"]})
    with pytest.raises(ChipError, match=r"sizes\.1 'x': input should be a valid integer"):
        read(path)


def test_a_document_speaks_for_other_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    files = documents.of_files(tmp_path, ("a", "b"))
    assert documents.damaged(tmp_path, files) == []
    (tmp_path / "a").write_text("")
    (tmp_path / "b").unlink()
    assert documents.damaged(tmp_path, files) == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(
    ("content", "ours"), [(b"", True), (b"\0\0", True), (json.dumps(VALUE).encode()[:30], True), (b'{"theirs', False)]
)
def test_what_geoembed_began_may_be_replaced(content: bytes, ours: bool, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    assert documents.is_ours(tmp_path / "a") is ours
