"""The audit of DICOM runs, nnU-Net folders and packs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from audit_tools import CLEAN, angiogram, audit, image, kinds
from dicom_tools import PATIENT, SECRETS, make
from pydicom.uid import RLELossless

from identity_tools import told
from vasomim.commands.doctor_page import render_page
from vasomim.data.frames import write_png
from vasomim.errors import MisuseError
from vasomim.synth.cine import iterate_cine


@pytest.fixture(scope="module")
def run() -> np.ndarray:
    return np.stack([item.image for item in iterate_cine(1, 192, 6)])


def test_audit__a_dicom_run_is_one_information(tmp_path: Path, run: np.ndarray) -> None:
    make(tmp_path / "run", run)
    result = audit(tmp_path)
    assert kinds(result) == ["similar_frames"]
    assert result.findings[0].files == tuple(f"run/{number:04d}" for number in range(1, 7))
    assert result.summary["patients"] == 1
    assert result.summary["sets"]["."]["contents"] == {"DICOM": 6}


def test_audit__the_same_run_in_another_encoding(tmp_path: Path, run: np.ndarray) -> None:
    make(tmp_path / "a.dcm", run[:2])
    make(tmp_path / "b.dcm", run[:2], RLELossless)
    make(tmp_path / "c.dcm", run[4:])
    result = audit(tmp_path)
    copies = [item.files for item in result.findings if item.kind == "exact_duplicate"]
    assert copies == [("a.dcm/0001", "b.dcm/0001"), ("a.dcm/0002", "b.dcm/0002")]
    assert [path.name for path in result.kept[tmp_path]] == ["a.dcm", "c.dcm"]
    assert result.summary["kept"] == 4


def test_audit__a_patient_in_two_splits_of_dicom_files(tmp_path: Path, run: np.ndarray) -> None:
    make(tmp_path / "train" / "1", run[:1], PatientID="X1")
    make(tmp_path / "train" / "2", image(CLEAN[0])[None], PatientID="X2")
    make(tmp_path / "test" / "1", image(CLEAN[1])[None], PatientID="X1")
    leaks = [item for item in audit(tmp_path).findings if item.kind == "patient_leak"]
    assert [item.files for item in leaks] == [("test/1", "train/1")]


def test_audit__names_nobody(tmp_path: Path, run: np.ndarray) -> None:
    folder = tmp_path / "data"
    make(folder / "Quandtmeyer_Xenia" / "run.dcm", run[:3], **PATIENT)
    damaged = make(folder / "Quandtmeyer_Xenia" / "torn.dcm", run[3:], **PATIENT)
    damaged.write_bytes(damaged.read_bytes()[: -run[0].nbytes])
    result = audit(folder)
    assert "unreadable" in kinds(result)
    assert told(json.dumps(result.to_dict()) + render_page(result), SECRETS) == []


@pytest.fixture
def nnunet(tmp_path: Path) -> Path:
    """A clean nnU-Net folder."""
    root = tmp_path / "Dataset001"
    for index in CLEAN:
        write_png(root / "imagesTr" / f"heart{index}_0000.png", image(index))
        write_png(root / "labelsTr" / f"heart{index}.png", angiogram(index).mask.astype(np.uint8))
    table = {"channel_names": {"0": "XA"}, "labels": {"background": 0, "vessel": 1}, "file_ending": ".png"}
    (root / "dataset.json").write_text(json.dumps(table))
    return root


def test_audit__clean_nnunet_folder(nnunet: Path) -> None:
    result = audit(nnunet)
    assert result.findings == []
    assert result.summary["sets"]["."]["vessel_share"]["mean"] > 0.02


def test_audit__nnunet_labels(nnunet: Path) -> None:
    first, second, third = (nnunet / "labelsTr" / f"heart{index}.png" for index in CLEAN[:3])
    write_png(first, 3 * angiogram(CLEAN[0]).mask.astype(np.uint8))
    write_png(second, np.roll(angiogram(CLEAN[1]).mask.astype(np.uint8), 9, 0))
    third.unlink()
    found = {item.kind: item.files for item in audit(nnunet).findings}
    assert found == {
        "stray_mask_levels": (f"imagesTr/heart{CLEAN[0]}_0000.png",),
        "misaligned_mask": (f"imagesTr/heart{CLEAN[1]}_0000.png",),
        "missing_mask": (f"imagesTr/heart{CLEAN[2]}_0000.png",),
    }


def test_audit__nnunet_table_that_is_broken(nnunet: Path) -> None:
    (nnunet / "dataset.json").write_text("[]")
    assert kinds(audit(nnunet)) == ["unreadable_annotations"]


def test_audit__packs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pack.json").write_text("{}")
    with pytest.raises(MisuseError, match="is a pack; look at the frames before"):
        audit(tmp_path)


def linked(source: Path, place: Path, names: list[str]) -> Path:
    """An ARCADE folder with some frames of another, linked, and its annotation file cut to them."""
    task = source.name
    content = json.loads((source / "annotations" / f"{task}.json").read_text())
    images = [item for item in content["images"] if item["file_name"] in names]
    kept = {item["id"] for item in images}
    content |= {"images": images, "annotations": [a for a in content["annotations"] if a["image_id"] in kept]}
    (place / "images").mkdir(parents=True)
    (place / "annotations").mkdir()
    (place / "annotations" / f"{task}.json").write_text(json.dumps(content))
    for name in names:
        (place / "images" / name).symlink_to(source / "images" / name)
    return place


@pytest.mark.real
def test_audit__finds_what_is_known_of_arcade(real_data: Path, tmp_path: Path) -> None:
    """The five identical pairs, a re-encoded copy in the other task, repeated ids and frames without label."""
    pairs = [("501", "612"), ("478", "887"), ("337", "972"), ("20", "214"), ("168", "793")]
    others = ["1", "2", "3", "4", "5", "6", "502"]
    syntax = [f"{name}.png" for pair in pairs for name in pair] + [f"{name}.png" for name in others]
    linked(real_data / "arcade" / "syntax" / "train", tmp_path / "syntax" / "train", syntax)
    stenoses = ["1.jpg", "738.jpg", "888.jpg", "676.jpg", "960.jpg", "99.jpg"]
    linked(real_data / "arcade" / "stenosis_352" / "train", tmp_path / "stenosis" / "train", stenoses)
    found: dict[str, list[tuple[str, ...]]] = {}
    for item in audit(tmp_path).findings:
        found.setdefault(item.kind, []).append(item.files)
    identical = {tuple(f"syntax/train/images/{name}.png" for name in sorted(pair, key=int)) for pair in pairs}
    assert set(found.pop("exact_duplicate")) == identical
    assert ("stenosis/train/images/1.jpg", "syntax/train/images/502.png") in found.pop("near_duplicate")
    (bare,) = found.pop("unlabelled_frame")
    assert set(bare[1:]) == {"stenosis/train/images/738.jpg", "stenosis/train/images/888.jpg"}
    assert set(found) <= {"dark_border", "duplicate_annotation_id", "similar_frames", "self_crossing_polygon"}


@pytest.mark.real
@pytest.mark.slow
def test_audit__all_of_arcade(real_data: Path) -> None:
    found = audit(real_data / "arcade").findings
    near = [item.files for item in found if item.kind == "near_duplicate"]
    between = [files for files in near if {name.split("/images/")[0] for name in files} == BETWEEN]
    assert len(between) == 247
    assert sum(item.kind == "exact_duplicate" for item in found) == 5
    assert [item.count for item in found if item.kind == "duplicate_annotation_id"] == [549]
    assert not {"inverted", "burnt_in_text", "misaligned_mask", "unrelated_mask", "saturated"} & {i.kind for i in found}


BETWEEN = {"stenosis_352/train", "syntax/train"}
