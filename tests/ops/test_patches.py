"""Patches: exact inverses, exact sums, clear refusals."""

import pytest
import torch
from torch.testing import assert_close

from vasomim.ops.patches import grid_of, normalize_patches, pad_to_multiple, patch_sums, patchify, unpatchify


@pytest.mark.parametrize(
    ("shape", "p"), [((2, 1, 32, 48), 16), ((1, 3, 28, 14), 14), ((3, 2, 8, 8), 1), ((1, 1, 8, 8), 8)]
)
def test_unpatchify__undoes_patchify(shape, p):
    images = torch.rand(shape)
    patches = patchify(images, p)
    grid = (shape[2] // p, shape[3] // p)
    assert patches.shape == (shape[0], grid[0] * grid[1], p * p * shape[1])
    assert torch.equal(unpatchify(patches, p, grid, shape[1]), images)


def test_patchify__rows_first_channels_last():
    images = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6).float()
    patches = patchify(images, 2)
    # Second patch of the first row: rows 0-1, columns 2-3, both channels beside each other.
    assert patches[0, 1].tolist() == images[0, :, 0:2, 2:4].permute(1, 2, 0).flatten().tolist()
    # First patch of the second row comes after the three of the first.
    assert patches[0, 3].tolist() == images[0, :, 2:4, 0:2].permute(1, 2, 0).flatten().tolist()


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8]
)
def test_patch_sums__equals_sums_of_patchify(dtype):
    maps = (torch.rand(2, 16, 24) * 4).floor().to(dtype)
    expected = patchify(maps.double()[:, None], 8).sum(-1)
    sums = patch_sums(maps, 8)
    assert sums.dtype == (torch.float64 if dtype is torch.float64 else torch.float32)
    assert_close(sums.double(), expected, rtol=0, atol=1e-4)


def test_patch_sums__half_precision_keeps_faint_vessels():
    maps = torch.full((1, 16, 16), 1.0, dtype=torch.float16)
    maps[0, 0, 0] = 0.0625
    assert patch_sums(maps * 10, 16).item() == pytest.approx(2550 + 0.625)  # float16 rounds 2550.625 to 2550


def test_normalize_patches__has_mean_0_and_unbiased_variance_1_and_can_be_undone():
    patches = torch.rand(2, 5, 64, dtype=torch.float64) * 3 + 7
    normalised, mean, scale = normalize_patches(patches)
    assert_close(normalised.mean(-1), torch.zeros(2, 5, dtype=torch.float64))
    assert_close(normalised.var(-1), torch.ones(2, 5, dtype=torch.float64), rtol=1e-4, atol=0)
    assert_close(scale[..., 0].square(), patches.var(-1), rtol=1e-5, atol=0)
    assert_close(normalised * scale + mean, patches)


def test_normalize_patches__constant_patch_gives_zeros():
    assert_close(normalize_patches(torch.full((1, 2, 16), 0.3))[0], torch.zeros(1, 2, 16), atol=1e-3, rtol=0)


def test_normalize_patches__ignores_brightness_and_contrast():
    patches = torch.rand(1, 3, 256, dtype=torch.float64)
    assert_close(normalize_patches(patches * 5 - 2)[0], normalize_patches(patches)[0], rtol=1e-3, atol=1e-3)


def test_pad_to_multiple__repeats_the_edge_and_keeps_the_image():
    images = torch.rand(2, 1, 5, 7)
    padded = pad_to_multiple(images, 4)
    assert padded.shape == (2, 1, 8, 8)
    assert torch.equal(padded[..., :5, :7], images)
    assert torch.equal(padded[..., 7, :7], images[..., 4, :])
    assert torch.equal(padded[..., :5, 7], images[..., :, 6])


def test_pad_to_multiple__leaves_a_fitting_image_alone():
    images = torch.rand(1, 1, 8, 16)
    assert pad_to_multiple(images, 8) is images


@pytest.mark.parametrize(("size", "p"), [((15, 16), 16), ((16, 8), 16), ((0, 16), 16), ((16, 16), 0)])
def test_grid_of__refuses_what_does_not_divide(size, p):
    with pytest.raises(ValueError, match=r"multiple of patch_size|patch_size must be"):
        grid_of(*size, p)


def test_unpatchify__refuses_a_shape_that_does_not_fit():
    with pytest.raises(ValueError, match="2x2 grid of 4x4 patches"):
        unpatchify(torch.zeros(1, 4, 17), 4, (2, 2), 1)


def test_patchify__gradient():
    images = torch.rand(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: unpatchify(patchify(x, 2), 2, (2, 2), 2).square(), images)
