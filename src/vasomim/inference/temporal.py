"""Smoothing over the neighbouring frames of a run, one pass, in constant memory."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vasomim.ops.temporal import window_of
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


def smooth(frames: Iterable[RunFrame], length: int, radius: int) -> Iterator[RunFrame]:
    """Replace each probability by the weighted mean over its neighbours, and each mask by the mean's.

    Args:
        frames: of one run, in order.
        length: how many.
        radius: neighbours on each side; 0 passes everything through. At most 2 * radius + 1 frames are held.
    """
    held: deque[RunFrame] = deque()
    given = -1
    for frame in frames:
        held.append(frame)
        if frame.index - radius > given:
            given += 1
            yield _smoothed(held, given, length, radius)
        while held and held[0].index <= given - radius:
            held.popleft()
    for index in range(given + 1, length):
        yield _smoothed(held, index, length, radius)


def _smoothed(held: Sequence[RunFrame], index: int, length: int, radius: int) -> RunFrame:
    frame = held[index - held[0].index]
    if radius == 0 or frame.is_blank:
        return frame
    window, weights = window_of(index, length, radius)
    mean, total = np.zeros_like(frame.prediction.probability), np.float32(0)
    for number, weight in zip(window, weights, strict=True):
        other = held[number - held[0].index]
        if not other.is_blank:
            mean += weight * other.prediction.probability
            total += weight
    mean = np.clip(mean / total, 0, 1)
    found = dataclasses.replace(
        frame.prediction, probability=mean, mask=mean >= np.float32(frame.prediction.meta["threshold"])
    )
    return dataclasses.replace(frame, prediction=found)
