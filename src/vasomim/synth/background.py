"""What lies before and behind the vessels: thorax, lungs, heart, diaphragm, spine, ribs, soft-tissue texture.

Organs are ellipsoids in the patient, seen through the same camera as the vessels, so that spine and diaphragm lie where
they lie in a real view of that angulation. All is computed on a grid of at most `_GRID` pixels and enlarged; only fine
texture needs the full frame.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.synth.projection import Camera
from vasomim.synth.scene import Anatomy, Backdrop, Motion
from vasomim.synth.tree import HEART_BASIS, squeeze
from vasomim.synth.values import as_float
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
    return as_float(2 * np.sqrt(np.maximum(b * b - a * c, 0)) / a)


def _cloud(side: int, cells: tuple[int, int], rng: np.random.Generator, fall: float = 0.8) -> FloatImage:
    """A random field (side, side) of unit variance: octaves from `cells[0]` to `cells[1]` bumps across.

    Each octave is twice as fine as the one before and `fall` times as strong.
    """
    count, strength = cells[0], 1.0
    total: FloatImage = rng.standard_normal((count, count), dtype=np.float32)
    while 2 * count <= min(cells[1], side):
        count, strength = 2 * count, strength * fall
        finer = as_float(cv2.resize(total, (count, count), interpolation=cv2.INTER_CUBIC))
        total = finer + np.float32(strength) * rng.standard_normal((count, count), dtype=np.float32)
    total = as_float(cv2.resize(total, (side, side), interpolation=cv2.INTER_CUBIC))
    return as_float(total / (total.std() + np.float32(1e-6)))


def _markings(side: int, rng: np.random.Generator) -> FloatImage:
    """A web of short dark strands (side, side) of unit variance, as vessels of the lung overlap."""
    web = np.zeros((side, side), np.float32)
    for cells, strength in ((10, 1.0), (20, 0.8)):
        web += strength * np.exp(-((_cloud(side, (cells, 4 * cells), rng, 0.5) / 0.35) ** 2))
    web -= web.mean()
    return as_float(web / (web.std() + np.float32(1e-6)))


def _organs(
    anatomy: Anatomy, backdrop: Backdrop, motion: Motion, camera: Camera, grid: tuple[FloatImage, FloatImage]
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
    # Organs move while the frame is taken.
    soft = max(float(rng.uniform(0.25, 0.8)) * air.shape[0] / camera.size / camera.millimetres, 0.3)
    body = chord(0, 15, -20, 175, 125, 330)
    return body, as_float(cv2.GaussianBlur(air, (0, 0), soft))


class _Sketch:
    """Bones as polygons and lines in the patient, projected together and drawn on the coarse grid."""

    def __init__(self, camera: Camera, side: int) -> None:
        self.camera, self.side = camera, side
        self.millimetre = side / camera.size / camera.millimetres
        self.shapes: list[Floats] = []
        self.styles: list[tuple[str, float, float]] = []

    def add(self, kind: str, points: Floats, value: float, width: float = 0.0) -> None:
        """Remember a shape: `fill`, `line` or `loop` through points (N, 3) mm; width of lines in mm."""
        self.shapes.append(points)
        self.styles.append((kind, value, width))

    def sees(self, point: Floats, reach: float) -> bool:
        """Whether something within `reach` mm of a point (3,) can show in the frame."""
        (x, y), scale = self.camera.pixels(point)
        margin = reach * float(scale)
        return bool(-margin < x < self.camera.size + margin and -margin < y < self.camera.size + margin)

    def draw(self, blur: float) -> FloatImage:
        """All shapes in order (side, side); a later shape adds to earlier ones. Blur in mm."""
        image = np.zeros((self.side, self.side), np.float32)
        corners, starts = self._corners()
        pens = np.maximum(np.rint([width * self.millimetre for _, _, width in self.styles]), 1).astype(np.int32)
        lows = np.maximum(np.minimum.reduceat(corners, starts) // 16 - pens[:, None] - 1, 0)
        highs = np.minimum(np.maximum.reduceat(corners, starts) // 16 + pens[:, None] + 2, self.side)
        for k in np.flatnonzero((lows < highs).all(1)):
            (kind, value, _), pen, low, high = self.styles[k], int(pens[k]), lows[k], highs[k]
            shape = corners[starts[k] : starts[k] + len(self.shapes[k])] - 16 * low
            layer = np.zeros((high - low)[::-1], np.uint8)
            if kind == "fill":
                cv2.fillPoly(layer, [shape], 255, cv2.LINE_AA, 4)
            else:
                cv2.polylines(layer, [shape], kind == "loop", 255, pen, cv2.LINE_AA, 4)
            image[low[1] : high[1], low[0] : high[0]] += layer * np.float32(value / 255)
        return as_float(cv2.GaussianBlur(image, (0, 0), max(blur * self.millimetre, 0.5)))

    def _corners(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Projected points of all shapes in 1/16 pixels of the grid, as OpenCV draws them, and where each starts."""
        flat, _ = self.camera.pixels(np.concatenate(self.shapes))
        scaled = (flat + 0.5) * self.side / self.camera.size - 0.5
        corners = np.clip(np.rint(scaled * 16), -(2**19), 2**19).astype(np.int32)
        return corners, np.cumsum([0, *map(len, self.shapes[:-1])])


