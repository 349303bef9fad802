"""The field of view."""

from __future__ import annotations

import numpy as np
import pytest

from vasomim.ops.field_of_view import field_of_view, shrink


def test_field_of_view__finds_a_circle():
    y, x = np.mgrid[-64:64, -64:64]
    circle = x**2 + y**2 < 58**2
    found = field_of_view(np.where(circle, 0.6, 0.05).astype(np.float32))
    assert (found == circle).mean() > 0.96
    assert not found[0, 0]


def test_field_of_view__finds_collimator_blades():
    frame = np.full((128, 128), 0.5, np.float32)
    frame[:, :14] = 0.02
    frame[118:] = 0.02
    found = field_of_view(frame)
    assert found[20:110, 20:].all()
    assert not found[:, :12].any()
    assert not found[120:].any()


def test_field_of_view__keeps_a_dark_spot_inside():
    frame = np.full((128, 128), 0.5, np.float32)
    frame[50:60, 20:100] = 0.02
    assert field_of_view(frame).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (9, 200)])
@pytest.mark.parametrize("value", [0.0, 0.7, 1.0])
def test_field_of_view__of_a_constant_is_everything(shape, value):
    assert field_of_view(np.full(shape, value, np.float32)).all()


def test_shrink__takes_a_margin_off_edge_and_border():
    mask = np.ones((20, 20), bool)
    mask[:, :5] = False
    expected = np.zeros_like(mask)
    expected[3:-3, 8:-3] = True
    assert np.array_equal(shrink(mask, 3), expected)
