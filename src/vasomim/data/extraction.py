"""Vessel maps of many frames: made in parallel, cached under a hash of the pixels, read back by `VesselStore`."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from vasomim.data.frames import is_constant, read_mask, read_record
from vasomim.data.pool import map_in_processes, num_workers
from vasomim.data.preview import spread, write_preview
from vasomim.data.samples import FrameDataset
from vasomim.errors import DataError, Interrupted, LongNameError, MisuseError, VasomimError
from vasomim.files import clear_leftovers, contents, is_file, write_text, write_whole
from vasomim.types import BoolImage, FloatImage, Record
from vasomim.vessels import METHOD_VERSION, Method, extract_vessels, extract_vessels_on

MARKER = "extraction.json"
"""Says what a folder holds, so that two methods never mix in it."""
KEY_NAME = "vasomim-extraction"
"""PNG text entry that holds a mask's cache key: it travels with the mask and cannot disagree with it."""
FEWEST = 50
"""Frames that are worth a process of their own."""

Outcome = Literal["extracted", "cached", "failed"]


@dataclass(frozen=True)
class ExtractionSummary:
    """What became of each frame."""

    method: Method
    extracted: int = 0
    cached: int = 0
    failures: tuple[str, ...] = ()
    """One line per frame that could not be used: what, where, why."""
    preview: Path | None = None

    @property
    def failed(self) -> int:
        """Frames without a mask."""
        return len(self.failures)


@dataclass(frozen=True)
class _Job:
    """One frame to do; sent to a worker process."""

    record: Record
    index: int
    out: Path
    method: Method
    vesselness: bool

    @property
    def mask_path(self) -> Path:
        return mask_path(self.out, self.record.id)

    @property
    def map_path(self) -> Path:
        return self.out / "vesselness" / f"{self.record.id}.png"

    def is_done(self, key: str) -> bool:
        return _key_of(self.mask_path) == key and (not self.vesselness or _key_of(self.map_path) == key)

    def forget(self) -> None:
        """Remove what an earlier call made of a frame that cannot be used any more."""
        for path in (self.mask_path, self.map_path):
            with suppress(OSError):  # none is there, or none can be called that
                path.unlink()


@dataclass
class _Tally:
    extracted: int = 0
    cached: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome, line: str) -> None:
        if outcome == "failed":
            self.failures.append(line)
        elif outcome == "cached":
            self.cached += 1
        else:
            self.extracted += 1


def mask_path(folder: Path, record_id: str) -> Path:
    """Where the mask of a frame lies below an extraction folder."""
    return folder / "masks" / f"{record_id}.png"


def extract_folder(
    records: Sequence[Record],
    out: Path,
    method: Method = "default",
    workers: int = 0,
    vesselness: bool = False,
    progress: Callable[[], object] | None = None,
    dataset: FrameDataset | None = None,
    device: str = "cpu",
    batch_size: int = 32,
) -> ExtractionSummary:
    """Write OUT/masks/<record id>.png (0/255, native size) for every frame, and OUT/preview.png.

    A frame whose pixels, method and method version are unchanged keeps its mask; so an interrupted call goes on where
    it stopped. A frame that cannot be used is reported in the summary and has no mask.

    Args:
        records: frames; ids must be unique.
        out: folder, new or made by an earlier call with the same method.
        method: `default` or `reference`, see `vasomim.vessels.extract_vessels`.
        workers: processes; 0 takes one a core.
        vesselness: also write OUT/vesselness/<record id>.png, 16 bit, 65535 = 1.
        progress: called once per finished frame.
        dataset: whose records they are; None where each lies in a file of its own.
        device: where ridges are filtered; on another one than `cpu` frames of one size are filtered together.
        batch_size: how many at most.

    Raises:
        MisuseError: no frame, repeated ids, or `out` holds something else.
        DataError: a worker process died.
        WriteError: nothing can be written to `out`.
        Interrupted: stopped by Ctrl-C; what is written stays.
    """
    _check_ids(records)
    _claim(out, method)
    jobs = (_Job(record, index, out, method, vesselness) for index, record in enumerate(records))
    count = num_workers(workers, len(records), FEWEST)
    tally = _Tally()
    try:
        if device == "cpu":
            outcomes = map_in_processes(_process, jobs, count, (dataset,))
        else:
            outcomes = _on_device(jobs, count, dataset, device, batch_size)
        for outcome, line in outcomes:
            tally.add(outcome, line)
            if progress is not None:
                progress()
    except KeyboardInterrupt as stop:
        done = tally.extracted + tally.cached
        raise Interrupted(
            f"stopped after {done} of {len(records)} frames; the same command goes on from there"
        ) from stop
    preview = write_preview(out / "preview.png", _shown(records, out, dataset))
    return ExtractionSummary(method, tally.extracted, tally.cached, tuple(tally.failures), preview)


def _shown(
    records: Sequence[Record], out: Path, dataset: FrameDataset | None
) -> Iterator[tuple[FloatImage, BoolImage]]:
    """Frames and masks for the preview."""
    for index in spread([k for k, record in enumerate(records) if is_file(mask_path(out, record.id))]):
        try:
            frame, mask = _read(records[index], index, dataset), read_mask(mask_path(out, records[index].id))
        except DataError:
            continue  # reported already, or gone since
        if frame.shape == mask.shape:
            yield frame, mask


