"""Folders for other libraries: exact there and back, whole or not at all, with the licence taken along."""

import json

import pytest
import torch
from reference_vit import hf_forward, images
from safetensors.torch import load_file
from torch.testing import assert_close

from vasomim.errors import CheckpointError, MisuseError
from vasomim.models.key_export import save_for
from vasomim.models.registry import create_model
from vasomim.models.weights import load_autoencoder, load_encoder, save_pretrained

MEASURES = {"mean": 0.4, "std": 0.2}


def export(folder, name, kind, card="", **kwargs):
    torch.manual_seed(0)
    model = create_model(name, img_size=32, **kwargs)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    if kind == "mae":
        model.input_norm.set(**MEASURES)
    config = {"kind": kind, "model": name, "kwargs": {"img_size": 32, **kwargs}}
    save_pretrained(folder, model, config | ({} if kind == "mae" else MEASURES), card)
    return folder


@pytest.mark.parametrize("target", ["timm", "hf-vit"])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_save_for__an_encoder_round_trips_bit_equal(tmp_path, target, in_chans):
    source = export(tmp_path / "ours", "vit_test", "encoder", in_chans=in_chans)
    save_for(target, tmp_path / "theirs", source)
    back, ours = load_encoder(tmp_path / "theirs", in_chans=in_chans, img_size=32), load_encoder(source)
    assert back.input_norm is None  # statistics stay in the configuration: the library normalises before the model
    for (name, first), second in zip(ours.state_dict().items(), back.state_dict().values(), strict=True):
        assert torch.equal(first, second), name
    assert torch.equal(back((images(in_chans) - 0.4) / 0.2), ours(images(in_chans)))


def test_save_for__hf_vit_computes_the_same_by_hand(tmp_path):
    source = export(tmp_path / "ours", "vit_test", "encoder")
    config = save_for("hf-vit", tmp_path / "hf", source)
    state = load_file(tmp_path / "hf" / "model.safetensors")
    x = images(1)
    assert_close(hf_forward(state, (x - 0.4) / 0.2), load_encoder(source).forward_features(x), rtol=1e-4, atol=1e-5)
    assert config["layer_norm_eps"] == 1e-6
    assert (config["hidden_size"], config["num_channels"], config["image_size"], config["patch_size"]) == (32, 1, 32, 8)
    assert json.loads((tmp_path / "hf" / "config.json").read_text()) == config
    stated = json.loads((tmp_path / "hf" / "preprocessor_config.json").read_text())
    assert stated["image_mean"] == pytest.approx([0.4])
    assert stated["image_std"] == pytest.approx([0.2])


def test_save_for__hf_vitmae_round_trips_bit_equal(tmp_path):
    source = export(tmp_path / "ours", "mae_vit_test", "mae", decoder_embed_dim=48, decoder_num_heads=6)
    config = save_for("hf-vitmae", tmp_path / "hf", source)
    assert (config["decoder_hidden_size"], config["decoder_num_attention_heads"]) == (48, 6)
    ours, back = load_autoencoder(source), load_autoencoder(tmp_path / "hf")
    x, mask = images(1), torch.arange(16)[None].expand(2, -1) % 2 == 0
    assert torch.equal(back(ours.input_norm(x), mask), ours(x, mask))


def test_save_for__the_encoder_of_a_segmentation_model(tmp_path):
    source = export(tmp_path / "ours", "vit_test_unet", "segmentation")
    save_for("timm", tmp_path / "timm", source)
    assert set(load_file(tmp_path / "timm" / "model.safetensors")) == set(create_model("vit_test").state_dict())


def test_save_for__timm_takes_registers_and_the_class_tokens_position_along(tmp_path):
    source = export(tmp_path / "ours", "vit_test", "encoder", reg_tokens=3)
    config = save_for("timm", tmp_path / "timm", source)
    assert config["model_args"]["reg_tokens"] == 3
    assert config["model_args"]["no_embed_class"] is True
    assert load_file(tmp_path / "timm" / "model.safetensors")["pos_embed"].shape == (1, 16, 32)
    back, ours = load_encoder(tmp_path / "timm", img_size=32), load_encoder(source)
    assert_close(back((images(1) - 0.4) / 0.2), ours(images(1)), rtol=1e-5, atol=1e-6)
    with pytest.raises(MisuseError, match="no place for register tokens; export to timm"):
        save_for("hf-vit", tmp_path / "hf", source)
    assert not (tmp_path / "hf").exists()


def test_save_for__a_foreign_file_keeps_its_channels_and_size(tmp_path):
    state = create_model("vit_test", img_size=48, in_chans=3).state_dict()
    torch.save({"model": state}, tmp_path / "foreign.pth")
    config = save_for("hf-vit", tmp_path / "hf", tmp_path / "foreign.pth")
    assert (config["num_channels"], config["image_size"]) == (3, 48)
    back = load_encoder(tmp_path / "hf", in_chans=3, img_size=48)
    assert all(torch.equal(back.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("card", "front", "sentence"),
    [
        ("---\nlicense: cc-by-nc-4.0\n---\n", 'license: "cc-by-nc-4.0"', "states the licence cc-by-nc-4.0 (README.md)"),
        ("# Card", "tags: [vasomim]", "The source states no licence; find it out"),
    ],
)
def test_save_for__the_card_states_the_licence_of_the_source(tmp_path, card, front, sentence):
    source = export(tmp_path / "ours", "vit_test", "encoder", card)
    save_for("timm", tmp_path / "timm", source)
    text = (tmp_path / "timm" / "README.md").read_text()
    assert front in text.split("---")[1]
    assert sentence in text
    assert ("license:" in text) == (card != "# Card")


def test_save_for__an_encoder_is_no_autoencoder(tmp_path):
    source = export(tmp_path / "ours", "vit_test", "encoder")
    with pytest.raises(CheckpointError, match="kind encoder, not a masked autoencoder"):
        save_for("hf-vitmae", tmp_path / "hf", source)
    torch.save(create_model("vit_test", img_size=32).state_dict(), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="an encoder without decoder"):
        save_for("hf-vitmae", tmp_path / "hf", tmp_path / "a.pth")


def test_load_autoencoder__incomplete_or_with_other_positions(tmp_path):
    state = dict(create_model("mae_vit_test", img_size=32).state_dict())
    state["decoder_pos_embed"] = torch.zeros(1, 17, 32)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="positions of the decoder are not MAE's sine and cosine"):
        load_autoencoder(tmp_path / "a.pth")
    del state["decoder_pos_embed"], state["decoder_norm.bias"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors of its autoencoder, decoder_norm\.bias"):
        load_autoencoder(tmp_path / "a.pth")
