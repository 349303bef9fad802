"""Whether a model is what its config says: tensors that agree by name and shape, and as many heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vasomim.errors import CheckpointError, first_few
from vasomim.models.registry import create_model
from vasomim.models.segmentation import SegmentationModel
from vasomim.models.vit import Attention, VisionTransformer


def misfits(target: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """What of `state` does not fit `target`, a phrase for each tensor; empty where every name and shape agrees."""
    wrong = [f"{n} is missing" for n in target if n not in state]
    wrong += [f"{n} is unknown" for n in state if n not in target]
    wrong += [
        f"{n} has shape {tuple(state[n].shape)}, not {tuple(t.shape)}"
        for n, t in target.items()
        if n in state and state[n].shape != t.shape
    ]
    return wrong


def seen_measures(model: nn.Module) -> dict[str, Any]:
    """Image size and channels of a model with a ViT, as arguments for `create_model`; of other models nothing."""
    encoder = getattr(model, "encoder", model)
    if not isinstance(encoder, VisionTransformer):
        return {}
    stride = model.stride if isinstance(model, SegmentationModel) else 1  # its ViT sees the image shrunk
    height, width = (side * stride for side in encoder.img_size)
    size = {"img_size": height if height == width else (height, width)}
    return size if encoder.in_chans == 1 else {**size, "in_chans": encoder.in_chans}


def check_is(model: nn.Module, name: str, kwargs: Mapping[str, Any]) -> None:
    """Whether `create_model(name, **kwargs)` makes what `model` is; nothing is computed and no random number drawn.

    Raises:
        MisuseError: there is no model of that name, or it does not take such arguments.
        CheckpointError: it makes another one.
    """
    with torch.device("meta"):
        twin = create_model(name, **kwargs)
    wrong = misfits(twin.state_dict(), model.state_dict()) + _other_heads(twin, model)
    if wrong:
        shown = first_few(wrong, 3, between="; ")
        raise CheckpointError(
            f"the model to save is not what create_model({name!r}, **{dict(kwargs)}) makes: {shown}; "
            "name the `model` and the `kwargs` that it was made with"
        )


def _other_heads(twin: nn.Module, model: nn.Module) -> list[str]:
    """Attention cut into another number of heads computes something else, and shows in no tensor."""
    wanted, found = _heads(twin), _heads(model)
    return [f"{n} has {found[n]} heads, not {heads}" for n, heads in wanted.items() if found.get(n, heads) != heads]


def _heads(model: nn.Module) -> dict[str, int]:
    return {name: part.num_heads for name, part in model.named_modules() if isinstance(part, Attention)}
