"""Compare synthetic angiograms with real ones, in numbers, and time them.

    VASOMIM_DATA=... python benchmarks/synthetic.py [--frames 50] [--seed 1000]

Prints one column for each source: medians over frames, at 512 x 512 pixels and 8 bits. Real frames are read below
$VASOMIM_DATA (arcade/syntax/train, xcad/train), evenly picked; without them only the synthetic column is printed.
How each number is measured is said in `measure`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vasomim.data.frames import write_png
from vasomim.data.open import open_labelled
from vasomim.ops.skeleton import skeletonize
from vasomim.synth.angiogram import generate

REAL = {"ARCADE": "arcade/syntax/train", "XCAD": "xcad/train"}
BANDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
Frame = NDArray[np.float32]
Mask = NDArray[np.bool_]


def blur(image: Frame, sigma: float) -> Frame:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def lag(residual: Frame, where: Mask, step: int) -> float:
    """Correlation of a residual with itself `step` pixels to the right, where both are wanted."""
    both = where[:, step:] & where[:, :-step]
    return float(np.corrcoef(residual[:, step:][both], residual[:, :-step][both])[0, 1])


def quiet(image: Frame, where: Mask) -> Mask:
    """The half of the wanted pixels with least structure around them."""
    activity = np.sqrt(blur((blur(image, 1.5) - blur(image, 5.0)) ** 2, 8.0))
    return where & (activity <= np.median(activity[where]))


def measure(image: Frame, mask: Mask) -> dict[str, float]:
    """Numbers of one frame: image (H, W) in grey levels 0-255, mask of its vessels.

    Border and collimator (grey below 20 after blurring, and 24 px along each edge) are left out throughout.
    """
    field = blur(image, 4.0) > 20
    field[:24] = field[-24:] = field[:, :24] = field[:, -24:] = False
    near = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    ring = (cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0) & ~near & field
    beyond = field & ~(cv2.dilate(mask.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0)
    axis = skeletonize(mask)
    widths = 2 * cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)[axis]
    # Background under the vessel: the ring's mean, carried inwards by normalised blurring.
    weight = ring.astype(np.float32)
    under = blur(image * weight, 12.0) / np.maximum(blur(weight, 12.0), 1e-3)
    deep = axis & field & (blur(weight, 12.0) > 0.02)
    residual = image - blur(image, 2.0)
    calm = quiet(image, beyond)
    found = {
        "mean grey": float(image[field].mean()),
        "std of grey": float(image[field].std()),
        "vessel share, %": 100 * float(mask.mean()),
        "vessel width, px, median": float(np.median(widths)),
        "vessel width, px, 95th percentile": float(np.percentile(widths, 95)),
        "vessel contrast on the axis, %": 100 * float(np.mean(1 - image[deep] / np.maximum(under[deep], 1))),
        "noise, % of grey": 100 * float(1.4826 * np.median(np.abs(residual[calm])) / image[calm].mean()),
        "noise autocorrelation, 1 px": lag(residual, calm, 1),
        "noise autocorrelation, 2 px": lag(residual, calm, 2),
        "noise autocorrelation, 3 px": lag(residual, calm, 3),
    }
    for low, high in pairwise(BANDS):
        # Relative to local grey; robust, so that a few sharp edges do not decide.
        band = (blur(image, low) - blur(image, high)) / np.maximum(blur(image, 2 * high), 10)
        found[f"background structure {low:g}-{high:g} px, %"] = 100 * float(
            1.4826 * np.median(np.abs(band[beyond] - np.median(band[beyond])))
        )
    return found


def real_frames(folder: Path, count: int) -> Iterator[tuple[Frame, Mask]]:
    frames = open_labelled([folder])
    for index in np.linspace(0, len(frames) - 1, count).astype(int):
        sample = frames[int(index)]
        if sample.mask is not None and sample.image.shape == (512, 512):
            yield sample.image * 255, sample.mask


def synthetic_frames(seed: int, count: int) -> Iterator[tuple[Frame, Mask]]:
    for index in range(count):
        made = generate(seed, index=index)
        yield made.image.astype(np.float32), made.mask


def milliseconds(seed: int, count: int, size: int, repeats: int = 3) -> list[float]:
    """CPU time of each frame, the fastest of a few repeats (other programs on the machine make it slower)."""
    found = []
    for index in range(count):
        spent = []
        for _ in range(repeats):
            start = time.process_time()
            generate(seed, size, index=index)
            spent.append(1000 * (time.process_time() - start))
        found.append(min(spent))
    return found


def sheet(seed: int, columns: int = 6, rows: int = 2, side: int = 150) -> NDArray[np.uint8]:
    """Thumbnails of synthetic frames, the last row with masks in the place of pictures."""
    made = [generate(seed, index=index) for index in range(columns * rows)]
    tiles = [cv2.resize(m.image, (side, side), interpolation=cv2.INTER_AREA) for m in made]
    masks = [cv2.resize(m.mask.astype(np.uint8) * 255, (side, side), interpolation=cv2.INTER_AREA) for m in made]
    tiles += masks[-columns:]
    return np.concatenate([np.concatenate(tiles[k : k + columns], 1) for k in range(0, len(tiles), columns)])


def spread(rows: list[dict[str, float]], name: str) -> str:
    values = [row[name] for row in rows]
    low, middle, high = np.nanpercentile(values, (10, 50, 90))
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--sheet", type=Path, help="only write a contact sheet of synthetic frames to this PNG")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.sheet:
        write_png(arguments.sheet, sheet(arguments.seed))
        return
    columns: dict[str, list[dict[str, float]]] = {}
    root = os.environ.get("VASOMIM_DATA")
    for name, folder in REAL.items():
        if root and (Path(root) / folder).is_dir():
            columns[name] = [measure(*frame) for frame in real_frames(Path(root) / folder, arguments.frames)]
    columns["synthetic"] = [measure(*f) for f in synthetic_frames(arguments.seed, arguments.frames)]
    print("| median (10th-90th percentile) of frames | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name in columns["synthetic"][0]:
        print(f"| {name} | " + " | ".join(spread(rows, name) for rows in columns.values()) + " |")
    print("| frames | " + " | ".join(str(len(rows)) for rows in columns.values()) + " |")
    print()
    for size in (512, 64):
        times = milliseconds(arguments.seed, arguments.frames, size)
        print(f"{size} px: {np.median(times):.0f} ms a frame on one core (slowest {max(times):.0f} ms)")


if __name__ == "__main__":
    main()
