"""Ridges that go on: second derivatives averaged along their own direction, which speckle does not survive."""

from __future__ import annotations

import numpy as np

from vasomim.types import FloatImage


def along_ridges(
    yy: FloatImage, xy: FloatImage, xx: FloatImage, half_length: int, steps: int, orientations: int = 8
) -> FloatImage:
    """Curvature across a dark line, averaged along the line, for the best orientation: (H, W) float32, >= 0.

    For each orientation the positive second derivative across it is averaged over 2 `steps` + 1 points spread evenly
    over +- `half_length` pixels along it; outside the image counts as 0. Steering (Freeman & Adelson, PAMI 1991) needs
    three images for all orientations; the average along makes an elongated filter out of an isotropic one.

    Args:
        yy, xy, xx: second derivatives, each (H, W).
        half_length: reach along the line in pixels, >= 1.
        steps: points on either side, >= 1.
        orientations: directions over half a turn.

    Raises:
        ValueError: if `half_length`, `steps` or `orientations` is below 1.
    """
    if min(half_length, steps, orientations) < 1:
        raise ValueError(f"need at least 1 of each, got {half_length=}, {steps=}, {orientations=}")
    height, width = yy.shape
    pad = half_length
    padded = np.zeros((height + 2 * pad, width + 2 * pad), np.float32)
    inner = padded[pad : pad + height, pad : pad + width]
    mean, difference = (yy + xx) * np.float32(0.5), (yy - xx) * np.float32(0.5)
    best = np.zeros((height, width), np.float32)
    total, part = np.empty_like(best), np.empty_like(best)
    for angle in np.arange(orientations) * (np.pi / orientations):
        # A line at `angle` to the rows runs along (sin, cos) in (y, x); across it lies (cos, -sin).
        np.multiply(difference, np.float32(np.cos(2 * angle)), out=total)
        total += mean
        np.multiply(xy, np.float32(np.sin(2 * angle)), out=part)
        total -= part
        np.maximum(total, 0, out=total)
        inner[...] = total
        for step in range(1, steps + 1):
            reach = half_length * step / steps
            dy, dx = round(reach * np.sin(angle)), round(reach * np.cos(angle))
            total += padded[pad + dy : pad + dy + height, pad + dx : pad + dx + width]
            total += padded[pad - dy : pad - dy + height, pad - dx : pad - dx + width]
        np.maximum(best, total, out=best)
    best /= np.float32(2 * steps + 1)
    return best
