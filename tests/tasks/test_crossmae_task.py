"""CrossMAE: each hidden patch is read out on its own, and only a share of them."""

from __future__ import annotations

import pytest
import torch
from method_tools import MIDWAY, PATCH, PATCHES, SIZE, make_batch, make_encoder, paint
from torch import Tensor

from vasomim.losses import patch_errors
from vasomim.models.crossmae import CrossMAE
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.registry import create_model
from vasomim.models.vit import VisionTransformer
from vasomim.tasks.crossmae import CrossMAETask
from vasomim.tasks.reconstruction import patch_targets, uniform_mask


def make_model() -> CrossMAE:
    model = CrossMAE(make_encoder(), decoder_embed_dim=32, decoder_depth=2, decoder_num_heads=2)
    with torch.no_grad():
        model.mask_token.normal_()
    return model


def test_crossmae__a_patch_is_predicted_alike_whatever_else_is_asked_for() -> None:
    model, batch = make_model(), make_batch()
    mask = uniform_mask(batch, MIDWAY, PATCH, 0.75)
    everything = torch.zeros(len(mask), PATCHES, PATCH**2)
    everything[mask] = model(batch["image"], mask, mask).flatten(0, 1)
    for patch in (0, 17, 40):
        alone = torch.zeros_like(mask)
        alone[:, patch] = True
        rows = mask[:, patch]  # where it is hidden
        single = model(batch["image"], mask, alone)[:, 0]
        torch.testing.assert_close(single[rows], everything[rows, patch])


def test_crossmae__hidden_pixels_cannot_change_the_prediction_and_visible_ones_do() -> None:
    model, batch = make_model(), make_batch()
    images, mask = batch["image"], uniform_mask(batch, MIDWAY, PATCH, 0.5)
    noise = torch.rand_like(images)
    before = model(images, mask, mask)
    torch.testing.assert_close(model(paint(images, mask, noise), mask, mask), before)
    assert (model(paint(images, ~mask, noise), mask, mask) - before).abs().max() > 1e-4


def test_crossmae__decoder_blocks_look_at_mixtures_of_all_depths() -> None:
    model, batch = make_model(), make_batch()
    mask = uniform_mask(batch, MIDWAY, PATCH, 0.5)
    with torch.no_grad():
        depths = model.encode(batch["image"], mask)
    assert depths.shape == (model.encoder.depth, len(mask), 1 + 32, 32)
    model(batch["image"], mask, mask).square().sum().backward()
    assert (model.mixture.grad.abs() > 0).all(), "each depth has a say in each block"
    assert model.mixture.shape == (2, model.encoder.depth)


@pytest.mark.parametrize("registers", [0, 3])
def test_crossmae__encoder_blocks_see_what_they_see_in_a_masked_autoencoder(registers: int) -> None:
    encoder, batch = create_model("vit_test", img_size=SIZE, fixed_positions=True, reg_tokens=registers), make_batch()
    assert isinstance(encoder, VisionTransformer)
    mask = uniform_mask(batch, MIDWAY, PATCH, 0.5)
    outputs: list[Tensor] = []
    for block in encoder.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: outputs.append(encoder.drop_registers(output)))
    with torch.no_grad():
        latent = MaskedAutoencoder(encoder, 32, 1, 2).encode(batch["image"], mask)
        expected = torch.stack([*outputs[:-1], latent])
        torch.testing.assert_close(CrossMAE(encoder, 32, 1, 2).encode(batch["image"], mask), expected)


def test_crossmae_task__loss_is_that_of_the_asked_patches() -> None:
    task, batch = CrossMAETask(make_model(), mask_ratio=0.75, predict_ratio=0.25), make_batch()
    mask = uniform_mask(batch, MIDWAY, PATCH, 0.75)
    asked = task.draw_asked(batch, MIDWAY, mask)
    assert asked.sum(1).tolist() == [PATCHES // 4] * len(mask)
    assert not (asked & ~mask).any()
    targets = patch_targets(batch["image"], task.model, norm_pix_loss=True)
    decoded = task.reconstruct(batch["image"], mask)
    torch.testing.assert_close(task(batch, MIDWAY).loss, patch_errors(decoded.predictions, targets)[asked].mean())


def test_crossmae_task__asks_for_no_more_than_is_hidden() -> None:
    task, batch = CrossMAETask(make_model(), mask_ratio=0.5, predict_ratio=0.9), make_batch()
    mask = uniform_mask(batch, MIDWAY, PATCH, 0.5)
    assert torch.equal(task.draw_asked(batch, MIDWAY, mask), mask)


def test_reconstruct__visible_patches_are_the_frames_own() -> None:
    task, batch = CrossMAETask(make_model()), make_batch()
    shown = task.inspect(batch, MIDWAY)
    kept = paint(torch.zeros_like(batch["image"]), ~shown.hidden, batch["image"])
    torch.testing.assert_close(paint(torch.zeros_like(kept), ~shown.hidden, shown.decoded), kept, atol=1e-5, rtol=0)
