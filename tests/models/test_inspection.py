"""Facts about weight files: of every origin, and of files that fit nothing."""

import json

import pytest
import torch
from reference_vit import hf_state, meta_state
from safetensors.torch import save_file

from vasomim.errors import CheckpointError, MisuseError
from vasomim.models.inspection import inspect_weights
from vasomim.models.registry import create_model
from vasomim.models.weights import save_pretrained


def by_model(facts):
    return {found["model"]: found for found in facts["models"]}


def test_inspect_weights__a_hugging_face_folder(tmp_path):
    save_file(hf_state(prefix="vit."), tmp_path / "model.safetensors", metadata={"license": "mit"})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "num_attention_heads": 4}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    facts = inspect_weights(tmp_path)
    assert (facts["container"], facts["layout"], facts["kind"]) == ("safetensors", "hf-vit", None)
    assert facts["licence"] == {"name": "mit", "stated_in": "header of the file"}
    assert facts["statistics"] == {"mean": [0.5] * 3, "std": [0.5] * 3, "applied": False}
    assert facts["parameters"] == sum(value.numel() for value in hf_state().values())
    assert facts["architecture"]["num_heads"] == 4
    found = by_model(facts)["vit_test"]
    assert found["arguments"] == {"patch_size": 8, "num_heads": 4}
    assert (found["matched"], found["resized"], found["converted"], found["left"], found["missing"]) == (24, 1, 5, 0, 0)
    assert "query, key and value joined" in found["table"]
    assert json.loads(json.dumps(facts)) == facts


def test_inspect_weights__dinov2_with_registers(tmp_path):
    torch.save(meta_state(hf_state(dino=True, registers=4)), tmp_path / "dino.pth")
    facts = inspect_weights(tmp_path / "dino.pth")
    assert (facts["container"], facts["layout"], facts["licence"]) == ("torch.save", "dino", None)
    assert by_model(facts)["vit_test"]["missing"] == 0


def test_inspect_weights__our_own_exports(tmp_path):
    for name, kind in (("mae_vit_test", "mae"), ("unext_test", "segmentor"), ("vit_test_unet", "segmentation")):
        model = create_model(name, img_size=32)
        save_pretrained(tmp_path / name, model, {"kind": kind, "model": name, "kwargs": {"img_size": 32}}, "")
        facts = inspect_weights(tmp_path / name)
        assert facts["layout"] == "vasomim"
        assert facts["kind"] == f"{name} ({kind})"
        assert facts["unfit"] is None
        own = facts["models"][0]
        assert (own["model"], own["left"], own["missing"], own["resized"]) == (name, 0, 0, 0)
        assert (facts["architecture"] is None) == (kind == "segmentor")


def test_inspect_weights__another_model_is_compared_in_full(tmp_path):
    torch.save(create_model("vit_test", img_size=32).state_dict(), tmp_path / "a.pth")
    (found,) = inspect_weights(tmp_path / "a.pth", "vit_tiny_patch16")["models"]
    assert found["fits"] is False
    assert "does not fit" in found["reason"]
    with pytest.raises(MisuseError, match="did you mean vit_test"):
        inspect_weights(tmp_path / "a.pth", "vit_tset")


def test_inspect_weights__a_file_that_fits_nothing_says_why(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3, 3)}, tmp_path / "a.pth")
    facts = inspect_weights(tmp_path / "a.pth")
    assert (facts["layout"], facts["architecture"], facts["models"]) == (None, None, [])
    assert "holds no ViT" in facts["unfit"]
    torch.save(create_model("vit_test", img_size=32, embed_dim=48).state_dict(), tmp_path / "b.pth")
    facts = inspect_weights(tmp_path / "b.pth")
    assert facts["unfit"] == "none of our ViTs has width 48 and 2 blocks"
    assert facts["architecture"]["embed_dim"] == 48


def test_inspect_weights__nan_is_named(tmp_path):
    state = dict(create_model("vit_test", img_size=32).state_dict())
    state["norm.bias"] = torch.full((32,), float("nan"))
    torch.save(state, tmp_path / "a.pth")
    facts = inspect_weights(tmp_path / "a.pth")
    assert facts["nonfinite"] == ["norm.bias"]
    assert all("NaN" in found["reason"] for found in facts["models"])


def test_inspect_weights__damaged_files_raise(tmp_path):
    (tmp_path / "a.pth").write_text("<html>")
    with pytest.raises(CheckpointError, match="web page"):
        inspect_weights(tmp_path / "a.pth")


def test_inspect_weights__states_one_number_of_decoder_heads(tmp_path):
    mae = create_model("mae_vit_test", img_size=32)
    torch.save(mae.state_dict(), tmp_path / "model.pth")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit_mae", "decoder_num_attention_heads": 2}))
    facts = inspect_weights(tmp_path / "model.pth")
    assert facts["architecture"]["decoder"]["decoder_num_heads"] == 2
    assert by_model(facts)["mae_vit_test"]["arguments"]["decoder_num_heads"] == 2


@pytest.mark.parametrize("kwargs", [{}, {"decoder_embed_dim": 48, "decoder_num_heads": 3}])
def test_inspect_weights__states_the_decoder_heads_of_our_own_exports(tmp_path, kwargs):
    mae = create_model("mae_vit_test", img_size=32, **kwargs)
    config = {"kind": "mae", "model": "mae_vit_test", "kwargs": {"img_size": 32, **kwargs}}
    save_pretrained(tmp_path, mae, config, "")
    facts = inspect_weights(tmp_path)
    assert facts["architecture"]["decoder"]["decoder_num_heads"] == kwargs.get("decoder_num_heads", 2)
