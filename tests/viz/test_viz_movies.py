"""Overlays that move: what was put in comes out."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vasomim.errors import VasomimError
from vasomim.viz.images import overlay
from vasomim.viz.movies import encode_gif, fit_frame, gif_palette, indexed_overlay, mp4_writer


def frames(count: int = 6, height: int = 60, width: int = 80) -> list[tuple[np.ndarray, np.ndarray]]:
    rows, columns = np.indices((height, width), dtype=np.float32)
    made = []
    for k in range(count):
        image = (np.sin(columns / 9 + k / 3) * np.cos(rows / 11) + 1) / 2
        made.append((image.astype(np.float32), np.hypot(rows - 30, columns - 20 - 5 * k) < 9))
    return made


def test_indexed_overlay__has_the_colours_of_overlay() -> None:
    palette = gif_palette()
    assert palette.shape == (256, 3)
    for image, mask in frames():
        drawn = palette[indexed_overlay(image, mask)].astype(int)
        difference = np.abs(drawn - overlay(image, mask).astype(int))
        assert difference.max() <= 5  # steps of the outline's greys
        assert difference.mean() < 1


def test_encode_gif__plays_every_frame_for_its_time() -> None:
    pictures = [indexed_overlay(*pair) for pair in frames()]
    steps = [33.0, 33.0, 33.0, 66.7, 66.7, 40.0]
    content = encode_gif(iter(pictures), steps)
    palette = gif_palette()
    with Image.open(io.BytesIO(content)) as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (6, (80, 60), 0)
        shown = []
        for k, picture in enumerate(pictures):
            film.seek(k)
            shown.append(film.info["duration"])
            np.testing.assert_array_equal(np.asarray(film.convert("RGB")), palette[picture])
    assert sum(shown) == pytest.approx(sum(steps), abs=10)  # rounding does not add up
    assert all(abs(a - b) <= 10 for a, b in zip(shown, steps, strict=True))
    assert encode_gif(iter(pictures), steps) == content


def test_mp4_writer__can_be_read_back(tmp_path: Path) -> None:
    made = [overlay(*pair) for pair in frames(8, 61, 81)]
    try:
        with mp4_writer(tmp_path / "a.mp4", (61, 81), 15) as add:
            for picture in made:
                add(picture)
    except VasomimError as error:
        pytest.skip(str(error))
    film = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(15)
    for picture in made:
        there, shown = film.read()
        assert there
        assert shown.shape == (60, 80, 3)
        assert np.abs(shown[..., ::-1].astype(int) - picture[:60, :80]).mean() < 8
    assert not film.read()[0]
    film.release()


def test_fit_frame__keeps_small_frames_and_shrinks_large_ones() -> None:
    image, mask = frames(1, 60, 80)[0]
    assert fit_frame(image, mask, 80)[0] is image
    small, inner = fit_frame(image, mask, 40)
    assert small.shape == inner.shape == (30, 40)
    assert inner.mean() == pytest.approx(mask.mean(), abs=0.01)
    assert small.mean() == pytest.approx(image.mean(), abs=0.01)
