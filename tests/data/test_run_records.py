"""DICOM files among frames: which are found, what they are called, and which belong together."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from data_tools import grey, save
from dicom_tools import PATIENT, SECRETS, dataset_of, item, make, new_uid, ramp, write
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLosslessSV1, RLELossless, SecondaryCaptureImageStorage

from identity_tools import told
from vasomim.data.dicom import open_run
from vasomim.data.dicom.identity import gives_away, identity_words, patient_keys
from vasomim.data.frames import read_record
from vasomim.data.open import open_frames
from vasomim.data.packed import PackSettings
from vasomim.data.packing import pack_frames
from vasomim.data.splits import content_groups, split_holdout
from vasomim.errors import DataError, MisuseError


def ids(*paths: Path, frames: str | None = None) -> list[str]:
    """Ids of the frames below some paths."""
    return [record.id for record in open_frames(paths, frames).records]


def write_directory(folder: Path, files: list[list[str]]) -> Path:
    """A DICOMDIR that lists files by the parts of their paths."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = new_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.FileSetID = "TEST"
    records = [item(DirectoryRecordType="PATIENT", PatientName=PATIENT["PatientName"])]
    records += [item(DirectoryRecordType="IMAGE", ReferencedFileID=parts) for parts in files]
    dataset.DirectoryRecordSequence = Sequence(records)
    path = folder / "DICOMDIR"
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return path


def test_open_frames__a_record_for_each_frame_in_natural_order(tmp_path: Path) -> None:
    pixels = ramp(11)
    make(tmp_path / "set" / "run2.dcm", pixels, RLELossless)
    make(tmp_path / "set" / "run10", ramp(1))
    make(tmp_path / "set" / "sub" / "1.2.3.40", ramp(2))
    save(tmp_path / "set" / "still.png", grey())
    (tmp_path / "set" / "notes.txt").write_text("no frame")
    dataset = open_frames([tmp_path / "set"])
    assert [record.id for record in dataset.records] == [
        *(f"run2/{k:04d}" for k in range(1, 12)),
        "run10",
        "still",
        "sub/1.2.3.40/0001",
        "sub/1.2.3.40/0002",
    ]
    assert len(dataset) == 15
    run = open_run(tmp_path / "set" / "run2.dcm")
    for index in (10, 0, 4):
        np.testing.assert_array_equal(dataset[index].image, run.frame(index))
        assert dataset[index].record.frame == index
    assert dataset[12].record.frame is None


def test_open_frames__chosen_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path / "set" / "long", ramp(50))
    make(tmp_path / "set" / "short", ramp(3))
    assert ids(tmp_path, frames="10:12") == ["set/long/0011", "set/long/0012"]
    assert "1 of 2 DICOM file(s) have no frame 10:12" in caplog.text
    assert ids(tmp_path, frames="-1") == ["set/long/0050", "set/short/0003"]
    assert ids(tmp_path, frames="7") == ["set/long/0008"]
    assert len(ids(tmp_path, frames="best")) == 2
    caplog.clear()
    with pytest.raises(
        MisuseError, match=r"there is no frame 60: in the 2 DICOM file\(s\) given; they have at most 50"
    ):
        ids(tmp_path, frames="60:")
    assert not caplog.text  # said once
    with pytest.raises(MisuseError, match="is no frame number"):
        ids(tmp_path, frames="all")


def test_open_frames__frames_of_pictures_are_not_chosen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "a.png", grey())
    assert ids(tmp_path, frames="3:4") == ["a"]
    assert "no effect" in caplog.text


def test_open_frames__what_is_no_frame_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path / "run", ramp(1))
    make(tmp_path / "secondary", ramp(1), SOPClassUID=SecondaryCaptureImageStorage)
    report = dataset_of(ramp(1), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Rows=None)
    del report.PixelData
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    write_directory(tmp_path, [["run"]])
    assert ids(tmp_path) == ["run", "secondary"]
    assert "2 of 4 DICOM file(s) without frames" in caplog.text
    assert "1 of 4 DICOM file(s) are not of the XA class" in caplog.text
    (named,) = open_frames([tmp_path / "report.dcm"]).records
    with pytest.raises(DataError, match=r"report\.dcm: there are no pixels in it"):
        read_record(named)


