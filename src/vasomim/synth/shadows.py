"""The shadow of a tree: contrast thickness without counting joints twice, and the exact annotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vasomim.synth.projection import Camera, Layer, Tubes, bounds_of, project_tubes, rasterise
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
class _Vessels:
    """Whole vessels through all their bifurcations, joined one after the other."""

    points: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    distance: npt.NDArray[np.float64]
    bounds: npt.NDArray[np.int64]
    parents: tuple[int, ...]
    """Number of the vessel that each leaves, -1 for the first."""
    in_parent: npt.NDArray[np.bool_]
    """(N,) samples at the start of a side branch that lie inside its parent, at least two."""


def concentration(bolus: Bolus, distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Share of undiluted contrast, at `distance` mm from the ostium: a front, later clear blood behind it."""
    front = (bolus.speed * bolus.time - distance) / bolus.front
    tail = (bolus.speed * (bolus.time - bolus.duration) - distance) / (3 * bolus.front)
    return _rise(front) * (1 - _rise(tail))


def _rise(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """0 below -1, 1 above 1, smooth between."""
    t = np.clip(0.5 * (x + 1), 0, 1)
    return t * t * (3 - 2 * t)


def _vessels(tree: Tree) -> _Vessels:
    """Joins the pieces between bifurcations to vessels; the shared sample of two pieces counts once."""
    pieces: dict[int, list[Branch]] = {}
    for branch in tree.branches:
        pieces.setdefault(branch.vessel, []).append(branch)
    whole = [pieces[number] for number in range(len(pieces))]
    parts = [(b, int(k > 0)) for own in whole for k, b in enumerate(own)]
    bounds = bounds_of([np.empty(sum(len(b.radii) for b in own) - len(own) + 1) for own in whole])
    stems = [tree.branches[own[0].parent] if own[0].parent >= 0 else None for own in whole]
    distance = np.concatenate([b.distance[skip:] for b, skip in parts])
    starts = distance[bounds[:-1]]
    reach = np.array([1.5 * s.radii[-1] + own[0].radii[0] if s else -1.0 for s, own in zip(stems, whole, strict=True)])
    in_parent = distance - np.repeat(starts, np.diff(bounds)) <= np.repeat(reach, np.diff(bounds))
    for first in bounds[:-1][reach > 0]:
        in_parent[first : first + 2] = True
    return _Vessels(
        points=np.concatenate([b.points[skip:] for b, skip in parts]),
        radii=np.concatenate([b.radii[skip:] for b, skip in parts]),
        distance=distance,
        bounds=bounds,
        parents=tuple(s.vessel if s else -1 for s in stems),
        in_parent=in_parent,
    )


def _sum(vessels: _Vessels, tubes: Tubes, layers: list[Layer], size: int) -> FloatImage:
    """Adds the vessels' layers; where a side branch still lies inside its parent, the larger of both counts."""
    total = np.zeros((size, size), np.float32)
    for layer in layers:
        total[layer.window()] += layer.values
    sides = [k for k, parent in enumerate(vessels.parents) if parent >= 0]
    samples = vessels.in_parent.copy()
    for k, parent in enumerate(vessels.parents):
        samples[vessels.bounds[k] : vessels.bounds[k + 1]] |= parent < 0
    for k, start in zip(sides, rasterise(tubes.chosen(samples).among(sides), size) if sides else [], strict=True):
        total[start.window()] -= np.minimum(start.values, layers[vessels.parents[k]].cut(start))
    return np.maximum(total, 0)


def _lines(tubes: Tubes, threshold: float, size: int) -> tuple[BoolImage, FloatImage]:
    """Centrelines and the projected radius on them, of the parts that hold enough contrast.

    On its axis a vessel is 2 r thick; it is followed while that exceeds the threshold.
    """
    centerline, radii = np.zeros((size, size), bool), np.zeros((size, size), np.float32)
    fine = tubes.resampled(0.7)
    x, y = np.rint(fine.points).astype(np.int64).T
    keep = (2 * fine.radii * fine.gain > threshold) & (x >= 0) & (y >= 0) & (x < size) & (y < size)
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
    filling = concentration(bolus, vessels.distance)
    tubes = project_tubes(camera, vessels.points, vessels.radii * widen, filling, vessels.bounds)
    layers = rasterise(tubes, camera.size)
    mask = np.zeros_like(opening)
    for layer in layers:
        mask[layer.window()] |= layer.values > threshold
    mask &= opening
    centerline, radii = _lines(tubes, threshold, camera.size)
    centerline &= mask
    thickness = _sum(vessels, tubes, layers, camera.size)
    return Shadow(thickness, mask, centerline, radii * centerline, _boxes(tree, camera, mask))
