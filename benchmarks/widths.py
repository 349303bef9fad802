"""How right the width of a vessel is at one pixel of its centreline: straight bars at random angles.

python benchmarks/widths.py                 # -> results/widths.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vasomim.files import write_text
from vasomim.metrics import WIDTH_CLASSES, WIDTH_EDGES
from vasomim.ops.skeleton import skeletonize, width_at
from vasomim.stats import FloatArray

OUT = Path("results/widths.json")
WIDTHS, BARS, SIDE, LENGTH, SEEDS = (3, 7, 12, 13), 25, 128, 100, 4


def found_widths(width: int, rng: np.random.Generator) -> FloatArray:
    """Widths along the centreline of one bar through the middle of a frame, its ends left out."""
    angle, shift = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    across, along = y * np.cos(angle) - x * np.sin(angle) - shift, x * np.cos(angle) + y * np.sin(angle)
    mask = (across >= -width / 2) & (across < width / 2) & (np.abs(along) < LENGTH / 2)
    skeleton = skeletonize(mask)
    return width_at(mask, skeleton)[np.abs(along[skeleton]) < LENGTH / 2 - width]


def measured(width: int) -> dict[str, Any]:
    """Errors of bars of one width, and the classes that their pixels fall into."""
    found = np.concatenate(
        [found_widths(width, np.random.default_rng((seed, k))) for seed in range(SEEDS) for k in range(BARS)]
    )
    errors, classes = found - width, np.digitize(found, WIDTH_EDGES)
    shares = np.bincount(classes, minlength=len(WIDTH_CLASSES)) / len(found)
    return {
        "off_by_more_than_half_a_pixel": round(float((np.abs(errors) > 0.5).mean()), 3),
        "least": round(float(errors.min()), 2),
        "most": round(float(errors.max()), 2),
        "mean": round(float(errors.mean()), 2),
        "classes": {name: round(float(part), 3) for name, part in zip(WIDTH_CLASSES, shares, strict=True)},
    }


def main() -> None:
    """Measure every width and write one JSON file."""
    result = {
        "command": "python benchmarks/widths.py",
        "bars_a_width": BARS * SEEDS,
        "widths": {str(width): measured(width) for width in WIDTHS},
    }
    write_text(OUT, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
