"""Writing burned into frames: views, doses, rulers, as exports from hospital archives show them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from vasomim.types import FloatImage

Ink = npt.NDArray[np.uint8]
"""(S, S): 0 where the frame shows, else the grey level of the writing, 1 to 255."""

_SIGNS = "ABCDEFGHIKLMNOPRSTUVXYZabcdefghiklmnoprstuvxyz0123456789    .:-/()%"
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)


def draw_ink(size: int, probability: float, rng: np.random.Generator) -> Ink | None:
    """Some blocks of text, mostly near the upper and lower border, now and then a ruler: (S, S), or None.

    Args:
        size: S, the side of the frame to be written on.
        probability: of writing anything; 0 draws nothing from `rng`.
        rng: source of randomness.
    """
    if probability == 0 or rng.random() >= probability:
        return None
    strokes = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 4)):
        _write_block(strokes, rng)
    if rng.random() < 0.3:
        _draw_ruler(strokes, rng)
    level = int(rng.choice([255, int(rng.integers(160, 255)), 1], p=[0.75, 0.15, 0.1]))
    return np.where(strokes > 127, np.uint8(level), np.uint8(0))


def burn_in(image: FloatImage, ink: Ink | None) -> FloatImage:
    """The frame (S, S) in [0, 1] with writing on it."""
    return image if ink is None else np.where(ink > 0, ink / np.float32(255), image)


def burn_in_batch(images: Tensor, ink: Tensor) -> Tensor:
    """`burn_in` for (B, 1, S, S) in [0, 1] and ink (B, S, S) uint8 on the same device."""
    written = ink.unsqueeze(1)
    return written.float().div(255).where(written > 0, images)


def _write_block(strokes: Ink, rng: np.random.Generator) -> None:
    """One to four lines of random signs, 2 to 5 % of the side high."""
    size = len(strokes)
    height = size * rng.uniform(0.02, 0.05)
    font, thickness = int(rng.choice(_FONTS)), 1 if height < 12 else int(rng.integers(1, 3))
    scale = cv2.getFontScaleFromHeight(font, max(1, round(height)), thickness)
    lines = int(rng.integers(1, 5))
    room = size - 1.6 * height * lines
    place = rng.choice([rng.uniform(0, 0.1), rng.uniform(0.9, 1), rng.uniform(0, 1)], p=[0.45, 0.45, 0.1])
    left = round(size * rng.choice([rng.uniform(0, 0.06), rng.uniform(0, 0.9)]))
    for line in range(lines):
        text = "".join(rng.choice(list(_SIGNS), rng.integers(2, 24)))
        base = round(place * room + 1.6 * height * line + height)
        cv2.putText(strokes, text, (left, base), font, scale, 255, thickness)


def _draw_ruler(strokes: Ink, rng: np.random.Generator) -> None:
    """An upright line near a side with ticks to the right of it."""
    size = len(strokes)
    x = round(size * rng.choice([rng.uniform(0, 0.1), rng.uniform(0.88, 0.97)]))
    top, bottom = sorted(rng.integers(0, size, 2).tolist())
    cv2.line(strokes, (x, top), (x, bottom), 255)
    for y in range(top, bottom + 1, max(3, round(size * rng.uniform(0.01, 0.06)))):
        cv2.line(strokes, (x, y), (x + max(2, size // 80), y), 255)
