"""HPM: a predictor ranks the losses, its slow copy says what is hard, and masks go from easy to hard."""

from __future__ import annotations

from dataclasses import replace

import torch
from method_tools import MIDWAY, PATCHES, make_batch, make_mae, step

from vasomim.losses import reconstruction_loss
from vasomim.models.hpm import HardPatchMiner
from vasomim.ops.masking import num_hidden
from vasomim.tasks.hpm import HPMTask
from vasomim.tasks.reconstruction import uniform_mask
from vasomim.tasks.teacher import warm_momentum


def make_task(**more: float) -> HPMTask:
    return HPMTask(HardPatchMiner(make_mae()), **more)  # type: ignore[arg-type]


def test_draw_mask__goes_from_easy_to_hard() -> None:
    task, batch = make_task(mask_ratio=0.5, hard_end=1.0), make_batch()
    difficulty = task.difficulty(batch["image"])
    hardest = difficulty.argsort(dim=1, descending=True)[:, : num_hidden(PATCHES, 0.5)]
    shares = []
    for epoch in range(4):
        mask = task.draw_mask(batch, difficulty, replace(MIDWAY, epoch=epoch))
        assert mask.sum(1).tolist() == [32] * len(mask)
        shares.append(mask.gather(1, hardest).float().mean().item())
    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0


def test_draw_mask__without_hard_patches_is_that_of_mae() -> None:
    task, batch = make_task(hard_end=0.0), make_batch()
    mask = task.draw_mask(batch, task.difficulty(batch["image"]), MIDWAY)
    assert torch.equal(mask, uniform_mask(batch, MIDWAY, task.model.patch_size, 0.75))


def test_hpm_task__reconstruction_is_that_of_the_autoencoder() -> None:
    task, batch = make_task(), make_batch()
    mask = task.draw_mask(batch, task.difficulty(batch["image"]), MIDWAY)
    decoded = task.reconstruct(batch["image"], mask)
    out = task(batch, MIDWAY)
    expected = reconstruction_loss(decoded.predictions, decoded.targets, mask)
    torch.testing.assert_close(out.logs["reconstruction"], expected)
    torch.testing.assert_close(out.loss, expected + out.logs["ranking"])


def test_teacher__follows_the_student_by_the_formula_once_a_step() -> None:
    task, batch = make_task(momentum=0.6), make_batch()
    weight = task.miner.loss_head.weight
    own = weight.detach().clone()
    for number in range(4):
        progress = replace(MIDWAY, step=number)
        momentum = warm_momentum(progress, 0.6)
        own = momentum * own + (1 - momentum) * weight.detach()
        task(batch, progress)  # another part of the same batch changes nothing
        step(task, batch, progress)
        torch.testing.assert_close(task.teacher.net.loss_head.weight, own)  # type: ignore[union-attr]
    assert not torch.equal(own, weight)
    assert warm_momentum(MIDWAY, 0.999) == 6 / 15
    assert warm_momentum(replace(MIDWAY, step=10**6), 0.999) == 0.999


def test_teacher__takes_no_gradient_and_stands_still_in_validation() -> None:
    task, batch = make_task(), make_batch()
    task(batch, MIDWAY).loss.backward()
    assert all(weight.grad is None and not weight.requires_grad for weight in task.teacher.parameters())
    step(task, batch, MIDWAY)
    before = {name: value.clone() for name, value in task.teacher.state_dict().items()}
    task.eval()
    task(batch, replace(MIDWAY, step=6))
    assert all(torch.equal(value, before[name]) for name, value in task.teacher.state_dict().items())


def test_ranking__learns_which_patches_are_hard() -> None:
    """Noise in half of the frame cannot be reconstructed, a flat half can; the predictor finds out."""
    torch.manual_seed(0)
    task, batch = make_task(mask_ratio=0.5, ranking_weight=1.0), make_batch()
    batch["image"][..., 32:, :] = 0.5 + 0.1 * torch.linspace(0, 1, 64)
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=3e-3)
    for number in range(40):
        optimizer.zero_grad()
        task(batch, replace(MIDWAY, step=number, total_steps=40)).loss.backward()
        optimizer.step()
    noisy, flat = task.difficulty(batch["image"]).chunk(2, dim=1)
    assert (noisy[:, :, None] > flat[:, None, :]).float().mean() > 0.7, "share of the pairs; chance is a half"


def test_inspect__shows_difficulty() -> None:
    shown = make_task().inspect(make_batch(), MIDWAY)
    assert shown.maps["difficulty"].min() == 0
    assert shown.decoded is not None
