"""Angiograms in DICOM: runs opened without their pixels, frames decoded one at a time, nothing that names a patient.

The public names below load on first use, so that the decoding child starts without the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vasomim.data.dicom.choice import BEST, parse_frames
    from vasomim.data.dicom.facts import RunFacts, SpacingKind
    from vasomim.data.dicom.parsing import is_dicom, quiet
    from vasomim.data.dicom.run import DicomRun, open_run

__all__ = ["BEST", "DicomRun", "RunFacts", "SpacingKind", "is_dicom", "open_run", "parse_frames", "quiet"]

_HOMES = {
    "BEST": "choice",
    "DicomRun": "run",
    "RunFacts": "facts",
    "SpacingKind": "facts",
    "is_dicom": "parsing",
    "open_run": "run",
    "parse_frames": "choice",
    "quiet": "parsing",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"vasomim.data.dicom.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'vasomim.data.dicom' has no attribute {name!r}")
