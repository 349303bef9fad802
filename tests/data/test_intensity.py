from __future__ import annotations

import numpy as np
import pytest

from vasomim.data.intensity import draw_shading, shade
from vasomim.types import FloatImage

IMAGE = np.random.default_rng(0).random((40, 30), np.float32)


def vary(image: FloatImage, strength: float, rng: np.random.Generator) -> FloatImage:
    return shade(image, draw_shading(strength, rng), rng)


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_shade__stays_in_range(strength: float) -> None:
    for seed in range(40):
        image = vary(IMAGE, strength, np.random.default_rng(seed))
        assert image.dtype == np.float32
        assert image.shape == IMAGE.shape
        assert 0 <= image.min() <= image.max() <= 1


def test_shade__zero_changes_nothing_and_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    assert vary(IMAGE, 0, rng) is IMAGE
    assert rng.random() == np.random.default_rng(0).random()


def test_shade__grows_with_strength() -> None:
    def change(strength: float) -> float:
        return float(
            np.mean([np.abs(vary(IMAGE, strength, np.random.default_rng(s)) - IMAGE).mean() for s in range(30)])
        )

    assert 0 < change(0.1) < change(0.4) < change(1.0)


def test_shade__is_a_function_of_the_generator_and_leaves_the_input() -> None:
    before = IMAGE.copy()
    first, second, other = (vary(IMAGE, 0.5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    np.testing.assert_array_equal(IMAGE, before)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_shade__constant_or_tiny_frame(value: float) -> None:
    for shape in ((16, 16), (1, 1)):
        for seed in range(20):
            image = vary(np.full(shape, value, np.float32), 1.0, np.random.default_rng(seed))
            assert np.isfinite(image).all()


def test_draw_shading__refuses_other_strengths() -> None:
    with pytest.raises(ValueError, match=r"strength must lie in \[0, 1\]"):
        vary(IMAGE, 1.5, np.random.default_rng(0))
