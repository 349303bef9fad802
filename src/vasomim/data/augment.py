"""From samples to tensors of one size: random crops drawn jointly for frame, vessels and mask, or the whole frame.

All randomness comes from the generator passed in, so that a crop is a function of (seed, epoch, index) alone. What is
drawn (`JointCrop.draw`) can be laid out one sample at a time, with OpenCV, as here, or in batches, as tensors:
`vasomim.data.batch_crop`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vasomim.data.burn_in import Ink, burn_in, draw_ink
from vasomim.data.intensity import Shading, draw_shading, shade
from vasomim.data.poses import Pose, Window, fineness, native_window, resized_window, richest
from vasomim.data.samples import AnySample, Picture, check_alike
from vasomim.ops.resize import average_area, pick_nearest, resize_area, resize_mask
from vasomim.types import BoolImage, FloatImage

Drawn = tuple[AnySample, np.random.Generator]
"""A sample and the generator that its crop is drawn from."""
CHUNK = 16
"""Samples that a step is done for before the next one is."""
LEVEL = 254
"""What a mask's vessel is while it is averaged: even, so that one half is 127 exactly and not vessel."""


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
    """Strength of `vasomim.data.intensity`."""
    writing: float = 0.0
    """Probability of writing on the crop, see `vasomim.data.burn_in`."""
    native: bool = False
    """Crop S x S pixels of the frame instead of a share of it; the extent of `scale` then only jitters the zoom
    about 1. Smaller frames are continued by reflection."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.vessel_aware < 1:
            raise ValueError(f"size and vessel_aware must be at least 1, got {self.size} and {self.vessel_aware}")
        if not (0 < self.scale[0] <= self.scale[1] <= 1 and 0 < self.ratio[0] <= self.ratio[1]):
            raise ValueError(f"need 0 < low <= high, scale at most 1; got scale {self.scale}, ratio {self.ratio}")

    def __call__(self, sample: AnySample, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw a crop: `image` (1, S, S) float32 in [0, 1]; `vessels`, `mask` (S, S) float32 0/1 where known."""
        pose, shading, ink = self.draw(sample, rng)
        image = burn_in(shade(_lay_image(sample.image, pose, self.size), shading, rng), ink)
        vessels = None if sample.vessels is None else _lay_nearest(sample.vessels, pose, self.size)
        mask = None if sample.mask is None else _lay_mask(sample.mask, pose, self.size)
        return _tensors(image, vessels, mask)

    def many(self, drawn: Iterable[Drawn], number: int) -> dict[str, Tensor]:
        """The crops of `number` samples, each with its generator, stacked: the values of single calls, a third quicker.

        A step is done for several samples before the next one is, so that its code stays in the processor's cache, and
        crops are written where they will be read.

        Raises:
            DataError: some samples have vessels or a mask, and others do not.
        """
        batch: dict[str, Tensor] = {}
        for row, pairs in _chunks(drawn):
            samples = [sample for sample, _ in pairs]
            crops = [self.draw(sample, rng) for sample, rng in pairs]
            if not batch:
                batch = {name: torch.empty(number, self.size, self.size) for name in _parts(samples[0])}
            for sample in samples:
                check_alike(batch, _parts(sample))
            places = {name: room.numpy()[row:] for name, room in batch.items()}
            for k, ((sample, rng), (pose, shading, ink)) in enumerate(zip(pairs, crops, strict=True)):
                places["image"][k] = burn_in(shade(_lay_image(sample.image, pose, self.size), shading, rng), ink)
            for name, lay in (("vessels", _lay_nearest), ("mask", _lay_mask)):
                for k, (sample, (pose, _, _)) in enumerate(zip(samples, crops, strict=True)):
                    if name in places:
                        places[name][k] = lay(getattr(sample, name), pose, self.size)
        return {**batch, "image": batch["image"].unsqueeze(1)}

    def draw(self, sample: AnySample, rng: np.random.Generator) -> tuple[Pose, Shading, Ink | None]:
        """Where the crop lies, how its grey values change, and what is written on it.

        Of the pixels, only vessel-aware crops look at any.
        """
        height, width = sample.image.shape
        windows = [self._draw_window(height, width, rng) for _ in range(self.vessel_aware)]
        flip_x, flip_y, turn = rng.random(3)
        # Frames without labels among labelled ones have an empty mask.
        guidance = sample.vessels if sample.mask is None or not np.any(sample.mask) else sample.mask
        best = windows[0] if guidance is None or len(windows) == 1 else richest(windows, np.asarray(guidance))
        angle = self.rotation * (2 * turn - 1)
        pose = Pose(best, angle, bool(flip_x < self.horizontal_flip), bool(flip_y < self.vertical_flip))
        return pose, draw_shading(self.intensity, rng), draw_ink(self.size, self.writing, rng)

    def _draw_window(self, height: int, width: int, rng: np.random.Generator) -> Window:
        if self.native:
            return native_window(height, width, self.size, self.scale, self.ratio, rng)
        return resized_window(height, width, self.scale, self.ratio, rng)


