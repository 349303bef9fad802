"""Where a random crop lies and how it is turned: drawn from the size of a frame, before any pixel is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.types import BoolImage

TRIES = 10
"""Draws of a crop that fits, before the largest central one is taken."""


@dataclass(frozen=True, slots=True)
class Window:
    """A crop of a frame in pixels; it may reach out of the frame, which is then continued by reflection."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Pose:
    """How a window is laid onto the output."""

    window: Window
    angle: float = 0.0
    """Degrees."""
    flip_x: bool = False
    flip_y: bool = False

    def numbers(self) -> tuple[float, ...]:
        """Top, left, height, width, angle, flip_x, flip_y: what `vasomim.data.batch_crop` takes in a tensor."""
        window = self.window
        return window.top, window.left, window.height, window.width, self.angle, self.flip_x, self.flip_y


def fineness(window: Window, size: int) -> int:
    """How many times finer than the output a rotated crop is sampled before averaging, so as to step over no pixel.

    A step of 1.3 pixels is let pass: a third fineness would double the time of a 512 px frame cut to 224.
    """
    return max(1, math.ceil(max(window.height, window.width) / size - 0.3))


def resized_window(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> Window:
    """A crop with area uniform in `scale` and log-uniform aspect ratio; after ten misfits the largest central one."""
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(TRIES):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return Window(int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w)
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = max(1, min(width, round(height * aspect))), max(1, min(height, round(width / aspect)))
    return Window((height - h) // 2, (width - w) // 2, h, w)


def native_window(
    height: int,
    width: int,
    size: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> Window:
    """A crop of about `size` x `size` pixels: its area varies by as much as `scale` does, about the native one."""
    spread = math.log(scale[1] / scale[0]) / 2
    zoom = math.exp(rng.uniform(-spread, spread))
    aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
    w, h = max(1, round(size * math.sqrt(zoom * aspect))), max(1, round(size * math.sqrt(zoom / aspect)))
    return Window(_offset(height, h, rng), _offset(width, w, rng), h, w)


def _offset(frame: int, crop: int, rng: np.random.Generator) -> int:
    """Where a crop starts: inside of the frame, or, if it is larger, so that the frame lies inside of it."""
    low, high = sorted((0, frame - crop))
    return int(rng.integers(low, high + 1))


def richest(windows: Sequence[Window], guidance: BoolImage) -> Window:
    """The window with the largest share of guidance; the first of equals."""
    sums = cv2.integral(guidance.view(np.uint8))
    shares = [_sum_inside(sums, window) / (window.height * window.width) for window in windows]
    return windows[int(np.argmax(shares))]


def _sum_inside(sums: npt.NDArray[Any], window: Window) -> int:
    top, bottom = np.clip((window.top, window.top + window.height), 0, sums.shape[0] - 1)
    left, right = np.clip((window.left, window.left + window.width), 0, sums.shape[1] - 1)
    return int(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])
