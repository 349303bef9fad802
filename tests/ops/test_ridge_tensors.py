"""Filters of batches equal those of single arrays, borders and tiny frames included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasomim.ops import hessian as arrays
from vasomim.ops import oriented, ridge_tensors
from vasomim.ops.vesselness import vesselness
from vasomim.synth.angiogram import generate


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]
)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """(3, 96, 96) uint8."""
    return np.stack([generate(5, 96, index=index).image for index in range(3)])


@pytest.mark.parametrize("method", ["sato", "frangi"])
@pytest.mark.parametrize("black_ridges", [True, False])
@pytest.mark.parametrize("unit", [True, False])
def test_vesselness__of_a_batch_equals_that_of_each_frame(frames, method, black_ridges, unit, device):
    values = (frames / np.float32(255)).astype(np.float32) if unit else frames
    batch = torch.from_numpy(values).to(device)
    found = vesselness(batch, method=method, black_ridges=black_ridges)
    assert found.dtype == torch.float32
    assert found.device.type == device
    for one, of_batch in zip(values, found.cpu().numpy(), strict=True):
        np.testing.assert_allclose(of_batch, vesselness(one, method=method, black_ridges=black_ridges), atol=1e-4)


@pytest.mark.parametrize("shape", [(96, 96), (3, 96, 96), (3, 1, 96, 96)])
def test_vesselness__keeps_the_shape_of_a_tensor(frames, shape, device):
    whole = torch.from_numpy(frames)
    batch = whole[0] if len(shape) == 2 else whole.reshape(shape)
    found = vesselness(batch.to(device), sigmas=(2,))
    assert found.shape == shape
    np.testing.assert_allclose(found.reshape(-1, 96, 96)[0].cpu(), vesselness(frames[0], sigmas=(2,)), atol=1e-4)


@pytest.mark.parametrize("method", ["sato", "frangi"])
def test_vesselness__frames_of_a_batch_do_not_see_each_other(frames, method):
    batch = torch.from_numpy(frames)
    louder = torch.cat([batch[:1], 255 - batch[1:2], torch.zeros_like(batch[:1])])
    assert torch.equal(vesselness(batch, method=method)[0], vesselness(louder, method=method)[0])
    assert not vesselness(louder, method=method)[2].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (33, 17)])
@pytest.mark.parametrize("method", ["sato", "frangi"])
def test_vesselness__of_tiny_frames(shape, method):
    image = np.random.default_rng(1).random(shape).astype(np.float32)
    found = vesselness(torch.from_numpy(image), method=method)
    np.testing.assert_allclose(found, vesselness(image, method=method), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int16, torch.bfloat16, torch.float64])
def test_vesselness__takes_any_number_type(frames, dtype):
    batch = (torch.from_numpy(frames) // 64).to(dtype)
    expected = vesselness(batch[1].double().numpy())
    np.testing.assert_allclose(vesselness(batch)[1], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (torch.zeros(3, 2, 8, 8), "take one channel"),
        (torch.zeros(8), "is needed"),
        (torch.zeros(0, 8, 8), "empty"),
        (torch.full((2, 8, 8), torch.nan), "NaN"),
        (torch.zeros(2, 8, 8, dtype=torch.complex64), "complex64"),
    ],
)
def test_vesselness__refuses_what_is_no_batch_of_frames(frames, words):
    with pytest.raises(ValueError, match=words):
        vesselness(frames)


def test_vesselness__refuses_bad_arguments_of_tensors_too(frames):
    with pytest.raises(ValueError, match="sigmas"):
        vesselness(torch.from_numpy(frames), sigmas=(1, -2))


def test_along_ridges__equals_that_of_each_frame(frames, device):
    unit = (frames / np.float32(255)).astype(np.float32)
    found = ridge_tensors.along_ridges(
        *ridge_tensors.hessian(torch.from_numpy(unit).to(device), 2.0, 4.0), half_length=12, steps=3
    )
    for one, of_batch in zip(unit, found.cpu().numpy(), strict=True):
        expected = oriented.along_ridges(*arrays.hessian(one, 2.0, 4.0), half_length=12, steps=3)
        np.testing.assert_allclose(of_batch, expected, atol=1e-6)
