"""The segmentation task: terms, sum and target."""

from __future__ import annotations

import torch
from torch import nn

from vasomim.build import build_loss
from vasomim.tasks.segmentation import SegmentationTask
from vasomim.types import Progress

START = Progress(0, 1, 0, 1)


def test_segmentation_task__sums_its_weighted_terms() -> None:
    batch = {"image": torch.rand(2, 1, 32, 32), "mask": (torch.rand(2, 32, 32) > 0.5).float()}
    model = nn.Conv2d(1, 1, 3, padding=1)
    once = SegmentationTask(model, build_loss(dice=1, bce=1))(batch, START)
    twice = SegmentationTask(model, build_loss(dice=1, bce=3))(batch, START)
    assert set(once.logs) == {"loss", "dice", "bce"}
    torch.testing.assert_close(twice.loss, once.loss + 2 * once.logs["bce"])


def test_segmentation_task__learns_the_named_target() -> None:
    batch = {"image": torch.rand(1, 1, 8, 8), "mask": torch.zeros(1, 8, 8), "vessels": torch.ones(1, 8, 8)}
    sure = nn.Conv2d(1, 1, 1)
    nn.init.zeros_(sure.weight)
    nn.init.constant_(sure.bias, 20.0)  # type: ignore[arg-type]
    loss = build_loss(dice=0.5, bce=0.5)
    assert SegmentationTask(sure, loss, target="vessels")(batch, START).loss < 1e-3
    assert SegmentationTask(sure, loss, target="mask")(batch, START).loss > 5
