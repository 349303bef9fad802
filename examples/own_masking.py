"""A masker and a loss of one's own, pre-trained, probed and exported like every method of the package.

    python examples/own_masking.py FRAMES --out OUT [--steps 200] [--model mae_vit_test]

Hides whole rows of patches and compares predicted with true pixels by a Charbonnier loss. Everything else is what
`vasomim pretrain` does: the same command goes on where it was stopped, and its encoder goes into
`vasomim finetune LABELLED --init OUT`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from vasomim.build.pretraining import METHODS, PretrainingMethod, build_autoencoder
from vasomim.commands import pretrain
from vasomim.config import OptimConfig, PretrainConfig, RunConfig
from vasomim.errors import VasomimError
from vasomim.ops.masking import random_mask
from vasomim.ops.patches import grid_of
from vasomim.tasks.inspection import Inspection
from vasomim.tasks.reconstruction import Reconstruction, decode, mask_noise
from vasomim.types import Progress, StepOutput


def row_mask(grid: tuple[int, int], mask_ratio: float, noise: Tensor) -> Tensor:
    """Hide whole rows of patches: noise (B, h) -> bool (B, h * w), True = hidden."""
    return random_mask(len(noise), grid[0], mask_ratio, noise=noise).repeat_interleave(grid[1], dim=1)


def charbonnier_loss(pred: Tensor, target: Tensor, mask: Tensor, eps: float = 1e-3) -> Tensor:
    """Mean of sqrt(error^2 + eps^2) over the hidden patches: (B, L, P), (B, L, P), bool (B, L) -> scalar."""
    return ((pred - target).square() + eps**2).sqrt().mean(-1)[mask].mean()


class RowTask(nn.Module):
    """What the loop, the probe, the pictures and the export ask of a task: see vasomim/tasks/interface.py."""

    def __init__(self, config: PretrainConfig, model: nn.Module) -> None:
        super().__init__()
        self.model, self.mask_ratio = model, config.masking.mask_ratio

    def forward(self, batch: dict[str, Tensor], progress: Progress) -> StepOutput:
        seen = self.reconstruct(batch["image"], self.draw_mask(batch, progress))
        loss = charbonnier_loss(seen.predictions, seen.targets, seen.mask)
        return StepOutput.of(loss)

    def draw_mask(self, batch: dict[str, Tensor], progress: Progress) -> Tensor:
        grid = grid_of(*batch["image"].shape[-2:], self.model.patch_size)
        return row_mask(grid, self.mask_ratio, mask_noise(batch, progress, 1, grid[0])[:, 0])

    def reconstruct(self, images: Tensor, mask: Tensor) -> Reconstruction:
        mae = self.model
        return decode(images, mask, mae(images, mask), mae, norm_pix_loss=False)

    def inspect(self, batch: dict[str, Tensor], progress: Progress) -> Inspection:
        mask = self.draw_mask(batch, progress)
        return Inspection(hidden=mask, decoded=self.reconstruct(batch["image"], mask).images)


METHODS["rows"] = PretrainingMethod(build_autoencoder, RowTask)


def main() -> int:
    """Pre-train with it; exit code 0, or what `vasomim` would give, after one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--model", default="mae_vit_test")
    parser.add_argument("--img-size", type=int, default=64)
    asked = parser.parse_args()
    try:
        config = PretrainConfig(
            inputs=tuple(asked.frames),
            out=asked.out,
            method="rows",  # type: ignore[arg-type]
            model=asked.model,
            img_size=asked.img_size,
            optim=OptimConfig(batch_size=8, steps=asked.steps, lr=1e-3),
            run=RunConfig(num_workers=0),
            holdout=0.2,
        )
        return pretrain.run(config)
    except VasomimError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code


if __name__ == "__main__":
    torch.set_num_threads(1)
    raise SystemExit(main())
