"""Close pairs of hashes against comparing all with all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasomim.ops import hamming
from vasomim.ops.hamming import MAX_RADIUS, close_pairs
from vasomim.ops.perceptual import hash_distance


def random_hashes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (count, 4), dtype=np.uint64)


def flipped(hashes: np.ndarray, bits: int, rng: np.random.Generator) -> np.ndarray:
    """The hashes with `bits` of their bits flipped."""
    spread = np.unpackbits(hashes.view(np.uint8), axis=1)
    where = np.argsort(rng.random(spread.shape), axis=1)[:, :bits]
    np.put_along_axis(spread, where, 1 - np.take_along_axis(spread, where, 1), 1)
    return np.packbits(spread, axis=1).view(np.uint64)


def found(hashes: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    blocks = list(close_pairs(hashes, radius))
    return sorted(item for block in blocks for item in zip(*(part.tolist() for part in block), strict=True))


def brute(hashes: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    distance = hash_distance(hashes[:, None], hashes[None])
    first, second = np.nonzero(np.triu(distance <= radius, 1))
    return sorted(zip(first.tolist(), second.tolist(), distance[first, second].tolist(), strict=True))


@pytest.mark.parametrize("radius", [0, 1, 15, 16, 31])
def test_close_pairs__equals_comparing_all_with_all(radius):
    rng = np.random.default_rng(1)
    base = random_hashes(300)
    hashes = np.concatenate([base, *(flipped(base[:150], bits, rng) for bits in (0, 1, 8, 15, 16, 17, 30, 31, 32))])
    assert found(hashes, radius) == brute(hashes, radius)


@given(st.lists(st.integers(0, 2**8 - 1), min_size=0, max_size=40), st.integers(0, MAX_RADIUS))
def test_close_pairs__crowded_hashes(values, radius):
    hashes = np.zeros((len(values), 4), np.uint64)
    hashes[:, 0] = values
    hashes[:, 3] = [value * 2**55 for value in values]
    assert found(hashes, radius) == brute(hashes, radius)


def test_close_pairs__does_not_depend_on_the_block(monkeypatch):
    hashes = np.repeat(random_hashes(5), 30, axis=0)
    whole = found(hashes, 20)
    monkeypatch.setattr(hamming, "BLOCK", 7)
    assert found(hashes, 20) == whole == brute(hashes, 20)


def test_close_pairs__a_hundred_thousand():
    """Every planted pair is found among 100,000 hashes, nothing else is, and few pairs are ever compared."""
    rng = np.random.default_rng(2)
    hashes = random_hashes(100_000)
    originals, copies = rng.choice(100_000, (2, 500), replace=False)
    hashes[copies] = flipped(hashes[originals], 12, rng)
    planted = {tuple(sorted(pair)) for pair in zip(originals.tolist(), copies.tolist(), strict=True)}
    assert {(a, b) for a, b, _ in found(hashes, 15)} == planted
    some = np.r_[originals[:200], copies[:200], rng.choice(100_000, 600, replace=False)]
    assert found(hashes[some], 15) == brute(hashes[some], 15)


@pytest.mark.slow
def test_close_pairs__a_hundred_thousand_at_the_full_radius():
    rng = np.random.default_rng(2)
    hashes = random_hashes(100_000)
    hashes[50_000:50_500] = flipped(hashes[:500], 31, rng)
    assert {(a, b) for a, b, _ in found(hashes, 31)} == {(k, 50_000 + k) for k in range(500)}


@pytest.mark.parametrize("radius", [-1, 32])
def test_close_pairs__refuses_other_radii(radius):
    with pytest.raises(ValueError, match="radius"):
        list(close_pairs(random_hashes(3), radius))


def test_close_pairs__refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(N, 4\)"):
        list(close_pairs(random_hashes(3)[:, :2], 3))
