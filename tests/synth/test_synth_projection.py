"""Projection and rasterising, against closed forms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vasomim.synth.projection import Tubes, bounds_of, project_tubes, rasterise, set_up
from vasomim.synth.scene import Bolus, View
from vasomim.synth.shadows import cast, concentration
from vasomim.synth.tree import Branch, Tree

SIZE = 96
CORNERS = np.array([(-50.0, 0.0, -50.0), (50.0, 0.0, 50.0)])


def straight(start: tuple[float, float], end: tuple[float, float], radius: float) -> Tubes:
    points = np.linspace(start, end, 40)
    return Tubes(points, np.full(40, radius), np.ones(40), np.array([0, 40]))


def frontal(lao: float = 0.0, cranial: float = 0.0):
    return set_up(View(lao=lao, cranial=cranial, fill=1.0, fields=(96.0, 96.0)), SIZE, CORNERS)


def test_set_up__frontal_view_shows_the_patients_left_on_the_right_and_the_head_up() -> None:
    flat, _ = frontal().pixels(np.array([(20.0, 0, 0), (0, 0, 20.0), (0, 0, 0)]))
    assert flat[0, 0] > flat[2, 0]
    assert flat[1, 1] < flat[2, 1]
    np.testing.assert_allclose(flat[2], (SIZE - 1) / 2, atol=0.5)


def test_set_up__lao_moves_what_is_behind_the_heart_to_the_right() -> None:
    behind = np.array([(0.0, 60.0, 0.0)])
    assert frontal(lao=40).pixels(behind)[0][0, 0] > frontal().pixels(behind)[0][0, 0] + 10
    assert frontal(lao=-40).pixels(behind)[0][0, 0] < frontal().pixels(behind)[0][0, 0] - 10


def test_set_up__axes_are_orthonormal() -> None:
    camera = set_up(View(lao=35, cranial=-20, roll=7), SIZE, CORNERS)
    axes = np.stack([camera.right, camera.down, camera.beam])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)


def test_plane__what_is_nearer_to_the_tube_is_larger() -> None:
    _, scale = frontal().plane(np.array([(0.0, 60, 0), (0, 0, 0), (0, -60, 0)]))
    assert scale[0] > scale[1] == 1 > scale[2]  # the tube stands behind the patient


def test_set_up__tree_fills_the_share_asked_for() -> None:
    points = np.random.default_rng(0).uniform(-50, 50, (2000, 3))
    camera = set_up(View(lao=0, cranial=0, fill=0.5, fields=(10.0, 900.0)), SIZE, points)
    flat, _ = camera.pixels(points)
    extent = np.percentile(flat, 97, axis=0) - np.percentile(flat, 3, axis=0)
    assert extent.max() == pytest.approx(0.5 * SIZE, rel=1e-6)


@pytest.mark.parametrize("radius", [1.0, 2.5, 6.0])
@pytest.mark.parametrize("end", [(80.0, 20.0), (80.0, 75.0), (20.3, 80.0)])
def test_rasterise__meets_the_chord_of_a_cylinder(radius: float, end: tuple[float, float]) -> None:
    start = (20.0, 20.0)
    (layer,) = rasterise(straight(start, end, radius), SIZE)
    image = np.zeros((SIZE, SIZE))
    image[layer.window()] = layer.values
    y, x = np.mgrid[:SIZE, :SIZE]
    along = np.subtract(end, start) / np.linalg.norm(np.subtract(end, start))
    position = (x - start[0]) * along[0] + (y - start[1]) * along[1]
    aside = (x - start[0]) * along[1] - (y - start[1]) * along[0]
    middle = (position > 5) & (position < np.linalg.norm(np.subtract(end, start)) - 5)
    exact = 2 * np.sqrt(np.maximum(radius**2 - aside**2, 0))
    # Discs in place of a cylinder: off by little, and most where the chord rises steeply.
    assert np.abs(image - exact)[middle & (np.abs(aside) < 0.85 * radius)].max() < 0.12 * radius
    assert image[middle & (np.abs(aside) > radius)].max(initial=0) == 0


def test_rasterise__thin_tubes_keep_their_amount_of_contrast() -> None:
    amounts = []
    for radius in (0.2, 0.4, 0.7):
        (layer,) = rasterise(straight((10.3, 20.4), (80.1, 55.7), radius), SIZE)
        amounts.append(layer.values.sum() / radius**2)
    length = np.hypot(80.1 - 10.3, 55.7 - 20.4)
    np.testing.assert_allclose(amounts, np.pi * length, rtol=0.15)


def test_rasterise__crops_to_the_frame() -> None:
    inside, outside = straight((-30, 40), (130, 40), 3), straight((-30, -40), (130, -40), 3)
    both = Tubes(np.concatenate([inside.points, outside.points]), np.full(80, 3.0), np.ones(80), np.array([0, 40, 80]))
    first, second = rasterise(both, SIZE)
    assert first.values.shape[1] == SIZE
    assert second.values.size == 0


def test_rasterise__several_tubes_equal_each_alone() -> None:
    one, two = straight((10, 10), (60, 70), 2), straight((70, 10), (20, 60), 4)
    both = Tubes(
        np.concatenate([one.points, two.points]), np.r_[one.radii, two.radii], np.ones(80), np.array([0, 40, 80])
    )
    for together, alone in zip(rasterise(both, SIZE), (one, two), strict=True):
        np.testing.assert_array_equal(together.values, rasterise(alone, SIZE)[0].values)


def test_resampled__keeps_ends_and_spacing() -> None:
    tubes = straight((10, 10), (60, 70), 2).resampled(0.7)
    np.testing.assert_allclose(tubes.points[[0, -1]], [(10, 10), (60, 70)])
    assert np.linalg.norm(np.diff(tubes.points, axis=0), axis=1).max() <= 0.7 + 1e-9


def test_project_tubes__a_tilted_vessel_is_thicker_by_the_sine() -> None:
    camera = frontal()
    for degrees in (90.0, 60.0, 45.0):
        angle = np.deg2rad(degrees)
        line = np.linspace(-1, 1, 21)[:, None] * np.array([np.sin(angle), np.cos(angle), 0.0])
        tubes = project_tubes(camera, line, np.ones(21), np.ones(21), bounds_of([line]))
        assert tubes.gain[10] * np.sin(angle) == pytest.approx(camera.millimetres, rel=1e-6)


def vessel(
    radius: float, start: tuple[float, float, float], end: tuple[float, float, float], number: int = 0
) -> Branch:
    points = np.linspace(start, end, 60)
    distance = np.linspace(0, float(np.linalg.norm(np.subtract(end, start))), 60)
    return Branch(points, np.full(60, radius), distance, -1, number, np.full(60, radius))


def shadow_of(tree: Tree, threshold: float = 0.2):
    return cast(tree, frontal(), Bolus(), threshold, 1.0, np.ones((SIZE, SIZE), bool))


@pytest.mark.parametrize("radius", [2.0, 4.0, 7.0])
def test_cast__radii_agree_with_the_distance_transform(radius: float) -> None:
    shadow = shadow_of(Tree((vessel(radius, (-35, 0, -20), (35, 0, 25)),)))
    depth = cv2.distanceTransform(shadow.mask.astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.nonzero(shadow.centerline)
    middle = (x > 25) & (x < 70)
    np.testing.assert_allclose(depth[y, x][middle], shadow.radii[y, x][middle], atol=1.0)
    assert shadow.radii[y, x][middle] == pytest.approx(radius, rel=0.02)


def test_cast__crossing_vessels_add_up() -> None:
    one, two = vessel(3, (-35, 20, 0), (35, 20, 0), 0), vessel(2, (0, -20, -35), (0, -20, 35), 1)
    both, first, second = (shadow_of(Tree(t)) for t in ((one, two), (one,), (_alone(two),)))
    np.testing.assert_allclose(both.thickness, first.thickness + second.thickness, atol=1e-4)
    np.testing.assert_array_equal(both.mask, first.mask | second.mask)


def _alone(branch: Branch) -> Branch:
    return Branch(branch.points, branch.radii, branch.distance, -1, 0, branch.plain_radii)


def test_concentration__front_then_clear_blood() -> None:
    distance = np.linspace(0, 200, 50)
    early = concentration(Bolus(time=0.5, duration=1.0, speed=200), distance)
    late = concentration(Bolus(time=1.6, duration=1.0, speed=200), distance)
    assert (np.diff(early) <= 1e-12).all()
    assert (np.diff(late) >= -1e-12).all()
    assert early[0] == 1
    assert late[-1] == 1
    assert concentration(Bolus(time=-0.2), distance).max() == 0
