"""What a folder lacks of a data set, on made-up folders and, where there are some, on real ones."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from vasomim.data.frames import write_png
from vasomim.data.registry import DATASETS, Layout, Part
from vasomim.data.verification import verify
from vasomim.errors import DataError, MisuseError

FRAME = np.zeros((8, 8), np.uint8)


def arcade(root, split, count):
    names = [f"{number}.png" for number in range(1, count + 1)]
    for name in names:
        write_png(root / split / "images" / name, FRAME)
    images = [{"id": i, "file_name": name, "height": 8, "width": 8} for i, name in enumerate(names)]
    square = [[1, 1, 5, 1, 5, 5, 1, 5]]
    marks = [{"id": 1, "image_id": image["id"], "category_id": 1, "segmentation": square} for image in images]
    (root / split / "annotations").mkdir()
    (root / split / "annotations" / "x.json").write_text(
        json.dumps({"images": images, "annotations": marks, "categories": [{"id": 1, "name": "1"}]})
    )


SMALL = dataclasses.replace(
    DATASETS["arcade"],
    layouts=(
        Layout(
            name="official",
            parts=(
                Part(pattern="syntax/train/images/*.png", count=3, what="frames"),
                Part(pattern="syntax/train/annotations/*.json", count=1, what="polygons"),
                Part(pattern="syntax/val/images/*.png", count=2, what="frames"),
            ),
        ),
    ),
)


@pytest.mark.parametrize("above", ["", "arcade", "data/arcade"])
def test_verify__a_whole_set_is_found_down_to_two_levels(tmp_path, above):
    arcade(tmp_path / above / "syntax", "train", 3)
    arcade(tmp_path / above / "syntax", "val", 2)
    found = verify(SMALL, tmp_path)
    assert found.complete
    assert found.root == tmp_path / above
    assert found.frames == 5
    assert [count for _, count in found.labelled] == [3, 2]
    assert (found.missing, found.unpaired, found.problems) == ((), (), ())


def test_verify__says_what_is_missing(tmp_path):
    arcade(tmp_path / "syntax", "train", 2)
    found = verify(SMALL, tmp_path)
    assert not found.complete
    assert [str(item) for item in found.missing] == [
        "2 of 3 frames (syntax/train/images/*.png)",
        "0 of 2 frames (syntax/val/images/*.png)",
    ]


def test_verify__labels_that_do_not_open_are_problems(tmp_path):
    arcade(tmp_path / "syntax", "train", 3)
    arcade(tmp_path / "syntax", "val", 2)
    (tmp_path / "syntax" / "train" / "annotations" / "x.json").write_text("{broken")
    found = verify(SMALL, tmp_path)
    assert found.missing == ()
    assert "cannot read" in found.problems[0]
    assert not found.complete


def test_verify__the_layout_that_fits_best_is_taken(tmp_path):
    for number in range(3):
        write_png(tmp_path / "images" / f"{number}.png", FRAME)
    write_png(tmp_path / "masks" / "0.png", FRAME)
    found = verify(DATASETS["xcad"], tmp_path)
    assert found.layout == "frames and masks"
    assert "2 of " in found.unpaired[0]
    assert "have no counterpart in masks/: 1, 2" in found.unpaired[0]
    assert "2 frame(s) without mask" in found.problems[0]


def test_verify__the_official_names_of_dca1(tmp_path):
    for number in (1, 10, 100):
        for name in (f"{number}.pgm", f"{number}_gt.pgm"):
            (tmp_path / name).write_bytes(b"P5 2 2 255\n\0\0\0\0")
    found = verify(DATASETS["dca1"], tmp_path)
    assert found.layout == "official"
    assert [item.count for item in found.found] == [3, 3]


def test_verify__pairs_of_frames_and_extracted_vessels(tmp_path):
    write_png(tmp_path / "cadica" / "1.png", FRAME)
    write_png(tmp_path / "cadica_frangi" / "2.png", FRAME)
    found = verify(DATASETS["xa-170k"], tmp_path)
    assert len(found.unpaired) == 2
    assert found.frames == 1


def test_verify__nothing_of_it(tmp_path):
    with pytest.raises(DataError, match=r"nothing of arcade lies in .*; need syntax/train/images/\*\.png"):
        verify(DATASETS["arcade"], tmp_path)
    with pytest.raises(MisuseError, match="no such folder"):
        verify(DATASETS["arcade"], tmp_path / "none")


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "folder", "frames", "labelled"),
    [
        ("arcade", "arcade", 2301, [1000, 200]),
        ("xcad", "xcad", 100, [100]),
        ("dca1", "dca1", 100, [100]),
        ("danilov", "danilov_352", 2032, []),
    ],
)
def test_verify__real_data(name, folder, frames, labelled, caplog):
    root = os.environ.get("VASOMIM_DATA")
    if not root:
        pytest.skip("set VASOMIM_DATA to a folder of real angiograms")
    caplog.set_level("ERROR")
    found = verify(DATASETS[name], Path(root) / folder)
    assert (found.frames, [count for _, count in found.labelled]) == (frames, labelled)
    assert found.problems == found.unpaired == ()
