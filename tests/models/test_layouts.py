"""Key layouts: every one becomes timm's and computes what a reference written out by hand does; ours go back exact."""

import pytest
import torch
from reference_vit import DEPTH, hf_forward, hf_state, images, meta_state
from torch.testing import assert_close

from vasomim.models.layouts import layout_of, timm_name, to_hf_vit, to_hf_vitmae, to_timm, unwrapped
from vasomim.models.matching import adapt_state
from vasomim.models.registry import create_model

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def ours(state, **more):
    model = create_model("vit_test", img_size=32, in_chans=3, **more)
    adapted, report = adapt_state(model, state)
    model.load_state_dict(adapted, strict=True)
    return model.eval(), report


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("prefix", ["", "vit.", "module.vit."])
def test_to_timm__hugging_face_vit_computes_the_same(prefix, memory):
    state = hf_state(prefix=prefix, memory=memory)
    model, report = ours(state)
    bare = {name.removeprefix(prefix): value for name, value in state.items()}
    assert_close(model.forward_features(images()), hf_forward(bare, images(), memory=memory), **CLOSE)
    assert report.left == report.missing == ()
    assert report.notes["blocks.1.attn.qkv.weight"] == "query, key and value joined"
    assert len(report.converted) == 2 * DEPTH


@pytest.mark.parametrize("registers", [0, 3])
@pytest.mark.parametrize("memory", [False, True])
def test_to_timm__hugging_face_dinov2_computes_the_same(registers, memory):
    state = hf_state(prefix="dinov2.", dino=True, registers=registers, memory=memory)
    model, report = ours(state, reg_tokens=registers)
    bare = {name.removeprefix("dinov2."): value for name, value in state.items()}
    assert_close(model.forward_features(images()), hf_forward(bare, images(), dino=True, memory=memory), **CLOSE)
    assert report.left == ("dinov2.embeddings.mask_token",)
    assert report.missing == ()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("registers", [0, 4])
def test_to_timm__metas_dinov2_computes_the_same(registers, chunked):
    state = hf_state(dino=True, registers=registers)
    model, report = ours(meta_state(state, chunked=chunked), reg_tokens=registers)
    assert_close(model.forward_features(images()), hf_forward(state, images(), dino=True), **CLOSE)
    assert report.left == ("mask_token",)
    assert report.notes["blocks.0.attn.proj.bias"] == "layer scale multiplied in"


def test_adapt_state__registers_the_model_lacks_are_named():
    _, report = ours(hf_state(dino=True, registers=3))
    assert "embeddings.register_tokens" in report.left


def test_to_timm__teacher_wins_over_student():
    student, teacher = hf_state(prefix="student.", seed=1), hf_state(prefix="teacher.", seed=2)
    translated = to_timm({**student, **teacher})
    assert torch.equal(translated.state["cls_token"], teacher["teacher.embeddings.cls_token"])
    assert "student.embeddings.cls_token" in translated.state


def test_to_timm__changes_nothing_of_ours():
    for name in ("vit_test", "mae_vit_test", "vit_test_unet", "unext_test"):
        state = create_model(name, img_size=32).state_dict()
        translated = to_timm(state)
        assert list(translated.state) == list(state)
        assert all(translated.state[key] is value for key, value in state.items())
        assert translated.notes == {}


def test_to_timm__half_precision_scales_are_multiplied_in_float32():
    state = {name: value.half() for name, value in meta_state(hf_state(dino=True)).items()}
    weight = to_timm(state).state["blocks.0.mlp.fc2.weight"]
    gamma = state["blocks.0.ls2.gamma"].float()[:, None]
    assert torch.equal(weight, state["blocks.0.mlp.fc2.weight"].float() * gamma)


def test_to_timm__incomplete_attention_is_left_as_it_is():
    state = hf_state()
    del state["encoder.layer.1.attention.attention.key.bias"]
    translated = to_timm(state)
    assert "blocks.0.attn.qkv.bias" in translated.state
    assert "blocks.1.attn.qkv.bias" not in translated.state


@pytest.mark.parametrize(
    ("state", "layout"),
    [
        (create_model("vit_test", img_size=32).state_dict(), "timm"),
        (create_model("mae_vit_test", img_size=32).state_dict(), "mae"),
        (hf_state(prefix="vit."), "hf-vit"),
        (hf_state(memory=True), "hf-vit"),
        (hf_state(prefix="dinov2.", dino=True), "hf-dinov2"),
        (meta_state(hf_state(dino=True)), "dino"),
        (meta_state(hf_state(dino=True), chunked=True), "dino"),
        ({"conv.weight": torch.zeros(1)}, "timm"),
    ],
)
def test_layout_of__every_layout_is_told(state, layout):
    assert layout_of(state) == layout


def test_unwrapped__peels_every_wrapper():
    assert unwrapped("module._orig_mod.model.backbone.blocks.0.norm1.weight") == "blocks.0.norm1.weight"
    assert unwrapped("encoder.blocks.0.norm1.weight") == "encoder.blocks.0.norm1.weight"


@pytest.mark.parametrize(
    "name", ["head.weight", "pooler.dense.weight", "layer1.0.conv1.weight", "layers.0.blocks.0.norm1.weight", ""]
)
def test_timm_name__other_names_stay(name):
    assert timm_name(name) == name


def test_to_hf_vit__round_trip_is_exact():
    model = create_model("vit_test", img_size=32)
    state = model.state_dict()
    written = to_hf_vit(state, model.depth)
    assert set(written) == set(hf_state())
    back = to_timm(written).state
    assert set(back) == set(state)
    assert all(torch.equal(back[name], value) for name, value in state.items())


def test_to_hf_vit__computes_the_same():
    model = create_model("vit_test", img_size=32).eval()
    model.load_state_dict({name: torch.randn_like(value) * 0.3 for name, value in model.state_dict().items()})
    expected = hf_forward(to_hf_vit(model.state_dict(), model.depth), images(1))
    assert_close(model.forward_features(images(1)), expected, **CLOSE)


def test_to_hf_vitmae__round_trip_is_exact():
    model = create_model("mae_vit_test", img_size=32)
    written = to_hf_vitmae(model.state_dict(), model.decoder_positions, (2, 1))
    assert {name.partition(".")[0] for name in written} == {"vit", "decoder"}
    # The names that every version of transformers reads, not those that transformers 5 writes.
    assert "decoder.decoder_layers.0.attention.attention.query.weight" in written
    assert not any("decoder_encoder" in name for name in written)
    back = to_timm(written).state
    state = {name.removeprefix("encoder."): value for name, value in model.state_dict().items()}
    positions = back.pop("decoder_pos_embed")
    assert not positions[:, 0].any()
    assert torch.equal(positions[:, 1:], model.decoder_positions)
    assert set(back) == {name for name in state if not name.startswith("input_norm.")}
    assert all(torch.equal(back[name], state[name]) for name in back)


def test_timm_name__reads_the_decoder_as_transformers_5_writes_it():
    for block in ("decoder.decoder_encoder.layer.3.", "decoder.decoder_layers.3."):
        assert timm_name(f"{block}attention.attention.key.bias") == "decoder_blocks.3.attn.key.bias"
        assert timm_name(f"{block}output.dense.weight") == "decoder_blocks.3.mlp.fc2.weight"
        assert timm_name(f"{block}attention.q_proj.bias") == "decoder_blocks.3.attn.query.bias"
