from __future__ import annotations

from pathlib import Path

import pytest
from data_tools import grey, save

from vasomim.data.audit.split_checks import lists_of_kept
from vasomim.data.frame_list import frame_list_text, read_frame_list
from vasomim.data.open import open_frames
from vasomim.errors import DataError, MisuseError


@pytest.fixture
def two_sets(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        for number in (1, 2, 10):
            save(tmp_path / name / "images" / f"{number}.png", grey(number))
        (tmp_path / name / "boxes.csv").write_text(f"file,patient,x0,y0,x1,y1\n2.png,{name}7,,,,\n")
    return tmp_path / "a", tmp_path / "b"


def listed(root: Path, *numbers: int) -> list[Path]:
    return [root / "images" / f"{number}.png" for number in numbers]


def test_open_frames__a_list_gives_the_ids_and_patients_of_its_folders(two_sets: tuple[Path, Path]) -> None:
    a, b = two_sets
    place = a.parent / "keep.txt"
    place.write_text(frame_list_text({a: listed(a, 1, 2, 10), b: listed(b, 2, 10)}, place, "five frames"))
    records, everything = open_frames([place]).records, open_frames([a, b]).records
    assert list(records) == [record for record in everything if record.id != "b/1"]
    assert [record.patient for record in records] == [None, "a7", None, "b7", None]


def test_frame_list_text__moves_together_with_its_frames(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    a, _ = two_sets
    text = frame_list_text({a: listed(a, 1)}, tmp_path / "keep.txt", "one")
    assert text == "# one\na/\nimages/1.png\n"
    elsewhere = frame_list_text({a: listed(a, 1)}, tmp_path / "other" / "keep.txt", "one")
    assert elsewhere == f"# one\n{a.as_posix()}/\nimages/1.png\n"


def test_open_frames__a_plain_list_of_paths(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = two_sets
    place = tmp_path / "some.txt"
    place.write_text(f"\ufeff\n# two frames\na/images/1.png\n{b}/images/2.png\na/images/1.png\n")
    assert [record.path for record in open_frames([place]).records] == [*listed(a, 1), *listed(b, 2)]


def test_open_frames__a_list_beside_a_folder_takes_a_file_once(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    a, _ = two_sets
    place = tmp_path / "some.txt"
    place.write_text("a/\nimages/1.png\nb/\nimages/1.png\n")
    assert len(open_frames([place, a])) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no frame"),
        ("# nothing\na/\n", "lists no frame"),
        ("ghost.png\nb.png\n", "2 file.s. that are not there"),
    ],
)
def test_read_frame_list__says_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(MisuseError, match=words):
        read_frame_list(tmp_path / "list.txt")


def test_read_frame_list__refuses_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(MisuseError, match="cannot read the list"):
        read_frame_list(tmp_path / "list.txt")


def test_lists_of_kept__nothing_kept() -> None:
    assert lists_of_kept([], []) == {}


@pytest.mark.parametrize("folder", ["plain", "#shared", " space "])
@pytest.mark.parametrize("name", ["#1.png", " 1.png", "form\ffeed.png", "100% [x].png", "\u2028.png"])
def test_frame_list_text__any_name_of_one_line_is_read_back(tmp_path: Path, folder: str, name: str) -> None:
    root, place = tmp_path / folder, tmp_path / "keep.txt"
    root.mkdir()
    (root / name).touch()
    place.write_text(frame_list_text({root: [root / name]}, place, "one frame of /mnt/data/"), encoding="utf-8")
    assert read_frame_list(place) == {root: [root / name]}


@pytest.mark.parametrize("name", ["two\nlines.png", "IM1 ", "fr\udce9.png"])
def test_frame_list_text__refuses_names_that_would_be_read_as_others(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="rename it"):
        frame_list_text({tmp_path: [tmp_path / name]}, tmp_path / "keep.txt", "one")
