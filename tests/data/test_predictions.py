"""Folders of predicted masks: the right one for each frame, or one clear line."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from vasomim.data.predictions import PredictedMasks
from vasomim.errors import DataError, MisuseError
from vasomim.types import Record


def record(name: str) -> Record:
    return Record(name, Path("/frames") / f"{name}.png")


def write(path: Path, value: int) -> None:
    """A mask that tells itself apart by the number of its vessel pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((6, 8), np.uint8)
    mask.flat[:value] = 255
    cv2.imwrite(str(path), mask)


def test_predicted_masks__by_stem(tmp_path: Path) -> None:
    for k in (1, 2, 3):
        write(tmp_path / f"{k}.png", k)
    masks = PredictedMasks(tmp_path, [record("2"), record("1")])
    loaded = masks.load(record("2"))
    assert loaded.dtype == np.bool_
    assert [masks.load(record(k)).sum() for k in "12"] == [1, 2]


@pytest.mark.parametrize("place", ["{}", "masks/{}", "run/deep/{}"])
@pytest.mark.parametrize("name", ["7", "a/7", "set/a/7"])
def test_predicted_masks__by_the_longest_common_path(tmp_path: Path, place: str, name: str) -> None:
    write(tmp_path / place.format("a/7.png"), 5)
    assert PredictedMasks(tmp_path, [record(name)]).load(record(name)).sum() == 5


def test_predicted_masks__equal_stems_in_sub_folders(tmp_path: Path) -> None:
    write(tmp_path / "a/7.png", 1)
    write(tmp_path / "b/7.png", 2)
    masks = PredictedMasks(tmp_path, [record("a/7"), record("b/7")])
    assert [masks.load(record(name)).sum() for name in ("a/7", "b/7")] == [1, 2]


def test_predicted_masks__overlays_beside_masks_are_not_masks(tmp_path: Path) -> None:
    write(tmp_path / "masks/7.png", 3)
    write(tmp_path / "overlays/7.png", 9)
    assert PredictedMasks(tmp_path, [record("7")]).load(record("7")).sum() == 3


def test_predicted_masks__ambiguous(tmp_path: Path) -> None:
    write(tmp_path / "a/7.png", 1)
    write(tmp_path / "b/7.png", 2)
    with pytest.raises(DataError, match="2 masks could belong to frame 7"):
        PredictedMasks(tmp_path, [record("7")])


def test_predicted_masks__one_for_several_frames(tmp_path: Path) -> None:
    write(tmp_path / "7.png", 1)
    with pytest.raises(DataError, match="fits 2 frames: a/7, b/7"):
        PredictedMasks(tmp_path, [record("a/7"), record("b/7")])


def test_predicted_masks__missing_ones_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "0.png", 1)
    with pytest.raises(DataError, match=r"7 of 8 frames have no mask in .*: 1, 2, 3, 4, 5 and 2 more"):
        PredictedMasks(tmp_path, [record(str(k)) for k in range(8)])


def test_predicted_masks__nothing_fits(tmp_path: Path) -> None:
    write(tmp_path / "x.png", 1)
    with pytest.raises(DataError, match=r"no mask in .* is named like a frame: masks are x, frames 1, 2"):
        PredictedMasks(tmp_path, [record("1"), record("2")])


def test_predicted_masks__no_folder_or_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no such folder"):
        PredictedMasks(tmp_path / "nowhere", [record("1")])
    with pytest.raises(DataError, match="no mask in"):
        PredictedMasks(tmp_path, [record("1")])


def test_load__refuses_a_probability_map(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.arange(48, dtype=np.uint8).reshape(6, 8))
    with pytest.raises(DataError, match="48 grey levels from 0 to 47"):
        PredictedMasks(tmp_path, [record("1")]).load(record("1"))


@pytest.mark.parametrize("level", [0, 1, 255])
def test_load__constant_masks(tmp_path: Path, level: int) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((6, 8), level, np.uint8))
    assert PredictedMasks(tmp_path, [record("1")]).load(record("1")).sum() == (48 if level else 0)


def test_load__truncated(tmp_path: Path) -> None:
    write(tmp_path / "1.png", 9)
    content = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="truncated"):
        PredictedMasks(tmp_path, [record("1")]).load(record("1"))
