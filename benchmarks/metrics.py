"""Time the metrics of an evaluation: each alone, and all of them over many frames as `vasomim evaluate` runs them.

    python benchmarks/metrics.py [--frames 300] [--size 512] [--workers 2]

Labels are synthetic angiograms; predictions are their masks, shifted, widened and broken, so that every metric has
something to do. One JSON object on stdout; `ms_...` are medians a frame in one thread, in processor time, which other
load on the machine disturbs less than the clock.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from vasomim.engine.evaluation import evaluate
from vasomim.metrics import METRICS, MaskPair, image_metrics, reliability_counts, width_counts
from vasomim.synth.angiogram import generate

DISTINCT = 12
Pair = tuple[NDArray[np.float32], NDArray[np.bool_]]


def spoil(mask: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
    """A plausible probability map: shifted by two pixels, blurred, with gaps and false spots."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal(mask.shape).astype(np.float32), (0, 0), 4)
    blurred = cv2.GaussianBlur(np.roll(mask, 2, 1).astype(np.float32), (0, 0), 1.5)
    return np.clip(blurred + 4 * noise - 0.05, 0, 1)


def median_ms(function: Callable[[Pair], object], pairs: list[Pair]) -> float:
    """Median processor time of one call."""
    times = []
    for pair in pairs * 3:
        start = time.thread_time()
        function(pair)
        times.append(time.thread_time() - start)
    return round(1e3 * float(np.median(times)), 2)


def measure(frames: int, size: int, workers: int) -> dict[str, object]:
    """Times of each metric, of a frame, and of an evaluation of `frames` frames."""
    masks = [generate(7, size, index=k).mask for k in range(DISTINCT)]
    pairs = [(spoil(mask, k), mask) for k, mask in enumerate(masks)]

    def pair_of(pair: Pair) -> MaskPair:
        return MaskPair(pair[0] >= 0.5, pair[1])

    def everything(pair: Pair) -> None:
        both = pair_of(pair)
        image_metrics(both)
        width_counts(both)
        reliability_counts(*pair)

    def cases() -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.bool_]]]:
        for k in range(frames):
            yield (str(k), *pairs[k % DISTINCT])

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    alone = {name: median_ms(lambda pair, m=metric: m(pair_of(pair)), pairs) for name, metric in METRICS.items()}
    alone["by_width"] = median_ms(lambda pair: width_counts(pair_of(pair)), pairs)
    alone["calibration"] = median_ms(lambda pair: reliability_counts(*pair), pairs)
    together = median_ms(everything, pairs)
    cv2.setNumThreads(threads)
    start, busy = time.perf_counter(), time.process_time()
    card = evaluate(cases(), 0.5, workers=workers)
    card.to_json()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return {
        "size": size,
        "vessel_share": round(float(np.mean([mask.mean() for mask in masks])), 4),
        "dice": round(card.mean("dice"), 4),
        "ms_alone": alone,
        "ms_all_metrics": together,
        "frames": frames,
        "workers": workers,
        "seconds_evaluation": round(seconds, 2),
        "processor_seconds_evaluation": round(busy, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps(measure(options.frames, options.size, options.workers), indent=2))


if __name__ == "__main__":
    main()
