"""Which frames belong together, which are held out, which labels are used: a function of the frames and a seed."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt

from vasomim.data.copies import Fingerprint, Pair, find_copies, fingerprint
from vasomim.data.frames import FRAME_SUFFIXES, frame_hash, read_pixels
from vasomim.data.groups import chains, grouped, linked
from vasomim.data.listing import some
from vasomim.data.pool import num_workers
from vasomim.data.record_hashes import id_bytes
from vasomim.data.samples import FrameDataset
from vasomim.errors import DataError, MisuseError, VasomimError
from vasomim.files import sha256
from vasomim.ops.likeness import Likeness, likeness

Job = TypeVar("Job")
T = TypeVar("T")


def same_frames(train: FrameDataset, val: FrameDataset) -> list[str]:
    """Ids of the frames of `val` that are in `train` too: by hashes of pixels where known, else by files.

    Only files of one size are read, so that this costs little beside a training.
    """
    known = {record.digest for record in train.records if record.digest}
    sizes: dict[int, set[Path]] = {}
    for record in train.records:
        if not record.digest:
            sizes.setdefault(record.path.stat().st_size, set()).add(record.path.resolve())

    hashed = cache(sha256)

    def is_in(path: Path) -> bool:
        alike = sizes.get(path.stat().st_size, set())
        return path in alike or any(hashed(path) == hashed(other) for other in alike)

    seen = cache(is_in)
    return [
        record.id
        for record in val.records
        if (record.digest in known if record.digest else seen(record.path.resolve()))
    ]


def frame_hashes(dataset: FrameDataset) -> list[str]:
    """The hash of each frame's pixels, `data.frames.frame_hash`: as recorded, or of the frame read now.

    Raises:
        DataError: a frame that cannot be read.
    """

    def hashed(index: int) -> str:
        return dataset.records[index].digest or frame_hash(_pixels(dataset, index))

    return map_frames(hashed, range(len(dataset)))


def content_groups(dataset: FrameDataset) -> list[int]:
    """Group number of each frame: copies of a frame, frames that look like one run, or of one patient share a group.

    Copies may be encoded, sized or graded anew, see `vasomim.data.copies`. The relation is transitive. Groups are
    numbered by their first frame. Every frame whose hash is not recorded is decoded once, in as many threads as
    there are cores, and once more where it has a near neighbour; only fingerprints are kept. Where hashes are recorded,
    as in a pack, copies that are not equal to the pixel stay unknown.

    Raises:
        DataError: frames that cannot be read; the first are named.
    """
    patients = [record.patient for record in dataset.records]

    def compare(pairs: Sequence[Pair]) -> list[Likeness]:
        return map_frames(lambda pair: likeness(dataset[pair[0]].image, dataset[pair[1]].image), pairs)

    copies = find_copies(_prints(dataset), patients, compare)
    one_patient = [group for group in grouped(patients) if patients[group[0]] is not None]
    groups = linked(len(dataset), chains(copies.exact + copies.near + copies.similar + one_patient))
    number = {index: rank for rank, group in enumerate(groups) for index in group}
    return [number[index] for index in range(len(dataset))]


def split_holdout(dataset: FrameDataset, fraction: float, seed: int = 0) -> tuple[list[int], list[int]]:
    """Indices to train on and indices held out, in order; groups of `content_groups` are never divided.

    Groups are taken in an order drawn from the seed and the frames' ids, as long as that brings the held-out share
    closer to `fraction`; so the result does not depend on the order of the frames, and adding some moves few others.
    Every group is as likely to come first, whatever its size: large patients are held out no more often than others.
    A positive fraction holds out at least one group and leaves at least one.

    Runs of every seed leave `seed` at 0: one that goes on from another's weights, with crops drawn anew, then holds out
    what that one never learned from.

    Raises:
        MisuseError: a fraction outside of [0, 1), or a single group, which cannot be divided.
        DataError: see `content_groups`.
    """
    if not 0 <= fraction < 1:
        raise MisuseError(f"the share to hold out must lie in [0, 1), got {fraction}")
    everything = list(range(len(dataset)))
    if fraction == 0 or not everything:
        return everything, []
    groups = grouped(content_groups(dataset))
    if len(groups) == 1:
        raise MisuseError(
            f"all {len(dataset)} frames are of one patient or identical, none can be held out; "
            "set the holdout to 0 or add frames"
        )
    ids = [record.id for record in dataset.records]
    # One draw a group: the smallest of its frames' draws would put large groups first. That of its last id, as of
    # ARCADE's copies this leaves the same frames held out that the shipped weights never learned from.
    drawn = sorted(groups, key=lambda group: _rank(max(ids[i] for i in group), seed))
    held = set(_choose(drawn, fraction * len(ids)))
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
    return sample_frames(dataset, _count(labels, len(dataset)), seed)


def sample_frames(dataset: FrameDataset, limit: int, seed: int) -> list[int]:
    """Indices of at most `limit` frames drawn by seed and id, in order."""
    ids = [record.id for record in dataset.records]
    return sorted(sorted(range(len(ids)), key=lambda index: _rank(ids[index], seed))[:limit])


def _prints(dataset: FrameDataset) -> list[Fingerprint]:
    def look(index: int) -> Fingerprint | VasomimError:
        record = dataset.records[index]
        if record.digest is not None:
            return Fingerprint(record.digest, None)
        try:
            return fingerprint(_pixels(dataset, index))
        except VasomimError as error:
            return error

    found = map_frames(look, range(len(dataset)))
    errors = [str(item) for item in found if isinstance(item, VasomimError)]
    if errors:
        raise DataError(f"{len(errors)} of {len(dataset)} frames cannot be used. {some(errors, 3)}")
    return [item for item in found if isinstance(item, Fingerprint)]


def _pixels(dataset: FrameDataset, index: int) -> npt.NDArray[Any]:
    """A frame alone, of its file where it has one: a mask is not needed, and may be costly to make."""
    path = dataset.records[index].path
    by_path = path.suffix.lower() in FRAME_SUFFIXES and path.is_file()
    return read_pixels(path) if by_path else dataset[index].image


def map_frames(function: Callable[[Job], T], jobs: Sequence[Job]) -> list[T]:
    """Results of a function of frame indices, or pairs of them, in order, computed in one thread a core."""
    with ThreadPoolExecutor(num_workers(0, len(jobs))) as pool:
        return list(pool.map(function, jobs))


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
    return hashlib.blake2b(id_bytes(f"{seed} {name}"), digest_size=16).digest()


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
