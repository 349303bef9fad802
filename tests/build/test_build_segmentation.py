"""Losses of fine-tuning, as its settings make them."""

from __future__ import annotations

import pytest
import torch

from vasomim.build import build_finetuning
from vasomim.build.segmentation import widest_radius
from vasomim.config import FinetuneConfig
from vasomim.types import Progress


@pytest.mark.parametrize(("img_size", "width"), [(224, 20), (416, 33), (512, 41)])
def test_build_finetuning__cldice_sees_the_centreline_of_the_widest_vessel(img_size: int, width: int) -> None:
    config = FinetuneConfig(model="unext_test", img_size=img_size, cldice_weight=1.0)
    target = torch.zeros(1, 1, img_size, img_size)
    target[..., img_size // 4 :][..., :width] = 1
    beside = 60 * target.roll(width + 10, -1) - 30  # logits of a vessel that is not there
    terms = build_finetuning(config, (0.5, 0.25)).loss(beside, target)
    assert terms["cldice"] > 0.9


def test_widest_radius__grows_with_the_crop() -> None:
    assert [widest_radius(size) for size in (64, 224, 416, 512)] == [12, 12, 19, 24]


@pytest.mark.parametrize("model", ["vit_test_unet", "unext_test", "unet_test"])
def test_build_finetuning__every_weight_learns(model: str) -> None:
    """One that no loss sees would stop a training on several devices."""
    task = build_finetuning(FinetuneConfig(model=model, img_size=64), (0.5, 0.25))
    batch = {"image": torch.rand(2, 1, 64, 64), "mask": (torch.rand(2, 64, 64) > 0.5).float()}
    task(batch, Progress(0, 1, 0, 1)).loss.backward()
    assert [name for name, weight in task.named_parameters() if weight.requires_grad and weight.grad is None] == []
