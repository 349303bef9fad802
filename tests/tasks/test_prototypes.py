"""The cross-image term: prototypes pooled by the guidance."""

from __future__ import annotations

import pytest
import torch
from method_tools import FRAMES, MIDWAY, PATCH, PATCHES, SIZE, make_batch, make_mae
from torch import nn

from vasomim.losses import prototype_loss
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask
from vasomim.tasks.prototypes import cross_image_term, pooled


def make_task(**more: float) -> PretrainingTask:
    return PretrainingTask(make_mae(), MaskingPlan(guidance="anatomy"), None, consistency_weight=0.0, **more)  # type: ignore[arg-type]


def test_pooled__is_the_weighted_mean() -> None:
    tokens, weights = torch.rand(2, 3, 4), torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    expected = (tokens[0, 0] + 3 * tokens[0, 2]) / 4
    torch.testing.assert_close(pooled(tokens, weights)[0], expected)
    assert not pooled(tokens, weights)[1].any()


def test_cross_image_term__pools_tokens_by_the_vessel_in_their_patch() -> None:
    tokens = torch.randn(FRAMES, PATCHES, 6)
    guidance = torch.zeros(FRAMES, SIZE, SIZE)
    guidance[:3, :32] = 0.5  # the last frame shows none
    vessel = torch.cat([tokens[:3, :32].mean(1), torch.zeros(1, 6)])
    background = (tokens[:, :32].sum(1) * 0.5 + tokens[:, 32:].sum(1)) / 48
    background[3] = tokens[3].mean(0)
    expected = prototype_loss(vessel, background, torch.tensor([True, True, True, False]), temperature=0.3)
    torch.testing.assert_close(cross_image_term(tokens, guidance, guidance > 0, PATCH, 0.3), expected)


def test_pretraining_task__adds_the_term_by_its_weight_and_is_the_same_to_the_bit_without() -> None:
    batch = make_batch()
    plain, with_term = make_task()(batch, MIDWAY), make_task(prototype_weight=0.5)(batch, MIDWAY)
    assert set(plain.logs) == {"loss", "reconstruction"}
    assert torch.equal(with_term.logs["reconstruction"], plain.loss)
    torch.testing.assert_close(with_term.loss, plain.loss + 0.5 * with_term.logs["prototypes"])
    assert float(with_term.logs["prototypes"]) > 0


def test_pretraining_task__the_term_trains_the_encoder_whatever_is_hidden() -> None:
    task = make_task(prototype_weight=1.0)
    task.plan = MaskingPlan(guidance="anatomy", guided_start=1.0, guided_end=1.0)  # no vessel stays visible
    out = task(make_batch(), MIDWAY)
    out.loss.backward()
    assert float(out.logs["prototypes"]) > 0
    with_term = task.mae.encoder.blocks[0].mlp.fc1.weight.grad.clone()
    task.prototype_weight = 0.0
    task.zero_grad()
    task(make_batch(), MIDWAY).loss.backward()
    assert not torch.equal(task.mae.encoder.blocks[0].mlp.fc1.weight.grad, with_term)


def test_pretraining_task__frames_without_vessels_have_no_say_under_co_guidance() -> None:
    doubtful = nn.Conv2d(1, 1, 1)  # logits of -8 everywhere: a sigmoid that is small and not 0
    nn.init.zeros_(doubtful.weight)
    nn.init.constant_(doubtful.bias, -8.0)
    plan = MaskingPlan(guidance="co")
    task = PretrainingTask(make_mae(), plan, doubtful, consistency_weight=0.0, prototype_weight=1.0)
    batch = make_batch()
    batch["vessels"][2:] = 0
    among_empty = task(batch, MIDWAY).logs["prototypes"]
    alone = task({name: value[:2] for name, value in batch.items()}, MIDWAY).logs["prototypes"]
    torch.testing.assert_close(among_empty, alone)


def test_pretraining_task__refuses_prototypes_without_guidance() -> None:
    with pytest.raises(ValueError, match="guidance"):
        PretrainingTask(make_mae(), MaskingPlan(guidance="none"), None, consistency_weight=0.0, prototype_weight=1.0)
