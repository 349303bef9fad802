"""What every DICOM object that we derive from a run has in common: patient, study, series, equipment, references."""

from __future__ import annotations

import datetime
import hashlib
import io
from dataclasses import dataclass

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.coding import Code
from pydicom.uid import UID

from vasomim._version import __version__
from vasomim.errors import DataError
from vasomim.inference.identity import copy_identity

IMPLEMENTATION_UID = UID("2.25.251793054628541097382914075566137208431")
RESEARCH = "research use only"
_NO_DATE, _NO_TIME = "19000101", "000000"
"""Stand-ins where a date is required and nothing may tell when the examination was."""


@dataclass(frozen=True, kw_only=True)
class Software:
    """What made an object."""

    weights: str
    """Name of the weights."""
    fingerprint: str
    """Hash of the weights."""
    settings: str
    """What else the result depends on, in one line."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The run that an object is derived from."""

    dataset: Dataset
    """Header without pixels."""
    num_frames: int
    file_bytes: int
    """Size of its file, from which the rate of a lossy compression is estimated."""
    keep_identity: bool = False
    """Copy patient, study and dates, as filing in an archive needs; else nothing but UIDs is taken over."""
    written: datetime.datetime | None = None
    """Moment to write into the object; None writes a stand-in, so that equal runs give equal files."""

    @property
    def sop_class(self) -> str:
        """SOP class UID; errors as `instance`."""
        return _required(self.dataset, "SOPClassUID", "MediaStorageSOPClassUID")

    @property
    def instance(self) -> str:
        """SOP instance UID.

        Raises:
            DataError: the file has none, so that nothing can refer to it.
        """
        return _required(self.dataset, "SOPInstanceUID", "MediaStorageSOPInstanceUID")


def derived_uid(*parts: str) -> UID:
    """A UID that is a function of its parts (2.25 and the hash as UUID, PS3.5 B.2): equal work, equal name."""
    digest = bytearray(hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x80  # version 8 and variant of RFC 9562: a UUID of one's own making
    digest[8] = digest[8] & 0x3F | 0x80
    return UID(f"2.25.{int.from_bytes(digest, 'big')}")


def start_object(source: Source, software: Software, sop_class: UID, kind: str) -> Dataset:
    """A dataset with all modules that say whose, of what, by whom and when; new series and instance UIDs.

    Args:
        source: what it is derived from; its study is kept.
        software: what makes it.
        sop_class: of the new object.
        kind: tells the objects of one run apart; part of their UIDs.

    Raises:
        DataError: the source has no UIDs of its own.
    """
    stamp = source.written.isoformat() if source.written else ""
    parts = (source.instance, software.fingerprint, software.settings, __version__, kind, stamp)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = derived_uid("instance", *parts)
    dataset.SeriesInstanceUID = derived_uid("series", *parts)
    dataset.StudyInstanceUID = _required(source.dataset, "StudyInstanceUID")
    _add_patient_study(dataset, source)
    _add_equipment(dataset, software)
    dataset.ContentDate, dataset.ContentTime = _moment(source)
    dataset.InstanceNumber = 1
    return dataset


def refer(dataset: Dataset, source: Source) -> None:
    """Say in the Common Instance Reference module what the object is derived from."""
    instance = Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source.sop_class, source.instance
    series = Dataset()
    series.SeriesInstanceUID = _required(source.dataset, "SeriesInstanceUID")
    series.ReferencedInstanceSequence = Sequence([instance])
    dataset.ReferencedSeriesSequence = Sequence([series])


def source_image(source: Source, frame: int | None = None) -> Dataset:
    """A reference to the source, or to one of its frames, counted from 1 (Image SOP Instance Reference Macro)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.sop_class, source.instance
    if frame is not None and "NumberOfFrames" in source.dataset:
        item.ReferencedFrameNumber = frame
    return item


def coded(code: Code) -> Dataset:
    """A code as an item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def to_bytes(dataset: Dataset, transfer_syntax: UID) -> bytes:
    """The object as a DICOM file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = f"VASOMIM_{__version__}"[:16]
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _required(dataset: Dataset, *keywords: str) -> str:
    """The first of several UIDs that is there, in the file's meta information too."""
    for keyword in keywords:
        value = dataset.get(keyword) or getattr(dataset, "file_meta", Dataset()).get(keyword)
        if value:
            return str(value)
    raise DataError(f"the run has no {keywords[0]}, so that nothing can refer to it; export it again from the archive")


def _add_patient_study(dataset: Dataset, source: Source) -> None:
    """Patient and General Study modules; blank where required, unless identity is kept."""
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(dataset, keyword, "")
    for keyword in ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"):
        setattr(dataset, keyword, "")
    if source.keep_identity:
        copy_identity(source.dataset, dataset)


def _add_equipment(dataset: Dataset, software: Software) -> None:
    dataset.Manufacturer = "vasomim"
    dataset.ManufacturerModelName = "vasomim"
    dataset.DeviceSerialNumber = software.fingerprint
    dataset.SoftwareVersions = __version__


def _moment(source: Source) -> tuple[str, str]:
    if source.written is None:
        return _NO_DATE, _NO_TIME
    return source.written.strftime("%Y%m%d"), source.written.strftime("%H%M%S")
