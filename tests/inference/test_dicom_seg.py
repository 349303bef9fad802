"""Segmentations of runs: what was segmented can be read back exactly, by others too; what is private is not there."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.pixels import pack_bits
from run_tools import PATIENT, SECRETS, SOFTWARE, band, make_run, source_of

from identity_tools import told
from vasomim.errors import DataError
from vasomim.inference.derived import Source, derived_uid
from vasomim.inference.dicom_seg import BitPacker, dicom_lab, segmentation
from vasomim.types import BoolImage


def packed(masks: BoolImage) -> BitPacker:
    packer = BitPacker()
    for mask in masks:
        packer.add(mask)
    return packer


def segment(path: Path, masks: BoolImage, **more: object) -> pydicom.Dataset:
    content = segmentation(packed(masks), source_of(path, **more), SOFTWARE)
    return pydicom.dcmread(io.BytesIO(content))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run.dcm")


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 4), (3, 5, 7), (7, 3, 3), (2, 16, 16), (5, 37, 29)])
def test_bit_packer__packs_as_pydicom_does(shape: tuple[int, int, int]) -> None:
    masks = np.random.default_rng(shape[0]).random(shape) < 0.5
    assert packed(masks).content() == pack_bits(masks.astype(np.uint8), pad=True)


@pytest.mark.parametrize("size", [(37, 29), (32, 40), (5, 5)])
def test_segmentation__is_read_back_exactly(tmp_path: Path, size: tuple[int, int]) -> None:
    masks = np.random.default_rng(1).random((5, *size)) < 0.3
    masks[[0, 3]] = False
    path = make_run(tmp_path / "run.dcm", masks)
    content = segmentation(packed(masks), source_of(path), SOFTWARE)
    np.testing.assert_array_equal(pydicom.dcmread(io.BytesIO(content)).pixel_array, masks)
    read = highdicom.seg.segread(io.BytesIO(content))
    instance = pydicom.dcmread(path).SOPInstanceUID
    found = read.get_pixels_by_source_frame(instance, list(range(1, 6)))
    np.testing.assert_array_equal(found[..., 0], masks)
    some = read.get_pixels_by_source_frame(instance, [4, 2])
    np.testing.assert_array_equal(some[..., 0], masks[[3, 1]])


def test_segmentation__of_some_frames_refers_to_those(run: Path) -> None:
    masks = band()
    content = segmentation(packed(masks[[1, 4]]), source_of(run, indices=[1, 4]), SOFTWARE)
    read = highdicom.seg.segread(io.BytesIO(content))
    found = read.get_pixels_by_source_frame(pydicom.dcmread(run).SOPInstanceUID, [2, 5])
    np.testing.assert_array_equal(found[..., 0], masks[[1, 4]])


def test_segmentation__of_a_single_frame(tmp_path: Path) -> None:
    masks = band(3)[2:]
    path = make_run(tmp_path / "one.dcm", masks, NumberOfFrames=None, FrameTime=None, FrameIncrementPointer=None)
    content = segmentation(packed(masks), source_of(path), SOFTWARE)
    read = highdicom.seg.segread(io.BytesIO(content))
    found = read.get_pixels_by_source_instance([pydicom.dcmread(path).SOPInstanceUID])
    np.testing.assert_array_equal(found[..., 0], masks)


def test_segmentation__says_what_it_is_and_where_it_comes_from(run: Path) -> None:
    made, source = segment(run, band()), pydicom.dcmread(run)
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.SOPInstanceUID != source.SOPInstanceUID
    series = made.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    pointers = [item.DimensionIndexPointer for item in made.DimensionIndexSequence]
    assert pointers == [0x0062000B, 0x00209128]
    for number, groups in enumerate(made.PerFrameFunctionalGroupsSequence, 1):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedFrameNumber == number
        assert image.SpatialLocationsPreserved == "YES"
        assert groups.FrameContentSequence[0].TemporalPositionIndex == number
    (segment_item,) = made.SegmentSequence
    assert segment_item.SegmentAlgorithmType == "AUTOMATIC"
    assert segment_item.SegmentedPropertyTypeCodeSequence[0].CodeValue == "59820001"  # SCT, blood vessel
    texts = (made.SeriesDescription, made.ContentDescription, segment_item.SegmentDescription)
    assert all("research use only" in text for text in texts)
    assert made.LossyImageCompression == "00"


def test_segmentation__holds_nothing_private_unless_identity_is_kept(run: Path) -> None:
    content = segmentation(packed(band()), source_of(run), SOFTWARE)
    assert told(content, SECRETS) == []
    now = datetime.datetime(2031, 4, 6, 12, 30, 1)
    kept = segment(run, band(), keep_identity=True, written=now)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate", "StudyID"):
        assert kept[keyword].value == PATIENT[keyword]
    assert (kept.ContentDate, kept.ContentTime) == ("20310406", "123001")
    assert "InstitutionName" not in kept
    assert not any(element.tag.is_private for element in kept)


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 144", "ISO_IR 192", ["", "ISO 2022 IR 87"]])
def test_segmentation__keeps_names_in_any_alphabet(tmp_path: Path, charset: object) -> None:
    names = {"ISO_IR 100": "Müßig^Zoë", "ISO_IR 144": "Дюжина^Яна"}
    name = names.get(str(charset), "Yamada^Tarou=山田^太郎")
    path = make_run(tmp_path / "run.dcm", SpecificCharacterSet=charset, PatientName=name)
    assert segment(path, band(), keep_identity=True).PatientName == name


def test_segmentation__keeps_values_that_break_the_rules(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run.dcm")
    dataset = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        dataset.PatientBirthDate, dataset.PatientID = "1947.03.12", "K" * 70
        dataset.save_as(path)
        kept = segment(path, band(), keep_identity=True)
        assert (kept.PatientBirthDate, kept.PatientID) == ("1947.03.12", "K" * 70)


def test_segmentation__equal_work_gives_equal_files(run: Path) -> None:
    first = segmentation(packed(band()), source_of(run), SOFTWARE)
    assert segmentation(packed(band()), source_of(run), SOFTWARE) == first
    other = segment(run, band()[:2], indices=[0, 1])
    assert other.SOPInstanceUID != pydicom.dcmread(io.BytesIO(first)).SOPInstanceUID


def test_segmentation__declares_the_loss_of_its_source(tmp_path: Path) -> None:
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "7.5"}
    path = make_run(tmp_path / "run.dcm", **lossy, LossyImageCompressionMethod="ISO_15444_1")
    made = segment(path, band())
    assert made.LossyImageCompression == "01"
    assert (float(made.LossyImageCompressionRatio), made.LossyImageCompressionMethod) == (7.5, "ISO_15444_1")


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_segmentation__refuses_a_run_that_nothing_can_refer_to(tmp_path: Path, keyword: str) -> None:
    path = make_run(tmp_path / "run.dcm", **{keyword: None})
    with pytest.raises(DataError, match=f"no {keyword}"):
        segment(path, band())


def test_segmentation__needs_a_mask_for_each_frame(run: Path) -> None:
    source: Source = source_of(run)
    with pytest.raises(ValueError, match="2 masks for 5 frames"):
        segmentation(packed(band()[:2]), source, SOFTWARE)


def test_derived_uid__is_valid_and_depends_on_every_part() -> None:
    found = {derived_uid(*parts) for parts in (("a", "b"), ("ab",), ("a", "b", ""), ("b", "a"))}
    assert len(found) == 4
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in found)


def test_dicom_lab__of_white_and_black() -> None:
    assert dicom_lab((255, 255, 255)) == pytest.approx((65535, 32896, 32896), abs=20)
    assert dicom_lab((0, 0, 0)) == pytest.approx((0, 32896, 32896), abs=20)
