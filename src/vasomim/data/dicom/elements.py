"""Values of a dataset, checked: what is read from a file may be anything.

Messages name elements by keyword and never repeat text from a file, which may name a patient.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

Dataset = Any
"""A pydicom Dataset; pydicom is optional and carries few types."""

_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_UID = re.compile(r"[0-9.]{1,64}")


class BadElement(Exception):
    """Part of a file cannot be used; the message says what, without the file's name."""


def value_of(dataset: Dataset, keyword: str) -> Any:
    """The value of an element, None where it is missing or empty.

    Raises:
        BadElement: it cannot be parsed.
    """
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom raises whatever a broken value leads to
        raise BadElement(f"{keyword} cannot be read") from None
    return None if value is None or (isinstance(value, str | bytes) and not value.strip()) else value


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """All values of a numeric element, empty where it is missing or empty.

    Raises:
        BadElement: not numbers, or not finite.
    """
    value = value_of(dataset, keyword)
    if value is None:
        return ()
    several = not isinstance(value, str | bytes) and isinstance(value, Sequence)
    try:
        found = tuple(float(part) for part in (value if several else (value,)))
    except (TypeError, ValueError, OverflowError):
        raise BadElement(f"{keyword} is no number") from None
    if not all(map(math.isfinite, found)):
        raise BadElement(f"{keyword} holds NaN or infinity")
    return found


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first value of a numeric element, None where it is missing or empty.

    Raises:
        BadElement: as `numbers`.
    """
    return next(iter(numbers(dataset, keyword)), None)


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number.

    Raises:
        BadElement: missing without a default, or not a whole number.
    """
    value = number(dataset, keyword)
    if value is None:
        if default is None:
            raise BadElement(f"{keyword} is missing")
        return default
    if value != int(value):
        raise BadElement(f"{keyword} is {value:.6g}, not a whole number")
    return int(value)


def code(dataset: Dataset, keyword: str) -> str:
    """A code string such as MONOCHROME2, empty where it is missing or is none."""
    value = value_of(dataset, keyword)
    text = "" if value is None else str(value).strip()
    return text if _CODE.fullmatch(text) else ""


def uid(dataset: Dataset, keyword: str) -> str:
    """A UID, empty where it is missing or is none."""
    value = value_of(dataset, keyword)
    text = "" if value is None else str(value).strip("\0 ")
    return text if _UID.fullmatch(text) else ""


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence, none where it is missing.

    Raises:
        BadElement: not a sequence.
    """
    value = value_of(dataset, keyword)
    if value is None:
        return []
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise BadElement(f"{keyword} is no sequence")
    return list(value)


def group_item(dataset: Dataset, index: int, keyword: str) -> Dataset | None:
    """The functional group `keyword` of a frame of an enhanced object: its own, or the one all frames share."""
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    for group in [*frames[index : index + 1], *shared[:1]]:
        found = items(group, keyword)
        if found:
            return found[0]
    return None
