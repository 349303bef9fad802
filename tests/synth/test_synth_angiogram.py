"""Whole synthetic frames: what must hold whatever the seed."""

from __future__ import annotations

import itertools
import subprocess
import sys
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vasomim.synth.angiogram import Angiogram, camera_at_rest, generate, render, scene_of, threshold_of, widening
from vasomim.synth.collimator import opening
from vasomim.synth.projection import project_tubes, rasterise
from vasomim.synth.scene import Field, Scene
from vasomim.synth.shadows import _vessels, concentration
from vasomim.synth.tree import grow_tree, move

SEEDS = range(8)


@pytest.fixture(scope="module")
def frames() -> list[Angiogram]:
    return [generate(5, 128, index=k, stenoses=True) for k in SEEDS]


def quiet(scene: Scene, **changes: object) -> Scene:
    """The scene without quantum noise and with parts replaced."""
    return replace(scene, beam=replace(scene.beam, quanta=float("inf")), **changes)


def test_generate__is_reached_through_the_package() -> None:
    from vasomim import synth

    assert synth.generate is generate
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = synth.nothing_of_the_kind


def test_generate__gives_what_it_promises(frames: list[Angiogram]) -> None:
    for frame in frames:
        assert frame.image.shape == frame.mask.shape == frame.radii.shape == (128, 128)
        assert frame.image.dtype == np.uint8
        assert frame.mask.dtype == frame.centerline.dtype == np.bool_
        assert frame.radii.dtype == frame.thickness.dtype == np.float32
        assert frame.image.std() > 8


