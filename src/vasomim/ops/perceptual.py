"""Perceptual hash of a frame: 256 bits that re-encoding, resizing and another grey scale hardly change."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Hash = npt.NDArray[np.uint64]
"""(4,) uint64, 256 bits; (N, 4) for many."""

SIDE = 64
FIRST = 2
"""Lower frequencies tell where the lung is bright and how the field is framed: alike in most angiograms."""
COUNT = 16


def perceptual_hash(image: npt.NDArray[Any]) -> Hash:
    """Signs of 16 x 16 low frequencies of the frame: (H, W) of any number type -> (4,) uint64.

    The frame is averaged to 64 x 64, so its size and aspect ratio do not count; the cosine transform's coefficients 2
    to 17 either way give a bit each. Gain and offset change nothing, an inverted frame has all bits flipped, a constant
    one has none set.
    """
    small = cv2.resize(np.asarray(image, np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    waves = cv2.dct(small - small.mean())[FIRST : FIRST + COUNT, FIRST : FIRST + COUNT]
    # Rounding noise of a flat frame must not look like a picture.
    bits = waves > 1e-6 * max(1.0, float(np.abs(small).max()))
    return np.packbits(bits.ravel()[_ORDER]).view(np.uint64)


def hash_distance(a: Hash, b: Hash) -> npt.NDArray[np.int64]:
    """Number of bits that differ, 0 to 256: (..., 4) and (..., 4) -> (...)."""
    return np.asarray(np.bitwise_count(a ^ b).sum(-1), np.int64)


def _diagonal_order() -> npt.NDArray[np.intp]:
    """Order in which every 16 bits in a row come from 16 different frequencies, both across and down.

    Neighbouring frequencies are alike in many frames; mixed so, each part of the hash tells frames apart equally well.
    """
    down, across = np.divmod(np.arange(COUNT * COUNT), COUNT)
    return np.argsort((down + across) % COUNT, kind="stable")


_ORDER = _diagonal_order()
