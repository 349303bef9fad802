"""Outputs equal those of timm and transformers, both ways. Slow, and skipped where these libraries do not import."""

from __future__ import annotations

import json
import warnings
from contextlib import nullcontext

import pytest
import torch
import torchvision_shim
from torch.testing import assert_close

from vasomim.models.key_export import save_for
from vasomim.models.matching import resize_kernel
from vasomim.models.registry import create_model
from vasomim.models.weights import load_autoencoder, load_encoder, save_pretrained
from vasomim.ops.positions import sincos_2d

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SMALL = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "image_size": 32, "patch_size": 8}
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def library(name):
    with warnings.catch_warnings(), torchvision_shim.installed() if name == "timm" else nullcontext():
        warnings.simplefilter("ignore")
        try:
            return __import__(name)
        except Exception as error:
            pytest.skip(f"{name} does not import here: {type(error).__name__} {error}")


def randomised(model, seed=0):
    """Large random weights everywhere, so that no tensor's place can go unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            scale = 0.3 if "lambda" in name or "gamma" in name else 0.06
            value.copy_(torch.randn(value.shape, generator=generator) * scale + (1.0 if "norm" in name else 0.0))
    return model.eval()


def images(channels=3, side=32, seed=1):
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(seed))


def export(tmp_path, name, kind, **kwargs):
    model = create_model(name, img_size=32, patch_size=8, **kwargs)
    randomised(model)
    save_pretrained(
        tmp_path / "ours",
        model,
        {"kind": kind, "model": name, "kwargs": {"img_size": 32, "patch_size": 8, **kwargs}, "mean": 0.4, "std": 0.3},
        "",
    )
    return tmp_path / "ours"


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("vit_tiny_patch16_224", {}),
        ("vit_tiny_patch16_224", {"qkv_bias": False, "mlp_ratio": 3}),
        ("vit_small_patch14_reg4_dinov2", {"patch_size": 8}),
        ("vit_small_patch14_dinov2", {"patch_size": 8}),
    ],
)
def test_load_encoder__equals_timm(tmp_path, name, more):
    timm = library("timm")
    theirs = randomised(timm.create_model(name, img_size=32, num_classes=0, **{"patch_size": 8, **more}))
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    ours = load_encoder(tmp_path / "timm.pth", in_chans=3, img_size=32)
    x = images()
    tokens = theirs.forward_features(x)
    mine = ours.forward_features(x)
    registers = getattr(theirs, "num_reg_tokens", 0)
    assert_close(mine[:, :1], tokens[:, :1], **CLOSE)
    assert_close(mine[:, 1:], tokens[:, 1 + registers :], **CLOSE)


@pytest.mark.parametrize("more", [{}, {"in_chans": 3}, {"reg_tokens": 4}])
def test_save_for__timm_computes_the_same(tmp_path, more):
    timm = library("timm")
    folder = export(tmp_path, "vit_tiny_patch16", "encoder", **more)
    config = save_for("timm", tmp_path / "timm", folder)
    theirs = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    x = images(more.get("in_chans", 1))
    normalised = (x - config["pretrained_cfg"]["mean"][0]) / config["pretrained_cfg"]["std"][0]
    tokens = theirs.forward_features(normalised)
    mine = load_encoder(folder).forward_features(x)
    assert_close(mine[:, :1], tokens[:, :1], **CLOSE)
    assert_close(mine[:, 1:], tokens[:, 1 + more.get("reg_tokens", 0) :], **CLOSE)
    assert_close(load_encoder(tmp_path / "timm", in_chans=x.shape[1], img_size=32)(normalised), mine[:, 0], **CLOSE)


@pytest.mark.parametrize("new", [16, 7])
def test_resize_kernel__equals_timm_but_for_the_constant(new):
    library("timm")
    from timm.layers import resample_patch_embed

    kernel = torch.randn(5, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    theirs, ours = resample_patch_embed(kernel, [new, new]), resize_kernel(kernel, new)
    shift = ours - theirs
    assert_close(shift, shift.mean((2, 3), keepdim=True).expand_as(shift), rtol=0, atol=1e-5)
    assert new < 14 or shift.abs().max() < 1e-5


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("kind", ["ViT", "Dinov2", "Dinov2WithRegisters"])
def test_load_encoder__equals_transformers(tmp_path, kind, safe):
    transformers = library("transformers")
    config = getattr(transformers, f"{kind}Config")(**SMALL, layer_norm_eps=1e-6)
    if kind == "ViT":
        config.intermediate_size = 768
    theirs = randomised(getattr(transformers, f"{kind}Model")(config))
    if safe:
        theirs.save_pretrained(tmp_path)
    else:  # the names of transformers 5 in memory, pickled
        torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    ours, x = load_encoder(tmp_path, in_chans=3, img_size=32), images()
    tokens, mine = theirs(pixel_values=x).last_hidden_state, ours.forward_features(x)
    registers = 4 if kind.endswith("Registers") else 0
    assert_close(mine[:, :1], tokens[:, :1], **CLOSE)
    assert_close(mine[:, 1:], tokens[:, 1 + registers :], **CLOSE)


def test_save_for__vit_of_transformers_computes_the_same(tmp_path):
    transformers = library("transformers")
    folder = export(tmp_path, "vit_tiny_patch16", "encoder")
    save_for("hf-vit", tmp_path / "hf", folder)
    theirs, info = transformers.ViTModel.from_pretrained(
        tmp_path / "hf", add_pooling_layer=False, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    stated = json.loads((tmp_path / "hf" / "preprocessor_config.json").read_text())
    x = images(1)
    normalised = (x - stated["image_mean"][0]) / stated["image_std"][0]
    tokens = theirs.eval()(pixel_values=normalised).last_hidden_state
    assert_close(load_encoder(folder).forward_features(x), tokens, **CLOSE)


def mask_of(noise, ratio):
    """The patches ViTMAE hides for a given noise: it keeps those with the least."""
    keep = int(noise.shape[1] * (1 - ratio))
    return noise.argsort(1).argsort(1) >= keep


def test_save_for__vitmae_of_transformers_computes_the_same(tmp_path):
    transformers = library("transformers")
    folder = export(tmp_path, "mae_vit_tiny_patch16", "mae")
    save_for("hf-vitmae", tmp_path / "hf", folder)
    theirs, info = transformers.ViTMAEForPreTraining.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ours, x, noise = load_autoencoder(folder), images(1), torch.rand(2, 16, generator=torch.Generator().manual_seed(2))
    predicted = theirs.eval()(pixel_values=ours.input_norm(x), noise=noise).logits
    assert_close(ours(x, mask_of(noise, theirs.config.mask_ratio)), predicted, **CLOSE)


@pytest.mark.parametrize("names", ["saved", "memory"])
def test_load_autoencoder__equals_transformers(tmp_path, names):
    transformers = library("transformers")
    config = transformers.ViTMAEConfig(
        **SMALL,
        intermediate_size=768,
        layer_norm_eps=1e-6,
        decoder_hidden_size=64,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=256,
    )
    theirs = randomised(transformers.ViTMAEForPreTraining(config))
    with torch.no_grad():  # ours are these by construction
        theirs.decoder.decoder_pos_embed.zero_()[:, 1:] = sincos_2d(64, (4, 4))
    theirs.save_pretrained(tmp_path)
    if names == "memory":
        (tmp_path / "model.safetensors").unlink()
        torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    ours, x, noise = load_autoencoder(tmp_path), images(), torch.rand(2, 16, generator=torch.Generator().manual_seed(2))
    predicted = theirs(pixel_values=x, noise=noise).logits
    assert_close(ours(x, mask_of(noise, config.mask_ratio)), predicted, **CLOSE)
