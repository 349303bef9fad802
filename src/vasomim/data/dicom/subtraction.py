"""Digital subtraction as a file asks for it (Mask module, PS3.3 C.7.6.10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.data.dicom.elements import BadElement, Dataset, code, integer, items, numbers

Values = npt.NDArray[np.float32]
MAX_AVERAGED = 64
"""Mask or contrast frames averaged; more would make every frame as slow as the run."""


@dataclass(frozen=True, slots=True)
class MaskRule:
    """One item of the Mask Subtraction Sequence; frames count from 0 here, from 1 in files."""

    first: int
    last: int
    """First and last frame that the rule is for."""
    masks: tuple[int, ...]
    """Frames that are averaged to the mask; none where the mask moves with the frame (TID)."""
    offset: int
    """Of TID: how many frames before the frame its mask lies."""
    averaging: int
    """Frames averaged on the contrast side, from the frame itself on."""
    shift: tuple[float, float]
    """Pixels by which the mask is moved, down and to the left."""

    def mask_frames(self, index: int) -> tuple[int, ...]:
        """The frames whose average is subtracted from frame `index`."""
        return self.masks or (index - self.offset,)


def read_rules(dataset: Dataset, num_frames: int) -> list[MaskRule]:
    """The rules of a file, in its order; items without operation give none.

    Raises:
        BadElement: a rule that names frames the run does not have, or an operation we do not know.
    """
    return [rule for item in items(dataset, "MaskSubtractionSequence") for rule in _read_item(item, num_frames)]


def _read_item(item: Dataset, num_frames: int) -> list[MaskRule]:
    operation = code(item, "MaskOperation")
    if operation in ("", "NONE"):
        return []
    if operation not in ("AVG_SUB", "TID"):
        raise BadElement(f"MaskOperation is {operation}; need AVG_SUB or TID")
    masks = tuple(int(number) - 1 for number in numbers(item, "MaskFrameNumbers")) if operation == "AVG_SUB" else ()
    offset = integer(item, "TIDOffset", 1) if operation == "TID" else 0
    averaging = integer(item, "ContrastFrameAveraging", 1)
    _check(operation, masks, averaging, num_frames)
    shift = (*numbers(item, "MaskSubPixelShift"), 0.0, 0.0)[:2]
    # Without a range a rule is for all frames that have a mask and enough frames behind them.
    everything = (1 + max(0, offset), num_frames - averaging + 1 + min(0, offset))
    ends = [int(number) for number in numbers(item, "ApplicableFrameRange")] or [*everything]
    pairs = zip(ends[::2], ends[1::2], strict=False)
    return [
        MaskRule(max(a, everything[0]) - 1, min(b, everything[1]) - 1, masks, offset, averaging, (shift[0], shift[1]))
        for a, b in pairs
    ]


def _check(operation: str, masks: Sequence[int], averaging: int, num_frames: int) -> None:
    if operation == "AVG_SUB" and not masks:
        raise BadElement("MaskFrameNumbers is missing")
    if any(not 0 <= mask < num_frames for mask in masks):
        raise BadElement(f"MaskFrameNumbers names frames that are not in a run of {num_frames}")
    if not 1 <= averaging <= MAX_AVERAGED or len(masks) > MAX_AVERAGED:
        raise BadElement(f"more than {MAX_AVERAGED} frames are averaged for one")


def rule_for(rules: Sequence[MaskRule], index: int) -> MaskRule | None:
    """The first rule that is for frame `index`."""
    return next((rule for rule in rules if rule.first <= index <= rule.last), None)


def subtracted(rule: MaskRule, index: int, values: Callable[[int], Values], mask: Values) -> Values:
    """Frame less mask, in the space of `values`, logarithmic to beam intensity: what was there before becomes 0.

    Args:
        rule: for frame `index`.
        index: of the frame.
        values: gives a frame, (H, W).
        mask: from `mask_of`.
    """
    return average(values, range(index, index + rule.averaging)) - mask


def mask_of(rule: MaskRule, index: int, values: Callable[[int], Values]) -> Values:
    """The mask of frame `index`: averaged, then moved by a part of a pixel (linear interpolation)."""
    mask = average(values, rule.mask_frames(index))
    down, left = rule.shift
    if not down and not left:
        return mask
    matrix = np.array([[1, 0, -left], [0, 1, down]], np.float64)
    size = mask.shape[1], mask.shape[0]
    return np.asarray(cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def average(values: Callable[[int], Values], indices: Sequence[int]) -> Values:
    """Mean of some frames; two are in memory at a time."""
    total = values(indices[0]).copy()
    for index in indices[1:]:
        total += values(index)
    return total / np.float32(len(indices))
