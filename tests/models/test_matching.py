"""Foreign state dicts: what fits is used exactly, what is resized keeps its meaning, the rest is named."""

import pytest
import torch
from torch.testing import assert_close

from vasomim.errors import CheckpointError
from vasomim.models.matching import adapt_state, convert_channels, resize_kernel
from vasomim.models.registry import create_model
from vasomim.models.vit import VisionTransformer


def _vit(seed=0, **kwargs):
    torch.manual_seed(seed)
    return VisionTransformer(**{"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, **kwargs})


def _loaded(model, state):
    adapted, report = adapt_state(model, state)
    model.load_state_dict(adapted, strict=False)
    return model.eval(), report


@pytest.mark.parametrize(
    "prefix", ["", "module.", "encoder.", "module._orig_mod.encoder.", "backbone.", "teacher.backbone."]
)
def test_adapt_state__finds_the_encoder_under_any_prefix(prefix):
    source, images = _vit(0).eval(), torch.rand(2, 1, 32, 32)
    state = {prefix + name: value for name, value in source.state_dict().items()}
    model, report = _loaded(_vit(1), state)
    assert torch.equal(model(images), source(images))
    assert len(report.matched) == len(state)
    assert report.left == report.missing == report.resized == report.converted == ()


def test_adapt_state__mae_into_a_segmentation_model():
    mae = create_model("mae_vit_test", img_size=32, mean=0.4, std=0.2)
    model, report = _loaded(create_model("vit_test_unet", img_size=32), mae.state_dict())
    for name, value in mae.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value)
    assert model.input_norm.mean.item() == pytest.approx(0.4)  # the statistics belong to the weights
    assert all(name.startswith(("decoder_", "mask_token")) for name in report.left)
    assert all(name.startswith(("decoder.", "head.")) for name in report.missing)


def test_adapt_state__flat_mae_keys_into_an_mae():
    source = create_model("mae_vit_test", img_size=32)
    flat = {name.removeprefix("encoder."): value for name, value in source.state_dict().items()}
    model, report = _loaded(create_model("mae_vit_test", img_size=32), flat)
    assert report.left == report.missing == ()
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), source.state_dict().values(), strict=True)
    )


