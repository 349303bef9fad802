"""What `vasomim evaluate --size` shows to a network made for that size, and what it remarks on the way."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from evaluate_tools import Darkness
from scipy import ndimage

from vasomim.commands.evaluate import model_maps, note_doubt, noting
from vasomim.engine.evaluation_source import LabelledFrame
from vasomim.inference.predictor import Predictor
from vasomim.ops.resize import resize_area, resize_mask
from vasomim.types import BoolImage, FloatImage, Record

SIZE = 48


@pytest.fixture
def darkness() -> Darkness:
    return Darkness()


@pytest.fixture
def predictor(darkness: Darkness) -> Predictor:
    return Predictor(darkness, {"inference": {"mode": "resize", "size": SIZE}}, "cpu", "fp32")


def scene(seed: int, height: int = 96, width: int = 96) -> tuple[FloatImage, BoolImage]:
    """A frame whose vessels are dark, and its label."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random((height, width)), 4)
    vessel = smooth > np.quantile(smooth, 0.9)
    image = np.where(vessel, 0.25, 0.7) + rng.normal(0, 0.02, vessel.shape)
    return image.clip(0, 1).astype(np.float32), vessel


def resized(image: FloatImage, mask: BoolImage, name: str = "a") -> LabelledFrame:
    return LabelledFrame(Record(name, None), resize_area(image, SIZE), resize_mask(mask, SIZE), image)  # type: ignore[arg-type]


def barred() -> tuple[FloatImage, BoolImage]:
    """A picture between black bars, square as a whole."""
    image, vessel = scene(1)
    image[:, :30] = image[:, -20:] = 0
    return image, vessel


def lost_row() -> tuple[FloatImage, BoolImage]:
    """Its first rows hold nothing but a pattern that averaging takes away."""
    image, vessel = scene(2)
    image[:8] = np.indices((8, 96)).sum(0) % 2
    return image, vessel


@pytest.mark.parametrize("make", [barred, lambda: scene(1, 60, 96), lost_row], ids=["bars", "oblong", "pattern"])
def test_model_maps__stretches_no_frame_that_prediction_does_not(
    predictor: Predictor, darkness: Darkness, make: Callable[[], tuple[FloatImage, BoolImage]]
) -> None:
    image, vessel = make()
    native = predictor.predict(image).probability
    predicted = darkness.seen.copy()
    darkness.seen.clear()
    found = model_maps(predictor, SIZE)([resized(image, vessel)])[0]
    assert darkness.seen == predicted
    np.testing.assert_array_equal(found, resize_area(native, SIZE))


def test_model_maps__a_square_picture_goes_through_as_it_is(predictor: Predictor) -> None:
    frame, other = resized(*scene(3)), resized(*barred())
    found = model_maps(predictor, SIZE)([other, frame])
    bare = predictor.probability_at(frame.image[None, None])[0]
    np.testing.assert_allclose(found[1], bare, atol=1e-6)
    assert [value.shape for value in found] == [(SIZE, SIZE)] * 2


def test_noting__doubts_of_native_frames_but_constant_ones(predictor: Predictor) -> None:
    image, vessel = scene(4)
    constant = np.full_like(image, 0.2)
    frames = [resized(image, vessel, "good"), resized(1 - image, vessel, "bad"), resized(constant, vessel, "empty")]
    doubts: dict[str, str] = {}
    maps = model_maps(predictor, 40)
    found = noting(maps, partial(note_doubt, doubts=doubts))(frames)
    assert list(doubts) == ["bad"]
    assert doubts["bad"] == predictor.predict(1 - image).meta["doubt"]
    for value, expected in zip(found, maps(frames), strict=True):
        np.testing.assert_array_equal(value, expected)
