"""Copies among many frames: equal pixels, or one frame encoded, sized or graded anew; frames of one run apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vasomim.data.frames import frame_hash, is_constant, read_pixels, read_record
from vasomim.data.groups import chains, grouped, linked
from vasomim.data.pool import map_in_processes, num_workers
from vasomim.errors import VasomimError
from vasomim.ops.hamming import MAX_RADIUS, Index, Pairs, close_pairs
from vasomim.ops.likeness import Likeness, likeness
from vasomim.ops.perceptual import Hash, perceptual_hash
from vasomim.types import Record

COPY = 0.96
"""Three quarters of the tiles of a copy correlate better; of 2,032 frames of 172 cine runs no two reach 0.945."""
SAME_RUN = 0.6
"""The median of the tiles of one run lies above; frames of different patients stay below 0.4."""
NEIGHBOURS = 8
"""Nearest frames that a frame is compared with: in a still run all frames are near."""
BUFFER = 1 << 22
"""Pairs held before the nearest are picked."""
WORTH = 64
"""Frames, or pairs of them, that are worth a process of their own."""

Pair = tuple[int, int]
Compare = Callable[[Sequence[Pair]], Iterable[Likeness]]
"""Likeness of each pair of frames."""


class Fingerprint(NamedTuple):
    """What finding copies keeps of a frame: about a hundred bytes."""

    digest: str
    """Equal for equal pixels."""
    bits: Hash | None
    """Perceptual hash; None for a constant frame, which is like every other."""


@dataclass(frozen=True)
class Copies:
    """Groups of frame numbers, each of at least two, in ascending order."""

    exact: list[list[int]]
    """Equal pixels."""
    near: list[list[int]]
    """Copies of one frame, not all of them exact."""
    similar: list[list[int]]
    """Frames of one run that look alike."""


def fingerprint(pixels: npt.NDArray[Any]) -> Fingerprint:
    """Fingerprint of a grey frame (H, W) of any number type."""
    return Fingerprint(frame_hash(pixels), None if is_constant(pixels) else perceptual_hash(pixels))


def near_duplicate_groups(records: Sequence[Record], workers: int = 0) -> list[list[int]]:
    """Groups of frames that are copies of each other: exact, or encoded, sized or graded anew. Each has two or more.

    Frames of one patient are taken for copies only where they are equal to the pixel, as those of a run look alike.

    Args:
        records: frames; each file is read once, and once more where it has a near neighbour.
        workers: processes; 0 takes one a core.

    Raises:
        DataError: a frame cannot be read, or a worker process died.
    """
    prints = list(map_in_processes(_read_fingerprint, records, num_workers(workers, len(records), WORTH)))
    patients = [record.patient for record in records]
    found = find_copies(prints, patients, partial(compare_records, records, workers=workers))
    return copy_groups(len(records), found)


def copy_groups(count: int, copies: Copies) -> list[list[int]]:
    """All copies of a frame in one group, exact and near; groups of two and more."""
    return [group for group in linked(count, chains(copies.exact + copies.near)) if len(group) > 1]


def compare_records(records: Sequence[Record], pairs: Sequence[Pair], workers: int = 1) -> Iterator[Likeness]:
    """Likeness of pairs of frames, in order; a frame that cannot be read is like no other. 0 workers: one a core."""
    jobs = [(records[a], records[b]) for a, b in pairs]
    return map_in_processes(_compare, jobs, num_workers(workers, len(jobs), WORTH))


def find_copies(prints: Sequence[Fingerprint], runs: Sequence[Hashable | None], compare: Compare) -> Copies:
    """Exact copies by digest, near ones by perceptual hash and then by their pixels.

    Args:
        prints: one a frame.
        runs: the run (or patient) of each frame; frames of one run are similar, not copies. None where it is unknown.
        compare: looks at the pixels of pairs of frames; asked for at most NEIGHBOURS a frame.
    """
    classes = grouped([item.digest for item in prints])
    hashes = {group[0]: bits for group in classes if (bits := prints[group[0]].bits) is not None}
    firsts = list(hashes)
    pairs = [(firsts[a], firsts[b]) for a, b in candidates(list(hashes.values()))]
    unknown = [(a, b) for a, b in pairs if runs[a] is None or runs[a] != runs[b]]
    looked = list(zip(unknown, compare(unknown), strict=True)) if unknown else []
    copies = [pair for pair, like in looked if like.quartile >= COPY]
    close = [pair for pair, like in looked if like.median >= SAME_RUN and like.quartile < COPY]
    same = [(a, b) for a, b in pairs if runs[a] is not None and runs[a] == runs[b]]
    exact = [group for group in classes if len(group) > 1]
    one = linked(len(prints), [*chains(exact), *copies])
    digests = [item.digest for item in prints]
    return Copies(
        exact=exact,
        near=[group for group in one if len({digests[index] for index in group}) > 1],
        similar=_similar(one, close + same),
    )


def candidates(hashes: Sequence[Hash]) -> list[Pair]:
    """Positions of pairs of near hashes, in ascending order; of each frame only those with its nearest."""
    stacked = np.array(hashes, np.uint64).reshape(-1, 4)
    held = Pairs(*np.zeros((3, 0), np.int64))
    waiting: list[Pairs] = []
    for block in close_pairs(stacked, MAX_RADIUS):
        waiting.append(block)
        if sum(len(item.first) for item in waiting) > BUFFER:
            held, waiting = _nearest([held, *waiting]), []
    held = _nearest([held, *waiting])
    return sorted(zip(held.first.tolist(), held.second.tolist(), strict=True))


def _nearest(parts: Sequence[Pairs]) -> Pairs:
    """The pairs that are among the nearest of either frame."""
    first, second, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    ends = np.concatenate([first, second])
    order = np.lexsort((np.concatenate([second, first]), np.concatenate([distance, distance]), ends))
    kept = np.zeros(len(ends), np.bool_)
    kept[order[_rank_within(ends[order]) < NEIGHBOURS]] = True
    keep = kept[: len(first)] | kept[len(first) :]
    return Pairs(first[keep], second[keep], distance[keep])


def _rank_within(ordered: Index) -> Index:
    """Position of each entry among its equals, which stand in a row."""
    starts = np.searchsorted(ordered, ordered, "left")
    return np.arange(len(ordered)) - starts


def _similar(one: Sequence[Sequence[int]], pairs: Iterable[Pair]) -> list[list[int]]:
    """Frames joined by similar pairs, all copies of a frame counted as one."""
    home = {index: number for number, group in enumerate(one) for index in group}
    joined = linked(len(one), [(home[a], home[b]) for a, b in pairs])
    return [sorted(index for number in group for index in one[number]) for group in joined if len(group) > 1]


def _read_fingerprint(record: Record) -> Fingerprint:
    return fingerprint(read_pixels(record.path) if record.frame is None else read_record(record))


def _compare(records: tuple[Record, Record]) -> Likeness:
    try:
        return likeness(read_record(records[0]), read_record(records[1]))
    except VasomimError:
        return Likeness(0.0, 0.0)
