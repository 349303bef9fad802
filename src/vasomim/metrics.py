"""How well a predicted vessel mask agrees with the annotated one.

Every metric takes `(pred, target)`, two masks of one frame, bool (H, W) (arrays or CPU tensors), and returns a float.
Integers are taken too: 0 is background; a target may be a map of classes, all of them vessel, a prediction may not.
Nothing is ever NaN: both masks empty is perfect agreement, exactly one empty is total failure, so that a missed
vessel counts in every mean (docs/evaluation.md has the table).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.ops.skeleton import bounding_box, distance_to, nearest_values, skeletonize, width_at
from vasomim.types import BoolImage

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

WIDTH_EDGES: Final = (3.0, 6.0, 12.0)
"""Vessel widths in pixels that part the width classes."""
WIDTH_CLASSES: Final = ("<3", "3-6", "6-12", ">12")


def as_mask(mask: Any, name: str) -> BoolImage:
    """A mask as bool (H, W): booleans, integers (non-zero is vessel) or floats that are exactly 0 or 1.

    Raises:
        ValueError: Not two-dimensional, a float map that was not thresholded, or negative integers.
    """
    array: npt.NDArray[Any] = np.asarray(mask)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}; metrics need one (H, W) mask, so call them once per frame")
    if array.dtype == np.bool_:
        return array
    if not (np.issubdtype(array.dtype, np.integer) or np.isin(array, (0, 1)).all()):
        raise ValueError(f"{name} is {array.dtype} with values other than 0 and 1; threshold the probability first")
    if array.size and array.min() < 0:
        raise ValueError(
            f"{name} holds {array.min()}; need 0 for background, above 0 for vessel: give 0 to what to ignore"
        )
    vessel: BoolImage = array != 0
    return vessel


def as_prediction(mask: Any) -> BoolImage:
    """As `as_mask`, of a prediction: its integers have one value beside 0, as a probability stored as grey has more.

    Raises:
        ValueError: As `as_mask`, or for more values.
    """
    vessel, array = as_mask(mask, "pred"), np.asarray(mask)
    if array.dtype != np.bool_ and not (array[vessel] == array.max(initial=0)).all():
        raise ValueError(
            f"pred is {array.dtype} with more values than 0 and one other; threshold the probability first"
        )
    return vessel


class MaskPair:
    """Prediction and target of one frame; what several metrics need is computed once and kept."""

    def __init__(self, pred: Any, target: Any) -> None:
        """Check both masks and cut them to the box that holds every vessel pixel of either.

        Raises:
            ValueError: The shapes differ, or see `as_prediction` and, of the target, `as_mask`.
        """
        whole_pred, whole_target = as_prediction(pred), as_mask(target, "target")
        if whole_pred.shape != whole_target.shape:
            raise ValueError(
                f"pred is {whole_pred.shape} but target {whole_target.shape}; bring the prediction to the target's size"
            )
        self.shape: tuple[int, int] = (whole_pred.shape[0], whole_pred.shape[1])
        # Outside the box all is background in both, which no metric but the count of true negatives can see.
        box = bounding_box(whole_pred | whole_target) or (slice(0, 0), slice(0, 0))
        self.pred: BoolImage = np.ascontiguousarray(whole_pred[box])
        self.target: BoolImage = np.ascontiguousarray(whole_target[box])

    @cached_property
    def counts(self) -> tuple[int, int, int, int]:
        """True positives, false positives, false negatives and true negatives, in pixels."""
        tp = int(np.count_nonzero(self.pred & self.target))
        fp = int(np.count_nonzero(self.pred)) - tp
        fn = int(np.count_nonzero(self.target)) - tp
        return tp, fp, fn, self.shape[0] * self.shape[1] - tp - fp - fn

    @cached_property
    def empty_score(self) -> float | None:
        """1 if both masks are empty, 0 if exactly one is, None if neither: the score of every fraction."""
        tp, fp, fn, _ = self.counts
        if tp + fp and tp + fn:
            return None
        return 0.0 if fp or fn else 1.0

    @property
    def diagonal(self) -> float:
        """Length of the image diagonal in pixels."""
        return float(np.hypot(*self.shape))

    @cached_property
    def pred_skeleton(self) -> BoolImage:
        return skeletonize(self.pred)

    @cached_property
    def target_skeleton(self) -> BoolImage:
        return skeletonize(self.target)

    @cached_property
    def boundary_distances(self) -> tuple[FloatArray, FloatArray]:
        """Distance of each boundary pixel to the other boundary: (of pred to target, of target to pred), in pixels."""
        pred, target = _boundary(self.pred), _boundary(self.target)
        return distance_to(target, at=pred), distance_to(pred, at=target)

    @cached_property
    def betti_errors(self) -> tuple[float, float]:
        """Absolute differences of the numbers of components and of holes."""
        pred, target = betti_numbers(self.pred), betti_numbers(self.target)
        return float(abs(pred[0] - target[0])), float(abs(pred[1] - target[1]))


def _boundary(mask: BoolImage) -> BoolImage:
    """Mask pixels with a 4-neighbour in the background; beyond the border lies background."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(mask.view(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    edge: BoolImage = mask & (inner == 0)
    return edge


