"""Pairs of hashes that differ in few bits, found without comparing all with all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vasomim.ops.perceptual import Hash, hash_distance

PARTS = 16
"""A 256-bit hash is 16 words of 16 bits."""
MAX_RADIUS = 2 * PARTS - 1
BLOCK = 1 << 20
"""Pairs looked at together: bounds the memory."""

Index = npt.NDArray[np.int64]


class Pairs(NamedTuple):
    """Pairs of positions, `first` < `second`, and how many bits differ; three times (P,)."""

    first: Index
    second: Index
    distance: Index


def close_pairs(hashes: Hash, radius: int) -> Iterator[Pairs]:
    """All pairs of hashes that differ in at most `radius` bits, each once, block by block in no particular order.

    Multi-index hashing (Norouzi, Punjani, Fleet, CVPR 2012): of 16 words two hashes within 31 bits share at least one
    up to a single bit, so only pairs that do are compared; the result is exact. Time grows with the number of pairs
    that share a word, for hashes that spread well N^2 / 480.

    Args:
        hashes: (N, 4) uint64.
        radius: largest number of differing bits, 0 to 31.

    Raises:
        ValueError: another radius, or hashes of another shape.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius must lie in 0 to {MAX_RADIUS}, got {radius}")
    if hashes.ndim != 2 or hashes.shape[1] != 4:
        raise ValueError(f"hashes must be (N, 4) uint64, got {hashes.shape}")
    words = np.ascontiguousarray(hashes).view(np.uint16)
    flips = [0] if radius < PARTS else [0, *(1 << bit for bit in range(16))]
    for part in range(PARTS):
        order = np.argsort(words[:, part], kind="stable")
        for flip in flips:
            for a, b in _sharing(words[order, part], flip):
                yield _kept(hashes, words, np.sort([order[a], order[b]], axis=0), part, radius)


def _sharing(word: npt.NDArray[np.uint16], flip: int) -> Iterator[tuple[Index, Index]]:
    """Positions in the sorted `word` whose values are equal up to the bit `flip`; each pair once, in blocks."""
    wanted = word ^ np.uint16(flip)
    low = np.searchsorted(word, wanted, "left") if flip else np.arange(1, len(word) + 1)
    high = np.searchsorted(word, wanted, "right")
    count = np.where(wanted >= word, high - low, 0)
    ends = np.cumsum(count)
    start = 0
    while start < len(word):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + BLOCK, "right")))
        some = count[start:stop]
        a = np.repeat(np.arange(start, stop), some)
        within = np.arange(len(a)) - np.repeat(ends[start:stop] - some - done, some)
        yield a, np.repeat(low[start:stop], some) + within
        start = stop


def _kept(hashes: Hash, words: npt.NDArray[np.uint16], pairs: Index, part: int, radius: int) -> Pairs:
    """The pairs that are close, less those that an earlier word has brought up."""
    first, second = pairs
    distance = hash_distance(hashes[first], hashes[second])
    close = np.flatnonzero(distance <= radius)
    first, second = first[close], second[close]
    differ = np.bitwise_count(words[first, :part] ^ words[second, :part])
    fresh = (differ > radius // PARTS).all(1)
    return Pairs(first[fresh], second[fresh], distance[close][fresh])
