"""The grey scale of a run whose file names no window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vasomim.errors import DataError

NUM_FRAMES = 8
"""Frames, spread over the run from its first to its last, whose values are looked at."""
NUM_VALUES = 1 << 21
"""Values looked at in all; of more, every k-th is taken."""
PERCENTILES = (0.1, 99.9)
"""What becomes black and white: all but a few hundred pixels of a frame of 512, which are burnt-in text or noise."""


@dataclass(frozen=True, slots=True)
class Span:
    """A window given by its ends: what stands in where a file names none."""

    low: float
    high: float

    def __call__(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Values of any range -> [0, 1]; all 0 where the ends are one."""
        if not self.high > self.low:
            return np.zeros_like(values)
        return np.clip((values - self.low) / (self.high - self.low), 0, 1)


def measured_span(read: Callable[[int], npt.NDArray[Any]], num_frames: int) -> Span:
    """Percentiles over frames of the whole run: one grey scale for all its frames, so that a cine does not flicker.

    Args:
        read: gives the values of a frame; may give none.
        num_frames: of the run.

    Raises:
        DataError: every frame looked at is damaged.
    """
    chosen = sorted({*np.linspace(0, num_frames - 1, NUM_FRAMES).round().astype(int).tolist()})
    parts, damage = [], None
    for index in chosen:
        try:
            values = read(index).ravel()
        except DataError as error:
            damage = error
            continue
        parts.append(values[:: max(1, values.size * len(chosen) // NUM_VALUES)].copy())
    if not parts and damage is not None:
        raise damage
    found = np.concatenate(parts)
    low, high = np.percentile(found, PERCENTILES) if found.size else (0.0, 0.0)
    return Span(float(low), float(high))
