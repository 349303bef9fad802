"""The registry: every public name is there and makes what it says."""

import pytest
import torch

from vasomim.errors import MisuseError
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.registry import create_model, encoder_arguments, list_models
from vasomim.models.segmentation import SegmentationModel
from vasomim.models.unet import PlainUNet
from vasomim.models.unext import UNeXt
from vasomim.models.vit import VisionTransformer

_VITS = [
    "vit_tiny_patch16",
    "vit_small_patch16",
    "vit_base_patch16",
    "vit_large_patch16",
    "vit_huge_patch14",
    "vit_test",
]


def test_list_models__every_public_name_is_there():
    expected = [*_VITS, *(f"mae_{v}" for v in _VITS), *(f"{v}_unet" for v in _VITS)]
    expected += ["unet_half", "unet_plain", "unet_test", "unext_s", "unext_test"]
    assert list_models() == sorted(expected)
    assert list_models("mae_*") == sorted(f"mae_{v}" for v in _VITS)
    assert list_models("nothing*") == []


@pytest.mark.parametrize("name", list_models())
def test_create_model__makes_what_the_name_says(name):
    with torch.device("meta"):  # shapes only: the largest has 657 million parameters
        model = create_model(name)
    kinds = {"mae_": MaskedAutoencoder, "unext": UNeXt, "unet": PlainUNet}
    kind = next((k for prefix, k in kinds.items() if name.startswith(prefix)), VisionTransformer)
    assert isinstance(model, SegmentationModel if name.endswith("_unet") else kind)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("vit_tiny_patch16", 5.4), ("vit_small_patch16", 21.5), ("vit_base_patch16", 85.4), ("vit_large_patch16", 302.8)],
)
def test_create_model__vits_have_the_sizes_of_the_literature(name, millions):
    with torch.device("meta"):
        model = create_model(name)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_create_model__passes_arguments_to_the_right_part():
    mae = create_model("mae_vit_test", img_size=32, decoder_depth=3, drop_path_rate=0.2, mean=0.4)
    assert isinstance(mae, MaskedAutoencoder)
    assert len(mae.decoder_blocks) == 3
    assert mae.encoder.blocks[-1].drop_path.rate == 0.2
    assert mae.input_norm.mean.item() == pytest.approx(0.4)
    unet = create_model("vit_test_unet", img_size=32, num_classes=3, patch_size=4, std=0.1)
    assert isinstance(unet, SegmentationModel)
    assert unet.encoder.patch_size == 4
    assert unet.head.out_channels == 3
    assert unet.input_norm.std.item() == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["vit_test", "mae_vit_test", "vit_test_unet", "unet_test", "unext_test"])
def test_create_model__images_may_be_oblong(name):
    model = create_model(name, img_size=(32, 64))
    encoder = getattr(model, "encoder", model)
    assert getattr(encoder, "img_size", (32, 64)) == (32, 64)


def test_create_model__is_seeded_by_the_global_random_state():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(create_model("mae_vit_test", img_size=32).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


def test_create_model__unknown_name_gets_the_nearest():
    with pytest.raises(MisuseError, match="no model is called 'vit_tiny_patch_16'; did you mean vit_tiny_patch16"):
        create_model("vit_tiny_patch_16")
    with pytest.raises(MisuseError, match="there are mae_vit_base_patch16"):
        create_model("qqq")


@pytest.mark.parametrize(
    "kwargs", [{"depht": 2}, {"img_size": 30}, {"num_heads": 5}, {"std": 0.0}, {"drop_path_rate": 1.5}]
)
def test_create_model__bad_arguments_name_the_model(kwargs):
    with pytest.raises(MisuseError, match="cannot make vit_test_unet"):
        create_model("vit_test_unet", **kwargs)


def test_encoder_arguments__strip_what_is_not_the_encoders():
    kwargs = {"in_chans": 1, "decoder_depth": 2, "mean": 0.4, "patch_size": 4}
    assert encoder_arguments("mae_vit_test", kwargs) == ("vit_test", {"in_chans": 1, "patch_size": 4})
    assert encoder_arguments("vit_test_unet", {"num_classes": 2, "img_size": 64}) == ("vit_test", {"img_size": 64})
    with pytest.raises(MisuseError, match="unext_s has no ViT encoder"):
        encoder_arguments("unext_s", {})
