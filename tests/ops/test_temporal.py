"""Windows over time, motion between frames, flicker."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vasomim.ops.temporal import bring_into_place, flickering, window_of


def texture(shift: int = 0) -> np.ndarray:
    """A smooth pattern of 96 px with a dark vertical stripe, both moved to the right by `shift`."""
    noise = np.random.default_rng(3).random((96, 140)).astype(np.float32)
    image = cv2.GaussianBlur(noise, (0, 0), 3)
    image = (image - image.min()) / (image.max() - image.min())
    image[:, 66:72] *= 0.3
    return np.ascontiguousarray(image[:, 20 - shift : 116 - shift])


@pytest.mark.parametrize("length", [1, 2, 5, 9])
@pytest.mark.parametrize("radius", [0, 1, 3])
def test_window_of__weights_sum_to_one_and_peak_at_the_frame(length: int, radius: int) -> None:
    for index in range(length):
        frames, weights = window_of(index, length, radius)
        assert set(frames) == {k for k in range(length) if abs(k - index) <= radius}
        assert weights.sum() == pytest.approx(1)
        assert frames[int(np.argmax(weights))] == index
        by_distance: dict[int, set[float]] = {}
        for frame, weight in zip(frames, weights, strict=True):
            by_distance.setdefault(abs(frame - index), set()).add(float(weight))
        assert all(len(values) == 1 for values in by_distance.values())


@pytest.mark.parametrize(("index", "length", "radius"), [(-1, 3, 1), (3, 3, 1), (0, 3, -1)])
def test_window_of__refuses(index: int, length: int, radius: int) -> None:
    with pytest.raises(ValueError, match="radius >= 0"):
        window_of(index, length, radius)


@pytest.mark.parametrize("shift", [-5, 0, 4])
def test_bring_into_place__undoes_a_shift(shift: int) -> None:
    here, there = texture(), texture(shift)
    inner = (slice(10, -10), slice(12, -12))
    moved, trust = bring_into_place(here, there, there)
    before = np.abs(there - here)[inner].mean()
    assert np.abs(moved - here)[inner].mean() <= before / 4
    assert trust[inner].mean() > 0.8
    assert moved.dtype == trust.dtype == np.float32


def test_bring_into_place__does_not_trust_what_shows_something_else() -> None:
    here = texture()
    there = here.copy()
    there[30:60, 30:60] = 1 - there[30:60, 30:60]  # as where contrast has arrived
    _, trust = bring_into_place(here, there, np.zeros_like(here))
    assert trust[35:55, 35:55].mean() < trust[:20].mean() / 3
    assert 0 <= trust.min() <= trust.max() <= 1


@pytest.mark.parametrize("shape", [(8, 8), (12, 40), (20, 300)])
def test_bring_into_place__frames_too_thin_for_the_flow_stay_where_they_are(shape: tuple[int, int]) -> None:
    """OpenCV raises on the first and ends the process on the others."""
    frame = np.random.default_rng(0).random(shape, np.float32)
    moved, trust = bring_into_place(frame, frame, frame)
    np.testing.assert_allclose(moved, frame, atol=1e-6)
    np.testing.assert_allclose(trust, 1)


def test_flickering__is_what_one_frame_alone_has_or_lacks() -> None:
    base = np.zeros((4, 4), bool)
    base[1] = True
    odd = base.copy()
    odd[0, 0], odd[1, 3] = True, False
    assert np.argwhere(flickering(base, odd, base)).tolist() == [[0, 0], [1, 3]]
    assert not flickering(base, base, base).any()
    assert not flickering(np.zeros_like(base), base, base).any()  # filling is no flicker
    assert np.count_nonzero(flickering(base, np.zeros_like(base), base)) == 4
