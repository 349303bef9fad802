"""The graph of a centreline: where it ends, where it branches, how long it is."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.ops.skeleton import distance_inside
from vasomim.types import BoolImage

_RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""The eight neighbours of a pixel in circular order, as (row, column) offsets."""
_BITS = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], dtype=np.float32)
"""What each neighbour adds to the code of a pixel, in the order of `_RING`."""
_STRAIGHT, _DIAGONAL = 0.948, 1.340


def _neighbours_by_code() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """For each code of eight neighbours: how many are set, and into how many arcs around the pixel they fall."""
    ring = (np.arange(256)[:, None] >> np.arange(8)) & 1
    arcs = (ring & ~np.roll(ring, 1, axis=1)).sum(axis=1)
    return ring.sum(axis=1).astype(np.uint8), arcs.astype(np.uint8)


_COUNT, _ARCS = _neighbours_by_code()


def end_points(skeleton: BoolImage) -> BoolImage:
    """Pixels where a centreline ends: bool (H, W) -> bool (H, W). A lone pixel is no end, nor is a closed loop."""
    code = _codes(skeleton)
    found: BoolImage = skeleton & (_ARCS[code] == 1) & (_COUNT[code] <= 2)
    return found


def branch_points(skeleton: BoolImage) -> npt.NDArray[np.float64]:
    """Where three or more arms of a centreline meet: bool (H, W) -> float64 (N, 2), row and column of each.

    A branching is a group of touching pixels with three or more neighbours each from which three or more arms leave;
    a staircase has such pixels too, but two arms. Branchings closer than three pixels count as one.
    """
    knots = _knots(skeleton)
    count, groups = _labels(knots)
    _, arms = _labels(_arm_starts(skeleton, knots))
    meetings = np.unique(np.concatenate([_pairs(groups, arms, offset) for offset in _RING]), axis=0)
    branching = np.flatnonzero(np.bincount(meetings[:, 0], minlength=count) >= 3)
    centres = [np.argwhere(groups == label).mean(axis=0) for label in branching]
    return np.array(centres, dtype=np.float64).reshape(-1, 2)


def prune_spurs(skeleton: BoolImage, mask: BoolImage) -> BoolImage:
    """Take off short twigs that a rough vessel wall causes: a twig must reach well out of the vessel it leaves.

    Args:
        skeleton: (H, W), thinned from `mask`.
        mask: (H, W).

    Returns:
        (H, W) subset of the skeleton: without ends whose length beyond the branching is at most the vessel's
        width there, half of which lies inside the vessel.
    """
    knots = _knots(skeleton)
    arms = skeleton & ~knots
    starts = _arm_starts(skeleton, knots)
    count, labels = _labels(arms)
    reach = np.zeros(count)
    np.maximum.at(reach, labels[starts], distance_inside(mask, starts))
    ends = np.bincount(labels[end_points(skeleton) & arms], minlength=count)
    lengths = np.bincount(labels[arms], minlength=count)
    spurs = (ends == 1) & (reach > 0) & (lengths <= 2 * reach)
    spurs[0] = False
    kept: BoolImage = skeleton & ~spurs[labels]
    return kept


def centreline_length(skeleton: BoolImage) -> float:
    """Length of a centreline in pixels, without bias over directions: bool (H, W) -> at least 0.

    Steps to a side count 0.948 and diagonal ones 0.948 * sqrt 2 (Kulpa, Computer Graphics and Image Processing 6,
    1977), so a straight line is right within 5.5 % in any direction. A diagonal step past a corner pixel is none.
    """
    across, down = skeleton[:, 1:] & skeleton[:, :-1], skeleton[1:] & skeleton[:-1]
    falling = skeleton[1:, 1:] & skeleton[:-1, :-1] & ~skeleton[1:, :-1] & ~skeleton[:-1, 1:]
    rising = skeleton[1:, :-1] & skeleton[:-1, 1:] & ~skeleton[1:, 1:] & ~skeleton[:-1, :-1]
    straight = np.count_nonzero(across) + np.count_nonzero(down)
    diagonal = np.count_nonzero(falling) + np.count_nonzero(rising)
    return float(_STRAIGHT * straight + _DIAGONAL * diagonal)


def _codes(skeleton: BoolImage) -> npt.NDArray[np.uint8]:
    """(H, W) bits of the eight neighbours; beyond the border lies background."""
    return np.asarray(cv2.filter2D(skeleton.view(np.uint8), -1, _BITS, borderType=cv2.BORDER_CONSTANT), dtype=np.uint8)


def _labels(mask: BoolImage) -> tuple[int, npt.NDArray[np.int32]]:
    """Number of labels, background included, and the label of each pixel's 8-connected component."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    return count, np.asarray(labels, dtype=np.int32)


def _knots(skeleton: BoolImage) -> BoolImage:
    """Pixels with three or more neighbours."""
    found: BoolImage = skeleton & (_COUNT[_codes(skeleton)] >= 3)
    return found


def _arm_starts(skeleton: BoolImage, knots: BoolImage) -> BoolImage:
    """Pixels outside the knots that touch one."""
    near = cv2.dilate(knots.view(np.uint8), np.ones((3, 3), np.uint8)) > 0
    found: BoolImage = skeleton & near & ~knots
    return found


def _pairs(
    groups: npt.NDArray[np.int32], arms: npt.NDArray[np.int32], offset: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """(K, 2) labels of a group and of an arm that lies at `offset` from one of its pixels."""
    rows, columns = np.nonzero(groups)
    rows_there, columns_there = rows + offset[0], columns + offset[1]
    height, width = groups.shape
    inside = (rows_there >= 0) & (rows_there < height) & (columns_there >= 0) & (columns_there < width)
    here = groups[rows[inside], columns[inside]]
    there = arms[rows_there[inside], columns_there[inside]]
    pairs: npt.NDArray[np.int64] = np.stack([here, there], axis=1).astype(np.int64)
    return np.asarray(pairs[there > 0])
