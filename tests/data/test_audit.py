"""Every kind of finding has a case that brings up that kind and no other; clean data brings up none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from audit_tools import CLEAN, SIDE, angiogram, audit, draw_text, image, jpeg, kinds, save, write_coco, write_set

from vasomim.data.audit.findings import KINDS, needs_action
from vasomim.data.frames import write_png
from vasomim.data.open import open_frames, open_labelled
from vasomim.errors import DataError, MisuseError

FIRST, SECOND = CLEAN[:2]


def frame(root: Path, index: int = FIRST) -> Path:
    return root / "images" / f"{index}.png"


def mask(root: Path, index: int = FIRST) -> Path:
    return root / "masks" / f"{index}.png"


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """Eight angiograms with masks; nothing is wrong with them."""
    return write_set(tmp_path / "data")


def test_audit__clean_masks(masked):
    result = audit(masked)
    assert result.findings == []
    assert result.summary["frames"] == result.summary["kept"] == len(CLEAN)
    assert result.summary["sets"]["."]["vessel_share"]["mean"] == pytest.approx(
        np.mean([angiogram(index).mask.mean() for index in CLEAN]), abs=1e-3
    )


def test_audit__clean_outlines(tmp_path):
    result = audit(write_coco(tmp_path / "data"))
    assert result.findings == []
    assert sum(result.summary["sets"]["."]["categories"].values()) >= len(CLEAN)


def test_audit__clean_splits(tmp_path):
    write_set(tmp_path / "train", CLEAN[:4])
    write_set(tmp_path / "val", CLEAN[4:])
    assert audit(tmp_path).findings == audit(tmp_path / "train", tmp_path / "val").findings == []


def test_audit__clean_16_bits(tmp_path):
    for index in CLEAN:
        save(tmp_path / f"{index}.png", image(index).astype(np.uint16) * 16 + 3)
    assert audit(tmp_path).findings == []


# Frames: what is done to the clean set, and the kind that must come of it.


def spoil_unreadable(root: Path) -> None:
    frame(root).write_bytes(frame(root).read_bytes()[:2000])


def spoil_wrong_suffix(root: Path) -> None:
    frame(root).write_bytes(jpeg(image(FIRST)))


def spoil_constant(root: Path) -> None:
    write_png(frame(root), np.full((SIDE, SIDE), 90, np.uint8))


def spoil_flat(root: Path) -> None:
    write_png(frame(root), (120 + image(FIRST) / 64).astype(np.uint8))


def spoil_saturated(root: Path) -> None:
    write_png(frame(root), np.clip(image(FIRST) * 2.0, 0, 255).astype(np.uint8))


def spoil_inverted(root: Path) -> None:
    write_png(frame(root), 255 - image(FIRST))


def spoil_burnt_in_text(root: Path) -> None:
    write_png(frame(root), draw_text(image(FIRST)))


def spoil_coloured(root: Path) -> None:
    colour = cv2.cvtColor(image(FIRST), cv2.COLOR_GRAY2RGB)
    cv2.circle(colour, (100, 100), 6, (255, 40, 40), -1)
    write_png(frame(root), colour)


def spoil_mixed_channels(root: Path) -> None:
    write_png(frame(root), cv2.cvtColor(image(FIRST), cv2.COLOR_GRAY2RGB))


def spoil_odd_size(root: Path) -> None:
    for path in (frame(root), mask(root)):
        save(path, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[: SIDE - 8])


def spoil_odd_bit_depth(root: Path) -> None:
    write_png(frame(root), image(FIRST).astype(np.uint16) * 16)


def spoil_dark_border(root: Path) -> None:
    framed, cut = image(FIRST), angiogram(FIRST).mask.copy()
    for pixels in (framed, cut):
        pixels[:, :20] = pixels[:, -24:] = 0
    write_png(frame(root), framed)
    write_png(mask(root), cut)


def spoil_unread_picture(root: Path) -> None:
    (root / "images" / "99.dat").write_bytes(frame(root).read_bytes())


def spoil_unknown_file(root: Path) -> None:
    (root / "images" / "notes.txt").write_text("read me")


def spoil_exact_duplicate(root: Path) -> None:
    save(root / "images" / "again.bmp", image(FIRST))
    write_png(root / "masks" / "again.png", angiogram(FIRST).mask)


def spoil_near_duplicate(root: Path) -> None:
    (root / "images" / "again.jpg").write_bytes(jpeg(image(FIRST)))
    write_png(root / "masks" / "again.png", angiogram(FIRST).mask)


def spoil_missing_mask(root: Path) -> None:
    mask(root).unlink()


def spoil_orphan_mask(root: Path) -> None:
    frame(root).unlink()


def spoil_doubled_mask(root: Path) -> None:
    save(mask(root).with_suffix(".bmp"), angiogram(FIRST).mask.astype(np.uint8) * 255)


def spoil_unreadable_mask(root: Path) -> None:
    mask(root).write_bytes(b"no picture")


def spoil_mask_size(root: Path) -> None:
    write_png(mask(root), angiogram(FIRST).mask[:-2])


def spoil_empty_mask(root: Path) -> None:
    write_png(mask(root), np.zeros((SIDE, SIDE), np.bool_))


def spoil_full_mask(root: Path) -> None:
    write_png(mask(root), ~angiogram(FIRST).mask)


def spoil_stray_mask_levels(root: Path) -> None:
    grey = angiogram(FIRST).mask.astype(np.uint8) * 255
    grey[3, 3], grey[50, 60] = 7, 130
    write_png(mask(root), grey)


def spoil_misaligned_mask(root: Path) -> None:
    write_png(mask(root), np.roll(angiogram(FIRST).mask, (9, -7), (0, 1)))


def spoil_unrelated_mask(root: Path) -> None:
    bars = np.zeros((SIDE, SIDE), np.bool_)
    bars[::9, ::2] = True
    write_png(mask(root), bars)


def spoil_broken_table(root: Path) -> None:
    (root / "boxes.csv").write_text("file,x0,y0\n1.png,3,4\n")


def spoil_missing_frame(root: Path) -> None:
    (root / "boxes.csv").write_text("file,patient,x0,y0,x1,y1\nghost.png,1,0,0,9,9\n")


def spoil_box_out_of_bounds(root: Path) -> None:
    (root / "boxes.csv").write_text(f"file,patient,x0,y0,x1,y1\n{FIRST}.png,1,0,0,400,9\n")


SPOIL = {name.removeprefix("spoil_"): action for name, action in list(globals().items()) if name.startswith("spoil_")}


@pytest.mark.parametrize("kind", SPOIL)
def test_audit__frames_and_masks(masked, kind):
    SPOIL[kind](masked)
    result = audit(masked)
    assert kinds(result) == [kind]
    (found,) = result.findings
    assert needs_action(result.findings) == (KINDS[kind].severity != "info")
    assert found.fix == KINDS[kind].fix
    assert found.files
    assert all(name == "boxes.csv" or "ghost" in name or (masked / name).exists() for name in found.files)
    assert str(masked) not in json.dumps(result.to_dict())


# Annotation files: what is done to the content, and the kind that must come of it.

BOW = [20.0, 20.0, 60.0, 60.0, 60.0, 20.0, 20.0, 60.0]


def repeat_annotation_id(content: dict[str, Any]) -> None:
    content["annotations"][1]["id"] = content["annotations"][0]["id"]


def repeat_image(content: dict[str, Any]) -> None:
    content["images"].append(dict(content["images"][0], id=77))


def name_unknown_image(content: dict[str, Any]) -> None:
    content["annotations"].append(dict(content["annotations"][0], id=901, image_id=900))


def name_unknown_category(content: dict[str, Any]) -> None:
    content["annotations"].append(dict(content["annotations"][0], id=901, category_id=99))


def break_outline(content: dict[str, Any]) -> None:
    content["annotations"].append(dict(content["annotations"][0], id=901, segmentation=[[1.0, 2.0, 3.0]]))


def leave_the_frame(content: dict[str, Any]) -> None:
    outside = [float(SIDE - 5), 5.0, SIDE + 20.0, 5.0, SIDE + 20.0, 9.0, SIDE - 5.0, 9.0]
    content["annotations"].append(dict(content["annotations"][0], id=901, segmentation=[outside]))


def cross_itself(content: dict[str, Any]) -> None:
    content["annotations"].append(dict(content["annotations"][0], id=901, segmentation=[BOW]))


def list_a_ghost(content: dict[str, Any]) -> None:
    content["images"].append({"id": 900, "file_name": "ghost.png", "width": SIDE, "height": SIDE})
    content["annotations"].append(dict(content["annotations"][0], id=901, image_id=900))


def forget_a_frame(content: dict[str, Any]) -> None:
    gone = content["images"].pop()["id"]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != gone]


def forget_its_labels(content: dict[str, Any]) -> None:
    bare = content["images"][0]["id"]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != bare]


def give_another_size(content: dict[str, Any]) -> None:
    content["images"][0].update(width=2 * SIDE, height=2 * SIDE)


def not_coco(content: dict[str, Any]) -> None:
    content.clear()


def move_all_outlines(content: dict[str, Any]) -> None:
    for annotation in content["annotations"]:
        if annotation["image_id"] == FIRST:
            annotation["segmentation"] = [[value + 11 for value in part] for part in annotation["segmentation"]]


COCO: dict[str, Callable[[dict[str, Any]], None]] = {
    "duplicate_annotation_id": repeat_annotation_id,
    "duplicate_image_id": repeat_image,
    "unknown_image_id": name_unknown_image,
    "unknown_category_id": name_unknown_category,
    "broken_polygon": break_outline,
    "polygon_out_of_bounds": leave_the_frame,
    "self_crossing_polygon": cross_itself,
    "missing_frame": list_a_ghost,
    "unlisted_frame": forget_a_frame,
    "unlabelled_frame": forget_its_labels,
    "frame_size": give_another_size,
    "unreadable_annotations": not_coco,
    "misaligned_mask": move_all_outlines,
}


@pytest.mark.parametrize("kind", COCO)
def test_audit__annotation_files(tmp_path, kind):
    result = audit(write_coco(tmp_path / "data", change=COCO[kind]))
    assert kinds(result) == [kind]
    assert needs_action(result.findings)


@pytest.mark.parametrize("kind", sorted(set(COCO) - {"misaligned_mask"}))
def test_audit__an_error_is_what_the_reader_refuses(tmp_path, kind):
    root = write_coco(tmp_path / "data", change=COCO[kind])

    def read() -> None:
        dataset = open_labelled([root])
        for index in range(len(dataset)):
            dataset[index]

    if KINDS[kind].severity == "error":
        with pytest.raises(DataError):
            read()
    else:
        read()


def test_audit__annotation_file_that_is_no_json(tmp_path):
    root = write_coco(tmp_path / "data")
    (root / "annotations" / "train.json").write_text("{")
    assert kinds(audit(root)) == ["unreadable_annotations"]


def test_audit__every_kind_has_a_case():
    elsewhere = {"similar_frames", "patient_leak"}
    assert set(SPOIL) | set(COCO) | elsewhere == set(KINDS)


def test_audit__mirrored_and_turned_masks(masked):
    write_png(mask(masked), angiogram(FIRST).mask[:, ::-1])
    write_png(mask(masked, SECOND), angiogram(SECOND).mask.T)
    result = audit(masked)
    assert kinds(result) == ["misaligned_mask"] * 2
    assert [item.message.partition(" fits ")[2] for item in result.findings] == [
        "when mirrored left to right",
        "when with rows and columns exchanged",
    ]


# Files and folders


@pytest.mark.usefixtures("masked")
def test_audit__takes_the_same_frames_as_the_readers(tmp_path):
    write_set(tmp_path / "more" / "val", CLEAN[:2])
    save(tmp_path / "more" / "loose.png", image(CLEAN[2]))
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "run.json").write_text("{}")
    save(tmp_path / "made" / "sheet.png", image(CLEAN[3]))
    frames = [record.path for record in open_frames([tmp_path]).records]
    assert [job.record.path for job in audit(tmp_path).jobs.values()] == frames


def test_audit__a_file_reached_twice_counts_once(masked):
    result = audit(masked.parent, masked)
    assert result.summary["frames"] == len(CLEAN)
    assert result.findings == []


def test_audit__broken_files_of_all_kinds_stop_nothing(masked):
    images, random = masked / "images", np.random.default_rng(0)
    (images / "empty.png").write_bytes(b"")
    (images / "text.jpg").write_text("hello")
    np.save(images / "nan.npy", np.full((30, 30), np.nan, np.float32))
    np.save(images / "cube.npy", np.zeros((3, 40, 50), np.uint8))
    (images / "bomb.tif").write_bytes(b"II*\0" + random.bytes(200))
    for path in images.iterdir():
        mask_path = masked / "masks" / f"{path.stem}.png"
        if not mask_path.exists():
            mask_path.write_bytes(random.bytes(100))
    result = audit(masked)
    assert kinds(result) == ["unreadable"] * 5
    assert result.summary["readable"] == len(CLEAN)


def test_audit__two_processes_find_the_same(masked):
    from vasomim.data.audit.audit import audit_folders

    spoil_near_duplicate(masked)
    one, two = audit(masked), audit_folders([masked], workers=2)
    assert one.findings == two.findings


def test_audit__misuse(tmp_path, masked):
    for roots, words in (
        ([], "name at least one"),
        ([tmp_path / "none"], "no such file or folder"),
        ([frame(masked)], "is a file"),
        ([masked, masked], "given twice"),
        ([masked / "nothing"], "no such"),
    ):
        with pytest.raises(MisuseError, match=words):
            audit(*roots)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MisuseError, match="no frame in"):
        audit(tmp_path / "empty")


def test_audit__what_it_passes_can_be_opened(masked, tmp_path):
    assert len(open_labelled([masked])) == len(CLEAN)
    assert len(open_labelled([write_coco(tmp_path / "coco")])) == len(CLEAN)
