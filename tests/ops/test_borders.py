"""Empty borders: found whatever their grey, and never at the price of the picture."""

from __future__ import annotations

import numpy as np
import pytest

from vasomim.ops.borders import content


def frame(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 0.8, (height, width)).astype(np.float32)


def spans(image: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = content(image)
    return rows.start, rows.stop, columns.start, columns.stop


def test_content__of_a_full_frame_is_all_of_it() -> None:
    assert spans(frame()) == (0, 40, 0, 60)


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("widths", [((3, 5), (0, 0)), ((0, 0), (7, 2)), ((1, 2), (3, 4))])
def test_content__leaves_out_what_was_put_around(widths: tuple[tuple[int, int], tuple[int, int]], grey: float) -> None:
    image = np.pad(frame(), widths, constant_values=grey)
    (top, _), (left, _) = widths
    assert spans(image) == (top, top + 40, left, left + 60)
    np.testing.assert_array_equal(image[content(image)], frame())


def test_content__takes_noise_and_the_traces_of_compression_for_empty() -> None:
    for seed in range(20):
        image = np.abs(np.random.default_rng(seed).normal(0, 0.006, (60, 80))).astype(np.float32)
        image[10:-10, 10:-10] = frame()
        assert spans(image) == (10, 50, 10, 70)


def test_content__looks_past_a_line_around_the_frame_and_writing_on_its_bars() -> None:
    image = np.pad(frame(200, 200), ((0, 0), (80, 80)))
    image[[0, -1]] = image[:, [0, -1]] = 1
    image[20:28, 20:60:4] = 1
    assert spans(image) == (1, 199, 80, 280)


@pytest.mark.parametrize("contrast", [1, 1 / 4, 1 / 32, 1 / 200])
def test_content__of_frames_of_little_contrast_is_all_of_them(contrast: float) -> None:
    assert spans((0.3 + contrast * frame()).astype(np.float32)) == (0, 40, 0, 60)


def test_content__keeps_dark_corners_of_a_round_field_of_view() -> None:
    y, x = np.mgrid[:64, :64]
    image = np.where(np.hypot(y - 31.5, x - 31.5) < 31.9, frame(64, 64), 0).astype(np.float32)
    assert spans(image) == (0, 64, 0, 64)


def test_content__of_a_constant_or_of_a_label_alone_is_the_whole_frame() -> None:
    empty = np.zeros((40, 60), np.float32)
    assert spans(empty) == (0, 40, 0, 60)
    empty[2:6, 2:20] = frame(4, 18)
    assert spans(empty) == (0, 40, 0, 60)
