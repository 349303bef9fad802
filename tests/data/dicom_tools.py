"""DICOM files for tests: written from arrays, in any encoding; whoever is named in them does not exist."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    XRayAngiographicImageStorage,
    generate_uid,
)

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
LOSSLESS = (RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
PATIENT = {
    "PatientName": "Quandtmeyer^Xenia",
    "PatientID": "PX-774411",
    "PatientBirthDate": "19530817",
    "InstitutionName": "Klinikum Zwetschgenheim",
    "ReferringPhysicianName": "Brombeerstein^Ottokar",
}
SECRETS = ("quandtmeyer", "xenia", "774411", "19530817", "zwetschgenheim", "brombeerstein", "ottokar", "tresor")
"""Lower-case texts that may show up nowhere; the last one is in a private element."""


_made: Counter[str] = Counter()


def new_uid() -> pydicom.uid.UID:
    """A UID of its own, the same whenever a test runs: damage at one place meets the same bytes every time."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    _made[test] += 1
    return generate_uid(entropy_srcs=[test, str(_made[test])])


def ramp(num_frames: int = 3, rows: int = 24, columns: int = 20, bits: int = 8, *, signed: bool = False) -> np.ndarray:
    """(T, H, W) random values that fill their bits, smallest and largest included."""
    low = -(1 << (bits - 1)) if signed else 0
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    values = np.random.default_rng(bits).integers(low, low + (1 << bits), (num_frames, rows, columns)).astype(kind)
    values[:, 0, 0], values[:, 0, 1] = low, low + (1 << bits) - 1
    return values


def dataset_of(pixels: np.ndarray, bits: int | None = None, **elements: Any) -> FileDataset:
    """An XA object, uncompressed: pixels (T, H, W) or RGB (T, H, W, 3), integers."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = elements.get("SOPClassUID", XRayAngiographicImageStorage)
    meta.MediaStorageSOPInstanceUID = new_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    width = pixels.dtype.itemsize * 8
    colours = pixels.ndim == 4
    described = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": new_uid(),
        "SeriesInstanceUID": new_uid(),
        "Modality": "XA",
        "NumberOfFrames": len(pixels),
        "Rows": pixels.shape[1],
        "Columns": pixels.shape[2],
        "SamplesPerPixel": 3 if colours else 1,
        "PhotometricInterpretation": "RGB" if colours else "MONOCHROME2",
        "BitsAllocated": width,
        "BitsStored": bits or width,
        "HighBit": (bits or width) - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **({"PlanarConfiguration": 0} if colours else {}),
        **elements,
    }
    for keyword, value in described.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OW" if width > 8 else "OB"
    return dataset


def overwrite(path: Path, old: bytes, new: bytes) -> None:
    """Put `new` where an element of a file in explicit encoding holds `old`, of the same length and of a short VR.

    The length in front of the value is looked for with it: a UID may hold the same digits.
    """
    head = len(old).to_bytes(2, "little")
    content = path.read_bytes()
    assert len(old) == len(new)
    assert content.count(head + old) == 1
    path.write_bytes(content.replace(head + old, head + new))


def write(path: Path, dataset: FileDataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a dataset in an encoding, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax in (JPEGLosslessSV1, JPEG2000Lossless, JPEGBaseline8Bit):
        dataset.save_as(path, enforce_file_format=True)
        return transcode(path, path, syntax)
    if syntax == ExplicitVRBigEndian:
        size = dataset.BitsAllocated // 8
        dataset.PixelData = np.frombuffer(dataset.PixelData, f"<u{size}").astype(f">u{size}").tobytes()
    if syntax in (RLELossless, JPEGLSLossless):
        dataset.compress(syntax, encoding_plugin="pydicom" if syntax == RLELossless else "pyjpegls")
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    little = syntax != ExplicitVRBigEndian
    implicit = syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(path, plain(dataset), implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return path


def plain(dataset: FileDataset) -> pydicom.Dataset:
    """The same elements without the encoding they were made in, which pydicom would not leave."""
    copy = pydicom.Dataset(dataset)
    copy.file_meta = dataset.file_meta
    return copy


def make(path: Path, pixels: np.ndarray, syntax: str = ExplicitVRLittleEndian, **more: Any) -> Path:
    """Write an XA object of these pixels."""
    return write(path, dataset_of(pixels, **more), syntax)


def transcode(source: Path, target: Path, syntax: str) -> Path:
    """Encode a file anew with GDCM."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    assert writer.Write()
    return target


def with_fragments(path: Path, per_frame: int, *, table: bool) -> Path:
    """Cut each frame of a compressed file into several fragments, with or without a table of offsets."""
    dataset = pydicom.dcmread(path)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=per_frame, has_bot=table)
    dataset.save_as(path)
    return path


def item(**elements: Any) -> pydicom.Dataset:
    """A sequence item; its values need not be allowed."""
    dataset = pydicom.Dataset()
    with pydicom.config.disable_value_validation():
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
    return dataset


def sequence(**elements: Any) -> Sequence:
    """A sequence of one item."""
    return Sequence([item(**elements)])


def lut(entries: np.ndarray, first: int = 0, bits: int = 8) -> Sequence:
    """A VOI or modality table."""
    found = item(LUTDescriptor=[len(entries) % 65536, first, bits], LUTData=entries.astype("<u2").tobytes())
    found["LUTData"].VR = "OW"
    return Sequence([found])
