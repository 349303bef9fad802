"""The crops of `vasomim.data.augment` laid out for a whole batch at once, as tensors on any device.

What `JointCrop.draw` drew comes in as rows of numbers; so a sample is cropped alike in whatever batch, by whatever
number of processes, and as the OpenCV path would crop it, to the tolerance that the tests state. Without rotation a
crop is two products with matrices, exact averages over area included; with rotation it is sampled point by point.

The numbers are looked at on the CPU, where they were drawn: nothing here waits for the device.

Letters: B frames, H x W their size, S the side of the output.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from vasomim.data.augment import LEVEL
from vasomim.data.intensity import Shading
from vasomim.ops.noise import counter_normal
from vasomim.ops.resampling import (
    Taps,
    apply_sides,
    area_taps,
    cubic_taps,
    gaussian_radius,
    gaussian_taps,
    join_taps,
    linear_taps,
    nearest_index,
    reflect,
    rotation_matrix,
    side_matrix,
)

CHUNK = 64
"""Frames laid out together; bounds the memory that matrices and frames as floats take."""
HALF = (LEVEL / 2 + 0.5) / LEVEL - 1e-6
"""Share of vessel from which OpenCV, which rounds to whole levels, calls a pixel of a mask vessel."""
NOISE_SEED = 0x6E6F697365
"""Sets the noise of a run's frames apart from that of its masks."""


@dataclass(frozen=True)
class FrameBatch:
    """Whole frames as a pack holds them, on the device where they are cropped."""

    levels: Tensor
    """(B, H, W) uint8, or int16 with the bits of uint16."""
    full_scale: Tensor
    """(B,) what grey values are divided by."""
    vessels: Tensor | None = None
    """(B, H, ceil(W / 8)) uint8, the leftmost pixel in the highest bit."""
    mask: Tensor | None = None
    """The same."""

    def each(self, function: Callable[[Tensor], Tensor]) -> FrameBatch:
        """The batch of what a function makes of every part."""
        masks = (None if part is None else function(part) for part in (self.vessels, self.mask))
        return FrameBatch(function(self.levels), function(self.full_scale), *masks)

    def __getitem__(self, rows: slice | Tensor) -> FrameBatch:
        return self.each(lambda part: part[rows])

    def images(self) -> Tensor:
        """(B, H, W) float32 in [0, 1]."""
        levels = self.levels if self.levels.dtype == torch.uint8 else self.levels.int() & 0xFFFF
        return levels.float() / self.full_scale[:, None, None]

    def mask_share(self) -> Tensor | None:
        """(B, H, W) float32 0/1, or None."""
        if self.mask is None:
            return None
        shifts = torch.arange(7, -1, -1, device=self.mask.device, dtype=torch.uint8)
        return ((self.mask[..., None] >> shifts) & 1).flatten(2)[..., : self.levels.shape[2]].float()


