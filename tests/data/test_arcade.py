from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_tools import SQUARE, coco

from vasomim.data.arcade import ArcadeDataset
from vasomim.data.polygons import rasterise
from vasomim.errors import DataError, MisuseError
from vasomim.types import Box

Make = Callable[..., Path]
MOVED = [value + 6 for value in SQUARE]


def vessel(image: int, segmentation: object = None, category: object = 1) -> dict[str, object]:
    return {"image_id": image, "category_id": category, "segmentation": segmentation or [SQUARE]}


def test_arcade_dataset__union_classes_and_boxes(make_arcade: Make) -> None:
    annotations = [vessel(2), vessel(2, [MOVED], 5), vessel(1, [SQUARE, MOVED], 25), vessel(1, [SQUARE], 26)]
    dataset = ArcadeDataset(make_arcade(coco(["10.png", "9.png"], annotations)))
    assert [record.id for record in dataset.records] == ["9", "10"]
    outlines = [np.reshape(part, (-1, 2)) for part in (SQUARE, MOVED)]
    nine, ten = dataset[0], dataset[1]
    np.testing.assert_array_equal(nine.mask, rasterise(outlines, (24, 32)))
    np.testing.assert_array_equal(ten.mask, nine.mask)
    assert set(np.unique(nine.classes)) == {0, 1, 5}
    assert set(np.unique(ten.classes)) == {0, 25}
    assert nine.boxes == ()
    assert ten.boxes == (Box(4, 4, 20, 16),)


def test_arcade_dataset__rasterisers_differ(make_arcade: Make) -> None:
    root = make_arcade(coco(["1.png"], [vessel(1)]))
    official, other = ArcadeDataset(root)[0].mask, ArcadeDataset(root, "coco")[0].mask
    assert official.sum() == 17 * 13
    assert other.sum() == 16 * 12
    with pytest.raises(MisuseError, match="unknown rasteriser"):
        ArcadeDataset(root, "other")


def test_arcade_dataset__stenoses_alone_are_no_vessels(make_arcade: Make) -> None:
    dataset = ArcadeDataset(make_arcade(coco(["1.png"], [vessel(1, category=26)])))
    assert not dataset.has_vessels
    assert dataset[0].mask is None
    assert dataset[0].classes is None
    assert len(dataset[0].boxes) == 1


