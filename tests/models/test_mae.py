"""Masked autoencoder: hidden pixels stay hidden, the arithmetic is that of the published model."""

import pytest
import torch
from torch.testing import assert_close

from vasomim.models.input_norm import InputNorm
from vasomim.models.mae import MaskedAutoencoder, take_input_norm
from vasomim.models.registry import create_model
from vasomim.models.vit import VisionTransformer
from vasomim.ops.masking import random_mask
from vasomim.ops.patches import patchify, unpatchify
from vasomim.ops.positions import sincos_2d


def _mae(in_chans=1, **kwargs):
    torch.manual_seed(0)
    encoder = VisionTransformer(32, 8, in_chans, 32, 2, 2, fixed_positions=True)
    return MaskedAutoencoder(encoder, 16, 1, 2, **kwargs).eval()


def _batch(b=3, in_chans=1, ratio=0.5):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(b, in_chans, 32, 32, generator=generator)
    return images, random_mask(b, 16, ratio, generator)


def _repainted(images, mask, value):
    """Hidden patches painted over."""
    patches = torch.where(mask[..., None], value, patchify(images, 8))
    return unpatchify(patches, 8, (4, 4), images.shape[1])


@pytest.mark.parametrize("in_chans", [1, 3])
def test_forward__predicts_all_patches(in_chans):
    images, mask = _batch(in_chans=in_chans)
    model = _mae(in_chans)
    assert model(images, mask).shape == (3, 16, 64 * in_chans)
    assert model.encode(images, mask).shape == (3, 1 + 8, 32)


@pytest.mark.parametrize("value", [0.0, 7.0, float("nan")])
def test_encode__hidden_pixels_cannot_change_anything(value):
    images, mask = _batch()
    model = _mae()
    other = _repainted(images, mask, value)
    assert torch.equal(model.encode(images, mask), model.encode(other, mask))
    assert torch.equal(model(images, mask), model(other, mask))


def test_encode__every_visible_patch_changes_the_latent():
    images, mask = _batch(1)
    model = _mae()
    latent = model.encode(images, mask)
    for patch in (~mask[0]).nonzero().flatten().tolist():
        only = torch.zeros_like(mask)
        only[0, patch] = True
        assert not torch.allclose(model.encode(_repainted(images, only, 0.0), mask), latent)


def test_encode__equals_the_encoder_where_nothing_is_hidden():
    images, _ = _batch()
    model = _mae()
    mask = torch.zeros(3, 16, dtype=torch.bool)
    expected = model.encoder.forward_features(model.input_norm(images))
    assert_close(model.encode(images, mask), expected)


def test_forward__equals_its_definition_token_by_token():
    images, mask = _batch(2)
    model = _mae()
    tokens = model.encoder.embed(model.input_norm(images))
    for i in range(2):
        visible = [p for p in range(16) if not mask[i, p]]
        latent = model.encoder.run_blocks(tokens[i : i + 1, [0] + [1 + p for p in visible]])
        narrow = model.decoder_embed(latent)[0]
        full = [narrow[0]]
        places = sincos_2d(16, (4, 4))
        for p in range(16):
            token = narrow[1 + visible.index(p)] if p in visible else model.mask_token[0, 0]
            full.append(token + places[p])
        x = torch.stack(full)[None]
        for block in model.decoder_blocks:
            x = block(x)
        expected = model.decoder_pred(model.decoder_norm(x))[:, 1:]
        assert_close(model(images[i : i + 1], mask[i : i + 1]), expected)


def test_forward__num_hidden_is_only_a_shortcut():
    images, mask = _batch()
    model = _mae()
    assert torch.equal(model(images, mask, num_hidden=8), model(images, mask))
    assert torch.equal(model.encode(images, mask, num_hidden=8), model.encode(images, mask))


def test_forward__rows_do_not_depend_on_each_other():
    images, mask = _batch()
    model = _mae()
    assert_close(model(images, mask)[1:2], model(images[1:2], mask[1:2]))


def test_forward__other_image_sizes():
    model = _mae()
    mask = random_mask(2, 6 * 5, 0.5)
    assert model(torch.rand(2, 1, 48, 40), mask).shape == (2, 30, 64)


def test_masked_autoencoder__positions_are_fixed_and_gradients_reach_the_rest():
    images, mask = _batch()
    model = _mae().train()
    before = model.encoder.pos_embed.clone()
    model(images, mask).square().sum().backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {n for n, _ in model.named_parameters()} - trained == {"encoder.pos_embed"}
    assert [n for n, p in model.named_parameters() if n in trained and (p.grad is None or not p.grad.any())] == []
    assert torch.equal(model.encoder.pos_embed, before)


def test_masked_autoencoder__normalises_with_its_statistics():
    images, mask = _batch()
    a, b = _mae(), _mae(mean=0.1, std=0.7)
    assert_close(b(images, mask), a((images - 0.1) / 0.7 * 0.25 + 0.5, mask), rtol=1e-4, atol=1e-5)


def test_take_input_norm__moves_it_so_that_images_are_normalised_once():
    encoder = VisionTransformer(32, 8, 1, 32, 1, 2)
    encoder.input_norm = InputNorm(0.3, 0.1, persistent=False)
    norm = take_input_norm(encoder, 0.5, 0.25)
    assert encoder.input_norm is None
    assert norm.mean.item() == pytest.approx(0.3)
    assert set(norm.state_dict()) == {"mean", "std"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m[:, :-1], r"mask must be bool of shape \(3, 16\)"),
        (lambda m: m.float(), "mask must be bool"),
        (
            lambda m: torch.cat([~m[:1] | True, m[1:]]),
            r"every row of the mask must hide 16 patches, got rows hiding \[8, 16\]",
        ),
    ],
)
def test_forward__refuses_a_mask_that_does_not_fit(change, message):
    images, mask = _batch()
    with pytest.raises(ValueError, match=message):
        _mae()(images, change(mask))


def test_forward__captures_into_one_graph():
    images, mask = _batch()
    model = _mae()
    with torch.no_grad():
        exported = torch.export.export(model, (images, mask), {"num_hidden": 8}).module()
        assert_close(exported(images, mask, num_hidden=8), model(images, mask))


def test_forward__is_encode_place_predict():
    torch.manual_seed(0)
    mae = create_model("mae_vit_test", img_size=32)
    images, mask = torch.rand(2, 1, 32, 32), torch.zeros(2, 16, dtype=torch.bool)
    mask[:, ::2] = True
    tokens = mae.place(mae.encode(images, mask), mask, (4, 4))
    assert tokens.shape == (2, 17, 32)
    assert torch.equal(mae.predict(tokens), mae(images, mask))
    hidden = mae.mask_token + mae.decoder_positions[:, ::2]
    assert_close(tokens[:, 1:][:, ::2], hidden.expand(2, -1, -1))
