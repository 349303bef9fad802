"""Copies among frames in memory and on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from vasomim.data import copies
from vasomim.data.copies import (
    NEIGHBOURS,
    Compare,
    Fingerprint,
    Pair,
    candidates,
    copy_groups,
    find_copies,
    fingerprint,
    near_duplicate_groups,
)
from vasomim.data.open import open_frames
from vasomim.errors import DataError
from vasomim.ops.likeness import Likeness
from vasomim.synth.angiogram import generate
from vasomim.types import Record

COPIES, RUN, STRANGERS = Likeness(0.99, 0.995), Likeness(0.5, 0.8), Likeness(0.0, 0.1)


def prints(*digests: str) -> list[Fingerprint]:
    """Fingerprints with equal hashes, so that all pairs are candidates."""
    return [Fingerprint(digest, np.zeros(4, np.uint64)) for digest in digests]


def answers(likes: dict[Pair, Likeness], asked: list[Pair] | None = None) -> Compare:
    """A comparison with known results that notes what it was asked for."""

    def compare(pairs: Sequence[Pair]) -> list[Likeness]:
        if asked is not None:
            asked.extend(pairs)
        return [likes.get(pair, STRANGERS) for pair in pairs]

    return compare


def test_find_copies__exact_near_and_similar() -> None:
    likes = {(0, 2): COPIES, (2, 4): RUN}
    found = find_copies(prints("a", "a", "b", "c", "d"), [None] * 5, answers(likes))
    assert found.exact == [[0, 1]]
    assert found.near == [[0, 1, 2]]
    assert found.similar == [[0, 1, 2, 4]]
    assert copy_groups(5, found) == [[0, 1, 2]]


def test_find_copies__asks_for_one_of_equal_frames_alone() -> None:
    asked: list[Pair] = []
    find_copies(prints("a", "a", "b", "a"), [None] * 4, answers({}, asked))
    assert asked == [(0, 2)]


def test_find_copies__frames_of_one_run_are_similar_without_a_look() -> None:
    asked: list[Pair] = []
    found = find_copies(prints("a", "b", "c", "d"), ["x", "x", "y", None], answers({}, asked))
    assert found.similar == [[0, 1]]
    assert (0, 1) not in asked
    assert {(0, 2), (0, 3), (2, 3)} <= set(asked)


def test_find_copies__constant_frames_are_compared_by_their_pixels_alone() -> None:
    black = [Fingerprint("black", None), Fingerprint("grey", None), Fingerprint("black", None)]
    found = find_copies(black, [None] * 3, answers({}))
    assert (found.exact, found.near, found.similar) == ([[0, 2]], [], [])


def test_candidates__only_the_nearest_of_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty hashes within a bit or two of each other: each is compared with its nearest, and with few others."""
    hashes = [np.array([1 << (k % 60), 0, 0, 0], np.uint64) for k in range(60)]
    hashes.append(hashes[7].copy())
    pairs = candidates(hashes)
    assert (7, 60) in pairs
    assert len(pairs) <= len(hashes) * NEIGHBOURS
    assert {index for pair in pairs for index in pair} == set(range(61))
    monkeypatch.setattr(copies, "BUFFER", 50)
    assert (7, 60) in candidates(hashes)


def test_candidates__none() -> None:
    assert candidates([]) == []
    assert candidates([np.zeros(4, np.uint64)]) == []


def test_near_duplicate_groups__on_disk(tmp_path: Path) -> None:
    frames = [generate(2, 200, index=index).image for index in range(3)]
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame)
    cv2.imwrite(str(tmp_path / "3.bmp"), frames[0])
    small = cv2.resize(frames[1], (170, 170), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "4.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 85])
    cv2.imwrite(str(tmp_path / "5.png"), np.ascontiguousarray(frames[2][:, ::-1]))
    assert near_duplicate_groups(open_frames([tmp_path]).records, workers=1) == [[0, 3], [1, 4]]


def test_near_duplicate_groups__a_broken_frame_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1\.png"):
        near_duplicate_groups([Record("1", tmp_path / "1.png")])


def test_fingerprint__of_equal_pixels_in_other_types() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    as_float = frame.astype(np.float32) / np.float32(255)
    assert fingerprint(frame).digest == fingerprint(as_float).digest
    assert fingerprint(np.full((9, 9), 3, np.uint8)).bits is None
