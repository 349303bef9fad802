"""From samples to tensors of one size: random crops drawn jointly for frame, vessels and mask, or the whole frame.

All randomness comes from the generator passed in, so that a crop is a function of (seed, epoch, index) alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vasomim.data.intensity import vary_intensity
from vasomim.ops.resize import resize_area, resize_mask
from vasomim.types import BoolImage, FloatImage, Sample

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
class _Pose:
    """How a window is laid onto the output."""

    window: Window
    angle: float
    flip_x: bool
    flip_y: bool


@dataclass(frozen=True)
class JointCrop:
    """A random resized crop with flips and rotation, the same for frame, vessels and mask of a sample.

    Frames are averaged over area where they shrink, since plain bicubic sampling would alias noise into vessels, and
    interpolated bicubically where they grow. `vessels` follow the nearest pixel (method: step 4); `mask` is averaged
    likewise and True above one half (the paper's 224 px labels). Rotation continues the frame by reflection.
    """

    size: int
    """Side S of the output."""
    scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the frame's area; uniform."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width : height; log-uniform."""
    horizontal_flip: float = 0.5
    """Probability of a left-right flip."""
    vertical_flip: float = 0.0
    """Probability of an up-down flip."""
    vessel_aware: int = 1
    """Candidates, of which the one with the largest share of `mask` (else of `vessels`) is taken; 1 is a plain crop."""
    rotation: float = 0.0
    """Largest rotation in degrees; uniform, either way."""
    intensity: float = 0.0
    """Strength of `vary_intensity`."""
    native: bool = False
    """Crop S x S pixels of the frame instead of a share of it; the extent of `scale` then only jitters the zoom
    about 1. Smaller frames are continued by reflection."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.vessel_aware < 1:
            raise ValueError(f"size and vessel_aware must be at least 1, got {self.size} and {self.vessel_aware}")
        if not (0 < self.scale[0] <= self.scale[1] <= 1 and 0 < self.ratio[0] <= self.ratio[1]):
            raise ValueError(f"need 0 < low <= high, scale at most 1; got scale {self.scale}, ratio {self.ratio}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw a crop: `image` (1, S, S) float32 in [0, 1]; `vessels`, `mask` (S, S) float32 0/1 where known."""
        pose = self._draw(sample, rng)
        image = vary_intensity(_lay_image(sample.image, pose, self.size), self.intensity, rng)
        vessels = None if sample.vessels is None else _lay_nearest(sample.vessels, pose, self.size)
        mask = None if sample.mask is None else _lay_mask(sample.mask, pose, self.size)
        return _tensors(image, vessels, mask)

    def _draw(self, sample: Sample, rng: np.random.Generator) -> _Pose:
        height, width = sample.image.shape
        windows = [self._draw_window(height, width, rng) for _ in range(self.vessel_aware)]
        flip_x, flip_y, turn = rng.random(3)
        guidance = sample.vessels if sample.mask is None else sample.mask
        best = windows[0] if guidance is None or len(windows) == 1 else richest(windows, guidance)
        angle = self.rotation * (2 * turn - 1)
        return _Pose(best, angle, bool(flip_x < self.horizontal_flip), bool(flip_y < self.vertical_flip))

    def _draw_window(self, height: int, width: int, rng: np.random.Generator) -> Window:
        if self.native:
            return native_window(height, width, self.size, self.scale, self.ratio, rng)
        return resized_window(height, width, self.scale, self.ratio, rng)


@dataclass(frozen=True)
class CenterResize:
    """The whole frame at `size` x `size`, the aspect ratio given up; deterministic. What evaluation looks at."""

    size: int

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> dict[str, Tensor]:  # noqa: ARG002
        """Resize: the keys, shapes and rules of `JointCrop`."""
        height, width = sample.image.shape
        whole = _Pose(Window(0, 0, height, width), 0.0, False, False)
        vessels = None if sample.vessels is None else _lay_nearest(sample.vessels, whole, self.size)
        mask = None if sample.mask is None else resize_mask(sample.mask, self.size)
        return _tensors(resize_area(sample.image, self.size), vessels, mask)


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


def richest(windows: list[Window], guidance: BoolImage) -> Window:
    """The window with the largest share of guidance; the first of equals."""
    sums = cv2.integral(guidance.view(np.uint8))
    shares = [_sum_inside(sums, window) / (window.height * window.width) for window in windows]
    return windows[int(np.argmax(shares))]


def _sum_inside(sums: npt.NDArray[Any], window: Window) -> int:
    top, bottom = np.clip((window.top, window.top + window.height), 0, sums.shape[0] - 1)
    left, right = np.clip((window.left, window.left + window.width), 0, sums.shape[1] - 1)
    return int(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])


