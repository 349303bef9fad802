"""Smoothing over the neighbouring frames of a run, motion followed, in one pass and constant memory."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vasomim.ops.hysteresis import Cut
from vasomim.ops.temporal import bring_into_place, window_of
from vasomim.types import FloatImage, Prediction


@dataclass(frozen=True, slots=True)
class RunFrame:
    """A frame of a run and what was found in it."""

    index: int
    """From 0."""
    image: FloatImage
    prediction: Prediction

    @property
    def is_blank(self) -> bool:
        """Whether nothing can be seen in the frame; it counts for none of its neighbours."""
        return "warning" in self.prediction.meta


def smooth(frames: Iterable[RunFrame], radius: int) -> Iterator[RunFrame]:
    """Replace each probability by the mean over its neighbours, brought into place, and each mask by the mean's.

    Without following motion a mean smears vessels: a coronary artery can move by its width between two frames.

    Args:
        frames: of one run, in order.
        radius: neighbours on each side; 0 passes everything through. At most 2 * radius + 1 frames are held.
    """
    held: deque[RunFrame] = deque()
    middle = 0
    for frame in frames:
        held.append(frame)
        if len(held) > middle + radius:
            yield _smoothed(held, middle, radius)
            middle += 1
        if middle > radius:
            held.popleft()
            middle -= 1
    for position in range(middle, len(held)):
        yield _smoothed(held, position, radius)


def _smoothed(held: Sequence[RunFrame], middle: int, radius: int) -> RunFrame:
    """The frame at a position among those held, which reach `radius` frames to both sides unless the run ends."""
    frame = held[middle]
    if radius == 0 or frame.is_blank:
        return frame
    window, weights = window_of(middle, len(held), radius)
    mean, total = np.zeros_like(frame.image), np.zeros_like(frame.image)
    for position, weight in zip(window, weights, strict=True):
        other = held[position]
        if other.is_blank:
            continue
        values, trust = other.prediction.probability, np.ones_like(frame.image)
        if position != middle:
            values, trust = bring_into_place(frame.image, other.image, values)
        mean += weight * trust * values
        total += weight * trust
    mean = np.clip(mean / total, 0, 1)
    meta = frame.prediction.meta
    mask = Cut(meta["threshold"], meta["high_threshold"])(mean)
    return dataclasses.replace(frame, prediction=dataclasses.replace(frame.prediction, probability=mean, mask=mask))
