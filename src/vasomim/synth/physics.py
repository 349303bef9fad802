"""From attenuation to grey levels: Beer-Lambert, scatter, blur, quantum noise, detector, processing."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.synth.scene import REFERENCE_SIZE, Beam, Polarity
from vasomim.synth.values import as_float
from vasomim.types import BoolImage, FloatImage

_COARSE = 64
"""Side at which very smooth fields are computed."""


def _blur(image: FloatImage, sigma: float) -> FloatImage:
    """Gaussian blur; below a tenth of a pixel nothing changes."""
    if sigma < 0.1:
        return image
    return as_float(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT))


def _smooth(image: FloatImage, share: float) -> FloatImage:
    """Blur with a sigma of `share` of the frame's side, computed on a coarse grid."""
    size = image.shape[0]
    side = min(size, _COARSE)
    coarse = as_float(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
    return as_float(cv2.resize(_blur(coarse, share * side), (size, size), interpolation=cv2.INTER_CUBIC))


def transmit(attenuation: FloatImage, opening: FloatImage, beam: Beam) -> FloatImage:
    """Intensity at the detector: primary quanta by Beer-Lambert's law plus a smooth share of scatter."""
    primary = as_float(np.exp(-attenuation) * opening)
    scattered = _smooth(primary, 0.12)
    return as_float((primary + beam.scatter * scattered) / (1 + beam.scatter))


def _noise(shape: tuple[int, int], beam: Beam, frame: int) -> FloatImage:
    """Standard normal noise and the detector's blur of it, which correlates its pixels and lowers their variance."""
    rng = np.random.default_rng((beam.seed, frame))
    white: FloatImage = rng.standard_normal(shape, dtype=np.float32)
    return _blur(white, beam.noise_blur_px * shape[0] / REFERENCE_SIZE)


def _detect(intensity: FloatImage, beam: Beam, frame: int) -> FloatImage:
    """Blur and quantum noise. Poisson counts are far above 20 here, so a normal of equal variance stands for them."""
    size = intensity.shape[0]
    sharp = _blur(intensity, beam.blur_px * size / REFERENCE_SIZE)
    if not np.isfinite(beam.quanta):
        return sharp
    # A pixel of a smaller frame is the mean of several detector pixels.
    quanta = beam.quanta * (REFERENCE_SIZE / size)
    return as_float(sharp + np.sqrt(np.maximum(sharp, 0) / quanta) * _noise((size, size), beam, frame))


def expose(
    background: FloatImage, contrast: FloatImage, opening: FloatImage, inside: BoolImage, beam: Beam, frame: int = 0
) -> FloatImage:
    """Grey levels (H, W) in [0, 1], vessels dark.

    Exposure and large-scale equalisation follow the background alone, so that more contrast is never brighter.

    Args:
        background: attenuation without contrast, natural-log units.
        contrast: attenuation of contrast and devices.
        opening: transmission of the collimator.
        inside: where it is open.
        beam: quanta, blur, processing.
        frame: number in a run; every frame has its own noise.
    """
    empty = transmit(background, opening, beam)
    mean = float(empty[inside].mean()) if inside.any() else 1.0
    gain = 1 / mean
    seen = _detect(as_float(transmit(background + contrast, opening, beam) * gain), beam, frame)
    level = np.maximum(_smooth(as_float(empty * gain), 0.1), 0.05) ** -beam.equalise
    grey = as_float(beam.grey * np.maximum(seen * level, 0) ** beam.gamma)
    if beam.sharpen > 0:
        sigma = 3.0 * grey.shape[0] / REFERENCE_SIZE
        grey = as_float(grey + beam.sharpen * (grey - _blur(grey, sigma)))
    return as_float(np.clip(grey, 0, 1))


def quantise(grey: FloatImage, bits: int, polarity: Polarity) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Grey levels in [0, 1] -> 8 or 16 bits, the full range used; `bright` turns black and white round."""
    top = 2**bits - 1
    levels = as_float(np.rint(grey * top))
    if polarity == "bright":
        levels = as_float(top - levels)
    if bits == 8:
        return levels.astype(np.uint8)
    return levels.astype(np.uint16)