def _lay_image(image: FloatImage, pose: _Pose, size: int) -> FloatImage:
    fine = _fineness(pose.window, size)
    if pose.angle:
        laid = _warp(image, pose, size * fine, cv2.INTER_CUBIC if fine == 1 else cv2.INTER_LINEAR)
        laid = laid if fine == 1 else cv2.resize(laid, (size, size), interpolation=cv2.INTER_AREA)
    else:
        shrinks = min(pose.window.height, pose.window.width) >= size
        laid = _resize(image, pose, size, cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.clip(laid, 0, 1).astype(np.float32, copy=False)  # bicubic interpolation overshoots at edges


def _lay_mask(mask: BoolImage, pose: _Pose, size: int) -> BoolImage:
    levels = mask.view(np.uint8) * np.uint8(254)  # even, so that one half is 127 exactly and not vessel
    fine = _fineness(pose.window, size)
    if pose.angle:
        laid = _warp(levels, pose, size * fine, cv2.INTER_LINEAR)
        laid = laid if fine == 1 else cv2.resize(laid, (size, size), interpolation=cv2.INTER_AREA)
    else:
        shrinks = min(pose.window.height, pose.window.width) >= size
        laid = _resize(levels, pose, size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(laid > 127, np.bool_)


def _lay_nearest(mask: BoolImage, pose: _Pose, size: int) -> BoolImage:
    levels = mask.view(np.uint8)
    if pose.angle:
        return _warp(levels, pose, size, cv2.INTER_NEAREST).astype(np.bool_)
    # The plain nearest mode of OpenCV picks the pixel at the corner, half a pixel off.
    return _resize(levels, pose, size, cv2.INTER_NEAREST_EXACT).astype(np.bool_)


def _fineness(window: Window, size: int) -> int:
    """How many times finer than the output a rotated crop is sampled before averaging, so as to step over no pixel.

    A step of 1.3 pixels is let pass: a third fineness would double the time of a 512 px frame cut to 224.
    """
    return max(1, math.ceil(max(window.height, window.width) / size - 0.3))


def _resize(array: npt.NDArray[Any], pose: _Pose, size: int, interpolation: int) -> npt.NDArray[Any]:
    laid = cv2.resize(_cut(array, pose.window), (size, size), interpolation=interpolation)
    return np.asarray(laid[:: -1 if pose.flip_y else 1, :: -1 if pose.flip_x else 1])


def _cut(array: npt.NDArray[Any], window: Window) -> npt.NDArray[Any]:
    height, width = array.shape
    bottom, right = window.top + window.height, window.left + window.width
    if window.top >= 0 and window.left >= 0 and bottom <= height and right <= width:
        return array[window.top : bottom, window.left : right]
    rows, columns = _reflect(window.top, bottom, height), _reflect(window.left, right, width)
    return array[np.ix_(rows, columns)]


def _reflect(start: int, stop: int, length: int) -> npt.NDArray[np.int64]:
    """Indices start..stop-1 folded back into 0..length-1, borders not repeated."""
    period = max(1, 2 * (length - 1))
    folded = np.arange(start, stop) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(folded)


def _warp(array: npt.NDArray[Any], pose: _Pose, size: int, interpolation: int) -> npt.NDArray[Any]:
    """The window turned about its middle and stretched to (size, size), in one interpolation."""
    # OpenCV never returns from reflecting a frame of a single row or column.
    border = cv2.BORDER_REFLECT_101 if min(array.shape) > 1 else cv2.BORDER_REPLICATE
    flags = interpolation | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(array, _output_to_frame(pose, size), (size, size), flags=flags, borderMode=border)
    return np.asarray(laid)


def _output_to_frame(pose: _Pose, size: int) -> npt.NDArray[np.float64]:
    """(2, 3) matrix from output pixel (x, y) to frame pixel, centres on whole numbers."""
    window, turn = pose.window, math.radians(pose.angle)
    step_x = window.width / size * (-1 if pose.flip_x else 1)
    step_y = window.height / size * (-1 if pose.flip_y else 1)
    linear = np.array(
        [[math.cos(turn) * step_x, -math.sin(turn) * step_y], [math.sin(turn) * step_x, math.cos(turn) * step_y]]
    )
    middle = np.array([window.left + (window.width - 1) / 2, window.top + (window.height - 1) / 2])
    return np.column_stack([linear, middle - linear @ np.full(2, (size - 1) / 2)])


def _tensors(image: FloatImage, vessels: BoolImage | None, mask: BoolImage | None) -> dict[str, Tensor]:
    item = {"image": torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).unsqueeze(0)}
    for name, part in (("vessels", vessels), ("mask", mask)):
        if part is not None:
            item[name] = torch.from_numpy(part.astype(np.float32))
    return item