@dataclass(frozen=True)
class _Poses:
    """`vasomim.data.poses.Pose` of B crops, (B,) each, on one device."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    angle: Tensor
    flip_x: Tensor
    flip_y: Tensor

    @classmethod
    def of(cls, numbers: Tensor) -> _Poses:
        """From rows of `Pose.numbers`, (B, 7)."""
        top, left, height, width, angle, flip_x, flip_y = numbers.unbind(1)
        return cls(top.long(), left.long(), height.long(), width.long(), angle, flip_x > 0, flip_y > 0)


def crop_batch(frames: FrameBatch, poses: Tensor, size: int) -> dict[str, Tensor]:
    """Lay crops out: `image` (B, 1, S, S) float32 in [0, 1]; `vessels`, `mask` (B, S, S) float32 0/1 where known.

    Args:
        frames: B frames.
        poses: (B, 7) float64, rows of `Pose.numbers`, on the CPU.
        size: S.
    """
    lay = _turned if bool(poses[:, 4].any()) else _straight
    rows = [slice(row, row + CHUNK) for row in range(0, len(poses), CHUNK)]
    parts = [lay(frames[chunk], poses[chunk], size) for chunk in rows]
    whole = {name: torch.cat([part[name] for part in parts]).float() for name in parts[0]}
    return {**whole, "image": whole["image"].clamp(0, 1).unsqueeze(1)}  # bicubic interpolation overshoots at edges


def _straight(frames: FrameBatch, numbers: Tensor, size: int) -> dict[str, Tensor]:
    """Crops without rotation."""
    height, width = frames.levels.shape[1:]
    poses = _Poses.of(numbers.to(frames.levels.device, non_blocking=True))
    taps = math.ceil(float(numbers[:, 2:4].max()) / size) + 1
    lay = {"image": apply_sides(frames.images(), *_sides(poses, height, width, size, taps, cubic_taps))}
    share = frames.mask_share()
    if share is not None:
        lay["mask"] = apply_sides(share, *_sides(poses, height, width, size, taps, linear_taps)) > HALF
    if frames.vessels is not None:
        rows, columns = nearest_index(poses.height, size), nearest_index(poses.width, size)
        rows = torch.where(poses.flip_y[:, None], rows.flip(1), rows) + poses.top[:, None]
        columns = torch.where(poses.flip_x[:, None], columns.flip(1), columns) + poses.left[:, None]
        lay["vessels"] = _pick(frames.vessels, reflect(rows, height)[:, :, None], reflect(columns, width)[:, None])
    return lay


def _sides(
    poses: _Poses, height: int, width: int, size: int, taps: int, grow: Callable[[Tensor, Tensor, int], Taps]
) -> tuple[Tensor, Tensor]:
    """Matrices of rows (B, S, H) and columns (B, S, W): averages where the whole window shrinks, else `grow`."""
    shrinks = torch.minimum(poses.height, poses.width) >= size

    def matrix(start: Tensor, length: Tensor, flips: Tensor, extent: int) -> Tensor:
        sizes = torch.full_like(length, size)
        averaged = area_taps(torch.where(shrinks, length, sizes), sizes, size, taps)
        index, weight = join_taps(averaged, grow(length, sizes, size), shrinks)
        laid = side_matrix(reflect(start[:, None, None] + index, extent), weight, extent)
        return torch.where(flips[:, None, None], laid.flip(1), laid)

    rows = matrix(poses.top, poses.height, poses.flip_y, height)
    return rows, matrix(poses.left, poses.width, poses.flip_x, width)


def _pick(bits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Single pixels of masks given by their bits: indices that broadcast to (B, S, S) -> uint8 (B, S, S)."""
    batch = torch.arange(len(bits), device=bits.device)[:, None, None]
    return (bits[batch, rows, columns >> 3] >> (7 - (columns & 7))) & 1


def _turned(frames: FrameBatch, numbers: Tensor, size: int) -> dict[str, Tensor]:
    """Crops with rotation; those that are sampled equally finely (`vasomim.data.poses.fineness`) go together."""
    fineness = (numbers[:, 2:4].amax(1) / size - 0.3).ceil().clamp_min(1).long()
    order = fineness.argsort(stable=True)
    parts = []
    for fine in sorted(set(fineness.tolist())):
        rows = order[fineness[order] == fine]
        there = rows.to(frames.levels.device, non_blocking=True)
        poses = _Poses.of(numbers[rows].to(frames.levels.device, non_blocking=True))
        parts.append(_turned_alike(frames[there], poses, fine, size))
    back = order.argsort().to(frames.levels.device, non_blocking=True)
    return {name: torch.cat([part[name] for part in parts])[back] for name in parts[0]}