def test_arcade_dataset__frame_without_label_has_an_empty_mask(
    make_arcade: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = ArcadeDataset(make_arcade(coco(["1.png", "2.png"], [vessel(1)])))
    assert not dataset[1].mask.any()
    assert "1 frame(s) without label are kept with an empty mask: 2.png" in caplog.text


def test_arcade_dataset__out_of_bounds_is_cut_and_counted_once(
    make_arcade: Make, caplog: pytest.LogCaptureFixture
) -> None:
    outside = [value + 14 for value in SQUARE]
    with caplog.at_level(logging.WARNING):
        dataset = ArcadeDataset(make_arcade(coco(["1.png"], [vessel(1, [outside])])))
        assert dataset[0].mask[18:, 18:].all()
        assert dataset[0].mask.sum() == 6 * 14
    assert [record.getMessage().count("1 polygon(s) reach outside") for record in caplog.records] == [1]


def test_arcade_dataset__unlisted_files_are_left_out_and_counted(
    make_arcade: Make, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_arcade(coco(["1.png"], [vessel(1)]), files=["1.png", "2.png", "more/3.png"])
    (root / "images" / "notes.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        assert len(ArcadeDataset(root)) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{root / 'annotations' / 'train.json'} does not list 2 image(s) in {root / 'images'}, and they are left out: "
        "2.png, more/3.png"
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (coco(["1.png"], [vessel(1), vessel(98), vessel(99)]), r"2 image id\(s\) that it does not list: 98, 99"),
        (coco(["1.png", "2.png", "2.png"], [vessel(1)]), r"lists 1 image\(s\) twice by file_name: 2.png"),
        (coco(["1.png"], [vessel(1, [[1, 2, 3, 4]])]), "annotation number 0: 4 numbers are no polygon"),
        (coco(["1.png"], [vessel(1, [[1, 2, 3, 4, 5, 6, 7]])]), "7 numbers are no polygon"),
        (coco(["1.png"], [vessel(1, [[1, 2, 3, 4, 5, float("nan")]])]), "no polygon"),
        (coco(["1.png"], [vessel(1, {"counts": "abc", "size": [24, 32]})]), "not run lengths"),
        (coco(["1.png"], [vessel(1, category=27)]), "uses category 27"),
        (coco([], []), "lists no image"),
        ("{not json", "cannot read"),
        ("[]", "no COCO file"),
        ('{"images": [{"name": 1}], "annotations": []}', "no COCO file: KeyError 'id'"),
        ('{"images": 3, "annotations": []}', "no COCO file"),
        (coco(["1.png"], [vessel(1, [["a"] * 6])]), "no COCO file"),
    ],
)
def test_arcade_dataset__broken_file_is_explained(make_arcade: Make, content: object, words: str) -> None:
    root = make_arcade(content, files=["1.png", "2.png"])
    with pytest.raises(DataError, match=words) as caught:
        ArcadeDataset(root)
    assert "train.json" in str(caught.value)


def test_arcade_dataset__listed_but_missing(make_arcade: Make) -> None:
    root = make_arcade(coco(["1.png", "2.png"], [vessel(1)]), files=["1.png"])
    with pytest.raises(DataError, match=r"lists 1 of 2 image\(s\) that are not in .*: 2.png"):
        ArcadeDataset(root)


def test_arcade_dataset__size_of_frame_and_entry_differ(make_arcade: Make) -> None:
    content = coco(["1.png"], [vessel(1)])
    content["images"][0]["width"] = 64
    with pytest.raises(DataError, match=r"32 x 24 pixels but its entry in the annotation file is 64 x 24"):
        ArcadeDataset(make_arcade(content))[0]


def test_arcade_dataset__two_annotation_files(make_arcade: Make) -> None:
    root = make_arcade(coco(["1.png"], [vessel(1)]))
    (root / "annotations" / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"must hold one JSON file, found other.json, train.json"):
        ArcadeDataset(root)


@pytest.mark.real
def test_arcade_dataset__real_sets(real_data: Path) -> None:
    vessels = ArcadeDataset(real_data / "arcade" / "syntax" / "val")
    assert len(vessels) == 200
    share = np.mean([vessels[index].mask.mean() for index in range(0, 200, 20)])
    assert 0.025 < share < 0.045
    stenoses = ArcadeDataset(real_data / "arcade" / "stenosis_352" / "train")
    assert len(stenoses) == 919
    assert not stenoses.has_vessels
    assert sum(bool(stenoses[index].boxes) for index in range(10)) == 10


@pytest.mark.parametrize("name", ["../1.png", "/etc/hostname", "a/../../1.png", "..\\1.png", "C:\\1.png", "1.png\0"])
def test_arcade_dataset__names_that_lead_out_of_the_folder(make_arcade: Make, name: str) -> None:
    root = make_arcade(coco([name], [vessel(1)]), files=["1.png"])
    with pytest.raises(DataError, match=r"lists 1 image\(s\) outside of .*images"):
        ArcadeDataset(root)


def test_arcade_dataset__names_that_no_file_can_have(make_arcade: Make) -> None:
    with pytest.raises(DataError, match=r"lists 1 of 1 image\(s\) that are not in"):
        ArcadeDataset(make_arcade(coco(["a" * 5000], [vessel(1)]), files=["1.png"]))


@pytest.mark.parametrize("content", ["[" * 100_000, '{"images": ' * 50_000])
def test_arcade_dataset__json_without_end(make_arcade: Make, content: str) -> None:
    root = make_arcade(coco(["1.png"], [vessel(1)]))
    next((root / "annotations").iterdir()).write_text(content)
    with pytest.raises(DataError, match=r"cannot read .*json: maximum recursion depth"):
        ArcadeDataset(root)
