"""What identifies a patient: telling whether a name on disk gives it away, and passing it on where that is wanted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

PATIENT_STUDY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "OtherPatientIDsSequence",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
)
"""Attributes of the Patient, General Study and Patient Study modules that file an object with its examination."""

_TEXT = frozenset(("AE", "AS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "UC", "UN", "UT"))
"""Value representations in which people write, or dates stand; codes, numbers and UIDs name nobody by themselves."""
_HARMLESS = frozenset(("Modality", "Manufacturer", "ManufacturerModelName", "SpecificCharacterSet"))
_SHORTEST = 3


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Copy the patient's and the examination's attributes as they are, empty ones included."""
    for keyword in PATIENT_STUDY:
        if keyword in source:
            target[keyword] = source[keyword]


def gives_away(name: str, dataset: Dataset) -> bool:
    """Whether a file's name or folder holds something that the file says of its patient, place or people.

    Every text and date of the file counts, private ones too, whole or word by word from three letters on; case,
    accents and separators do not: `doe-john_19700413` gives away `Doe^John` and the birth date 1970-04-13. Rather
    too many names are held back than one too few.

    Args:
        name: path without suffix, POSIX style.
        dataset: header of the file.
    """
    parts = [_letters(part) for part in PurePosixPath(name).parts]
    words = set(_words(name))
    return any(
        any(form in part for form in _forms(value, is_name) for part in parts) or not words.isdisjoint(_words(value))
        for value, is_name in _texts(dataset)
    )


def _words(text: str) -> list[str]:
    """Words of three and more letters or digits."""
    return [word for word in map(_letters, re.split(r"[\W_]+", text)) if len(word) >= _SHORTEST]


def _forms(value: str, is_name: bool) -> list[str]:
    """What must not occur inside a name, written without separators: the whole, each part of a person's name, and a
    date YYYYMMDD in three orders."""
    plain = _letters(value)
    if re.fullmatch(r"(19|20)\d{6}", plain):
        year, month, day = plain[:4], plain[4:6], plain[6:]
        return [plain, day + month + year, month + day + year]
    whole = [plain] if len(plain) > _SHORTEST else []
    return whole + (_words(value) if is_name else [])


def _letters(text: str) -> str:
    """Letters and digits alone, lower case, without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if letter.isalnum())


def _texts(dataset: Dataset) -> Iterator[tuple[str, bool]]:
    """Every text of a header, items of sequences included, and whether it is a person's name."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _texts(item)
        elif element.VR in _TEXT and element.keyword not in _HARMLESS:
            yield from ((value, element.VR == "PN") for value in _values(element))


def _values(element: DataElement) -> Iterator[str]:
    values: Any = element.value if isinstance(element.value, list | tuple) or element.VM > 1 else [element.value]
    for value in values:
        if isinstance(value, bytes):
            yield value.decode("utf-8", "ignore").strip("\0 ")
        elif value is not None:
            yield from str(value).split("=")