def test_open_frames__frames_beyond_those_claimed_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path / "run", ramp(4), NumberOfFrames=None)
    make(tmp_path / "whole", ramp(4))
    assert len(ids(tmp_path)) == 5
    assert "1 of 2 DICOM file(s) hold more frames than NumberOfFrames says" in caplog.text


def test_open_frames__a_damaged_file_is_a_record_that_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "set" / "cut", ramp(3))
    path.write_bytes(path.read_bytes()[:-50])
    make(tmp_path / "set" / "whole", ramp(1))
    damaged, whole = open_frames([tmp_path / "set"]).records
    read_record(whole)
    with pytest.raises(DataError, match="cut: truncated"):
        read_record(damaged)


def test_open_frames__a_named_directory_gives_its_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    medium = tmp_path / "medium"
    make(medium / "dicom" / "im0001", ramp(2))  # copied in lower case, as some systems do
    make(medium / "DICOM" / "IM0002", ramp(1))
    make(medium / "DICOM" / "UNLISTED", ramp(1))
    make(tmp_path / "OUTSIDE", ramp(1))
    listed = [["DICOM", "IM0001"], ["DICOM", "IM0002"], ["DICOM", "GONE"], ["..", "OUTSIDE"]]
    path = write_directory(medium, listed)
    shutil.move(medium / "dicom" / "im0001", medium / "DICOM" / "im0001")
    assert ids(path) == ["DICOM/im0001/0001", "DICOM/im0001/0002", "DICOM/IM0002"]
    assert "1 of 3 files listed" in caplog.text
    with pytest.raises(DataError, match="none of the 1 image"):
        ids(write_directory(medium, [["DICOM", "GONE"]]))


def test_open_frames__ids_stay_unique(tmp_path: Path) -> None:
    make(tmp_path / "a.dcm", ramp(2))
    make(tmp_path / "b" / "b.dcm", ramp(1))
    save(tmp_path / "a" / "0001.png", grey())
    save(tmp_path / "b" / "b.png", grey())
    found = ids(tmp_path)
    assert len(set(found)) == len(found) == 5


def test_open_frames__one_patient_or_study_is_never_divided(tmp_path: Path) -> None:
    study = new_uid()
    make(tmp_path / "a", ramp(3), PatientID="P-1", StudyInstanceUID=study)
    make(tmp_path / "b", ramp(3, rows=8), PatientID="P-1")
    make(tmp_path / "c", ramp(3, rows=9), PatientID="P-2")
    make(tmp_path / "d", ramp(3, rows=10), PatientID="P-3", StudyInstanceUID=study)
    make(tmp_path / "e", ramp(3, rows=11), PatientID="Anonymous")
    make(tmp_path / "f", ramp(3, rows=12), PatientID="Anonymous")
    dataset = open_frames([tmp_path])
    patients = {record.id[0]: record.patient for record in dataset.records}
    assert [patients[name] for name in "abdcef"] == [f"dicom {first}" for first in (0, 0, 0, 2, 4, 5)]
    groups = content_groups(dataset)
    assert len(set(groups)) == 4
    for seed in range(5):
        train, held = split_holdout(dataset, 0.3, seed)
        runs = [{dataset.records[k].patient for k in part} for part in (train, held)]
        assert not runs[0] & runs[1]
        assert runs[1]


def test_open_frames__the_same_pixels_in_two_encodings_belong_together(tmp_path: Path) -> None:
    pixels = ramp(2, bits=12)
    make(tmp_path / "a", pixels, bits=12)
    make(tmp_path / "b", pixels, JPEGLosslessSV1, bits=12)
    assert content_groups(open_frames([tmp_path])) == [0, 0, 0, 0]


