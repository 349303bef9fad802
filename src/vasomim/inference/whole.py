"""Frames of any size through a network at one scale: without empty borders, as many pixels each, one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from vasomim.inference.sliding import Windows
from vasomim.ops.borders import Region, content
from vasomim.ops.resize import resize_area
from vasomim.types import FloatImage

_MULTIPLE = 32
"""What the sides of oblong frames are rounded to: networks pad to it anyway, and few sizes share batches."""


def fitted_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Height and width in the ratio of (H, W), with about size x size pixels; exactly that for a square frame."""
    stretch = math.sqrt(shape[0] / shape[1])
    step = math.gcd(size, _MULTIPLE)
    height, width = (max(round(side / step), 1) * step for side in (size * stretch, size / stretch))
    return height, width


def as_fitted(image: FloatImage, size: int) -> FloatImage:
    """A frame (H, W) as a network for S x S pixels sees it: its content, at `fitted_shape`."""
    return _fitted(image[content(image)], size)


def _fitted(inner: FloatImage, size: int) -> FloatImage:
    height, width = inner.shape
    return resize_area(inner, fitted_shape((height, width), size))


def predict_whole(
    images: Sequence[FloatImage],
    predict: Callable[[Windows], Windows],
    size: int,
    batch_size: int = 4,
    finish: Callable[[FloatImage], FloatImage] = lambda found: found,
) -> list[FloatImage]:
    """Predict whole frames, whose aspect ratio is kept and whose empty borders are left out.

    Stretched to a square, vessels of an oblong frame would be wider in one direction than in the other, and beside a
    wide border narrower than those the network has learned from.

    Args:
        images: (H, W) float32 frames of any sizes.
        predict: (B, h, w) -> (B, h, w); B is at most `batch_size`.
        size: side S of the square frames that the network is made for.
        batch_size: frames predicted together; those that share a batch have one shape.
        finish: what is done with each map once it has the size of its content, such as calibration.

    Returns:
        One (H, W) float32 map a frame, at its own size; 0 on empty borders.
    """
    found: dict[int, FloatImage] = {}
    for start in range(0, len(images), batch_size):
        regions = {k: content(images[k]) for k in range(start, min(start + batch_size, len(images)))}
        seen = {k: _fitted(images[k][region], size) for k, region in regions.items()}
        for shape in dict.fromkeys(small.shape for small in seen.values()):
            alike = [k for k, small in seen.items() if small.shape == shape]
            maps = predict(np.stack([seen[k] for k in alike]))
            for k, value in zip(alike, maps, strict=True):
                found[k] = _framed(value, regions[k], images[k], finish)
    return [found[k] for k in range(len(images))]


def _framed(
    found: FloatImage, region: Region, image: FloatImage, finish: Callable[[FloatImage], FloatImage]
) -> FloatImage:
    """What was found in the content of a frame, in its place, with zeros around it."""
    whole = np.zeros(image.shape, np.float32)
    height, width = image[region].shape
    whole[region] = finish(_resize_back(found, (height, width)))
    return whole


def _resize_back(probability: FloatImage, shape: tuple[int, int]) -> FloatImage:
    """To (H, W): linear, or averaged over areas where the frame is the smaller one on both sides."""
    if probability.shape == shape:
        return probability
    shrinks = shape[0] < probability.shape[0] and shape[1] < probability.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(probability, shape[::-1], interpolation=interpolation), np.float32)
