"""Frames of other shapes, with empty borders, with writing: stretched to a square, or fitted as `inference.whole` does.

    python benchmarks/shapes.py NAME=RUN --data "$VASOMIM_DATA"   # under NAME in results/shapes.json

On the frames of ARCADE's train part that the run held out, all of 512 px square: as they are, cut to oblong ones,
put between black bars, as a secondary capture of a monitor puts them, and written on. `own borders` are those frames of
the whole train part, learned from or not, of which a tenth or more is empty border. Mean Dice at the thresholds of the
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from test_time import add_rows

from vasomim.data.arcade import ArcadeDataset
from vasomim.data.burn_in import burn_in, draw_ink
from vasomim.inference.predictor import Predictor
from vasomim.metrics import dice
from vasomim.ops.borders import content
from vasomim.ops.resize import resize_area
from vasomim.types import BoolImage, FloatImage, Sample

OUT = Path("results/shapes.json")
Pair = tuple[FloatImage, BoolImage]
Change = Callable[[Any], Any]


def middle(height: int, width: int) -> Change:
    """Cuts the middle out of a frame or mask."""

    def cut(image: Any) -> Any:
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        return np.ascontiguousarray(image[top : top + height, left : left + width])

    return cut


def between_bars(rows: int, columns: int) -> Change:
    """Puts black above and below, or beside, a frame; nothing into a mask."""
    return lambda image: np.pad(image, ((rows, rows), (columns, columns)))


SHAPES: dict[str, Change] = {
    "as they are": lambda image: image,
    "cut to 512 x 384": middle(384, 512),
    "cut to 384 x 512": middle(512, 384),
    "cut to 512 x 288": middle(288, 512),
    "cut to 288 x 512": middle(512, 288),
    "between bars, 910 x 512": between_bars(0, 199),
    "between bars, 512 x 910": between_bars(199, 0),
}
"""Width x height."""


def stretched(predictor: Predictor, image: FloatImage) -> FloatImage:
    """Probability of the whole frame as a square, brought back."""
    small = resize_area(image, predictor.size)
    found = predictor.probability_at(small[None, None])[0]
    return np.asarray(cv2.resize(found, image.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def compared(predictor: Predictor, pairs: list[Pair]) -> dict[str, float]:
    """Mean Dice of both ways over the frames in which there is vessel."""
    ways = {"stretched": lambda image: stretched(predictor, image), "fitted": lambda i: predictor.probabilities([i])[0]}
    seen = [(image, mask) for image, mask in pairs if mask.any()]
    return {
        name: round(float(np.mean([dice(predictor.cut(way(image)), mask) for image, mask in seen])), 4)
        for name, way in ways.items()
    } | {"frames": len(seen)}


def with_borders(folder: Path) -> list[Pair]:
    """Frames of an ARCADE folder of which a tenth or more is empty border."""
    frames = ArcadeDataset(folder)
    samples = (frames[index] for index in range(len(frames)))
    return [(s.image, s.mask) for s in samples if s.image[content(s.image)].size < 0.9 * s.image.size]


def written_on(samples: list[Sample]) -> list[Pair]:
    """Frames with text near the borders, of other seeds than any training's."""
    inks = [draw_ink(s.image.shape[0], 1.0, np.random.default_rng([7, k])) for k, s in enumerate(samples)]
    return [(burn_in(s.image, ink), s.mask) for s, ink in zip(samples, inks, strict=True)]


def rows(run: str, samples: list[Sample]) -> Iterator[dict[str, Any]]:
    """Both ways for every shape."""
    predictor = Predictor.from_pretrained(run, "cpu", "fp32", flip=False)
    cases = {name: [(change(s.image), change(s.mask)) for s in samples] for name, change in SHAPES.items()}
    faint = [(np.rint(s.image * 4095) / np.float32(65535), s.mask) for s in samples]
    cases |= {"written on": written_on(samples), "a sixteenth of the grey scale": faint}
    cases["own borders"] = with_borders(samples[0].record.path.parents[1])
    for name, pairs in cases.items():
        row = {"shape": name, **compared(predictor, pairs)}
        print(*row.values(), flush=True)
        yield row


if __name__ == "__main__":
    add_rows(__doc__, rows, OUT)
