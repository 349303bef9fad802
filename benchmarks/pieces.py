"""Which pieces of a mask should stay: by their highest probability, by their size, or by either; in poor frames, too.

    python benchmarks/pieces.py NAME=RUN --data "$VASOMIM_DATA"   # under NAME in results/pieces.json

On the frames of ARCADE's train part that the run held out, as they are and under the shadings of `SHADINGS`. Every rule
has the threshold that is best on the frames as they are, since that is where a threshold is chosen.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from test_time import held_out

from vasomim.data.intensity import UNCHANGED, Shading, shade
from vasomim.engine.calibration import THRESHOLDS
from vasomim.engine.runs import git_commit
from vasomim.inference.predictor import Predictor
from vasomim.ops.hysteresis import Cut, kept, pieces
from vasomim.types import BoolImage, FloatImage, Sample

OUT = Path("results/pieces.json")
NEVER = 2.0
"""No piece has twice the pixels of the largest."""
SHADINGS = {
    "as it is": UNCHANGED,
    "contrast 0.6": Shading(contrast=0.6),
    "contrast 0.4, noise": Shading(contrast=0.4, noise=0.03),
    "contrast 0.3, noise": Shading(contrast=0.3, noise=0.04),
    "coarser, noise": Shading(coarse=1.7, noise=0.03),
    "brighter": Shading(gamma=0.6),
    "darker, contrast 0.7": Shading(gamma=1.6, contrast=0.7),
}
RULES = {
    "all stay": (0.0, NEVER),
    **{f"reaches {high}": (high, NEVER) for high in (0.6, 0.7, 0.8, 0.9, 0.95)},
    **{f"{large} of the largest": (NEVER, large) for large in (0.1, 0.2, 0.3)},
    **{f"reaches {high} or {large} of the largest": (high, large) for high in (0.8, 0.9) for large in (0.1, 0.2, 0.3)},
}
"""High threshold and share of the largest piece; of pieces neither of which holds, the surest stays."""


def dice_of_rules(probability: FloatImage, target: BoolImage) -> npt.NDArray[np.float64]:
    """Dice of a frame, (THRESHOLDS, RULES)."""
    table = np.zeros((len(THRESHOLDS), len(RULES)))
    for row, threshold in enumerate(THRESHOLDS):
        above = Cut(float(threshold))(probability)
        labels, peaks, sizes = pieces(probability, above)
        right = np.bincount(labels[above & target], minlength=len(sizes))
        for column, (high, large) in enumerate(RULES.values()):
            stays = kept(peaks, sizes, high, large)
            if not stays.any():
                stays = (peaks == peaks.max()) & (sizes > 0)
            table[row, column] = 2 * right[stays].sum() / max(1, sizes[stays].sum() + target.sum())
    return table


def dice_of_shadings(predictor: Predictor, samples: list[Sample]) -> dict[str, npt.NDArray[np.float64]]:
    """Mean Dice under every shading, (THRESHOLDS, RULES) each."""
    found = {}
    for name, shading in SHADINGS.items():
        rng = np.random.default_rng(0)
        tables = []
        for sample in samples:
            assert sample.mask is not None
            probability = predictor.probabilities([shade(sample.image, shading, rng)])[0]
            tables.append(dice_of_rules(probability, sample.mask))
        found[name] = np.mean(tables, axis=0)
    return found


def rows(found: dict[str, npt.NDArray[np.float64]]) -> list[dict[str, Any]]:
    """Of every rule, its threshold and its Dice under every shading and on average."""
    made = []
    for column, rule in enumerate(RULES):
        best = int(found["as it is"][:, column].argmax())
        dice = {name: round(float(table[best, column]), 4) for name, table in found.items()}
        mean = round(float(np.mean(list(dice.values()))), 4)
        made.append({"rule": rule, "threshold": float(THRESHOLDS[best]), "dice": dice, "mean": mean})
    return made


def main() -> None:
    """Add the rows of the run that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="NAME=RUN, a finished run of vasomim finetune")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    arguments = parser.parse_args()
    name, _, run = arguments.run.partition("=")
    frames = held_out(Path(run), arguments.data)
    found = dice_of_shadings(
        Predictor.from_pretrained(run, "cpu", "fp32"), [frames[index] for index in range(len(frames))]
    )
    held = json.loads(OUT.read_text()) if OUT.is_file() else {}
    held[name] = {"git": git_commit(), "frames": len(frames), "rows": rows(found)}
    OUT.write_text(json.dumps(held, indent=1) + "\n")
    for row in held[name]["rows"]:
        print(
            f"{row['rule']:38} {row['threshold']:.2f}", *(f"{value:.4f}" for value in row["dice"].values()), row["mean"]
        )


if __name__ == "__main__":
    main()