def _dice(pair: MaskPair) -> float:
    tp, fp, fn, _ = pair.counts
    return _fraction(pair, 2 * tp, 2 * tp + fp + fn)


def _iou(pair: MaskPair) -> float:
    tp, fp, fn, _ = pair.counts
    return _fraction(pair, tp, tp + fp + fn)


def _precision(pair: MaskPair) -> float:
    tp, fp, _, _ = pair.counts
    return _fraction(pair, tp, tp + fp)


def _recall(pair: MaskPair) -> float:
    tp, _, fn, _ = pair.counts
    return _fraction(pair, tp, tp + fn)


def _fraction(pair: MaskPair, part: int, whole: int) -> float:
    return part / whole if pair.empty_score is None else pair.empty_score


def _cldice(pair: MaskPair) -> float:
    if pair.empty_score is not None:
        return pair.empty_score
    precision = _share(pair.pred_skeleton, pair.target)
    sensitivity = _share(pair.target_skeleton, pair.pred)
    if precision + sensitivity == 0:
        return 0.0
    return 2 * precision * sensitivity / (precision + sensitivity)


def _share(skeleton: BoolImage, mask: BoolImage) -> float:
    return int(np.count_nonzero(skeleton & mask)) / int(np.count_nonzero(skeleton))


def _hd95(pair: MaskPair) -> float:
    if pair.empty_score is not None:
        return (1 - pair.empty_score) * pair.diagonal
    return max(float(np.percentile(distances, 95)) for distances in pair.boundary_distances)


def _assd(pair: MaskPair) -> float:
    if pair.empty_score is not None:
        return (1 - pair.empty_score) * pair.diagonal
    return float(np.concatenate(pair.boundary_distances).mean())


METRICS: Final[dict[str, Callable[[MaskPair], float]]] = {
    "dice": _dice,
    "iou": _iou,
    "precision": _precision,
    "recall": _recall,
    "cldice": _cldice,
    "hd95": _hd95,
    "assd": _assd,
    "betti0_error": lambda pair: pair.betti_errors[0],
    "betti1_error": lambda pair: pair.betti_errors[1],
    "betti_error": lambda pair: sum(pair.betti_errors),
}
"""Every metric of an evaluation by name, in the order of its tables."""


def image_metrics(pair: MaskPair) -> dict[str, float]:
    """All of `METRICS` for one frame, skeletons and distances computed once."""
    return {name: metric(pair) for name, metric in METRICS.items()}


def dice(pred: Any, target: Any) -> float:
    """Dice coefficient, 2|P & T| / (|P| + |T|), in [0, 1]; both empty 1, one empty 0."""
    return _dice(MaskPair(pred, target))


def iou(pred: Any, target: Any) -> float:
    """Intersection over union, in [0, 1]; both empty 1, one empty 0."""
    return _iou(MaskPair(pred, target))


def precision(pred: Any, target: Any) -> float:
    """Share of the predicted pixels that are vessel, in [0, 1]; both empty 1, one empty 0."""
    return _precision(MaskPair(pred, target))


def recall(pred: Any, target: Any) -> float:
    """Share of the vessel pixels that were found, in [0, 1]; both empty 1, one empty 0."""
    return _recall(MaskPair(pred, target))


def cldice(pred: Any, target: Any) -> float:
    """Centreline Dice (Shit et al., CVPR 2021, eq. 3), in [0, 1]; both empty 1, one empty 0.

    The harmonic mean of the share of the predicted centreline inside the target and the share of the target's
    centreline inside the prediction, with scikit-image's (Zhang-Suen) skeletons. Exactly 1 for equal masks.
    """
    return _cldice(MaskPair(pred, target))


def hd95(pred: Any, target: Any) -> float:
    """The larger of the two directed 95th percentiles of boundary distances, in pixels.

    Both empty 0, one empty the image diagonal. Percentiles are interpolated linearly.
    """
    return _hd95(MaskPair(pred, target))


def assd(pred: Any, target: Any) -> float:
    """Average symmetric surface distance: mean over the pixels of both boundaries, in pixels.

    Both empty 0, one empty the image diagonal.
    """
    return _assd(MaskPair(pred, target))


def betti_numbers(mask: Any) -> tuple[int, int]:
    """Components (8-connected) and holes (4-connected background that does not reach the outside): (b0, b1)."""
    padded = np.pad(as_mask(mask, "mask"), 1).astype(np.uint8)
    foreground, _ = cv2.connectedComponents(padded, connectivity=8)
    background, _ = cv2.connectedComponents(1 - padded, connectivity=4)
    # OpenCV counts the zeros as label 0; of the background's components the one around everything is no hole.
    return foreground - 1, background - 2


