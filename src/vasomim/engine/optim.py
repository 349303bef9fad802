"""Parameter groups and optimisers: no decay on 1-D parameters, learning rates that fall with depth."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

UNDECAYED = frozenset({"pos_embed", "cls_token", "mask_token", "reg_token"})
"""Parameters that take no weight decay although they have several dimensions (timm's names)."""
_STEM = ("patch_embed", "pos_embed", "cls_token", "reg_token")
_BLOCK = re.compile(r"blocks\.(\d+)\.")


def parameter_groups(
    model: nn.Module, weight_decay: float, layer_decay: float = 1.0, encoder_prefix: str = "encoder."
) -> list[dict[str, Any]]:
    """Trainable parameters of `model`, one group for each pair of weight decay and learning-rate scale.

    A layer's scale is layer_decay ** (top - layer): patch and position embedding are layer 0, `blocks.i` is layer
    i + 1, and all else (final norm, decoder, head) is the top and has scale 1 (BEiT, arXiv 2106.08254, appendix).
    Biases, norms and every other 1-D parameter, and the embeddings and tokens in `UNDECAYED`, take no weight decay.
    Frozen parameters are left out.

    Args:
        model: any module; names follow timm below `encoder_prefix`.
        weight_decay: decay of the groups that decay.
        layer_decay: factor from each layer to the one below, in (0, 1]; 1 is off.
        encoder_prefix: where the encoder's names begin; it may itself lie below other modules.

    Returns:
        Groups with `params`, `weight_decay` and `lr_scale`, in a stable order.

    Raises:
        ValueError: nothing is trainable, or `layer_decay` is out of range.
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay must lie in (0, 1], got {layer_decay}")
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trainable:
        raise ValueError("no parameter of the model takes a gradient; unfreeze something before building the optimiser")
    layers = {name: layer_id(name, encoder_prefix) for name, _ in model.named_parameters()}
    top = 1 + max((layer for layer in layers.values() if layer is not None), default=-1)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trainable:
        layer = layers[name]
        scale = layer_decay ** (top - layer) if layer is not None else 1.0
        groups.setdefault((scale, weight_decay if _decays(name, parameter) else 0.0), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for (scale, decay), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def layer_id(name: str, encoder_prefix: str = "encoder.") -> int | None:
    """Depth of a parameter: 0 for the stem, i + 1 for `blocks.i`, None for the top (all outside the encoder too)."""
    padded = f".{name}"
    at = padded.find(f".{encoder_prefix}") if encoder_prefix else 0
    if at < 0:
        return None
    inside = padded[at + 1 + len(encoder_prefix) :]
    if inside.startswith(_STEM):
        return 0
    block = _BLOCK.match(inside)
    return int(block.group(1)) + 1 if block else None


def build_optimizer(
    groups: Iterable[Mapping[str, Any]],
    name: Literal["adamw", "adam"] = "adamw",
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.95),
    fused: bool | Literal["auto"] = "auto",
) -> torch.optim.Optimizer:
    """AdamW or Adam over `groups`, their learning rates already scaled.

    Args:
        groups: as `parameter_groups` returns them; each group's `weight_decay` counts.
        name: `adamw` (decoupled decay) or `adam`.
        lr: learning rate of a group whose `lr_scale` is 1.
        betas: Adam's averaging coefficients.
        fused: one kernel for all parameters; `auto` where every parameter is float32 on CPU or CUDA.

    Raises:
        ValueError: unknown `name`.
    """
    kinds: dict[str, type[torch.optim.Adam]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    if name not in kinds:
        raise ValueError(f"optimizer must be one of {', '.join(kinds)}, got {name!r}")
    listed = [dict(group) for group in groups]
    if fused == "auto":
        fused = all(p.device.type in ("cpu", "cuda") and p.dtype == torch.float32 for g in listed for p in g["params"])
    optimizer = kinds[name](listed, lr=lr, betas=betas, fused=fused)
    set_lr(optimizer, lr)
    return optimizer


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set every group's learning rate to `lr` times its `lr_scale` (1 where it has none)."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def clip_gradients(optimizer: torch.optim.Optimizer, max_norm: float | None) -> Tensor:
    """Scale the gradients down to `max_norm` where they are larger, all by one factor; none changes nothing.

    Returns:
        Their norm before, a scalar on their device.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    if isinstance(norm, DTensor):  # the weights are split over processes, and so are the squares
        norm = norm.full_tensor()
    if max_norm is not None:  # an infinite bound would multiply every gradient by 1
        torch.nn.utils.clip_grads_with_norm_(weights, max_norm, norm)
    return norm


def unfuse(optimizer: torch.optim.Optimizer) -> None:
    """Take the plain kernels: gradients can then be unscaled and clipped before the step."""
    for group in optimizer.param_groups:
        group["fused"] = False
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]  # what torch's GradScaler asks


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load moments and step counts, but keep the kernels chosen here: the state may come from another device.

    Raises:
        ValueError: `state` is of other parameters.
    """
    groups = [dict(group) for group in state["param_groups"]]
    for group, here in zip(groups, optimizer.param_groups, strict=True):
        group.update({name: here[name] for name in ("fused", "foreach", "capturable") if name in here})
    optimizer.load_state_dict({**state, "param_groups": groups})


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and name.rpartition(".")[2] not in UNDECAYED
