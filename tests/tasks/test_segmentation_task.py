"""The segmentation task: terms, sum and target."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vasomim.build import build_loss
from vasomim.models.registry import create_model
from vasomim.models.unet import PlainUNet
from vasomim.tasks.segmentation import SegmentationTask, halving_weights
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


def test_segmentation_task__supervises_all_scales_by_their_weights() -> None:
    torch.manual_seed(0)
    model = create_model("unet_test", img_size=32)
    assert isinstance(model, PlainUNet)
    batch = {"image": torch.rand(2, 1, 32, 32), "mask": (torch.rand(2, 32, 32) > 0.5).float()}
    loss = build_loss(dice=1, bce=1)
    out = SegmentationTask(model, loss, scale_weights=(0.7, 0.3))(batch, START)
    expected = 0.0
    for logits, weight, step in zip(model.forward_scales(batch["image"]), (0.7, 0.3), (1, 2), strict=True):
        nearest = batch["mask"][:, None, step // 2 :: step, step // 2 :: step]
        expected = expected + weight * sum(loss(logits, nearest).values())
    torch.testing.assert_close(out.loss, expected)
    assert set(out.logs) == {"loss", "dice", "bce"}
    full = SegmentationTask(model, loss)(batch, START).loss
    torch.testing.assert_close(SegmentationTask(model, loss, scale_weights=(1.0, 0.0))(batch, START).loss, full)


def test_halving_weights__sum_to_one() -> None:
    assert halving_weights(4) == pytest.approx((8 / 15, 4 / 15, 2 / 15, 1 / 15))
    assert halving_weights(1) == (1.0,)


def test_segmentation_task__refuses_scales_of_a_model_without() -> None:
    with pytest.raises(ValueError, match="scale_weights"):
        SegmentationTask(nn.Conv2d(1, 1, 1), build_loss(dice=1, bce=1), scale_weights=(0.5, 0.5))
