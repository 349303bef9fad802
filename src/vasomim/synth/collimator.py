"""Collimator, circular fields of view and wedge filters."""

from __future__ import annotations

import numpy as np

from vasomim.synth.scene import REFERENCE_SIZE, Field
from vasomim.synth.values import as_float
from vasomim.types import BoolImage, FloatImage


def _axis(size: int) -> FloatImage:
    """Pixel centres from -0.5 at the left or upper edge of the frame to 0.5 at the other."""
    return as_float((np.arange(size) + 0.5) / size - 0.5)


def distance_inside(field: Field, size: int) -> FloatImage:
    """(H, W) pixels from the collimator's edge, positive inside; large everywhere for a full field."""
    x, y = _axis(size)[None, :], _axis(size)[:, None]
    left, top, right, bottom = field.margins
    if field.shape == "circle":
        radius = 0.5 - min(field.margins)
        return as_float((radius - np.hypot(x, y)) * size)
    if field.shape == "rectangle":
        inside = np.minimum(np.minimum(x + 0.5 - left, 0.5 - right - x), np.minimum(y + 0.5 - top, 0.5 - bottom - y))
        return as_float(inside * size)
    return np.full((size, size), float(size), np.float32)


def _open_share(field: Field, inside: FloatImage, size: int) -> FloatImage:
    """From 0 behind the collimator to 1 inside, smooth over its edge."""
    edge = max(field.edge_px * size / REFERENCE_SIZE, 0.5)
    share = np.clip(inside / (2 * edge) + 0.5, 0, 1)
    return as_float(share * share * (3 - 2 * share))


def opening(field: Field, size: int) -> tuple[FloatImage, BoolImage]:
    """Transmission of the collimator (H, W) in [leak, 1], and where it is open (transmission over a half)."""
    inside = distance_inside(field, size)
    share = _open_share(field, inside, size)
    return as_float(field.leak + (1 - field.leak) * share), inside > 0


def blanking(field: Field, size: int) -> FloatImage:
    """(H, W) factor by which machines with a round field blank what lies outside, scatter included."""
    return _open_share(field, distance_inside(field, size), size)


def wedge(field: Field, size: int) -> FloatImage:
    """(H, W) attenuation of a half-transparent filter with a straight, soft edge; natural-log units."""
    angle = np.deg2rad(field.wedge_angle)
    x, y = _axis(size)[None, :], _axis(size)[:, None]
    beyond = x * np.cos(angle) + y * np.sin(angle) - field.wedge_position
    return as_float(field.wedge * np.clip(0.5 + beyond / 0.02, 0, 1))
