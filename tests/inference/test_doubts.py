"""Frames that are doubted: noise, textures, inverted angiograms; angiograms are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vasomim.data.frames import to_unit
from vasomim.inference.doubts import doubt_about
from vasomim.synth import generate


def angiogram(seed: int) -> np.ndarray:
    return to_unit(generate(seed, size=256).image)


def test_doubt_about__angiograms_are_trusted() -> None:
    doubted = [seed for seed in range(12) if doubt_about(angiogram(seed))]
    assert len(doubted) <= 1


def test_doubt_about__inverted_angiograms_are_named() -> None:
    lines = [doubt_about(1 - angiogram(seed)) for seed in range(12)]
    assert sum("inverted" in str(line) for line in lines) >= 10
    assert all(lines)


@pytest.mark.parametrize("blur", [0.0, 1.0, 3.0, 8.0])
def test_doubt_about__noise_is_no_angiogram(blur: float) -> None:
    noise = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), blur) if blur else noise
    unit = (noise - noise.min()) / (noise.max() - noise.min())
    assert "no angiogram" in str(doubt_about(unit))


def test_doubt_about__a_ramp_and_small_frames() -> None:
    assert doubt_about(np.tile(np.linspace(0, 1, 128, dtype=np.float32), (128, 1)))
    assert doubt_about(np.random.default_rng(0).random((32, 200), np.float32)) is None
