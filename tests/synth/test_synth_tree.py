"""Coronary trees: Murray's law, structure, stenoses, motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vasomim.synth.scene import Anatomy, Motion
from vasomim.synth.tree import HEART_BASIS, Tree, displacement, grow_tree, move, squeeze

CASES = [Anatomy(seed=seed, side=side) for seed in range(4) for side in ("left", "right")]


@pytest.fixture(params=CASES, ids=lambda a: f"{a.side}-{a.seed}")
def anatomy(request: pytest.FixtureRequest) -> Anatomy:
    return request.param


@pytest.mark.parametrize("exponent", [2.7, 3.0])
def test_grow_tree__obeys_murray_at_every_bifurcation(anatomy: Anatomy, exponent: float) -> None:
    tree = grow_tree(replace(anatomy, murray_exponent=exponent))
    divisions = list(tree.bifurcations())
    assert len(divisions) > 10
    for parent, daughters in divisions:
        assert len(daughters) == 2
        total = sum(d.radii[0] ** exponent for d in daughters)
        assert total == pytest.approx(parent.radii[-1] ** exponent, rel=1e-9)


def test_grow_tree__daughters_start_where_their_parent_ends(anatomy: Anatomy) -> None:
    for parent, daughters in grow_tree(anatomy).bifurcations():
        for daughter in daughters:
            np.testing.assert_allclose(daughter.points[0], parent.points[-1], atol=1e-9)
            assert daughter.distance[0] == pytest.approx(parent.distance[-1])


def test_grow_tree__vessels_only_taper(anatomy: Anatomy) -> None:
    for branch in grow_tree(anatomy).branches:
        assert (np.diff(branch.radii) <= 1e-12).all()
        assert branch.radii.min() > 0


def test_grow_tree__parents_come_first_and_one_root(anatomy: Anatomy) -> None:
    tree = grow_tree(anatomy)
    assert [b.parent for b in tree.branches].count(-1) == 1
    assert all(b.parent < k for k, b in enumerate(tree.branches))


def test_grow_tree__distance_is_arc_length(anatomy: Anatomy) -> None:
    for branch in grow_tree(anatomy).branches:
        steps = np.linalg.norm(np.diff(branch.points, axis=0), axis=1)
        np.testing.assert_allclose(np.diff(branch.distance), steps, rtol=1e-6)


def test_grow_tree__lies_near_the_heart(anatomy: Anatomy) -> None:
    local = np.concatenate([b.points for b in grow_tree(anatomy).branches]) @ HEART_BASIS.T
    scaled = local / np.array((anatomy.heart_length, anatomy.heart_width, anatomy.heart_width))
    assert np.linalg.norm(scaled, axis=1).max() < 1.5


def test_grow_tree__is_a_function_of_the_anatomy(anatomy: Anatomy) -> None:
    one, two = grow_tree(anatomy), grow_tree(anatomy)
    assert all(np.array_equal(a.points, b.points) for a, b in zip(one.branches, two.branches, strict=True))
    other = grow_tree(replace(anatomy, seed=anatomy.seed + 100))
    assert not np.array_equal(one.branches[0].points, other.branches[0].points)


def test_grow_tree__left_and_right_leave_the_aorta_on_their_side() -> None:
    left = np.mean([grow_tree(a).branches[0].points[0] for a in CASES if a.side == "left"], axis=0)
    right = np.mean([grow_tree(a).branches[0].points[0] for a in CASES if a.side == "right"], axis=0)
    assert left[0] > right[0]  # x runs to the patient's left


def test_grow_tree__stenoses_narrow_by_their_severity() -> None:
    found = 0
    for seed in range(6):
        tree = grow_tree(Anatomy(seed=seed, side="left", num_stenoses=2))
        for stenosis in tree.stenoses:
            branch = tree.branches[stenosis.branch]
            ratio = branch.radii / branch.plain_radii
            inside = slice(stenosis.first, stenosis.last + 1)
            assert ratio[inside].min() == ratio.min() < 1
            assert 1 - ratio.min() == pytest.approx(stenosis.severity, abs=0.1)
            assert (np.delete(ratio, np.r_[inside]) == 1).all()
            found += 1
    assert found >= 6


def test_grow_tree__stenoses_leave_bifurcations_alone() -> None:
    tree = grow_tree(Anatomy(seed=3, side="left", num_stenoses=3))
    for parent, daughters in tree.bifurcations():
        assert sum(d.radii[0] ** 2.8 for d in daughters) == pytest.approx(parent.radii[-1] ** 2.8, rel=1e-9)


def _farthest(tree: Tree, other: Tree) -> float:
    pairs = zip(tree.branches, other.branches, strict=True)
    return max(float(np.linalg.norm(a.points - b.points, axis=1).max()) for a, b in pairs)


def test_move__stays_within_25_mm_and_returns(anatomy: Anatomy) -> None:
    tree = grow_tree(anatomy)
    beat = [move(tree, Motion(phase=p), anatomy) for p in np.linspace(0, 1, 9)]
    distances = [_farthest(tree, moved) for moved in beat]
    assert 3 < max(distances) < 25
    assert distances[0] == pytest.approx(0, abs=1e-9)
    assert distances[-1] == pytest.approx(0, abs=1e-9)


def test_move__without_contraction_only_breath_moves() -> None:
    anatomy = CASES[0]
    tree = grow_tree(anatomy)
    moved = move(tree, Motion(phase=0.4, contraction=0.0, breath=5.0), anatomy)
    for a, b in zip(tree.branches, moved.branches, strict=True):
        np.testing.assert_allclose(b.points - a.points, np.broadcast_to((0, 0, -5.0), a.points.shape), atol=1e-9)


def test_displacement__keeps_the_apex() -> None:
    anatomy = CASES[0]
    matrix, shift = displacement(Motion(phase=0.38), anatomy)
    apex = anatomy.heart_length * HEART_BASIS[0]
    np.testing.assert_allclose(apex @ matrix.T + shift, apex, atol=1e-9)


def test_squeeze__is_smooth_and_within_bounds() -> None:
    values = np.array([squeeze(p) for p in np.linspace(0, 2, 401)])
    assert values.min() >= 0
    assert values.max() == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(values)).max() < 0.05
