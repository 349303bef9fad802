"""A batch and tiny models for the tests of pre-training methods."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.registry import create_model
from vasomim.models.vit import VisionTransformer
from vasomim.types import Progress

SIZE, PATCH, FRAMES = 64, 8, 4
PATCHES = (SIZE // PATCH) ** 2
FIRST = Progress(step=0, total_steps=10, epoch=0, total_epochs=4, seed=3)
MIDWAY = Progress(step=5, total_steps=10, epoch=1, total_epochs=4, seed=3)


def make_batch(views: tuple[int, ...] = ()) -> dict[str, Tensor]:
    """Random frames with a dark band, and further views of the given sizes."""
    generator = torch.Generator().manual_seed(0)
    vessels = torch.zeros(FRAMES, SIZE, SIZE)
    vessels[:, 20:23, 4:60] = 1
    batch = {"image": torch.rand(FRAMES, 1, SIZE, SIZE, generator=generator), "vessels": vessels}
    for number, side in enumerate(views, start=1):
        batch[f"view{number}"] = torch.rand(FRAMES, 1, side, side, generator=generator)
    return {**batch, "index": torch.tensor([4, 7, 9, 2]), "epoch": torch.ones(FRAMES, dtype=torch.int64)}


def make_mae() -> MaskedAutoencoder:
    """A tiny autoencoder, always the same."""
    torch.manual_seed(1)
    mae = create_model("mae_vit_test", img_size=SIZE)
    assert isinstance(mae, MaskedAutoencoder)
    return mae


def make_encoder() -> VisionTransformer:
    """A tiny encoder, always the same."""
    torch.manual_seed(1)
    encoder = create_model("vit_test", img_size=SIZE, fixed_positions=True)
    assert isinstance(encoder, VisionTransformer)
    return encoder


def paint(images: Tensor, patches: Tensor, values: Tensor) -> Tensor:
    """The images with the marked patches (B, L) replaced by those of `values` (B, C, H, W)."""
    h = w = images.shape[-1] // PATCH
    at = patches.reshape(-1, 1, h, w).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    return torch.where(at, values, images)


def step(task: nn.Module, batch: dict[str, Tensor], progress: Progress, lr: float = 0.1) -> None:
    """One step of plain gradient descent."""
    task.zero_grad(set_to_none=True)
    task(batch, progress).loss.backward()
    with torch.no_grad():
        for weight in task.parameters():
            if weight.grad is not None:
                weight -= lr * weight.grad