def _spine(backdrop: Backdrop, camera: Camera, side: int, rng: np.random.Generator) -> FloatImage:
    """Vertebral bodies with end plates, pedicles, spinous and transverse processes; (side, side), about 1 in a body."""
    sketch = _Sketch(camera, side)
    height, lean, first = rng.uniform(22, 27), rng.normal(0, 0.05), rng.uniform(0, 20)
    half = float(rng.uniform(14, 18))
    across, up = half * camera.right, -camera.down * (0.42 * height)
    ring = np.linspace(0, 2 * np.pi, 16)[:, None]
    pedicle = 4.2 * np.cos(ring) * camera.right + 6.0 * np.sin(ring) * camera.down
    body = np.array([across + up, 0.86 * across, across - up, -across - up, -0.86 * across, up - across])
    ends = np.array([(backdrop.spine_shift + lean * z, 68.0, z) for z in (-170.0, 170.0)])
    wide = 0.9 * across
    sketch.add("fill", np.array([ends[0] - wide, ends[0] + wide, ends[1] + wide, ends[1] - wide]), 0.35)
    levels = first + height * np.arange(-6, 7)
    middles = np.stack([backdrop.spine_shift + lean * levels, np.full(13, 68.0), levels], 1) + rng.normal(
        0, 0.7, (13, 3)
    )
    density, slant = rng.uniform(0.3, 0.45, 13), rng.uniform(-2, 6, (13, 2))
    for middle, bone, slants in zip(middles, density.tolist(), slant, strict=True):
        if not sketch.sees(middle, 60.0):
            continue
        sketch.add("fill", middle + body, bone)
        sketch.add("loop", middle + body, 0.3, 1.6)
        for rim in (body[[0, 5]], body[[2, 3]]):
            sketch.add("line", middle + rim, 0.35, 2.0)
        for offset, rise in zip((-12.0, 12.0), slants, strict=True):
            joint = middle + np.array((offset, 18.0, 4.0))
            sketch.add("loop", joint + pedicle, 0.4, 1.6)
            sketch.add("line", joint + np.array([(0, 4, 0), (1.9 * offset, 12, rise)]), 0.28, 7.0)
        sketch.add("line", middle + np.array([(0, 32, -4), (0, 55, -20)]), 0.4, 5.0)
    bones = sketch.draw(0.9)
    return bones * (1 + np.float32(0.14) * _cloud(side, (12, 96), rng))


def _ribs(backdrop: Backdrop, camera: Camera, side: int, rng: np.random.Generator) -> FloatImage:
    """Ribs as tilted loops round the chest, their edges denser; (side, side), about 1 on a rib."""
    sketch = _Sketch(camera, side)
    turn = np.linspace(0.12, 2.3, 24)
    first, height = rng.uniform(0, 25), np.array((0, 0, 9.0))
    for level in range(-4, 8):
        for flank in (-1.0, 1.0):
            x = backdrop.spine_shift * 0.6 + flank * 138 * np.sin(turn)
            z = first + level * 25.0 - 31 * (1 - np.cos(turn)) + rng.normal(0, 2)
            upper = np.stack([x, 15 + 105 * np.cos(turn), z], 1)
            sketch.add("fill", np.concatenate([upper, (upper - height)[::-1]]), 0.6)
            sketch.add("line", upper, 0.5, 1.4)
            sketch.add("line", upper - height, 0.8, 1.6)
    return sketch.draw(1.0)


def _grid(camera: Camera, side: int, rng: np.random.Generator) -> tuple[FloatImage, FloatImage]:
    """Millimetres right of and below the heart's middle (side, side), warped so that no organ is an exact ellipse."""
    line = (((np.arange(side) + 0.5) * camera.size / side - 0.5) - (camera.size - 1) / 2) * camera.millimetres
    warp = [np.float32(rng.uniform(2.0, 5.0)) * _cloud(side, (3, 12), rng, 0.3) for _ in range(2)]
    x = (line[None, :] + camera.centre[0]).astype(np.float32)
    y = (line[:, None] + camera.centre[1]).astype(np.float32)
    return x + warp[0], y + warp[1]


def attenuation(anatomy: Anatomy, backdrop: Backdrop, motion: Motion, camera: Camera) -> FloatImage:
    """Attenuation (H, W) of everything but contrast and devices, natural-log units, the same for the same arguments."""
    size = camera.size
    side = min(_GRID, size)
    draws = [np.random.default_rng((backdrop.seed, k)) for k in range(2, 7)]
    body, air = _organs(anatomy, backdrop, motion, camera, _grid(camera, side, draws[0]))
    spine, ribs = _spine(backdrop, camera, side, draws[1]), _ribs(backdrop, camera, side, draws[2])
    in_lung = np.clip(air / 90, 0, 1)
    lung = np.float32(0.85) * _cloud(side, (10, 160), draws[3], 0.72) + np.float32(0.55) * _markings(side, draws[3])
    tissue = _cloud(side, (8, 192), draws[4], 0.82)
    coarse = (
        backdrop.tissue * (body - 0.75 * air)
        + backdrop.spine * spine
        + backdrop.ribs * ribs * (0.4 + 0.6 * in_lung)
        + backdrop.lung_texture * lung * (0.2 + 0.8 * in_lung)
        + backdrop.tissue_texture * tissue
    )
    full = as_float(cv2.resize(as_float(coarse), (size, size), interpolation=cv2.INTER_CUBIC))
    return as_float(full - full.mean())
