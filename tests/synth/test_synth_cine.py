"""Cine runs: contrast comes and goes, the heart beats, noise is fresh."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from vasomim.synth.cine import Cine, generate_cine, iterate_cine, render_run
from vasomim.synth.tree import grow_tree, move


@pytest.fixture(scope="module")
def run() -> Cine:
    return generate_cine(3, 96, 30, stenoses=True)


def test_generate_cine__shapes(run: Cine) -> None:
    assert run.images.shape == run.masks.shape == run.centerlines.shape == (30, 96, 96)
    assert run.images.dtype == np.uint8
    assert len(run.boxes) == len(run.scenes) == len(run.times) == 30
    assert (np.diff(run.times) > 0).all()


def test_generate_cine__mask_rises_with_inflow_and_falls_with_outflow(run: Cine) -> None:
    areas = run.masks.mean((1, 2))
    peak = int(areas.argmax())
    assert areas[0] == 0
    assert 4 < peak < 28
    rising = areas[: peak + 1]
    assert (np.maximum.accumulate(rising) - rising).max() < 0.25 * areas.max()
    assert areas[-1] < 0.8 * areas.max()


def test_generate_cine__without_beat_inflow_only_adds() -> None:
    scenes = generate_cine(3, 64, 24).scenes
    still = tuple(replace(s, motion=replace(s.motion, contraction=0.0, breath=0.0)) for s in scenes)
    masks = [f.mask for f in render_run(still, 64, bits=8, polarity="dark")]
    arriving = [m for m, s in zip(masks, still, strict=True) if s.bolus.time < s.bolus.duration]
    assert len(arriving) > 4
    for before, after in itertools.pairwise(arriving):
        assert not (before & ~after).any()


def test_generate_cine__motion_is_bounded_and_present(run: Cine) -> None:
    anatomy = run.scenes[0].anatomy
    tree = grow_tree(anatomy)
    tips = np.array([move(tree, s.motion, anatomy).branches[0].points[0] for s in run.scenes])
    travel = np.linalg.norm(tips - tips.mean(0), axis=1)
    assert 1 < travel.max() < 30
    assert np.linalg.norm(np.diff(tips, axis=0), axis=1).max() < 8  # millimetres from frame to frame


def test_generate_cine__noise_is_fresh_and_the_camera_still(run: Cine) -> None:
    assert not np.array_equal(run.images[0], run.images[1])
    assert len({(s.view, s.field, s.anatomy) for s in run.scenes}) == 1


def test_generate_cine__is_reproducible_and_indexed() -> None:
    one, two, other = generate_cine(1, 64, 3), generate_cine(1, 64, 3), generate_cine(1, 64, 3, index=1)
    np.testing.assert_array_equal(one.images, two.images)
    assert not np.array_equal(one.images, other.images)


def test_iterate_cine__gives_the_frames_of_generate_cine() -> None:
    run = generate_cine(2, 64, 4, bits=16, polarity="bright")
    assert run.images.dtype == np.uint16
    for image, frame in zip(run.images, iterate_cine(2, 64, 4, bits=16, polarity="bright"), strict=True):
        np.testing.assert_array_equal(image, frame.image)


@pytest.mark.parametrize("arguments", [{"num_frames": 0}, {"frame_rate": 0.0}, {"size": 8}])
def test_generate_cine__says_what_is_wrong(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"num_frames|at least 32"):
        generate_cine(0, **arguments)  # type: ignore[arg-type]
