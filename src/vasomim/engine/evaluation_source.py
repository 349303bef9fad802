"""Labelled frames and predictions at the size of the evaluation, case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vasomim.data.predictions import PredictedMasks
from vasomim.data.samples import FrameDataset
from vasomim.engine.evaluation import Case
from vasomim.engine.evaluation_page import Picture
from vasomim.errors import DataError
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
    predict: Callable[[Sequence[LabelledFrame]], Sequence[Map]]
    """One map a frame, of its target's shape."""
    size: int | None = None
    """Side that frames and labels are resized to; None is native size."""
    batch_size: int = 8
    """Frames predicted together."""

    def cases(self) -> Iterator[Case]:
        """Every frame of the data set with its prediction.

        Raises:
            DataError: a frame cannot be read or has no label, or a prediction has another size.
        """
        everything = range(len(self.dataset))
        for start in everything[:: self.batch_size]:
            frames = [self._frame(index) for index in everything[start : start + self.batch_size]]
            for frame, predicted in zip(frames, self.predict(frames), strict=True):
                yield Case(frame.record.id, predicted, frame.target, frame.record.patient, frame.scale)

    def picture(self, name: str, cut: Cut) -> Picture:
        """The frame of that id, read and predicted once more."""
        index = next(k for k, record in enumerate(self.dataset.records) if record.id == name)
        frame = self._frame(index)
        predicted = self.predict([frame])[0]
        mask = predicted.astype(np.bool_) if predicted.dtype == np.bool_ else cut(predicted.astype(np.float32))
        return Picture(frame.image, mask, frame.target)

    def _frame(self, index: int) -> LabelledFrame:
        sample = self.dataset[index]
        if sample.mask is None:
            raise DataError(f"frame {sample.record.id} has no label; evaluate labelled frames only")
        if self.size is None:
            return LabelledFrame(sample.record, sample.image, sample.mask, sample.image)
        image, target = resize_area(sample.image, self.size), resize_mask(sample.mask, self.size)
        return LabelledFrame(sample.record, image, target, sample.image)


def stored_masks(masks: PredictedMasks) -> Callable[[Sequence[LabelledFrame]], list[Map]]:
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

    return lambda frames: [load(frame) for frame in frames]
