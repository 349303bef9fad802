"""What a competent user writes first, from the description of the method: the references of `vasomim benchmark speed`.

Written for clarity with the usual libraries, without any of our fast paths, and never edited together with the code
that is judged by it. Nothing else may import it.
"""

from __future__ import annotations

import random
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.filters import sato
from torch import Tensor, nn

from vasomim.types import BoolImage

Bytes = npt.NDArray[np.uint8]


def sato_vesselness(frame: Bytes) -> npt.NDArray[np.float64]:
    """Sato's tubeness at sigmas 1 to 4 by scikit-image: (H, W) uint8 -> (H, W) float64."""
    response: npt.NDArray[np.float64] = sato(  # type: ignore[no-untyped-call]
        frame, sigmas=[1, 2, 3, 4], black_ridges=True, mode="reflect"
    )
    return response


def extract(frame: Bytes) -> BoolImage:
    """The published anatomy (arXiv 2508.10794): filter, cast, border, percentile, region growing -> bool (H, W)."""
    response = sato_vesselness(frame).astype(np.uint8)
    response[:20], response[-20:], response[:, :20], response[:, -20:] = 0, 0, 0, 0
    kept = np.where(response >= np.percentile(response, 92), response, 0)
    seed = np.unravel_index(int(kept.argmax()), kept.shape)
    return flood_fill(kept > 0, (int(seed[0]), int(seed[1])))


def flood_fill(allowed: BoolImage, seed: tuple[int, int]) -> BoolImage:
    """The 4-connected region of `allowed` around `seed`, pixel by pixel."""
    height, width = allowed.shape
    region = np.zeros_like(allowed)
    if not allowed[seed]:
        return region
    queue = deque([seed])
    region[seed] = True
    while queue:
        y, x = queue.popleft()
        for near_y, near_x in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= near_y < height and 0 <= near_x < width
            if inside and allowed[near_y, near_x] and not region[near_y, near_x]:
                region[near_y, near_x] = True
                queue.append((near_y, near_x))
    return region


def guided_masks(guidance: Tensor, patch_size: int, mask_ratio: float, guided_fraction: float) -> Tensor:
    """Guided masking one frame after another: (B, H, W) -> bool (B, L), True = hidden."""
    masks = []
    for frame in guidance:
        patches = frame.unfold(0, patch_size, patch_size).unfold(1, patch_size, patch_size).sum((2, 3)).flatten()
        count = len(patches)
        hidden = count - int(count * (1 - mask_ratio))
        guided = min(int(guided_fraction * hidden), int((patches > 0).sum().item()))
        mask = torch.zeros(count, dtype=torch.bool)
        if guided:
            mask[torch.multinomial(patches / patches.sum(), guided, replacement=False)] = True
        left = torch.nonzero(~mask).flatten()
        mask[left[torch.randperm(len(left))[: hidden - guided]]] = True
        masks.append(mask)
    return torch.stack(masks)


