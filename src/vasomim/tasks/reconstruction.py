"""What tasks that hide patches share: noise, targets, the decoded frame.

Letters: B frames, L patches, P values a patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from vasomim.models.input_norm import InputNorm
from vasomim.ops.masking import random_mask
from vasomim.ops.noise import counter_uniform
from vasomim.ops.patches import grid_of, normalize_patches, patchify, unpatchify
from vasomim.types import Progress


class ReadsPatches(Protocol):
    """A model that normalises frames and looks at patches of them."""

    @property
    def input_norm(self) -> InputNorm: ...

    @property
    def patch_size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """One pass of a model over a batch, for losses and for pictures."""

    mask: Tensor
    """(B, L) bool, True = hidden."""
    predictions: Tensor
    """(B, L, P) in the space of `targets`."""
    targets: Tensor
    """(B, L, P) patches, normalised one by one if the task says so."""
    images: Tensor
    """(B, C, H, W) the decoded frames in the frames' own grey values (about [0, 1])."""


def mask_noise(batch: Mapping[str, Tensor], progress: Progress, rows: int, count: int) -> Tensor:
    """Noise for the masks of a batch, a function of (seed, epoch, index): -> (B, rows, count) in (0, 1).

    A row does not change with the number of rows, so methods that hide patches at random hide the same ones.
    """
    return counter_uniform(progress.seed, batch["epoch"], batch["index"], rows * count).reshape(-1, rows, count)


def uniform_mask(batch: Mapping[str, Tensor], progress: Progress, patch_size: int, mask_ratio: float) -> Tensor:
    """Patches hidden at random: -> bool (B, L); to the bit the mask of guided masking without guidance."""
    images = batch["image"]
    count = num_patches(images, patch_size)
    return random_mask(len(images), count, mask_ratio, noise=mask_noise(batch, progress, 2, count)[:, 1])


def num_patches(images: Tensor, patch_size: int) -> int:
    """L of images (B, C, H, W)."""
    h, w = grid_of(images.shape[-2], images.shape[-1], patch_size)
    return h * w


def patch_targets(images: Tensor, model: ReadsPatches, norm_pix_loss: bool) -> Tensor:
    """What predictions of the patches are compared with: (B, C, H, W) in [0, 1] -> (B, L, P)."""
    patches = patchify(model.input_norm(images), model.patch_size)
    return normalize_patches(patches)[0] if norm_pix_loss else patches


def decode(
    images: Tensor, mask: Tensor, predictions: Tensor, model: ReadsPatches, *, norm_pix_loss: bool
) -> Reconstruction:
    """Targets and decoded frames of what `model` predicts (B, L, P) of all patches of images (B, C, H, W) in [0, 1].

    The decoded frame is made of all predicted patches, hidden and visible. Where patches are normalised, they get the
    mean and scale of the target patch back.
    """
    normal, patch_size = model.input_norm(images), model.patch_size
    patches = patchify(normal, patch_size)  # (B, L, P)
    predictions = predictions.float()
    if not norm_pix_loss:
        pixels, targets = predictions, patches
    else:
        targets, mean, scale = normalize_patches(patches)
        pixels = predictions * scale + mean
    grid = grid_of(images.shape[-2], images.shape[-1], patch_size)
    decoded = model.input_norm.inverse(unpatchify(pixels, patch_size, grid, normal.shape[1]))
    return Reconstruction(mask, predictions, targets, decoded)
