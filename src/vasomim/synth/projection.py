"""X-ray projection of tubes, and their rasterising into maps of contrast thickness.

Pixel (row y, column x) has its centre at (x, y); u runs to the right, v down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vasomim.synth.scene import View
from vasomim.types import FloatImage

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_THINNEST = 0.75
"""Radius in pixels below which a tube is drawn wider and correspondingly paler, as a pixel averages over its area."""
_FLATTEST = 0.5
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
    """A camera whose frame is centred on the projected points `target` (N, 3) and filled by them as the view asks."""
    right, down, beam = _turn(view)
    camera = Camera(right, down, beam, np.zeros(2), view.source_distance, 1.0, size)
    flat, _ = camera.plane(target)
    low, high = np.percentile(flat, (3, 97), axis=0)
    field = float(np.clip((high - low).max() / view.fill, *view.fields))
    return replace(camera, centre=0.5 * (low + high) - field * np.array(view.offset), millimetres=field / size)


@dataclass(frozen=True, slots=True)
class Tubes:
    """Projected vessels or catheters, one after the other in the same arrays: polylines with radius and contrast."""

    points: Floats
    """(N, 2) pixels."""
    radii: Floats
    """(N,) pixels."""
    gain: Floats
    """(N,) millimetres of undiluted contrast a pixel of depth: pixel size x concentration / sine to the beam."""
    bounds: Ints
    """(K + 1,): tube k has the samples from bounds[k] up to bounds[k + 1], at least two."""

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def resampled(self, step: float | None = None) -> Tubes:
        """The same tubes with samples at most `step` pixels apart; by default as close as the radius asks for."""
        length = np.hypot(*np.diff(self.points, axis=0).T)
        if step is None:
            wanted = np.clip(0.35 * self.radii, 0.5, 2.0)
            length /= 0.5 * (wanted[1:] + wanted[:-1])
        else:
            length /= step
        length[self.bounds[1:-1] - 1] = 1.0  # a gap between tubes, in which nothing is sampled
        cost = np.concatenate([[0.0], np.cumsum(length)])
        first, last = cost[self.bounds[:-1]], cost[self.bounds[1:] - 1]
        counts = (last - first + 1e-6).astype(np.int64) + 2  # the same number wherever the tube stands in the row
        bounds = np.concatenate([[0], np.cumsum(counts)])
        within = np.arange(bounds[-1]) - np.repeat(bounds[:-1], counts)
        at = np.repeat(first, counts) + within * np.repeat((last - first) / (counts - 1), counts)
        rows = (*self.points.T, self.radii, self.gain)
        x, y, radii, gain = (np.interp(at, cost, row) for row in rows)
        return Tubes(np.stack([x, y], 1), radii, gain, bounds)

    def chosen(self, samples: npt.NDArray[np.bool_]) -> Tubes:
        """The chosen samples; every tube must keep at least two of them."""
        kept = np.concatenate([[0], np.cumsum(samples)])
        return Tubes(self.points[samples], self.radii[samples], self.gain[samples], kept[self.bounds])

    def among(self, numbers: Sequence[int]) -> Tubes:
        """The tubes of these numbers, in rising order."""
        wanted = np.zeros(len(self), bool)
        wanted[list(numbers)] = True
        samples = np.repeat(wanted, np.diff(self.bounds))
        counts = np.diff(self.bounds)[wanted]
        return Tubes(
            self.points[samples], self.radii[samples], self.gain[samples], np.concatenate([[0], np.cumsum(counts)])
        )


def bounds_of(lines: Sequence[Floats]) -> Ints:
    """Where each of several lines starts and ends once they are joined: (K + 1,)."""
    return np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(np.int64)


def project_tubes(camera: Camera, points: Floats, radii: Floats, concentration: Floats, bounds: Ints) -> Tubes:
    """Projects joined tubes: points (N, 3) mm, radii (N,) mm, concentration (N,) in [0, 1], bounds."""
    flat, scale = camera.pixels(points)
    steps = np.diff(points, axis=0, append=points[-1:])
    steps[bounds[1:] - 1] = steps[bounds[1:] - 2]  # the last sample of a tube looks back
    along = (steps @ camera.beam) / (np.linalg.norm(steps, axis=1) + 1e-9)
    sine = np.sqrt(np.clip(1 - along**2, _FLATTEST**2, 1))
    return Tubes(flat, radii * scale, concentration / (scale * sine), bounds)


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


def _frames_of(tubes: Tubes, size: int) -> Ints:
    """The part of the frame that each tube can touch: (K, 4) x0, y0, width, height; empty where it passes by."""
    reach = np.maximum(tubes.radii, _THINNEST)[:, None] + 1
    starts = tubes.bounds[:-1]
    low = np.clip(np.floor(np.minimum.reduceat(tubes.points - reach, starts)), 0, size)
    high = np.clip(np.ceil(np.maximum.reduceat(tubes.points + reach, starts)) + 1, 0, size)
    return np.concatenate([low, np.maximum(high - low, 0)], 1).astype(np.int64)


def rasterise(tubes: Tubes, size: int) -> list[Layer]:
    """The thickness of contrast (mm) that the beam meets in each tube, one cropped layer a tube.

    A pixel at distance d from the axis meets 2 sqrt(r^2 - d^2) of the tube, divided by the sine between tube and beam.
    Within a tube the larger of overlapping pieces counts, so that bends are not doubled.
    """
    fine = tubes.resampled()
    frames = _frames_of(fine, size)
    bases = np.concatenate([[0], np.cumsum(frames[:, 2] * frames[:, 3])])
    buffer = np.zeros(int(bases[-1]), np.float32)
    _stamp(buffer, fine, frames, bases)
    return [
        Layer(y, x, buffer[bases[k] : bases[k + 1]].reshape(h, w)) for k, (x, y, w, h) in enumerate(frames.tolist())
    ]


def _stamp(buffer: FloatImage, tubes: Tubes, frames: Ints, bases: Ints) -> None:
    """Stamps the chord of every sample's disc into its tube's part of the buffer, discs of like size together."""
    counts = np.diff(tubes.bounds)
    radii = np.maximum(tubes.radii, _THINNEST)
    gain = 2 * tubes.gain * (tubes.radii / radii) ** 2
    x0, y0, width, height = np.repeat(frames, counts, axis=0).T
    base = np.repeat(bases[:-1], counts) - y0 * width - x0
    reach = np.ceil(radii + 0.5).astype(np.int64)
    for size in np.unique(reach[gain > 0]):
        chosen = np.flatnonzero((reach == size) & (gain > 0))
        span = np.arange(-size, size + 1)
        x, y = tubes.points[chosen].T
        column, row = np.rint(x).astype(np.int64)[:, None] + span, np.rint(y).astype(np.int64)[:, None] + span
        inside_x = (column >= x0[chosen, None]) & (column < (x0 + width)[chosen, None])
        inside_y = (row >= y0[chosen, None]) & (row < (y0 + height)[chosen, None])
        left_x = (radii[chosen] ** 2)[:, None] - (column - x[:, None]) ** 2
        chord2 = left_x[:, None, :] - ((row - y[:, None]) ** 2)[:, :, None]
        keep = (chord2 > 0) & inside_y[:, :, None] & inside_x[:, None, :]
        flat = (base[chosen, None] + row * width[chosen, None])[:, :, None] + column[:, None, :]
        values = np.sqrt(np.maximum(chord2, 0)) * gain[chosen, None, None]
        np.maximum.at(buffer, flat[keep], values[keep].astype(np.float32))
