"""Making and checking packs: part by part, in parallel, in constant memory; a part that is whole is kept.

A pack grows in OUT.unfinished and takes its name OUT in one step, so that OUT is whole or absent. The bytes depend on
the frames and settings alone, not on the number of processes or on where an earlier call was stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vasomim.data.augment import resize_frame, resize_vessels
from vasomim.data.codecs import Levels, encode_levels, encode_mask, to_levels
from vasomim.data.frames import frame_hash, is_constant
from vasomim.data.packed import (
    ALIGNMENT,
    HEAD,
    PLAN,
    Entry,
    Head,
    PackSettings,
    Part,
    damages,
    digest,
    read_head,
    read_part,
)
from vasomim.data.pool import map_in_processes, num_workers
from vasomim.data.record_hashes import hash_records
from vasomim.data.samples import FrameDataset
from vasomim.errors import DataError, Interrupted, MisuseError, VasomimError
from vasomim.files import locked, sync_folder, whole_file, write_whole, writing
from vasomim.ops.full_scale import FULL_SCALES
from vasomim.ops.resize import resize_mask
from vasomim.types import FloatImage, Record, Sample
from vasomim.vessels import Method, extract_vessels

SMALLEST_PART, MOST_PARTS = 16, 256
"""Frames of a part at least, so that its files are worth opening; and parts of a pack, which all may be open."""


@dataclass(frozen=True)
class PackSummary:
    """What became of the frames."""

    packed: int
    kept: int
    """Of those, frames that an earlier call had packed."""
    left_out: tuple[str, ...]
    """One line for each frame that could not be packed."""
    num_bytes: int
    fingerprint: str


@dataclass(frozen=True)
class _Done:
    """A part that is on the disk."""

    name: str
    checksum: str
    frames: int
    is_new: bool
    left_out: tuple[str, ...]
    num_bytes: int


def pack_frames(
    dataset: FrameDataset,
    out: Path,
    settings: PackSettings,
    extraction: Method | None = None,
    workers: int = 0,
    progress: Callable[[int], object] | None = None,
) -> PackSummary:
    """Write a pack of all frames of a data set; a frame that cannot be used is left out and reported.

    Args:
        dataset: frames, with vessels and masks where `settings` says that the pack holds them.
        out: folder, new, or the same pack, finished or not.
        settings: how frames are stored.
        extraction: how to extract vessels; None takes those of the samples.
        workers: processes; 0 takes one a core.
        progress: called with the number of frames that are done or found.

    Raises:
        MisuseError: no frames, or `out` holds something else or is being written.
        DataError: no frame can be used, or a worker process died.
        WriteError: nothing can be written.
        Interrupted: stopped by Ctrl-C; what is written stays.
    """
    if not len(dataset):
        raise MisuseError("got no frame to pack; name a folder of frames")
    head = Head(settings, len(dataset), _source(dataset))
    if _is_finished(out, head):
        if progress is not None:
            progress(len(dataset))
        return _summary(out)
    unfinished = out.with_name(f"{out.name}.unfinished")
    _claim(unfinished, head)
    with locked(unfinished / PLAN, f"writing {unfinished}"):
        parts = _make_parts(dataset, unfinished, settings, extraction, workers, progress)
        done = dataclasses.replace(head, parts=tuple((part.name, part.checksum) for part in parts))
        if not sum(part.frames for part in parts):
            raise DataError(f"none of {len(dataset)} frames can be packed: {parts[0].left_out[0]}")
        _finish(unfinished, out, done)
    return _total(parts, done)


def _source(dataset: FrameDataset) -> str:
    """Hash over what is to be packed, without reading it: ids, patients, and hashes or sizes of files."""

    def facts(record: Record) -> str:
        return f"{record.patient}\0{record.digest or record.path.stat().st_size}"

    return hash_records(dataset.records, facts, hashlib.blake2b(digest_size=16))


def _is_finished(out: Path, head: Head) -> bool:
    """Whether `out` is the pack asked for.

    Raises:
        MisuseError: it is anything else, and not empty.
    """
    if out.exists() and not out.is_dir():
        raise MisuseError(f"{out} is a file; name a folder, which may be new")
    if not (out / HEAD).is_file():
        if out.is_dir() and any(out.iterdir()):
            raise MisuseError(f"{out} is not empty and holds no pack; choose another --out")
        return False
    _check_same(out, read_head(out), head)
    return True


def _check_same(folder: Path, held: Head, wanted: Head) -> None:
    there, asked = asdict(held.settings), asdict(wanted.settings)
    other = ", ".join(f"{key}={there[key]}, not {asked[key]}" for key in asked if there[key] != asked[key])
    if held.frames != wanted.frames:
        other = other or f"{held.frames} frames, not these {wanted.frames}"
    elif held.source != wanted.source:
        other = other or f"{held.frames} other frames"
    if other:
        raise MisuseError(f"{folder} holds another pack ({other}); choose another --out, or delete {folder}")


def _claim(unfinished: Path, head: Head) -> None:
    """Begin the folder, or take it over from an earlier call for the same pack."""
    held = next((name for name in (PLAN, HEAD) if (unfinished / name).is_file()), None)
    if held is not None:
        _check_same(unfinished, read_head(unfinished, held), head)
    elif unfinished.is_dir() and any(not path.name.startswith(".") for path in unfinished.iterdir()):
        raise MisuseError(f"{unfinished} is not empty and holds no pack in the making; move it away")
    if held != PLAN:
        write_whole(unfinished / PLAN, head.to_json())


def _make_parts(
    dataset: FrameDataset,
    folder: Path,
    settings: PackSettings,
    extraction: Method | None,
    workers: int,
    progress: Callable[[int], object] | None,
) -> list[_Done]:
    size = max(SMALLEST_PART, math.ceil(len(dataset) / MOST_PARTS))
    jobs = range(0, len(dataset), size)
    shared = (dataset, folder, settings, extraction, size)
    parts: list[_Done] = []
    try:
        for part in map_in_processes(_make_part, jobs, num_workers(workers, len(jobs)), shared):
            parts.append(part)
            if progress is not None:
                progress(part.frames + len(part.left_out))
    except KeyboardInterrupt as stop:
        count = sum(part.frames for part in parts)
        raise Interrupted(
            f"stopped after {count} of {len(dataset)} frames; the same command goes on from there"
        ) from stop
    return parts


def _make_part(
    dataset: FrameDataset, folder: Path, settings: PackSettings, extraction: Method | None, size: int, first: int
) -> _Done:
    """Write the part that begins with frame `first`, unless it is there; its index goes last."""
    name = f"part_{first // size:05d}"
    if (folder / f"{name}.json").is_file():
        with suppress(DataError):  # damaged: made again
            return _kept(read_part(folder, name, None))
    entries: list[Entry] = []
    left_out: dict[str, str] = {}
    with whole_file(folder / f"{name}.bin") as file:
        for index in range(first, min(first + size, len(dataset))):
            try:
                entry, content = _packed(dataset, index, settings, extraction, file.tell())
            except (VasomimError, ValueError) as error:
                left_out[dataset.records[index].id] = str(error)
                continue
            file.write(content)
            entries.append(entry)
    # The index names no reasons: they hold paths, which may hold names.
    part = Part(name, entries, list(left_out))
    write_whole(part.index_path(folder), part.to_json())
    return _done(part, [f"{frame}: {reason}" for frame, reason in left_out.items()], is_new=True)


def _kept(part: Part) -> _Done:
    return _done(part, [f"{frame}: left out by an earlier call" for frame in part.left_out], is_new=False)


def _done(part: Part, left_out: Sequence[str], *, is_new: bool) -> _Done:
    num_bytes = part.entries[-1].span[1] if part.entries else 0
    return _Done(part.name, digest(part.to_json()), len(part.entries), is_new, tuple(left_out), num_bytes)


def _packed(
    dataset: FrameDataset, index: int, settings: PackSettings, extraction: Method | None, start: int
) -> tuple[Entry, bytes]:
    """Entry and bytes of a frame that will lie from byte `start` on."""
    sample = dataset[index]
    record = sample.record
    hashed = record.digest or frame_hash(sample.image)
    sample = _with_extraction(sample, extraction)
    levels, scale = _levels(sample.image, settings)
    planes = [encode_levels(levels, settings.codec, settings.quality)]
    for name, mask in (("vessels", sample.vessels), ("mask", sample.mask)):
        if name not in settings.planes():
            continue
        if mask is None:
            raise DataError(f"the frame has no {'label' if name == 'mask' else 'extracted vessels'}")
        if settings.size is not None and mask.shape != levels.shape:
            mask = (resize_mask if name == "mask" else resize_vessels)(mask, settings.size)
        planes.append(encode_mask(mask, settings.codec))
    content, places = _aligned(planes, start)
    shape = (levels.shape[0], levels.shape[1])
    span = (start, start + len(content))
    bits = 8 * levels.dtype.itemsize
    entry = Entry(record.id, record.patient, hashed, shape, bits, scale, span, places, zlib.crc32(content))
    return entry, content


def _with_extraction(sample: Sample, extraction: Method | None) -> Sample:
    if extraction is None:
        return sample
    if is_constant(sample.image):
        raise DataError("every pixel has the same value; there is no vessel to extract")
    return dataclasses.replace(sample, vessels=extract_vessels(sample.image, extraction))


def _levels(image: FloatImage, settings: PackSettings) -> tuple[Levels, int]:
    """Whole numbers and their full scale: exact where nothing is resized and the bits suffice."""
    if settings.bits == 8:
        scales: Sequence[int] = (255,)
    elif settings.size is None or image.shape == (settings.size, settings.size):
        scales = FULL_SCALES
    else:
        scales = (FULL_SCALES[-1],) if settings.bits == 16 else (to_levels(image, FULL_SCALES)[1],)
    if settings.size is not None:
        image = resize_frame(image, settings.size)
    levels, scale = to_levels(image, tuple(scales))
    return (levels.astype(np.uint16) if settings.bits == 16 else levels), scale


def _aligned(planes: Sequence[bytes], start: int) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """Planes one behind the other, each at a multiple of `ALIGNMENT`, and where they lie from byte `start` on."""
    content = bytearray()
    places = []
    for plane in planes:
        places.append((start + len(content), start + len(content) + len(plane)))
        content += plane + bytes(-len(plane) % ALIGNMENT)
    return bytes(content), tuple(places)


def _finish(unfinished: Path, out: Path, head: Head) -> None:
    write_whole(unfinished / HEAD, head.to_json())
    with writing(out):
        for path in unfinished.glob(".*"):  # what killed processes were writing
            path.unlink()
        sync_folder(unfinished)
        (unfinished / PLAN).unlink()
        if out.is_dir():
            out.rmdir()
        unfinished.rename(out)
        sync_folder(out.parent)


def _total(parts: Sequence[_Done], head: Head) -> PackSummary:
    return PackSummary(
        packed=sum(part.frames for part in parts),
        kept=sum(part.frames for part in parts if not part.is_new),
        left_out=tuple(line for part in parts for line in part.left_out),
        num_bytes=sum(part.num_bytes for part in parts),
        fingerprint=head.fingerprint,
    )


def _summary(folder: Path) -> PackSummary:
    """The summary of a finished pack."""
    head = read_head(folder)
    return _total([_kept(read_part(folder, *part)) for part in head.parts], head)


def verify_pack(folder: Path, workers: int = 0, progress: Callable[[], object] | None = None) -> list[str]:
    """Read every byte of a pack; a line for each file or frame that is not what was written, none if all is well.

    Args:
        folder: a pack.
        workers: processes; 0 takes one a core.
        progress: called once for each part.

    Raises:
        MisuseError, DataError: see `read_head`; or a worker process died.
    """
    found: list[str] = []
    parts = read_head(folder).parts
    for lines in map_in_processes(_verify_part, parts, num_workers(workers, len(parts)), (folder,)):
        found += lines
        if progress is not None:
            progress()
    return found


def _verify_part(folder: Path, part: tuple[str, str]) -> list[str]:
    try:
        return damages(folder, read_part(folder, *part))
    except DataError as error:
        return [str(error)]
