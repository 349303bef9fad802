"""How far seeds move a difference between methods, and how often its interval leaves out 0 where there is none.

    python benchmarks/seeds.py                  # -> results/seeds.json

The first from the rows of results/main_table: pairs of methods with two seeds at one share of the labels. The second by
drawing tables of seeds x frames with these spreads and no difference in the mean.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vasomim.benchmarks.methods.analysis import Rows, seeds_of, table_of
from vasomim.benchmarks.methods.rows import read_rows
from vasomim.files import write_text
from vasomim.stats import FloatArray, crossed_ci

ROWS, OUT = Path("results/main_table"), Path("results/seeds.json")
LABELS, FRAMES, TRIALS = "0.1", 200, 4000
SEEDS = (1, 2, 3, 5)


def differences(rows: Rows) -> Iterator[FloatArray]:
    """Dice differences, seeds x frames, of every pair of methods that both have two seeds."""
    methods = sorted({cell.method for cell in rows if len(seeds_of(rows, cell.method, LABELS)) == 2})
    for pair in itertools.combinations(methods, 2):
        ours, theirs = (table_of(rows, name, LABELS, "dice", (0, 1)) for name in pair)
        yield ours - theirs


def spreads(tables: list[FloatArray]) -> dict[str, float]:
    """Standard deviations of the parts of a difference: of seeds, of frames, and of what is left of neither."""
    left = float(np.mean([(table[0] - table[1]).var(ddof=1) / 2 for table in tables]))
    # Means over frames, and over seeds, still hold their share of what is left.
    of_seeds = float(np.mean([table.mean(1).var(ddof=1) for table in tables])) - left / FRAMES
    of_frames = float(np.mean([table.mean(0).var(ddof=1) for table in tables])) - left / 2
    return {"seeds": of_seeds**0.5, "frames": of_frames**0.5, "left": left**0.5}


def missed(seeds: int, sd: dict[str, float], rng: np.random.Generator) -> float:
    """Share of intervals that leave out 0 where methods do not differ in the mean."""
    count = 0
    for _ in range(TRIALS):
        of_seeds, of_frames = rng.normal(0, sd["seeds"], (seeds, 1)), rng.normal(0, sd["frames"], (1, FRAMES))
        low, high = crossed_ci(of_seeds + of_frames + rng.normal(0, sd["left"], (seeds, FRAMES)))
        count += not low <= 0 <= high
    return count / TRIALS


def main() -> None:
    """Measure, draw, and write one JSON file."""
    tables = list(differences(read_rows(ROWS)))
    sd, rng = spreads(tables), np.random.default_rng(0)
    result = {
        "command": "python benchmarks/seeds.py",
        "rows": str(ROWS),
        "labels": LABELS,
        "pairs": len(tables),
        "standard_deviation": {name: round(value, 4) for name, value in sd.items()},
        "trials": TRIALS,
        "intervals_without_0": {str(seeds): missed(seeds, sd, rng) for seeds in SEEDS},
    }
    write_text(OUT, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
