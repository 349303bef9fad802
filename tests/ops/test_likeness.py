"""Likeness of two frames: copies, frames of one run, strangers."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from vasomim.ops.likeness import likeness
from vasomim.synth.angiogram import generate
from vasomim.synth.cine import iterate_cine


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [generate(5, 320, index=index).image for index in range(4)]


def test_likeness__of_a_frame_with_itself_is_one(frames):
    for frame in frames:
        assert likeness(frame, frame) == pytest.approx((1, 1))


@pytest.mark.parametrize(("side", "quality"), [(320, 60), (320, 90), (224, 80)])
def test_likeness__copies(frames, side, quality):
    for frame in frames:
        small = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
        copy = cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
        assert likeness(frame, copy).quartile > 0.95


def test_likeness__does_not_depend_on_order_or_gain(frames):
    a, b = (frame.astype(np.float32) for frame in frames[:2])
    for other in (likeness(b, a), likeness(0.3 * a, b / 255)):
        assert tuple(other) == pytest.approx(tuple(likeness(a, b)), abs=1e-4)


def test_likeness__brighter_copy_and_inverted_one(frames):
    assert likeness(frames[0], 0.6 * frames[0] + 30).quartile > 0.99
    assert likeness(frames[0], 255 - frames[0]).median == pytest.approx(-1, abs=1e-4)


def test_likeness__strangers_and_mirror_images(frames):
    for a, b in pairwise(frames):
        assert likeness(a, b).median < 0.4
    assert likeness(frames[0], np.ascontiguousarray(frames[0][:, ::-1])).median < 0.4


def test_likeness__shared_edges_of_the_field_do_not_count(frames):
    framed = [frame.copy() for frame in frames[:2]]
    for frame in framed:
        frame[:40] = frame[-40:] = frame[:, :40] = frame[:, -40:] = 0
    assert likeness(*framed).median < 0.4


def test_likeness__frames_of_a_run_are_similar_and_no_copies():
    run = [angiogram.image for angiogram in iterate_cine(1, 256, 8)]
    likes = [likeness(a, b) for a, b in pairwise(run[2:])]
    assert all(like.quartile < 0.95 for like in likes)


def test_likeness__empty_frames_are_unlike():
    flat = np.full((300, 300), 90, np.uint8)
    assert likeness(flat, flat) == (0, 0)


def test_likeness__small_frames(frames):
    small = cv2.resize(frames[0], (128, 128), interpolation=cv2.INTER_AREA)
    assert likeness(small, frames[0]).quartile > 0.95
    assert likeness(small, frames[1]).median < 0.4
