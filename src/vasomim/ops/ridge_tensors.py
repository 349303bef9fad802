"""Ridge filters of batches of frames on any device: what `hessian`, `oriented` and `vesselness` do with one array.

Letters: B frames, H x W pixels. Equal to the array functions to rounding, at the borders too; tests hold the one to the
other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vasomim.ops.hessian import derivative_kernel

Derivatives = tuple[Tensor, Tensor, Tensor]
"""Second derivatives I_yy, I_xy, I_xx, each (B, H, W) float32."""


def check_frames(frames: Tensor) -> None:
    """Refuse what no filter here can work on.

    Raises:
        ValueError: if `frames` is not a non-empty, finite tensor (H, W), (B, H, W) or (B, 1, H, W) of numbers.
    """
    shape = tuple(frames.shape)
    if frames.ndim not in (2, 3, 4) or (frames.ndim == 4 and shape[1] != 1):
        raise ValueError(f"frames have shape {shape}; (H, W), (B, H, W) or (B, 1, H, W) is needed: take one channel")
    if not frames.numel():
        raise ValueError(f"frames are empty (shape {shape}); at least one grey frame is needed")
    if frames.dtype.is_complex:
        raise ValueError(f"frames have dtype {frames.dtype}; integers or floats are needed")
    if frames.dtype.is_floating_point and not bool(frames.isfinite().all()):
        raise ValueError("frames hold NaN or infinite values; replace them before filtering")


def stacked(images: Sequence[npt.NDArray[Any]], device: str) -> Tensor:
    """Arrays of one shape as a batch on a device: B times (H, W) -> (B, H, W) of their type."""
    return torch.from_numpy(np.stack(images)).to(device)


def centred(frames: Tensor, *, black_ridges: bool) -> Tensor:
    """Each frame around zero with dark ridges: (B, H, W) -> float32; a constant frame becomes exactly 0."""
    values = frames.double()
    centre = values.amin((1, 2), keepdim=True) * 0.5 + values.amax((1, 2), keepdim=True) * 0.5
    return ((values - centre) if black_ridges else (centre - values)).float()


def hessian(frames: Tensor, sigma: float, truncate: float = 6.0) -> Derivatives:
    """Scale-normalised second derivatives of each frame, borders mirrored: (B, H, W) float32 -> three times as much."""
    kernels = [torch.from_numpy(derivative_kernel(float(sigma), order, truncate).copy()) for order in (0, 1, 2)]
    smooth, slope, curve = (kernel.to(frames.device, torch.float32) for kernel in kernels)
    rows = torch.stack([smooth, slope, curve])[:, None, None]  # (3, 1, 1, K): along x
    columns = (torch.stack([curve, slope, smooth]) * float(sigma) ** 2)[:, None, :, None]  # (3, 1, K, 1): along y
    height, width = (_mirrored(side, len(smooth) // 2, frames.device) for side in frames.shape[1:])
    with _full_precision():
        along = F.conv2d(frames[:, None, :, width], rows)
        yy, xy, xx = F.conv2d(along[:, :, height], columns, groups=3).unbind(1)
    return yy, xy, xx


def _mirrored(side: int, radius: int, device: torch.device) -> Tensor:
    """Positions -radius .. side + radius - 1 folded back into 0 .. side - 1, the edge pixel repeated."""
    folded = torch.arange(-radius, side + radius, device=device) % (2 * side)
    return torch.where(folded < side, folded, 2 * side - 1 - folded)


def _full_precision() -> AbstractContextManager[None]:
    """No TF32 in convolutions on a GPU, whose ten bits of mantissa would show as stripes in a ridge response."""
    return torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False)


def eigenvalues(yy: Tensor, xy: Tensor, xx: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (larger, smaller) of symmetric 2 x 2 matrices."""
    mean, half = (yy + xx) * 0.5, (yy - xx) * 0.5
    spread = (half * half + xy * xy).sqrt()
    return mean + spread, mean - spread


def along_ridges(yy: Tensor, xy: Tensor, xx: Tensor, half_length: int, steps: int, orientations: int = 8) -> Tensor:
    """Curvature across a dark line, averaged along it, for the best orientation: as `oriented.along_ridges`."""
    height, width = yy.shape[1:]
    mean, difference, pad = (yy + xx) * 0.5, (yy - xx) * 0.5, half_length
    best = torch.zeros_like(yy)
    for k in range(orientations):
        angle = k * math.pi / orientations
        across = (difference * math.cos(2 * angle) + mean - xy * math.sin(2 * angle)).clamp_min(0)
        padded, total = F.pad(across, (pad, pad, pad, pad)), across
        for step in range(1, steps + 1):
            reach = half_length * step / steps
            dy, dx = round(reach * math.sin(angle)), round(reach * math.cos(angle))
            for y, x in ((pad + dy, pad + dx), (pad - dy, pad - dx)):
                total = total + padded[:, y : y + height, x : x + width]
        best = torch.maximum(best, total)
    return best / (2 * steps + 1)


def sato(frames: Tensor, sigmas: Sequence[float], *, black_ridges: bool) -> Tensor:
    """As `vesselness.sato`, frame by frame: (B, H, W) -> (B, H, W) float32."""
    values = centred(frames, black_ridges=black_ridges)
    best = torch.zeros_like(values)
    for sigma in sigmas:
        best = torch.maximum(best, eigenvalues(*hessian(values, sigma))[0])
    return best


def frangi(frames: Tensor, sigmas: Sequence[float], *, black_ridges: bool, beta: float = 0.5) -> Tensor:
    """As `vesselness.frangi` with c taken from each frame: (B, H, W) -> (B, H, W) float32."""
    values = centred(frames, black_ridges=black_ridges)
    pairs = [eigenvalues(*hessian(values, sigma)) for sigma in sigmas]
    norms = [high * high + low * low for high, low in pairs]
    largest = torch.stack([norm.amax((1, 2)) for norm in norms]).amax(0)  # (B,)
    strong = (0.25 * largest)[:, None, None]  # c^2 with c half the largest norm's root
    best = torch.zeros_like(values)
    for (high, low), norm in zip(pairs, norms, strict=True):
        dark = (high > 0) & (high >= -low)
        blob = torch.where(dark, low / high, 0)
        response = torch.exp(blob * blob / (-2 * beta**2)) * -torch.expm1(norm / (-2 * strong))
        best = torch.maximum(best, torch.where(dark & (strong > 0), response, 0))
    return best
