"""X-ray projection of tubes, and their rasterising into maps of contrast thickness.

Pixel (row y, column x) has its centre at (x, y); u runs to the right, v down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vasomim.synth.scene import View
from vasomim.types import FloatImage

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_THINNEST = 0.75
"""Radius in pixels below which a tube is drawn wider and correspondingly paler, as a pixel averages over its area."""
_FLATTEST = 0.3
"""Smallest sine between a vessel and the beam that thickens its shadow; steeper pieces overlap themselves anyway."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A view with its frame: where in the frame a point of the patient is seen."""

    right: Floats
    down: Floats
    beam: Floats
    """Unit vectors (3,) of image right, image down and from tube to detector, patient axes."""
    centre: Floats
    """(2,) mm in the plane of the heart that fall on the middle of the frame."""
    source_distance: float
    millimetres: float
    """Size of a pixel in the plane of the heart."""
    size: int

    def plane(self, points: Floats) -> tuple[Floats, Floats]:
        """Perspective projection into the plane of the heart: (..., 3) mm -> (..., 2) mm and magnification (...)."""
        scale = self.source_distance / (self.source_distance + points @ self.beam)
        return np.stack([points @ self.right, points @ self.down], -1) * scale[..., None], scale

    def pixels(self, points: Floats) -> tuple[Floats, Floats]:
        """Projection into the frame: (..., 3) mm -> (..., 2) pixels (x, y) and pixels a millimetre (...)."""
        flat, scale = self.plane(points)
        return (flat - self.centre) / self.millimetres + (self.size - 1) / 2, scale / self.millimetres


def _turn(view: View) -> tuple[Floats, Floats, Floats]:
    lao, cranial, roll = np.deg2rad((view.lao, view.cranial, view.roll))
    level = np.array((np.sin(lao), -np.cos(lao), 0.0))
    right = np.array((np.cos(lao), np.sin(lao), 0.0))
    beam = np.cos(cranial) * level + np.sin(cranial) * np.array((0.0, 0.0, 1.0))
    down = np.sin(cranial) * level - np.cos(cranial) * np.array((0.0, 0.0, 1.0))
    return (
        np.cos(roll) * right + np.sin(roll) * down,
        np.cos(roll) * down - np.sin(roll) * right,
        beam,
    )


def set_up(view: View, size: int, target: Floats) -> Camera:
    """A camera whose frame is centred on the projected points `target` (N, 3), moved by the view's offset."""
    right, down, beam = _turn(view)
    camera = Camera(right, down, beam, np.zeros(2), view.source_distance, view.field / size, size)
    flat, _ = camera.plane(target)
    centre = 0.5 * (np.percentile(flat, 3, axis=0) + np.percentile(flat, 97, axis=0)) - np.array(view.offset)
    return Camera(right, down, beam, centre, view.source_distance, view.field / size, size)


@dataclass(frozen=True, slots=True)
class Tube:
    """A projected vessel or catheter: a polyline with radius and contrast."""

    points: Floats
    """(N, 2) pixels."""
    radii: Floats
    """(N,) pixels."""
    gain: Floats
    """(N,) millimetres of undiluted contrast a pixel of depth: pixel size x concentration / sine to the beam."""

    def resampled(self, step: float | None = None) -> Tube:
        """The same tube with samples at most `step` pixels apart; by default as close as its radius asks for."""
        length = np.hypot(*np.diff(self.points, axis=0).T)
        if step is None:
            wanted = np.clip(0.35 * self.radii, 0.5, 2.0)
            cost = np.concatenate([[0.0], np.cumsum(length / (0.5 * (wanted[1:] + wanted[:-1])))])
        else:
            cost = np.concatenate([[0.0], np.cumsum(length / step)])
        at = np.linspace(0, cost[-1], int(cost[-1]) + 2)
        rows = (*self.points.T, self.radii, self.gain)
        x, y, radii, gain = (np.interp(at, cost, row) for row in rows)
        return Tube(np.stack([x, y], 1), radii, gain)


def project_tube(camera: Camera, points: Floats, radii: Floats, concentration: Floats) -> Tube:
    """Projects a tube of points (N, 3) mm, radii (N,) mm and contrast concentration (N,) in [0, 1]."""
    flat, scale = camera.pixels(points)
    tangent = np.gradient(points, axis=0)
    along = (tangent @ camera.beam) / (np.linalg.norm(tangent, axis=1) + 1e-9)
    sine = np.sqrt(np.clip(1 - along**2, _FLATTEST**2, 1))
    return Tube(flat, radii * scale, concentration / (scale * sine))


