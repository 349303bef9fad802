"""Connected components."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from vasomim.ops.components import component_at


@pytest.mark.parametrize("connectivity", [4, 8])
def test_component_at__agrees_with_scipy(connectivity):
    noise = np.random.default_rng(3).random((40, 50)) < 0.45
    labels, count = ndimage.label(noise, np.ones((3, 3)) if connectivity == 8 else None)
    for label in range(1, count + 1):
        row, column = np.argwhere(labels == label)[0]
        assert np.array_equal(component_at(noise, (row, column), connectivity), labels == label)


def test_component_at__is_empty_off_the_mask():
    assert not component_at(np.eye(5, dtype=bool), (0, 1)).any()


def test_component_at__diagonal_neighbours_touch_only_with_eight():
    assert component_at(np.eye(5, dtype=bool), (2, 2), 4).sum() == 1
    assert component_at(np.eye(5, dtype=bool), (2, 2), 8).sum() == 5


@pytest.mark.parametrize(
    ("mask", "connectivity", "words"),
    [(np.zeros((4, 4), np.uint8), 4, "bool"), (np.zeros(4, bool), 4, "bool"), (np.zeros((4, 4), bool), 6, "connect")],
)
def test_component_at__refuses_bad_arguments(mask, connectivity, words):
    with pytest.raises(ValueError, match=words):
        component_at(mask, (0, 0), connectivity)
