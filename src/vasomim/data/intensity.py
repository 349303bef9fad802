"""Random changes of grey values that imaging brings about: exposure, tube voltage, focus, dose, matrix size."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import cv2
import numpy as np

from vasomim.types import FloatImage


@dataclass(frozen=True, slots=True)
class Shading:
    """How grey values change; the defaults change nothing."""

    gamma: float = 1.0
    """Exponent of every value."""
    contrast: float = 1.0
    """Factor of the distance from the frame's mean."""
    brightness: float = 0.0
    """Added to every value."""
    blur: float = 0.0
    """Standard deviation of a Gaussian, in pixels."""
    coarse: float = 1.0
    """How many times larger the pixels become."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise."""

    def numbers(self) -> tuple[float, ...]:
        """The fields in order: what `vasomim.data.batch_crop` takes in a tensor."""
        return astuple(self)


UNCHANGED = Shading()


def draw_shading(strength: float, rng: np.random.Generator) -> Shading:
    """Gamma within exp(+-0.5 strength), contrast within 1 +- 0.4 strength, brightness within +-0.2 strength.

    With probability 0.3 each: Gaussian blur of at most 1.5 strength px, pixels coarser by at most 1 + strength. With
    probability 0.5: Gaussian noise of at most 0.08 strength.

    Args:
        strength: 0 changes nothing and draws nothing, 1 is strong.
        rng: source of randomness.

    Raises:
        ValueError: `strength` outside of [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie in [0, 1], got {strength}")
    if strength == 0:
        return UNCHANGED
    gamma, contrast, brightness, blur, coarse, noise = (strength * rng.uniform(-1, 1, 6)).tolist()
    blurs, coarsens, is_noisy = rng.random(3) < (0.3, 0.3, 0.5)
    return Shading(
        gamma=float(np.exp(0.5 * gamma)),
        contrast=1 + 0.4 * contrast,
        brightness=0.2 * brightness,
        blur=1.5 * abs(blur) if blurs and abs(blur) > 0.1 else 0.0,
        coarse=1 + abs(coarse) if coarsens else 1.0,
        noise=0.08 * abs(noise) if is_noisy else 0.0,
    )


def shade(image: FloatImage, shading: Shading, rng: np.random.Generator) -> FloatImage:
    """The frame (H, W) in [0, 1] under a shading, in [0, 1]; `rng` is the source of the noise alone."""
    if shading == UNCHANGED:
        return image
    image = np.asarray(cv2.pow(image, shading.gamma), np.float32)
    mean = float(image.mean())
    image = (image - mean) * np.float32(shading.contrast) + np.float32(mean + shading.brightness)
    if shading.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), shading.blur), np.float32)
    if shading.coarse > 1:
        image = _coarsen(image, shading.coarse)
    if shading.noise:
        image = image + np.float32(shading.noise) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 1).astype(np.float32, copy=False)


def coarse_side(side: int, factor: float) -> int:
    """Pixels along a side of `side` once they are `factor` times larger."""
    return max(1, round(side / factor))


def _coarsen(image: FloatImage, factor: float) -> FloatImage:
    """The image as a detector with pixels `factor` times larger would show it."""
    height, width = image.shape
    small = (coarse_side(width, factor), coarse_side(height, factor))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
