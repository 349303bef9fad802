"""Our weights: what is saved comes back, whole or not at all; encoders from any file."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from vasomim.errors import CheckpointError, MisuseError
from vasomim.models.registry import create_model
from vasomim.models.segmentation import SegmentationModel
from vasomim.models.vit import VisionTransformer
from vasomim.models.weights import (
    is_ours,
    load_encoder,
    load_pretrained,
    load_weights,
    read_config,
    save_pretrained,
)

MEASURES = {"mean": 0.4, "std": 0.2}


def _segmentation(**kwargs):
    torch.manual_seed(0)
    return create_model("vit_test_unet", img_size=32, mean=0.4, std=0.2, **kwargs).eval()


def _config(kind="segmentation", model="vit_test_unet", **kwargs):
    return {"kind": kind, "model": model, "kwargs": {"img_size": 32, **kwargs}}


@pytest.fixture
def export(tmp_path):
    """A run folder with an exported segmentation model."""
    save_pretrained(tmp_path / "run" / "export", _segmentation(), _config() | {"threshold": 0.4}, "# Card\n")
    return tmp_path / "run"


def _same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("where", ["", "export", "export/model.safetensors"])
def test_load_pretrained__gives_back_what_was_saved(export, where):
    model, config = load_pretrained(export / where)
    source, images = _segmentation(), torch.rand(1, 1, 40, 32)
    assert torch.equal(model(images), source(images))
    assert not model.training
    assert config["kind"] == "segmentation"
    assert config["format_version"] == 1
    assert config["threshold"] == 0.4
    assert config["mean"] == pytest.approx(0.4)
    assert (export / "export" / "README.md").read_text() == "# Card\n"
    assert sorted(p.name for p in (export / "export").iterdir()) == ["README.md", "config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("name", "kind"), [("vit_test", "encoder"), ("mae_vit_test", "mae"), ("unext_test", "segmentor")]
)
def test_save_pretrained__every_kind_round_trips(tmp_path, name, kind):
    source = create_model(name, img_size=32)
    save_pretrained(tmp_path / "out", source, _config(kind, name), "")
    model, config = load_pretrained(str(tmp_path / "out"))
    assert _same(model, source)
    assert config["model"] == name


def test_load_pretrained__an_encoder_brings_its_normalisation(tmp_path):
    source, images = create_model("vit_test", img_size=32), torch.rand(1, 1, 32, 32)
    save_pretrained(tmp_path, source, _config("encoder", "vit_test") | {"mean": 0.4, "std": 0.2}, "")
    model, _ = load_pretrained(tmp_path)
    assert_close(model(images), source((images - 0.4) / 0.2))


def test_save_pretrained__half_storage_halves_the_file_and_loads_as_float32(tmp_path):
    source = create_model("unext_test")
    save_pretrained(tmp_path / "full", source, _config("segmentor", "unext_test"), "")
    save_pretrained(tmp_path / "half", source, _config("segmentor", "unext_test"), "", dtype=torch.float16)
    stored = load_file(tmp_path / "half" / "model.safetensors")
    assert stored["head.weight"].dtype == torch.float16
    assert stored["down.0.norm.running_var"].dtype == torch.float32
    model, _ = load_pretrained(tmp_path / "half")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert_close(model.head.weight, source.head.weight, rtol=1e-3, atol=1e-4)


def test_save_pretrained__replaces_an_older_export(export):
    (export / "export" / "stale.txt").write_text("old")
    other = _segmentation()
    torch.nn.init.zeros_(other.head.bias)
    save_pretrained(export / "export", other, _config(), "# New\n")
    assert _same(load_pretrained(export)[0], other)
    assert sorted(p.name for p in (export / "export").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert [p.name for p in export.iterdir()] == ["export"]


def test_save_pretrained__a_failure_leaves_the_old_export_whole(export, monkeypatch):
    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vasomim.models.weights.save_file", full_disk)
    with pytest.raises(CheckpointError, match=r"cannot write .*export: .*No space left on device.*nothing was changed"):
        save_pretrained(export / "export", _segmentation(), _config(), "")
    assert _same(load_pretrained(export)[0], _segmentation())
    assert [p.name for p in export.iterdir()] == ["export"]


def test_save_pretrained__a_failed_swap_puts_the_old_export_back(export, monkeypatch):
    rename = type(export).rename

    def fail_once(self, target):
        if re.fullmatch(r"\.[0-9a-f]{16}\.\d+", self.name):
            raise OSError("busy")
        return rename(self, target)

    monkeypatch.setattr(type(export), "rename", fail_once)
    with pytest.raises(CheckpointError, match="busy"):
        save_pretrained(export / "export", _segmentation(), _config(), "")
    monkeypatch.undo()
    assert _same(load_pretrained(export)[0], _segmentation())


def test_save_pretrained__refuses_an_incomplete_config_before_writing(tmp_path):
    for config in ({}, {"model": "vit_test", "kind": "thing"}, {"kind": "encoder"}):
        with pytest.raises(CheckpointError):
            save_pretrained(tmp_path / "out", create_model("vit_test", img_size=32), config, "")
    assert list(tmp_path.iterdir()) == []


def _edit(export, **changes):
    file = export / "export" / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version 2, this vasomim reads up to 1; upgrade it"),
        ({"format_version": None}, "format_version None"),
        ({"kind": "thing"}, "kind 'thing', which must be one of"),
        ({"model": None}, "names no model"),
        ({"kwargs": 3}, "kwargs must be a mapping"),
        ({"model": "vit_tset_unet"}, "did you mean vit_test_unet"),
        ({"kwargs": {"img_size": 32, "wdith": 3}}, "cannot make vit_test_unet"),
        ({"kwargs": {"img_size": 64}}, r"encoder.pos_embed has shape \(1, 17, 32\), not \(1, 65, 32\)"),
        ({"model": "unext_test"}, r"does not fit its config.json: .* and \d+ more"),
    ],
)
def test_load_pretrained__config_that_does_not_fit(export, changes, message):
    _edit(export, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(export)


def test_read_config__missing_or_broken(export):
    file = export / "export" / "config.json"
    file.write_text("{broken")
    with pytest.raises(CheckpointError, match="is not valid JSON"):
        read_config(export)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"weights need their config\.json beside them"):
        load_pretrained(export)


def test_load_encoder__from_any_of_our_exports(tmp_path, export):
    images = torch.rand(1, 1, 32, 32)
    source = _segmentation()
    encoder = load_encoder(export)
    assert_close(encoder.forward_features(images), source.encoder.forward_features(source.input_norm(images)))
    mae = create_model("mae_vit_test", img_size=32, mean=0.3)
    save_pretrained(tmp_path / "mae", mae, _config("mae", "mae_vit_test", decoder_depth=1, mean=0.3), "")
    encoder = load_encoder(tmp_path / "mae", format="vasomim")
    assert_close(encoder(images), mae.encoder(mae.input_norm(images)))
    assert not encoder.training


def test_load_encoder__other_sizes_and_channels(export):
    encoder = load_encoder(export, in_chans=3, img_size=64, patch_size=4)
    assert encoder.grid_size == (16, 16)
    assert encoder(torch.rand(1, 3, 64, 64)).shape == (1, 32)
    assert load_encoder(export, model="vit_test").patch_size == 8


@pytest.mark.parametrize("found", ["timm", "mae"])
def test_load_encoder__foreign_files_tell_their_architecture(tmp_path, found):
    torch.manual_seed(0)
    source = create_model("vit_tiny_patch16", in_chans=3)
    state = dict(source.state_dict()) | {"head.weight": torch.zeros(9, 192), "head.bias": torch.zeros(9)}
    if found == "mae":
        state["decoder_embed.weight"] = torch.zeros(4, 192)
    torch.save({"model": state}, tmp_path / "a.pth")
    encoder = load_encoder(tmp_path / "a.pth")
    assert (encoder.embed_dim, encoder.depth, encoder.in_chans, encoder.input_norm) == (192, 12, 1, None)
    image = torch.rand(1, 1, 224, 224)
    expected = source.eval()(image.expand(-1, 3, -1, -1))
    assert_close(encoder(image), expected, rtol=1e-3, atol=1e-4)
    assert load_encoder(tmp_path / "a.pth", format=found, in_chans=3).in_chans == 3
    with pytest.raises(CheckpointError, match=f"has format {found}, not vasomim"):
        load_encoder(tmp_path / "a.pth", format="vasomim")


def test_load_encoder__refuses_what_holds_no_known_vit(tmp_path):
    save_pretrained(tmp_path / "s", create_model("unext_test"), _config("segmentor", "unext_test"), "")
    with pytest.raises(MisuseError, match="unext_test has no ViT encoder"):
        load_encoder(tmp_path / "s")
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"holds no ViT .*first keys are conv1\.weight"):
        load_encoder(tmp_path / "a.pth")
    odd = create_model("vit_test", img_size=32, embed_dim=48)
    torch.save(odd.state_dict(), tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="a ViT of width 48 and 2 blocks, which is none we have"):
        load_encoder(tmp_path / "b.pth")
    with pytest.raises(MisuseError, match="mae_vit_test is no bare ViT"):
        load_encoder(_saved(tmp_path / "c.pth"), model="mae_vit_test", img_size=32)


def _saved(file):
    torch.save(create_model("vit_test", img_size=32).state_dict(), file)
    return file


def test_load_weights__changes_the_model_and_reports(tmp_path, export):
    model = create_model("mae_vit_test", img_size=64)
    report = load_weights(model, export)
    assert torch.equal(model.encoder.cls_token, _segmentation().encoder.cls_token)
    assert "encoder.pos_embed" in report.resized
    with pytest.raises(MisuseError, match="does not exist"):
        load_weights(model, tmp_path / "none")


def test_load_weights__names_the_file_and_its_model_where_it_does_not_fit(export):
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(export))} holds a vit_test_unet: no weights for this"):
        load_weights(create_model("unext_test"), export)


def test_is_ours__other_libraries_write_a_config_of_that_name_too(tmp_path, export):
    assert is_ours(export)
    assert not is_ours(_saved(tmp_path / "a.pth"))
    for theirs in ({"model_type": "vit"}, {"architecture": "vit_tiny_patch16_224"}, {"architectures": ["ViTModel"]}):
        (tmp_path / "config.json").write_text(json.dumps(theirs))
        assert not is_ours(tmp_path / "a.pth")
        assert load_encoder(tmp_path / "a.pth", img_size=32).depth == 2


def test_load_encoder__heads_of_a_hugging_face_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "num_attention_heads": 4}))
    encoder = load_encoder(_saved(tmp_path / "model.safetensors"), img_size=32)
    assert encoder.blocks[0].attn.num_heads == 4


def test_save_pretrained__an_image_size_left_out_is_that_of_the_model(tmp_path):
    torch.manual_seed(0)
    for name, kind in (("vit_test", "encoder"), ("mae_vit_test", "mae"), ("vit_test_unet", "segmentation")):
        source = create_model(name, img_size=64, in_chans=3)
        save_pretrained(tmp_path / name, source, {"kind": kind, "model": name}, "")
        model, config = load_pretrained(tmp_path / name)
        assert config["kwargs"] == {"img_size": 64, "in_chans": 3}
        assert _same(model, source)
        assert load_encoder(tmp_path / name).grid_size == (8, 8)


@pytest.mark.parametrize(
    ("made", "config", "message"),
    [
        ({}, _config("encoder", "vit_tiny_patch16"), r"blocks\.2\.norm1\.weight is missing; .* and 149 more"),
        ({}, _config("encoder", "vit_test", img_size=64), r"pos_embed has shape \(1, 17, 32\), not \(1, 65, 32\)"),
        ({}, _config("segmentation", "vit_test_unet"), "is missing"),
        ({"embed_dim": 48}, _config("encoder", "vit_test"), "48"),
        ({"num_heads": 4}, _config("encoder", "vit_test"), r"blocks\.0\.attn has 4 heads, not 2"),
    ],
)
def test_save_pretrained__refuses_a_config_of_another_model_before_writing(tmp_path, made, config, message):
    model = create_model("vit_test", img_size=32, **made)
    with pytest.raises(CheckpointError, match=message):
        save_pretrained(tmp_path / "out", model, config, "")
    assert list(tmp_path.iterdir()) == []


def test_save_pretrained__an_oblong_segmenter_round_trips(tmp_path):
    encoder = VisionTransformer(img_size=(32, 64), patch_size=8, embed_dim=32, depth=2, num_heads=2)
    model = SegmentationModel(encoder, stride=2, widths=(8, 8, 16), bottleneck=16)
    config = {"kind": "segmentation", "model": "vit_test_unet", "kwargs": {"stride": 2}}
    save_pretrained(tmp_path / "out", model, config, "card")
    loaded, config = load_pretrained(tmp_path / "out")
    assert config["kwargs"]["img_size"] == [64, 128]
    assert loaded.encoder.img_size == (32, 64)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


def test_save_pretrained__refuses_a_name_that_no_model_has(tmp_path):
    with pytest.raises(MisuseError, match="did you mean vit_test"):
        save_pretrained(tmp_path / "out", create_model("vit_test"), {"kind": "encoder", "model": "vit_tset"}, "")
    assert list(tmp_path.iterdir()) == []


def test_save_pretrained__draws_no_random_number(tmp_path):
    model = create_model("vit_test", img_size=32)
    before = torch.get_rng_state()
    save_pretrained(tmp_path / "out", model, _config("encoder", "vit_test"), "")
    assert torch.equal(torch.get_rng_state(), before)


def test_load_weights__takes_over_the_statistics_of_the_weights(tmp_path):
    save_pretrained(
        tmp_path / "encoder", create_model("vit_test", img_size=32), _config("encoder", "vit_test") | MEASURES, ""
    )
    save_pretrained(tmp_path / "unet", create_model("vit_test_unet", img_size=32, **MEASURES), _config(), "")
    torch.save(create_model("vit_test", img_size=32).state_dict(), tmp_path / "foreign.pth")
    for file, (mean, std) in {"encoder": (0.4, 0.2), "unet": (0.4, 0.2), "foreign.pth": (0.5, 0.25)}.items():
        for name in ("vit_test_unet", "mae_vit_test"):
            model = create_model(name, img_size=32)
            load_weights(model, tmp_path / file)
            assert (float(model.input_norm.mean), float(model.input_norm.std)) == pytest.approx((mean, std)), file
    load_weights(create_model("vit_test", img_size=32), tmp_path / "encoder")  # has none of its own
