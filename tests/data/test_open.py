from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_tools import SQUARE, coco, grey, save
from dicom_tools import make, ramp

from vasomim.data.open import OUTPUT_MARKERS, frame_files, open_frames, open_labelled
from vasomim.errors import DataError, MisuseError

Make = Callable[..., Path]
LABEL = {"image_id": 1, "category_id": 3, "segmentation": [SQUARE]}


def ids(dataset) -> list[str]:
    return [record.id for record in dataset.records]


def test_open_frames__takes_images_and_never_labels(masked_folder: Path) -> None:
    dataset = open_frames([masked_folder])
    assert ids(dataset) == ["1", "2", "10"]
    assert dataset[0].mask is None


def test_open_frames__recurses_into_sets_of_every_layout(masked_folder: Path, make_arcade: Make) -> None:
    make_arcade(coco(["5.png"], [LABEL]))
    top = masked_folder.parent
    save(top / "loose" / "7.jpg", grey())
    save(masked_folder / "preview.png", grey())
    assert ids(open_frames([top])) == [
        "arcade/train/images/5",
        "loose/7",
        "set/images/1",
        "set/images/2",
        "set/images/10",
    ]


def test_open_frames__keeps_patients_but_no_boxes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / "d" / "images" / name, grey())
    (tmp_path / "d" / "boxes.csv").write_text("file,patient,x0,y0,x1,y1\na.png,007,0,0,2,2\n")
    for root in (tmp_path / "d", tmp_path, tmp_path / "d" / "images"):
        dataset = open_frames([root])
        assert [record.patient for record in dataset.records] == ["007", None]
        assert dataset[0].boxes == ()


def test_open_frames__leaves_out_what_this_software_wrote(tmp_path: Path) -> None:
    save(tmp_path / "frames" / "1.png", grey())
    save(tmp_path / "vessels" / "masks" / "1.png", grey())
    (tmp_path / "vessels" / "extraction.json").write_text("{}")
    for number, marker in enumerate(OUTPUT_MARKERS):
        save(tmp_path / f"out{number}" / "sheet.png", grey())
        (tmp_path / f"out{number}" / marker).write_text("{}")
    assert ids(open_frames([tmp_path])) == ["frames/1"]


def test_open_frames__tells_of_folders_that_it_leaves_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "a" / "1.png", grey())
    for name in ("stents", "older"):
        save(tmp_path / "b" / name / "1.png", grey())
        (tmp_path / "b" / name / "run.json").write_text('{"cine": 12}')
    (tmp_path / "no_frames").mkdir()
    (tmp_path / "no_frames" / "run.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert ids(open_frames([tmp_path])) == ["a/1"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{tmp_path}: 2 folder(s) with frames were left out")
    assert "e.g. b/older/run.json; " in line
    assert ids(open_frames([tmp_path, tmp_path / "b" / "older"])) == ["a/1", "1"]


def test_open_frames__tells_of_types_that_are_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "1.png", grey())
    (tmp_path / "deep").mkdir()
    for name in ("deep/x.GIF", "deep/y.mp4", "deep/z.jp2", "notes.txt", "a.json", "a.csv", ".hidden.gif"):
        (tmp_path / name).write_text("x")
    with caplog.at_level(logging.WARNING):
        assert ids(open_frames([tmp_path])) == ["1"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: 3 file(s) of types that are not read were left out, e.g. deep/x.GIF; convert them to PNG"
    ]


