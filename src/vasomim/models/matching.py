"""Fit a foreign state dict to a model: rename keys, resize what can be resized, and report every tensor's fate."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasomim.errors import CheckpointError
from vasomim.models.architecture import check_blocks, encoder_parts, square_grid
from vasomim.models.layouts import Translated, to_timm
from vasomim.models.vit import VisionTransformer
from vasomim.ops.positions import resize_positions


@dataclass(frozen=True, slots=True)
class MatchReport:
    """What became of every tensor of a file, by name."""

    matched: tuple[str, ...] = ()
    """Tensors of the model taken as they are."""
    resized: tuple[str, ...] = ()
    """Tensors of the model interpolated to another patch size or position grid."""
    converted: tuple[str, ...] = ()
    """Tensors of the model with other channels, layer scales multiplied in, or query, key and value joined."""
    left: tuple[str, ...] = ()
    """Tensors of the file that the model has no use for, under their names in the file."""
    missing: tuple[str, ...] = ()
    """Tensors of the model that the file does not give; they keep their fresh values."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What was done to a tensor, or why it was left."""

    def counts(self) -> dict[str, int]:
        """How many tensors met each fate."""
        return {kind: len(getattr(self, kind)) for kind in ("matched", "resized", "converted", "left", "missing")}

    def table(self) -> str:
        """The report as text: how many tensors of every fate, by part of the model; equal notes on one line."""
        lines = []
        for kind, count in self.counts().items():
            names: tuple[str, ...] = getattr(self, kind)
            notes = self.notes if kind != "missing" else {}
            lines.append(f"{kind:<9} {count:>4}  {', '.join(_parts([n for n in names if n not in notes]))}".rstrip())
            for note in dict.fromkeys(notes[n] for n in names if n in notes):
                same = [n for n in names if notes.get(n) == note]
                lines.append(f"{'':16}{', '.join(_parts(same) if len(same) > 1 else same)}: {note}")
        return "\n".join(lines)


def _parts(names: list[str]) -> list[str]:
    """Names cut at the first number or the second dot, each part once, with the number of its tensors."""
    counts = Counter(re.split(r"\.\d+\.", name)[0] for name in names)
    parts: Counter[str] = Counter()
    for name, count in counts.items():
        parts[".".join(name.split(".")[:2])] += count
    return [name if count == 1 else f"{name} ({count})" for name, count in parts.items()]


def _targets(translated: Translated, target: Mapping[str, Tensor]) -> tuple[dict[str, str], list[str]]:
    """Name in the model -> translated name, and the translated names without a target."""
    sources: dict[str, str] = {}
    left = []
    for key in translated.state:
        candidates = (key, f"encoder.{key}", key.removeprefix("encoder."))
        name = next((c for c in candidates if c in target and c not in sources), None)
        if name is None:
            left.append(key)
        else:
            sources[name] = key
    return sources, left


def convert_channels(kernel: Tensor, in_chans: int) -> Tensor:
    """Patch kernel for another number of channels: (D, C, p, p) -> (D, in_chans, p, p).

    A grey image repeated in every channel gives the same tokens before and after: the sum over channels is shared out.
    """
    return kernel.sum(1, keepdim=True).repeat(1, in_chans, 1, 1) / in_chans


def _resize_matrix(old: int, new: int) -> Tensor:
    """Bicubic, antialiased resizing of a square patch as a matrix on its pixels: -> (new*new, old*old) float64."""
    pixels = torch.eye(old * old).reshape(-1, 1, old, old)
    resized = F.interpolate(pixels, size=(new, new), mode="bicubic", antialias=True, align_corners=False)
    return resized.reshape(old * old, new * new).T.double()


@cache
def _kernel_matrix(old: int, new: int) -> Tensor:
    """The matrix that resizes a kernel: -> (new*new, old*old) float64."""
    inverse: Tensor = torch.linalg.pinv(_resize_matrix(old, new).T)
    return inverse


def resize_kernel(kernel: Tensor, patch_size: int) -> Tensor:
    """Patch kernel for another patch size: (D, C, p, p) -> (D, C, patch_size, patch_size) float32.

    The pseudo-inverse resize of FlexiViT (Beyer et al., CVPR 2023, eq. 4): an enlarged patch gives the same token under
    the enlarged kernel, exactly; a shrunken one the nearest in least squares. There the kernel is then shifted so that
    a constant patch still gives exactly what it gave, which least squares alone misses by a tenth.
    """
    d, c, p, _ = kernel.shape
    flat = kernel.double().flatten(2)  # (D, C, p*p)
    resized = flat @ _kernel_matrix(p, patch_size).T.to(kernel.device)
    shift = (flat.sum(2, keepdim=True) - resized.sum(2, keepdim=True)) / patch_size**2
    return (resized + shift).reshape(d, c, patch_size, patch_size).float()


def _fit_kernel(source: Tensor, target: Tensor) -> tuple[Tensor, list[str], str]:
    kinds, note = [], []
    if source.ndim != 4 or source.shape[0] != target.shape[0] or source.shape[2] != source.shape[3]:
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
    square = square_grid(tuple(source.shape))
    if square is None:
        return source, [], ""
    side, prefix = square
    if not prefix:  # the class token had no position: zero adds none
        source = torch.cat([torch.zeros_like(source[:, :1]), source], dim=1)
    note = f"grid {side}x{side} -> {grid[0]}x{grid[1]}"
    return resize_positions(source, (side, side), grid), ["resized"], note