def test_ids_and_messages__name_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Folders and files named after the patient, some damaged; the folder that somebody typed may be repeated alone."""
    caplog.set_level(logging.DEBUG)
    root = tmp_path / "typed"
    make(root / "QUANDTMEYER_XENIA" / "run1", ramp(2), **PATIENT)
    make(root / "px774411.dcm", ramp(3, rows=10), RLELossless, **PATIENT)
    make(root / "17081953", ramp(1, rows=11), SOPClassUID=SecondaryCaptureImageStorage, **PATIENT)
    cut = make(root / "quandtmeyer2", ramp(2), **PATIENT)
    cut.write_bytes(cut.read_bytes()[:-9])
    garbage = root / "xenia.dcm"
    garbage.write_bytes(cut.read_bytes()[:200])
    make(root / "neutral", ramp(1, rows=12), **PATIENT)
    dataset = open_frames([root])
    lines, refused = [], 0
    for record in dataset.records:
        try:
            read_record(record)
        except DataError as error:
            lines.append(str(error))
            refused += 1
        lines += [record.id, record.shown if record.name else "", record.patient or ""]
    assert refused == 2
    assert told("\n".join([*lines, caplog.text]), (*SECRETS, "17081953")) == []
    assert "neutral" in [record.id for record in dataset.records]
    assert len({record.id for record in dataset.records}) == len(dataset)


def test_ids__that_stand_for_a_name_stay_when_files_are_added(tmp_path: Path) -> None:
    """Masks of an earlier extraction are found by id: it may not depend on what else lies there."""
    make(tmp_path / "xenia_b", ramp(2), **PATIENT)
    before = ids(tmp_path)
    make(tmp_path / "xenia_a", ramp(2, rows=9), **PATIENT)
    after = ids(tmp_path)
    assert before == after[2:]
    assert all(name.startswith("run-") for name in after)
    shutil.copy(tmp_path / "xenia_b", tmp_path / "xenia_c")
    assert len(set(ids(tmp_path))) == 6


def test_ids__a_prefix_that_tells_folders_apart_names_nobody_either(tmp_path: Path) -> None:
    for name in ("quandtmeyer", "other"):
        make(tmp_path / name / "run", ramp(2, rows=len(name)), **PATIENT)
    found = ids(tmp_path / "quandtmeyer", tmp_path / "other")
    assert found[0].startswith("run-")
    assert found[2:] == ["other/run/0001", "other/run/0002"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("QUANDTMEYER", True),
        ("quandt_meyer", True),
        ("xQuandtmeyer1", True),
        ("Quändtmeyer", True),
        ("1953-08-17", True),
        ("19530817_run", True),
        ("08171953", True),
        ("PX774411", True),
        ("Li_Wu", True),
        ("Wu", False),
        ("run_0001", False),
        ("series2", False),
        ("1953", False),
        ("Kim_run3", True),
        ("kimono", False),
    ],
)
def test_gives_away__words_dates_and_numbers(name: str, expected: bool) -> None:
    dataset = dataset_of(ramp(1), **{**PATIENT, "OtherPatientNames": ["Li^Wu", "Kim"]})
    assert gives_away([name], identity_words(dataset)) is expected


@pytest.mark.parametrize(
    ("known", "name", "expected"),
    [
        ({"PatientID": "12-34-56"}, "12-34-56", True),
        ({"PatientID": "12-34-56"}, "run_123456", True),
        ({"PatientID": "12-34-56"}, "image_12", False),
        ({"PatientID": "A-12-345"}, "A12345", True),
        ({"PatientName": "Wang^XiaoDong=\u738b^\u5c0f\u4e1c"}, "\u738b\u5c0f\u4e1c", True),
        ({"PatientName": "Wang^XiaoDong=\u738b^\u5c0f\u4e1c"}, "\u5fc3\u810f", False),
        ({"PatientName": "Li^Na"}, "LiNa", True),
        ({"PatientName": "Kim^Min"}, "MinKim2", True),
        ({"PatientName": "M\u00fcller"}, "mueller", True),
        ({"PatientName": "Mueller"}, "M\u00fcller", True),
        ({"PatientName": "J\u00f8rgensen"}, "Jorgensen", True),
    ],
)
def test_gives_away__numbers_with_separators_and_names_of_any_script(
    known: dict[str, str], name: str, expected: bool
) -> None:
    dataset = dataset_of(ramp(1), SpecificCharacterSet="ISO_IR 192", **known)
    assert gives_away([name], identity_words(dataset)) is expected


def test_identity_words__of_nested_items_too() -> None:
    dataset = dataset_of(ramp(1))
    dataset.RequestAttributesSequence = Sequence([item(RequestingPhysician="Morgenroth^Ada")])
    assert {"morgenroth", "ada"} <= identity_words(dataset)


def test_patient_keys__do_not_hold_what_they_stand_for() -> None:
    dataset = dataset_of(ramp(1), **PATIENT)
    keys = patient_keys(dataset)
    assert len(keys) == 2
    assert not any(PATIENT["PatientID"] in key or str(dataset.StudyInstanceUID) in key for key in keys)
    assert patient_keys(dataset_of(ramp(1), PatientID="000", StudyInstanceUID=None)) == []


def test_record__of_a_picture_is_what_it_was(tmp_path: Path) -> None:
    save(tmp_path / "a.png", grey())
    (record,) = open_frames([tmp_path]).records
    assert dataclasses.replace(record, source="") == type(record)("a", tmp_path / "a.png")
    assert record.shown == str(tmp_path / "a.png")


def test_open_frames__subtracts_where_files_recommend_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rule = item(MaskOperation="AVG_SUB", MaskFrameNumbers=1)
    more = {"RecommendedViewingMode": "SUB", "MaskSubtractionSequence": Sequence([rule])}
    write(tmp_path / "dsa", dataset_of(ramp(3, bits=12), 12, PixelIntensityRelationship="LOG", **more))
    make(tmp_path / "plain", ramp(2))
    dataset = open_frames([tmp_path], subtract=True)
    assert [record.id for record in dataset.records] == ["dsa/0002", "dsa/0003", "plain/0001", "plain/0002"]
    np.testing.assert_array_equal(dataset[0].image, open_run(tmp_path / "dsa", subtract=True).frame(1))
    assert "1 of 2 DICOM file(s) do not ask to be subtracted" in caplog.text


def test_open_frames__a_patient_in_two_folders_is_one_beside_a_pack(tmp_path: Path) -> None:
    make(tmp_path / "packed" / "z", ramp(2), PatientID="P-0")
    pack_frames(open_frames([tmp_path / "packed"]), tmp_path / "pack", PackSettings(), workers=1)
    make(tmp_path / "a" / "x", ramp(2, rows=8), PatientID="P-1")
    make(tmp_path / "a" / "y", ramp(2, rows=9), PatientID="P-2")
    make(tmp_path / "b" / "v", ramp(2, rows=10), PatientID="P-2")
    make(tmp_path / "b" / "w", ramp(2, rows=11), PatientID="P-3")
    records = open_frames([tmp_path / "a", tmp_path / "b", tmp_path / "pack"]).records
    patients = {record.id[0]: record.patient for record in records}
    assert patients["y"] == patients["v"]
    assert len(set(patients.values())) == 4


def test_concatenate__patients_numbered_in_two_sets_stay_apart(tmp_path: Path) -> None:
    for name, rows in (("a", 8), ("b", 9)):
        make(tmp_path / name / name, ramp(2, rows=rows), PatientID=f"P-{name}")
        pack_frames(open_frames([tmp_path / name]), tmp_path / f"{name}.pack", PackSettings(), workers=1)
    dataset = open_frames([tmp_path / "a.pack", tmp_path / "b.pack"])
    assert [record.patient for record in dataset.records] == ["dicom 0.0"] * 2 + ["dicom 1.0"] * 2
    train, held = split_holdout(dataset, 0.5)
    assert [len(train), len(held)] == [2, 2]


def test_open_frames__asking_a_pack_for_frames_of_runs_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "frames" / "1.png", grey(1))
    pack_frames(open_frames([tmp_path / "frames"]), tmp_path / "pack", PackSettings(), workers=1)
    with caplog.at_level(logging.WARNING):
        assert len(open_frames([tmp_path / "pack"], "best")) == 1
    assert "have no effect" in caplog.text
