"""What can be had of trained weights without training: mirrored frames, other sizes, a high threshold.

    python benchmarks/test_time.py NAME=RUN --data "$VASOMIM_DATA"   # under NAME in results/test_time.json

On the frames of ARCADE's train part that the run held out. Every row has its own best thresholds there, so that
none is at a disadvantage.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vasomim.data.arcade import ArcadeDataset
from vasomim.data.samples import FrameDataset, subset
from vasomim.engine.calibration import HIGH_THRESHOLDS, THRESHOLDS, dice_of_cuts
from vasomim.engine.run_folder import git_commit
from vasomim.inference.predictor import Predictor
from vasomim.metrics import cldice
from vasomim.ops.hysteresis import Cut
from vasomim.types import FloatImage, Sample

OUT = Path("results/test_time.json")
SIZES = (448, 512, 576, 640)


def held_out(run: Path, data: Path) -> FrameDataset:
    """Frames of ARCADE's train part that the run did not learn from."""
    labels = set(json.loads((run / "run.json").read_text())["facts"]["labels"])
    frames = ArcadeDataset(data / "arcade/syntax/train")
    return subset(frames, [k for k, record in enumerate(frames.records) if record.id not in labels])


def best(maps: list[FloatImage], masks: list[Any], highs: int) -> dict[str, float]:
    """Best mean Dice over thresholds and the first `highs` high thresholds; clDice there."""
    pairs = list(zip(maps, masks, strict=True))
    scores = np.mean([dice_of_cuts(found, mask)[:, :highs] for found, mask in pairs], axis=0)
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    cut = Cut(float(THRESHOLDS[row]), HIGH_THRESHOLDS[column])
    centre = np.mean([cldice(cut(found), mask) for found, mask in pairs])
    return {
        "threshold": cut.threshold,
        "high_threshold": cut.high_threshold,
        "dice": round(float(scores.max()), 4),
        "cldice": round(float(centre), 4),
    }


def rows(run: str, samples: list[Sample]) -> Iterator[dict[str, Any]]:
    """For every size, with and without mirrored frames and a high threshold."""
    masks = [sample.mask for sample in samples]
    for size, flip in itertools.product(SIZES, (False, True)):
        predictor = Predictor.from_pretrained(run, "cpu", "fp32", flip=flip)
        predictor.size = size
        maps = [predictor.probabilities([sample.image])[0] for sample in samples]
        for highs in (1, len(HIGH_THRESHOLDS)):
            row = {"size": size, "flip": flip, "hysteresis": highs > 1, **best(maps, masks, highs)}
            print(*row.values(), flush=True)
            yield row


def add_rows(about: str | None, rows: Callable[[str, list[Sample]], Iterable[dict[str, Any]]], out: Path) -> None:
    """Ask for NAME=RUN and keep, under NAME in `out`, what `rows` finds on the frames that the run held out."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="NAME=RUN, a finished run of vasomim finetune")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    arguments = parser.parse_args()
    name, _, run = arguments.run.partition("=")
    frames = held_out(Path(run), arguments.data)
    samples = [frames[index] for index in range(len(frames))]
    held = json.loads(out.read_text()) if out.is_file() else {}
    held[name] = {"git": git_commit(), "frames": len(samples), "rows": list(rows(run, samples))}
    out.write_text(json.dumps(held, indent=1) + "\n")


if __name__ == "__main__":
    add_rows(__doc__, rows, OUT)
