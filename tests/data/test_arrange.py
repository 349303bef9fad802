"""Data sets from their publishers' layouts into ours: the readers open what comes out."""

import numpy as np
import pytest

from vasomim.data.arrange import ARRANGERS, arrange
from vasomim.data.frames import read_frame, write_png
from vasomim.data.open import open_frames, open_labelled
from vasomim.data.registry import DATASETS
from vasomim.data.verification import verify
from vasomim.errors import DataError, MisuseError

RNG = np.random.default_rng(0)


def pgm(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P5 4 4 255\n" + bytes([value]) * 15 + b"\0")


def test_arrange__dca1(tmp_path):
    for number in (1, 2, 10):
        pgm(tmp_path / "Database_134_Angiograms" / f"{number}.pgm", number)
        pgm(tmp_path / "Database_134_Angiograms" / f"{number}_gt.pgm", 255)
    pgm(tmp_path / "Database_134_Angiograms" / "11.pgm", 9)
    assert arrange(DATASETS["dca1"], tmp_path, tmp_path / "out") == 3
    dataset = open_labelled([tmp_path / "out"])
    assert [record.id for record in dataset.records] == ["1", "2", "10"]
    assert dataset[2].image[0, 0] == pytest.approx(10 / 255)
    assert dataset[2].mask.sum() == 15
    assert verify(DATASETS["dca1"], tmp_path / "out").layout == "frames and masks"


def test_arrange__xcav_takes_vessels_and_patients_not_catheters(tmp_path):
    for patient in ("CVAI-1", "CVAI-2"):
        for frame in ("00000.png", "00001.png"):
            write_png(tmp_path / patient / "images" / f"{patient}LAO" / frame, RNG.integers(0, 255, (8, 8), np.uint8))
        for run in (f"{patient}LAO", f"{patient}LAOCATH"):
            write_png(tmp_path / patient / "ground_truth" / run / "00001.png", np.eye(8) > 0)
    assert arrange(DATASETS["xcav"], tmp_path, tmp_path / "out") == 2
    dataset = open_labelled([tmp_path / "out"])
    assert [(record.id, record.patient) for record in dataset.records] == [
        ("CVAI-1LAO/00001", "CVAI-1"),
        ("CVAI-2LAO/00001", "CVAI-2"),
    ]
    original = tmp_path / "CVAI-1" / "images" / "CVAI-1LAO" / "00001.png"
    assert np.array_equal(dataset[0].image, read_frame(original))


BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5.5</xmax><ymax>7</ymax></bndbox>"
VOC = f"<annotation><object>{BOX}</object></annotation>"


def danilov(folder, **labels):
    for name, text in labels.items():
        write_png(folder / "dataset" / f"{name}.png", np.full((9, 9), 7, np.uint8))
        (folder / "dataset" / f"{name}.png").rename(folder / "dataset" / f"{name}.bmp")
        (folder / "dataset" / f"{name}.xml").write_text(text)


def test_arrange__danilov_gives_boxes_and_patients(tmp_path):
    danilov(tmp_path, a_b_2_0042=VOC, **{"14_024_2_0042": VOC, "14_024_2_0043": "<annotation/>", "14_025_1_0001": VOC})
    assert arrange(DATASETS["danilov"], tmp_path, tmp_path / "out") == 4
    patients = {record.id: record.patient for record in open_frames([tmp_path / "out"]).records}
    assert patients["14_024_2_0042"] == patients["14_024_2_0043"] == "14_024"
    rows = (tmp_path / "out" / "boxes.csv").read_text().splitlines()
    assert "14_024_2_0042.bmp,14_024,1.0,2.0,5.5,7.0" in rows
    assert "14_024_2_0043.bmp,14_024,,,," in rows


def test_arrange__cadica_gives_boxes_and_patients(tmp_path):
    video = tmp_path / "CADICA" / "selectedVideos" / "p11" / "v10"
    for number in (1, 2):
        write_png(video / "input" / f"p11_v10_0000{number}.png", np.full((9, 9), 7, np.uint8))
    (video / "groundtruth").mkdir()
    (video / "groundtruth" / "p11_v10_00002.txt").write_text("1 2 3 4 p50_70\n\n2 2 2 2 p100\n")
    (video / "p11_v10_selectedFrames.txt").write_text("p11_v10_00002\n")
    assert arrange(DATASETS["cadica"], tmp_path, tmp_path / "out") == 1
    assert (tmp_path / "out" / "boxes.csv").read_text().splitlines()[1:] == [
        "p11_v10_00002.png,p11,1.0,2.0,4.0,6.0",
        "p11_v10_00002.png,p11,2.0,2.0,4.0,4.0",
    ]


@pytest.mark.parametrize(
    "text",
    ["<annotation>", VOC.replace(">1<", ">one<"), '<!DOCTYPE x [<!ENTITY a "b">]>' + VOC, "<a>" + " " * 2**20 + "</a>"],
)
def test_arrange__broken_annotations_leave_nothing(tmp_path, text):
    danilov(tmp_path / "in", **{"14_024_2_0042": text})
    with pytest.raises(DataError, match=r"14_024_2_0042\.xml"):
        arrange(DATASETS["danilov"], tmp_path / "in", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_arrange__misuse(tmp_path):
    with pytest.raises(MisuseError, match="arcade cannot be arranged, only dca1, xcav, danilov, cadica"):
        arrange(DATASETS["arcade"], tmp_path, tmp_path / "out")
    with pytest.raises(MisuseError, match="no such folder"):
        arrange(DATASETS["dca1"], tmp_path / "none", tmp_path / "out")
    with pytest.raises(DataError, match="no labelled frame of dca1"):
        arrange(DATASETS["dca1"], tmp_path, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(MisuseError, match="is not empty"):
        arrange(DATASETS["dca1"], tmp_path, tmp_path / "out")


def test_arrange__two_frames_of_one_name_are_refused(tmp_path):
    for part in ("a", "b"):
        pgm(tmp_path / part / "1.pgm", 1)
        pgm(tmp_path / part / "1_gt.pgm", 255)
    with pytest.raises(DataError, match=r"frames of one name: 1\.pgm"):
        arrange(DATASETS["dca1"], tmp_path, tmp_path / "out")


def test_arrangers__name_the_verb_in_their_cards():
    for name in ARRANGERS:
        assert f"--arrange {name}" in DATASETS[name].reader
