"""Measure the label-free extraction of vessels against annotated frames.

    python benchmarks/extraction.py [--data $VASOMIM_DATA] [--out results/extraction.json]

ARCADE: all of syntax/val. XCAD and DCA1: every other frame of train (2nd, 4th, ... by name), as when settings were
chosen on the rest; now none is (benchmarks/fit_extraction.py). Scores are means of per-image values at native size;
`ms` is the median processor time of a frame of that source in one thread, which other load disturbs less than the
clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vasomim._version import __version__
from vasomim.data.arcade import ArcadeDataset
from vasomim.data.folder import MaskedFolderDataset
from vasomim.data.samples import FrameDataset
from vasomim.metrics import cldice, dice, precision, recall
from vasomim.stats import bootstrap_ci
from vasomim.types import Sample
from vasomim.vessels import METHOD_VERSION, SETTINGS, TERMS, Method, extract_vessels

TARGETS = {"arcade": (0.60, 0.63), "xcad": (0.63, 0.70), "dca1": (0.71, 0.78)}
"""Dice and clDice aimed at."""
METRICS = {"dice": dice, "cldice": cldice, "precision": precision, "recall": recall}


def by_name(dataset: FrameDataset, start: int = 0, step: int = 1) -> Iterator[Sample]:
    """Every `step`-th frame in the order of names as text."""
    order = sorted(range(len(dataset)), key=lambda index: dataset.records[index].path.name)
    for index in order[start::step]:
        yield dataset[index]


def reported(data: Path, source: str) -> Iterator[Sample]:
    """The frames of a source that no setting was chosen on."""
    if source == "arcade":
        return by_name(ArcadeDataset(data / "arcade" / "syntax" / "val"))
    return by_name(MaskedFolderDataset(data / source / "train"), start=1, step=2)


def measure(samples: Iterator[Sample], method: Method) -> dict[str, Any]:
    """Scores and time of one method on one source."""
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    times = []
    for sample in samples:
        start = time.thread_time()
        mask = extract_vessels(sample.image, method)
        times.append(time.thread_time() - start)
        for name, metric in METRICS.items():
            values[name].append(metric(mask, sample.mask))
    row: dict[str, Any] = {"n": len(times), "ms": round(1e3 * float(np.median(times)), 1)}
    for name, of_frames in values.items():
        low, high = bootstrap_ci(of_frames)
        row[name] = {"mean": round(float(np.mean(of_frames)), 4), "ci95": [round(low, 4), round(high, 4)]}
    return row


def main() -> None:
    """Measure both methods on the three sources and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("results/extraction.json"))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    methods: tuple[Method, ...] = ("reference", "default")
    rows = {}
    for source in TARGETS:
        rows[source] = {method: measure(reported(arguments.data, source), method) for method in methods}
        print(source, json.dumps(rows[source]))
    result = {
        "command": "python benchmarks/extraction.py",
        "version": __version__,
        "method_version": METHOD_VERSION,
        "processor": platform.machine(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "rasteriser": "arcade-official",
        "targets": {source: {"dice": pair[0], "cldice": pair[1]} for source, pair in TARGETS.items()},
        "settings": {"terms": TERMS, **asdict(SETTINGS)},
        "results": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