def _turned_alike(frames: FrameBatch, poses: _Poses, fine: int, size: int) -> dict[str, Tensor]:
    height, width = frames.levels.shape[1:]
    x, y = _points(poses, size * fine).unbind(-1)
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1).float()

    def sample(images: Tensor, mode: str) -> Tensor:
        laid = grid_sample(images[:, None], grid, mode, padding_mode="reflection", align_corners=True)
        return avg_pool2d(laid, fine)[:, 0]

    lay = {"image": sample(frames.images(), "bicubic" if fine == 1 else "bilinear")}
    share = frames.mask_share()
    if share is not None:
        lay["mask"] = sample(share, "bilinear") > HALF
    if frames.vessels is not None:
        columns, rows = _points(poses, size).round().long().unbind(-1)
        lay["vessels"] = _pick(frames.vessels, reflect(rows, height), reflect(columns, width))
    return lay


def _points(poses: _Poses, size: int) -> Tensor:
    """(B, size, size, 2) positions (x, y) in the frame of the output's pixels, float64, centres on whole numbers."""
    signs = 1 - 2 * torch.stack([poses.flip_x, poses.flip_y], -1).double()
    steps = signs * torch.stack([poses.width, poses.height], -1) / size
    linear = rotation_matrix(poses.angle) * steps[:, None, :]
    middle = torch.stack([poses.left + (poses.width - 1) / 2, poses.top + (poses.height - 1) / 2], -1)
    along = torch.arange(size, device=steps.device, dtype=torch.float64) - (size - 1) / 2
    square = torch.stack(torch.meshgrid(along, along, indexing="xy"), -1)  # (size, size, 2)
    return square @ linear.mT[:, None] + middle[:, None, None]


def shade_batch(images: Tensor, shading: Tensor, seed: int, epoch: Tensor, index: Tensor) -> Tensor:
    """Change grey values as `vasomim.data.intensity.shade` does: (B, 1, S, S) in [0, 1] -> the same.

    Only the noise takes other values than there, though as strong: it is a function of (seed, epoch, index).

    Args:
        images: B square images.
        shading: (B, 6) float64, rows of `Shading.numbers`, on the CPU.
        seed: of the run.
        epoch: (B,) int64, on the images' device.
        index: (B,) int64, the same.
    """
    if bool((shading == torch.tensor(Shading().numbers(), dtype=shading.dtype)).all()):
        return images
    rows = [slice(row, row + CHUNK) for row in range(0, len(images), CHUNK)]
    parts = [_shaded(images[chunk, 0], shading[chunk], seed, epoch[chunk], index[chunk]) for chunk in rows]
    return torch.cat(parts).unsqueeze(1)


def _shaded(images: Tensor, shading: Tensor, seed: int, epoch: Tensor, index: Tensor) -> Tensor:
    side = images.shape[-1]
    there = shading.to(images.device, non_blocking=True)
    gamma, contrast, brightness, _, _, noise = there.float()[..., None, None].unbind(1)  # each (B, 1, 1)
    images = images**gamma
    mean = images.mean((1, 2), keepdim=True)
    images = (images - mean) * contrast + mean + brightness
    if bool(shading[:, 3].any()) or bool((shading[:, 4] > 1).any()):
        softer = _softer(there[:, 3], there[:, 4], side, int(gaussian_radius(shading[:, 3]).max()), shading[:, 4].max())
        images = apply_sides(images, softer, softer)
    if bool(shading[:, 5].any()):
        grain = counter_normal(seed ^ NOISE_SEED, epoch, index, side * side)
        images = images + noise * grain.view_as(images)
    return images.clamp(0, 1)


def _softer(blur: Tensor, coarse: Tensor, side: int, reach: int, coarsest: Tensor) -> Tensor:
    """(B, side, side) that blurs along a side, and then makes pixels coarser."""
    full = torch.full_like(coarse, side, dtype=torch.int64)
    small = (side / coarse).round().long().clamp_min(1)
    down = side_matrix(*area_taps(full, small, side, math.ceil(float(coarsest)) + 2), side)
    up = side_matrix(*linear_taps(small, full, side), side)
    return up @ down @ side_matrix(*gaussian_taps(blur, side, reach), side)
