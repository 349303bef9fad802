"""Overlay runs as DICOM: multi-frame true colour Secondary Capture, which viewers play as they play any run.

Frames are JPEG baseline: an overlay is for looking at, and the exact mask is in the segmentation. Run-length encoding,
which loses nothing, takes twenty times as much (docs/hospital.md has the numbers). The loss is declared.
"""

from __future__ import annotations

import cv2
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.tag import Tag
from pydicom.uid import JPEGBaseline8Bit, MultiFrameTrueColorSecondaryCaptureImageStorage

from vasomim.data.dicom.elements import code
from vasomim.data.dicom.parsing import quiet
from vasomim.inference.derived import (
    RESEARCH,
    Software,
    Source,
    add_lossy_history,
    coded,
    source_image,
    start_object,
    to_bytes,
)
from vasomim.viz.images import RGB

QUALITY = 90
DEFAULT_STEP_MS = 1000 / 15
_DETECTORS = {"1.2.840.10008.5.1.4.1.1.12." + end for end in ("1", "1.1", "2", "2.1")}
"""X-ray angiographic and radiofluoroscopic images, plain and enhanced: they come from a detector, not from a screen."""


def encode_jpeg(picture: RGB) -> bytes:
    """A picture as JPEG baseline with colours halved across, as YBR_FULL_422 says."""
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, QUALITY),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    ]
    _, content = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)
    return bytes(content.data)


def capture(pictures: list[bytes], source: Source, software: Software) -> bytes:
    """An overlay run as a DICOM file.

    Args:
        pictures: each frame from `encode_jpeg`, at the size of the run.
        source: the run; its frame times are kept.
        software: what made the overlays.

    Raises:
        ValueError: another number of pictures than frames.
        DataError: the run has no UIDs to refer to.
    """
    if len(pictures) != len(source.indices):
        raise ValueError(f"got {len(pictures)} pictures for {len(source.indices)} frames; give one for each frame")
    dataset = start_object(source, software, MultiFrameTrueColorSecondaryCaptureImageStorage, "overlay")
    dataset.Modality = "OT"  # not XA: hanging protocols must not put it among the diagnostic runs
    dataset.ConversionType = "WSD"
    dataset.SeriesDescription = f"Vessel overlay by vasomim, {RESEARCH}"
    dataset.SeriesNumber = 9002
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.DerivationDescription = f"Vessels found automatically by {software.weights}, drawn over frames, {RESEARCH}"
    dataset.Laterality = ""
    dataset.BurnedInAnnotation = _burned_in(source)
    image = source_image(source)
    image.PurposeOfReferenceCodeSequence = Sequence([coded(codes.DCM.SourceImageForImageProcessingOperation)])
    dataset.SourceImageSequence = Sequence([image])
    _add_times(dataset, source)
    plain = len(pictures) * source.shape[0] * source.shape[1] * 3
    add_lossy_history(dataset, source, plain / sum(map(len, pictures)), "ISO_10918_1")
    _add_pixels(dataset, pictures, source)
    return to_bytes(dataset, JPEGBaseline8Bit)


def _burned_in(source: Source) -> str:
    """Whether text in the frames may name the patient: as the source says; else no of a detector, yes of a screen."""
    with quiet():
        said = code(source.run.dataset, "BurnedInAnnotation")
    return said if said in ("YES", "NO") else "NO" if source.sop_class in _DETECTORS else "YES"


def _add_times(dataset: Dataset, source: Source) -> None:
    """Cine module: one time for all frames where they are evenly spaced, else one for each; 15 a second if unknown."""
    if len(source.indices) == 1:
        return
    steps = np.diff(source.times_ms) if source.times_ms else np.full(len(source.indices) - 1, DEFAULT_STEP_MS)
    if np.ptp(steps) < 0.01:  # milliseconds; times are rounded
        dataset.FrameTime = f"{steps.mean():.6g}"
        dataset.FrameIncrementPointer = Tag("FrameTime")
    else:
        dataset.FrameTimeVector = [f"{step:.6g}" for step in (0.0, *steps)]
        dataset.FrameIncrementPointer = Tag("FrameTimeVector")
    dataset.RecommendedDisplayFrameRate = max(1, round(1000 / float(steps.mean())))


def _add_pixels(dataset: Dataset, pictures: list[bytes], source: Source) -> None:
    dataset.NumberOfFrames = len(pictures)
    dataset.Rows, dataset.Columns = source.shape
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.add_new(Tag("PixelData"), "OB", encapsulate(pictures))
    dataset["PixelData"].is_undefined_length = True
