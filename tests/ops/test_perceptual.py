"""The perceptual hash: what must not change it, what must."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vasomim.ops.perceptual import hash_distance, perceptual_hash
from vasomim.synth.angiogram import generate

NEAR = 31


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [generate(3, 256, index=index).image for index in range(8)]


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def resized(image: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


CHANGES = {
    "jpeg 90": lambda image: jpeg(image, 90),
    "jpeg 40": lambda image: jpeg(image, 40),
    "smaller": lambda image: resized(image, 150),
    "smaller and jpeg": lambda image: jpeg(resized(image, 176), 80),
    "larger": lambda image: cv2.resize(image, (512, 512), interpolation=cv2.INTER_CUBIC),
    "darker": lambda image: (image * 0.8).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255) ** 1.2).astype(np.uint8),
    "blur": lambda image: cv2.GaussianBlur(image, (0, 0), 1.0),
    "16 bits": lambda image: image.astype(np.uint16) * 257,
}


@pytest.mark.parametrize("change", CHANGES)
def test_perceptual_hash__stays_near(frames, change):
    for frame in frames:
        assert hash_distance(perceptual_hash(frame), perceptual_hash(CHANGES[change](frame))) <= NEAR / 2


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.rot90, lambda image: image.T])
def test_perceptual_hash__turned_frames_are_far(frames, turn):
    for frame in frames:
        assert hash_distance(perceptual_hash(frame), perceptual_hash(np.ascontiguousarray(turn(frame)))) > 2 * NEAR


def test_perceptual_hash__different_angiograms_are_far(frames):
    hashes = np.stack([perceptual_hash(frame) for frame in frames])
    between = hash_distance(hashes[:, None], hashes[None])[np.triu_indices(len(frames), 1)]
    assert between.min() > 1.5 * NEAR


def test_perceptual_hash__gain_and_offset_change_nothing_inversion_everything(frames):
    frame = frames[0].astype(np.float32)
    assert hash_distance(perceptual_hash(frame), perceptual_hash(0.37 * frame + 11)) == 0
    assert hash_distance(perceptual_hash(frame), perceptual_hash(255 - frame)) == 256


@pytest.mark.parametrize("value", [0, 3, 255])
def test_perceptual_hash__constant_frame_has_no_bit(value):
    assert not perceptual_hash(np.full((40, 30), value, np.uint8)).any()


def test_perceptual_hash__uses_half_of_the_bits_in_every_word(frames):
    ones = np.bitwise_count(np.stack([perceptual_hash(frame) for frame in frames]).view(np.uint16))
    assert 5 < ones.mean(0).min() <= ones.mean(0).max() < 11