def test_adapt_state__three_channels_to_one_keep_the_tokens_of_grey_frames():
    source, images = _vit(0, in_chans=3).eval(), torch.rand(1, 1, 32, 32)
    model, report = _loaded(_vit(1), source.state_dict())
    assert_close(model(images), source(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    assert report.converted == ("patch_embed.proj.weight",)
    assert report.notes["patch_embed.proj.weight"] == "3 -> 1 channels"


def test_convert_channels__grey_frames_give_the_same_tokens():
    for before, after in [(1, 3), (3, 1), (3, 4), (2, 2)]:
        kernel, image = torch.rand(5, before, 4, 4), torch.rand(1, 1, 8, 8)
        expected = torch.nn.functional.conv2d(image.expand(-1, before, -1, -1), kernel, stride=4)
        converted = convert_channels(kernel, after)
        assert converted.shape == (5, after, 4, 4)
        assert_close(torch.nn.functional.conv2d(image.expand(-1, after, -1, -1), converted, stride=4), expected)


@pytest.mark.parametrize("size", [8, 14, 32])
def test_resize_kernel__keeps_the_response_to_smooth_patches(size):
    torch.manual_seed(0)
    kernel = torch.nn.functional.avg_pool2d(torch.randn(3, 2, 18, 18), 3, 1)  # smooth, 16 x 16
    resized = resize_kernel(kernel, size)
    assert resized.shape == (3, 2, size, size)
    assert_close(resized.sum((2, 3)), kernel.sum((2, 3)), rtol=0.05, atol=0.5)


@pytest.mark.parametrize(("old", "new"), [(16, 8), (16, 14), (14, 16), (8, 16), (16, 4)])
def test_resize_kernel__constant_patches_give_the_same_token(old, new):
    kernel = torch.randn(7, 2, old, old, generator=torch.Generator().manual_seed(0))
    assert_close(resize_kernel(kernel, new).sum((2, 3)), kernel.sum((2, 3)), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("old", "new"), [(8, 16), (14, 16), (16, 16)])
def test_resize_kernel__an_enlarged_patch_gives_the_same_token(old, new):
    generator = torch.Generator().manual_seed(0)
    kernel, patch = torch.randn(7, 1, old, old, generator=generator), torch.rand(1, 1, old, old, generator=generator)
    enlarged = torch.nn.functional.interpolate(patch, size=(new, new), mode="bicubic", antialias=True)
    token = torch.nn.functional.conv2d(enlarged, resize_kernel(kernel, new))
    assert_close(token, torch.nn.functional.conv2d(patch, kernel), rtol=1e-4, atol=1e-4)


def test_resize_kernel__a_shrunken_patch_gives_nearly_the_same_token():
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(64, 1, 16, 16, generator=generator)
    patches = torch.rand(200, 1, 16, 16, generator=generator)
    shrunken = torch.nn.functional.interpolate(patches, size=(8, 8), mode="bicubic", antialias=True)
    token = torch.nn.functional.conv2d(shrunken, resize_kernel(kernel, 8)).flatten()
    naive = torch.nn.functional.interpolate(kernel, size=(8, 8), mode="bicubic", antialias=True) * 4
    wanted = torch.nn.functional.conv2d(patches, kernel).flatten()
    error = (token - wanted).square().mean()
    assert error < (torch.nn.functional.conv2d(shrunken, naive).flatten() - wanted).square().mean()


def test_adapt_state__other_patch_and_image_size():
    source = _vit(0, in_chans=3)
    model, report = _loaded(_vit(1, patch_size=4, img_size=48), source.state_dict())
    assert set(report.resized) == {"pos_embed", "patch_embed.proj.weight"}
    assert report.notes["pos_embed"] == "grid 4x4 -> 12x12"
    assert report.notes["patch_embed.proj.weight"] == "3 -> 1 channels, patch 8 -> 4"
    assert torch.equal(model.pos_embed[:, 0], source.pos_embed[:, 0])
    assert model(torch.rand(1, 1, 48, 48)).isfinite().all()


def test_adapt_state__positions_without_class_token():
    state = _vit(0).state_dict()
    patches = state["pos_embed"][:, 1:]
    model, _ = _loaded(_vit(1), {**state, "pos_embed": patches})
    assert torch.equal(model.pos_embed[:, 1:], patches)
    assert not model.pos_embed[:, 0].any()


def test_adapt_state__layer_scale_is_multiplied_in_exactly():
    source, images = _vit(0), torch.rand(2, 1, 32, 32)
    scaled, plain = dict(source.state_dict()), dict(source.state_dict())
    for i in range(2):
        for number, layer in ((1, "attn.proj"), (2, "mlp.fc2")):
            gamma = torch.rand(32) + 0.5
            scaled[f"blocks.{i}.ls{number}.gamma"] = gamma
            for part in ("weight", "bias"):
                value = plain[f"blocks.{i}.{layer}.{part}"]
                plain[f"blocks.{i}.{layer}.{part}"] = gamma.reshape(-1, *[1] * (value.ndim - 1)) * value
    model, report = _loaded(_vit(1), scaled)
    expected, _ = _loaded(_vit(2), plain)
    assert_close(model(images), expected(images))
    assert len(report.converted) == 8
    assert report.left == ()


def test_adapt_state__unfitting_and_unknown_tensors_are_named():
    state = {**_vit(0).state_dict(), "head.weight": torch.zeros(1000, 32), "extra.thing": torch.zeros(3)}
    _, report = _loaded(create_model("vit_test_unet", img_size=32), state)
    assert set(report.left) == {"head.weight", "extra.thing"}
    assert "shape (1000, 32) does not fit" in report.notes["head.weight"]
    assert "head.weight: shape (1000, 32)" in report.table()


def test_adapt_state__changes_neither_model_nor_file():
    model, state = _vit(1), _vit(0).state_dict()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept = {name: value.clone() for name, value in state.items()}
    adapt_state(model, state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, kept[name]) for name, value in state.items())


def test_adapt_state__half_precision_becomes_the_models_type():
    state = {name: value.half() for name, value in _vit(0).state_dict().items()}
    adapted, _ = adapt_state(_vit(1), state)
    assert {value.dtype for value in adapted.values()} == {torch.float32}


def test_adapt_state__segmentor_weights_fit_a_segmentor_only():
    source = create_model("unext_test")
    _, report = _loaded(create_model("unext_test"), source.state_dict())
    assert report.left == report.missing == ()
    with pytest.raises(CheckpointError, match="no weights for this model"):
        adapt_state(_vit(), source.state_dict())


@pytest.mark.parametrize(
    ("model", "source", "message"),
    [
        ("unext_test", "vit_test_unet", "no weights for this model"),
        ("unext_s", "unext_test", r"down.0.conv.weight: shape .* does not fit"),
        ("unet_half", "unet_test", "no weights for this model"),
    ],
)
def test_adapt_state__biases_that_fit_by_chance_start_no_convolutional_model(model, source, message):
    state = create_model(source).state_dict()
    with pytest.raises(CheckpointError, match=message):
        adapt_state(create_model(model), state)


def test_adapt_state__another_number_of_outputs_leaves_the_rest_to_start_from():
    state = {name: value for name, value in create_model("unext_test").state_dict().items() if "head" not in name}
    _, report = adapt_state(create_model("unext_test"), state)
    assert set(report.missing) == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"layer1.conv.weight": torch.zeros(3)}, r"no weights for this model: the file holds layer1.conv.weight"),
        ({}, "the file holds nothing"),
        (_vit(0, embed_dim=64).state_dict(), r"blocks.0.norm1.weight: shape \(64,\) does not fit \(32,\)"),
        (_vit(0, depth=1).state_dict(), "made for another depth or width"),
    ],
)
def test_adapt_state__refuses_another_architecture(state, message):
    with pytest.raises(CheckpointError, match=message):
        adapt_state(_vit(), state)


def test_table__is_short():
    state = create_model("mae_vit_test", img_size=64).state_dict()
    _, report = adapt_state(create_model("vit_test_unet", img_size=32), state)
    table = report.table().splitlines()
    assert len(table) == 6
    assert "encoder.blocks (24)" in table[0]
    assert table[2].strip() == "encoder.pos_embed: grid 8x8 -> 4x4"
