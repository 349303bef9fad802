"""A clean set of synthetic angiograms, and an annotation file for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vasomim.data.audit.audit import Audit, audit_folders
from vasomim.data.frames import write_png
from vasomim.data.polygons import crosses_itself
from vasomim.synth.angiogram import Angiogram, generate

SIDE = 224
CLEAN = (0, 4, 6, 8, 9, 11)
"""Angiograms of seed 0 whose field fills the frame."""


@cache
def angiogram(index: int) -> Angiogram:
    """One of many different angiograms of 224 x 224 pixels."""
    return generate(0, SIDE, index=index)


def image(index: int) -> np.ndarray:
    return angiogram(index).image.copy()


def write_set(root: Path, indices: tuple[int, ...] = CLEAN, masks: bool = True) -> Path:
    """images/ and masks/ of some angiograms, which nothing is wrong with."""
    for index in indices:
        write_png(root / "images" / f"{index}.png", angiogram(index).image)
        if masks:
            write_png(root / "masks" / f"{index}.png", angiogram(index).mask)
    return root


def write_coco(
    root: Path, indices: tuple[int, ...] = CLEAN, change: Callable[[dict[str, Any]], None] | None = None
) -> Path:
    """images/ and annotations/train.json of some angiograms; `change` spoils the file."""
    write_set(root, indices, masks=False)
    content = coco_of(indices)
    if change:
        change(content)
    (root / "annotations").mkdir()
    (root / "annotations" / "train.json").write_text(json.dumps(content))
    return root


def coco_of(indices: tuple[int, ...]) -> dict[str, Any]:
    """An annotation file with an outline around every piece of vessel."""
    annotations: list[dict[str, Any]] = []
    for index in indices:
        for outline in _outlines(index):
            annotations.append(
                {"id": len(annotations), "image_id": index, "category_id": 5, "segmentation": [outline]},
            )
    return {
        "images": [{"id": k, "file_name": f"{k}.png", "width": SIDE, "height": SIDE} for k in indices],
        "annotations": annotations,
        "categories": [{"id": 5, "name": "5"}, {"id": 26, "name": "stenosis"}],
    }


@cache
def _outlines(index: int) -> list[list[float]]:
    """Outer contours as flat lists; those that cross themselves where the tree is a pixel wide are left out."""
    found, _ = cv2.findContours(angiogram(index).mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    large = [contour.reshape(-1, 2) for contour in found if cv2.contourArea(contour) > 30]
    return [contour.astype(float).ravel().tolist() for contour in large if not crosses_itself(contour)]


def audit(*roots: Path) -> Audit:
    return audit_folders(list(roots), workers=1)


def kinds(result: Audit) -> list[str]:
    return [item.kind for item in result.findings]


def draw_text(frame: np.ndarray) -> np.ndarray:
    cv2.putText(frame, "DOE JOHN 1967", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA)
    return frame


def save(path: Path, pixels: np.ndarray, *options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels, options)
    return path


def jpeg(pixels: np.ndarray, side: int = SIDE, quality: int = 85) -> bytes:
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
