"""Decoder parts: shapes at every scale, and a batch that never mixes."""

import pytest
import torch
from torch.testing import assert_close

from vasomim.models.decoders import ConvNormAct, ConvPyramid, TapFusion, UNetDecoder, UpFusion


def test_conv_pyramid__halves_the_size_at_each_level():
    features = ConvPyramid(1, (8, 8, 16))(torch.rand(2, 1, 24, 40))
    assert [tuple(f.shape) for f in features] == [(2, 8, 24, 40), (2, 8, 12, 20), (2, 16, 6, 10)]


def test_tap_fusion__joins_all_taps():
    maps = [torch.rand(2, 12, 3, 4, requires_grad=True) for _ in range(3)]
    fused = TapFusion(12, 3, 16)(maps)
    assert fused.shape == (2, 16, 3, 4)
    fused.square().sum().backward()
    assert all(m.grad is not None and bool(m.grad.any()) for m in maps)


def test_up_fusion__takes_the_size_of_the_skip():
    assert UpFusion(16, 8, 8)(torch.rand(1, 16, 3, 5), torch.rand(1, 8, 7, 9)).shape == (1, 8, 7, 9)


@pytest.mark.parametrize("grid", [(4, 4), (8, 8), (2, 3)])
def test_unet_decoder__brings_any_grid_to_full_resolution(grid):
    decoder = UNetDecoder(12, 2, in_chans=1, widths=(8, 8, 16), bottleneck=16)
    maps = [torch.rand(2, 12, *grid) for _ in range(2)]
    assert decoder(torch.rand(2, 1, 32, 48), maps).shape == (2, 8, 32, 48)


def test_conv_norm_act__frames_do_not_depend_on_each_other():
    layer, x = ConvNormAct(3, 16).train(), torch.rand(4, 3, 8, 8)
    assert_close(layer(x)[1:2], layer(x[1:2]))
