"""AMT: the class token's attention decides what is hidden and what is thrown away."""

from __future__ import annotations

import pytest
import torch
from method_tools import FIRST, MIDWAY, PATCHES, make_batch, make_mae, paint

from vasomim.losses import reconstruction_loss
from vasomim.ops.masking import num_hidden
from vasomim.tasks.amt import AMTTask


def test_loss__thrown_patches_have_no_part_in_it() -> None:
    task, images = AMTTask(make_mae(), norm_pix_loss=False), make_batch()["image"].requires_grad_()
    hidden, thrown = task.draw_masks(make_batch(), task.attention(images, MIDWAY), MIDWAY)
    before = task.loss(images, hidden, thrown)
    gradient = torch.autograd.grad(before, images)[0]
    touched = paint(torch.zeros_like(images), thrown, gradient)
    assert not touched.any(), "neither as input nor as target"
    assert paint(torch.zeros_like(images), hidden, gradient).any(), "hidden ones are targets"
    torch.testing.assert_close(task.loss(paint(images, thrown, torch.rand_like(images)), hidden, thrown), before)


def test_loss__thrown_patches_cost_the_decoder_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch = AMTTask(make_mae()), make_batch()
    counts: list[int] = []
    predict = task.mae.predict
    monkeypatch.setattr(task.mae, "predict", lambda tokens: counts.append(tokens.shape[1] - 1) or predict(tokens))
    task(batch, MIDWAY)
    thrown = num_hidden(PATCHES, 0.85) - num_hidden(PATCHES, 0.45)
    assert counts == [PATCHES - thrown]


def test_loss__without_throwing_is_that_of_mae() -> None:
    task, batch = AMTTask(make_mae()), make_batch()
    hidden, _ = task.draw_masks(batch, task.attention(batch["image"], MIDWAY), MIDWAY)
    decoded = task.reconstruct(batch["image"], hidden)
    expected = reconstruction_loss(decoded.predictions, decoded.targets, hidden)
    torch.testing.assert_close(task.loss(batch["image"], hidden, torch.zeros_like(hidden)), expected)


def test_attention__drives_the_masks_after_the_start() -> None:
    task, images = AMTTask(make_mae(), start=0.5), make_batch()["image"]
    assert (task.attention(images, FIRST) == 1).all()
    weights = task.attention(images, MIDWAY)
    torch.testing.assert_close(weights, task.mae.encoder.class_attention(task.mae.input_norm(images)))
    assert not weights.requires_grad


def test_draw_masks__hides_what_is_attended_to() -> None:
    task = AMTTask(make_mae(), mask_ratio=0.25, throw_ratio=0.25)
    weights = torch.ones(1, PATCHES)
    weights[:, :16] = 500
    batch = {"epoch": torch.zeros(400, dtype=torch.int64), "index": torch.arange(400)}
    hidden, thrown = task.draw_masks(batch, weights.expand(400, -1), MIDWAY)
    assert hidden[:, :16].float().mean() > 0.9
    assert hidden.sum(1).eq(16).all()
    assert thrown.sum(1).eq(16).all()


def test_inspect__shows_attention_and_all_that_is_unseen() -> None:
    task, batch = AMTTask(make_mae()), make_batch()
    shown = task.inspect(batch, MIDWAY)
    assert shown.hidden.sum(1).tolist() == [num_hidden(PATCHES, 0.85)] * len(batch["image"])
    assert shown.maps["attention"].shape == batch["image"][:, 0].shape
