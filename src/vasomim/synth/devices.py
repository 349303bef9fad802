"""Catheter, guide wire and electrode: dark lines that are not vessels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from vasomim.synth.projection import Camera, bounds_of, project_tubes, rasterise
from vasomim.synth.scene import Devices
from vasomim.synth.tree import Tree
from vasomim.types import FloatImage

Floats = npt.NDArray[np.float64]
_STEP = 1.5
"""Millimetres between the points of a course."""


def _smooth_line(stops: list[Floats]) -> Floats:
    knots = np.array(stops)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    line: Floats = CubicSpline(along, knots)(np.linspace(0, along[-1], int(along[-1] / _STEP) + 2))
    return line


def catheter_course(ostium: Floats, inwards: Floats, rng: np.random.Generator) -> Floats:
    """(N, 3) mm from the tip in the ostium through the aortic root up the ascending aorta.

    The tip points into the artery; behind it the catheter bends up and leans on the opposite wall of the aorta.
    """
    back = ostium - inwards * rng.uniform(7, 11) + np.array((0, 0, rng.uniform(-2, 4)))
    wall = ostium - inwards * np.array((1, 1, 0.2)) * rng.uniform(17, 26) + np.array((0, 0, rng.uniform(14, 26)))
    up = wall + np.array((rng.uniform(-4, 6), rng.uniform(-4, 6), rng.uniform(32, 45)))
    arch = up + np.array((rng.uniform(2, 16), rng.uniform(4, 18), rng.uniform(45, 60)))
    return _smooth_line([ostium + 2.5 * inwards, ostium, back, wall, up, arch])


def _lines(devices: Devices, tree: Tree) -> list[tuple[Floats, float, float]]:
    """Devices as lines (N, 3) mm, with radius in mm and absorption a millimetre."""
    rng = np.random.default_rng(devices.seed)
    root = tree.branches[0]
    ostium = root.points[0]
    inwards = root.points[min(4, len(root.points) - 1)] - ostium
    inwards = inwards / (np.linalg.norm(inwards) + 1e-9)
    lines: list[tuple[Floats, float, float]] = []
    course = catheter_course(ostium, inwards, rng)
    if devices.catheter_radius > 0:
        lines.append((course, devices.catheter_radius, devices.catheter_absorption))
    if devices.femoral and devices.catheter_radius > 0:
        x, y = rng.uniform(-6, 8), rng.uniform(45, 58)
        stops = [np.array((x + rng.normal(0, 3), y + rng.normal(0, 3), z)) for z in (130.0, 50.0, -40.0, -140.0)]
        lines.append((_smooth_line(stops), devices.catheter_radius, devices.catheter_absorption))
    if devices.wire:
        own = [b.points for b in tree.branches if b.vessel == 0]
        artery = np.concatenate(own)[: int(rng.uniform(0.6, 0.95) * sum(map(len, own)))]
        lines.append((artery, 0.18, 0.9))
    return lines


def _electrode(rng: np.random.Generator, camera: Camera) -> FloatImage:
    """A round electrode near an edge of the frame; (H, W), 1 in its rim, 0.6 in the middle, 0 elsewhere."""
    size = camera.size
    image = np.zeros((size, size), np.float32)
    a_mm = 1 / camera.millimetres
    angle = rng.uniform(0, 2 * np.pi)
    x, y = (size * (0.5 + 0.4 * np.array((np.cos(angle), np.sin(angle))))).astype(int)
    outer = max(round(5.5 * a_mm), 2)
    cv2.circle(image, (int(x), int(y)), outer, 1.0, -1, cv2.LINE_AA)
    cv2.circle(image, (int(x), int(y)), max(outer // 2, 1), 0.6, -1, cv2.LINE_AA)
    return image


def attenuation(devices: Devices, tree: Tree, camera: Camera, widen: float) -> FloatImage:
    """Attenuation (H, W) of all devices, natural-log units. The tree tells where the ostium has moved."""
    total = np.zeros((camera.size, camera.size), np.float32)
    lines = _lines(devices, tree)
    if lines:
        points, bounds = np.concatenate([line for line, _, _ in lines]), bounds_of([line for line, _, _ in lines])
        radii = np.concatenate([np.full(len(line), widen * radius) for line, radius, _ in lines])
        tubes = project_tubes(camera, points, radii, np.full(len(points), 1 / widen), bounds)
        for layer, (_, _, absorption) in zip(rasterise(tubes, camera.size), lines, strict=True):
            total[layer.window()] += absorption * layer.values
    if devices.electrode:
        total += 0.9 * _electrode(np.random.default_rng((devices.seed, 1)), camera)
    return total
