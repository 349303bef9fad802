"""Vascular anatomy of one frame."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import sato as skimage_sato

from vasomim.vessels import extract_vessels, extract_vessels_on

METHODS = ["default", "reference"]
both = pytest.mark.parametrize("method", METHODS)


def angiogram(seed: int = 0, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """A branching dark tree on an uneven, noisy ground: uint8 frame and the drawn mask."""
    rng = np.random.default_rng(seed)
    drawn = np.zeros((size, size), np.uint8)
    root = np.array([0.35, 0.3]) * size
    for _ in range(3):
        angle, points = rng.uniform(0.2, 1.4), [root]
        for _ in range(12):
            angle += rng.normal(0, 0.15)
            points.append(points[-1] + 0.04 * size * np.array([np.cos(angle), np.sin(angle)]))
        cv2.polylines(drawn, [np.int32(points)], isClosed=False, color=1, thickness=max(2, size // 42))
    y, x = np.mgrid[:size, :size] / size
    ground = 150 + 40 * np.sin(3 * x + 1) * np.cos(2 * y)
    depth = cv2.GaussianBlur(drawn.astype(float), (0, 0), 0.8)
    frame = ground * np.exp(-0.45 * depth) + rng.normal(0, 2, (size, size))
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8), drawn > 0


def recipe(image: np.ndarray) -> np.ndarray:
    """The published recipe, with scikit-image and SciPy."""
    response = skimage_sato(image, sigmas=[1, 2, 3, 4], black_ridges=True, mode="reflect").astype(np.uint8)
    response[:20] = response[-20:] = 0
    response[:, :20] = response[:, -20:] = 0
    kept = np.where(response >= np.percentile(response, 92), response, 0)
    labels, _ = ndimage.label(kept)
    first = labels[np.unravel_index(np.argmax(kept), kept.shape)]
    return (labels == first) & (first > 0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [96, 150])
def test_extract_vessels__reference_is_bit_equal_to_the_published_recipe(seed, size):
    frame, _ = angiogram(seed, size)
    expected = recipe(frame)
    assert expected.any()
    assert np.array_equal(extract_vessels(frame, "reference"), expected)
    assert np.array_equal(extract_vessels(frame.astype(np.float32) / np.float32(255), "reference"), expected)


def test_extract_vessels__reference_is_bit_equal_on_saturated_text_and_noise():
    frame = np.random.default_rng(5).integers(0, 256, (90, 110), np.uint8)
    frame[30:60, 40:80] = 255
    cv2.putText(frame, "LAO", (42, 52), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 0, 2)
    assert np.array_equal(extract_vessels(frame, "reference"), recipe(frame))


def test_extract_vessels__reference_is_empty_where_the_border_is_all():
    assert not extract_vessels(angiogram(size=40)[0], "reference").any()


@pytest.mark.parametrize("seed", range(4))
def test_extract_vessels__default_finds_the_drawn_tree(seed):
    frame, drawn = angiogram(seed, 192)
    found = extract_vessels(frame)
    assert 2 * (found & drawn).sum() / (found.sum() + drawn.sum()) > 0.6


def test_extract_vessels__default_ignores_blades_of_the_collimator():
    frame, _ = angiogram(1, 192)
    frame[:, :16] = 3
    frame[-12:] = 3
    found = extract_vessels(frame)
    assert not found[:, :16].any()
    assert not found[-12:].any()
    assert found.any()


@both
def test_extract_vessels__gives_mask_and_response_of_the_frames_size(method):
    frame = angiogram()[0][:100]
    mask, response = extract_vessels(frame, method, return_vesselness=True)
    assert mask.shape == response.shape == frame.shape
    assert mask.dtype == np.bool_
    assert response.dtype == np.float32
    assert response.min() >= 0
    assert response.max() <= 1
    assert response[mask].mean() > response[~mask].mean()


@both
def test_extract_vessels__is_the_same_every_time(method):
    frame = angiogram(3)[0]
    first = extract_vessels(frame, method)
    spread = np.empty((256, 256), np.uint8)
    for offset in (0, 3, 17):
        spread[offset : offset + 128, offset : offset + 128] = frame
        assert np.array_equal(extract_vessels(spread[offset : offset + 128, offset : offset + 128], method), first)


@both
def test_extract_vessels__does_not_change_its_input(method):
    frame = angiogram()[0].astype(np.float32) / 255
    before = frame.copy()
    extract_vessels(frame, method)
    assert np.array_equal(frame, before)


@both
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_extract_vessels__does_not_depend_on_the_bits_a_frame_is_stored_in(method, bits):
    frame = angiogram()[0]
    deep = np.rint(frame * ((2**bits - 1) / 255)).astype(np.uint16)
    deep[0, 0] = 2**bits - 1
    frame[0, 0] = 255
    assert (extract_vessels(deep, method) != extract_vessels(frame, method)).mean() < 0.01


@both
@pytest.mark.parametrize("value", [0, 128, 255])
def test_extract_vessels__of_a_constant_frame_is_empty(method, value):
    mask, response = extract_vessels(np.full((64, 64), value, np.uint8), method, return_vesselness=True)
    assert not mask.any()
    assert not response.any()


@both
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (5, 3), (17, 600)])
def test_extract_vessels__survives_tiny_and_narrow_frames(method, shape):
    frame = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert extract_vessels(frame, method).shape == shape


@both
@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((8, 8, 3), np.uint8), "shape"),
        (np.zeros(8), "shape"),
        (np.zeros((0, 8)), "empty"),
        (np.full((8, 8), np.nan), "NaN"),
        (np.full((8, 8), 300.0), "divide by the white level"),
        (np.full((8, 8), -1), "0-65535"),
        (np.full((8, 8), 70000), "0-65535"),
    ],
)
def test_extract_vessels__refuses_what_is_no_frame(method, image, words):
    with pytest.raises(ValueError, match=words):
        extract_vessels(image, method)


def test_extract_vessels__refuses_an_unknown_method():
    with pytest.raises(ValueError, match="default"):
        extract_vessels(np.zeros((8, 8)), "frangi")


@both
@pytest.mark.parametrize("each", [map, ThreadPoolExecutor(2).map])
def test_extract_vessels_on__gives_what_single_frames_give(method, each):
    frames = [angiogram(seed, size)[0] for seed, size in ((0, 160), (1, 160), (2, 200))]
    frames.insert(1, np.full((160, 160), 7, np.uint8))
    frames.append((frames[0] / np.float32(255)).astype(np.float32))
    together = extract_vessels_on("cpu", frames, method, each)
    assert len(together) == len(frames)
    for frame, (mask, response) in zip(frames, together, strict=True):
        expected, alone = extract_vessels(frame, method, return_vesselness=True)
        assert mask.dtype == np.bool_
        if method == "reference":
            np.testing.assert_array_equal(mask, expected)
            np.testing.assert_array_equal(response, alone)
        else:  # a pixel on the threshold may fall either way: at most one in a thousand
            assert (mask != expected).mean() <= 1e-3
            np.testing.assert_allclose(response, alone, atol=1e-3)


def test_extract_vessels_on__refuses_an_unknown_method():
    with pytest.raises(ValueError, match="default"):
        extract_vessels_on("cpu", [np.zeros((8, 8))], "frangi")


def test_extract_vessels_on__nothing_gives_nothing():
    assert extract_vessels_on("cpu", [], "reference") == []
