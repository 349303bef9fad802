"""Mean and spread of grey values, which a model normalises its input by, and how much of the masks is vessel."""

from __future__ import annotations

import math

import numpy as np

from vasomim.data.samples import FrameDataset
from vasomim.data.splits import map_frames, sample_frames
from vasomim.errors import DataError, MisuseError


def pixel_statistics(dataset: FrameDataset, limit: int = 500) -> tuple[float, float]:
    """Mean and standard deviation of the pixels in [0, 1] of at most `limit` frames; every frame weighs the same.

    Args:
        dataset: frames; one is in memory at a time and thread.
        limit: frames to look at, drawn by id.

    Raises:
        MisuseError: no frames.
        DataError: unreadable frames, or nothing but one grey value.
    """
    chosen = sample_frames(dataset, limit, seed=0)
    if not chosen:
        raise MisuseError("got no frame to measure the statistics of; name a folder with frames")

    def moments(index: int) -> tuple[float, float]:
        image = dataset[index].image
        mean = float(image.mean(dtype=np.float64))
        return mean, float(np.square(image, dtype=np.float64).mean())

    first, second = np.mean(map_frames(moments, chosen), axis=0).tolist()
    std = math.sqrt(max(0.0, second - first**2))
    if std < 1e-6:
        raise DataError(f"all {len(chosen)} frames have the one grey value {first:.4g}; there is nothing to learn from")
    return first, std


def vessel_shares(dataset: FrameDataset, limit: int = 50) -> list[float]:
    """Share of the pixels that are vessel, in [0, 1], of at most `limit` labelled frames, drawn by id.

    Raises:
        DataError: unreadable frames or masks.
    """

    def share(index: int) -> float:
        mask = dataset[index].mask
        return 0.0 if mask is None else float(mask.mean())

    return map_frames(share, sample_frames(dataset, limit, seed=0))
