"""Which pieces of a mask should stay: by their highest probability, by their size, or by either; in poor frames, too.

    python benchmarks/pieces.py NAME=RUN --data "$VASOMIM_DATA"   # under NAME in results/pieces.json

On the frames of ARCADE's train part that the run held out, as they are and under the shadings of `SHADINGS`. Every rule
has the threshold that is best on the frames as they are, since that is where a threshold is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from test_time import add_rows

from vasomim.data.intensity import UNCHANGED, Shading, shade
from vasomim.engine.calibration import THRESHOLDS, dice_of_rules
from vasomim.inference.predictor import Predictor
from vasomim.ops.hysteresis import Peaks, Sizes, kept
from vasomim.types import BoolImage, Sample

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
"""High threshold and share of the largest piece."""


def stays(peaks: Peaks, sizes: Sizes, high: float, large: float) -> BoolImage:
    """Which pieces stay, (pieces + 1,); the surest where none would."""
    found = kept(peaks, sizes, high, large)
    return found if found.any() else np.asarray((peaks == peaks.max()) & (sizes > 0))


def dice_of_shadings(predictor: Predictor, samples: list[Sample]) -> dict[str, npt.NDArray[np.float64]]:
    """Mean Dice under every shading, (THRESHOLDS, RULES) each."""
    rules = [partial(stays, high=high, large=large) for high, large in RULES.values()]
    found = {}
    for name, shading in SHADINGS.items():
        rng = np.random.default_rng(0)
        tables = []
        for sample in samples:
            assert sample.mask is not None
            probability = predictor.probabilities([shade(sample.image, shading, rng)])[0]
            tables.append(dice_of_rules(probability, sample.mask, rules))
        found[name] = np.mean(tables, axis=0)
    return found


def rows(run: str, samples: list[Sample]) -> Iterator[dict[str, Any]]:
    """Of every rule, its threshold and its Dice under every shading and on average."""
    found = dice_of_shadings(Predictor.from_pretrained(run, "cpu", "fp32"), samples)
    for column, rule in enumerate(RULES):
        best = int(found["as it is"][:, column].argmax())
        dice = {name: round(float(table[best, column]), 4) for name, table in found.items()}
        row = {"rule": rule, "threshold": float(THRESHOLDS[best]), "dice": dice}
        row["mean"] = round(float(np.mean(list(dice.values()))), 4)
        print(f"{rule:38} {row['threshold']:.2f}", *dice.values(), row["mean"])
        yield row


if __name__ == "__main__":
    add_rows(__doc__, rows, OUT)
