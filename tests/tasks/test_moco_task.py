"""MoCo v3: symmetric contrast between a student and its momentum copy."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from method_tools import FIRST, FRAMES, MIDWAY, SIZE, make_batch, make_encoder, step

from vasomim.losses import contrastive_loss
from vasomim.models.projection import ProjectedEncoder, norm_mlp
from vasomim.tasks.interface import Pretrains, Reconstructs
from vasomim.tasks.moco import MoCoTask
from vasomim.tasks.teacher import rising_momentum


def make_task(momentum: float = 0.9) -> MoCoTask:
    student = ProjectedEncoder(make_encoder(), norm_mlp(32, 24, 16, 3))
    return MoCoTask(student, norm_mlp(16, 24, 16, 2), momentum=momentum)


def test_moco_task__loss_is_symmetric_in_the_views() -> None:
    task, batch = make_task(), make_batch((SIZE,))
    queries = [task.predictor(task.student(batch[name])) for name in ("image", "view1")]
    keys = [task.teacher(batch[name]) for name in ("image", "view1")]
    expected = contrastive_loss(queries[0], keys[1], 0.2) + contrastive_loss(queries[1], keys[0], 0.2)
    loss = task(batch, MIDWAY).loss
    torch.testing.assert_close(loss, expected)
    swapped = {**batch, "image": batch["view1"], "view1": batch["image"]}
    torch.testing.assert_close(task(swapped, MIDWAY).loss, loss)


def test_moco_task__trains_student_and_predictor_alone() -> None:
    task = make_task()
    task(make_batch((SIZE,)), MIDWAY).loss.backward()
    assert all(weight.grad is None for weight in task.teacher.parameters())
    for part in (task.student.encoder.blocks, task.student.head, task.predictor):
        assert all(weight.grad is not None and weight.grad.any() for weight in part.parameters() if weight.ndim > 1)


def test_teacher__follows_with_a_momentum_that_rises_to_1() -> None:
    assert rising_momentum(FIRST, 0.9) == pytest.approx(0.9)
    assert rising_momentum(MIDWAY, 0.9) == pytest.approx(0.95)
    assert rising_momentum(replace(FIRST, step=10), 0.9) == pytest.approx(1.0)
    task, batch = make_task(), make_batch((SIZE,))
    weight, own = task.student.encoder.blocks[0].mlp.fc1.weight, None
    own = weight.detach().clone()
    for number in range(3):
        progress = replace(FIRST, step=number)
        own = own + (1 - rising_momentum(progress, 0.9)) * (weight.detach() - own)
        step(task, batch, progress)
        torch.testing.assert_close(task.teacher.net.encoder.blocks[0].mlp.fc1.weight, own)  # type: ignore[union-attr]


def test_moco_task__learns_to_tell_frames_apart() -> None:
    task, batch = make_task(momentum=0.9), make_batch((SIZE,))
    batch["view1"] = (batch["image"] + 0.02 * torch.randn(FRAMES, 1, SIZE, SIZE)).clamp(0, 1)
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for number in range(30):
        optimizer.zero_grad()
        loss = task(batch, replace(FIRST, step=number, total_steps=30)).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_moco_task__offers_an_encoder_and_no_reconstruction() -> None:
    task = make_task()
    assert isinstance(task, Pretrains)
    assert not isinstance(task, Reconstructs)
    assert task.model is task.student
    shown = task.inspect(make_batch(), MIDWAY)
    assert shown.hidden is None
    assert shown.maps["attention"].shape == (FRAMES, SIZE, SIZE)
