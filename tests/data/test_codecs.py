"""Frames and masks as bytes: what is lossless, what is nearly so, and what is refused."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest

from vasomim.data.codecs import decode_bits, decode_levels, encode_levels, encode_mask, to_levels, to_unit_range
from vasomim.ops.full_scale import FULL_SCALES

SCALES = FULL_SCALES


def frame(kind: type, height: int = 37, width: int = 53) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, (height, width), kind)


def smooth() -> np.ndarray:
    """uint8 (48, 64) as a frame is: neighbours are alike."""
    y, x = np.mgrid[:48, :64]
    return (120 + 60 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint8)


def as_bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


@pytest.mark.parametrize(("codec", "bits"), [("raw", 8), ("raw", 16), ("png", 8), ("png", 16), ("webp", 8)])
def test_encode_levels__lossless(codec: str, bits: int) -> None:
    levels = frame(np.uint8 if bits == 8 else np.uint16)
    back = decode_levels(as_bytes(encode_levels(levels, codec, None)), codec, levels.shape, bits)
    assert back.dtype == levels.dtype
    np.testing.assert_array_equal(back, levels)


@pytest.mark.parametrize("codec", ["webp", "jpeg"])
def test_encode_levels__quality_trades_bytes_for_errors(codec: str) -> None:
    levels = smooth()
    sizes, errors = [], []
    for quality in (40, 95):
        content = encode_levels(levels, codec, quality)
        back = decode_levels(as_bytes(content), codec, levels.shape, 8).astype(int)
        sizes.append(len(content))
        errors.append(np.abs(back - levels).mean())
    assert sizes[0] < sizes[1] < levels.size
    assert errors[0] > errors[1]
    assert errors[1] < 1.5


def test_encode_levels__refuses_what_a_codec_cannot_hold() -> None:
    with pytest.raises(ValueError, match="webp holds 8 bits"):
        encode_levels(frame(np.uint16), "webp", None)
    with pytest.raises(ValueError, match="jpeg is never lossless"):
        encode_levels(frame(np.uint8), "jpeg", None)


@pytest.mark.parametrize("codec", ["png", "webp", "jpeg"])
def test_decode_levels__refuses_other_bytes(codec: str) -> None:
    content = as_bytes(encode_levels(smooth(), codec, 90))
    with pytest.raises(ValueError, match="cannot decode"):
        decode_levels(content[:9], codec, (48, 64), 8)
    with pytest.raises(ValueError, match="decodes to 64 x 48 pixels, not to 48 x 64"):
        decode_levels(content, codec, (64, 48), 8)


@pytest.mark.parametrize("codec", ["raw", "png"])
@pytest.mark.parametrize("width", [1, 7, 8, 9, 64])
def test_encode_mask__gives_the_bits_back(codec: str, width: int) -> None:
    mask = np.random.default_rng(width).random((11, width)) < 0.3
    bits = decode_bits(as_bytes(encode_mask(mask, codec)), codec, mask.shape)
    np.testing.assert_array_equal(np.unpackbits(bits, axis=1)[:, :width].view(bool), mask)


def test_decode_bits__refuses_other_bytes() -> None:
    with pytest.raises(ValueError, match="cannot inflate"):
        decode_bits(as_bytes(b"nothing of the kind"), "png", (3, 3))
    bomb = zlib.compress(bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(ValueError, match="reshape"):
        decode_bits(as_bytes(bomb), "png", (3, 3))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    with pytest.raises(ValueError, match="reshape"):
        decode_bits(as_bytes(b"12345"), "raw", (3, 8))


@pytest.mark.parametrize("scale", SCALES)
def test_to_levels__is_exact_for_every_depth(scale: int) -> None:
    stored = np.random.default_rng(scale).integers(0, scale + 1, (64, 64))
    image = stored.astype(np.float32) / np.float32(scale)
    levels, found = to_levels(image, SCALES)
    assert found == scale
    assert levels.dtype == (np.uint8 if scale == 255 else np.uint16)
    np.testing.assert_array_equal(levels, stored)
    np.testing.assert_array_equal(to_unit_range(levels, found), image)


def test_to_levels__rounds_what_no_depth_gives() -> None:
    image = np.random.default_rng(0).random((40, 40), np.float32)
    levels, scale = to_levels(image, SCALES)
    assert scale == 65535
    assert np.abs(to_unit_range(levels, scale) - image).max() <= 0.5 / 65535 + 1e-7
    levels, scale = to_levels(image, (255,))
    assert np.abs(to_unit_range(levels, scale) - image).max() <= 0.5 / 255 + 1e-6
