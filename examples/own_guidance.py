"""VasoMIM with a mask and a loss of one's own: everything else, the segmentor and its consistency included, is kept.

    python examples/own_guidance.py FRAMES --out OUT [--segmentor DIR] [--steps 200] [--model mae_vit_test]

The mask hides the patches that hold most of the extracted anatomy, `batch["vessels"]`, and patches at random after
these; the loss is L1. Both are plain functions; functools.partial gives them to the task of the package.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vasomim.build.pretraining import METHODS, PretrainingMethod, build_autoencoder, build_vasomim
from vasomim.commands import pretrain
from vasomim.config import MaskingConfig, OptimConfig, PretrainConfig, RunConfig
from vasomim.errors import VasomimError
from vasomim.losses import absolute_reconstruction_loss
from vasomim.ops.masking import hide_lowest, num_hidden
from vasomim.ops.patches import patch_sums


def fullest_mask(guidance: Tensor, patch_size: int, mask_ratio: float, guided_fraction: float, noise: Tensor) -> Tensor:
    """Hide the patches fullest of vessel, then others at random: (B, H, W), noise (B, 2, L) -> bool (B, L)."""
    vessel = patch_sums(guidance, patch_size)  # (B, L)
    hidden = num_hidden(vessel.shape[1], mask_ratio)
    fullest = hide_lowest(-vessel, int(guided_fraction * hidden)) & (vessel > 0)
    return hide_lowest(torch.where(fullest, -1.0, noise[:, 1]), hidden)


METHODS["fullest"] = PretrainingMethod(
    build_autoencoder, partial(build_vasomim, masker=fullest_mask, loss=absolute_reconstruction_loss)
)


def main() -> int:
    """Pre-train with it; exit code 0, or what `vasomim` would give, after one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--segmentor", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--model", default="mae_vit_test")
    parser.add_argument("--img-size", type=int, default=64)
    asked = parser.parse_args()
    guided = asked.segmentor is not None
    try:
        config = PretrainConfig(
            inputs=tuple(asked.frames),
            out=asked.out,
            segmentor=asked.segmentor,
            method="fullest",  # type: ignore[arg-type]
            model=asked.model,
            img_size=asked.img_size,
            masking=MaskingConfig(guidance="co" if guided else "anatomy"),
            consistency_weight=float(guided),
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
