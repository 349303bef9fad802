"""Overlay runs: they show the overlays, at the pace of the run, and nothing private."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from run_tools import PATIENT, SECRETS, SOFTWARE, band, make_run, open_test_run, source_of

from identity_tools import told
from vasomim.inference.secondary_capture import capture, encode_jpeg
from vasomim.viz.images import overlay


def plain_capture(path: Path, **more: object) -> bytes:
    """An overlay run without any vessel."""
    run = open_test_run(path)
    drawn = [encode_jpeg(overlay(image, np.zeros(image.shape, bool))) for image in run.frames()]
    return capture(drawn, source_of(path, **more), SOFTWARE)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run.dcm", band(5, 64, 48))


def test_capture__shows_the_overlays(tmp_path: Path) -> None:
    masks = band(5, 64, 48)
    path = make_run(tmp_path / "run.dcm", masks)
    run = open_test_run(path)
    drawn = [overlay(image, mask) for image, mask in zip(run.frames(), masks, strict=True)]
    made = pydicom.dcmread(io.BytesIO(capture([encode_jpeg(d) for d in drawn], source_of(path), SOFTWARE)))
    shown = pydicom.pixels.pixel_array(made)
    assert shown.shape == (5, 64, 48, 3)
    assert np.abs(shown.astype(int) - np.stack(drawn)).mean() < 12  # noise, halved colours, JPEG
    assert made.LossyImageCompression == "01"
    assert float(made.LossyImageCompressionRatio) == pytest.approx(
        5 * 64 * 48 * 3 / sum(len(encode_jpeg(d)) for d in drawn), rel=1e-4
    )


def test_capture__keeps_the_pace(tmp_path: Path) -> None:
    even = make_run(tmp_path / "even.dcm", FrameTime="66.667")
    uneven = make_run(
        tmp_path / "uneven.dcm",
        FrameTime=None,
        FrameTimeVector=["0", "50", "50", "100", "50"],
        FrameIncrementPointer=0x00181065,
    )
    unknown = make_run(tmp_path / "unknown.dcm", FrameTime=None, FrameIncrementPointer=None)
    made = {path.stem: pydicom.dcmread(io.BytesIO(plain_capture(path))) for path in (even, uneven, unknown)}
    assert float(made["even"].FrameTime) == pytest.approx(66.667, abs=1e-2)
    assert list(made["uneven"].FrameTimeVector) == [0, 50, 50, 100, 50]
    assert made["uneven"].FrameIncrementPointer == 0x00181065
    assert float(made["unknown"].FrameTime) == pytest.approx(1000 / 15, abs=1e-2)


def test_capture__holds_nothing_private_unless_identity_is_kept(run: Path) -> None:
    content = plain_capture(run)
    assert told(content, SECRETS) == []
    kept = pydicom.dcmread(io.BytesIO(plain_capture(run, keep_identity=True)))
    assert kept.PatientName == PATIENT["PatientName"]
    assert kept.StudyDate == PATIENT["StudyDate"]
    assert "research use only" in kept.SeriesDescription
    assert kept.Modality == "OT"


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, "NO"),
        ({"BurnedInAnnotation": "YES"}, "YES"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "YES"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "BurnedInAnnotation": "NO"}, "NO"),
    ],
)
def test_capture__says_whether_frames_may_hold_text(tmp_path: Path, elements: dict[str, str], expected: str) -> None:
    path = make_run(tmp_path / "run.dcm", **elements)
    assert pydicom.dcmread(io.BytesIO(plain_capture(path))).BurnedInAnnotation == expected


def test_capture__needs_a_picture_for_each_frame(run: Path) -> None:
    with pytest.raises(ValueError, match="1 pictures for 5 frames"):
        capture([b""], source_of(run), SOFTWARE)
