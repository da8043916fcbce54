import pytest

from geoembed import names

ESCAPES = [
    "../x",
    "..",
    "a/../b",
    "/etc/passwd",
    "~/x",
    "\\\\server\\x",
    "/vsicurl/http://a/b",
    "http://a/b",
    "a/vsimem/b",
]
GARBLED = ["", " ", "a\nb", "a\x1b[31mb", "a\x00b", "a\u202eb", "a\u2028b", "x" * 201]


@pytest.mark.parametrize("name", ["s2", "nir", "_dem", "B8A"])
def test_a_modality_is_a_word(name: str) -> None:
    assert names.modality(name) == name


@pytest.mark.parametrize("name", [*ESCAPES, *GARBLED, "2s", "s-2", "fused", "Split", "s2\n", "é", "a.b", "a" * 64])
def test_other_texts_are_no_modality(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a modality's name"):
        names.modality(name)


@pytest.mark.parametrize("name", ["32N-4480-00112-01134", "01S-16.5-00000-00003", "ab12cd34-64--0012-00001"])
def test_chip_ids(name: str) -> None:
    assert names.chip_id(name) == name


@pytest.mark.parametrize("name", [*ESCAPES, *GARBLED, "32N-4480-1", "32N-4480-1-2\n", "../-1-2-3", "32N-4480-\u0661-1"])
def test_other_texts_are_no_chip_id(name: str) -> None:
    with pytest.raises(ValueError, match="no chip id"):
        names.chip_id(name)


@pytest.mark.parametrize("name", ["Trentino/Südtirol", "B4 (665 nm)", "VV/VH", "नदी\u200dका", "-"])
def test_areas_and_channels_are_text(name: str) -> None:
    assert names.text(name) == name


@pytest.mark.parametrize("name", [*ESCAPES, *GARBLED])
def test_paths_and_what_garbles_text_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be a name|separator"):
        names.text(name)
    with pytest.raises(ValueError, match=r"cannot be a name|separator"):
        names.task(name)


def test_a_task_is_a_folder() -> None:
    assert names.task("water:value") == "water:value"
    with pytest.raises(ValueError, match="separator"):
        names.task("Trentino/Südtirol")
