"""Many frames to a folder of masks: read ahead, predicted in batches, written behind, resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from vasomim.data.frames import frame_hash
from vasomim.data.samples import FrameDataset, subset
from vasomim.errors import DataError, Interrupted, LongNameError, MisuseError, VasomimError
from vasomim.inference.predictor import Predictor
from vasomim.inference.writers import Parts, PredictionFolder
from vasomim.types import FloatImage, Prediction, Record

Given = TypeVar("Given")
Made = TypeVar("Made")
_THREADS = 4
"""Readers and writers; decoding and encoding run outside Python's lock."""


@dataclass(frozen=True)
class PredictionSummary:
    """How a call ended."""

    frames: int
    """Frames asked for; a file that cannot be read counts as one."""
    predicted: int
    """Frames predicted by this call."""
    skipped: int
    """Frames that an earlier call had done."""
    failures: tuple[str, ...]
    """One line a frame, or DICOM file, that could not be used."""
    vessel_share: float | None
    """Mean share of vessel pixels over all frames that are done, None where there is none."""
    seconds: float | None
    """Mean seconds a frame predicted by this call took, reading and writing aside."""


def combine(first: PredictionSummary, second: PredictionSummary) -> PredictionSummary:
    """The summary of both together."""

    def mean(one: float | None, other: float | None, weights: tuple[int, int]) -> float | None:
        pairs = [(value, weight) for value, weight in zip((one, other), weights, strict=True) if value is not None]
        return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs) if pairs else None

    done = first.predicted + first.skipped, second.predicted + second.skipped
    return PredictionSummary(
        first.frames + second.frames,
        first.predicted + second.predicted,
        first.skipped + second.skipped,
        first.failures + second.failures,
        mean(first.vessel_share, second.vessel_share, done),
        mean(first.seconds, second.seconds, (first.predicted, second.predicted)),
    )


@dataclass(frozen=True, slots=True)
class _Item:
    """One frame on its way."""

    record: Record
    source: str = ""
    """Hash of its file."""
    image: FloatImage | None = None
    """None where the frame is done already or cannot be used."""
    prediction: Prediction | None = None
    error: str | None = None


@dataclass
class Tally:
    """What became of the frames so far; as in `PredictionSummary`, but for the seconds of all of them together."""

    predicted: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def summary(self, frames: int, vessel_share: float | None) -> PredictionSummary:
        """How a call ended that was asked for so many frames."""
        mean = self.seconds / self.predicted if self.predicted else None
        return PredictionSummary(frames, self.predicted, self.skipped, tuple(self.failures), vessel_share, mean)


class _FrameTally(Tally):
    """What became of the frames so far, one by one."""

    def add(self, item: _Item, folder: PredictionFolder, warn: Callable[[str], object]) -> None:
        """Count a frame, note it in the folder's books, and say what needs attention."""
        record = item.record
        if item.error is not None:
            self.failures.append(item.error)
            folder.note_failure(record.id, item.error.replace(record.shown, _travelling_name(record)))
            warn(item.error)
        elif item.prediction is None:
            self.skipped += 1
        else:
            self.predicted += 1
            self.seconds += item.prediction.meta["seconds"]
            folder.note(record.id, item.source, item.prediction)
            for kind in ("warning", "doubt"):
                if kind in item.prediction.meta:
                    warn(f"{record.shown}: {item.prediction.meta[kind]}")


def outside(dataset: FrameDataset, folder: Path) -> FrameDataset:
    """The frames that do not lie in `folder`, so that a second call does not take its own pictures for frames.

    Raises:
        MisuseError: none is left.
    """
    inner = folder.resolve()
    kept = [k for k, record in enumerate(dataset.records) if inner not in record.path.resolve().parents]
    if not kept:
        raise MisuseError(f"all frames lie in {folder} itself; name the folder of the frames, or another --out")
    return dataset if len(kept) == len(dataset) else subset(dataset, kept)


def predict_files(
    predictor: Predictor,
    dataset: FrameDataset,
    out: Path,
    *,
    overlays: bool = True,
    probability: bool = True,
    progress: Callable[[], object] = lambda: None,
    warn: Callable[[str], object] = lambda _: None,
) -> PredictionSummary:
    """Write OUT/masks/<id>.png (0/255), OUT/overlays/, OUT/probability/ (16 bit, 65535 = 1) at native size.

    A frame whose file, weights and settings are unchanged since an earlier call is skipped. A frame that cannot be
    used is reported and the others are done. Pixels of a few batches are held at a time, however many frames there are.

    Args:
        predictor: what segments.
        dataset: frames; their ids name the pictures, folders included.
        out: folder, new or made by an earlier call with the same weights and settings.
        overlays: write OUT/overlays/.
        probability: write OUT/probability/.
        progress: called once a finished frame.
        warn: called with one line for each frame that cannot be used or needs attention.

    Raises:
        MisuseError: repeated ids, or `out` holds something else or is written by another process.
        VasomimError: nothing more can be written, or memory ran out; what is done stays.
        Interrupted: stopped by Ctrl-C; what is written stays.
    """
    _check_ids(dataset)
    with open_folder(predictor, out, Parts(overlays=overlays, probability=probability)) as folder:
        return predict_into(predictor, dataset, folder, progress=progress, warn=warn)


