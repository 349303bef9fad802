"""Models by name. A registry is a dict; `register_vit` adds an encoder of another size and what is built around it."""

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
from vasomim.models.sizes import DECODERS, VITS, add_vit, bare_name
from vasomim.models.unet import PlainUNet, stage_widths
from vasomim.models.unext import UNeXt
from vasomim.models.vit import VisionTransformer

Builder = Callable[..., nn.Module]
Size = int | tuple[int, int]
"""Side of a square, or height and width."""

_DEFAULTS = {"in_chans": 1, "mlp_ratio": 4.0, "qkv_bias": True, "num_classes": 0, "reg_tokens": 0}
_UNETS: dict[str, dict[str, Any]] = {"vit_test": {"widths": (8, 8, 16), "bottleneck": 16}}

_MAE_ARGUMENTS = ("decoder_embed_dim", "decoder_depth", "decoder_num_heads", "mean", "std")
_UNET_ARGUMENTS = ("num_classes", "stride", "widths", "bottleneck", "mean", "std")


def _build_vit(name: str, in_chans: int, img_size: Size, **kwargs: Any) -> VisionTransformer:
    return VisionTransformer(**{**VITS[name], "in_chans": in_chans, "img_size": img_size, **kwargs})


def _sides(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _split_kwargs(kwargs: Mapping[str, Any], own: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the wrapping model, and the rest, which are the encoder's."""
    return {k: v for k, v in kwargs.items() if k in own}, {k: v for k, v in kwargs.items() if k not in own}


def encoder_arguments(name: str, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the bare encoder inside a model: mae_vit_x and vit_x_unet -> vit_x.

    Raises:
        MisuseError: if that model has no encoder.
    """
    bare = bare_name(name)
    if bare not in VITS:
        raise MisuseError(f"{name} has no ViT encoder; choose a mae_* model, a *_unet model or a bare vit_*")
    return bare, _split_kwargs(kwargs, (*_MAE_ARGUMENTS, *_UNET_ARGUMENTS))[1]


def _build_mae(name: str, in_chans: int, img_size: Size, **kwargs: Any) -> MaskedAutoencoder:
    own, rest = _split_kwargs(kwargs, _MAE_ARGUMENTS)
    encoder = _build_vit(name, in_chans, img_size, fixed_positions=True, **rest)
    return MaskedAutoencoder(encoder, **{**DECODERS[name], **own})


def _build_unet(name: str, in_chans: int, img_size: Size, **kwargs: Any) -> SegmentationModel:
    own, rest = _split_kwargs(kwargs, _UNET_ARGUMENTS)
    stride = max(own.get("stride", 1), 1)
    height, width = (max(side // stride, 1) for side in _sides(img_size))  # what the ViT sees is shrunk
    return SegmentationModel(_build_vit(name, in_chans, (height, width), **rest), **{**_UNETS.get(name, {}), **own})


def _build_unext(widths: tuple[int, ...], in_chans: int, img_size: Size, **kwargs: Any) -> UNeXt:  # noqa: ARG001
    return UNeXt(in_chans, **{"widths": widths, **kwargs})  # fully convolutional: any size goes


def _build_plain_unet(first: int, most: int, in_chans: int, img_size: Size, **kwargs: Any) -> PlainUNet:
    return PlainUNet(in_chans, **{"widths": stage_widths(min(_sides(img_size)), first, most), **kwargs})


def _around(name: str) -> dict[str, Builder]:
    """An encoder by its name, and the models around it by theirs."""
    return {
        name: partial(_build_vit, name),
        f"mae_{name}": partial(_build_mae, name),
        f"{name}_unet": partial(_build_unet, name),
    }


MODELS: dict[str, Builder] = {
    **{model: builder for name in VITS for model, builder in _around(name).items()},
    "unet_plain": partial(_build_plain_unet, 32, 512),
    "unet_half": partial(_build_plain_unet, 16, 256),
    "unet_test": partial(_build_plain_unet, 4, 16),
    "unext_s": partial(_build_unext, (8, 16, 32, 64, 128)),
    "unext_test": partial(_build_unext, (4, 6, 8, 12, 16)),
}


def register_vit(name: str, sizes: Mapping[str, int], decoder: Mapping[str, int] | None = None) -> None:
    """Add an encoder of another size: `name`, `mae_name` and `name_unet` are then models like all others.

    For this process: whatever loads or trains such a model calls it first.

    Args:
        name: A new one of the form vit_*.
        sizes: `patch_size`, `embed_dim`, `depth` and `num_heads`.
        decoder: `decoder_embed_dim`, `decoder_depth` and `decoder_num_heads` of its autoencoder; by default those of
            our encoder that is nearest in width.

    Raises:
        MisuseError: if the name is taken or of another form, or the sizes are incomplete or do not divide.
    """
    add_vit(name, sizes, decoder)
    MODELS.update(_around(name))


def own_arguments(name: str, model: VisionTransformer | MaskedAutoencoder) -> dict[str, Any]:
    """What `create_model` needs beside the name to make a model of this architecture: its image size, and what differs.

    Args:
        name: Of our model that it was made from.
        model: May differ from it in any of its `measures`.
    """
    usual = {**_DEFAULTS, **VITS[bare_name(name)], **DECODERS[bare_name(name)]}
    return {key: value for key, value in model.measures.items() if key not in usual or value != usual[key]}


def list_models(pattern: str = "*") -> list[str]:
    """Names of all models that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(MODELS, pattern))


def create_model(name: str, in_chans: int = 1, img_size: Size = 224, **kwargs: Any) -> nn.Module:
    """Make a model with fresh weights (from torch's global random state) by its name.

    Args:
        name: One of `list_models()`.
        in_chans: Image channels.
        img_size: Side, or height and width, that positions are made for; other sizes work, with resized positions.
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
