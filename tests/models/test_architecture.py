"""Measures of a ViT from its tensors, and refusals of what ours cannot stand in for."""

import pytest
import torch
from reference_vit import hf_state, meta_state

from vasomim.errors import CheckpointError
from vasomim.models.architecture import decoder_measures, encoder_facts, square_grid
from vasomim.models.matching import adapt_state
from vasomim.models.registry import create_model


def tiny(**more):
    return dict(create_model("vit_test", img_size=32, **more).state_dict())


@pytest.mark.parametrize(
    "state",
    [
        tiny(in_chans=3),
        {f"module.encoder.{name}": value for name, value in tiny(in_chans=3).items()},
        hf_state(prefix="vit."),
        hf_state(memory=True),
    ],
)
def test_encoder_facts__the_same_in_every_layout(state):
    facts = encoder_facts(state, {}, "file")
    assert (facts.embed_dim, facts.depth, facts.patch_size, facts.in_chans) == (32, 2, 8, 3)
    assert (facts.grid, facts.img_size, facts.mlp_ratio, facts.qkv_bias) == ((4, 4), (32, 32), 4, True)
    assert (facts.reg_tokens, facts.num_heads, facts.layer_scale, facts.model) == (0, 2, False, "vit_test")
    assert facts.arguments() == {"patch_size": 8}


def test_encoder_facts__dinov2_with_registers():
    facts = encoder_facts(meta_state(hf_state(dino=True, registers=4)), {}, "file")
    assert (facts.reg_tokens, facts.layer_scale) == (4, True)
    assert facts.arguments() == {"patch_size": 8, "reg_tokens": 4}


def test_encoder_facts__what_differs_from_our_default_becomes_an_argument():
    state = tiny(qkv_bias=False, mlp_ratio=2.0, patch_size=4, num_heads=4)
    facts = encoder_facts(state, {"num_attention_heads": 4}, "file")
    assert facts.arguments() == {"patch_size": 4, "num_heads": 4, "mlp_ratio": 2.0, "qkv_bias": False}
    model = create_model("vit_test", img_size=32, **facts.arguments())
    model.load_state_dict(adapt_state(model, state)[0], strict=True)


@pytest.mark.parametrize("stated", [0, -3, 7, "12", None, True])
def test_encoder_facts__a_senseless_number_of_heads_is_not_taken(stated):
    assert encoder_facts(tiny(), {"num_attention_heads": stated}, "file").num_heads in (1, 2)


def test_encoder_facts__a_size_we_do_not_have_is_described():
    facts = encoder_facts(tiny(embed_dim=48), {}, "file")
    assert (facts.model, facts.num_heads, facts.embed_dim) == (None, None, 48)


def without(state, *endings):
    return {name: value for name, value in state.items() if not name.endswith(endings)}


