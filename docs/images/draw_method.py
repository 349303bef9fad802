"""Draws docs/images/method.png, the picture in the README. All frames are synthetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vasomim.data.frames import write_png
from vasomim.ops.masking import guided_mask
from vasomim.synth import generate
from vasomim.vessels import extract_vessels
from vasomim.viz.images import contact_sheet, mask_overlay, overlay, to_rgb

SEEDS, SIZE, PATCH = (3, 9), 448, 28
HEADINGS = ["synthetic angiogram", "its exact vessels", "extracted vessels", "hidden from the model"]


def row(seed: int) -> list[np.ndarray]:
    """The four pictures of one frame."""
    angiogram = generate(seed=seed, size=SIZE)
    vessels = extract_vessels(angiogram.image)
    guidance = torch.from_numpy(vessels.astype(np.float32))[None]
    hidden = guided_mask(guidance, PATCH, 0.5, 0.25, generator=torch.Generator().manual_seed(seed))
    return [
        to_rgb(angiogram.image),
        overlay(angiogram.image, angiogram.mask),
        overlay(angiogram.image, vessels),
        mask_overlay(angiogram.image, hidden[0].numpy(), PATCH, alpha=0.6),
    ]


if __name__ == "__main__":
    write_png(Path(__file__).with_name("method.png"), contact_sheet([row(seed) for seed in SEEDS], columns=HEADINGS))