def betti_errors(pred: Any, target: Any) -> tuple[float, float]:
    """Absolute differences of the numbers of components and of holes, whole frame: (|b0|, |b1|)."""
    return MaskPair(pred, target).betti_errors


def betti_error(pred: Any, target: Any) -> float:
    """Sum of the two `betti_errors`."""
    return sum(betti_errors(pred, target))


def width_counts(pair: MaskPair, scale: float = 1.0) -> IntArray:
    """Pixels and centreline pixels by vessel width, for sums over frames: int64 (4, 8), one row a `WIDTH_CLASSES`.

    Each pixel of a mask has the width of that mask's nearest centreline pixel. Columns: the target's pixels and how
    many of them were predicted, its centreline pixels and how many of them; then the same of the prediction, and how
    many of them are vessel. The prediction has its own widths, as a false positive has none in the target.

    Args:
        pair: The two masks.
        scale: Pixels of the native frame per pixel of the masks; classes are in native pixels.

    References:
        `scores_by_width` turns the sums into recall and precision.
    """
    sides = (
        (pair.target, pair.target_skeleton, pair.pred),
        (pair.pred, pair.pred_skeleton, pair.target),
    )
    return np.concatenate([_side_counts(mask, line, other, scale) for mask, line, other in sides], axis=1)


def _side_counts(mask: BoolImage, skeleton: BoolImage, other: BoolImage, scale: float) -> IntArray:
    """(4, 4): pixels, those also in `other`, centreline pixels, those also in `other`."""
    if not skeleton.any():
        return np.zeros((len(WIDTH_CLASSES), 4), dtype=np.int64)
    line_class = np.digitize(width_at(mask, skeleton) * scale, WIDTH_EDGES)
    mask_class = nearest_values(skeleton, line_class, at=mask)
    columns = (mask_class, mask_class[other[mask]], line_class, line_class[other[skeleton]])
    return np.stack([np.bincount(column, minlength=len(WIDTH_CLASSES)) for column in columns], axis=1)


def scores_by_width(counts: IntArray) -> dict[str, dict[str, float | int | None]]:
    """Pooled scores of each width class from the sum of `width_counts`; None where a class holds no pixel."""
    table: dict[str, dict[str, float | int | None]] = {}
    for name, row in zip(WIDTH_CLASSES, counts.tolist(), strict=True):
        found, line_found = _ratio(row[1], row[0]), _ratio(row[3], row[2])
        right, line_right = _ratio(row[5], row[4]), _ratio(row[7], row[6])
        table[name] = {
            "recall": found,
            "precision": right,
            "dice": _harmonic(found, right),
            "centreline_recall": line_found,
            "centreline_precision": line_right,
            "cldice": _harmonic(line_found, line_right),
            "target_pixels": row[0],
            "pred_pixels": row[4],
        }
    return table


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _harmonic(a: float | None, b: float | None) -> float | None:
    if a is None:
        return None
    if b is None or a + b == 0:
        return 0.0
    return 2 * a * b / (a + b)


def pooled_scores(tp: int, fp: int, fn: int) -> dict[str, float]:
    """Dice, IoU, precision and recall of all pixels of all frames counted together (micro average)."""
    if tp + fp == 0 or tp + fn == 0:
        return dict.fromkeys(("dice", "iou", "precision", "recall"), 0.0 if fp or fn else 1.0)
    return {
        "dice": 2 * tp / (2 * tp + fp + fn),
        "iou": tp / (tp + fp + fn),
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
    }


def reliability_counts(probability: Any, target: Any, bins: int = 15) -> FloatArray:
    """Pixels, summed probability and vessel pixels of equal bins of the vessel probability: float64 (bins, 3).

    Args:
        probability: (H, W) in [0, 1].
        target: Mask of the same shape.
        bins: Number of bins between 0 and 1.

    Raises:
        ValueError: The shapes differ or a probability lies outside [0, 1] (or is NaN).
    """
    p, mask = np.asarray(probability, dtype=np.float32).ravel(), as_mask(target, "target")
    if np.shape(probability) != mask.shape:
        raise ValueError(f"probability is {np.shape(probability)} but target {mask.shape}; both must be (H, W)")
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"probabilities must lie in [0, 1], got {p.min()} to {p.max()}; apply the sigmoid first")
    index = np.minimum((p * np.float32(bins)).astype(np.intp), bins - 1)
    sums = [np.bincount(index, weights, minlength=bins) for weights in (None, p, mask.ravel())]
    return np.stack(sums, axis=1).astype(np.float64)


def calibration_error(counts: FloatArray) -> float:
    """Expected calibration error from summed `reliability_counts`: mean over pixels of |confidence - frequency|."""
    total = counts[:, 0].sum()
    return float(np.abs(counts[:, 1] - counts[:, 2]).sum() / total) if total else 0.0
