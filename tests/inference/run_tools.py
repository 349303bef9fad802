"""DICOM runs for tests: a dark band that grows from frame to frame; whoever is named in them does not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

from vasomim.data.dicom.run import DicomRun, cached_run
from vasomim.inference.derived import Software, Source
from vasomim.types import BoolImage

SOFTWARE = Software(weights="tiny", fingerprint="0123456789abcdef" * 2, settings="mode tile, threshold 0.5")
PATIENT: dict[str, Any] = {
    "PatientName": "Quittenbaum^Xaverine",
    "PatientID": "KZ-90817263",
    "PatientBirthDate": "19470312",
    "PatientSex": "F",
    "OtherPatientNames": "Mirabellstein^Xaverine",
    "PatientComments": "Zimmer Holunderweg",
    "PatientAddress": "Schlehdornallee 4711",
    "AccessionNumber": "ACC5566778",
    "StudyDate": "20310405",
    "StudyTime": "091733",
    "StudyID": "STU99001",
    "StudyDescription": "Koro Weissdornzentrum",
    "SeriesDescription": "Serie Ebereschenhof",
    "InstitutionName": "Klinik Kornelkirsch",
    "InstitutionAddress": "Vogelbeerplatz 8",
    "ReferringPhysicianName": "Felsenbirne^Ottilie",
    "PerformingPhysicianName": "Sanddorner^Gundolf",
    "OperatorsName": "Traubenkirschner^Ewald",
    "StationName": "RAUM-PFAFFENHUT",
    "DeviceSerialNumber": "SN-GERAET-31337",
    "ImageComments": "Berberitzenhecke",
}
"""Attributes of somebody who does not exist."""
PRIVATE = ("Ligusterholz geheim", "Spindelstrauch^Privat")
"""Texts in private elements, one of them inside a sequence."""
SECRETS = (
    "quittenbaum", "xaverine", "90817263", "19470312", "mirabellstein", "holunderweg", "schlehdorn", "acc5566778",
    "20310405", "091733", "stu99001", "weissdorn", "ebereschen", "kornelkirsch", "vogelbeer", "felsenbirne", "ottilie",
    "sanddorner", "gundolf", "traubenkirsch", "ewald", "pfaffenhut", "geraet-31337", "berberitzen", "ligusterholz",
    "spindelstrauch",
)  # fmt: skip
"""Lower case; none may show up anywhere unless identity is kept."""


def band(num_frames: int = 5, rows: int = 37, columns: int = 29) -> BoolImage:
    """(T, H, W) True where frames are dark; the first frame has nothing. A frame is no whole number of bytes."""
    masks = np.zeros((num_frames, rows, columns), bool)
    for k in range(num_frames):
        masks[k, 4 : 4 + 3 * k, 10:17] = True
    return masks


def make_run(path: Path, masks: BoolImage | None = None, *, identity: bool = True, **elements: Any) -> Path:
    """Write an XA run, bright and noisy with `masks` dark."""
    masks = band() if masks is None else masks
    noise = np.random.default_rng(len(masks)).integers(170, 230, masks.shape, dtype=np.uint8)
    pixels = np.where(masks, np.uint8(30), noise)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    described = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": generate_uid(entropy_srcs=["study"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=["series"]),
        "Modality": "XA",
        "ImageType": ["ORIGINAL", "PRIMARY", "SINGLE PLANE"],
        "FrameTime": "66.667",
        "FrameIncrementPointer": 0x00181063,
        "WindowCenter": "127.5",
        "WindowWidth": "255",
        "VOILUTFunction": "LINEAR_EXACT",
        "NumberOfFrames": masks.shape[0],
        "Rows": masks.shape[1],
        "Columns": masks.shape[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        **(PATIENT if identity else {}),
        **elements,
    }
    for keyword, value in described.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if identity:
        _add_private(dataset)
    content = pixels.tobytes()
    dataset.add_new(0x7FE00010, "OB", content + b"\0" * (len(content) % 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _add_private(dataset: Dataset) -> None:
    block = dataset.private_block(0x0029, "TEST CREATOR", create=True)
    block.add_new(0x01, "LO", PRIVATE[0])
    inner = Dataset()
    inner.PatientName = PRIVATE[1]
    block.add_new(0x02, "SQ", Sequence([inner]))


def open_test_run(path: Path) -> DicomRun:
    return cached_run(path, "run")


def source_of(path: Path, **more: Any) -> Source:
    run = open_test_run(path)
    return Source(run=run, indices=more.pop("indices", range(len(run))), **more)
