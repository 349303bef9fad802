"""What every DICOM object that we derive from a run has in common: patient, study, series, equipment, references."""

from __future__ import annotations

import datetime
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import dcmwrite
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.sr.coding import Code
from pydicom.uid import UID

from vasomim._version import __version__
from vasomim.data.dicom.elements import BadElement, code, numbers, uid
from vasomim.data.dicom.parsing import quiet
from vasomim.data.dicom.run import DicomRun
from vasomim.errors import DataError
from vasomim.inference.identity import copy_identity

IMPLEMENTATION_UID = UID("2.25.144405342069548080988138013943507941736")
RESEARCH = "research use only"
_LOSSY_METHODS = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
}
"""Encodings that lose something, and what their method is called (PS3.3 C.7.6.1.1.5.1)."""
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

    run: DicomRun
    indices: Sequence[int]
    """Frames that were segmented, from 0, ascending; usually all."""
    keep_identity: bool = False
    """Copy patient, study and dates, as filing in an archive needs; else nothing but UIDs is taken over."""
    written: datetime.datetime | None = None
    """Moment to write into the object; None writes a stand-in, so that equal runs give equal files."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the frames."""
        return self.run.facts.rows, self.run.facts.columns

    @property
    def times_ms(self) -> list[float] | None:
        """When each of the frames starts; None for a single frame or where unknown."""
        times = self.run.facts.frame_times_ms
        return None if times is None or len(self.indices) < 2 else [times[index] for index in self.indices]

    @property
    def sop_class(self) -> str:
        """SOP class UID; errors as `required_uid`."""
        return required_uid(self.run, "SOPClassUID", "MediaStorageSOPClassUID")

    @property
    def instance(self) -> str:
        """SOP instance UID; errors as `required_uid`."""
        return required_uid(self.run, "SOPInstanceUID", "MediaStorageSOPInstanceUID")


def required_uid(run: DicomRun, *keywords: str) -> str:
    """The first of several UIDs that the file has, in its meta information too.

    Raises:
        DataError: it has none, so that nothing can refer to it.
    """
    found = _first_uid(run, *keywords)
    if not found:
        raise DataError(f"{run.name} has no {keywords[0]}, so that no DICOM object can refer to it; export it again")
    return found


def missing_uids(run: DicomRun) -> list[str]:
    """Names of the UIDs that a derived object would need and the file has not."""
    wanted = (("SOPClassUID", "MediaStorageSOPClassUID"), ("SOPInstanceUID", "MediaStorageSOPInstanceUID"))
    return [
        names[0] for names in (*wanted, ("StudyInstanceUID",), ("SeriesInstanceUID",)) if not _first_uid(run, *names)
    ]


def _first_uid(run: DicomRun, *keywords: str) -> str:
    """Empty where there is none."""
    meta = getattr(run.dataset, "file_meta", Dataset())
    with quiet():
        return next((found for word in keywords if (found := uid(run.dataset, word) or uid(meta, word))), "")


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
    frames = ",".join(map(str, source.indices))
    parts = (source.instance, frames, software.fingerprint, software.settings, __version__, kind, stamp)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = derived_uid("instance", *parts)
    dataset.SeriesInstanceUID = derived_uid("series", *parts)
    dataset.StudyInstanceUID = required_uid(source.run, "StudyInstanceUID")
    _add_patient_study(dataset, source)
    dataset.Manufacturer = dataset.ManufacturerModelName = "vasomim"
    dataset.DeviceSerialNumber = software.fingerprint
    dataset.SoftwareVersions = __version__
    dataset.ContentDate, dataset.ContentTime = _moment(source)
    dataset.InstanceNumber = 1
    dataset.PatientOrientation = ""
    return dataset


def _add_patient_study(dataset: Dataset, source: Source) -> None:
    """Patient and General Study modules; blank where required, unless identity is kept."""
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(dataset, keyword, "")
    for keyword in ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"):
        setattr(dataset, keyword, "")
    if source.keep_identity:
        with quiet(), disable_value_validation():
            copy_identity(source.run.dataset, dataset)


def _moment(source: Source) -> tuple[str, str]:
    if source.written is None:
        return _NO_DATE, _NO_TIME
    return source.written.strftime("%Y%m%d"), source.written.strftime("%H%M%S")


def refer(dataset: Dataset, source: Source) -> None:
    """Say in the Common Instance Reference module what the object is derived from."""
    series = Dataset()
    series.SeriesInstanceUID = required_uid(source.run, "SeriesInstanceUID")
    series.ReferencedInstanceSequence = Items([source_image(source)])
    dataset.ReferencedSeriesSequence = Items([series])


def source_image(source: Source, index: int | None = None) -> Dataset:
    """A reference to the source, or to one of its frames (Image SOP Instance Reference Macro).

    The number of the only frame is left out, as it must be for classes that hold one.
    """
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.sop_class, source.instance
    if index is not None and len(source.run) > 1:
        item.ReferencedFrameNumber = index + 1
    return item


def coded(meaning: Code) -> Dataset:
    """A code as an item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = meaning.value, meaning.scheme_designator
    item.CodeMeaning = meaning.meaning
    return item


def add_lossy_history(dataset: Dataset, source: Source, ratio: float | None = None, method: str = "") -> None:
    """Say how much and how pixels were compressed with loss: by the source, and then by us if `ratio` is given."""
    ratios, methods = _lossy_history(source)
    if ratio is not None:
        ratios, methods = [*ratios, ratio], [*methods, method]
    dataset.LossyImageCompression = "01" if ratios else "00"
    if ratios:
        dataset.LossyImageCompressionRatio = [f"{value:.6g}" for value in ratios]
        dataset.LossyImageCompressionMethod = methods


def _lossy_history(source: Source) -> tuple[list[float], list[str]]:
    """Ratios and methods that the source names; where it names none, its encoding and the size of its file count."""
    dataset, facts = source.run.dataset, source.run.facts
    with quiet():
        lossy = code(dataset, "LossyImageCompression") == "01"
        try:
            ratios = list(numbers(dataset, "LossyImageCompressionRatio"))
        except BadElement:
            ratios = []
        said = dataset.get("LossyImageCompressionMethod") or []
    methods = [said] if isinstance(said, str) else list(said)
    known = set(_LOSSY_METHODS.values())
    if lossy and ratios and len(ratios) == len(methods) and known.issuperset(methods):
        return ratios, methods
    here = _LOSSY_METHODS.get(facts.transfer_syntax)
    if here is None and not lossy:
        return [], []
    plain = facts.num_frames * facts.rows * facts.columns * facts.bits_allocated / 8
    return [max(plain / source.run.path.stat().st_size, 1.0)], [here or "ISO_10918_1"]


def to_bytes(dataset: Dataset, transfer_syntax: UID) -> bytes:
    """The object as a DICOM file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = f"VASOMIM_{__version__}"[:16]
    dataset.file_meta = meta
    buffer = io.BytesIO()
    # What is copied from a source may break rules that its own writer did not mind.
    with quiet(), disable_value_validation():
        dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
