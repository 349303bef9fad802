"""Which frames belong together, which are held out, which labels are used: a function of the frames and a seed."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from vasomim.data.frames import FRAME_SUFFIXES, frame_hash
from vasomim.data.listing import some
from vasomim.data.samples import FrameDataset
from vasomim.errors import DataError, MisuseError, VasomimError

T = TypeVar("T")


def content_groups(dataset: FrameDataset) -> list[int]:
    """Group number of each frame: frames with identical pixels, or of one patient, share a group.

    The relation is transitive. Groups are numbered by their first frame. Every frame whose hash is not recorded is
    decoded once, in as many threads as there are cores; only hashes are kept.

    Raises:
        DataError: frames that cannot be read; the first are named.
    """
    hashes = _hashes(dataset)
    parent = list(range(len(dataset)))
    first: dict[str, int] = {}
    for index, (record, digest) in enumerate(zip(dataset.records, hashes, strict=True)):
        keys = [f"pixels {digest}"] + ([f"patient {record.patient}"] if record.patient is not None else [])
        for key in keys:
            _unite(parent, first.setdefault(key, index), index)
    roots = [_root(parent, index) for index in range(len(dataset))]
    number = {root: rank for rank, root in enumerate(dict.fromkeys(roots))}
    return [number[root] for root in roots]


def split_holdout(dataset: FrameDataset, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and indices held out, in order; groups of `content_groups` are never divided.

    Groups are taken in an order drawn from the seed and the frames' ids, as long as that brings the held-out share
    closer to `fraction`; so the result does not depend on the order of the frames, and adding some moves few others.
    A positive fraction holds out at least one group and leaves at least one.

    Raises:
        MisuseError: a fraction outside of [0, 1), or a single group, which cannot be divided.
        DataError: see `content_groups`.
    """
    if not 0 <= fraction < 1:
        raise MisuseError(f"the share to hold out must lie in [0, 1), got {fraction}")
    everything = list(range(len(dataset)))
    if fraction == 0 or not everything:
        return everything, []
    groups = _members(content_groups(dataset))
    if len(groups) == 1:
        raise MisuseError(
            f"all {len(dataset)} frames are of one patient or identical, none can be held out; "
            "set the holdout to 0 or add frames"
        )
    ids = [record.id for record in dataset.records]
    held = set(_choose(sorted(groups, key=lambda group: min(_rank(ids[i], seed) for i in group)), fraction * len(ids)))
    return [i for i in everything if i not in held], sorted(held)


def label_subset(dataset: FrameDataset, labels: str, seed: int) -> list[int]:
    """Indices of the frames whose labels are used, in order.

    Subsets of one seed are nested: 1 % lies in 2 %, 2 % in 5 %, and so on; they depend on ids, not on order.

    Args:
        dataset: labelled frames.
        labels: a share with a point or per cent sign ("0.1", "1.0", "10%"; at least one frame), a count ("50"), or a
            text file with one id a line (empty lines and lines that start with # are skipped).
        seed: draws the frames; without effect for a file.

    Raises:
        MisuseError: no share, count or file; a share outside of (0, 1]; more frames than there are; unknown ids.
    """
    if Path(labels).is_file() and _number(labels) is None:
        return _listed(dataset, Path(labels))
    count = _count(labels, len(dataset))
    ids = [record.id for record in dataset.records]
    order = sorted(range(len(ids)), key=lambda index: _rank(ids[index], seed))
    return sorted(order[:count])


def sample_frames(dataset: FrameDataset, limit: int, seed: int) -> list[int]:
    """Indices of at most `limit` frames drawn by seed and id, in order."""
    ids = [record.id for record in dataset.records]
    return sorted(sorted(range(len(ids)), key=lambda index: _rank(ids[index], seed))[:limit])


def _hashes(dataset: FrameDataset) -> list[str]:
    def digest(index: int) -> str | VasomimError:
        record = dataset.records[index]
        if record.digest is not None:
            return record.digest
        try:
            path = record.path
            by_path = path.suffix.lower() in FRAME_SUFFIXES and path.is_file()
            return frame_hash(path if by_path else dataset[index].image)
        except VasomimError as error:
            return error

    found = map_frames(digest, range(len(dataset)))
    errors = [str(item) for item in found if isinstance(item, VasomimError)]
    if errors:
        raise DataError(f"{len(errors)} of {len(dataset)} frames cannot be used. {some(errors, 3)}")
    return [item for item in found if isinstance(item, str)]


def map_frames(function: Callable[[int], T], indices: Sequence[int]) -> list[T]:
    """Results of a function of frame indices, in order, computed in one thread a core."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(function, indices))


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _unite(parent: list[int], a: int, b: int) -> None:
    a, b = sorted((_root(parent, a), _root(parent, b)))
    parent[b] = a


def _members(groups: Sequence[int]) -> list[list[int]]:
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return list(members.values())


def _choose(groups: Sequence[Sequence[int]], target: float) -> list[int]:
    """Frames of groups taken in order while that brings their number closer to `target`; never all groups."""
    taken: list[Sequence[int]] = []
    count = 0
    for group in groups:
        closer = abs(count + len(group) - target) < abs(count - target)
        if closer and len(taken) < len(groups) - 1:
            taken.append(group)
            count += len(group)
    return [index for group in taken or [min(groups, key=len)] for index in group]


def _rank(name: str, seed: int) -> bytes:
    """A pseudo-random key of an id: sorting by it shuffles, and is not disturbed by other ids."""
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).digest()


def _number(labels: str) -> float | None:
    try:
        return float(labels.strip().removesuffix("%"))
    except ValueError:
        return None


def _count(labels: str, available: int) -> int:
    text, value = labels.strip(), _number(labels)
    if value is None:
        raise MisuseError(f"labels={labels!r} is no share (0.1), count (50) or existing text file of frame ids")
    if text.isdecimal():
        if not 1 <= int(text) <= available:
            raise MisuseError(f"labels={text} asks for {text} frames, there are {available}; need 1 to {available}")
        return int(text)
    share = value / 100 if text.endswith("%") else value
    if not 0 < share <= 1:
        raise MisuseError(f"labels={text} is no share; need more than 0 and at most 1.0, or a whole number of frames")
    return max(1, round(share * available))


def _listed(dataset: FrameDataset, path: Path) -> list[int]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise MisuseError(f"cannot read the list of frame ids {path}: {error}") from error
    names = [line for line in lines if line and not line.startswith("#")]
    where = {record.id: index for index, record in enumerate(dataset.records)}
    unknown = [name for name in names if name not in where]
    if unknown:
        near = difflib.get_close_matches(unknown[0], where, n=3, cutoff=0.5) or list(where)[:3]
        raise MisuseError(
            f"{path} names {len(unknown)} unknown frame id(s): {some(unknown)}; nearest to the first: {', '.join(near)}"
        )
    if not names:
        raise MisuseError(f"{path} names no frame; write one frame id a line")
    return sorted({where[name] for name in names})
