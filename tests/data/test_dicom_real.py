"""Real DICOM files below $VASOMIM_DATA; nothing of them is kept."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest

from vasomim.data.dicom import open_run
from vasomim.data.frames import read_record
from vasomim.data.open import open_frames
from vasomim.data.splits import content_groups

pytestmark = pytest.mark.real


@pytest.fixture
def folder(real_data: Path) -> Path:
    """The folder of DICOM files."""
    if not (real_data / "dicom").is_dir():
        pytest.skip("no folder dicom below VASOMIM_DATA")
    return real_data / "dicom"


def test_four_encodings_of_one_picture_are_equal(folder: Path) -> None:
    expected = open_run(folder / "XA1_UNC.dcm").stored(0)
    assert expected.shape == (1024, 1024)
    for name in ("XA1_J2KR", "XA1_JPLL", "XA1_RLE"):
        np.testing.assert_array_equal(open_run(folder / f"{name}.dcm").stored(0), expected)


def test_pixels_are_those_pydicom_gives(folder: Path) -> None:
    for name in ("IM8.dcm", "rubo_0002_coronary_cine_96f_jpegbaseline.dcm"):
        run = open_run(folder / name)
        for index in (0, len(run) - 1):
            theirs = pydicom.pixels.pixel_array(folder / name, index=index)
            assert np.abs(run.stored(index).astype(int) - theirs).max() <= 1


def test_facts_of_the_phantom(folder: Path) -> None:
    facts = open_run(folder / "IM8.dcm").facts
    assert facts.num_frames == 8
    assert facts.is_angiogram
    assert facts.spacing_kind == "isocentre"
    assert facts.spacing_mm == pytest.approx((0.390625 / 1.35556,) * 2)
    assert (facts.primary_angle, facts.secondary_angle) == (30.7, 23.6)
    assert facts.frame_times_ms is not None
    assert facts.frame_times_ms[-1] == pytest.approx(7 * 66.6667, abs=1e-2)


def test_best_frame_of_a_coronary_run_is_filled(folder: Path) -> None:
    """Seen by eye: contrast arrives near frame 20 and fills the right coronary artery from frame 40 on."""
    run = open_run(folder / "rubo_0002_coronary_cine_96f_jpegbaseline.dcm")
    (best,) = run.select("best")
    assert 40 <= best < 90


def test_folder__frames_patients_and_nobody_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    dataset = open_frames([folder], frames="0:2")
    assert len(dataset) == 2 + 4 + 2
    groups = dict(zip([record.id for record in dataset.records], content_groups(dataset), strict=True))
    assert len({group for name, group in groups.items() if name.startswith("XA1")}) == 1
    text = caplog.text
    for record in dataset.records:
        assert 0 < read_record(record).std() < 0.5
        text += f"{record.id} {record.patient} {record.name}"
    facts = [dataclasses.asdict(open_run(path).facts) for path in sorted(folder.iterdir())]
    known = ("kragujevac", "19700413", "jagic", "fantom", "klinicki", "556342", "rubo demo", "20xa1")
    assert not [word for word in known if word in f"{text}{facts}".casefold()]
