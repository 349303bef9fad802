"""DICOM inputs for `fuzz.py`: a run in each encoding, a segmentation, a DICOMDIR, and headers made to do harm."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom import transcode
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    RLELossless,
    SegmentationStorage,
    XRayAngiographicImageStorage,
)

ENCODINGS: dict[str, tuple[UID, int]] = {
    "implicit little endian": (ImplicitVRLittleEndian, 10),
    "explicit little endian": (ExplicitVRLittleEndian, 10),
    "explicit big endian": (ExplicitVRBigEndian, 10),
    "RLE": (RLELossless, 10),
    "JPEG baseline": (JPEGBaseline8Bit, 8),
    "JPEG lossless": (JPEGLosslessSV1, 10),
    "JPEG-LS": (JPEGLSLossless, 10),
    "JPEG 2000": (JPEG2000Lossless, 10),
}
"""Encodings that can be written here, and the bits of the frames in them."""
_UID = "1.2.826.0.1.3680043.8.498.{}"


def _meta(sop_class: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, sop_class
    meta.MediaStorageSOPInstanceUID = UID(_UID.format(1))
    return meta


def _object(sop_class: UID, **elements: Any) -> FileDataset:
    dataset = FileDataset("", {}, file_meta=_meta(sop_class), preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, UID(_UID.format(1))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID(_UID.format(2)), UID(_UID.format(3))
    dataset.PatientName, dataset.PatientID = "Nobody^At all", "N-0"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def _pixels(bits: int) -> dict[str, Any]:
    """Elements of two frames of 24 x 32 pixels."""
    kind = np.uint8 if bits == 8 else np.uint16
    values = np.random.default_rng(bits).integers(0, 1 << bits, (2, 24, 32)).astype(kind)
    return {
        "Modality": "XA",
        "NumberOfFrames": 2,
        "Rows": 24,
        "Columns": 32,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME1",
        "BitsAllocated": values.dtype.itemsize * 8,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "WindowCenter": 1 << (bits - 1),
        "WindowWidth": 1 << bits,
        "FrameTime": "66.7",
        "PixelData": values.tobytes(),
    }


def write_dicom(path: Path, syntax: UID, bits: int) -> Path:
    """A run of two frames in an encoding."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = _object(XRayAngiographicImageStorage, **_pixels(bits))
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    if syntax == RLELossless:
        dataset.compress(RLELossless, encoding_plugin="pydicom")
        dataset.save_as(path, enforce_file_format=True)
    elif syntax.is_compressed:
        dataset.save_as(path, enforce_file_format=True)
        transcode(path, syntax)
    else:
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        plain = Dataset(dataset)
        plain.file_meta = dataset.file_meta
        plain.file_meta.TransferSyntaxUID = syntax
        little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
        pydicom.dcmwrite(path, plain, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return path


def _item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def write_segmentation(folder: Path) -> Path:
    """Masks of two frames."""
    folder.mkdir(parents=True, exist_ok=True)
    masks = np.random.default_rng(0).random((2, 24, 32)) < 0.3
    groups = []
    for number in (1, 2):
        source = _item(ReferencedSOPInstanceUID=_UID.format(9), ReferencedFrameNumber=number)
        groups.append(_item(DerivationImageSequence=Sequence([_item(SourceImageSequence=Sequence([source]))])))
    dataset = _object(
        SegmentationStorage,
        SegmentationType="BINARY",
        NumberOfFrames=2,
        Rows=24,
        Columns=32,
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
        SegmentSequence=Sequence([_item(SegmentNumber=1, SegmentLabel="Vessel")]),
        PerFrameFunctionalGroupsSequence=Sequence(groups),
        PixelData=np.packbits(masks.ravel(), bitorder="little").tobytes(),
    )
    dataset["PixelData"].VR = "OB"
    dataset.save_as(folder / "seg", enforce_file_format=True)
    return folder / "seg"


def write_directory(folder: Path) -> Path:
    """A table of contents that lists one file, which is there."""
    write_dicom(folder / "IMAGES" / "IM1", ExplicitVRLittleEndian, 10)
    records = [_item(DirectoryRecordType="IMAGE", ReferencedFileID=["IMAGES", "IM1"])]
    dataset = _object(MediaStorageDirectoryStorage, DirectoryRecordSequence=Sequence(records))
    dataset.save_as(folder / "DICOMDIR", enforce_file_format=True)
    return folder / "DICOMDIR"


def hostile_dicom(content: bytes) -> Iterable[bytes]:
    """Numbers beyond reason in every place that says how much is to come, names that lead out, nesting without end."""
    for keyword, values in _CLAIMS.items():
        for value in values:
            yield from _with(content, keyword, value)
    for parts in (["..", "..", "valid", "IM1"], ["/etc", "hostname"], [""], ["a" * 60], ["IMAGES"], ["IMAGES", "."]):
        yield from _with_file_id(content, parts)
    yield content[:132]
    nested = struct.pack("<HH2sHL", 0x0008, 0x1111, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    yield content[: _dataset_at(content)] + nested * 3000
    for length in (0xFFFFFFFE, 0x7FFFFFFF, 0x10000000):  # an element that goes on behind the end
        yield content[: _dataset_at(content)] + struct.pack("<HH2sHL", 0x0008, 0x0005, b"OB", 0, length) + b"x" * 50
    many = struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 2) + b"ab"
    yield content[: _dataset_at(content)] + many * 50_000


_CLAIMS: dict[str, tuple[Any, ...]] = {
    "Rows": (0, 1, 65_535),
    "Columns": (0, 1, 65_535),
    "NumberOfFrames": (0, -1, 3, 100_000, 2**31 - 1),
    "BitsAllocated": (0, 1, 8, 32, 65_535),
    "BitsStored": (0, 1, 16, 65_535),
    "HighBit": (0, 3, 65_535),
    "SamplesPerPixel": (0, 2, 3, 65_535),
    "PixelRepresentation": (1, 65_535),
    "PhotometricInterpretation": ("", "RGB", "YBR_FULL_422", "PALETTE COLOR", "X" * 16),
    "WindowWidth": ("0", "-1", "1e308", "NaN", "0.0000001"),
    "WindowCenter": ("1e308", "-1e308"),
    "RescaleSlope": ("0", "1e308", "NaN"),
    "FrameTime": ("0", "-5", "1e308", "x"),
    "SegmentationType": ("FRACTIONAL", ""),
}


def _dataset_at(content: bytes) -> int:
    """Where the meta information ends."""
    return 144 + int(struct.unpack("<L", content[140:144])[0])


def _with(content: bytes, keyword: str, value: Any) -> Iterable[bytes]:
    """The same object with another value in one element, whatever the rules say; none where it cannot be written."""
    try:
        with pydicom.config.disable_value_validation():
            dataset = pydicom.dcmread(io.BytesIO(content))
            setattr(dataset, keyword, value)
            made = io.BytesIO()
            dataset.save_as(made)
    except Exception:  # not every value can be written in every encoding
        return
    yield made.getvalue()


def _with_file_id(content: bytes, parts: list[str]) -> Iterable[bytes]:
    dataset = pydicom.dcmread(io.BytesIO(content))
    if "DirectoryRecordSequence" in dataset:
        with pydicom.config.disable_value_validation():
            dataset.DirectoryRecordSequence[0].ReferencedFileID = parts
            made = io.BytesIO()
            dataset.save_as(made)
        yield made.getvalue()
