"""What a network sees of frames, for taking ranges and for comparing networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vasomim.inference.backends import Images
from vasomim.inference.whole import as_fitted
from vasomim.ops.windows import pad_to_window, window_grid
from vasomim.synth.angiogram import generate
from vasomim.types import FloatImage


def as_seen(frame: FloatImage, inference: Mapping[str, Any]) -> Images:
    """A frame (H, W) as the network sees it at prediction, whole or the window in the middle: (1, 1, h, w)."""
    size = int(inference.get("size", 224))
    if inference.get("mode", "resize") == "resize":
        return np.ascontiguousarray(as_fitted(frame, size)[None, None])
    padded = pad_to_window(frame, size)[0]
    height, width = padded.shape
    corners = window_grid(height, width, size, float(inference.get("overlap", 0.25)))
    row, column = corners[len(corners) // 2]
    return np.ascontiguousarray(padded[None, None, row : row + size, column : column + size], dtype=np.float32)


def synthetic_frames(count: int) -> Iterator[FloatImage]:
    """Synthetic angiograms of a usual size, (512, 512) in [0, 1], always the same ones."""
    for index in range(count):
        yield np.asarray(generate(seed=0, index=index).image / np.float32(255), np.float32)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of 0 .. count - 1, evenly spread."""
    return [int(k) for k in np.unique(np.linspace(0, count - 1, min(count, most)).round())] if count else []
