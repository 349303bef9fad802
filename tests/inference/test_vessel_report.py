"""Reports of runs: numbers of drawn masks are known, and millimetres are said to be nominal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from run_tools import make_run, open_test_run

from vasomim.inference.report_page import render_report
from vasomim.inference.vessel_report import PERCENTILES, PROFILE_EDGES, RunMeasures, measure_vessels, run_report
from vasomim.types import BoolImage

ABOUT = {
    "run": "run",
    "weights": {"name": "tiny", "hash": "00"},
    "settings": {"threshold": 0.5},
    "warnings": ["<frame> 2 is blank"],
}


def bar(width: int, length: int = 100, size: tuple[int, int] = (60, 140)) -> BoolImage:
    mask = np.zeros(size, bool)
    mask[20 : 20 + width, 20 : 20 + length] = True
    return mask


def report_of(tmp_path: Path, masks: BoolImage, **elements: Any) -> dict[str, Any]:
    run = open_test_run(make_run(tmp_path / "run.dcm", masks, **elements))
    measures = RunMeasures()
    for mask in masks:
        measures.add(mask)
    return run_report(run.facts, range(len(masks)), measures, ABOUT)


@pytest.mark.parametrize("width", [3, 6, 11])
def test_measure_vessels__of_a_straight_vessel(width: int) -> None:
    found = measure_vessels(bar(width))
    assert found.area == 100 * width
    assert found.length == pytest.approx(100 - width, rel=0.09)
    assert (found.branch_points, found.end_points, found.components) == (0, 2, 1)
    assert found.widths is not None
    assert found.widths[PERCENTILES.index(50)] == pytest.approx(width, abs=0.5)
    assert sum(found.profile) == pytest.approx(found.length)
    fullest = int(np.argmax(found.profile))
    edges = (*PROFILE_EDGES, np.inf)
    assert edges[fullest] - 0.5 <= width <= edges[fullest + 1] + 0.5


def test_measure_vessels__pieces_add_up() -> None:
    one, two = bar(5), np.flipud(bar(5))
    both = measure_vessels(one | two)
    assert both.components == 2
    assert both.length == pytest.approx(2 * measure_vessels(one).length)
    assert both.end_points == 4


def test_measure_vessels__of_nothing_and_of_everything() -> None:
    nothing = measure_vessels(np.zeros((9, 9), bool))
    assert (nothing.area, nothing.length, nothing.widths, nothing.components) == (0, 0.0, None, 0)
    assert sum(nothing.profile) == 0
    assert measure_vessels(np.ones((9, 9), bool)).area == 81


def test_best__is_the_fullest_and_no_single_false_alarm() -> None:
    measures = RunMeasures()
    for width in (0, 2, 30, 2, 5, 6, 5, 1):
        measures.add(bar(width))
    assert measures.best == 5


def test_flicker__counts_pixels_of_one_frame_alone() -> None:
    measures = RunMeasures()
    for width in (4, 4, 5, 4, 4):
        measures.add(bar(width))
    assert measures.flicker == pytest.approx(100 / (100 * (4 + 5 + 4)))
    steady = RunMeasures()
    for width in (1, 2, 3, 4):
        steady.add(bar(width))
    assert steady.flicker == 0
    assert RunMeasures().flicker is None


def test_run_report__is_plain_and_in_pixels_without_a_spacing(tmp_path: Path) -> None:
    masks = np.stack([bar(0), bar(4), bar(6), bar(6)])
    report = json.loads(json.dumps(report_of(tmp_path, masks)))
    assert report["best_frame"] == 3
    assert [frame["frame"] for frame in report["frames"]] == [1, 2, 3, 4]
    assert [frame["time_ms"] for frame in report["frames"]] == pytest.approx([0, 66.667, 133.334, 200.001], abs=0.01)
    assert [frame["vessel_area_px"] for frame in report["frames"]] == [0, 400, 600, 600]
    assert report["frames"][0]["width_px"] is None
    assert report["spacing"] is None
    assert not any("mm" in key.split("_") for key in report["frames"][2])
    assert "not a medical device" in report["notice"]


def test_run_report__millimetres_are_nominal(tmp_path: Path) -> None:
    masks = np.stack([bar(6)] * 3)
    geometry = {"DistanceSourceToDetector": "1000", "DistanceSourceToPatient": "800"}
    report = report_of(tmp_path, masks, ImagerPixelSpacing=[0.25, 0.25], **geometry)
    frame = report["frames"][0]
    assert report["spacing"]["kind"] == "isocentre"
    assert report["spacing"]["note"].startswith("Nominal")
    assert frame["centreline_length_mm"] == pytest.approx(frame["centreline_length_px"] * 0.2, abs=0.02)
    assert frame["vessel_area_mm2"] == pytest.approx(600 * 0.2**2)
    assert frame["width_mm"]["p50"] == pytest.approx(frame["width_px"]["p50"] * 0.2, abs=1e-3)


def test_render_report__shows_the_numbers_and_escapes(tmp_path: Path) -> None:
    masks = np.stack([bar(4)] * 3)
    report = report_of(tmp_path, masks, ImagerPixelSpacing=[0.25, 0.25])
    page = render_report(report, np.zeros((60, 140), np.float32), masks[0], "overlay.gif")
    assert "not a medical device" in page
    assert 'src="overlay.gif"' in page
    assert "&lt;frame&gt; 2 is blank" in page
    assert "1.2 to 1.5 times" in page  # a spacing at the detector is no size in the patient
    assert f">{report['frames'][0]['centreline_length_px']}<" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_render_report__of_one_frame_without_vessels(tmp_path: Path) -> None:
    report = report_of(tmp_path, np.stack([bar(0)]), FrameTime=None)
    page = render_report(report, np.zeros((60, 140), np.float32), bar(0))
    assert "Over time" not in page
    assert "pixels" in page


def test_measure_vessels__does_not_change_with_rotation() -> None:
    canvas = np.zeros((120, 120), np.uint8)
    cv2.line(canvas, (20, 20), (90, 70), 1, 7)
    cv2.line(canvas, (60, 45), (60, 100), 1, 5)
    once, turned = measure_vessels(canvas > 0), measure_vessels(np.rot90(canvas > 0))
    assert once.length == pytest.approx(turned.length, rel=0.04)
    assert once.branch_points == turned.branch_points == 1
