"""How often real angiograms are doubted, as they are and inverted: python benchmarks/doubts.py [--data $VASOMIM_DATA]

Evenly spread frames of ARCADE's train parts and Danilov, all of XCAD and DCA1 train. A frame as it is should raise no
doubt; inverted it should be called inverted. `least_span` is the least range of grey values, 1st to 99th percentile:
what `inference.contrast` goes by.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from vasomim.data.open import open_frames
from vasomim.inference.contrast import ends
from vasomim.inference.doubts import doubt_about

SOURCES = {
    "ARCADE syntax/train": ("arcade/syntax/train", 100),
    "ARCADE stenosis/train": ("arcade/stenosis_352/train", 100),
    "Danilov": ("danilov_352", 100),
    "XCAD train": ("xcad/train", 100),
    "DCA1 train": ("dca1/train", 100),
}
"""Folder, and frames at most."""


def count(folder: Path, most: int) -> dict[str, float]:
    """Frames looked at, doubted as they are, and called inverted or otherwise doubted once inverted; the least span."""
    frames = open_frames([folder])
    found = {"frames": 0.0, "doubted": 0.0, "inverted_named": 0.0, "inverted_doubted": 0.0}
    spans = []
    for index in range(0, len(frames), max(len(frames) // most, 1)):
        image = frames[index].image
        turned = doubt_about(1 - image)
        found["frames"] += 1
        found["doubted"] += doubt_about(image) is not None
        found["inverted_named"] += "inverted" in (turned or "")
        found["inverted_doubted"] += turned is not None
        low, high = ends(image)
        spans.append(high - low)
    return {**{key: int(value) for key, value in found.items()}, "least_span": round(min(spans), 3)}


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("results/doubts.json"))
    asked = parser.parse_args()
    rows = {name: count(asked.data / folder, most) for name, (folder, most) in SOURCES.items()}
    total = {key: sum(row[key] for row in rows.values()) for key in next(iter(rows.values())) if key != "least_span"}
    total["least_span"] = min(row["least_span"] for row in rows.values())
    asked.out.write_text(
        json.dumps({"command": "python benchmarks/doubts.py", "total": total, "sources": rows}, indent=1)
    )
    print(total)


if __name__ == "__main__":
    main()
