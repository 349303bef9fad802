"""Models by name. A registry is a dict; a new model is one more line in it."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from vasomim.errors import MisuseError
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.segmentation import SegmentationModel
from vasomim.models.unet import PlainUNet, stage_widths
from vasomim.models.unext import UNeXt
from vasomim.models.vit import VisionTransformer

Builder = Callable[..., nn.Module]

VITS: dict[str, dict[str, int]] = {
    "vit_tiny_patch16": {"patch_size": 16, "embed_dim": 192, "depth": 12, "num_heads": 3},
    "vit_small_patch16": {"patch_size": 16, "embed_dim": 384, "depth": 12, "num_heads": 6},
    "vit_base_patch16": {"patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12},
    "vit_large_patch16": {"patch_size": 16, "embed_dim": 1024, "depth": 24, "num_heads": 16},
    "vit_huge_patch14": {"patch_size": 14, "embed_dim": 1280, "depth": 32, "num_heads": 16},
    "vit_test": {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2},
}
"""Bare encoders; names and sizes of the literature."""

DECODERS: dict[str, dict[str, int]] = {
    # The published 512 x 8 decoder costs ten times a tiny encoder; from base upwards it is the published one.
    "vit_tiny_patch16": {"decoder_embed_dim": 192, "decoder_depth": 4, "decoder_num_heads": 6},
    "vit_small_patch16": {"decoder_embed_dim": 256, "decoder_depth": 4, "decoder_num_heads": 8},
    "vit_base_patch16": {"decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16},
    "vit_large_patch16": {"decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16},
    "vit_huge_patch14": {"decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16},
    "vit_test": {"decoder_embed_dim": 32, "decoder_depth": 1, "decoder_num_heads": 2},
}
"""Size of the decoder that goes with each encoder."""

_UNETS: dict[str, dict[str, Any]] = {"vit_test": {"widths": (8, 8, 16), "bottleneck": 16}}

_MAE_ARGUMENTS = ("decoder_embed_dim", "decoder_depth", "decoder_num_heads", "mean", "std")
_UNET_ARGUMENTS = ("num_classes", "stride", "widths", "bottleneck", "mean", "std")


def _build_vit(name: str, in_chans: int, img_size: int, **kwargs: Any) -> VisionTransformer:
    return VisionTransformer(**{**VITS[name], "in_chans": in_chans, "img_size": img_size, **kwargs})


def _split_kwargs(kwargs: Mapping[str, Any], own: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the wrapping model, and the rest, which are the encoder's."""
    return {k: v for k, v in kwargs.items() if k in own}, {k: v for k, v in kwargs.items() if k not in own}


def encoder_arguments(name: str, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the bare encoder inside a model: mae_vit_x and vit_x_unet -> vit_x.

    Raises:
        MisuseError: if that model has no encoder.
    """
    bare = name.removeprefix("mae_").removesuffix("_unet")
    if bare not in VITS:
        raise MisuseError(f"{name} has no ViT encoder; choose a mae_* model, a *_unet model or a bare vit_*")
    return bare, _split_kwargs(kwargs, (*_MAE_ARGUMENTS, *_UNET_ARGUMENTS))[1]


def _build_mae(name: str, in_chans: int, img_size: int, **kwargs: Any) -> MaskedAutoencoder:
    own, rest = _split_kwargs(kwargs, _MAE_ARGUMENTS)
    encoder = _build_vit(name, in_chans, img_size, fixed_positions=True, **rest)
    return MaskedAutoencoder(encoder, **{**DECODERS[name], **own})


def _build_unet(name: str, in_chans: int, img_size: int, **kwargs: Any) -> SegmentationModel:
    own, rest = _split_kwargs(kwargs, _UNET_ARGUMENTS)
    seen = max(img_size // max(own.get("stride", 1), 1), 1)  # what the ViT sees is shrunk
    return SegmentationModel(_build_vit(name, in_chans, seen, **rest), **{**_UNETS.get(name, {}), **own})


def _build_unext(widths: tuple[int, ...], in_chans: int, img_size: int, **kwargs: Any) -> UNeXt:  # noqa: ARG001
    return UNeXt(in_chans, **{"widths": widths, **kwargs})  # fully convolutional: any size goes


def _build_plain_unet(first: int, most: int, in_chans: int, img_size: int, **kwargs: Any) -> PlainUNet:
    return PlainUNet(in_chans, **{"widths": stage_widths(img_size, first, most), **kwargs})


MODELS: dict[str, Builder] = {
    **{name: partial(_build_vit, name) for name in VITS},
    **{f"mae_{name}": partial(_build_mae, name) for name in VITS},
    **{f"{name}_unet": partial(_build_unet, name) for name in VITS},
    "unet_plain": partial(_build_plain_unet, 32, 512),
    "unet_half": partial(_build_plain_unet, 16, 256),
    "unet_test": partial(_build_plain_unet, 4, 16),
    "unext_s": partial(_build_unext, (8, 16, 32, 64, 128)),
    "unext_test": partial(_build_unext, (4, 6, 8, 12, 16)),
}


def list_models(pattern: str = "*") -> list[str]:
    """Names of all models that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(MODELS, pattern))


def create_model(name: str, in_chans: int = 1, img_size: int = 224, **kwargs: Any) -> nn.Module:
    """Make a model with fresh weights (from torch's global random state) by its name.

    Args:
        name: One of `list_models()`.
        in_chans: Image channels.
        img_size: Side that position embeddings are made for; other sizes work, with resized positions.
        **kwargs: Further arguments of the model: `drop_path_rate`, `num_classes`, `decoder_depth`, `mean`, `std`, ...

    Raises:
        MisuseError: if there is no model of this name, or it does not take such an argument or value.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(list_models())}"
        raise MisuseError(f"no model is called {name!r}; {hint}")
    try:
        return MODELS[name](in_chans=in_chans, img_size=img_size, **kwargs)
    except (TypeError, ValueError) as error:
        raise MisuseError(f"cannot make {name} with {kwargs or 'these arguments'}: {error}") from error
