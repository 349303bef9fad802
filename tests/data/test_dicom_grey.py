"""From stored values to grey: the formulas of the standard, and one grey scale for a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_tools import dataset_of, item, lut, make, overwrite, ramp, sequence, write
from pydicom.sequence import Sequence
from pydicom.uid import (
    EnhancedXAImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from vasomim.data.dicom import open_run
from vasomim.data.dicom.grey import Window
from vasomim.errors import DataError


def show(path: Path, pixels: np.ndarray, **elements: Any) -> np.ndarray:
    """The first frame as it is shown."""
    return open_run(make(path, pixels, **elements)).frame(0)


def by_the_standard(x: float, center: float, width: float, function: str) -> float:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, as printed, with ymin 0 and ymax 1."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (x - center) / width))
    if function == "LINEAR_EXACT":
        if x <= center - width / 2:
            return 0
        return 1 if x > center + width / 2 else (x - center) / width + 0.5
    if x <= center - 0.5 - (width - 1) / 2:
        return 0
    return 1 if x > center - 0.5 + (width - 1) / 2 else (x - (center - 0.5)) / (width - 1) + 0.5


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (2048, 1), (100.5, 57.25), (-30, 500), (5000, 2)])
def test_window__is_the_formula_of_the_standard(tmp_path: Path, function: str, center: float, width: float) -> None:
    pixels = ramp(1, bits=12)
    shown = show(tmp_path / "run", pixels, bits=12, WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    with np.errstate(over="ignore"):
        expected = [by_the_standard(float(x), center, width, function) for x in pixels.ravel()]
    np.testing.assert_allclose(shown.ravel(), expected, atol=1e-6)


def test_window__of_signed_and_rescaled_values(tmp_path: Path) -> None:
    pixels = ramp(1, bits=12, signed=True)
    more = {"bits": 12, "RescaleSlope": 0.5, "RescaleIntercept": -100, "WindowCenter": -100, "WindowWidth": 1500}
    expected = Window(-100, 1500)(pixels[0] * 0.5 - 100)
    np.testing.assert_allclose(show(tmp_path / "run", pixels, **more), expected, atol=1e-6)


def test_window__the_first_of_several_counts(tmp_path: Path) -> None:
    pixels = ramp(1)
    several = show(tmp_path / "several", pixels, WindowCenter=[128, 10], WindowWidth=[256, 20])
    np.testing.assert_array_equal(several, show(tmp_path / "one", pixels, WindowCenter=128, WindowWidth=256))


@pytest.mark.parametrize(
    "interest",
    [{"WindowCenter": 700, "WindowWidth": 900}, {"VOILUTSequence": lut(np.arange(1024) ** 2 >> 4, 0, 16)}, {}],
)
def test_monochrome1__is_the_other_with_its_values_turned_round(tmp_path: Path, interest: dict[str, Any]) -> None:
    """Duality: MONOCHROME1 shows v where MONOCHROME2 shows 1 - v, behind the same window."""
    pixels = ramp(2, bits=10)
    one = show(tmp_path / "one", pixels, bits=10, PhotometricInterpretation="MONOCHROME1", **interest)
    two = show(tmp_path / "two", pixels, bits=10, **interest)
    np.testing.assert_allclose(one, 1 - two, atol=1e-6)
    assert two.std() > 0.1


def test_monochrome1__is_inverted_after_the_window(tmp_path: Path) -> None:
    """A window on one side of the range: inverting before it would move every value out of it."""
    pixels = np.full((1, 4, 4), 900, np.uint16)
    more = {"bits": 10, "PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 900.5, "WindowWidth": 201}
    np.testing.assert_allclose(show(tmp_path / "run", pixels, **more), 0.5, atol=1e-6)


def test_voi_lut__is_looked_up_and_held_at_its_ends(tmp_path: Path) -> None:
    pixels = ramp(1, bits=8)
    entries = np.random.default_rng(0).integers(0, 1024, 100)
    expected = entries[np.clip(pixels[0].astype(int) - 50, 0, 99)] / 1023
    shown = show(tmp_path / "run", pixels, VOILUTSequence=lut(entries, 50, 10), WindowCenter=1, WindowWidth=1)
    np.testing.assert_allclose(shown, expected, atol=1e-6)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_voi_lut__words_lie_as_the_file_has_them(tmp_path: Path, syntax: str) -> None:
    pixels = ramp(1, bits=8)
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    table = item(LUTDescriptor=[256, 0, 12], LUTData=(np.arange(256) * 16).astype(order).tobytes())
    table["LUTData"].VR = "OW"
    path = write(tmp_path / "run", dataset_of(pixels, VOILUTSequence=Sequence([table])), syntax)
    np.testing.assert_allclose(open_run(path).frame(0), pixels[0].astype(float) * 16 / 4095, atol=1e-6)


def test_voi_lut__entries_longer_than_it_says_stay_in_range(tmp_path: Path) -> None:
    entries = np.arange(4096)
    shown = show(tmp_path / "run", ramp(1, bits=12), VOILUTSequence=lut(entries, 0, 8))
    assert float(shown.max()) <= 1
    assert len(np.unique(shown)) > 256, "not cut off, either"


def test_voi_lut__entries_of_eight_bits_in_bytes(tmp_path: Path) -> None:
    pixels = ramp(1, bits=8)
    table = item(LUTDescriptor=[256, 0, 8], LUTData=bytes(range(255, -1, -1)))
    table["LUTData"].VR = "OW"
    shown = show(tmp_path / "run", pixels, VOILUTSequence=Sequence([table]))
    np.testing.assert_allclose(shown, 1 - pixels[0] / 255, atol=1e-6)


def test_lut__all_65536_entries_and_a_signed_start(tmp_path: Path) -> None:
    pixels = ramp(1, bits=16, signed=True)
    table = lut(np.arange(65536), 0, 16)
    table[0].LUTDescriptor = [0, -32768, 16]
    table[0]["LUTDescriptor"].VR = "SS"
    np.testing.assert_allclose(
        show(tmp_path / "run", pixels, VOILUTSequence=table), (pixels[0].astype(float) + 32768) / 65535, atol=1e-6
    )


def test_modality_lut__comes_before_the_window(tmp_path: Path) -> None:
    pixels = ramp(1, bits=8)
    squares = np.arange(256) ** 2
    shown = show(
        tmp_path / "run",
        pixels,
        SOPClassUID=SecondaryCaptureImageStorage,
        ModalityLUTSequence=lut(squares, 0, 16),
        WindowCenter=30000,
        WindowWidth=60000,
    )
    np.testing.assert_allclose(shown, Window(30000, 60000)(squares[pixels[0]].astype(float)), atol=1e-6)


@pytest.mark.parametrize(("relationship", "applied"), [("LIN", True), ("LOG", False), ("DISP", False)])
def test_modality_lut__of_logarithmic_angiograms_is_not_for_display(
    tmp_path: Path, relationship: str, applied: bool
) -> None:
    pixels = ramp(1, bits=8)
    turned = np.arange(255, -1, -1)
    shown = show(
        tmp_path / "run",
        pixels,
        PixelIntensityRelationship=relationship,
        ModalityLUTSequence=lut(turned, 0, 8),
        WindowCenter=128,
        WindowWidth=256,
    )
    expected = 1 - pixels[0] / 255 if applied else pixels[0] / 255
    np.testing.assert_allclose(shown, expected, atol=1e-6)


def test_without_window__one_grey_scale_for_all_frames(tmp_path: Path) -> None:
    """A tissue of equal value has equal grey in a dark and in a bright frame: no flicker."""
    rng = np.random.default_rng(0)
    levels = np.linspace(300, 700, 20).astype(int)
    pixels = np.stack([rng.integers(level - 150, level + 150, (40, 40)) for level in levels]).astype(np.uint16)
    run = open_run(make(tmp_path / "run", pixels, bits=12))
    stored, shown = pixels.ravel(), np.stack([*run.frames()]).ravel()
    inside = (shown > 0) & (shown < 1)
    slope, offset = np.polyfit(stored[inside], shown[inside], 1)
    np.testing.assert_allclose(shown[inside], slope * stored[inside] + offset, atol=1e-5)
    assert inside.mean() > 0.95
    assert shown.min() == 0
    assert shown.max() == 1


def test_without_window__a_few_hot_pixels_do_not_matter(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(100, 200, (4, 100, 100)).astype(np.uint16)
    pixels[:, :2, :2] = 4095
    assert 0.3 < open_run(make(tmp_path / "run", pixels, bits=12)).frame(1).mean() < 0.7


@pytest.mark.parametrize(
    ("signed", "stored", "named"),
    [
        (True, -32768, {"PixelPaddingValue": -32768}),
        (True, -30000, {"PixelPaddingValue": -32768, "PixelPaddingRangeLimit": -29000}),
        (False, 65535, {"PixelPaddingValue": 65535}),
    ],
)
def test_without_window__padding_does_not_widen_the_grey_scale(
    tmp_path: Path, signed: bool, stored: int, named: dict[str, Any]
) -> None:
    pixels = np.random.default_rng(0).integers(100, 200, (4, 40, 40)).astype(np.int16 if signed else np.uint16)
    bare = show(tmp_path / "bare", pixels)
    pixels[:, :, :15] = stored
    padded = show(tmp_path / "padded", pixels, **named)
    np.testing.assert_allclose(padded[:, 15:], bare[:, 15:], atol=0.03)
    assert (padded[:, :15] == (0 if signed else 1)).all()


def test_without_window__padding_and_nothing_else_is_black(tmp_path: Path) -> None:
    assert not show(tmp_path / "run", np.full((2, 8, 8), -2000, np.int16), PixelPaddingValue=-2000).any()


def test_padding__written_with_the_wrong_sign(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(100, 200, (1, 40, 40)).astype(np.int16)
    pixels[:, :, :15] = -2000
    dataset = dataset_of(pixels)
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
    assert open_run(write(tmp_path / "run", dataset)).frame(0)[:, 15:].std() > 0.2


def test_without_window__a_constant_run_is_black(tmp_path: Path) -> None:
    assert not show(tmp_path / "run", np.full((2, 8, 8), 77, np.uint8)).any()


@pytest.mark.parametrize("width", [0, -5, 0.5])
def test_window__that_cannot_be_one_counts_as_none(tmp_path: Path, width: float) -> None:
    pixels = ramp(2)
    shown = show(tmp_path / "run", pixels, WindowCenter=0, WindowWidth=width)
    np.testing.assert_array_equal(shown, show(tmp_path / "none", pixels))


def test_enhanced__each_frame_has_its_own_window(tmp_path: Path) -> None:
    pixels = np.full((2, 4, 4), 100, np.uint8)
    groups = Sequence(
        [item(FrameVOILUTSequence=sequence(WindowCenter=center, WindowWidth=101)) for center in (100.5, 75.5)]
    )
    path = make(tmp_path / "run", pixels, SOPClassUID=EnhancedXAImageStorage, PerFrameFunctionalGroupsSequence=groups)
    first, second = open_run(path).frames()
    np.testing.assert_allclose(first, 0.5)
    np.testing.assert_allclose(second, 0.75)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"VOILUTFunction": "CUBIC", "WindowCenter": 1, "WindowWidth": 2}, "VOILUTFunction is CUBIC"),
        ({"VOILUTSequence": lut(np.arange(10), 0, 17)}, "17 bits"),
        ({"VOILUTSequence": sequence(LUTDescriptor=[9, 0, 8], LUTData=b"\0" * 30)}, "names 9 entries"),
        ({"VOILUTSequence": sequence(LUTDescriptor=[256, 0, 8])}, "LUTData holds 0"),
        ({"VOILUTSequence": sequence(LUTExplanation="x")}, "LUTDescriptor holds 0 values"),
    ],
)
def test_windows_and_tables__that_contradict_themselves(tmp_path: Path, elements: dict[str, Any], message: str) -> None:
    for table in elements.get("VOILUTSequence", ()):
        if "LUTData" in table:
            table["LUTData"].VR = "OW"
    with pytest.raises(DataError, match=message):
        open_run(make(tmp_path / "run", ramp(1), **elements))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_window__of_nan_is_one_line(tmp_path: Path, value: str) -> None:
    dataset = dataset_of(ramp(1), WindowCenter="40", WindowWidth="0000")
    path = tmp_path / "run"
    dataset.save_as(path, enforce_file_format=True)
    overwrite(path, b"0000", f"{value:<4}".encode())
    with pytest.raises(DataError, match=r"WindowWidth (holds NaN or infinity|is no number|cannot be read)$"):
        open_run(path)
