"""The best frame: filled with contrast, by frames whose filling is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_tools import make

from vasomim.data.dicom import open_run
from vasomim.data.dicom.contrast import best_frame, contrast_score
from vasomim.synth.cine import generate_cine


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_best__shows_nearly_as_much_vessel_as_any_frame(tmp_path: Path, seed: int) -> None:
    cine = generate_cine(seed, size=160, num_frames=16)
    filled = cine.masks.sum((1, 2))
    run = open_run(make(tmp_path / "run", cine.images, FrameTime=66))
    (best,) = run.select("best")
    assert filled[best] >= 0.75 * filled.max()
    assert filled[best] > 1.25 * filled.mean()


def test_best__the_first_of_equals_and_none_of_none() -> None:
    frame = np.random.default_rng(0).random((64, 64), np.float32)
    assert best_frame([frame, frame]) == 0
    with pytest.raises(ValueError):
        best_frame([])


def test_contrast_score__a_vessel_counts_as_it_darkens_whatever_its_direction() -> None:
    x = np.arange(256, dtype=np.float32)
    profile = np.exp(-((x - 128) ** 2) / (2 * 3**2))
    faint, dark = (np.tile(0.8 - depth * profile, (256, 1)).astype(np.float32) for depth in (0.1, 0.4))
    flat = np.full((256, 256), 0.5, np.float32)
    wide = [np.minimum.reduce([np.roll(image, 32 * k, 1) for k in range(8)]) for image in (faint, dark)]
    assert contrast_score(flat) == 0
    assert contrast_score(wide[1]) > 3 * contrast_score(wide[0]) > 0
    assert contrast_score(wide[1].T.copy()) == pytest.approx(contrast_score(wide[1]), rel=1e-4)


def test_best__passes_over_damaged_frames(tmp_path: Path) -> None:
    from pydicom.uid import RLELossless

    cine = generate_cine(3, size=96, num_frames=6)
    path = make(tmp_path / "run", cine.images, RLELossless)
    run = open_run(path)
    (best,) = run.select("best")
    ((at, length),) = run._extents[best]
    content = bytearray(path.read_bytes())
    content[at : at + length] = bytes(length)
    path.write_bytes(content)
    (second,) = open_run(path).select("best")
    assert second != best
