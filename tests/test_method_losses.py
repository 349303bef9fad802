"""Losses of the methods to compare with."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vasomim.losses import (
    absolute_reconstruction_loss,
    contrastive_loss,
    distillation_loss,
    patch_errors,
    prototype_loss,
    ranking_loss,
    reconstruction_loss,
)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


MASK = torch.tensor([[True, False, True, True], [False, True, True, True]])


def test_absolute_reconstruction_loss__is_the_mean_over_hidden_values() -> None:
    pred, target = randn(2, 4, 3).requires_grad_(), randn(2, 4, 3, seed=1)
    loss = absolute_reconstruction_loss(pred, target, MASK)
    torch.testing.assert_close(loss, (pred - target)[MASK].abs().mean())
    loss.backward()
    assert not pred.grad[~MASK].any()
    target[~MASK] = math.nan
    torch.testing.assert_close(absolute_reconstruction_loss(pred, target, MASK), loss)


def test_patch_errors__average_to_the_reconstruction_loss() -> None:
    pred, target = randn(2, 4, 3), randn(2, 4, 3, seed=1)
    everything = torch.ones(2, 4, dtype=torch.bool)
    torch.testing.assert_close(patch_errors(pred, target).mean(), reconstruction_loss(pred, target, everything))


def test_ranking_loss__equals_a_loop_over_pairs() -> None:
    pred, target = randn(2, 4), randn(2, 4, seed=1)
    costs = [
        F.softplus(pred[b, j] - pred[b, i])
        for b in range(2)
        for i in range(4)
        for j in range(4)
        if MASK[b, i] and MASK[b, j] and target[b, i] > target[b, j]
    ]
    torch.testing.assert_close(ranking_loss(pred, target, MASK), torch.stack(costs).mean())


def test_ranking_loss__knows_order_alone() -> None:
    pred, target = randn(2, 4), randn(2, 4, seed=1)
    torch.testing.assert_close(ranking_loss(pred, target, MASK), ranking_loss(pred, 5 * target.exp() + 3, MASK))
    assert float(ranking_loss(50 * target, target, MASK)) < 0.2 * float(ranking_loss(pred * 0, target, MASK))
    assert float(ranking_loss(pred * 0, target, MASK)) == pytest.approx(math.log(2))
    assert float(ranking_loss(pred, target * 0, MASK)) == 0, "ties say nothing"


def test_ranking_loss__gives_no_gradient_to_targets_and_hidden_from_it_are_unmarked_patches() -> None:
    pred, target = randn(2, 4).requires_grad_(), randn(2, 4, seed=1).requires_grad_()
    ranking_loss(pred, target, MASK).backward()
    assert target.grad is None
    assert not pred.grad[~MASK].any()
    assert pred.grad[MASK].any()


def test_contrastive_loss__is_cross_entropy_of_cosines() -> None:
    queries, keys = randn(3, 8), randn(3, 8, seed=1)
    cosines = torch.stack([torch.stack([F.cosine_similarity(q, k, dim=0) for k in keys]) for q in queries])
    expected = -2 * 0.2 * torch.log_softmax(cosines / 0.2, 1).diagonal().mean()
    torch.testing.assert_close(contrastive_loss(queries, keys, 0.2), expected)


def test_contrastive_loss__finds_keys_of_another_process_by_their_place() -> None:
    queries, keys = randn(2, 8), torch.cat([randn(2, 8, seed=1), randn(2, 8)])
    assert float(contrastive_loss(queries, keys, 0.05, first=2)) < float(contrastive_loss(queries, keys, 0.05))


def test_contrastive_loss__pulls_queries_and_leaves_keys() -> None:
    queries, keys = randn(4, 8).requires_grad_(), randn(4, 8, seed=1).requires_grad_()
    before = F.cosine_similarity(queries, keys).mean()
    contrastive_loss(queries, keys, 0.2).backward()
    assert keys.grad is None
    after = F.cosine_similarity(queries - queries.grad, keys).mean()
    assert after > before
    same = torch.ones(5, 8)
    assert float(contrastive_loss(same, same, 0.2)) == pytest.approx(0.4 * math.log(5)), "a collapse is no better"


def test_distillation_loss__is_least_where_the_student_says_the_same() -> None:
    teacher, center = randn(4, 6), torch.zeros(6)
    wanted = (teacher / 0.05).softmax(-1)
    entropy = -(wanted * wanted.clamp(min=1e-30).log()).sum(-1).mean()
    same = distillation_loss(teacher * 2, teacher, center, 0.1, 0.05)  # equal after both temperatures
    torch.testing.assert_close(same, entropy)
    assert float(distillation_loss(randn(4, 6, seed=3), teacher, center, 0.1, 0.05)) > float(same)


def test_distillation_loss__centring_removes_what_all_answers_share() -> None:
    teacher, student, shift = randn(4, 6), randn(4, 6, seed=1), randn(6, seed=2)
    plain = distillation_loss(student, teacher, torch.zeros(6), 0.1, 0.05)
    torch.testing.assert_close(distillation_loss(student, teacher + shift, shift, 0.1, 0.05), plain)


def test_distillation_loss__teaches_the_student_alone() -> None:
    teacher, student = randn(4, 6).requires_grad_(), randn(4, 6, seed=1).requires_grad_()
    distillation_loss(student, teacher, torch.zeros(6), 0.1, 0.05).backward()
    assert teacher.grad is None
    assert student.grad.any()


VALID = torch.tensor([True, True, False, True])


def test_prototype_loss__equals_a_loop_over_pairs() -> None:
    vessel, background = randn(4, 5), randn(4, 5, seed=1)
    v, n = F.normalize(vessel, dim=1), F.normalize(background, dim=1)
    frames = [0, 1, 3]
    costs = []
    for a in frames:
        repelled = sum((v[a] @ n[c] / 0.3).exp() for c in frames)
        costs += [-((v[a] @ v[b] / 0.3).exp() / ((v[a] @ v[b] / 0.3).exp() + repelled)).log() for b in frames if a != b]
    torch.testing.assert_close(prototype_loss(vessel, background, VALID, 0.3), torch.stack(costs).mean())


def test_prototype_loss__attracts_vessels_and_repels_background() -> None:
    vessel, background = randn(4, 5).requires_grad_(), randn(4, 5, seed=1).requires_grad_()
    prototype_loss(vessel, background, VALID).backward()

    def means(v: Tensor, n: Tensor) -> tuple[float, float]:
        v, n = F.normalize(v[VALID].detach(), dim=1), F.normalize(n[VALID].detach(), dim=1)
        return float((v @ v.T).mean()), float((v @ n.T).mean())

    before = means(vessel, background)
    after = means(vessel - vessel.grad, background - background.grad)
    assert after[0] > before[0]
    assert after[1] < before[1]
    assert not vessel.grad[2].any(), "a frame without vessels has no part"


@pytest.mark.parametrize("valid", [[False] * 4, [True, False, False, False]])
def test_prototype_loss__of_fewer_than_two_frames_is_0_with_a_finite_gradient(valid: list[bool]) -> None:
    vessel, background = torch.zeros(4, 5, requires_grad=True), randn(4, 5).requires_grad_()
    loss = prototype_loss(vessel, background, torch.tensor(valid))
    loss.backward()
    assert loss.item() == 0
    assert not vessel.grad.any()
    assert not background.grad.any()
