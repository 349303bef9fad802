"""Who is meant by a file: used in memory to keep frames of one patient together and names out of sight."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Set

from vasomim.data.dicom.elements import BadElement, Dataset, value_of

_NAMES = (
    "PatientName", "PatientBirthName", "PatientMotherBirthName", "OtherPatientNames", "ReferringPhysicianName",
    "PerformingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "OperatorsName",
    "RequestingPhysician", "ResponsiblePerson", "InstitutionName",
)  # fmt: skip
_NUMBERS = ("PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber", "MedicalRecordLocator")
_NO_PATIENT = re.compile(r"[0 ._-]*|anon.*|unknown|none|n/?a", re.IGNORECASE)
"""What stands in PatientID where the patient was removed: one for all, and so it tells nobody apart."""
_WORD = re.compile(r"[^\W_]+")


def patient_keys(dataset: Dataset) -> list[str]:
    """Keys that two files share where they are of one patient or study: hashes, for comparison in memory alone."""
    patient = _text(dataset, "PatientID")
    known = [] if _NO_PATIENT.fullmatch(patient) else [f"patient {patient}"]
    study = _text(dataset, "StudyInstanceUID")
    known += [f"study {study}"] if study else []
    return [hashlib.blake2b(key.encode(), digest_size=16).hexdigest() for key in known]


def identity_words(dataset: Dataset) -> frozenset[str]:
    """Words and numbers of the names, ids, dates and places by which a file identifies people; for memory alone."""
    texts = [_text(dataset, keyword) for keyword in (*_NAMES, *_NUMBERS)]
    return frozenset(word.casefold() for text in texts for word in _WORD.findall(text))


def gives_away(parts: Iterable[str], words: Set[str]) -> bool:
    """Whether the name of a folder or file holds one of `identity_words`.

    Words of 4 characters or more count anywhere, of 3 letters where they stand alone, of 2 letters where two of them
    do. So a few names are taken for a patient's that are none.
    """
    return any(_holds(part.casefold(), words) for part in parts)


def _holds(part: str, words: Set[str]) -> bool:
    there = set(_WORD.findall(part)) | set(re.findall(r"[^\W\d_]+", part))
    whole = {word for word in words & there if len(word) >= 2 and word.isalpha()}
    if len(whole) >= 2 or any(len(word) >= 3 for word in whole):
        return True
    squeezed = re.sub(r"[\W_]", "", part)
    return any(len(word) >= 4 and word in squeezed for word in words)


def _text(dataset: Dataset, keyword: str) -> str:
    """The value as text; several values with spaces between them."""
    try:
        value = value_of(dataset, keyword)
    except BadElement:
        return ""
    if value is None:
        return ""
    return str(value) if isinstance(value, str) or not isinstance(value, Iterable) else " ".join(map(str, value))
