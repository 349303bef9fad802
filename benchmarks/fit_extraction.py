"""Choose the settings of the default extraction.

    python benchmarks/fit_extraction.py [--data $VASOMIM_DATA]

On every 8th frame of ARCADE syntax/train and the 1st, 3rd, ... frame by name of XCAD and DCA1 train: the weights of
the terms by gradient on the soft Dice (per image, sources weighted 0.4 / 0.2 / 0.4), then threshold, blend and
min_share on a grid, by how far Dice and clDice stay below the targets. Prints what to copy into vasomim/vessels.py.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from extraction import TARGETS, by_name
from numpy.typing import NDArray

from vasomim.data.arcade import ArcadeDataset
from vasomim.data.folder import MaskedFolderDataset
from vasomim.metrics import cldice, dice
from vasomim.types import Sample
from vasomim.vessels import TERMS, AnatomySettings, anatomy_score, anatomy_terms

SHARES = {"arcade": 0.4, "xcad": 0.2, "dca1": 0.4}
PIXELS = 4000
MARGIN = 0.01


@dataclass(frozen=True)
class Frame:
    """One annotated frame at the working size."""

    source: str
    terms: NDArray[np.float16]
    field: NDArray[np.bool_]
    share: NDArray[np.float32]
    """Annotated share of each pixel."""


def tuning(data: Path, source: str) -> Iterator[Sample]:
    """The frames of a source on which settings may be chosen."""
    if source == "arcade":
        return by_name(ArcadeDataset(data / "arcade" / "syntax" / "train"), step=8)
    return by_name(MaskedFolderDataset(data / source / "train"), step=2)


def prepare(source: str, sample: Sample) -> Frame:
    """Terms and label at the working size."""
    terms, field = anatomy_terms(sample.image)
    size = field.shape[::-1]
    share = cv2.resize(sample.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return Frame(source, np.stack(terms).astype(np.float16), field, share)


def fit_weights(frames: list[Frame], steps: int = 250) -> tuple[NDArray[np.float32], float]:
    """Weights and offset that maximise the mean soft Dice over frames."""
    rng = np.random.default_rng(0)
    picked = [rng.choice(np.flatnonzero(frame.field), PIXELS) for frame in frames]
    values = np.stack(
        [f.terms.reshape(len(TERMS), -1)[:, i].T.astype(np.float32) for f, i in zip(frames, picked, strict=True)]
    )
    mean, spread = values.mean((0, 1)), values.std((0, 1)) + 1e-6
    inputs = torch.tensor((values - mean) / spread)
    targets = torch.tensor(np.stack([frame.share.ravel()[i] for frame, i in zip(frames, picked, strict=True)]))
    count = {source: sum(frame.source == source for frame in frames) for source in SHARES}
    importance = torch.tensor([SHARES[frame.source] / count[frame.source] for frame in frames])
    weights = torch.full((len(TERMS),), 0.1, requires_grad=True)
    offset = torch.tensor(-3.0, requires_grad=True)
    optimizer = torch.optim.Adam([weights, offset], 0.06)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        vessel = torch.sigmoid(inputs @ weights + offset)
        overlap = (2 * (vessel * targets).sum(1) + 1) / (vessel.sum(1) + targets.sum(1) + 1)
        optimizer.zero_grad()
        (-(overlap * importance).sum()).backward()
        optimizer.step()
        schedule.step()
    found = weights.detach().numpy() / spread
    return found.astype(np.float32), float(offset.detach()) - float(found @ mean)


def scores(frames: list[Frame], settings: AnatomySettings) -> dict[str, tuple[float, float]]:
    """Mean Dice and clDice of each source at the working size."""
    values: dict[str, list[tuple[float, float]]] = {source: [] for source in SHARES}
    for frame in frames:
        mask = anatomy_score(list(frame.terms.astype(np.float32)), frame.field, settings) > 0
        target = frame.share > 0.5
        values[frame.source].append((dice(mask, target), cldice(mask, target)))
    return {source: tuple(np.mean(pairs, 0).round(4).tolist()) for source, pairs in values.items()}


def shortfall(found: dict[str, tuple[float, float]]) -> float:
    """How far the scores stay below the targets, added up; the mean score breaks ties."""
    gaps = [max(0.0, want + MARGIN - got) for s in found for got, want in zip(found[s], TARGETS[s], strict=True)]
    return sum(gaps) - 0.05 * float(np.mean(list(found.values())))


def main() -> None:
    """Fit, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    frames = [prepare(source, sample) for source in SHARES for sample in tuning(arguments.data, source)]
    print(f"{len(frames)} frames", flush=True)
    weights, offset = fit_weights(frames)
    rounded = tuple(float(weight) for weight in weights.round(2))
    print(dict(zip(TERMS, rounded, strict=True)), round(offset, 2), flush=True)
    best: tuple[float, AnatomySettings, Any] | None = None
    start = AnatomySettings(rounded, 0.0, 0.0, 0.945, 0.0)
    for shift, blend, min_share in itertools.product((-1.2, -0.8, -0.4), (0.15, 0.3, 0.5), (0.03, 0.06, 0.1)):
        settings = replace(start, threshold=round(shift - offset, 2), blend=blend, min_share=min_share)
        found = scores(frames, settings)
        if best is None or shortfall(found) < best[0]:
            best = shortfall(found), settings, found
            print(best, flush=True)


if __name__ == "__main__":
    main()