class VesselStore:
    """Extracted vessel maps of a folder that `extract_folder` or `vasomim extract` made."""

    def __init__(self, folder: Path) -> None:
        """Open a folder.

        Raises:
            MisuseError: the folder was not made by an extraction.
        """
        marker = _read_marker(folder)
        self.folder, self.method = folder, marker.get("method")
        if self.method is None:
            raise MisuseError(f"{folder} holds no extracted vessels; make them: vasomim extract FRAMES --out {folder}")
        self.description = f"{self.method} {marker.get('version')}"
        """Method and version."""

    def __contains__(self, record: Record) -> bool:
        """Whether the frame has a mask here."""
        return is_file(mask_path(self.folder, record.id))

    def load(self, record: Record) -> BoolImage:
        """The vessel map of a frame: bool (H, W) at the frame's native size.

        Raises:
            DataError: there is none.
        """
        path = mask_path(self.folder, record.id)
        if not is_file(path):
            raise DataError(f"no extracted vessels at {path}; make them: vasomim extract FRAMES --out {self.folder}")
        return read_mask(path)


def _check_ids(records: Sequence[Record]) -> None:
    if not records:
        raise MisuseError("got no frame to extract vessels from; name a folder of frames")
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise MisuseError(f"two frames share the id {record.id!r}; their masks would overwrite each other")
        seen.add(record.id)


def _read_marker(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / MARKER).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise MisuseError(
            f"cannot read {folder / MARKER} ({error}); delete {folder} or choose another folder"
        ) from error
    return content if isinstance(content, dict) else {}


def _claim(out: Path, method: Method) -> None:
    """Mark `out` as ours, or refuse it."""
    if out.exists() and not out.is_dir():
        raise MisuseError(f"{out} is a file; name a folder")
    held = _read_marker(out).get("method")
    if held is not None and held != method:
        raise MisuseError(f"{out} holds vessels of method {held!r}, not {method!r}; choose another folder")
    if held is None and contents(out):
        raise MisuseError(f"{out} is not empty and was not made by an extraction; choose another folder")
    write_text(out / MARKER, json.dumps({"method": method, "version": METHOD_VERSION}))
    clear_leftovers(out)


def _read(record: Record, index: int, dataset: FrameDataset | None) -> FloatImage:
    return read_record(record) if dataset is None else dataset[index].image


@dataclass(frozen=True)
class _Read:
    """A frame to extract from, and the key that its mask is going to carry."""

    job: _Job
    frame: FloatImage
    key: str


_Done = tuple[Outcome, str]


def _process(dataset: FrameDataset | None, job: _Job) -> _Done:
    """Extract one frame unless its mask is up to date; never raises for a bad frame."""
    read = _look(dataset, job)
    if not isinstance(read, _Read):
        return read
    try:
        found = extract_vessels(read.frame, job.method, return_vesselness=True)
    except ValueError as error:
        return _given_up(job, f"{job.record.shown}: {error}")
    return _write(read, found)


def _look(dataset: FrameDataset | None, job: _Job) -> _Read | _Done:
    """Read one frame, unless its mask is up to date or it cannot be used."""
    try:
        frame = _read(job.record, job.index, dataset)
        if is_constant(frame):
            raise DataError(f"{job.record.shown}: every pixel has the same value; there is nothing to extract")
        key = cache_key(frame, job.method)
        return ("cached", "") if job.is_done(key) else _Read(job, frame, key)
    except (VasomimError, ValueError, OSError) as error:
        return _given_up(job, str(error) if isinstance(error, VasomimError) else f"{job.record.shown}: {error}")


def _given_up(job: _Job, reason: str) -> _Done:
    job.forget()
    return "failed", reason


def _write(read: _Read, found: tuple[BoolImage, FloatImage]) -> _Done:
    mask, response = found
    job = read.job
    try:
        if job.vesselness:
            _write_keyed(job.map_path, np.rint(response * 65535).astype(np.uint16), read.key)
        # The mask goes last: where it is current, everything is.
        _write_keyed(job.mask_path, mask.astype(np.uint8) * 255, read.key)
    except LongNameError as error:  # other frames may do; what else keeps masks from being written concerns all of them
        return _given_up(job, str(error))
    return "extracted", ""


def _on_device(
    jobs: Iterable[_Job], workers: int, dataset: FrameDataset | None, device: str, batch_size: int
) -> Iterator[_Done]:
    """As `_process` for each: read in processes, filtered in batches on the device, finished and written in threads."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[_Read] = []
        for seen in map_in_processes(_look, jobs, workers, (dataset,)):
            if isinstance(seen, _Read):
                waiting.append(seen)
            else:
                yield seen
            if len(waiting) >= batch_size:
                yield from _together(waiting, device, pool)
                waiting = []
        yield from _together(waiting, device, pool)


def _together(reads: Sequence[_Read], device: str, pool: ThreadPoolExecutor) -> Iterable[_Done]:
    if not reads:
        return ()
    try:
        found = extract_vessels_on(device, [read.frame for read in reads], reads[0].job.method, pool.map)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not loaded here
            raise
        raise DataError(f"{device} has not enough memory for {len(reads)} frames; lower --batch-size") from error
    return pool.map(_write, reads, found)


def cache_key(frame: FloatImage, method: Method) -> str:
    """Hash of the pixels, the method and its version: what a mask depends on."""
    digest = hashlib.blake2b(f"{method} {METHOD_VERSION} {frame.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(frame).data)
    return digest.hexdigest()


def _key_of(path: Path) -> str | None:
    """The cache key written into a PNG, or None where there is no whole PNG with one."""
    try:
        with Image.open(path) as image:
            image.load()  # a truncated file fails here, and is made again
            key = image.info.get(KEY_NAME)
    except (OSError, SyntaxError, ValueError):
        return None
    return key if isinstance(key, str) else None


def _write_keyed(path: Path, pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], key: str) -> None:
    """Write a grey PNG with its cache key in one step.

    Raises:
        LongNameError, WriteError: as `write_whole`.
    """
    text = PngImagePlugin.PngInfo()
    text.add_text(KEY_NAME, key)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=text, compress_level=3)
    write_whole(path, buffer.getvalue(), durable=False)
