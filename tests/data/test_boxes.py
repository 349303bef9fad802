from __future__ import annotations

from pathlib import Path

import pytest
from data_tools import grey, save

from vasomim.data.boxes import BoxesDataset, read_boxes
from vasomim.errors import DataError, MisuseError
from vasomim.types import Box

HEADER = "file,patient,series,frame,original_width,original_height,x0,y0,x1,y1\n"


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    for name in ("a_1.png", "a_2.png", "b_1.png"):
        save(tmp_path / "images" / name, grey())
    rows = "a_1.png,007,1,1,512,512,1,2,5.5,6\na_1.png,007,1,1,512,512,7,8,9,10\nb_1.png,8,1,1,512,512,0,0,2,2\n"
    (tmp_path / "boxes.csv").write_text(HEADER + rows)
    return tmp_path


def test_boxes_dataset__boxes_and_patients(boxed: Path) -> None:
    dataset = BoxesDataset(boxed)
    assert [(record.id, record.patient) for record in dataset.records] == [("a_1", "007"), ("a_2", None), ("b_1", "8")]
    assert dataset[0].boxes == (Box(1, 2, 5.5, 6), Box(7, 8, 9, 10))
    assert dataset[1].boxes == ()
    assert dataset[0].mask is None


def test_boxes_dataset__row_without_frame(boxed: Path) -> None:
    with (boxed / "boxes.csv").open("a") as file:
        file.write("gone.png,8,1,1,512,512,0,0,2,2\n")
    with pytest.raises(DataError, match=r"1 frame\(s\) that are not in .*gone.png"):
        BoxesDataset(boxed)


def test_boxes_dataset__another_layout(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"need a folder with images/ and boxes.csv"):
        BoxesDataset(tmp_path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,1,1,1,9,9,5,0,2,2\n", "line 2: 5, 0, 2, 2 is no box"),
        ("a,1,1,1,9,9,x,0,2,2\n", "is no box"),
        ("a,1,1,1,9,9,0,0,nan,2\n", "is no box"),
        ("a,1,1,1,9,9,0,0,2\n", "is no box"),
        ("a,1,1,1,9,9,0,0,2,2\na,2,1,1,9,9,0,0,2,2\n", "line 3: a has another patient here than above"),
    ],
)
def test_read_boxes__names_the_line(tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "boxes.csv").write_text(HEADER + rows)
    with pytest.raises(DataError, match=words):
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


@pytest.mark.real
def test_boxes_dataset__real_set(real_data: Path) -> None:
    dataset = BoxesDataset(real_data / "danilov_352")
    assert len(dataset) == 2032
    assert len({record.patient for record in dataset.records}) == 52
    sample = dataset[1000]
    assert sample.image.shape == (352, 352)
    assert len(sample.boxes) == 1