def test_generate__depends_on_seed_and_index_alone() -> None:
    later = [generate(3, 64, index=k).image for k in (2, 0, 1)]
    first = [generate(3, 64, index=k).image for k in (0, 1, 2)]
    for a, b in zip(later, (first[2], first[0], first[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], generate(4, 64).image)


def test_generate__is_the_same_in_another_process_with_threads() -> None:
    code = "import cv2, zlib; from vasomim.synth import generate; cv2.setNumThreads(4)"
    code += "; print(zlib.crc32(generate(3, 96).image))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == zlib.crc32(generate(3, 96).image)


def test_generate__mask_is_the_union_of_vessels_thicker_than_the_threshold(frames: list[Angiogram]) -> None:
    for frame in frames[:4]:
        scene = frame.scene
        tree = grow_tree(scene.anatomy)
        camera = camera_at_rest(scene, tree, 128)
        vessels = _vessels(move(tree, scene.motion, scene.anatomy))
        filling = concentration(scene.bolus, vessels.distance)
        widen = widening(128)
        union = np.zeros((128, 128), bool)
        for k in range(len(vessels.bounds) - 1):
            own = slice(vessels.bounds[k], vessels.bounds[k + 1])
            bounds = np.array([0, own.stop - own.start])
            tube = project_tubes(camera, vessels.points[own], widen * vessels.radii[own], filling[own], bounds)
            (layer,) = rasterise(tube, 128)
            union[layer.window()] |= layer.values > threshold_of(scene, 128)
        differing = (union & frame.field) != frame.mask
        assert differing.sum() <= 2  # sums in another order


def test_generate__centerline_lies_inside_the_mask(frames: list[Angiogram]) -> None:
    for frame in frames:
        assert frame.centerline.any()
        assert not (frame.centerline & ~frame.mask).any()
        np.testing.assert_array_equal(frame.radii > 0, frame.centerline)


def test_generate__mask_is_where_contrast_is(frames: list[Angiogram]) -> None:
    for frame in frames:
        assert frame.thickness[frame.mask].min() > 0
        assert frame.thickness[frame.mask].mean() > 5 * frame.thickness[~frame.mask].mean()


def test_generate__vessels_are_darker_than_what_is_around_them(frames: list[Angiogram]) -> None:
    for frame in frames:
        thick = frame.centerline & (frame.radii > 1.5)
        around = cv2.dilate(frame.mask.astype(np.uint8), np.ones((9, 9))) > cv2.dilate(
            frame.mask.astype(np.uint8), np.ones((5, 5))
        )
        assert frame.image[thick].mean() < 0.92 * frame.image[around & frame.field].mean()


def test_generate__vessel_share_is_that_of_real_frames() -> None:
    shares = [generate(9, 256, index=k).mask.mean() for k in range(12)]
    assert 0.03 < np.median(shares) < 0.065
    assert min(shares) > 0.008
    assert max(shares) < 0.12


def test_generate__small_frames_show_vessels() -> None:
    for k in range(8):
        frame = generate(2, 64, index=k)
        widths = 2 * frame.radii[frame.centerline]
        assert 0.01 < frame.mask.mean() < 0.12
        assert 1.0 <= np.percentile(widths, 90) <= 6.5


def test_generate__stenosis_box_holds_the_local_minimum(frames: list[Angiogram]) -> None:
    boxes = 0
    for frame in frames:
        tree = grow_tree(frame.scene.anatomy)
        camera = camera_at_rest(frame.scene, tree, 128)
        moved = move(tree, frame.scene.motion, frame.scene.anatomy)
        tightest = []
        for stenosis in tree.stenoses:
            branch = moved.branches[stenosis.branch]
            at = int(np.argmin(branch.radii / branch.plain_radii))
            tightest.append(camera.pixels(branch.points[at])[0])
        for box in frame.boxes:
            assert any(box.x0 <= x < box.x1 and box.y0 <= y < box.y1 for x, y in tightest)
            assert 0 <= box.x0 < box.x1 <= 128
            assert 0 <= box.y0 < box.y1 <= 128
            boxes += 1
    assert boxes >= len(frames)


def test_generate__without_stenoses_there_is_no_box() -> None:
    plain, narrowed = generate(5, 96), generate(5, 96, stenoses=True)
    assert plain.boxes == ()
    assert replace(narrowed.scene, anatomy=replace(narrowed.scene.anatomy, num_stenoses=0)) == plain.scene


def test_generate__16_bits_have_more_levels_and_the_same_picture() -> None:
    eight, sixteen = generate(1, 128), generate(1, 128, bits=16)
    assert sixteen.image.dtype == np.uint16
    assert len(np.unique(sixteen.image)) > 4 * len(np.unique(eight.image))
    assert np.abs(sixteen.image / 65535 - eight.image / 255).max() <= 0.5 / 255 + 1e-4


@pytest.mark.parametrize("bits", [8, 16])
def test_generate__polarities_are_dual(bits: int) -> None:
    dark, bright = (generate(1, 96, bits=bits, polarity=p) for p in ("dark", "bright"))
    np.testing.assert_array_equal(bright.image, 2**bits - 1 - dark.image)
    np.testing.assert_array_equal(bright.mask, dark.mask)


def test_render__more_contrast_is_never_brighter() -> None:
    scene = quiet(scene_of(2, 0))
    scene = replace(scene, beam=replace(scene.beam, sharpen=0.0))
    images = [
        render(replace(scene, bolus=replace(scene.bolus, absorption=a)), 96, bits=16) for a in (0.0, 0.05, 0.1, 0.2)
    ]
    for less, more in itertools.pairwise(images):
        assert (more.image.astype(int) <= less.image.astype(int)).all()
        assert more.image[more.mask].mean() < less.image[more.mask].mean()
        np.testing.assert_array_equal(more.mask, less.mask)


def test_render__follows_beer_and_lambert() -> None:
    scene = quiet(scene_of(2, 0), field=Field(shape="full"))
    plain = replace(scene.beam, sharpen=0.0, scatter=0.0, equalise=0.0, blur_px=0.0, gamma=1.0, grey=0.3)
    scene = replace(scene, beam=plain, devices=replace(scene.devices, catheter_radius=0.0, wire=False, electrode=False))
    without = render(replace(scene, bolus=replace(scene.bolus, absorption=0.0)), 512, bits=16)
    with_contrast = render(replace(scene, bolus=replace(scene.bolus, absorption=0.1)), 512, bits=16)
    seen = (without.image < 60000) & (with_contrast.image > 2000)
    ratio = np.log(without.image[seen] / with_contrast.image[seen])
    np.testing.assert_allclose(ratio, 0.1 * with_contrast.thickness[seen], atol=2e-3)


def test_render__noise_falls_with_quanta() -> None:
    scene = scene_of(2, 0)
    still = render(quiet(scene), 96, bits=16).image.astype(float)
    spread = []
    for quanta in (100.0, 400.0, 1600.0):
        noisy = render(replace(scene, beam=replace(scene.beam, quanta=quanta)), 96, bits=16)
        spread.append((noisy.image - still).std())
    assert spread[0] / spread[1] == pytest.approx(2, rel=0.1)
    assert spread[1] / spread[2] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("shape", ["circle", "rectangle"])
def test_render__is_black_outside_the_field(shape: str) -> None:
    field = Field(shape=shape, margins=(0.1, 0.12, 0.1, 0.15), edge_px=2.0, leak=0.01)
    frame = render(replace(scene_of(4, 1), field=field), 128)
    outside = cv2.erode((~frame.field).astype(np.uint8), np.ones((7, 7))) > 0
    assert outside.any()
    assert frame.image[outside].max() < (3 if shape == "circle" else 45)
    assert frame.image[outside].mean() < 0.25 * frame.image[frame.field].mean()
    assert not frame.mask[~frame.field].any()
    assert not frame.centerline[~frame.field].any()


def test_opening__a_full_field_is_open() -> None:
    transmission, inside = opening(Field(), 64)
    assert inside.all()
    assert (transmission == 1).all()


def test_render__devices_are_not_in_the_mask() -> None:
    scene = scene_of(6, 0)
    bare = replace(scene.devices, catheter_radius=0.0, wire=False, electrode=False)
    equipped = replace(scene.devices, catheter_radius=1.0, wire=True, electrode=True, femoral=True)
    one, two = (render(replace(scene, devices=d), 96) for d in (bare, equipped))
    np.testing.assert_array_equal(one.mask, two.mask)
    assert two.image.mean() < one.image.mean()


def test_render__the_same_scene_agrees_across_sizes() -> None:
    scene = scene_of(0, 3)
    large, middle = render(scene, 512), render(scene, 256)
    shrunk = cv2.resize(large.mask.astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA) > 0.5
    assert 2 * (shrunk & middle.mask).sum() / (shrunk.sum() + middle.mask.sum()) > 0.75


def test_render__views_differ_but_the_tree_is_the_same() -> None:
    scene = scene_of(0, 0)
    turned = replace(scene, view=replace(scene.view, lao=scene.view.lao + 60))
    assert not np.array_equal(render(scene, 64).mask, render(turned, 64).mask)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"size": 16}, "at least 32"), ({"seed": -1}, "negative"), ({"index": -2}, "negative")],
)
def test_generate__says_what_is_wrong(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(**{"seed": 0, **arguments})


def test_generate__many_small_frames_never_fail() -> None:
    empty = 0
    for index in range(40):
        frame = generate(77, 48, index=index, stenoses=index % 2 == 0)
        assert np.isfinite(frame.thickness).all()
        empty += not frame.mask.any()
    assert empty == 0
