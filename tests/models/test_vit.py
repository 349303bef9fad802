"""ViT: timm's keys and arithmetic, any size, positions that follow their parameter."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from vasomim.models.input_norm import InputNorm
from vasomim.models.registry import create_model
from vasomim.models.vit import Attention, DropPath, VisionTransformer
from vasomim.ops.positions import resize_positions


def _vit(**kwargs):
    torch.manual_seed(0)
    model = VisionTransformer(
        **{"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4, **kwargs}
    )
    with torch.no_grad():  # away from zero biases and unit norms, where mistakes hide
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def _reference(state, x, patch, heads, depth):
    """A pre-norm ViT by its definition, from a timm state dict, without any of our modules."""
    tokens = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=patch)
    tokens = tokens.flatten(2).transpose(1, 2)
    b, _, d = tokens.shape
    tokens = torch.cat([state["cls_token"].expand(b, -1, -1), tokens], 1) + state["pos_embed"]

    def norm(t, name):
        return F.layer_norm(t, (d,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def linear(t, name):
        return F.linear(t, state[f"{name}.weight"], state[f"{name}.bias"])

    for i in range(depth):
        p = f"blocks.{i}"
        q, k, v = linear(norm(tokens, f"{p}.norm1"), f"{p}.attn.qkv").chunk(3, dim=-1)
        outs = []
        for h in range(heads):
            s = slice(h * d // heads, (h + 1) * d // heads)
            weights = (q[..., s] @ k[..., s].transpose(1, 2) / math.sqrt(d // heads)).softmax(-1)
            outs.append(weights @ v[..., s])
        tokens = tokens + linear(torch.cat(outs, -1), f"{p}.attn.proj")
        hidden = F.gelu(linear(norm(tokens, f"{p}.norm2"), f"{p}.mlp.fc1"))
        tokens = tokens + linear(hidden, f"{p}.mlp.fc2")
    return norm(tokens, "norm")


def test_vision_transformer__equals_its_definition():
    model = _vit(in_chans=3).double()
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    expected = _reference(model.state_dict(), x, 8, 4, 3)
    assert_close(model.forward_features(x), expected, rtol=1e-10, atol=1e-10)
    assert_close(model(x), expected[:, 0], rtol=1e-10, atol=1e-10)


def test_vision_transformer__has_the_keys_and_shapes_of_timm():
    state = _vit(num_classes=5).state_dict()
    expected = {"cls_token": (1, 1, 32), "pos_embed": (1, 17, 32), "patch_embed.proj.weight": (32, 1, 8, 8)}
    expected |= {"patch_embed.proj.bias": (32,), "norm.weight": (32,), "norm.bias": (32,)}
    expected |= {"head.weight": (5, 32), "head.bias": (5,)}
    block = {"norm1": (32,), "norm2": (32,), "attn.qkv": (96, 32), "attn.proj": (32, 32)}
    block |= {"mlp.fc1": (128, 32), "mlp.fc2": (32, 128)}
    for i in range(3):
        for name, shape in block.items():
            expected |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    assert {name: tuple(value.shape) for name, value in state.items()} == expected


def test_vision_transformer__without_a_head_has_no_head_keys():
    assert not [name for name in _vit().state_dict() if name.startswith("head")]


def test_vision_transformer__input_norm_is_not_in_the_state_and_normalises_once():
    model = _vit()
    x = torch.rand(1, 1, 32, 32)
    keys = set(model.state_dict())
    expected = model((x - 0.4) / 0.2)
    model.input_norm = InputNorm(0.4, 0.2, persistent=False)
    assert set(model.state_dict()) == keys
    assert_close(model(x), expected)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (8, 40), (24, 16)])
def test_forward_features__any_multiple_of_the_patch_size(size):
    model = _vit()
    tokens = model.forward_features(torch.rand(2, 1, *size))
    assert tokens.shape == (2, 1 + size[0] * size[1] // 64, 32)


def test_forward_intermediates__are_the_tokens_after_each_block():
    model, x = _vit(), torch.rand(2, 1, 32, 16)
    maps = model.forward_intermediates(x, [0, 2])
    assert [tuple(m.shape) for m in maps] == [(2, 32, 4, 2)] * 2
    tokens = model.blocks[0](model.embed(x))
    assert_close(maps[0].flatten(2).transpose(1, 2), tokens[:, 1:])
    last = model.forward_intermediates(x, [2], norm=True)[0]
    assert_close(last.flatten(2).transpose(1, 2), model.forward_features(x)[:, 1:])


@pytest.mark.parametrize("indices", [[], [3], [-1], [1, 0], [1, 1]])
def test_forward_intermediates__refuses_bad_indices(indices):
    with pytest.raises(ValueError, match=r"indices must rise within 0\.\.2"):
        _vit().forward_intermediates(torch.rand(1, 1, 32, 32), indices)


def test_embed__refuses_other_channels_and_sizes():
    with pytest.raises(ValueError, match="images have 3 channels, this model takes 1"):
        _vit()(torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match="30x32, not a multiple of patch_size=8"):
        _vit()(torch.rand(1, 1, 30, 32))


def test_positions__are_cached_without_gradient_and_follow_their_parameter():
    model = _vit()
    with torch.no_grad():
        first = model.positions((6, 6))
        assert model.positions((6, 6)) is first
        model.pos_embed.add_(1)
        assert_close(model.positions((6, 6)), resize_positions(model.pos_embed, (4, 4), (6, 6)))
        model.load_state_dict(_vit().state_dict())
        assert_close(model.positions((6, 6)), first)
        model.double()
        assert model.positions((6, 6)).dtype == torch.float64
    assert not [name for name in model.state_dict() if "resized" in name]


def test_positions__cache_survives_switching_between_inference_and_training():
    model = _vit()
    with torch.inference_mode():
        model(torch.rand(1, 1, 48, 48))
    model.pos_embed.requires_grad_(False)  # now the cache is used while gradients are computed
    model(torch.rand(1, 1, 48, 48)).sum().backward()
    assert model.cls_token.grad is not None


def test_positions__gradient_reaches_the_parameter_through_resizing():
    model = _vit().train()
    model(torch.rand(1, 1, 48, 48)).sum().backward()
    assert model.pos_embed.grad is not None
    assert bool((model.pos_embed.grad != 0).any())


def test_positions__fixed_ones_are_sine_cosine_and_untrained():
    torch.manual_seed(0)
    model = VisionTransformer(32, 8, 1, 32, 1, 2, fixed_positions=True)
    assert not model.pos_embed.requires_grad
    assert bool((model.pos_embed[:, 0] == 0).all())
    assert model.pos_embed[:, 1:].abs().max() <= 1


def test_drop_path__keeps_the_mean_and_acts_on_whole_samples():
    torch.manual_seed(0)
    x = torch.ones(20_000, 3, 2)
    out = DropPath(0.25).train()(x)
    assert_close(out.mean(), torch.tensor(1.0), atol=0.02, rtol=0)
    assert_close(out.flatten(1).unique(dim=0), torch.tensor([[0.0] * 6, [1 / 0.75] * 6]))
    assert DropPath(0.25).eval()(x) is x
    with pytest.raises(ValueError, match=r"drop_path_rate must lie in \[0, 1\)"):
        DropPath(1.0)


def test_vision_transformer__drop_path_rises_with_depth_and_is_off_in_evaluation():
    model = _vit(drop_path_rate=0.4)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.2, 0.4])
    x = torch.rand(4, 1, 32, 32)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_vision_transformer__frames_do_not_depend_on_each_other():
    model, x = _vit(), torch.rand(3, 1, 32, 32)
    assert_close(model(x)[1:2], model(x[1:2]))


def test_vision_transformer__gradient_reaches_everything():
    model = _vit(num_classes=2).train()
    model(torch.rand(2, 1, 32, 32)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_vision_transformer__initial_tokens_are_neither_tiny_nor_huge():
    torch.manual_seed(0)
    model = VisionTransformer(64, 16, 1, 192, 12, 3)
    spread = model.forward_features(torch.randn(2, 1, 64, 64)).std()
    assert 0.5 < spread < 2


def test_attention__refuses_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="embed_dim=30 is not a multiple of num_heads=4"):
        Attention(30, 4)


def test_vision_transformer__exports_without_a_graph_break():
    model = _vit()
    x = torch.rand(2, 1, 48, 48)
    with torch.no_grad():
        exported = torch.export.export(model, (x,)).module()
        assert_close(exported(x), model(x))
        assert_close(model(torch.rand(1, 1, 48, 48)).shape, torch.Size([1, 32]))  # no traced tensor stayed behind


def test_class_attention__are_the_weights_the_last_block_mixes_by():
    torch.manual_seed(0)
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2)
    images = torch.rand(3, 1, 32, 32)
    last = model.blocks[-1]
    tokens = last.norm1(model.blocks[0](model.embed(images)))
    weights = last.attn.first_row(tokens)  # (B, heads, N)
    assert_close(weights.sum(-1), torch.ones(3, 2))
    values = last.attn.qkv(tokens).reshape(3, 17, 3, 2, 16)[:, :, 2].transpose(1, 2)  # (B, heads, N, d)
    mixed = last.attn.proj((weights[:, :, None] @ values).reshape(3, 32))
    assert_close(mixed, last.attn(tokens)[:, 0])
    assert_close(model.class_attention(images), weights.mean(1)[:, 1:])


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("registers", [0, 4])
def test_class_attention__is_of_what_the_last_block_sees_in_a_forward_pass(registers, depth):
    model, images = _vit(reg_tokens=registers, depth=depth), torch.rand(3, 1, 32, 32)
    seen = []
    model.blocks[-1].attn.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    model.forward_features(images)
    rows = model.blocks[-1].attn.first_row(seen[0])
    assert rows.shape == (3, 4, 1 + registers + 16)
    assert_close(model.class_attention(images), rows.mean(1)[:, 1 + registers :])


def test_reg_tokens__the_blocks_see_them_and_no_output_holds_them():
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    with_registers, x = VisionTransformer(**sizes, reg_tokens=3).eval(), torch.rand(2, 1, 32, 32)
    tokens, maps = with_registers.forward_features(x), with_registers.forward_intermediates(x, [0, 1], norm=True)
    assert tokens.shape == (2, 17, 32)
    assert torch.equal(maps[1].flatten(2).transpose(1, 2), tokens[:, 1:])
    with torch.no_grad():
        with_registers.reg_token.add_(1.0)
    assert not torch.allclose(with_registers.forward_features(x), tokens)
    plain = VisionTransformer(**sizes)
    assert plain.reg_token is None
    assert "reg_token" not in plain.state_dict()


@pytest.mark.parametrize("name", ["vit_test", "mae_vit_test", "vit_test_unet", "unext_test", "unet_test"])
def test_models__refuse_grey_values_that_nobody_divided(name):
    model = create_model(name, img_size=32).eval()
    images = torch.randint(0, 256, (1, 1, 32, 32), dtype=torch.uint8)
    mask = (torch.zeros(1, 16, dtype=torch.bool),) if name.startswith("mae_") else ()
    with pytest.raises(ValueError, match=r"images are torch\.uint8; need floats in \[0, 1\]"):
        model(images, *mask)
