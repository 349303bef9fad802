"""Measure what smoothing over time does to masks of runs: scores, flicker, false vessels where there is no contrast.

    vasomim synthesize --out synthetic --num-frames 120 --seed 7
    vasomim finetune synthetic ARCADE/syntax/train --out weights --model unext_s --steps 1000 --batch-size 8 \\
        --holdout 0.03 --seed 0
    python benchmarks/cine.py --weights weights [--out results/cine.json]

Synthetic runs have exact masks of the vessels that hold contrast; scores are means over the frames in which they cover
at least 1 % of the frame. `flicker` is the number of pixels that differ from both neighbours in time, by the number of
vessel pixels; that of the exact masks stands beside it, because thin vessels that move flicker in truth. `empty_share`
is the share of pixels called vessel in frames without contrast, before it arrives and after it has gone. `aligned` is
what `vasomim predict --smoothing` does; `plain` is the same mean without following motion, for comparison.

The real run is read below $VASOMIM_DATA and has no labels: flicker, and `empty_share` of its first frames, in which a
person saw no contrast. Settings of the smoothing were chosen on runs of seed 5000, which are not among these.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vasomim._version import __version__
from vasomim.data.dicom.run import open_run
from vasomim.inference.predictor import Predictor
from vasomim.inference.temporal import RunFrame, smooth
from vasomim.metrics import cldice, dice
from vasomim.ops.temporal import flickering, window_of
from vasomim.synth.cine import generate_cine
from vasomim.types import BoolImage

SEED, RUNS, FRAMES, SIZE = 6000, 6, 36, 384
FILLED = 0.01
"""Share of vessel pixels from which a frame's scores count."""
REAL, REAL_EMPTY = "dicom/rubo_0002_coronary_cine_96f_jpegbaseline.dcm", 12
"""A coronary run, and how many of its first frames show no contrast."""
Smoother = Callable[[list[RunFrame]], list[BoolImage]]


def aligned(radius: int) -> Smoother:
    """What `vasomim predict --smoothing` does."""
    return lambda frames: [frame.prediction.mask for frame in smooth(frames, radius)]


def plain(radius: int) -> Smoother:
    """The same mean without following motion."""

    def mean(frames: list[RunFrame]) -> Iterator[BoolImage]:
        for frame in frames:
            window, weights = window_of(frame.index, len(frames), radius)
            maps = [weight * frames[k].prediction.probability for k, weight in zip(window, weights, strict=True)]
            yield np.sum(maps, axis=0) >= frame.prediction.meta["threshold"]

    return lambda frames: list(mean(frames))


METHODS = {
    "none": aligned(0),
    "aligned 1": aligned(1),
    "aligned 2": aligned(2),
    "plain 1": plain(1),
    "plain 2": plain(2),
}


def predicted(predictor: Predictor, images: Sequence[np.ndarray]) -> list[RunFrame]:
    """Frames of a run with their unsmoothed predictions."""
    return [RunFrame(k, image, predictor.predict(image)) for k, image in enumerate(images)]


def flicker(masks: Sequence[BoolImage]) -> float:
    """Pixels that differ from both neighbours in time, by vessel pixels of the frames that have both."""
    odd = sum(int(flickering(*masks[k - 1 : k + 2]).sum()) for k in range(1, len(masks) - 1))
    return odd / max(sum(int(mask.sum()) for mask in masks[1:-1]), 1)


def synthetic_rows(predictor: Predictor) -> dict[str, Any]:
    """Every method on synthetic runs."""
    found: dict[str, list[dict[str, list[float]]]] = {name: [] for name in METHODS}
    truth = []
    for index in range(RUNS):
        cine = generate_cine(SEED, SIZE, FRAMES, index=index)
        frames = predicted(predictor, [image.astype(np.float32) / 255 for image in cine.images])
        truth.append(flicker(list(cine.masks)))
        for name, method in METHODS.items():
            found[name].append(scores(method(frames), list(cine.masks)))
        print("synthetic run", index, flush=True)
    rows = {name: pooled(runs) for name, runs in found.items()}
    return {"seed": SEED, "runs": RUNS, "frames": FRAMES, "size": SIZE, "flicker_of_truth": mean(truth), "rows": rows}


def scores(masks: Sequence[BoolImage], targets: Sequence[BoolImage]) -> dict[str, list[float]]:
    """Values of one run, frame by frame where they are of frames."""
    pairs = list(zip(masks, targets, strict=True))
    filled = [pair for pair in pairs if pair[1].mean() >= FILLED]
    return {
        "dice": [dice(*pair) for pair in filled],
        "cldice": [cldice(*pair) for pair in filled],
        "flicker": [flicker(masks)],
        "empty_share": [float(mask.mean()) for mask, target in pairs if not target.any()],
    }


def pooled(runs: Sequence[dict[str, list[float]]]) -> dict[str, float]:
    """Means over all frames of all runs."""
    return {name: mean([value for run in runs for value in run[name]]) for name in runs[0]}


def real_rows(predictor: Predictor, path: Path) -> dict[str, Any]:
    """Every method on the real run, and what it costs."""
    frames = predicted(predictor, list(open_run(path).frames()))
    rows = {}
    for name, method in METHODS.items():
        start = time.thread_time()
        masks = method(frames)
        spent = 1000 * (time.thread_time() - start) / len(frames)
        empty = float(np.mean([mask.mean() for mask in masks[:REAL_EMPTY]]))
        rows[name] = {
            "flicker": round(flicker(masks), 5),
            "empty_share": round(empty, 6),
            "ms_a_frame": round(spent, 1),
        }
    return {"frames": len(frames), "size": list(frames[0].image.shape), "empty_frames": REAL_EMPTY, "rows": rows}


def mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 5)


def weights_of(path: Path, predictor: Predictor) -> dict[str, Any]:
    """What the weights are."""
    config = json.loads((path / "export" / "config.json").read_text())
    kept = {name: config.get(name) for name in ("model", "held_out")}
    return {"hash": predictor.fingerprint(), **kept, **predictor.settings()}


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("results/cine.json"))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    predictor = Predictor.from_pretrained(arguments.weights, device="cpu")
    result = {
        "command": "python benchmarks/cine.py --weights weights",
        "version": __version__,
        "weights": weights_of(arguments.weights, predictor),
        "trained_on": "120 synthetic frames (seed 7, 512 px) and ARCADE syntax/train, 1000 steps of 8 crops of 224 px",
        "synthetic": synthetic_rows(predictor),
    }
    if (arguments.data / REAL).is_file():
        result["real"] = real_rows(predictor, arguments.data / REAL)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