@dataclass(frozen=True)
class WholeFrame:
    """The whole frame at `size` x `size`, the aspect ratio given up; deterministic. What evaluation looks at."""

    size: int

    def __call__(self, sample: AnySample, rng: np.random.Generator | None = None) -> dict[str, Tensor]:  # noqa: ARG002
        """Resize: the keys, shapes and rules of `JointCrop`."""
        vessels = None if sample.vessels is None else resize_vessels(sample.vessels, self.size)
        mask = None if sample.mask is None else resize_mask(np.asarray(sample.mask), self.size)
        return _tensors(resize_area(np.asarray(sample.image), self.size), vessels, mask)


def _chunks(drawn: Iterable[Drawn]) -> Iterator[tuple[int, list[Drawn]]]:
    """A few samples at a time, and the number of the first: whole frames take memory."""
    rest = iter(drawn)
    for row in count(0, CHUNK):
        chunk = list(islice(rest, CHUNK))
        if not chunk:
            return
        yield row, chunk


def _parts(sample: AnySample) -> list[str]:
    return [name for name in ("image", "vessels", "mask") if getattr(sample, name) is not None]


def resize_frame(image: FloatImage, size: int) -> FloatImage:
    """A whole frame at another size, by the rules of `JointCrop`: float32 (H, W) in [0, 1] -> (size, size)."""
    height, width = image.shape
    return _lay_image(image, Pose(Window(0, 0, height, width)), size)


def resize_vessels(vessels: Picture, size: int) -> BoolImage:
    """Extracted vessels at another size, by the nearest pixel: bool (H, W) -> bool (size, size)."""
    height, width = vessels.shape
    return _lay_nearest(vessels, Pose(Window(0, 0, height, width)), size)


def _lay_image(image: Picture, pose: Pose, size: int) -> FloatImage:
    fine = fineness(pose.window, size)
    if pose.angle:
        laid = _warp(np.asarray(image), pose, size * fine, cv2.INTER_CUBIC if fine == 1 else cv2.INTER_LINEAR)
        laid = laid if fine == 1 else cv2.resize(laid, (size, size), interpolation=cv2.INTER_AREA)
    elif min(pose.window.height, pose.window.width) >= size:
        averaged = average_area(_cut(image, pose.window), size, flip_y=pose.flip_y, flip_x=pose.flip_x)
        return np.minimum(averaged, 1, out=averaged)  # rounding may reach beyond
    else:
        laid = _resize(_cut(image, pose.window), pose, size, cv2.INTER_CUBIC)
    return np.clip(laid, 0, 1).astype(np.float32, copy=False)  # bicubic interpolation overshoots at edges


def _lay_mask(mask: Picture, pose: Pose, size: int) -> BoolImage:
    fine = fineness(pose.window, size)
    if pose.angle:
        laid = _warp(_levels(np.asarray(mask)), pose, size * fine, cv2.INTER_LINEAR)
        laid = laid if fine == 1 else cv2.resize(laid, (size, size), interpolation=cv2.INTER_AREA)
    else:
        shrinks = min(pose.window.height, pose.window.width) >= size
        part = _levels(_cut(mask, pose.window))
        laid = _resize(part, pose, size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(laid > LEVEL / 2, np.bool_)


def _levels(mask: BoolImage) -> npt.NDArray[np.uint8]:
    return mask.view(np.uint8) * np.uint8(LEVEL)


def _lay_nearest(mask: Picture, pose: Pose, size: int) -> BoolImage:
    if pose.angle:
        return _warp(np.asarray(mask).view(np.uint8), pose, size, cv2.INTER_NEAREST).astype(np.bool_)
    return pick_nearest(_cut(mask, pose.window), size, flip_y=pose.flip_y, flip_x=pose.flip_x)


def _resize(part: npt.NDArray[Any], pose: Pose, size: int, interpolation: int) -> npt.NDArray[Any]:
    return _flip(np.asarray(cv2.resize(part, (size, size), interpolation=interpolation)), pose)


def _flip(laid: npt.NDArray[Any], pose: Pose) -> npt.NDArray[Any]:
    return laid[:: -1 if pose.flip_y else 1, :: -1 if pose.flip_x else 1]


def _cut(picture: Picture, window: Window) -> npt.NDArray[Any]:
    """The pixels of a window; of a lazy picture nothing else is read, unless the window reaches out of the frame."""
    height, width = picture.shape
    bottom, right = window.top + window.height, window.left + window.width
    if window.top >= 0 and window.left >= 0 and bottom <= height and right <= width:
        return picture[window.top : bottom, window.left : right]
    rows, columns = _reflect(window.top, bottom, height), _reflect(window.left, right, width)
    return np.asarray(picture)[np.ix_(rows, columns)]


def _reflect(start: int, stop: int, length: int) -> npt.NDArray[np.int64]:
    """Indices start..stop-1 folded back into 0..length-1, borders not repeated."""
    period = max(1, 2 * (length - 1))
    folded = np.arange(start, stop) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(folded)


def _warp(array: npt.NDArray[Any], pose: Pose, size: int, interpolation: int) -> npt.NDArray[Any]:
    """The window turned about its middle and stretched to (size, size), in one interpolation."""
    # OpenCV never returns from reflecting a frame of a single row or column.
    border = cv2.BORDER_REFLECT_101 if min(array.shape) > 1 else cv2.BORDER_REPLICATE
    flags = interpolation | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(array, _output_to_frame(pose, size), (size, size), flags=flags, borderMode=border)
    return np.asarray(laid)


def _output_to_frame(pose: Pose, size: int) -> npt.NDArray[np.float64]:
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