@dataclass(frozen=True, slots=True)
class Layer:
    """A part of the frame: `values` belong at rows y.. and columns x.."""

    y: int
    x: int
    values: FloatImage

    def window(self) -> tuple[slice, slice]:
        """Where in the frame the values belong."""
        h, w = self.values.shape
        return slice(self.y, self.y + h), slice(self.x, self.x + w)

    def cut(self, other: Layer) -> FloatImage:
        """These values on the area of `other`, zero where they do not reach."""
        found = np.zeros_like(other.values)
        y0, x0 = max(self.y, other.y), max(self.x, other.x)
        y1 = min(self.y + self.values.shape[0], other.y + other.values.shape[0])
        x1 = min(self.x + self.values.shape[1], other.x + other.values.shape[1])
        if y0 < y1 and x0 < x1:
            part = self.values[y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]
            found[y0 - other.y : y1 - other.y, x0 - other.x : x1 - other.x] = part
        return found


def _frame_of(tube: Tube, size: int) -> tuple[int, int, int, int]:
    """The part of the frame (x0, y0, width, height) that a tube can touch; empty where it passes by."""
    reach = np.maximum(tube.radii, _THINNEST)[:, None] + 1
    low = np.clip(np.floor((tube.points - reach).min(0)), 0, size).astype(int)
    high = np.clip(np.ceil((tube.points + reach).max(0)) + 1, 0, size).astype(int)
    width, height = np.maximum(high - low, 0)
    return int(low[0]), int(low[1]), int(width), int(height)


def rasterise(tubes: Sequence[Tube], size: int) -> list[Layer]:
    """The thickness of contrast (mm) that the beam meets in each tube, one cropped layer a tube.

    A pixel at distance d from the axis meets 2 sqrt(r^2 - d^2) of the tube, divided by the sine between tube and beam.
    Within a tube the larger of overlapping pieces counts, so that bends are not doubled.
    """
    fine = [tube.resampled() for tube in tubes]
    frames = [_frame_of(tube, size) for tube in fine]
    areas = [w * h for _, _, w, h in frames]
    bases = np.concatenate([[0], np.cumsum(areas)]).astype(np.int64)
    buffer = np.zeros(int(bases[-1]), np.float32)
    if fine:
        _stamp(buffer, fine, frames, bases)
    return [Layer(y, x, buffer[bases[k] : bases[k + 1]].reshape(h, w)) for k, (x, y, w, h) in enumerate(frames)]


def _stamp(buffer: FloatImage, tubes: list[Tube], frames: list[tuple[int, int, int, int]], bases: Ints) -> None:
    """Stamps the chord of every sample's disc into its tube's part of the buffer, discs of like size together."""
    counts = [len(tube.radii) for tube in tubes]
    points = np.concatenate([tube.points for tube in tubes])
    true = np.concatenate([tube.radii for tube in tubes])
    radii = np.maximum(true, _THINNEST)
    gain = 2 * np.concatenate([tube.gain for tube in tubes]) * (true / radii) ** 2
    x0, y0, width, height = (np.repeat(column, counts) for column in np.array(frames).T)
    base = np.repeat(bases[:-1], counts) - y0 * width - x0
    reach = np.ceil(radii + 0.5).astype(np.int64)
    for size in np.unique(reach):
        chosen = np.flatnonzero(reach == size)
        span = np.arange(-size, size + 1)
        column = np.rint(points[chosen, 0]).astype(np.int64)[:, None] + span
        row = np.rint(points[chosen, 1]).astype(np.int64)[:, None] + span
        dx2, dy2 = (column - points[chosen, :1]) ** 2, (row - points[chosen, 1:]) ** 2
        inside_x = (column >= x0[chosen, None]) & (column < (x0 + width)[chosen, None])
        inside_y = (row >= y0[chosen, None]) & (row < (y0 + height)[chosen, None])
        chord2 = (radii[chosen] ** 2)[:, None, None] - dy2[:, :, None] - dx2[:, None, :]
        keep = (chord2 > 0) & inside_y[:, :, None] & inside_x[:, None, :]
        flat = (base[chosen, None] + row * width[chosen, None])[:, :, None] + column[:, None, :]
        values = np.sqrt(np.maximum(chord2, 0)) * gain[chosen, None, None]
        np.maximum.at(buffer, flat[keep], values[keep].astype(np.float32))
