"""DINO: from any view the student says what the centred, sharpened teacher says of the large ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from method_tools import FIRST, FRAMES, MIDWAY, SIZE, make_batch, make_encoder, step
from torch.nn.functional import normalize

from vasomim.engine.step import split
from vasomim.losses import distillation_loss
from vasomim.models.projection import ProjectedEncoder, PrototypeHead
from vasomim.tasks.dino import DINOTask

K = 20


def make_task(**more: object) -> DINOTask:
    student = ProjectedEncoder(make_encoder(), PrototypeHead(32, 24, 16, K))
    return DINOTask(student, K, **more)  # type: ignore[arg-type]


def test_dino_task__loss_is_the_mean_over_pairs_of_different_views() -> None:
    task, batch = make_task(), make_batch((SIZE, 32, 32))
    views = [batch[name] for name in ("image", "view1", "view2", "view3")]
    teacher, student = [task.teacher(view) for view in views[:2]], [task.student(view) for view in views]
    temperature = task.teacher_temperature(MIDWAY)
    costs = [
        distillation_loss(student[j], teacher[i], torch.zeros(K), 0.1, temperature)
        for i in range(2)
        for j in range(4)
        if i != j
    ]
    assert len(costs) == 6
    torch.testing.assert_close(task(batch, MIDWAY).loss, torch.stack(costs).mean())


def test_dino_task__the_teacher_sees_large_crops_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task()
    sizes: list[int] = []
    features = task.teacher.net.features  # type: ignore[union-attr]
    monkeypatch.setattr(task.teacher.net, "features", lambda x: sizes.append(x.shape[-1]) or features(x))
    task(make_batch((SIZE, 32, 32)), MIDWAY)
    assert sizes == [SIZE, SIZE]


def test_center__is_the_running_mean_of_the_teacher_and_moves_in_training_alone() -> None:
    task, batch = make_task(center_momentum=0.8), make_batch((SIZE,))
    answers = torch.cat([task.teacher(batch["image"]), task.teacher(batch["view1"])])
    task.eval()
    task(batch, MIDWAY)
    assert not task.center.mean.any()
    task.train()
    task(batch, MIDWAY)
    torch.testing.assert_close(task.center.mean, 0.2 * answers.mean(0))
    after = replace(MIDWAY, step=MIDWAY.step + 1)
    task(batch, after)
    torch.testing.assert_close(task.center.mean, (0.2 + 0.8 * 0.2) * answers.mean(0))


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_dino_task__parts_of_a_batch_compare_with_one_centre_and_move_it_once(parts: int) -> None:
    whole, cut, batch = make_task(), make_task(), make_batch((SIZE, 32))
    cut.load_state_dict(whole.state_dict())
    for number in range(3):
        progress = replace(MIDWAY, step=number)
        expected = whole(batch, progress).loss
        losses = [cut(part, progress).loss * len(part["image"]) / FRAMES for part in split(batch, parts)]
        torch.testing.assert_close(torch.stack(losses).sum(), expected)
        torch.testing.assert_close(cut.center.mean, whole.center.mean)


def test_teacher_temperature__rises_linearly_then_stays() -> None:
    task = make_task(temperature_warmup=0.5)
    at = [task.teacher_temperature(replace(FIRST, step=number)) for number in (0, 2, 5, 9)]
    assert at == pytest.approx([0.04, 0.052, 0.07, 0.07])
    assert make_task(temperature_warmup=0.0).teacher_temperature(FIRST) == 0.07


def test_prototypes__stay_in_the_first_part_of_the_run() -> None:
    task, batch = make_task(fixed_share=0.3), make_batch((SIZE,))
    before = task.student.head.prototypes.detach().clone()
    step(task, batch, replace(FIRST, step=2))
    assert torch.equal(task.student.head.prototypes, before)
    assert task.student.head.prototypes.grad is not None, "zeros, not nothing: see PrototypeHead"
    step(task, batch, replace(FIRST, step=3))
    assert not torch.equal(task.student.head.prototypes, before)


def test_prototype_head__gives_cosines() -> None:
    head = PrototypeHead(32, 24, 16, K)
    x = torch.randn(5, 32)
    expected = normalize(head.mlp(x), dim=1) @ normalize(head.prototypes, dim=1).T
    torch.testing.assert_close(head(x), expected)
    with torch.no_grad():
        head.prototypes *= 3
    torch.testing.assert_close(head(x), expected)


def test_dino_task__exports_the_teacher_which_takes_no_gradient() -> None:
    task = make_task()
    task(make_batch((SIZE,)), MIDWAY).loss.backward()
    assert task.model is task.teacher.net
    assert all(weight.grad is None and not weight.requires_grad for weight in task.teacher.parameters())
    assert task.inspect(make_batch(), MIDWAY).maps["attention"].shape == (FRAMES, SIZE, SIZE)


def test_center__leaves_nothing_of_an_answer_that_is_always_the_same() -> None:
    task = make_task()
    always = torch.full((8, K), -0.5)
    always[:, 3] = 0.9
    for number in range(100):
        task.center.update(always, replace(FIRST, step=number))
    wanted = ((always - task.center.mean) / 0.04).softmax(1)
    torch.testing.assert_close(wanted, torch.full((8, K), 1 / K), rtol=1e-2, atol=0)


def test_dino_task__the_student_learns_what_a_fixed_teacher_says() -> None:
    task, batch = make_task(fixed_share=0.0), make_batch((SIZE, 32))
    with torch.no_grad():
        for weight in task.teacher.parameters():
            weight += 0.1 * torch.randn_like(weight)
    task.eval()  # teacher and centre stand still
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = task(batch, MIDWAY).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
