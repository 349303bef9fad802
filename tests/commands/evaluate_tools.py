"""A network that needs no training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Darkness(nn.Module):
    """Dark is vessel: logit 20 (0.5 - x). Keeps the shapes of what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.5))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        return 20 * (self.level - images)