def open_folder(
    predictor: Predictor, out: Path, parts: Parts, settings: Mapping[str, Any] = MappingProxyType({})
) -> PredictionFolder:
    """A folder for the predictions of these weights and settings, new or gone on with; a context manager.

    Args:
        predictor: what segments.
        out: the folder.
        parts: what is written for each frame.
        settings: what the result depends on beside the predictor's settings.

    Raises:
        MisuseError: `out` holds something else, predictions of other weights or settings, or is written by another
            process.
        VasomimError: nothing can be written there.
    """
    identity = {
        "weights": {"name": predictor.name, "hash": predictor.fingerprint()},
        "settings": {**predictor.settings(), **settings},
    }
    folder = PredictionFolder(out, identity, parts)
    folder.save()
    return folder


def predict_into(
    predictor: Predictor,
    dataset: FrameDataset,
    folder: PredictionFolder,
    *,
    progress: Callable[[], object] = lambda: None,
    warn: Callable[[str], object] = lambda _: None,
) -> PredictionSummary:
    """As `predict_files`, into a folder that is open already."""
    _check_ids(dataset)
    tally = _FrameTally()
    try:
        for item in _finished(predictor, dataset, folder):
            tally.add(item, folder, warn)
            progress()
    except KeyboardInterrupt as stop:
        done = tally.predicted + tally.skipped
        raise Interrupted(
            f"stopped after {done} of {len(dataset)} frames; the same command goes on from there"
        ) from stop
    finally:
        with contextlib.suppress(VasomimError):  # the error that brought us here, if any, says more
            folder.save()
    folder.save()
    return tally.summary(len(dataset), folder.mean_vessel_share(record.id for record in dataset.records))


def _check_ids(dataset: FrameDataset) -> None:
    repeated = [name for name, count in Counter(record.id for record in dataset.records).items() if count > 1]
    if repeated:
        raise MisuseError(
            f"{len(repeated)} frame id(s) occur twice, for example {repeated[0]}, and would overwrite each other; "
            "rename those files, or predict their folders one by one"
        )


def _finished(predictor: Predictor, dataset: FrameDataset, folder: PredictionFolder) -> Iterator[_Item]:
    """Every frame once: written, found done, or with its error."""
    ahead = 2 * predictor.batch_size + _THREADS
    with ThreadPoolExecutor(_THREADS) as pool:
        read = ordered(pool, lambda index: _read(dataset, index, folder), range(len(dataset)), ahead)
        yield from ordered(pool, lambda item: _write(item, folder), _predicted(predictor, read), ahead)


def ordered(
    pool: ThreadPoolExecutor, function: Callable[[Given], Made], given: Iterable[Given], ahead: int
) -> Iterator[Made]:
    """`map` in threads, in order, at most `ahead` calls in advance, so that memory does not grow with their number."""
    futures: deque[Future[Made]] = deque()
    source = iter(given)
    try:
        for value in source:
            futures.append(pool.submit(function, value))
            if len(futures) > ahead:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()


def _read(dataset: FrameDataset, index: int, folder: PredictionFolder) -> _Item:
    record = dataset.records[index]
    try:
        if record.frame is not None:  # one file holds many frames: what counts is this one
            image = dataset[index].image
            source = frame_hash(image)
            return _Item(record, source, None if folder.is_done(record.id, source) else image)
        source = hash_file(record.path)
        if folder.is_done(record.id, source):
            return _Item(record, source)
        return _Item(record, source, dataset[index].image)
    except (DataError, MisuseError) as error:  # misuse: the file is gone
        return _Item(record, error=str(error))


def _travelling_name(record: Record) -> str:
    """What a summary that may travel calls a file: folders may be private, and names of DICOM files too."""
    return record.path.name if record.frame is None else record.id


def hash_file(path: Path) -> str:
    """Hash of a file's content, 32 hexadecimal digits.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check that it is there and readable") from error


def _predicted(predictor: Predictor, items: Iterable[_Item]) -> Iterator[_Item]:
    """Frames with an image predicted in batches; the others pass."""
    waiting: list[_Item] = []
    for item in items:
        if item.image is None:
            yield item
            continue
        waiting.append(item)
        if len(waiting) == predictor.batch_size:
            yield from _predict(predictor, waiting)
            waiting = []
    yield from _predict(predictor, waiting)


def _predict(predictor: Predictor, items: list[_Item]) -> Iterator[_Item]:
    predictions = predictor.predict_batch([item.image for item in items if item.image is not None])
    for item, prediction in zip(items, predictions, strict=True):
        yield dataclasses.replace(item, prediction=prediction)


def _write(item: _Item, folder: PredictionFolder) -> _Item:
    if item.image is None or item.prediction is None:
        return item
    try:
        folder.write(item.record.id, item.source, item.image, item.prediction)
    except LongNameError:  # other frames may do; what else keeps pictures from being written concerns all of them
        what = f"cannot write the pictures of {item.record.shown}: their name or path is too long"
        return dataclasses.replace(item, error=f"{what}; shorten the name of the frame or of its folders")
    return item
