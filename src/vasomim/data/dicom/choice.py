"""Which frames of a run are meant."""

from __future__ import annotations

import re

from vasomim.errors import MisuseError

BEST = "best"
"""Stands for the frame with most contrast in the vessels; it takes pixels to find, see `DicomRun.select`."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_SLICE = re.compile(r"([+-]?[0-9]{1,9})?:([+-]?[0-9]{1,9})?(?::([+-]?[0-9]{1,9})?)?")


def parse_frames(text: str | None, num_frames: int) -> range:
    """Frame indices, from 0, by a number or slice as in Python: `7`, `-1`, `10:40`, `::5`; None for all.

    Args:
        text: what is asked for. `best` needs pixels and is answered by `DicomRun.select`.
        num_frames: of the run.

    Returns:
        Indices, possibly none for a slice.

    Raises:
        MisuseError: another text, or a number that the run does not have.
    """
    if text is None:
        return range(num_frames)
    asked = text.strip()
    if _NUMBER.fullmatch(asked):
        return _single(int(asked), num_frames)
    found = _SLICE.fullmatch(asked)
    if found is None or (found[3] is not None and int(found[3]) == 0):
        raise MisuseError(
            f"frames={text!r} is no frame number (7), slice (10:40, ::5) or {BEST!r}; frames count from 0"
        )
    return range(num_frames)[slice(*(None if part is None else int(part) for part in found.groups()))]


def _single(index: int, num_frames: int) -> range:
    at = index + num_frames if index < 0 else index
    if not 0 <= at < num_frames:
        raise MisuseError(f"there is no frame {index} in a run of {num_frames}; need 0 to {num_frames - 1}")
    return range(at, at + 1)
