"""SimMIM: mask tokens in the encoder, L1 on hidden pixels, squares of patches."""

from __future__ import annotations

import pytest
import torch
from method_tools import MIDWAY, PATCH, PATCHES, SIZE, make_batch, make_encoder, paint

from vasomim.models.simmim import SimMIM
from vasomim.ops.masking import num_hidden
from vasomim.ops.patches import patchify
from vasomim.tasks.interface import Reconstructs
from vasomim.tasks.simmim import SimMIMTask


def make_model() -> SimMIM:
    model = SimMIM(make_encoder(), mean=0.4, std=0.2)
    with torch.no_grad():
        model.mask_token.normal_()
    return model


def test_simmim__hidden_pixels_cannot_change_the_prediction_and_visible_ones_do() -> None:
    model, images = make_model(), make_batch()["image"]
    mask = torch.zeros(len(images), PATCHES, dtype=torch.bool)
    mask[:, ::3] = True
    noise = torch.rand_like(images)
    before = model(images, mask)
    assert before.shape == (len(images), PATCHES, PATCH**2), "every patch is predicted"
    torch.testing.assert_close(model(paint(images, mask, noise), mask), before)
    after = model(paint(images, ~mask, noise), mask)
    assert (after - before)[mask].abs().max() > 1e-4, "the encoder mixes visible into hidden"


def test_simmim__the_encoder_sees_a_token_for_each_hidden_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = make_model(), make_batch()["image"]
    mask = torch.zeros(len(images), PATCHES, dtype=torch.bool)
    mask[:, 5] = True
    seen: list[torch.Tensor] = []
    blocks = model.encoder.run_blocks
    monkeypatch.setattr(model.encoder, "run_blocks", lambda tokens: seen.append(tokens) or blocks(tokens))
    model(images, mask)
    plain = model.encoder.embed(model.input_norm(images))
    expected = (model.mask_token + model.encoder.pos_embed[:, 1:])[:, 5]
    torch.testing.assert_close(seen[0][:, 6], expected.expand(len(images), -1))
    rest = [token for token in range(1 + PATCHES) if token != 6]
    assert torch.equal(seen[0][:, rest], plain[:, rest])


def test_simmim__resizes_its_positions() -> None:
    model = make_model()
    mask = torch.zeros(1, 16, dtype=torch.bool)
    assert model(torch.rand(1, 1, 32, 32), mask).shape == (1, 16, PATCH**2)


def test_simmim_task__loss_is_l1_of_grey_values_over_hidden_squares() -> None:
    task, batch = SimMIMTask(make_model(), mask_ratio=0.6, mask_unit=2), make_batch()
    mask = task.draw_mask(batch, MIDWAY)
    squares = mask.reshape(-1, 4, 2, 4, 2).float().mean((2, 4))
    assert ((squares == 0) | (squares == 1)).all()
    assert mask.sum(1).tolist() == [4 * num_hidden(16, 0.6)] * len(mask)
    pixels = patchify(task.model.input_norm(batch["image"]), PATCH)
    expected = (task.model(batch["image"], mask) - pixels)[mask].abs().mean()
    torch.testing.assert_close(task(batch, MIDWAY).loss, expected)


def test_simmim_task__reconstruct_gives_perfect_predictions_back(monkeypatch: pytest.MonkeyPatch) -> None:
    task, images = SimMIMTask(make_model()), make_batch()["image"]
    pixels = patchify(task.model.input_norm(images), PATCH)
    monkeypatch.setattr(task.model, "forward", lambda images, mask: pixels)  # noqa: ARG005
    decoded = task.reconstruct(images, torch.zeros(len(images), PATCHES, dtype=torch.bool))
    torch.testing.assert_close(decoded.images, images, atol=1e-5, rtol=0)
    assert isinstance(task, Reconstructs)
    assert task.inspect(make_batch(), MIDWAY).decoded.shape == (len(images), 1, SIZE, SIZE)
