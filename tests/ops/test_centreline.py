"""The graph of a centreline: drawn shapes have known lengths, ends and branchings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vasomim.ops.centreline import branch_points, centreline_length, end_points, prune_spurs
from vasomim.ops.skeleton import skeletonize
from vasomim.types import BoolImage

Line = tuple[tuple[int, int], tuple[int, int]]
Y: list[Line] = [((100, 180), (100, 100)), ((100, 100), (40, 40)), ((100, 100), (160, 50))]
SLANTED_CROSS: list[Line] = [((20, 30), (180, 170)), ((180, 20), (20, 180))]
CROSS: list[Line] = [((20, 100), (180, 100)), ((100, 20), (100, 180))]
STROKE: list[Line] = [((20, 100), (180, 120))]
STAIRS: list[Line] = [((20, 20), (180, 130))]


def draw(lines: list[Line], width: int, size: int = 200) -> BoolImage:
    canvas = np.zeros((size, size), np.uint8)
    for start, end in lines:
        cv2.line(canvas, start, end, 1, width)
    return canvas > 0


@pytest.mark.parametrize("width", [1, 2, 3, 5, 9, 14])
@pytest.mark.parametrize(
    ("lines", "branches", "ends"), [(Y, 1, 3), (SLANTED_CROSS, 1, 4), (CROSS, 1, 4), (STROKE, 0, 2), (STAIRS, 0, 2)]
)
@pytest.mark.parametrize("turns", [0, 1])
def test_points__of_drawn_shapes(lines: list[Line], branches: int, ends: int, width: int, turns: int) -> None:
    mask = np.rot90(draw(lines, width), turns)
    skeleton = prune_spurs(skeletonize(mask), mask)
    assert len(branch_points(skeleton)) == branches
    assert np.count_nonzero(end_points(skeleton)) == ends


def test_branch_points__lies_where_the_lines_meet() -> None:
    (found,) = branch_points(skeletonize(draw(Y, 5)))
    np.testing.assert_allclose(found, (100, 100), atol=3)


def test_branch_points__counts_every_fork_of_a_tree() -> None:
    twigs: list[Line] = [((30 + 30 * k, 100), (30 + 30 * k, 40)) for k in range(5)]
    mask = draw([((10, 100), (190, 100)), *twigs], 3)
    skeleton = prune_spurs(skeletonize(mask), mask)
    assert len(branch_points(skeleton)) == 5
    assert np.count_nonzero(end_points(skeleton)) == 7


def test_points__a_ring_and_a_dot_have_none() -> None:
    ring = np.zeros((60, 60), np.uint8)
    cv2.circle(ring, (30, 30), 20, 1, 3)
    dot = np.zeros((9, 9), bool)
    dot[4, 4] = True
    for skeleton in (skeletonize(ring > 0), dot, np.zeros((9, 9), bool)):
        assert branch_points(skeleton).shape == (0, 2)
        assert not end_points(skeleton).any()


def test_points__at_the_border_of_the_frame() -> None:
    mask = np.zeros((20, 20), bool)
    mask[10, :] = mask[:11, 7] = True
    assert len(branch_points(mask)) == 1
    assert np.argwhere(end_points(mask)).tolist() == [[0, 7], [10, 0], [10, 19]]


def rough_tube(seed: int, width: float = 12) -> BoolImage:
    """A straight vessel (120, 400) whose two walls are uneven by about a pixel and a half."""
    noise = np.random.default_rng(seed).standard_normal((2, 400)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 2.5, sigmaY=1e-3)
    above, below = width / 2 + 1.5 * noise / noise.std(axis=1, keepdims=True)
    rows, columns = np.indices((120, 400))
    inside: BoolImage = (rows >= 60 - above) & (rows <= 60 + below) & (columns >= 20) & (columns < 380)
    return inside


def test_prune_spurs__takes_off_what_a_rough_wall_makes() -> None:
    tubes = [rough_tube(seed) for seed in range(20)]
    raw = [skeletonize(tube) for tube in tubes]
    pruned = [prune_spurs(skeleton, tube) for skeleton, tube in zip(raw, tubes, strict=True)]
    false_branches = sum(len(branch_points(skeleton)) for skeleton in raw)
    assert false_branches >= 15
    assert sum(len(branch_points(skeleton)) for skeleton in pruned) < false_branches / 1.8
    assert not any((after & ~before).any() for after, before in zip(pruned, raw, strict=True))


def test_prune_spurs__keeps_branches() -> None:
    mask = draw([((20, 100), (180, 100))], 9) | draw([((100, 100), (100, 75))], 5)  # 20 px out of the wall
    skeleton = skeletonize(mask)
    np.testing.assert_array_equal(prune_spurs(skeleton, mask), skeleton)
    assert len(branch_points(skeleton)) == 1


def test_centreline_length__is_unbiased_over_directions() -> None:
    ratios = []
    for angle in np.linspace(0, np.pi, 91):
        offset = np.rint(100 * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        start, end = (150 - offset).tolist(), (150 + offset).tolist()
        line = draw([(tuple(start), tuple(end))], 1, 300)
        ratios.append(centreline_length(line) / (2 * np.hypot(*offset)))
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)
    assert 0.945 < min(ratios) <= max(ratios) < 1.055


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_centreline_length__does_not_change_with_rotation_or_place(turns: int) -> None:
    skeleton = skeletonize(draw(Y, 5))
    assert centreline_length(np.rot90(skeleton, turns)) == pytest.approx(centreline_length(skeleton))
    assert centreline_length(np.pad(skeleton, 7)) == pytest.approx(centreline_length(skeleton))
    assert centreline_length(skeleton.T) == pytest.approx(centreline_length(skeleton))


def test_centreline_length__a_corner_is_cut_by_no_diagonal() -> None:
    corner = np.zeros((5, 5), bool)
    corner[1, 1:4] = corner[1:4, 1] = True
    assert centreline_length(corner) == pytest.approx(4 * 0.948)
    assert centreline_length(np.zeros((3, 3), bool)) == 0
