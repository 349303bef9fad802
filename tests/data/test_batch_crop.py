"""Crops laid out in batches: the same as one by one with OpenCV, whatever the batch."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vasomim.data.augment import JointCrop
from vasomim.data.batch_crop import CHUNK, FrameBatch, crop_batch, shade_batch
from vasomim.data.intensity import Shading, shade
from vasomim.types import Record, Sample

COUNT = 24
FLOAT_ERROR = 1e-6
"""Largest difference of a crop without rotation: the same sums in another order."""
TURNED_ERROR = 2e-4
"""Largest difference of a rotated crop of white noise, the worst of frames: positions are rounded differently."""


def blobs(height: int, width: int, sigma: float = 6, seed: int = 0) -> np.ndarray:
    """Smooth random heights."""
    noise = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), sigma)


def sample(height: int = 110, width: int = 150, bits: int = 8, seed: int = 0) -> Sample:
    """White noise, with vessels and a mask of smooth shapes."""
    scale = 2**bits - 1
    image = np.random.default_rng(seed).integers(0, scale + 1, (height, width)).astype(np.float32) / np.float32(scale)
    shape = blobs(height, width, seed=seed)
    return Sample(Record(str(seed), Path("a")), image, mask=shape > 0.02, vessels=shape > 0.03)


def frame_batch(samples: list[Sample], bits: int = 8) -> FrameBatch:
    scale = 2**bits - 1
    levels = np.stack([np.rint(item.image * scale) for item in samples]).astype(np.uint8 if bits == 8 else np.uint16)
    masks = (
        np.stack([np.packbits(item.vessels, axis=1) for item in samples]),
        np.stack([np.packbits(item.mask, axis=1) for item in samples]),
    )
    return FrameBatch(
        torch.from_numpy(levels if bits == 8 else levels.view(np.int16)),
        torch.full((len(samples),), float(scale)),
        *map(torch.from_numpy, masks),
    )


def numbers(crop: JointCrop, samples: list[Sample]) -> torch.Tensor:
    rows = [crop.draw(item, np.random.default_rng(k))[0].numbers() for k, item in enumerate(samples)]
    return torch.tensor(rows, dtype=torch.float64)


def one_by_one(crop: JointCrop, samples: list[Sample]) -> dict[str, torch.Tensor]:
    items = [crop(item, np.random.default_rng(k)) for k, item in enumerate(samples)]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


STRAIGHT = {
    "plain": JointCrop(64),
    "shrinking": JointCrop(24, scale=(0.9, 1)),
    "growing": JointCrop(96, scale=(0.05, 0.2)),
    "both": JointCrop(72, scale=(0.2, 1)),
    "flips": JointCrop(48, horizontal_flip=1, vertical_flip=0.5),
    "native": JointCrop(64, native=True, scale=(0.5, 1)),
    "native beyond the frame": JointCrop(180, native=True, scale=(0.5, 1)),
    "aware": JointCrop(40, scale=(0.1, 0.4), vessel_aware=5),
}
TURNED = {
    "rotation": JointCrop(64, rotation=45, vertical_flip=0.5),
    "rotation, growing": JointCrop(96, scale=(0.05, 0.2), rotation=30),
    "rotation, shrinking": JointCrop(24, scale=(0.3, 1), rotation=10),
    "rotation, native": JointCrop(130, native=True, rotation=20),
}


@pytest.mark.parametrize("name", STRAIGHT)
@pytest.mark.parametrize("bits", [8, 16])
def test_crop_batch__is_the_crop_of_each(name: str, bits: int) -> None:
    crop = STRAIGHT[name]
    samples = [sample(bits=bits, seed=k) for k in range(COUNT)]
    laid, expected = (
        crop_batch(frame_batch(samples, bits), numbers(crop, samples), crop.size),
        one_by_one(crop, samples),
    )
    assert laid.keys() == expected.keys()
    assert all(laid[key].shape == value.shape and laid[key].dtype == value.dtype for key, value in expected.items())
    torch.testing.assert_close(laid["image"], expected["image"], atol=FLOAT_ERROR, rtol=0)
    assert torch.equal(laid["vessels"], expected["vessels"])
    # OpenCV interpolates bytes with 11 bits; where a mask grows, a pixel at one half may fall either way.
    assert (laid["mask"] != expected["mask"]).float().mean() < 1e-4


@pytest.mark.parametrize("name", TURNED)
def test_crop_batch__with_rotation_is_nearly_the_crop_of_each(name: str) -> None:
    crop = TURNED[name]
    samples = [sample(seed=k) for k in range(COUNT)]
    laid, expected = crop_batch(frame_batch(samples), numbers(crop, samples), crop.size), one_by_one(crop, samples)
    difference = (laid["image"] - expected["image"]).abs()
    assert difference.max() < TURNED_ERROR
    assert difference.mean() < TURNED_ERROR / 20
    for key in ("vessels", "mask"):
        assert (laid[key] != expected[key]).float().mean() < 1e-3, key


@pytest.mark.parametrize("name", ["both", "rotation, shrinking"])
def test_crop_batch__does_not_depend_on_the_batch(name: str) -> None:
    crop = {**STRAIGHT, **TURNED}[name]
    samples = [sample(60, 70, seed=k % 5) for k in range(CHUNK + 9)]
    frames, rows = frame_batch(samples), numbers(crop, samples)
    whole = crop_batch(frames, rows, crop.size)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    for chosen in (order, order[:3], torch.tensor([CHUNK + 4])):
        part = crop_batch(frames[chosen], rows[chosen], crop.size)
        for key, value in part.items():
            torch.testing.assert_close(value, whole[key][chosen], atol=FLOAT_ERROR, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 7)])
def test_crop_batch__thinnest_frames(shape: tuple[int, int]) -> None:
    full = np.ones(shape, bool)
    item = Sample(Record("a", Path("a")), np.ones(shape, np.float32), mask=full, vessels=full)
    for crop in {**STRAIGHT, **TURNED}.values():
        laid = crop_batch(frame_batch([item] * 3), numbers(crop, [item] * 3), crop.size)
        assert all(torch.allclose(value, torch.tensor(1.0), atol=1e-6) for value in laid.values())


def test_crop_batch__frames_alone() -> None:
    samples = [sample()]
    frames = FrameBatch(frame_batch(samples).levels, torch.tensor([255.0]))
    assert crop_batch(frames, numbers(JointCrop(8), samples), 8).keys() == {"image"}


SHADINGS = [
    Shading(gamma=1.4),
    Shading(contrast=0.7, brightness=0.1),
    Shading(blur=1.2),
    Shading(blur=0.15, gamma=0.8),
    Shading(coarse=1.9),
    Shading(coarse=1.3, blur=0.6, contrast=1.3, brightness=-0.2, gamma=1.2),
    Shading(),
]


def shaded(images: torch.Tensor, shadings: list[Shading], seed: int = 0) -> torch.Tensor:
    rows = torch.tensor([shading.numbers() for shading in shadings], dtype=torch.float64)
    index = torch.arange(len(images))
    return shade_batch(images, rows, seed, torch.zeros_like(index), index)


def test_shade_batch__is_the_shading_of_each() -> None:
    image = np.random.default_rng(0).random((40, 40), np.float32)
    laid = shaded(torch.from_numpy(image).expand(len(SHADINGS), 1, -1, -1), SHADINGS)
    for row, shading in zip(laid, SHADINGS, strict=True):
        expected = shade(image, shading, np.random.default_rng(0))
        np.testing.assert_allclose(row[0].numpy(), expected, atol=2e-6, err_msg=str(shading))


def test_shade_batch__noise_is_as_strong_and_stateless() -> None:
    images = torch.full((CHUNK + 3, 1, 64, 64), 0.5)
    noisy = [Shading(noise=0.03 if k % 2 else 0.0) for k in range(len(images))]
    laid = shaded(images, noisy)
    assert torch.equal(laid[0], images[0])
    assert abs(float(laid[1::2].std()) - 0.03) < 3e-4
    assert not torch.equal(laid[1], laid[3])
    index = torch.tensor([5])
    alone = shade_batch(images[:1], torch.tensor([noisy[5].numbers()]).double(), 0, torch.zeros_like(index), index)
    assert torch.equal(alone[0], laid[5])
    assert not torch.equal(shaded(images, noisy, seed=1)[1], laid[1])


def test_shade_batch__nothing_to_change_copies_nothing() -> None:
    images = torch.rand(2, 1, 8, 8)
    assert shaded(images, [Shading()] * 2) is images