SWIGLU = without(tiny(), "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias") | {
    "blocks.0.mlp.w12.weight": torch.zeros(172, 32),
    "blocks.0.mlp.w3.weight": torch.zeros(32, 86),
}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (SWIGLU, r"SwiGLU perceptrons \(as in DINOv2 giant\): blocks.0.mlp.w12.weight"),
        (tiny() | {"blocks.0.mlp.fc2.weight": torch.zeros(32, 64)}, "SwiGLU"),
        (hf_state() | {"encoder.layer.0.mlp.weights_in.weight": torch.zeros(2, 2)}, "SwiGLU"),
        (tiny() | {"blocks.0.attn.q_norm.weight": torch.zeros(16)}, "normalised queries and keys"),
        (tiny() | {"blocks.1.attn.relative_position_bias_table": torch.zeros(9, 2)}, "relative positions"),
        (tiny() | {"rope_embed.periods": torch.zeros(9)}, "rotary positions"),
        (tiny() | {"blocks.0.gamma_1": torch.zeros(32)}, "layer scales under BEiT's names"),
        (tiny() | {"blocks.0.attn.odd.weight": torch.zeros(32)}, "blocks with parts that our ViT lacks"),
        (tiny() | {"norm_pre.weight": torch.zeros(32)}, r"norm_pre.weight, which our ViT lacks \(CLIP"),
        (without(tiny(), "pos_embed"), "no position embeddings"),
        (tiny() | {"pos_embed": torch.zeros(1, 13, 32)}, "belong to no square grid"),
        (without(tiny(), "patch_embed.proj.weight"), "holds no ViT"),
        (tiny() | {"patch_embed.proj.weight": torch.zeros(32, 3, 8, 4)}, "no square patch_embed"),
        ({n.replace("blocks.0.", "blocks.5."): v for n, v in tiny().items()}, "some are missing"),
        (tiny() | {"blocks.0.mlp.fc1.weight": torch.zeros(128)}, "it is damaged|SwiGLU"),
        ({"conv1.weight": torch.zeros(3)}, r"its first keys are conv1.weight"),
    ],
)
def test_encoder_facts__refuses_what_ours_cannot_be(state, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        encoder_facts(state, {}, "some.pth")
    assert "some.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_adapt_state__refuses_other_families_too():
    with pytest.raises(CheckpointError, match="normalised queries and keys"):
        adapt_state(
            create_model("vit_test_unet", img_size=32), tiny() | {"blocks.0.attn.q_norm.weight": torch.ones(16)}
        )


def test_adapt_state__refuses_an_encoder_without_positions():
    with pytest.raises(CheckpointError, match=r"the file lacks 1 of \d+ tensors of the encoder, pos_embed"):
        adapt_state(create_model("vit_test", img_size=32), without(tiny(), "pos_embed"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_adapt_state__refuses_weights_that_are_not_finite(value):
    state = tiny()
    state["blocks.1.norm2.bias"] = state["blocks.1.norm2.bias"].clone().index_fill_(0, torch.tensor(3), value)
    with pytest.raises(CheckpointError, match=r"1 of 30 tensors hold NaN or infinite values, blocks.1.norm2.bias for"):
        adapt_state(create_model("vit_test", img_size=32), state)


def test_adapt_state__integers_for_weights_are_left():
    state = tiny()
    state["norm.bias"] = torch.zeros(32, dtype=torch.int64)
    _, report = adapt_state(create_model("vit_test", img_size=32), state)
    assert report.notes["norm.bias"] == "holds torch.int64, not torch.float32"


def test_adapt_state__the_decoder_predicts_the_mean_of_the_channels():
    source = create_model("mae_vit_test", img_size=32, in_chans=3).eval()
    target = create_model("mae_vit_test", img_size=32, in_chans=1).eval()
    adapted, report = adapt_state(target, source.state_dict())
    target.load_state_dict(adapted, strict=True)
    assert report.notes["decoder_pred.weight"] == "3 -> 1 channels"
    x, mask = torch.rand(1, 1, 32, 32), torch.arange(16)[None] % 2 == 0
    expected = source(x.expand(-1, 3, -1, -1), mask).reshape(1, 16, 64, 3).mean(3)
    torch.testing.assert_close(target(x, mask), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "grid"),
    [((1, 197, 8), (14, 1)), ((1, 196, 8), (14, 0)), ((1, 1370, 8), (37, 1)), ((1, 2, 8), (1, 1)), ((1, 1, 8), (1, 0))],
)
def test_square_grid__with_and_without_a_position_for_the_class_token(shape, grid):
    assert square_grid(shape) == grid


@pytest.mark.parametrize("shape", [(1, 12, 8), (5, 5), (1, 0, 8), ()])
def test_square_grid__none(shape):
    assert square_grid(shape) is None


def test_decoder_measures__of_an_autoencoder_alone():
    state = create_model("mae_vit_test", img_size=32, decoder_depth=3, decoder_embed_dim=48).state_dict()
    assert decoder_measures(state, {}) == {
        "decoder_embed_dim": 48,
        "decoder_depth": 3,
        "decoder_num_heads": 16,
    }
    assert decoder_measures(state, {"decoder_num_attention_heads": 6})["decoder_num_heads"] == 6
    assert decoder_measures(tiny(), {}) is None
