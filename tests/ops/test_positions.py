"""Positions: the published definition, and resizing that keeps what it must."""

import math

import pytest
import torch
from torch.testing import assert_close

from vasomim.ops.positions import resize_positions, sincos_2d


def test_sincos_2d__follows_the_definition():
    dim, h, w = 8, 3, 5
    positions = sincos_2d(dim, (h, w))
    assert positions.shape == (h * w, dim)
    assert positions.dtype == torch.float32
    for row in range(h):
        for column in range(w):
            expected = []
            for coordinate in (column, row):  # columns first, as in MAE and MoCo v3
                angles = [coordinate / 10000 ** (k / 2) for k in range(2)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            assert_close(positions[row * w + column], torch.tensor(expected))


def test_sincos_2d__all_places_differ():
    positions = sincos_2d(32, (14, 14))
    distances = torch.cdist(positions[None], positions[None])[0] + 9 * torch.eye(196)
    assert distances.min() > 0.1


def test_sincos_2d__transposed_grid_swaps_the_halves():
    a = sincos_2d(16, (3, 4)).reshape(3, 4, 16)
    b = sincos_2d(16, (4, 3)).reshape(4, 3, 16)
    assert torch.equal(a, torch.cat([b[..., 8:], b[..., :8]], dim=-1).transpose(0, 1))


def test_sincos_2d__refuses_an_odd_width():
    with pytest.raises(ValueError, match="multiple of 4, got 10"):
        sincos_2d(10, (2, 2))


def test_resize_positions__same_grid_is_the_same_tensor():
    positions = torch.rand(1, 5, 8)
    assert resize_positions(positions, (2, 2), (2, 2)) is positions


@pytest.mark.parametrize("new", [(28, 28), (7, 7), (10, 20)])
def test_resize_positions__keeps_prefix_constants_and_dtype(new):
    positions = torch.full((1, 2 + 14 * 14, 4), 0.25, dtype=torch.bfloat16)
    positions[:, :2] = torch.tensor([3.0, -2.0]).reshape(1, 2, 1)
    resized = resize_positions(positions, (14, 14), new, num_prefix_tokens=2)
    assert resized.dtype == torch.bfloat16
    assert resized.shape == (1, 2 + new[0] * new[1], 4)
    assert torch.equal(resized[:, :2], positions[:, :2])
    assert_close(resized[:, 2:].float(), torch.full((1, new[0] * new[1], 4), 0.25))


def test_resize_positions__keeps_a_gradient_along_columns_along_columns():
    ramp = torch.arange(6.0).repeat(4).reshape(1, 24, 1)  # 4 rows, 6 columns
    resized = resize_positions(ramp, (4, 6), (8, 12), num_prefix_tokens=0).reshape(8, 12)
    assert_close(resized, resized[:1].expand(8, 12), atol=1e-5, rtol=0)
    assert bool((resized[0].diff() > 0).all())


def test_resize_positions__gradient_flows():
    positions = torch.rand(1, 5, 4, requires_grad=True)
    resize_positions(positions, (2, 2), (3, 3)).sum().backward()
    assert positions.grad is not None
    assert bool((positions.grad != 0).all())


def test_resize_positions__refuses_a_wrong_grid():
    with pytest.raises(ValueError, match="5 positions do not fit a 3x3 grid"):
        resize_positions(torch.rand(1, 5, 4), (3, 3), (4, 4))
