"""Fit a foreign state dict to a model: rename keys, resize what can be resized, and report every tensor's fate."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasomim.errors import CheckpointError
from vasomim.models.vit import VisionTransformer
from vasomim.ops.positions import resize_positions

_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "backbone.", "student.", "teacher.", "base_encoder.", "vit.")
"""What data-parallel, compiled and self-supervised wrappers put before a key."""


@dataclass(frozen=True, slots=True)
class MatchReport:
    """What became of every tensor of a file, by name."""

    matched: tuple[str, ...] = ()
    """Tensors of the model taken as they are."""
    resized: tuple[str, ...] = ()
    """Tensors of the model interpolated to another patch size or position grid."""
    converted: tuple[str, ...] = ()
    """Tensors of the model with other channels or with layer scales multiplied in."""
    left: tuple[str, ...] = ()
    """Tensors of the file that the model has no use for."""
    missing: tuple[str, ...] = ()
    """Tensors of the model that the file does not give; they keep their fresh values."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What was done to a tensor, or why it was left."""

    def table(self) -> str:
        """The report as text: how many tensors of every fate, by part of the model; changed ones line by line."""
        lines = []
        for kind in ("matched", "resized", "converted", "left", "missing"):
            names: tuple[str, ...] = getattr(self, kind)
            notes = self.notes if kind != "missing" else {}
            lines.append(
                f"{kind:<9} {len(names):>4}  {', '.join(_parts([n for n in names if n not in notes]))}".rstrip()
            )
            lines.extend(f"{'':16}{name}: {notes[name]}" for name in names if name in notes)
        return "\n".join(lines)


def _parts(names: list[str]) -> list[str]:
    """Names cut at the first number or the second dot, each part once, with the number of its tensors."""
    counts = Counter(re.split(r"\.\d+\.", name)[0] for name in names)
    parts: Counter[str] = Counter()
    for name, count in counts.items():
        parts[".".join(name.split(".")[:2])] += count
    return [name if count == 1 else f"{name} ({count})" for name, count in parts.items()]


def _candidates(key: str) -> list[str]:
    """Names a key of a file may have in one of our models, the likeliest first."""
    names = [key]
    for name in names:  # grows while we walk it: wrappers nest
        names.extend(name.removeprefix(w) for w in _WRAPPERS if name.startswith(w))
    return [c for name in names for c in (name, f"encoder.{name}", name.removeprefix("encoder."))]


def _renamed(state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> tuple[dict[str, str], list[str]]:
    """Target name -> source name, and the source names without a target."""
    sources: dict[str, str] = {}
    left = []
    for key in state:
        name = next((c for c in _candidates(key) if c in target and c not in sources), None)
        if name is None:
            left.append(key)
        else:
            sources[name] = key
    return sources, left


def _fold_layer_scale(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], set[str]]:
    """Multiply LayerScale factors (DINOv2, CaiT) into the projection before them, which is exact; names changed."""
    folded, changed = dict(state), set()
    for key in state:
        for scale, layer in ((".ls1.gamma", ".attn.proj"), (".ls2.gamma", ".mlp.fc2")):
            stem = key.removesuffix(scale)
            names = [f"{stem}{layer}.weight", f"{stem}{layer}.bias"]
            if stem == key or any(name not in state for name in names):
                continue
            gamma = folded.pop(key)
            for name in names:
                folded[name] = folded[name] * gamma.reshape(-1, *[1] * (folded[name].ndim - 1))
                changed.add(name)
    return folded, changed


def convert_channels(kernel: Tensor, in_chans: int) -> Tensor:
    """Patch kernel for another number of channels: (D, C, p, p) -> (D, in_chans, p, p).

    A grey image repeated in every channel gives the same tokens before and after: the sum over channels is shared out.
    """
    return kernel.sum(1, keepdim=True).repeat(1, in_chans, 1, 1) / in_chans


def resize_kernel(kernel: Tensor, patch_size: int) -> Tensor:
    """Patch kernel for another patch size: (D, C, p, p) -> (D, C, patch_size, patch_size).

    Bicubic with antialiasing, scaled by the areas, so that the sum and with it the response to a constant patch stay.
    """
    size = (patch_size, patch_size)
    resized = F.interpolate(kernel.float(), size=size, mode="bicubic", antialias=True, align_corners=False)
    return resized * (kernel.shape[-1] ** 2 / patch_size**2)


