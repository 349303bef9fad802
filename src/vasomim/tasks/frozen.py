"""Networks that guide a run and never change in it."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn


class FrozenSegmentor(nn.Module):
    """A vessel segmentor that stays as it was loaded, while gradients flow through it.

    Frozen means all three: no parameter takes a gradient, no buffer (BatchNorm statistics) is updated, and the
    mode stays `eval` whatever the task around it is set to. The published code re-initialises part of its segmentor
    after loading it; here the state before and after a run is identical to the file, and a test proves it.
    """

    def __init__(self, net: nn.Module) -> None:
        """Freeze `net`, a module from images (B, 1, H, W) in [0, 1] to logits (B, 1, H, W)."""
        super().__init__()
        self.net = net.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the signature is nn.Module's
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [0, 1] -> vessel logits (B, 1, H, W)."""
        logits: Tensor = self.net(images)
        return logits
