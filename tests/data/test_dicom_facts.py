"""What a file says about its run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from dicom_tools import PATIENT, SECRETS, dataset_of, item, make, overwrite, ramp, sequence
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedXAImageStorage

from identity_tools import told
from vasomim.data.dicom import open_run
from vasomim.data.dicom.choice import parse_frames
from vasomim.errors import MisuseError


def facts(path: Path, num_frames: int = 4, **elements: Any) -> Any:
    """Facts of a run with these elements."""
    return open_run(make(path, ramp(num_frames), **elements)).facts


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"FrameTime": 66.7, "CineRate": 3}, (0, 66.7, 133.4, 200.1)),
        ({"FrameTimeVector": [0, 30, 40, 50], "FrameTime": 1}, (0, 30, 70, 120)),
        ({"FrameTimeVector": [0, 30], "FrameTime": 10}, (0, 10, 20, 30)),
        ({"CineRate": 20}, (0, 50, 100, 150)),
        ({"RecommendedDisplayFrameRate": 25}, (0, 40, 80, 120)),
        ({"FrameTime": 0}, None),
        ({}, None),
    ],
)
def test_frame_times(tmp_path: Path, elements: dict[str, Any], expected: tuple[float, ...] | None) -> None:
    assert facts(tmp_path / "run", **elements).frame_times_ms == expected


@pytest.mark.parametrize(
    ("elements", "spacing", "kind"),
    [
        ({}, None, None),
        ({"ImagerPixelSpacing": [0.4, 0.3]}, (0.4, 0.3), "detector"),
        (
            {"ImagerPixelSpacing": [0.4, 0.3], "EstimatedRadiographicMagnificationFactor": 1.25},
            (0.32, 0.24),
            "isocentre",
        ),
        (
            {"ImagerPixelSpacing": [0.4, 0.4], "DistanceSourceToDetector": 1000, "DistanceSourceToPatient": 800},
            (0.32, 0.32),
            "isocentre",
        ),
        ({"ImagerPixelSpacing": [0.4, 0.4], "PixelSpacing": [0.4, 0.4]}, (0.4, 0.4), "detector"),
        ({"ImagerPixelSpacing": [0.4, 0.4], "PixelSpacing": [0.28, 0.28]}, (0.28, 0.28), "calibrated"),
        ({"PixelSpacing": [0.2, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL"}, (0.2, 0.2), "calibrated"),
        ({"PixelSpacing": [0.2, 0.2]}, (0.2, 0.2), "nominal"),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, (0.1, 0.1), "nominal"),
        ({"ImagerPixelSpacing": [0, 0.3]}, None, None),
        ({"ImagerPixelSpacing": [0.4, 0.3], "DistanceSourceToDetector": 5}, (0.4, 0.3), "detector"),
    ],
)  # fmt: skip
def test_spacing__says_where_it_holds(
    tmp_path: Path, elements: dict[str, Any], spacing: tuple[float, float] | None, kind: str | None
) -> None:
    found = facts(tmp_path / "run", **elements)
    assert found.spacing_mm == (None if spacing is None else pytest.approx(spacing))
    assert found.spacing_kind == kind


def test_enhanced__spacing_and_angles_of_the_first_frame(tmp_path: Path) -> None:
    group = item(
        ProjectionPixelCalibrationSequence=sequence(ObjectPixelSpacingInCenterOfBeam=[0.3, 0.25]),
        PositionerPositionSequence=sequence(PositionerPrimaryAngle=30.0, PositionerSecondaryAngle=-20.0),
    )
    found = facts(
        tmp_path / "run", SOPClassUID=EnhancedXAImageStorage, SharedFunctionalGroupsSequence=Sequence([group])
    )
    assert found.spacing_mm == pytest.approx((0.3, 0.25))
    assert found.spacing_kind == "isocentre"
    assert (found.primary_angle, found.secondary_angle) == (30, -20)
    assert found.is_angiogram


def test_enhanced__spacing_by_the_geometry_of_the_beam(tmp_path: Path) -> None:
    group = item(
        FramePixelDataPropertiesSequence=sequence(ImagerPixelSpacing=[0.3, 0.3]),
        XRayGeometrySequence=sequence(DistanceSourceToDetector=1200.0, DistanceSourceToIsocenter=800.0),
    )
    found = facts(tmp_path / "run", SharedFunctionalGroupsSequence=Sequence([group]))
    assert found.spacing_mm == pytest.approx((0.2, 0.2))
    assert found.spacing_kind == "isocentre"


def test_facts__what_is_broken_is_unknown(tmp_path: Path) -> None:
    dataset = dataset_of(ramp(2), PositionerPrimaryAngle="4242", PositionerSecondaryAngle="-12.5", Modality="XA")
    path = tmp_path / "run"
    dataset.save_as(path, enforce_file_format=True)
    overwrite(path, b"4242", b"4?42")
    found = open_run(path).facts
    assert found.primary_angle is None
    assert found.secondary_angle == -12.5


def test_facts__identify_nobody(tmp_path: Path) -> None:
    dataset = {**PATIENT, "StationName": "Tresor", "SeriesDescription": "Quandtmeyer"}
    run = open_run(make(tmp_path / "run", ramp(2), **dataset))
    text = repr(dataclasses.asdict(run.facts))
    assert told(text, SECRETS) == []
    assert str(run.dataset.SOPInstanceUID) not in text


def test_facts__text_where_a_code_belongs_is_dropped(tmp_path: Path) -> None:
    path = make(tmp_path / "run", ramp(1), PixelIntensityRelationship="LIN", RecommendedViewingMode="QQQQQQQQ")
    overwrite(path, b"QQQQQQQQ", b"Xenia^Qu")
    assert open_run(path).facts.viewing_mode == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, [0, 1, 2, 3, 4]),
        ("3", [3]),
        ("-1", [4]),
        ("1:3", [1, 2]),
        (":2", [0, 1]),
        ("-2:", [3, 4]),
        ("::2", [0, 2, 4]),
        (" 4 ", [4]),
        ("3:99", [3, 4]),
        ("9:12", []),
        ("::-1", [4, 3, 2, 1, 0]),
    ],
)
def test_parse_frames__as_python_slices(text: str | None, expected: list[int]) -> None:
    assert list(parse_frames(text, 5)) == expected


@pytest.mark.parametrize("text", ["", "a", "1,2", "1:2:3:4", "::0", "best", "1.5", "5", "-6", "1 2", "99999999999"])
def test_parse_frames__refuses(text: str) -> None:
    with pytest.raises(MisuseError):
        parse_frames(text, 5)
