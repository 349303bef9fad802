"""Validation during a run: losses, vessel probe and picture sheets of held-out frames, and segmentation scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vasomim import metrics
from vasomim.data.augment import WholeFrame
from vasomim.data.samples import FrameDataset
from vasomim.losses import consistency_loss, reconstruction_loss
from vasomim.ops.masking import random_mask
from vasomim.ops.noise import counter_uniform
from vasomim.tasks.interface import Pretrains, Reconstructs
from vasomim.tasks.probe import vessel_probe
from vasomim.tasks.reconstruction import num_patches
from vasomim.types import Progress
from vasomim.viz.images import RGB, contact_sheet, heat_overlay, mask_overlay, to_rgb

BATCH = 16
MASK_SEED = 20_250_814
"""Validation masks depend on this and the frame alone, so that losses compare across epochs, runs and methods."""


@dataclass(frozen=True)
class Maps:
    """Whole frames at the training size, kept as bytes; a fixed number of them, so memory stays bounded."""

    images: npt.NDArray[np.uint8]
    """(N, S, S)"""
    vessels: npt.NDArray[np.bool_]
    """(N, S, S)"""

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, device: torch.device) -> Iterator[dict[str, Tensor]]:
        """Batches of `image` (B, 1, S, S) in [0, 1], `vessels` (B, S, S), `index` and `epoch` (B,)."""
        for start in range(0, len(self), BATCH):
            images = torch.from_numpy(self.images[start : start + BATCH]).to(device)
            vessels = torch.from_numpy(self.vessels[start : start + BATCH]).to(device)
            index = torch.arange(start, start + len(images), device=device)
            yield {
                "image": images.unsqueeze(1).float() / 255,
                "vessels": vessels.float(),
                "index": index,
                "epoch": torch.zeros_like(index),
            }


def load_maps(dataset: FrameDataset, size: int, limit: int) -> Maps:
    """At most `limit` whole frames of `dataset`, evenly spaced, at `size` x `size`; no anatomy reads as none."""
    resize = WholeFrame(size)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).round().astype(int))
    images = np.zeros((len(chosen), size, size), np.uint8)
    vessels = np.zeros((len(chosen), size, size), bool)
    for row, index in enumerate(chosen):
        item = resize(dataset[int(index)])
        images[row] = (item["image"][0].numpy() * 255).round().astype(np.uint8)
        if "vessels" in item:
            vessels[row] = item["vessels"].numpy() > 0.5
    return Maps(images, vessels)


@torch.no_grad()
def pretraining_losses(task: Reconstructs, maps: Maps, device: torch.device) -> dict[str, float]:
    """Mean reconstruction and consistency loss of held-out frames under uniform masks."""
    sums: dict[str, float] = {}
    segmentor = guide_of(task)
    for batch in maps.batches(device):
        images = batch["image"]
        count = num_patches(images, task.model.patch_size)
        noise = counter_uniform(MASK_SEED, batch["epoch"], batch["index"], count)
        mask = random_mask(len(images), count, task.mask_ratio, noise=noise)
        decoded = task.reconstruct(images, mask)
        losses = {"reconstruction": reconstruction_loss(decoded.predictions, decoded.targets, mask)}
        if segmentor is not None:
            losses["consistency"] = consistency_loss(segmentor(decoded.images), segmentor(images))
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(images)
    return {name: total / len(maps) for name, total in sums.items()}


def guide_of(task: object) -> nn.Module | None:
    """The frozen segmentor of a task that has one."""
    guide: nn.Module | None = getattr(task, "segmentor", None)
    return guide


def probe_score(task: Pretrains, fit: Maps, test: Maps, device: torch.device) -> float:
    """R^2 of the vessel probe on the encoder's tokens."""
    model = task.model

    def tokens(images: Tensor) -> Tensor:
        return model.encoder.forward_features(model.input_norm(images))[:, 1:]

    fit_pairs = ((b["image"], b["vessels"]) for b in fit.batches(device))
    test_pairs = ((b["image"], b["vessels"]) for b in test.batches(device))
    return vessel_probe(tokens, fit_pairs, test_pairs, model.patch_size)


@torch.no_grad()
def inspection_sheet(task: Pretrains, maps: Maps, progress: Progress, device: torch.device, rows: int = 4) -> RGB:
    """A picture, one row a frame: the frame, what the masks are drawn from, hidden patches, reconstruction, and what S
    sees in both; whatever the method has of these.
    """
    batch = {name: value[:rows] for name, value in next(maps.batches(device)).items()}
    columns = inspection_columns(task, batch, progress)
    cells = [[pictures[row] for pictures in columns.values()] for row in range(len(batch["image"]))]
    return contact_sheet(cells, columns=list(columns))


def inspection_columns(task: Pretrains, batch: dict[str, Tensor], progress: Progress) -> dict[str, list[RGB]]:
    """The columns of `inspection_sheet` by their titles, a picture for each frame."""
    images, seen = batch["image"], task.inspect(batch, progress)
    frames = images[:, 0].cpu().numpy()
    columns = {"frame": [to_rgb(frame) for frame in frames]}
    for name, heat in seen.maps.items():
        columns[name] = [heat_overlay(*pair) for pair in zip(frames, heat.cpu().numpy(), strict=True)]
    if seen.hidden is not None:
        pairs = zip(frames, seen.hidden.cpu().numpy(), strict=True)
        columns["hidden patches"] = [mask_overlay(frame, mask, task.model.patch_size) for frame, mask in pairs]
    if seen.decoded is not None:
        columns["reconstruction"] = greys(seen.decoded.clamp(0, 1))
    segmentor = guide_of(task)
    if segmentor is not None and seen.decoded is not None:
        columns["S(frame)"] = greys(segmentor(images).float().sigmoid())
        columns["S(reconstruction)"] = greys(segmentor(seen.decoded).float().sigmoid())
    return columns


def greys(images: Tensor) -> list[RGB]:
    """Frames (B, 1, H, W) in [0, 1] as pictures."""
    return [to_rgb(image) for image in images[:, 0].float().cpu().numpy()]


@torch.no_grad()
def segmentation_scores(
    model: nn.Module, frames: Sequence[Tensor], targets: Sequence[npt.NDArray[np.bool_]], device: torch.device
) -> Mapping[str, float]:
    """Mean per-image Dice and clDice of frames (1, S, S) in [0, 1] against masks (S, S), threshold 0.5."""
    dice, cldice = [], []
    for start in range(0, len(frames), BATCH):
        images = torch.stack(list(frames[start : start + BATCH])).to(device)
        predictions = (model(images)[:, 0] > 0).cpu().numpy()
        for prediction, target in zip(predictions, targets[start : start + BATCH], strict=True):
            dice.append(metrics.dice(prediction, target))
            cldice.append(metrics.cldice(prediction, target))
    return {"dice": float(np.mean(dice)), "cldice": float(np.mean(cldice))}
