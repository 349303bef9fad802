"""The shadow of a tree: contrast thickness without counting joints twice, and the exact annotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vasomim.synth.project import Camera, Layer, Tube, project_tube, rasterise
from vasomim.synth.scene import Bolus
from vasomim.synth.tree import Branch, Tree
from vasomim.types import BoolImage, Box, FloatImage


@dataclass(frozen=True, slots=True)
class Shadow:
    """What the beam sees of a tree."""

    thickness: FloatImage
    """(H, W) millimetres of undiluted contrast."""
    mask: BoolImage
    centerline: BoolImage
    radii: FloatImage
    """(H, W) pixels on the centreline, 0 elsewhere."""
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class _Vessel:
    """A whole vessel through all its bifurcations."""

    points: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    distance: npt.NDArray[np.float64]
    parent: int
    """Number of the vessel it leaves, -1 for the first."""
    joint: int
    """Samples from its start that lie inside the parent."""


def concentration(bolus: Bolus, distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Share of undiluted contrast, at `distance` mm from the ostium: a front, later clear blood behind it."""
    front = (bolus.speed * bolus.time - distance) / bolus.front
    tail = (bolus.speed * (bolus.time - bolus.duration) - distance) / (3 * bolus.front)
    return _rise(front) * (1 - _rise(tail))


def _rise(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """0 below -1, 1 above 1, smooth between."""
    t = np.clip(0.5 * (x + 1), 0, 1)
    return t * t * (3 - 2 * t)


def _vessels(tree: Tree) -> list[_Vessel]:
    pieces: dict[int, list[Branch]] = {}
    for branch in tree.branches:
        pieces.setdefault(branch.vessel, []).append(branch)
    found = []
    for number in range(len(pieces)):
        own = pieces[number]
        points = np.concatenate([own[0].points[:1], *(b.points[1:] for b in own)])
        radii = np.concatenate([own[0].radii[:1], *(b.radii[1:] for b in own)])
        distance = np.concatenate([own[0].distance[:1], *(b.distance[1:] for b in own)])
        parent, joint = -1, 0
        if own[0].parent >= 0:
            stem = tree.branches[own[0].parent]
            parent = stem.vessel
            joint = int(np.searchsorted(distance - distance[0], 1.5 * stem.radii[-1] + radii[0]))
        found.append(_Vessel(points, radii, distance, parent, min(max(joint, 2), len(points))))
    return found


def _sum(vessels: list[_Vessel], tubes: list[Tube], layers: list[Layer], size: int) -> FloatImage:
    """Adds the vessels' layers; where a side branch still lies inside its parent, the larger of both counts."""
    total = np.zeros((size, size), np.float32)
    sides = [k for k, vessel in enumerate(vessels) if vessel.parent >= 0]
    starts = [
        Tube(tubes[k].points[:n], tubes[k].radii[:n], tubes[k].gain[:n]) for k in sides for n in [vessels[k].joint]
    ]
    for layer in layers:
        total[layer.window()] += layer.values
    for k, start in zip(sides, rasterise(starts, size), strict=True):
        total[start.window()] -= np.minimum(start.values, layers[vessels[k].parent].cut(start))
    return np.maximum(total, 0)


def _lines(tubes: list[Tube], seen: list[npt.NDArray[np.bool_]], size: int) -> tuple[BoolImage, FloatImage]:
    """Centrelines and the projected radius on them, of the parts that hold enough contrast."""
    centerline, radii = np.zeros((size, size), bool), np.zeros((size, size), np.float32)
    for tube, visible in zip(tubes, seen, strict=True):
        fine = Tube(tube.points, tube.radii, visible.astype(np.float64)).resampled(0.7)
        x, y = np.rint(fine.points).astype(np.int64).T
        keep = (fine.gain > 0.5) & (x >= 0) & (y >= 0) & (x < size) & (y < size)
        centerline[y[keep], x[keep]] = True
        np.maximum.at(radii, (y[keep], x[keep]), fine.radii[keep].astype(np.float32))
    return centerline, radii


def _boxes(tree: Tree, camera: Camera, mask: BoolImage) -> tuple[Box, ...]:
    """Boxes around the stenoses, clipped to the frame; those of which nothing is seen are left out."""
    found = []
    size = camera.size
    for stenosis in tree.stenoses:
        branch = tree.branches[stenosis.branch]
        part = slice(stenosis.first, stenosis.last + 1)
        flat, scale = camera.pixels(branch.points[part])
        reach = (branch.plain_radii[part] * scale)[:, None] + 2
        x0, y0 = np.clip(np.floor((flat - reach).min(0)), 0, size).astype(int)
        x1, y1 = np.clip(np.ceil((flat + reach).max(0)) + 1, 0, size).astype(int)
        tightest = np.rint(flat[int(np.argmin(branch.radii[part] / branch.plain_radii[part]))]).astype(int)
        around = mask[max(tightest[1] - 3, 0) : tightest[1] + 4, max(tightest[0] - 3, 0) : tightest[0] + 4]
        if x0 <= tightest[0] < x1 and y0 <= tightest[1] < y1 and around.any():
            found.append(Box(float(x0), float(y0), float(x1), float(y1)))
    return tuple(found)


def cast(tree: Tree, camera: Camera, bolus: Bolus, threshold: float, widen: float, opening: BoolImage) -> Shadow:
    """The shadow of a moved tree.

    Args:
        tree: in patient axes.
        camera: with the frame's size.
        bolus: where the contrast has come to.
        threshold: millimetres of contrast in one vessel from which a pixel is vessel.
        widen: factor on all radii (small frames would lose their vessels).
        opening: (H, W) True where the collimator is open.
    """
    vessels = _vessels(tree)
    tubes = [project_tube(camera, v.points, v.radii * widen, concentration(bolus, v.distance)) for v in vessels]
    layers = rasterise(tubes, camera.size)
    mask = np.zeros_like(opening)
    for layer in layers:
        mask[layer.window()] |= layer.values > threshold
    mask &= opening
    # On the axis a vessel is 2 r thick; it is followed while that exceeds the threshold.
    seen = [2 * tube.radii * tube.gain > threshold for tube in tubes]
    centerline, radii = _lines(tubes, seen, camera.size)
    centerline &= mask
    thickness = _sum(vessels, tubes, layers, camera.size)
    return Shadow(thickness, mask, centerline, radii * centerline, _boxes(tree, camera, mask))
