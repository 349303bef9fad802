"""Encoders of sizes that the package does not have: registered by one call, told from their own measures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from vasomim.config import FinetuneConfig, PretrainConfig
from vasomim.errors import MisuseError
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.registry import MODELS, create_model, list_models, own_arguments, register_vit
from vasomim.models.sizes import DECODERS, VITS, model_names
from vasomim.models.vit import VisionTransformer

SIZES = {"patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 4}
DECODER = {"decoder_embed_dim": 24, "decoder_depth": 2, "decoder_num_heads": 3}


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """What a test registers is gone after it."""
    kept = [(table, dict(table)) for table in (MODELS, VITS, DECODERS)]
    yield
    for table, before in kept:
        table.clear()
        table.update(before)  # type: ignore[arg-type]


def test_register_vit__makes_encoder_autoencoder_and_unet() -> None:
    register_vit("vit_nano_patch8", SIZES, DECODER)
    assert list_models("*vit_nano*") == ["mae_vit_nano_patch8", "vit_nano_patch8", "vit_nano_patch8_unet"]
    assert model_names() == list_models()
    encoder, mae = (create_model(name, img_size=32) for name in ("vit_nano_patch8", "mae_vit_nano_patch8"))
    assert isinstance(encoder, VisionTransformer)
    assert isinstance(mae, MaskedAutoencoder)
    assert {key: encoder.measures[key] for key in SIZES} == SIZES
    assert {key: mae.measures[key] for key in DECODER} == DECODER
    assert create_model("vit_nano_patch8_unet", img_size=32)(torch.rand(1, 1, 32, 32)).shape == (1, 1, 32, 32)


def test_register_vit__settings_know_it() -> None:
    with pytest.raises(ValueError, match="model must be one of"):
        PretrainConfig(model="mae_vit_nano_patch8")
    register_vit("vit_nano_patch8", SIZES)
    assert PretrainConfig(model="mae_vit_nano_patch8").model == "mae_vit_nano_patch8"
    assert FinetuneConfig(model="vit_nano_patch8_unet").model == "vit_nano_patch8_unet"


@pytest.mark.parametrize(
    ("width", "like"), [(96, "vit_tiny_patch16"), (320, "vit_small_patch16"), (2048, "vit_huge_patch14")]
)
def test_register_vit__the_decoder_is_by_default_that_of_the_nearest_width(width: int, like: str) -> None:
    register_vit("vit_own", {**SIZES, "embed_dim": width})
    assert DECODERS["vit_own"] == DECODERS[like]


@pytest.mark.parametrize(
    ("name", "sizes", "decoder", "message"),
    [
        ("vit_test", SIZES, None, "need a new one of the form vit_"),
        ("nano", SIZES, None, "need a new one of the form vit_"),
        ("vit_nano", {"embed_dim": 48}, None, "need patch_size, embed_dim, depth, num_heads"),
        ("vit_nano", {**SIZES, "depth": 0}, None, "each a whole number above 0"),
        ("vit_nano", {**SIZES, "num_heads": 5}, None, "embed_dim=48 must be a multiple of 4 and of num_heads=5"),
        ("vit_nano", SIZES, {**DECODER, "decoder_num_heads": 7}, "decoder_embed_dim=24 must be"),
        ("vit_nano", SIZES, {"depth": 1}, "need decoder_embed_dim"),
    ],
)
def test_register_vit__refuses(name: str, sizes: dict[str, int], decoder: dict[str, int] | None, message: str) -> None:
    before = model_names()
    with pytest.raises(MisuseError, match=message):
        register_vit(name, sizes, decoder)
    assert model_names() == before == list_models()


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"in_chans": 3, "patch_size": 4},
        {"embed_dim": 48, "depth": 3, "num_heads": 4, "mlp_ratio": 3.0},
        {"qkv_bias": False, "reg_tokens": 2},
    ],
)
def test_own_arguments__make_the_same_architecture_again(kwargs: dict[str, object]) -> None:
    encoder = create_model("vit_test", img_size=32, **kwargs)
    assert isinstance(encoder, VisionTransformer)
    assert own_arguments("mae_vit_test", encoder) == {"img_size": 32, **kwargs}
    again = create_model("vit_test", **own_arguments("vit_test", encoder))
    assert isinstance(again, VisionTransformer)
    assert again.measures == encoder.measures


def test_own_arguments__of_an_autoencoder_name_its_decoder() -> None:
    kwargs = {"img_size": 32, "embed_dim": 48, "decoder_depth": 2}
    mae = create_model("mae_vit_test", **kwargs)
    assert isinstance(mae, MaskedAutoencoder)
    assert own_arguments("mae_vit_test", mae) == kwargs