def test_open_labelled__tells_of_types_that_are_not_read(masked_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("images/3.gif", "masks/3.gif"):
        (masked_folder / name).write_text("x")
    with caplog.at_level(logging.WARNING):
        assert len(open_labelled([masked_folder])) == 3
    assert "1 file(s) of types that are not read were left out, e.g. 3.gif" in caplog.text


def test_open_frames__beside_dicom_no_path_is_repeated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "Quittenbaum"
    for name in ("1", "cine/2"):
        (secret / name).parent.mkdir(parents=True, exist_ok=True)
        make(secret / name, ramp())
    (secret / "Xaverine.avi").write_text("x")
    (secret / "cine" / "run.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert len(frame_files(tmp_path)) == 1
    assert "e.g. */run.json; " in caplog.text
    assert "e.g. *.avi; " in caplog.text
    assert "Quittenbaum" not in caplog.text
    assert "Xaverine" not in caplog.text


def test_open_frames__a_folder_that_is_named_is_taken(masked_folder: Path) -> None:
    assert len(open_frames([masked_folder / "masks"])) == 3
    assert ids(open_frames([masked_folder / "images"])) == ["1", "2", "10"]


def test_open_frames__files(tmp_path: Path) -> None:
    paths = [save(tmp_path / name, grey(k)) for k, name in enumerate(("b.png", "a.png", "s/a.png"))]
    assert ids(open_frames(paths[:2])) == ["b", "a"]
    assert ids(open_frames(paths)) == ["b", "a", "s/a"]
    assert ids(open_frames([paths[2]])) == ["a"]


def test_open_frames__ids_stay_unique_over_folders(masked_folder: Path, make_arcade: Make) -> None:
    arcade = make_arcade(coco(["1.png"], [LABEL]))
    assert ids(open_frames([arcade, masked_folder])) == ["train/1", "set/1", "set/2", "set/10"]


def test_open_frames__a_file_named_twice_is_taken_once(masked_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    again = [masked_folder, masked_folder / "images", masked_folder.parent, masked_folder / "images" / "2.png"]
    with caplog.at_level(logging.WARNING):
        assert ids(open_frames(again)) == ["1", "2", "10"]
    assert "7 frame(s) were named more than once" in caplog.text


def test_open_frames__missing_empty_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no such file or folder"):
        open_frames([tmp_path / "none"])
    with pytest.raises(MisuseError, match="no frame in"):
        open_frames([tmp_path])
    with pytest.raises(MisuseError, match="name at least one folder"):
        open_frames([])


def test_open_frames__order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    for name in np.random.default_rng(0).permutation(30):
        save(tmp_path / f"frame_{name}.png", grey())
    assert ids(open_frames([tmp_path])) == [f"frame_{k}" for k in range(30)]


def test_open_labelled__recognises_both_layouts(masked_folder: Path, make_arcade: Make) -> None:
    arcade = make_arcade(coco(["1.png"], [LABEL]))
    dataset = open_labelled([masked_folder, arcade])
    assert len(dataset) == 4
    assert all(dataset[index].mask is not None for index in range(4))
    assert open_labelled([arcade], rasteriser="coco")[0].mask.sum() < open_labelled([arcade])[0].mask.sum()


def test_open_labelled__parents_are_refused_and_their_sets_named(make_arcade: Make) -> None:
    root = make_arcade(coco(["1.png"], [LABEL]))
    make_arcade(coco(["1.png"], [LABEL]), name="val")
    with pytest.raises(MisuseError, match=r"name those you mean: .*/arcade/train, .*/arcade/val"):
        open_labelled([root.parent])


def test_open_labelled__stenoses_are_not_vessels(make_arcade: Make) -> None:
    root = make_arcade(coco(["1.png"], [{**LABEL, "category_id": 26}]))
    with pytest.raises(MisuseError, match="outlines stenoses, not vessels"):
        open_labelled([root])
    assert len(open_frames([root])) == 1


def test_open_labelled__both_kinds_of_label(make_arcade: Make) -> None:
    root = make_arcade(coco(["1.png"], [LABEL]))
    save(root / "masks" / "1.png", grey())
    with pytest.raises(MisuseError, match="holds both"):
        open_labelled([root])


def test_open_labelled__unlabelled_folder_or_file(tmp_path: Path) -> None:
    path = save(tmp_path / "1.png", grey())
    with pytest.raises(MisuseError, match="is no labelled set; need a folder with images/ and masks/"):
        open_labelled([tmp_path])
    with pytest.raises(MisuseError, match="is a file"):
        open_labelled([path])


def test_open_labelled__the_same_set_twice(masked_folder: Path) -> None:
    with pytest.raises(MisuseError, match="given twice"):
        open_labelled([masked_folder, masked_folder])


def test_open_frames__broken_frame_is_named_when_read(masked_folder: Path) -> None:
    path = masked_folder / "images" / "2.png"
    path.write_bytes(path.read_bytes()[:100])
    dataset = open_frames([masked_folder])
    with pytest.raises(DataError, match=r"images/2\.png is truncated"):
        dataset[1]


@pytest.mark.real
def test_open_frames__real_folders(real_data: Path) -> None:
    roots = [real_data / name for name in ("arcade/syntax/train", "arcade/stenosis_352/train", "danilov_352")]
    dataset = open_frames(roots)
    assert len(dataset) == len(set(ids(dataset))) == 3951
    assert sum(record.patient is not None for record in dataset.records) == 2032
