"""Findings across frames: copies, runs and patients, on both sides of a split or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from audit_tools import CLEAN, SIDE, audit, image, jpeg, kinds, save, write_set

from vasomim.data.audit.findings import needs_action
from vasomim.data.frames import write_png
from vasomim.synth.cine import iterate_cine

FIRST, SECOND = CLEAN[:2]


def test_audit__identical_frames_in_two_splits_are_an_error(tmp_path):
    write_set(tmp_path / "train", CLEAN[:5])
    write_set(tmp_path / "val", CLEAN[4:])
    (found,) = audit(tmp_path).findings
    assert (found.kind, found.severity) == ("exact_duplicate", "error")
    assert found.files == (f"train/images/{CLEAN[4]}.png", f"val/images/{CLEAN[4]}.png")
    assert "train and val" in found.message


def test_audit__re_encoded_and_smaller_copies_between_folders(tmp_path):
    write_set(tmp_path / "a", CLEAN, masks=False)
    for index in CLEAN[:3]:
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / f"copy{index}.jpg").write_bytes(jpeg(image(index), 200, 80))
    result = audit(tmp_path / "a", tmp_path / "b")
    assert kinds(result) == ["near_duplicate"] * 3
    assert {item.files for item in result.findings} == {
        (f"a/images/{index}.png", f"b/copy{index}.jpg") for index in CLEAN[:3]
    }
    assert all(item.severity == "error" for item in result.findings)
    assert result.summary["kept"] == len(CLEAN)
    assert [path.name for path in result.kept[tmp_path / "a"]] == [f"{index}.png" for index in CLEAN]


def test_audit__a_copy_for_validation_is_kept_and_that_for_training_dropped(tmp_path):
    save(tmp_path / "train" / "1.png", image(FIRST))
    save(tmp_path / "train" / "2.png", image(SECOND))
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "3.jpg").write_bytes(jpeg(image(FIRST)))
    assert [path.name for path in audit(tmp_path).kept[tmp_path]] == ["2.png", "3.jpg"]


def test_audit__patients_on_both_sides(tmp_path):
    for split, indices in (("train", CLEAN[:4]), ("test", CLEAN[4:])):
        write_set(tmp_path / split, indices)
        rows = "".join(f"{index}.png,{'7' if index in (FIRST, CLEAN[4]) else index},,,,\n" for index in indices)
        (tmp_path / split / "boxes.csv").write_text("file,patient,x0,y0,x1,y1\n" + rows)
    (found,) = audit(tmp_path).findings
    assert found.kind == "patient_leak"
    assert set(found.files) == {f"train/images/{FIRST}.png", f"test/images/{CLEAN[4]}.png"}
    assert found.message == "1 patient (2 frames) in test and train"


@pytest.fixture(scope="module")
def run_frames() -> list[np.ndarray]:
    return [item.image for item in iterate_cine(1, SIDE, 10)]


def write_run(root: Path, frames: list[np.ndarray], table: bool) -> Path:
    for number, pixels in enumerate(frames):
        write_png(root / "images" / f"{number}.png", pixels)
    if table:
        rows = "".join(f"{number}.png,3,1,,,,\n" for number in range(len(frames)))
        (root / "boxes.csv").write_text("file,patient,series,x0,y0,x1,y1\n" + rows)
    return root


def test_audit__frames_of_a_known_run_are_one_information(tmp_path, run_frames):
    result = audit(write_run(tmp_path / "data", run_frames, table=True))
    assert kinds(result) == ["similar_frames"]
    assert not needs_action(result.findings)


def test_audit__frames_of_an_unknown_run_are_no_copies(tmp_path, run_frames):
    result = audit(write_run(tmp_path / "data", run_frames[3:], table=False))
    assert set(kinds(result)) <= {"similar_frames"}
    assert not needs_action(result.findings)


def test_audit__empty_masks_before_the_contrast_agent_are_information(tmp_path):
    root = tmp_path / "data"
    for number, item in enumerate(iterate_cine(1, SIDE, 10)):
        write_png(root / "images" / f"{number}.png", item.image)
        write_png(root / "masks" / f"{number}.png", item.mask)
    rows = "".join(f"{number}.png,3,,,,\n" for number in range(10))
    (root / "boxes.csv").write_text("file,patient,x0,y0,x1,y1\n" + rows)
    found = {item.kind: item.severity for item in audit(root).findings}
    assert found.pop("empty_mask") == "info"
    assert set(found) <= {"similar_frames"}


@pytest.mark.parametrize("seed", [7, 1])
def test_audit__a_run_before_and_after_the_contrast_agent_is_clean(tmp_path, seed):
    for number, item in enumerate(iterate_cine(seed, SIDE, 14)):
        write_png(tmp_path / "images" / f"{number}.png", item.image)
        write_png(tmp_path / "masks" / f"{number}.png", item.mask)
    rows = "".join(f"{number}.png,3,,,,\n" for number in range(14))
    (tmp_path / "boxes.csv").write_text("file,patient,x0,y0,x1,y1\n" + rows)
    assert not needs_action(audit(tmp_path).findings)
