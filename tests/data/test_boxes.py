from __future__ import annotations

from pathlib import Path

import pytest

from vasomim.data.boxes import FrameNote, boxes_table, notes_beside, read_boxes
from vasomim.errors import DataError
from vasomim.types import Box

HEADER = "file,patient,series,frame,original_width,original_height,x0,y0,x1,y1\n"


def test_read_boxes__boxes_and_patients(tmp_path: Path) -> None:
    rows = "a_1.png,007,1,1,512,512,1,2,5.5,6\na_1.png,007,1,1,512,512,7,8,9,10\nb_1.png,8,,1,512,512,,,,\n"
    (tmp_path / "boxes.csv").write_text(HEADER + rows)
    assert read_boxes(tmp_path / "boxes.csv") == {
        "a_1.png": FrameNote("007", (Box(1, 2, 5.5, 6), Box(7, 8, 9, 10)), "1"),
        "b_1.png": FrameNote("8", ()),
    }


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,1,1,1,9,9,5,0,2,2\n", "line 2: 5, 0, 2, 2 is no box"),
        ("a,1,1,1,9,9,x,0,2,2\n", "is no box"),
        ("a,1,1,1,9,9,0,0,nan,2\n", "is no box"),
        ("a,1,1,1,9,9,0,0,2\n", "is no box"),
        (",1,1,1,9,9,0,0,2,2\n", "line 2 names no file"),
        ("a,1,1,1,9,9,0,0,2,2\na,2,1,1,9,9,0,0,2,2\n", "line 3: a has another patient here than above"),
    ],
)
def test_read_boxes__names_the_line(tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "boxes.csv").write_text(HEADER + rows)
    with pytest.raises(DataError, match=words):
        read_boxes(tmp_path / "boxes.csv")


def test_read_boxes__a_short_row_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("x0,y0,x1,y1,file\n1,2,3,4\n")
    with pytest.raises(DataError, match="line 2 names no file"):
        read_boxes(tmp_path / "boxes.csv")


def test_read_boxes__missing_column_or_no_text(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("file,x0,y0,x1\n")
    with pytest.raises(DataError, match=r"lacks the column.s. y1"):
        read_boxes(path)
    path.write_bytes(b"\xff\xfe\0\0\x80")
    with pytest.raises(DataError, match="cannot read"):
        read_boxes(path)
    path.write_text("")
    with pytest.raises(DataError, match="lacks the column"):
        read_boxes(path)


def test_boxes_table__is_read_back(tmp_path: Path) -> None:
    rows = [("a/1.png", "p, 7", [(1.0, 2.0, 5.5, 6.0), (7, 8, 9, 10)]), ("b.png", None, [])]
    (tmp_path / "boxes.csv").write_text(boxes_table(rows))
    assert read_boxes(tmp_path / "boxes.csv") == {
        "a/1.png": FrameNote("p, 7", (Box(1, 2, 5.5, 6), Box(7, 8, 9, 10))),
        "b.png": FrameNote(None, ()),
    }


@pytest.mark.real
def test_read_boxes__real_set(real_data: Path) -> None:
    notes = read_boxes(real_data / "danilov_352" / "boxes.csv")
    assert len({note.patient for note in notes.values()}) == 52


def test_notes_beside__warns_of_rows_whose_frames_are_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = tmp_path / "images"
    assert notes_beside(frames) == {}, "no table"
    frames.mkdir()
    (frames / "a.png").touch()
    (tmp_path / "boxes.csv").write_text(HEADER + "a.png,7,1,1,9,9,0,0,2,2\n")
    assert notes_beside(frames)["a.png"].patient == "7"
    assert not caplog.records
    (tmp_path / "boxes.csv").write_text(HEADER + "a.png,7,1,1,9,9,0,0,2,2\nsmith,8,1,1,9,9,0,0,2,2\n")
    assert set(notes_beside(frames)) == {"a.png", "smith"}
    assert "1 of the 2 files it names are not there" in caplog.text
    assert "smith" not in caplog.text, "names may be patients'"
    (tmp_path / "boxes.csv").write_text(HEADER + f"{'x' * 5000},8,1,1,9,9,0,0,2,2\n")
    assert len(notes_beside(frames)) == 1, "a name that no file can have is no reason to fail"