def _fit_predictor(source: Tensor, target: Tensor) -> tuple[Tensor, list[str], str]:
    """The decoder's last layer for another number of channels, which come last of its outputs: their mean.

    The mean of the predicted channels is what the decoder predicts of a grey image.
    """
    for old, new in ((3, 1), (1, 3)):
        if source.shape[0] * new == target.shape[0] * old and source.shape[1:] == target.shape[1:]:
            channels = source.float().reshape(-1, old, *source.shape[1:]).mean(1, keepdim=True)
            spread = channels.repeat(1, new, *[1] * (source.ndim - 1)).flatten(0, 1)
            return spread, ["converted"], f"{old} -> {new} channels"
    return source, [], ""


def _fit(name: str, source: Tensor, target: Tensor, grid: tuple[int, int] | None) -> tuple[Tensor, list[str], str]:
    """The tensor in the target's shape where we know how, what was done, and a note."""
    if source.shape == target.shape:
        return source, [], ""
    if name.endswith("patch_embed.proj.weight"):
        return _fit_kernel(source, target)
    if name.endswith("pos_embed") and grid is not None:
        return _fit_positions(source, grid)
    if name.startswith("decoder_pred.") and source.ndim:
        return _fit_predictor(source, target)
    return source, [], ""


def _encoder_of(model: nn.Module) -> VisionTransformer | None:
    return next((m for m in model.modules() if isinstance(m, VisionTransformer)), None)


_ESSENTIAL = ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias")


def _check_match(model: nn.Module, state: Mapping[str, Tensor], report: MatchReport) -> None:
    """Refuse weights of another architecture rather than train from almost nothing."""
    encoder = _encoder_of(model)
    names = [n for n, _ in model.named_parameters()]
    # Of convolutions, biases and norms of one width or another often fit by chance; kernels do not.
    kernels = {n for n, value in model.named_parameters() if value.ndim > 1}
    essential = kernels if encoder is None else {n for n in names if "blocks." in n and "decoder" not in n}
    found = ", ".join(list(state)[:5]) or "nothing"
    needed = len(essential) / 2 if encoder is None else 1
    if len(essential.difference(report.missing)) < needed:
        misfits = [n for n in report.left if n in report.notes]
        told = [n for n in misfits if encoder is None or "blocks." in n or "layer." in n]
        example = next((f"{n}: {report.notes[n]}" for n in told), "")
        raise CheckpointError(
            f"no weights for this model: the file holds {found}, ...; needed are names such as {min(essential)}"
            + (f" ({example})" if example else "")
            + "; choose the model the file was made for"
        )
    if encoder is not None:
        essential |= {n for n in names if n.removeprefix("encoder.") in _ESSENTIAL}
    missing = sorted(essential.intersection(report.missing))
    if encoder is not None and missing:
        raise CheckpointError(
            f"the file lacks {len(missing)} of {len(essential)} tensors of the encoder, {missing[0]} for one: it was "
            "made for another depth or width; choose the model it was made for"
        )


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that hold NaN or infinite values.

    Raises:
        CheckpointError: naming the first such tensor.
    """
    bad = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise CheckpointError(
            f"{len(bad)} of {len(tensors)} tensors hold NaN or infinite values, {bad[0]} for one: the file is damaged "
            "or its training diverged; choose another checkpoint"
        )


def adapt_state(model: nn.Module, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], MatchReport]:
    """Fit a state dict in any layout we read (see `vasomim.models.layouts`) to a model.

    Wrapper prefixes are dropped, the encoder is found inside or outside of a larger model, patch kernels are resized
    and their channels converted, positions resized, LayerScale multiplied in, query, key and value joined. Load the
    result with `strict=False`: the report says what is missing.

    Args:
        model: The model to fit to; not changed, and only its names, shapes and types are used (it may be on `meta`).
        state: Tensors by name.

    Returns:
        Tensors by the model's names, in its shapes and dtypes, and the report.

    Raises:
        CheckpointError: if the file fits no or only part of the encoder, is of another family, or holds NaN.
    """
    target: dict[str, Tensor] = model.state_dict()
    encoder = _encoder_of(model)
    if encoder is not None:
        check_blocks(encoder_parts(state), "the file")
    translated = to_timm(state)
    sources, unused = _targets(translated, target)
    left = [origin for key in unused for origin in translated.origins[key]]
    adapted: dict[str, Tensor] = {}
    kinds: dict[str, list[str]] = {"matched": [], "resized": [], "converted": []}
    notes: dict[str, str] = {}
    for name, key in sources.items():
        source, want = translated.state[key], target[name]
        value, how, note = _fit(name, source, want, None if encoder is None else encoder.grid_size)
        if value.shape != want.shape or value.is_floating_point() != want.is_floating_point():
            left += translated.origins[key]
            notes |= dict.fromkeys(translated.origins[key], _misfit(value, want))
            continue
        adapted[name] = value.to(want.dtype)
        how = how + ["converted"] * (key in translated.notes)
        notes.update({name: ", ".join(filter(None, (note, translated.notes.get(key))))} if how else {})
        for kind in dict.fromkeys(how) or ["matched"]:
            kinds[kind].append(name)
    missing = tuple(name for name in target if name not in adapted)
    groups: dict[str, tuple[str, ...]] = {kind: tuple(names) for kind, names in kinds.items()}
    report = MatchReport(left=tuple(left), missing=missing, notes=notes, **groups)
    _check_match(model, state, report)
    check_finite(adapted)
    return adapted, report


def _misfit(source: Tensor, target: Tensor) -> str:
    if source.shape != target.shape:
        return f"shape {tuple(source.shape)} does not fit {tuple(target.shape)}"
    return f"holds {source.dtype}, not {target.dtype}"
