"""Angiograms in DICOM: runs opened without their pixels, frames decoded one at a time, nothing that names a patient."""

from vasomim.data.dicom.choice import BEST, parse_frames
from vasomim.data.dicom.facts import RunFacts, SpacingKind
from vasomim.data.dicom.parsing import is_dicom, quiet
from vasomim.data.dicom.run import DicomRun, open_run

__all__ = ["BEST", "DicomRun", "RunFacts", "SpacingKind", "is_dicom", "open_run", "parse_frames", "quiet"]
