"""Polarity of a frame and the place of a mask, on angiograms whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from vasomim.ops.ridges import MAX_SHIFT, SIDE, best_shift, polarity, ridges
from vasomim.synth.angiogram import Angiogram, generate


@pytest.fixture(scope="module")
def angiograms() -> list[Angiogram]:
    return [generate(7, 256, index=index) for index in range(6)]


def unit(angiogram: Angiogram) -> np.ndarray:
    return angiogram.image.astype(np.float32) / 255


def test_polarity__vessels_dark(angiograms):
    assert min(polarity(ridges(unit(item))) for item in angiograms) > 0.05


def test_polarity__changes_its_sign_with_the_frame(angiograms):
    for item in angiograms:
        assert polarity(ridges(1 - unit(item))) == pytest.approx(-polarity(ridges(unit(item))), abs=1e-3)


def test_polarity__does_not_depend_on_contrast(angiograms):
    frame = unit(angiograms[0])
    assert polarity(ridges(0.5 * frame + 0.3)) == pytest.approx(polarity(ridges(frame)), abs=0.1)


def test_polarity__constant_frame_has_none():
    assert polarity(ridges(np.full((100, 100), 0.4, np.float32))) == pytest.approx(0, abs=1e-4)


def test_best_shift__zero_where_the_mask_belongs(angiograms):
    for item in angiograms:
        shift = best_shift(item.mask, ridges(unit(item)))
        assert max(abs(shift.down), abs(shift.right)) < 0.01
        assert shift.here > 0.24


@pytest.mark.parametrize(("down", "right"), [(12, 0), (0, -12), (-14, 10), (26, 26)])
def test_best_shift__leads_the_mask_back(angiograms, down, right):
    for item in angiograms:
        shift = best_shift(np.roll(item.mask, (-down, -right), (0, 1)), ridges(unit(item)))
        assert shift.down * 256 == pytest.approx(down, abs=2)
        assert shift.right * 256 == pytest.approx(right, abs=2)
        assert shift.there > shift.here + 0.1


def test_best_shift__reaches_an_eighth_and_no_farther():
    frame = np.full((SIDE, SIDE), 0.8, np.float32)
    frame[40:150, 90:94] = 0.2
    mask = np.roll(frame < 0.5, MAX_SHIFT, 1)
    assert round(best_shift(mask, ridges(frame)).right * SIDE) == -MAX_SHIFT


@pytest.mark.parametrize("fill", [False, True])
def test_best_shift__nothing_to_place(angiograms, fill):
    shift = best_shift(np.full((256, 256), fill), ridges(unit(angiograms[0])))
    assert shift == (0, 0, 0, 0)


def test_best_shift__the_mask_of_another_frame_fits_nowhere(angiograms):
    there = [
        best_shift(other.mask, ridges(unit(item))).there
        for item, other in zip(angiograms, angiograms[1:] + angiograms[:1], strict=True)
    ]
    own = [best_shift(item.mask, ridges(unit(item))).here for item in angiograms]
    assert max(there) < min(own)