def _fit_kernel(source: Tensor, target: Tensor) -> tuple[Tensor, list[str], str]:
    kinds, note = [], []
    if source.ndim != 4 or source.shape[0] != target.shape[0]:
        return source, [], ""
    if source.shape[1] != target.shape[1]:
        note.append(f"{source.shape[1]} -> {target.shape[1]} channels")
        source = convert_channels(source.float(), target.shape[1])
        kinds.append("converted")
    if source.shape[2:] != target.shape[2:]:
        note.append(f"patch {source.shape[-1]} -> {target.shape[-1]}")
        source = resize_kernel(source, target.shape[-1])
        kinds.append("resized")
    return source, kinds, ", ".join(note)


def _fit_positions(source: Tensor, grid: tuple[int, int]) -> tuple[Tensor, list[str], str]:
    """Positions of a square grid, with or without one for the class token, resized to ours."""
    count = source.shape[1] if source.ndim == 3 else 0
    for prefix in (1, 0):
        side = math.isqrt(max(count - prefix, 0))
        if side and side * side == count - prefix:
            if not prefix:  # the class token had no position: zero adds none
                source = torch.cat([torch.zeros_like(source[:, :1]), source], dim=1)
            note = f"grid {side}x{side} -> {grid[0]}x{grid[1]}"
            return resize_positions(source, (side, side), grid), ["resized"], note
    return source, [], ""


def _encoder_of(model: nn.Module) -> VisionTransformer | None:
    return next((m for m in model.modules() if isinstance(m, VisionTransformer)), None)


def _check_match(model: nn.Module, state: Mapping[str, Tensor], report: MatchReport) -> None:
    """Refuse weights of another architecture rather than train from almost nothing."""
    encoder = _encoder_of(model)
    essential = {n for n, _ in model.named_parameters() if encoder is None or ("blocks." in n and "decoder" not in n)}
    missing = sorted(essential.intersection(report.missing))
    found = ", ".join(list(state)[:5]) or "nothing"
    if len(missing) == len(essential):
        example = next((f"{n}: {report.notes[n]}" for n in report.left if "blocks." in n and n in report.notes), "")
        raise CheckpointError(
            f"no weights for this model: the file holds {found}, ...; needed are names such as {missing[0]}"
            + (f" ({example})" if example else "")
            + "; choose the model the file was made for"
        )
    if encoder is not None and missing:
        raise CheckpointError(
            f"the file lacks {len(missing)} of {len(essential)} tensors of the encoder, {missing[0]} for one: it was "
            "made for another depth or width; choose the model it was made for"
        )


def adapt_state(model: nn.Module, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], MatchReport]:
    """Fit a state dict with timm, MAE or our own keys to a model.

    Wrapper prefixes are dropped, the encoder is found inside or outside of a larger model, patch kernels are resized
    and their channels converted, positions resized, LayerScale multiplied in. Load the result with `strict=False`: the
    report says what is missing.

    Args:
        model: The model to fit to; not changed.
        state: Tensors by name.

    Returns:
        Tensors by the model's names, in its shapes and dtypes, and the report.

    Raises:
        CheckpointError: if the file fits no or only part of the encoder's blocks.
    """
    target: dict[str, Tensor] = model.state_dict()
    folded, scaled = _fold_layer_scale(state)
    sources, left = _renamed(folded, target)
    encoder = _encoder_of(model)
    adapted: dict[str, Tensor] = {}
    kinds: dict[str, list[str]] = {"matched": [], "resized": [], "converted": []}
    notes: dict[str, str] = {}
    for name, key in sources.items():
        value, how, note = _fit(name, folded[key], target[name], None if encoder is None else encoder.grid_size)
        if value.shape != target[name].shape:
            left.append(key)
            notes[key] = f"shape {tuple(value.shape)} does not fit {tuple(target[name].shape)}"
            continue
        adapted[name] = value.to(target[name].dtype)
        how = how + ["converted"] * (key in scaled)
        notes.update({name: note or "layer scale multiplied in"} if how else {})
        for kind in how or ["matched"]:
            kinds[kind].append(name)
    missing = tuple(name for name in target if name not in adapted)
    groups: dict[str, tuple[str, ...]] = {kind: tuple(names) for kind, names in kinds.items()}
    report = MatchReport(left=tuple(left), missing=missing, notes=notes, **groups)
    _check_match(model, state, report)
    return adapted, report


def _fit(name: str, source: Tensor, target: Tensor, grid: tuple[int, int] | None) -> tuple[Tensor, list[str], str]:
    """The tensor in the target's shape where we know how, what was done, and a note."""
    if source.shape == target.shape:
        return source, [], ""
    if name.endswith("patch_embed.proj.weight"):
        return _fit_kernel(source, target)
    if name.endswith("pos_embed") and grid is not None:
        return _fit_positions(source, grid)
    return source, [], ""
