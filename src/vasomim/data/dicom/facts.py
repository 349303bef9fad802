"""What a file says about its run, without anything that identifies a patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from vasomim.data.dicom.elements import BadElement, Dataset, code, group_item, numbers, uid
from vasomim.data.dicom.layout import PixelLayout

SpacingKind = Literal["calibrated", "isocentre", "detector", "nominal"]
"""Where a pixel spacing holds.

`calibrated`: in the plane of an object that was measured by whoever wrote the file.
`isocentre`: in the plane through the isocentre, by the geometry of the beam; vessels before or behind it are larger or
smaller than it says.
`detector`: at the detector; the patient, nearer to the tube, appears magnified by about 1.2 to 1.5.
`nominal`: said by a capture or scan, of unknown geometry.
"""
_ANGIOGRAPHY = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.1.1")
Spacing = tuple[float, float]
"""Millimetres between rows and between columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """Facts of a run that identify nobody; safe to write anywhere."""

    num_frames: int
    rows: int
    columns: int
    modality: str
    """XA, RF, OT, ...; empty where the file says none."""
    sop_class: str
    """UID of the object's class."""
    transfer_syntax: str
    """UID of the encoding."""
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    frame_times_ms: tuple[float, ...] | None
    """Start of each frame after that of the first, milliseconds; None for a single frame or where unknown."""
    spacing_mm: Spacing | None
    """Between rows, between columns."""
    spacing_kind: SpacingKind | None
    """Where the spacing holds; None where there is none."""
    primary_angle: float | None
    """Positioner angle in degrees, positive towards the patient's left (LAO)."""
    secondary_angle: float | None
    """Positioner angle in degrees, positive towards the patient's head (cranial)."""
    intensity_relationship: str
    """LIN, LOG, DRM, DISP, ...: how stored values relate to beam intensity; empty where unknown."""
    viewing_mode: str
    """NAT (as it is) or SUB (subtracted), as the file recommends; empty where unknown."""

    @property
    def is_angiogram(self) -> bool:
        """Whether the object is of a class made for angiograms (XA, Enhanced XA)."""
        return self.sop_class in _ANGIOGRAPHY


def read_facts(dataset: Dataset, layout: PixelLayout, transfer_syntax: str) -> RunFacts:
    """Facts of a dataset; a fact that cannot be read counts as unknown."""
    spacing, kind = _spacing(dataset)
    primary, secondary = _angles(dataset)
    return RunFacts(
        num_frames=layout.num_frames,
        rows=layout.rows,
        columns=layout.columns,
        modality=code(dataset, "Modality"),
        sop_class=uid(dataset, "SOPClassUID"),
        transfer_syntax=transfer_syntax,
        bits_allocated=layout.bits_allocated,
        bits_stored=layout.bits_stored,
        signed=layout.signed,
        photometric=layout.photometric,
        frame_times_ms=_frame_times(dataset, layout.num_frames),
        spacing_mm=spacing,
        spacing_kind=kind,
        primary_angle=primary,
        secondary_angle=secondary,
        intensity_relationship=code(dataset, "PixelIntensityRelationship"),
        viewing_mode=code(dataset, "RecommendedViewingMode"),
    )


def _known(dataset: Dataset | None, keyword: str) -> tuple[float, ...]:
    """The numbers of an element, none where it is broken: a fact more or less stops nobody."""
    try:
        return () if dataset is None else numbers(dataset, keyword)
    except BadElement:
        return ()


def _positive(dataset: Dataset | None, keyword: str) -> float | None:
    value = next(iter(_known(dataset, keyword)), 0.0)
    return value if value > 0 else None


def _frame_times(dataset: Dataset, num_frames: int) -> tuple[float, ...] | None:
    """Starts of the frames by FrameTimeVector, FrameTime or CineRate, in this order."""
    if num_frames == 1:
        return None
    steps = _known(dataset, "FrameTimeVector")
    if len(steps) == num_frames and min(steps[1:]) > 0:
        return tuple(round(at, 3) for at in accumulate((0.0, *steps[1:])))
    step = _positive(dataset, "FrameTime")
    rate = _positive(dataset, "CineRate") or _positive(dataset, "RecommendedDisplayFrameRate")
    step = step or (1000 / rate if rate else None)
    return None if step is None else tuple(round(k * step, 3) for k in range(num_frames))


def _angles(dataset: Dataset) -> tuple[float | None, float | None]:
    item = group_item(dataset, 0, "PositionerPositionSequence")
    found = [
        next(iter(_known(item, f"Positioner{name}Angle") or _known(dataset, f"Positioner{name}Angle")), None)
        for name in ("Primary", "Secondary")
    ]
    return found[0], found[1]


def _spacing(dataset: Dataset) -> tuple[Spacing | None, SpacingKind | None]:
    """The best spacing at hand and where it holds (PS3.3 10.7.1.3 and C.8.7.5; of enhanced objects C.8.19.6)."""
    properties = group_item(dataset, 0, "FramePixelDataPropertiesSequence")
    detector = _pair(_known(dataset, "ImagerPixelSpacing") or _known(properties, "ImagerPixelSpacing"))
    plain = _pair(_known(dataset, "PixelSpacing"))
    # A PixelSpacing that merely repeats the detector's is no calibration.
    if plain is not None and plain != detector and (detector or code(dataset, "PixelSpacingCalibrationType")):
        return plain, "calibrated"
    calibration = group_item(dataset, 0, "ProjectionPixelCalibrationSequence")
    centre = _pair(_known(calibration, "ObjectPixelSpacingInCenterOfBeam"))
    if centre is not None:
        return centre, "isocentre"
    if detector is not None:
        magnification = _magnification(dataset)
        if magnification is None:
            return detector, "detector"
        return (detector[0] / magnification, detector[1] / magnification), "isocentre"
    nominal = plain or _pair(_known(dataset, "NominalScannedPixelSpacing"))
    return nominal, None if nominal is None else "nominal"


def _magnification(dataset: Dataset) -> float | None:
    """How much larger the isocentre appears at the detector: as the file says, else by distances from the source."""
    said = _positive(dataset, "EstimatedRadiographicMagnificationFactor")
    if said is not None:
        return said
    geometry = group_item(dataset, 0, "XRayGeometrySequence")
    detector = _positive(dataset, "DistanceSourceToDetector") or _positive(geometry, "DistanceSourceToDetector")
    centre = _positive(dataset, "DistanceSourceToPatient") or _positive(geometry, "DistanceSourceToIsocenter")
    return detector / centre if detector and centre and detector >= centre else None


def _pair(values: Sequence[float]) -> Spacing | None:
    return (values[0], values[1]) if len(values) == 2 and min(values) > 0 else None
