"""Labelled frames and predictions at the size of the evaluation, case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vasomim.data.predictions import PredictedMasks
from vasomim.data.samples import FrameDataset
from vasomim.engine.evaluation import Case, Failure
from vasomim.engine.evaluation_page import Picture
from vasomim.errors import DataError, MisuseError
from vasomim.ops.hysteresis import Cut
from vasomim.ops.resize import resize_area, resize_mask
from vasomim.types import BoolImage, FloatImage, Record

Map = npt.NDArray[np.float32] | npt.NDArray[np.bool_]
"""(H, W): probabilities, or a mask."""


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """A frame and its label at the size of the evaluation."""

    record: Record
    image: FloatImage
    target: BoolImage
    native: FloatImage
    """The frame before resizing."""

    @property
    def scale(self) -> float:
        """Native pixels per pixel."""
        return float(np.sqrt(self.native.size / self.target.size))


@dataclass(frozen=True)
class EvaluationSource:
    """Where the cases of an evaluation come from; frames are read when they are needed, and not kept."""

    dataset: FrameDataset
    predict: Callable[[Sequence[LabelledFrame]], Sequence[Map | Failure]]
    """One map a frame, of its target's shape, or why there is none."""
    size: int | None = None
    """Side that frames and labels are resized to; None is native size."""
    batch_size: int = 8
    """Frames predicted together."""

    def cases(self) -> Iterator[Case | Failure]:
        """Every frame of the data set with its prediction, or why it, its label or its prediction cannot be used."""
        everything = range(len(self.dataset))
        for start in everything[:: self.batch_size]:
            read = [self._read(index) for index in everything[start : start + self.batch_size]]
            yield from (item for item in read if isinstance(item, Failure))
            frames = [item for item in read if isinstance(item, LabelledFrame)]
            for frame, found in zip(frames, self.predict(frames) if frames else (), strict=True):
                yield found if isinstance(found, Failure) else _case(frame, found)

    def picture(self, name: str, cut: Cut) -> Picture:
        """The frame of that id, read and predicted once more."""
        index = next(k for k, record in enumerate(self.dataset.records) if record.id == name)
        frame = self._frame(index)
        predicted = self.predict([frame])[0]
        if isinstance(predicted, Failure):  # it could be read a while ago
            raise DataError(predicted.reason)
        mask = predicted.astype(np.bool_) if predicted.dtype == np.bool_ else cut(predicted.astype(np.float32))
        return Picture(frame.image, mask, frame.target)

    def _read(self, index: int) -> LabelledFrame | Failure:
        try:
            return self._frame(index)
        except (DataError, MisuseError) as error:  # misuse: the file is gone
            return Failure(self.dataset.records[index].id, str(error))

    def _frame(self, index: int) -> LabelledFrame:
        sample = self.dataset[index]
        if sample.mask is None:
            raise DataError(f"frame {sample.record.id} has no label; evaluate labelled frames only")
        if self.size is None:
            return LabelledFrame(sample.record, sample.image, sample.mask, sample.image)
        image, target = resize_area(sample.image, self.size), resize_mask(sample.mask, self.size)
        return LabelledFrame(sample.record, image, target, sample.image)


def _case(frame: LabelledFrame, predicted: Map) -> Case:
    return Case(frame.record.id, predicted, frame.target, frame.record.patient, frame.scale)


def stored_masks(masks: PredictedMasks) -> Callable[[Sequence[LabelledFrame]], list[Map | Failure]]:
    """Predictions from files: of native size, or of the evaluation's; native ones are resized as the labels are."""

    def load(frame: LabelledFrame) -> BoolImage:
        mask = masks.load(frame.record)
        if mask.shape == frame.target.shape:
            return mask
        if mask.shape == frame.native.shape:
            return resize_mask(mask, frame.target.shape[0])
        raise DataError(
            f"{masks.paths[frame.record.id]} is {mask.shape[0]}x{mask.shape[1]}, but its frame "
            f"{frame.native.shape[0]}x{frame.native.shape[1]}; write masks at the frame's native size"
        )

    def attempt(frame: LabelledFrame) -> Map | Failure:
        try:
            return load(frame)
        except (DataError, MisuseError) as error:
            return Failure(frame.record.id, str(error))

    return lambda frames: [attempt(frame) for frame in frames]
