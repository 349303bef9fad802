"""Networks small enough to reason about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vasomim.data.frames import write_png
from vasomim.models.registry import create_model
from vasomim.models.weights import save_pretrained


class Darkness(nn.Module):
    """Logit of a pixel grows with its darkness: 0 at `level`. Counts its calls and the sizes it saw."""

    def __init__(self, level: float = 0.5, gain: float = 20.0) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level))
        self.gain = gain
        self.dropout = nn.Dropout(0.5)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        logits: Tensor = self.dropout(torch.ones_like(images)) * (self.level - images) * self.gain
        return logits


def config(mode: str = "tile", size: int = 32, **more: Any) -> dict[str, Any]:
    return {"model": "darkness", "inference": {"mode": mode, "size": size}, "threshold": 0.5, **more}


def frame(height: int = 48, width: int = 60, seed: int = 0) -> np.ndarray:
    """uint8 (H, W): bright and noisy with a dark stripe of 6 px in the middle."""
    image = np.random.default_rng(seed).integers(170, 230, (height, width), dtype=np.uint8)
    image[:, width // 2 - 3 : width // 2 + 3] = 30
    return image


def stripe(height: int = 48, width: int = 60) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[:, width // 2 - 3 : width // 2 + 3] = True
    return mask


def export(folder: Path, kind: str = "segmentation", model: str = "vit_test_unet", seed: int = 0) -> Path:
    """A run folder with exported random weights."""
    torch.manual_seed(seed)
    network = create_model(model, img_size=32)
    facts = {
        "kind": kind,
        "model": model,
        "kwargs": {"img_size": 32},
        "inference": {"mode": "resize", "size": 32},
        "threshold": 0.5,
    }
    save_pretrained(folder / "export", network, facts, "A test.")
    return folder


def write_frames(folder: Path, names: list[str]) -> Path:
    for seed, name in enumerate(names):
        write_png(folder / name, frame(40 + seed, 50 + seed, seed))
    return folder
