"""Faint angiograms are seen at usual contrast; usual ones, and what is no angiogram, as they are."""

from __future__ import annotations

import numpy as np
import pytest

from vasomim.inference.contrast import USUAL, with_usual_contrast
from vasomim.synth import generate
from vasomim.types import FloatImage


def angiogram(seed: int) -> FloatImage:
    return np.asarray(generate(seed, size=256).image / np.float32(255), np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_with_usual_contrast__leaves_usual_frames_alone(seed: int) -> None:
    image = angiogram(seed)
    assert with_usual_contrast(image) is image


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("factor", "offset"), [(1 / 16, 0.0), (1 / 16, 0.6), (1 / 100, 0.3)])
def test_with_usual_contrast__does_not_see_scale_and_offset(seed: int, factor: float, offset: float) -> None:
    image = angiogram(seed)
    found = with_usual_contrast((image * factor + offset).astype(np.float32))
    assert np.percentile(found, (1, 99)) == pytest.approx(USUAL, abs=0.05)
    assert 0 <= found.min() <= found.max() <= 1
    inside = (found > 0) & (found < 1)
    assert np.corrcoef(found[inside], image[inside])[0, 1] > 0.999


def test_with_usual_contrast__does_not_amplify_noise() -> None:
    noise = np.clip(np.random.default_rng(0).normal(0.05, 0.01, (256, 256)), 0, 1).astype(np.float32)
    assert with_usual_contrast(noise) is noise
    nearly_flat = np.full((64, 64), 0.2, np.float32)
    nearly_flat[3, 4] = 0.9
    assert with_usual_contrast(nearly_flat) is nearly_flat
