"""Deblurring MAE: blurred frames in, sharp ones out, all patches count."""

from __future__ import annotations

import pytest
import torch
from method_tools import MIDWAY, PATCH, PATCHES, make_batch, make_mae

from vasomim.losses import patch_errors
from vasomim.ops.blur import gaussian_blur
from vasomim.ops.patches import normalize_patches, patchify
from vasomim.tasks.deblurring import DeblurringTask
from vasomim.tasks.reconstruction import uniform_mask


def test_deblurring_task__sees_blurred_frames_and_is_asked_for_sharp_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch = DeblurringTask(make_mae(), sigma=1.5), make_batch()
    sharp = normalize_patches(patchify(task.mae.input_norm(batch["image"]), PATCH))[0]
    seen: list[torch.Tensor] = []

    def perfect(images: torch.Tensor, *_: object) -> torch.Tensor:
        seen.append(images)
        return sharp

    monkeypatch.setattr(task.mae, "forward", perfect)
    assert task(batch, MIDWAY).loss.item() == 0
    torch.testing.assert_close(seen[0], gaussian_blur(batch["image"], 1.5))
    nothing = torch.zeros(len(sharp), PATCHES, dtype=torch.bool)
    torch.testing.assert_close(task.reconstruct(batch["image"], nothing).images, batch["image"], atol=1e-5, rtol=0)


def test_deblurring_task__loss_covers_visible_patches_too() -> None:
    task, batch = DeblurringTask(make_mae()), make_batch()
    mask = uniform_mask(batch, MIDWAY, PATCH, 0.75)
    targets = normalize_patches(patchify(task.mae.input_norm(batch["image"]), PATCH))[0]
    predictions = task.mae(gaussian_blur(batch["image"], 1.1), mask)
    errors = patch_errors(predictions, targets)
    out = task(batch, MIDWAY)
    torch.testing.assert_close(out.loss, errors.mean())
    torch.testing.assert_close(out.logs["reconstruction"], errors[mask].mean())


def test_deblurring_task__hides_what_mae_hides_and_without_blur_predicts_what_mae_does() -> None:
    task, batch = DeblurringTask(make_mae(), sigma=0.0), make_batch()
    shown = task.inspect(batch, MIDWAY)
    assert torch.equal(shown.hidden, uniform_mask(batch, MIDWAY, PATCH, 0.75))
    decoded = task.reconstruct(batch["image"], shown.hidden)
    torch.testing.assert_close(decoded.predictions, task.mae(batch["image"], shown.hidden))