class FolderSamples(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Frames and vesselness as PNG files of one name in two folders; random resized crop and flip by Pillow."""

    def __init__(self, frames: Path, vesselness: Path, size: int = 224) -> None:
        self.frames = sorted(frames.glob("*.png"))
        self.vesselness = [vesselness / path.name for path in self.frames]
        self.size = size

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        frame = Image.open(self.frames[index]).convert("L")
        vesselness = Image.open(self.vesselness[index]).convert("L")
        box = self.random_box(*frame.size)
        flip = random.random() < 0.5
        return self.render(frame, box, flip, Image.Resampling.BICUBIC), self.render(
            vesselness, box, flip, Image.Resampling.NEAREST
        )

    @staticmethod
    def random_box(width: int, height: int) -> tuple[int, int, int, int]:
        """A window of 20 to 100 % of the area and of aspect 3/4 to 4/3."""
        for _ in range(10):
            area = width * height * random.uniform(0.2, 1.0)
            aspect = random.uniform(3 / 4, 4 / 3)
            w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if w <= width and h <= height:
                x, y = random.randint(0, width - w), random.randint(0, height - h)
                return x, y, x + w, y + h
        return 0, 0, width, height

    def render(
        self, image: Image.Image, box: tuple[int, int, int, int], flip: bool, resample: Image.Resampling
    ) -> Tensor:
        """Crop, resize, flip -> (1, size, size) in [0, 1]."""
        image = image.crop(box).resize((self.size, self.size), resample)
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(image)).float().div(255).unsqueeze(0)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5).softmax(-1)
        mixed: Tensor = self.proj((weights @ v).transpose(1, 2).reshape(b, n, d))
        return mixed


class Layer(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class MaskedAutoencoder(nn.Module):
    """MAE (arXiv 2111.06377): encode what is visible, decode all with mask tokens."""

    def __init__(
        self, dim: int = 768, depth: int = 12, heads: int = 12, decoder: tuple[int, int, int] = (512, 8, 16)
    ) -> None:
        super().__init__()
        width, decoder_depth, decoder_heads = decoder
        self.patch_embed = nn.Conv2d(1, dim, 16, 16)
        self.positions = nn.Parameter(torch.randn(1, 197, dim) * 0.02, requires_grad=False)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(Layer(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_positions = nn.Parameter(torch.randn(1, 197, width) * 0.02, requires_grad=False)
        self.decoder_blocks = nn.ModuleList(Layer(width, decoder_heads) for _ in range(decoder_depth))
        self.decoder_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 256)

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """(B, 1, 224, 224), bool (B, 196) -> (B, 196, 256)."""
        tokens = self.patch_embed(images).flatten(2).transpose(1, 2) + self.positions[:, 1:]
        batch, count, dim = tokens.shape
        visible = tokens[~mask].reshape(batch, -1, dim)
        x = torch.cat([(self.cls + self.positions[:, :1]).expand(batch, -1, -1), visible], 1)
        for block in self.blocks:
            x = block(x)
        x = self.embed(self.norm(x))
        full = self.mask_token.repeat(batch, count, 1)
        full[~mask] = x[:, 1:].reshape(-1, x.shape[2])
        x = torch.cat([x[:, :1], full], 1) + self.decoder_positions
        for block in self.decoder_blocks:
            x = block(x)
        predictions: Tensor = self.head(self.decoder_norm(x))[:, 1:]
        return predictions


def to_patches(images: Tensor) -> Tensor:
    """(B, 1, 224, 224) -> (B, 196, 256)."""
    b = len(images)
    return images.reshape(b, 14, 16, 14, 16).permute(0, 1, 3, 2, 4).reshape(b, 196, 256)


def to_images(patches: Tensor) -> Tensor:
    """(B, 196, 256) -> (B, 1, 224, 224)."""
    b = len(patches)
    return patches.reshape(b, 14, 14, 16, 16).permute(0, 1, 3, 2, 4).reshape(b, 1, 224, 224)


def pretraining_step(
    model: MaskedAutoencoder, segmentor: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, vessels: Tensor
) -> dict[str, Any]:
    """One VasoMIM step (arXiv 2602.11536) as one would write it down: a line a formula, losses read at once."""
    with torch.no_grad():
        guidance = 0.5 * vessels + 0.5 * torch.sigmoid(segmentor(images))[:, 0]
    mask = guided_masks(guidance, 16, 0.5, 0.25)
    predictions = model(images, mask)
    patches = to_patches(images)
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    targets = (patches - mean) / (variance + 1e-6) ** 0.5
    reconstruction = ((predictions - targets) ** 2).mean(-1)[mask].mean()
    decoded = to_images(predictions * (variance + 1e-6) ** 0.5 + mean)
    with torch.no_grad():
        target = torch.sigmoid(segmentor(images))
    consistency = F.binary_cross_entropy_with_logits(segmentor(decoded), target)
    loss = reconstruction + consistency
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"loss": loss.item(), "reconstruction": reconstruction.item(), "consistency": consistency.item()}


@torch.no_grad()
def segment(model: nn.Module, image: Tensor) -> npt.NDArray[np.float32]:
    """Probability of vessel by the model as it is, in eager float32: (1, 1, H, W) -> (H, W)."""
    probability: npt.NDArray[np.float32] = torch.sigmoid(model(image))[0, 0].numpy()
    return probability
