"""Who is meant by a file: used in memory to keep frames of one patient together and names out of sight."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Set
from typing import Any

from vasomim.data.dicom.elements import BadElement, Dataset, value_of

_IDENTIFYING = frozenset({
    "PatientID", "OtherPatientIDs", "PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers", "AccessionNumber",
    "MedicalRecordLocator", "AdmissionID", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName",
    "StationName",
})  # fmt: skip
"""Beside the names of persons, which are told by their type."""
_LARGE = "PerFrameFunctionalGroupsSequence"
"""Holds nothing of a patient and may hold a hundred thousand elements."""
_NO_PATIENT = re.compile(r"[0 ._-]*|anon.*|unknown|none|n/?a", re.IGNORECASE)
"""What stands in PatientID where the patient was removed: one text for all, which tells nobody apart."""
_WORD = re.compile(r"[^\W_]+")
_DATE = re.compile(r"(?P<year>(?:18|19|20)\d\d)(?P<month>\d\d)(?P<day>\d\d)")
_MAX_DEPTH = 8
_BEYOND_ALPHABETS = "\u1100"
"""From here on (Hangul, kana, Chinese characters) a name is two or three characters long."""
_SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
"""How letters are written out where a keyboard lacks them."""
_WITHOUT_STROKE = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae"})
"""Letters that do not fall into a letter and an accent."""


def patient_keys(dataset: Dataset) -> list[str]:
    """Keys that two files share where they are of one patient or study: hashes, to be compared in memory alone."""
    patient, study = " ".join(_texts(dataset, "PatientID")).strip(), " ".join(_texts(dataset, "StudyInstanceUID"))
    known = [] if _NO_PATIENT.fullmatch(patient) else [f"patient {patient}"]
    known += [f"study {study}"] if study else []
    return [hashlib.blake2b(key.encode(), digest_size=16).hexdigest() for key in known]


def identity_words(dataset: Dataset) -> frozenset[str]:
    """Words and numbers of the names, ids, dates and places by which a file identifies people; for memory alone."""
    texts = list(_identifying_texts(dataset))
    spellings = [way for text in texts for way in _spellings(text)]
    words = {word for text in spellings for word in (*_WORD.findall(text), *_joined(text))}
    dates = [found for word in words if (found := _DATE.fullmatch(word))]
    orders = {"{day}{month}{year}", "{month}{day}{year}"} if dates else ()
    return frozenset(words | {order.format(**date.groupdict()) for date in dates for order in orders})


def gives_away(parts: Iterable[str], words: Set[str]) -> bool:
    """Whether the name of a folder or file holds one of `identity_words`.

    Words of 4 characters or more count anywhere, as do those of 2 or more in a script beyond the alphabets; words of 3
    letters count where they stand alone, of 2 letters where two of them do. So a few names are taken for a patient's
    that are none.
    """
    return any(_holds(way, words) for part in parts for way in _spellings(part))


def _holds(part: str, words: Set[str]) -> bool:
    alone = {*_WORD.findall(part), *re.findall(r"[^\W\d_]+", part)}
    short = {word for word in words & alone if word.isalpha() and len(word) >= 2}
    squeezed = re.sub(r"[\W_]", "", part)
    return (
        len(short) >= 2
        or any(len(word) >= 3 for word in short)
        or any(len(word) >= (2 if word >= _BEYOND_ALPHABETS else 4) and word in squeezed for word in words)
    )


def _plain(text: str) -> str:
    """Lower case, without accents."""
    letters = unicodedata.normalize("NFKD", text.casefold().translate(_WITHOUT_STROKE))
    return "".join(c for c in letters if not unicodedata.combining(c))


def _spellings(text: str) -> set[str]:
    """Without accents, and with them written out."""
    return {_plain(text), _plain(text.casefold().translate(_SPELLED_OUT))}


def _joined(text: str) -> set[str]:
    """A number without its separators; each writing of a name (PS3.5 6.2.1) as one word, either part first."""
    found = set()
    for group in text.split("="):
        parts = _WORD.findall(group)
        found |= {"".join(parts), "".join([*parts[1:2], *parts[:1]])}
    return found - {""}


def _identifying_texts(dataset: Dataset, depth: int = 0) -> Iterator[str]:
    """Names of persons, and what `_IDENTIFYING` lists, in items of sequences too."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            kind, keyword, value = element.VR, element.keyword, element.value
        except Exception:  # a broken element tells nobody anything
            continue
        if kind == "SQ" and keyword != _LARGE and depth < _MAX_DEPTH:
            for item in value or ():
                yield from _identifying_texts(item, depth + 1)
        elif kind == "PN" or keyword in _IDENTIFYING:
            yield from _as_texts(value)


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    try:
        return list(_as_texts(value_of(dataset, keyword)))
    except BadElement:
        return []


def _as_texts(value: Any) -> Iterator[str]:
    """The texts of an element of one or several values."""
    if value is None:
        return
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes) and not hasattr(value, "components")
    for part in value if several else [value]:
        yield part.decode("latin-1") if isinstance(part, bytes) else str(part)
