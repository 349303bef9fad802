"""Mask subtraction: what does not move vanishes, what is new stays dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_tools import make, sequence
from pydicom.uid import RLELossless

from vasomim.data.dicom import open_run
from vasomim.data.dicom.subtraction import read_rules, rule_for
from vasomim.data.open import open_frames
from vasomim.errors import DataError

ROWS, COLUMNS = 32, 40


def transmission() -> tuple[np.ndarray, np.ndarray]:
    """A still background, and the same behind a vessel that lets 60 % through: intensities (H, W)."""
    background = np.random.default_rng(0).uniform(1000, 3500, (ROWS, COLUMNS))
    vessel = np.ones_like(background)
    vessel[:, 18:22] = 0.6
    return background, background * vessel


def cine(num_frames: int = 6, logarithmic: bool = False) -> np.ndarray:
    """Two frames without contrast, then frames with."""
    before, after = transmission()
    frames = np.stack([before, before, *[after] * (num_frames - 2)])
    return np.rint(1000 * np.log(frames / 100) if logarithmic else frames).astype(np.uint16)


def subtract(path: Path, pixels: np.ndarray, relationship: str = "LIN", mode: str = "SUB", **rule: Any) -> Any:
    """A run to be viewed less its mask."""
    rule = {"MaskOperation": "AVG_SUB", "MaskFrameNumbers": [1, 2], **rule}
    elements = {k: v for k, v in rule.items() if k[0].islower() or k.startswith("Photo")}
    item = {k: v for k, v in rule.items() if k not in elements}
    path = make(
        path,
        pixels,
        bits=12,
        RecommendedViewingMode=mode,
        PixelIntensityRelationship=relationship,
        MaskSubtractionSequence=sequence(**item),
        **elements,
    )
    return open_run(path, subtract=True)


def less_mask(run: Any, index: int) -> np.ndarray:
    return np.asarray(run._difference(index, rule_for(run._rules, index)))


@pytest.mark.parametrize("relationship", ["LIN", "LOG"])
def test_subtracted__the_background_is_flat_and_the_vessel_dark(tmp_path: Path, relationship: str) -> None:
    run = subtract(tmp_path / "run", cine(logarithmic=relationship == "LOG"), relationship)
    assert run.subtracted
    image = run.frame(3)
    outside = np.delete(image, range(18, 22), axis=1)
    assert np.ptp(outside) < 0.02
    assert np.ptp(image[:, 18:22]) < 0.02  # an equal share of the beam whatever lies behind it
    assert image[:, 18:22].max() < outside.min() - 0.9


def test_subtracted__linear_values_need_the_logarithm(tmp_path: Path) -> None:
    """Without it the vessel would be as dark as what lies behind it is bright."""
    image = subtract(tmp_path / "run", cine(), "DRM").frame(3)
    assert np.ptp(image[:, 18:22]) > 0.3


def test_subtracted__monochrome1_has_dark_vessels_too(tmp_path: Path) -> None:
    turned = (4095 - cine(logarithmic=True)).astype(np.uint16)
    run = subtract(tmp_path / "run", turned, "LOG", PhotometricInterpretation="MONOCHROME1")
    image = run.frame(3)
    assert image[:, 18:22].max() < np.delete(image, range(18, 22), axis=1).min() - 0.9


def test_subtracted__the_mask_is_moved_down_and_left(tmp_path: Path) -> None:
    _, after = transmission()
    moved = np.roll(after, (2, -3), (0, 1))
    pixels = np.rint(np.stack([after, moved, moved])).astype(np.uint16)
    run = subtract(tmp_path / "run", pixels, MaskFrameNumbers=1, MaskSubPixelShift=[2.0, 3.0])
    difference = less_mask(run, 1)
    np.testing.assert_allclose(difference[2:, :-3], 0, atol=1e-6)


def test_subtracted__half_a_pixel_lies_between_two(tmp_path: Path) -> None:
    ramped = np.tile(np.arange(COLUMNS) * 10 + 100, (ROWS, 1))
    pixels = np.stack([ramped, ramped + 5, ramped + 5]).astype(np.uint16)
    run = subtract(tmp_path / "run", pixels, "LOG", MaskFrameNumbers=1, MaskSubPixelShift=[0.0, 0.5])
    np.testing.assert_allclose(less_mask(run, 2)[:, 1:-1], 0, atol=1e-3)


def test_subtracted__time_intervals_and_averaged_frames(tmp_path: Path) -> None:
    pixels = np.stack([np.full((8, 8), 100 * k + 100) for k in range(6)]).astype(np.uint16)
    tid = subtract(tmp_path / "tid", pixels, "LOG", MaskOperation="TID", MaskFrameNumbers=None, TIDOffset=2)
    np.testing.assert_allclose([less_mask(tid, k) for k in (2, 3, 5)], 200)
    assert tid.select(None) == [2, 3, 4, 5]
    averaged = subtract(tmp_path / "averaged", pixels, "LOG", MaskFrameNumbers=[1, 2], ContrastFrameAveraging=2)
    np.testing.assert_allclose(less_mask(averaged, 2), 350 - 150)
    assert averaged.select(None) == [2, 3, 4]


def test_subtracted__frames_outside_of_the_range_are_as_they_are(tmp_path: Path) -> None:
    run = subtract(tmp_path / "run", cine(6), ApplicableFrameRange=[4, 5])
    assert run.select(None) == [3, 4]
    np.testing.assert_array_equal(run.frame(5), open_run(run.path).frame(5))
    assert run.select("5") == [5]


@pytest.mark.parametrize("rule", [{}, {"ApplicableFrameRange": [1, 4]}])
def test_subtracted__every_frame_asked_for_has_its_size(tmp_path: Path, rule: dict[str, Any]) -> None:
    run = subtract(tmp_path / "run", cine(), **rule)
    dataset = open_frames([run.path], "0:6", subtract=True)
    assert [dataset[k].image.shape for k in range(6)] == [(ROWS, COLUMNS)] * 6


def test_subtracted__a_frame_less_itself_is_as_grey_as_the_background(tmp_path: Path) -> None:
    run = subtract(tmp_path / "run", cine(), MaskFrameNumbers=1)
    background = np.delete(run.frame(3), range(18, 22), axis=1)
    np.testing.assert_allclose(run.frame(0), np.median(background), atol=0.02)


def test_subtracted__masks_do_not_widen_the_grey_scale(tmp_path: Path) -> None:
    """A flash in one of two averaged masks: less their mean, either mask is far from all other frames."""
    pixels = cine()
    pixels[0] = 4095
    run = subtract(tmp_path / "run", pixels)
    assert np.ptp(run.frame(3)) > 0.9
    assert run.frame(0).min() == run.frame(0).max() == 1


def test_subtracted__only_on_request_and_where_the_file_recommends_it(tmp_path: Path) -> None:
    run = subtract(tmp_path / "run", cine())
    assert not open_run(run.path).subtracted
    assert not subtract(tmp_path / "native", cine(), mode="NAT").subtracted
    none = subtract(tmp_path / "none", cine(), MaskOperation="NONE")
    assert not none.subtracted
    np.testing.assert_array_equal(none.frame(3), open_run(none.path).frame(3))


def test_subtracted__one_grey_scale_for_the_run(tmp_path: Path) -> None:
    before, _ = transmission()
    frames = [before, *[before * (1 - 0.08 * k) for k in range(6)]]
    run = subtract(tmp_path / "run", np.rint(np.stack(frames)).astype(np.uint16), MaskFrameNumbers=1)
    shown = np.stack([run.frame(k) for k in range(1, 7)])
    depth = np.log(1 - 0.08 * np.arange(6))
    means = shown.mean((1, 2))
    slope, offset = np.polyfit(depth, means, 1)
    np.testing.assert_allclose(means, slope * depth + offset, atol=0.02)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"MaskFrameNumbers": [7]}, "names frames that are not in a run of 6"),
        ({"MaskFrameNumbers": None}, "MaskFrameNumbers is missing"),
        ({"MaskOperation": "REV_TID"}, "MaskOperation is REV_TID"),
        ({"ContrastFrameAveraging": 500}, "averaged"),
    ],
)
def test_subtracted__rules_that_cannot_be_followed(tmp_path: Path, rule: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        subtract(tmp_path / "run", cine(), **rule)


def test_read_rules__of_several_items_each_its_frames(tmp_path: Path) -> None:
    run = subtract(tmp_path / "run", cine(), ApplicableFrameRange=[3, 3, 5, 6])
    rules = read_rules(run.dataset, 6)
    found = [rule_for(rules, k) is not None for k in range(6)]
    assert found == [False, False, True, False, True, True]


def test_subtracted__a_compressed_run(tmp_path: Path) -> None:
    pixels = cine()
    path = make(
        tmp_path / "run",
        pixels,
        RLELossless,
        bits=12,
        RecommendedViewingMode="SUB",
        PixelIntensityRelationship="LIN",
        MaskSubtractionSequence=sequence(MaskOperation="AVG_SUB", MaskFrameNumbers=1),
    )
    np.testing.assert_array_equal(
        open_run(path, subtract=True).frame(4), subtract(tmp_path / "plain", pixels, MaskFrameNumbers=1).frame(4)
    )
