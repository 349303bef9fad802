"""Random changes of grey values that imaging brings about: exposure, tube voltage, focus, dose, matrix size."""

from __future__ import annotations

import cv2
import numpy as np

from vasomim.types import FloatImage


def vary_intensity(image: FloatImage, strength: float, rng: np.random.Generator) -> FloatImage:
    """Random gamma, contrast, brightness, blur, coarser pixels and noise: float32 (H, W) in [0, 1] -> the same.

    Gamma lies within exp(+-0.5 strength), contrast within 1 +- 0.4 strength about the mean, brightness within
    +-0.2 strength. With probability 0.3 each: Gaussian blur of at most 1.5 strength px, pixels coarser by at most
    1 + strength. With probability 0.5: Gaussian noise of at most 0.08 strength.

    Args:
        image: (H, W) in [0, 1].
        strength: 0 leaves the image as it is, 1 is strong.
        rng: source of randomness.

    Raises:
        ValueError: `strength` outside of [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie in [0, 1], got {strength}")
    if strength == 0:
        return image
    gamma, contrast, brightness, blur, coarse, noise = strength * rng.uniform(-1, 1, 6)
    chances = rng.random(3)
    image = np.asarray(cv2.pow(image, float(np.exp(0.5 * gamma))), np.float32)
    mean = float(image.mean())
    image = (image - mean) * np.float32(1 + 0.4 * contrast) + np.float32(mean + 0.2 * brightness)
    if chances[0] < 0.3 and abs(blur) > 0.1:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5 * abs(blur)), np.float32)
    if chances[1] < 0.3:
        image = _coarsen(image, 1 + abs(coarse))
    if chances[2] < 0.5:
        image = image + np.float32(0.08 * abs(noise)) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 1).astype(np.float32, copy=False)


def _coarsen(image: FloatImage, factor: float) -> FloatImage:
    """The image as a detector with pixels `factor` times larger would show it."""
    height, width = image.shape
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
