"""DICOM frames with masks: PNG by name, or a segmentation by reference."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_tools import PATIENT, SECRETS, make, new_uid, ramp
from pydicom.uid import JPEGLosslessSV1

from identity_tools import told
from vasomim.data.dicom import open_run
from vasomim.data.dicom.segmentation import read_segmentation
from vasomim.data.folder import MaskedFolderDataset
from vasomim.data.frames import write_png
from vasomim.data.open import open_frames, open_labelled
from vasomim.errors import DataError

sys.path.insert(0, str(Path(__file__).parents[1] / "inference"))
from run_tools import SOFTWARE, source_of

from vasomim.inference.dicom_seg import BitPacker, segmentation


def blots(count: int, rows: int = 24, columns: int = 20) -> np.ndarray:
    """bool (T, H, W), all different."""
    return np.random.default_rng(7).random((count, rows, columns)) < 0.3


def write_segmentation(path: Path, run: Path, masks: np.ndarray, indices: list[int] | None = None) -> Path:
    """What `vasomim predict` writes of these masks."""
    packer = BitPacker()
    for mask in masks:
        packer.add(mask)
    path.parent.mkdir(parents=True, exist_ok=True)
    source = source_of(run) if indices is None else source_of(run, indices=indices)
    path.write_bytes(segmentation(packer, source, SOFTWARE))
    return path


def test_masked_folder_dataset__single_dicom_files(tmp_path: Path) -> None:
    masks = blots(2)
    make(tmp_path / "images" / "a.dcm", ramp(1), JPEGLosslessSV1)
    make(tmp_path / "images" / "p1" / "b", ramp(1))
    write_png(tmp_path / "images" / "c.png", ramp(1)[0])
    for name, mask in zip(("a", "p1/b", "c"), [*masks, masks[0]], strict=True):
        write_png(tmp_path / "masks" / f"{name}.png", mask)
    dataset = open_labelled([tmp_path])
    assert [record.id for record in dataset.records] == ["a", "c", "p1/b"]
    np.testing.assert_array_equal(dataset[0].image, open_run(tmp_path / "images" / "a.dcm").frame(0))
    np.testing.assert_array_equal(dataset[2].mask, masks[1])


@pytest.mark.parametrize("pattern", ["run/{:04d}", "run_{:04d}"])
def test_masked_folder_dataset__the_labelled_frames_of_a_run(
    tmp_path: Path, pattern: str, caplog: pytest.LogCaptureFixture
) -> None:
    run, masks = make(tmp_path / "images" / "run.dcm", ramp(5)), blots(2)
    for number, mask in zip((2, 5), masks, strict=True):
        write_png(tmp_path / "masks" / f"{pattern.format(number)}.png", mask)
    dataset = open_labelled([tmp_path])
    assert [record.id for record in dataset.records] == ["run/0002", "run/0005"]
    for index, frame in enumerate((1, 4)):
        np.testing.assert_array_equal(dataset[index].image, open_run(run).frame(frame))
        np.testing.assert_array_equal(dataset[index].mask, masks[index])
    assert "3 frame(s) of DICOM runs have no mask and are left out" in caplog.text
    assert len(open_frames([tmp_path])) == 5


def test_masked_folder_dataset__our_segmentation(tmp_path: Path) -> None:
    masks = blots(4, 23, 19)  # 437 bits: frames start inside of bytes
    run = make(tmp_path / "images" / "run", ramp(4, 23, 19))
    write_segmentation(tmp_path / "masks" / "any name.dcm", run, masks)
    dataset = open_labelled([tmp_path])
    assert [record.id for record in dataset.records] == [f"run/{number:04d}" for number in (1, 2, 3, 4)]
    for index in (2, 0, 3, 1):
        np.testing.assert_array_equal(dataset[index].mask, masks[index])
    write_segmentation(tmp_path / "masks" / "any name.dcm", run, masks[:2], [1, 3])
    dataset = open_labelled([tmp_path])
    assert [record.id for record in dataset.records] == ["run/0002", "run/0004"]
    np.testing.assert_array_equal(dataset[1].mask, masks[1])


def test_masked_folder_dataset__segmentation_of_a_single_frame(tmp_path: Path) -> None:
    run = make(tmp_path / "images" / "one.dcm", ramp(1))
    write_segmentation(tmp_path / "masks" / "one.dcm", run, blots(1))
    np.testing.assert_array_equal(MaskedFolderDataset(tmp_path)[0].mask, blots(1)[0])


def test_read_segmentation__as_highdicom_writes_it(tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    from pydicom.sr.codedict import codes

    uid = new_uid()
    more = {"FrameOfReferenceUID": uid, "PixelSpacing": [1, 1], "ImagePositionPatient": [0, 0, 0]}
    more |= {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "SliceThickness": 1, "PatientID": "", "PatientName": ""}
    more |= {"StudyDate": "", "StudyTime": "", "StudyID": "", "AccessionNumber": "", "ReferringPhysicianName": ""}
    more |= {"PatientSex": "", "PatientBirthDate": "", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}
    run = make(tmp_path / "images" / "one.dcm", ramp(1), **more)
    described = highdicom.seg.SegmentDescription(
        1, "Vessel", codes.SCT.AnatomicalStructure, codes.SCT.BloodVessel, "MANUAL"
    )
    made = highdicom.seg.Segmentation(
        [pydicom.dcmread(run)], blots(1), "BINARY", [described], uid, 1, uid, 1, "M", "M", "1", "1"
    )
    (tmp_path / "masks").mkdir()
    made.save_as(tmp_path / "masks" / "by hand.dcm")
    np.testing.assert_array_equal(MaskedFolderDataset(tmp_path)[0].mask, blots(1)[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SegmentationType": "FRACTIONAL", "BitsAllocated": 8}, "of type FRACTIONAL; need BINARY"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.7"}, "is no DICOM segmentation"),
        ({"SegmentSequence": []}, "holds 0 segments"),
        ({"NumberOfFrames": 1}, "says of 2 of 1 masks"),
        ({"Rows": 200}, "truncated: 2 masks of 20 x 200 pixels are claimed"),
        ({"Rows": 60_000, "Columns": 60_000}, "need fewer or smaller ones"),
        ({"PixelData": b"\0\0"}, "truncated"),
        ({"PerFrameFunctionalGroupsSequence": [pydicom.Dataset(), pydicom.Dataset()]}, "does not say which frame"),
    ],
)
def test_read_segmentation__refuses(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    run = make(tmp_path / "images" / "run.dcm", ramp(2), **PATIENT)
    path = write_segmentation(tmp_path / "seg", run, blots(2))
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    with pytest.raises(DataError, match=f"^seg: .*{message}"):
        read_segmentation(path, "seg")


def test_read_segmentation__of_two_runs_or_twice_of_a_frame(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "seg", make(tmp_path / "run.dcm", ramp(2)), blots(2))
    for keyword, value, message in (
        ("ReferencedSOPInstanceUID", "1.2.3", "refers to 2 files"),
        ("ReferencedFrameNumber", 1, "two masks of frame 1"),
        ("ReferencedFrameNumber", 0, "of several frames, or of none"),
    ):
        dataset = pydicom.dcmread(path)
        source = dataset.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0].SourceImageSequence[0]
        setattr(source, keyword, value)
        dataset.save_as(tmp_path / "bad")
        with pytest.raises(DataError, match=message):
            read_segmentation(tmp_path / "bad", "bad")


def test_masked_folder_dataset__what_does_not_fit_is_said_without_names(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    run = make(folder / "images" / "Quandtmeyer Xenia.dcm", ramp(2), **PATIENT)
    other = make(tmp_path / "other.dcm", ramp(2, 30, 20))
    mask = folder / "masks" / "Quandtmeyer Xenia" / "0001.png"
    write_png(mask, blots(1)[0])

    def refusal() -> str:
        with pytest.raises(DataError) as caught:
            MaskedFolderDataset(folder)[0]
        assert told(str(caught.value), SECRETS) == []
        return str(caught.value)

    dataset = MaskedFolderDataset(folder)
    assert dataset.records[0].id.startswith("run-")
    np.testing.assert_array_equal(dataset[0].mask, blots(1)[0])
    write_png(mask, blots(1, 24, 21)[0])
    assert "is 20 x 24 pixels but the mask of run-" in refusal()
    mask.write_bytes(b"no picture")
    assert "cannot decode the mask of run-" in refusal()
    mask.rename(mask.with_name("0009.png"))
    assert "1 frame(s) without mask (run-" in refusal()
    assert "1 mask(s) without frame; images/ and masks/" in refusal()
    shutil.rmtree(mask.parent)
    write_segmentation(folder / "masks" / "xenia.dcm", other, blots(2, 30, 20))
    assert "1 mask(s) without frame" in refusal()
    write_segmentation(folder / "masks" / "xenia.dcm", run, blots(2))
    write_segmentation(folder / "masks" / "xenia 2.dcm", run, blots(2))
    assert "segmentation 2 in" in refusal()
    (folder / "masks" / "xenia 2.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    assert "segmentation 2 in" in refusal() or "segmentation 1 in" in refusal()
