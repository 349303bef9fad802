"""The frames of a run with what a network finds in them: decoded ahead, predicted in batches, smoothed in time."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from vasomim.data.dicom.run import DicomRun
from vasomim.inference.files import ordered
from vasomim.inference.predictor import Predictor
from vasomim.inference.temporal import RunFrame, smooth
from vasomim.types import FloatImage


def predicted_frames(
    predictor: Predictor, run: DicomRun, indices: Sequence[int], smoothing: int
) -> Generator[RunFrame, None, None]:
    """Each frame once, in order; a few batches are held at a time. Close it where not all are taken.

    Args:
        predictor: what segments.
        run: whose frames.
        indices: which of them, from 0, ascending.
        smoothing: frames on each side that a probability is averaged over.

    Raises:
        DataError: a frame is damaged.
    """
    with ThreadPoolExecutor(1) as reader:
        images = ordered(reader, run.frame, indices, 2 * predictor.batch_size)
        yield from smooth(_predicted(predictor, zip(indices, images, strict=True)), smoothing)


def _predicted(predictor: Predictor, images: Iterable[tuple[int, FloatImage]]) -> Iterator[RunFrame]:
    source = iter(images)
    while batch := list(islice(source, predictor.batch_size)):
        predictions = predictor.predict_batch([image for _, image in batch])
        for (index, image), prediction in zip(batch, predictions, strict=True):
            yield RunFrame(index, image, prediction)
