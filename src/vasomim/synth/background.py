"""What lies before and behind the vessels: thorax, lungs, heart, diaphragm, spine, ribs, soft-tissue texture.

Organs are ellipsoids in the patient, seen through the same camera as the vessels, so that spine and diaphragm lie where
they lie in a real view of that angulation. All is computed on a grid of at most `_GRID` pixels and enlarged; only fine
texture needs the full frame.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.synth.project import Camera
from vasomim.synth.scene import Anatomy, Backdrop, Motion
from vasomim.synth.tree import HEART_BASIS, squeeze
from vasomim.types import FloatImage

Floats = npt.NDArray[np.float64]

_GRID = 256


def _chord(centre: Floats, axes: Floats, camera: Camera, grid: tuple[FloatImage, FloatImage]) -> FloatImage:
    """Thickness (mm) of an ellipsoid under each point of the image plane, by parallel beams.

    Args:
        centre: (3,) mm.
        axes: (3, 3), rows are the semi-axes as vectors in mm.
        camera: gives the directions.
        grid: mm right of and below the heart's middle, each (h, w).
    """
    inverse = np.linalg.inv(axes).T  # rows: dual axes; |inverse @ x| = 1 on the surface
    u, v, d = inverse @ camera.right, inverse @ camera.down, inverse @ camera.beam
    x = grid[0] - float(centre @ camera.right)
    y = grid[1] - float(centre @ camera.down)
    a = float(d @ d)
    b = x * float(u @ d) + y * float(v @ d)
    c = x * x * float(u @ u) + 2 * x * y * float(u @ v) + y * y * float(v @ v) - 1
    chord: FloatImage = (2 * np.sqrt(np.maximum(b * b - a * c, 0)) / a).astype(np.float32)
    return chord


def _waves(side: int, cells: int, rng: np.random.Generator) -> FloatImage:
    """A smooth random field (side, side) of unit variance with `cells` bumps across."""
    coarse = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    big = cv2.resize(coarse, (side + 3 * side // cells,) * 2, interpolation=cv2.INTER_CUBIC)
    start = int(1.5 * side / cells)
    field: FloatImage = big[start : start + side, start : start + side]
    return field / (field.std() + 1e-6)


def _cloud(side: int, finest: int, rng: np.random.Generator, fall: float = 0.75) -> FloatImage:
    """A sum of smooth fields, each twice as fine as the one before and `fall` times as strong."""
    total = np.zeros((side, side), np.float32)
    cells, strength = 3, 1.0
    while cells <= min(finest, side // 2):
        total += strength * _waves(side, cells, rng)
        cells, strength = cells * 2, strength * fall
    return total / (total.std() + 1e-6)


def _threads(side: int, cells: int, rng: np.random.Generator) -> FloatImage:
    """Random winding lines (side, side) in [0, 1], like small vessels and markings of the lung."""
    first, second = _waves(side, cells, rng), _waves(side, 2 * cells, rng)
    lines: FloatImage = np.exp(-(((first + 0.35 * second) / 0.16) ** 2)).astype(np.float32)
    return lines * np.clip(0.5 + _waves(side, 4, rng), 0, 1)


def _organs(
    anatomy: Anatomy, backdrop: Backdrop, motion: Motion, camera: Camera, grid: tuple[FloatImage, FloatImage], /
) -> tuple[FloatImage, FloatImage]:
    """Thickness of soft tissue and of air in the lungs (mm), each (h, w)."""

    def chord(x: float, y: float, z: float, a: float, b: float, c: float) -> FloatImage:
        return _chord(np.array((x, y, z)), np.diag((a, b, c)), camera, grid)

    squeezed = 1 - 0.05 * motion.contraction * squeeze(motion.phase)
    axes = HEART_BASIS * (np.array((anatomy.heart_length, anatomy.heart_width, anatomy.heart_width)) * 1.16)[:, None]
    heart = _chord(np.array((-4.0, 4.0, -4.0)), axes * squeezed, camera, grid)
    dome = backdrop.diaphragm - motion.breath
    rng = np.random.default_rng((backdrop.seed, 1))
    tilt, lift = rng.uniform(-12, 12), rng.uniform(-10, 10)
    domes = chord(-75 + tilt, 0, dome - 95 + lift, 95, 95, 100) + chord(75 + tilt, 10, dome - 100, 92, 90, 92)
    lungs = chord(-85, 15, 5, 66, 105, 135) + chord(88, 20, 5, 64, 105, 135)
    root = chord(-18, 5, 62, 26, 26, 60)  # great vessels
    air = np.maximum(lungs - heart - domes - root, 0)
    body = chord(0, 15, -20, 175, 125, 330)
    return body, air.astype(np.float32)


def _pixels(camera: Camera, points: Floats, side: int) -> npt.NDArray[np.int32]:
    """Projected points in 1/16 pixels of the grid, as OpenCV draws them."""
    flat, _ = camera.pixels(points)
    scaled = (flat + 0.5) * side / camera.size - 0.5
    return np.clip(np.rint(scaled * 16), -(2**20), 2**20).astype(np.int32)


def _draw(image: FloatImage, shape: npt.NDArray[np.int32], value: float, width: int, closed: bool = False) -> None:
    cv2.polylines(image, [shape], closed, value, max(width, 1), cv2.LINE_AA, 4)


def _spine(backdrop: Backdrop, camera: Camera, side: int, rng: np.random.Generator) -> FloatImage:
    """Vertebral bodies with end plates, pedicles, spinous and transverse processes; (side, side), about 1 in a body."""
    bone, edges = np.zeros((side, side), np.float32), np.zeros((side, side), np.float32)
    a_mm = side / camera.size / camera.millimetres
    height, lean, first = rng.uniform(22, 27), rng.normal(0, 0.05), rng.uniform(0, 20)
    for level in range(-6, 7):
        z = first + level * height
        middle = np.array((backdrop.spine_shift + lean * z, 68.0, z))
        middle[:2] += rng.normal(0, 0.7, 2)
        across, up = 19.0 * camera.right, -camera.down * (0.41 * height)
        waist = 0.88
        body = [across + up, waist * across, across - up, -across - up, -waist * across, up - across]
        outline = _pixels(camera, middle + np.array(body), side)
        cv2.fillPoly(bone, [outline], float(rng.uniform(0.85, 1.0)), cv2.LINE_AA, 4)
        _draw(edges, outline, 1.0, round(1.2 * a_mm), closed=True)
        ring = np.linspace(0, 2 * np.pi, 16)[:, None]
        for offset in (-12.0, 12.0):
            pedicle = middle + np.array((offset, 18.0, 4.0))
            loop = 4.2 * np.cos(ring) * camera.right + 6.0 * np.sin(ring) * camera.down
            _draw(edges, _pixels(camera, pedicle + loop, side), 0.9, round(1.3 * a_mm), closed=True)
            process = pedicle + np.array([(0, 4, 0), (1.9 * offset, 12, rng.uniform(-2, 6))])
            _draw(bone, _pixels(camera, process, side), 0.45, round(7 * a_mm))
        spur = middle + np.array([(0, 32, -4), (0, 55, -20)])
        _draw(bone, _pixels(camera, spur, side), 0.8, round(5 * a_mm))
    mottled = bone * (1 + 0.22 * _cloud(side, 64, rng)) + 0.35 * edges
    return cv2.GaussianBlur(mottled, (0, 0), max(1.1 * a_mm, 0.5))


def _ribs(backdrop: Backdrop, camera: Camera, side: int, rng: np.random.Generator) -> FloatImage:
    """Ribs as tilted loops round the chest, their edges denser; (side, side), about 1 on a rib."""
    broad, rims = np.zeros((side, side), np.float32), np.zeros((side, side), np.float32)
    a_mm = side / camera.size / camera.millimetres
    turn = np.linspace(0.12, 2.3, 40)
    first = rng.uniform(0, 25)
    for level in range(-4, 8):
        top = first + level * 25.0
        for flank in (-1.0, 1.0):
            x = backdrop.spine_shift * 0.6 + flank * 138 * np.sin(turn)
            y = 15 + 105 * np.cos(turn)
            z = top - 62 * (1 - np.cos(turn)) / 2 + rng.normal(0, 2)
            line = np.stack([x, y, z], 1)
            lower = line - np.array((0, 0, 9.0))
            band = np.concatenate([_pixels(camera, line, side), _pixels(camera, lower, side)[::-1]])
            layer = np.zeros((side, side), np.float32)
            cv2.fillPoly(layer, [band], 1.0, cv2.LINE_AA, 4)
            broad += layer
            _draw(rims, _pixels(camera, line, side), 0.7, round(1.4 * a_mm))
            _draw(rims, _pixels(camera, lower, side), 1.0, round(1.4 * a_mm))
    return cv2.GaussianBlur(0.6 * broad + rims, (0, 0), max(1.3 * a_mm, 0.5))


def attenuation(anatomy: Anatomy, backdrop: Backdrop, motion: Motion, camera: Camera) -> FloatImage:
    """Attenuation (H, W) of everything but contrast and devices, natural-log units, the same for the same arguments."""
    size = camera.size
    side = min(_GRID, size)
    line = (((np.arange(side) + 0.5) * size / side - 0.5) - (size - 1) / 2) * camera.millimetres
    grid = (
        (line[None, :] + camera.centre[0]).astype(np.float32),
        (line[:, None] + camera.centre[1]).astype(np.float32),
    )
    body, air = _organs(anatomy, backdrop, motion, camera, grid)
    textures = [np.random.default_rng((backdrop.seed, k)) for k in range(2, 6)]
    spine, ribs = _spine(backdrop, camera, side, textures[0]), _ribs(backdrop, camera, side, textures[1])
    in_lung = np.clip(air / 90, 0, 1)
    lung = _cloud(side, 64, textures[2], 0.9) + 1.2 * _threads(side, 9, textures[2])
    tissue = _cloud(side, 32, textures[3], 0.6)
    coarse = (
        backdrop.tissue * (body - 0.75 * air)
        + backdrop.spine * spine
        + backdrop.ribs * ribs * (0.4 + 0.6 * in_lung)
        + backdrop.lung_texture * lung * (0.25 + 0.75 * in_lung)
        + backdrop.tissue_texture * tissue
    ).astype(np.float32)
    full: FloatImage = coarse if side == size else cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return full - np.float32(full.mean())
