from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vasomim.data.augment import JointCrop, WholeFrame
from vasomim.data.poses import Window, native_window, resized_window, richest
from vasomim.types import Record, Sample

RECORD = Record("a", Path("a.png"))


def blobs(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """Smooth random shapes, so that interpolation moves borders by less than a pixel."""
    noise = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 8) > 0


def painted(height: int = 120, width: int = 160) -> Sample:
    """A frame that shows its own mask."""
    mask = blobs(height, width)
    return Sample(RECORD, mask.astype(np.float32), mask=mask, vessels=mask)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


CROPS = {
    "plain": JointCrop(64),
    "flips": JointCrop(64, horizontal_flip=1, vertical_flip=1),
    "rotation": JointCrop(64, rotation=45, horizontal_flip=0.5, vertical_flip=0.5),
    "growing": JointCrop(96, scale=(0.05, 0.2), rotation=30),
    "shrinking": JointCrop(24, scale=(0.9, 1), rotation=10),
    "native": JointCrop(64, native=True, rotation=20, scale=(0.5, 1)),
    "native beyond the frame": JointCrop(200, native=True, scale=(1, 1), ratio=(1, 1)),
    "aware": JointCrop(48, vessel_aware=5),
}


@pytest.mark.parametrize("name", CROPS)
def test_joint_crop__frame_vessels_and_mask_stay_together(name: str) -> None:
    for seed in range(12):
        item = CROPS[name](painted(), rng(seed))
        shown = item["image"][0] > 0.5
        for part in ("mask", "vessels"):
            agree = (shown == (item[part] > 0.5)).float().mean()
            assert agree > 0.96, (seed, part, agree)


@pytest.mark.parametrize("name", CROPS)
def test_joint_crop__shapes_types_and_ranges(name: str) -> None:
    crop = CROPS[name]
    image = rng().random((70, 51), np.float32)
    item = crop(Sample(RECORD, image, mask=image > 0.9, vessels=image > 0.8), rng())
    assert item.keys() == {"image", "mask", "vessels"}
    assert item["image"].shape == (1, crop.size, crop.size)
    assert item["mask"].shape == item["vessels"].shape == (crop.size, crop.size)
    assert {tensor.dtype for tensor in item.values()} == {torch.float32}
    assert 0 <= item["image"].min() <= item["image"].max() <= 1
    assert set(item["mask"].unique().tolist()) | set(item["vessels"].unique().tolist()) <= {0.0, 1.0}
    assert crop(Sample(RECORD, image), rng()).keys() == {"image"}


@pytest.mark.parametrize("name", CROPS)
def test_joint_crop__is_a_function_of_the_generator(name: str) -> None:
    sample = painted()
    before = sample.image.copy()
    first, second, other = (CROPS[name](sample, rng(seed))["image"] for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other) or name == "native beyond the frame"
    np.testing.assert_array_equal(sample.image, before)


def test_joint_crop__flips_are_exact() -> None:
    plain = JointCrop(40, horizontal_flip=0)(painted(), rng(5))
    for flips, axes in (((1, 0), [-1]), ((0, 1), [-2]), ((1, 1), [-2, -1])):
        turned = JointCrop(40, horizontal_flip=flips[0], vertical_flip=flips[1])(painted(), rng(5))
        for key, value in plain.items():
            assert torch.equal(turned[key], value.flip(axes)), key


@pytest.mark.parametrize("quarter", [1, -1])
def test_joint_crop__a_quarter_turn_is_exact(quarter: int) -> None:
    sample = Sample(RECORD, rng().random((32, 32), np.float32), mask=blobs(32, 32), vessels=blobs(32, 32))
    crop = JointCrop(32, scale=(1, 1), ratio=(1, 1), horizontal_flip=0, rotation=90)

    class Fixed(np.random.Generator):
        def random(self, *_: object, **__: object) -> np.ndarray:  # flips off, the largest turn
            return np.array([0.9, 0.9, (quarter + 1) / 2])

    item = crop(sample, Fixed(np.random.PCG64(0)))
    for key, array in (("image", sample.image), ("mask", sample.mask), ("vessels", sample.vessels)):
        assert array is not None
        expected = np.rot90(array.astype(np.float32), quarter)
        np.testing.assert_allclose(item[key].numpy().reshape(32, 32), expected, atol=2e-3, err_msg=key)


def test_joint_crop__rotation_near_zero_is_no_rotation() -> None:
    sample = painted()
    still = JointCrop(64, horizontal_flip=0.5)(sample, rng(1))
    turned = JointCrop(64, horizontal_flip=0.5, rotation=1e-7)(sample, rng(1))
    assert (still["image"] - turned["image"]).abs().mean() < 0.02
    assert (still["mask"] != turned["mask"]).float().mean() < 0.02


def test_joint_crop__whole_frame_is_the_center_resize() -> None:
    sample = painted(64, 64)
    crop = JointCrop(32, scale=(1, 1), ratio=(1, 1), horizontal_flip=0)
    for key, value in WholeFrame(32)(sample).items():
        assert torch.equal(crop(sample, rng())[key], value), key


def test_joint_crop__half_covered_is_not_vessel() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, ::2] = True
    item = JointCrop(4, scale=(1, 1), ratio=(1, 1))(Sample(RECORD, np.zeros((8, 8), np.float32), mask=mask), rng())
    assert not item["mask"].any()


def test_joint_crop__intensity_touches_the_frame_alone() -> None:
    plain, varied = (JointCrop(40, intensity=strength)(painted(), rng(2)) for strength in (0, 0.5))
    assert torch.equal(plain["mask"], varied["mask"])
    assert torch.equal(plain["vessels"], varied["vessels"])
    assert not torch.equal(plain["image"], varied["image"])


def test_joint_crop__writing_touches_the_frame_alone_and_moves_nothing() -> None:
    plain, written = (JointCrop(128, writing=probability)(painted(), rng(2)) for probability in (0.0, 1.0))
    assert torch.equal(plain["mask"], written["mask"])
    assert torch.equal(plain["vessels"], written["vessels"])
    changed = (plain["image"] != written["image"]).float().mean()
    assert 0 < changed < 0.3


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_joint_crop__constant_frame(value: float) -> None:
    flat = Sample(RECORD, np.full((50, 60), value, np.float32))
    for crop in CROPS.values():
        assert torch.allclose(crop(flat, rng())["image"], torch.tensor(value), atol=1e-6)


def test_joint_crop__one_pixel_frame() -> None:
    tiny = Sample(RECORD, np.full((1, 1), 0.25, np.float32), mask=np.ones((1, 1), bool))
    for crop in CROPS.values():
        item = crop(tiny, rng())
        assert torch.allclose(item["image"], torch.tensor(0.25))
        assert item["mask"].all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (2, 7)])
def test_joint_crop__thinnest_frames(shape: tuple[int, int]) -> None:
    sample = Sample(RECORD, np.full(shape, 0.5, np.float32), mask=np.ones(shape, bool), vessels=np.ones(shape, bool))
    for crop in CROPS.values():
        item = crop(sample, rng())
        assert item["mask"].all()
        assert item["vessels"].all()


def test_joint_crop__native_keeps_pixels() -> None:
    image = rng().random((100, 90), np.float32)
    crop = JointCrop(32, native=True, scale=(0.7, 0.7), ratio=(1, 1), horizontal_flip=0)
    item = crop(Sample(RECORD, image), rng())["image"][0].numpy()
    found = [
        (top, left)
        for top in range(69)
        for left in range(59)
        if np.array_equal(image[top : top + 32, left : left + 32], item)
    ]
    assert len(found) == 1


def test_joint_crop__native_continues_small_frames_by_reflection() -> None:
    image = rng().random((20, 40), np.float32)
    crop = JointCrop(32, native=True, scale=(1, 1), ratio=(1, 1), horizontal_flip=0)
    item = crop(Sample(RECORD, image), rng(3))["image"][0].numpy()
    padded = cv2.copyMakeBorder(image, 12, 12, 0, 0, cv2.BORDER_REFLECT_101)
    assert any(np.array_equal(padded[top : top + 32, left : left + 32], item) for top in range(13) for left in range(9))


@pytest.mark.parametrize(
    "bad", [{"size": 0}, {"vessel_aware": 0}, {"scale": (0.0, 1.0)}, {"scale": (0.2, 1.5)}, {"ratio": (2.0, 1.0)}]
)
def test_joint_crop__refuses(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be at least 1|need 0 < low"):
        JointCrop(**{"size": 32, **bad})


def test_resized_window__scale_is_uniform_and_ratio_log_uniform() -> None:
    windows = [resized_window(1000, 1000, (0.2, 0.6), (0.5, 2), rng(seed)) for seed in range(3000)]
    areas = np.array([w.height * w.width for w in windows]) / 1e6
    ratios = np.log([w.width / w.height for w in windows])
    np.testing.assert_allclose(np.quantile(areas, [0.25, 0.5, 0.75]), [0.3, 0.4, 0.5], atol=0.02)
    np.testing.assert_allclose(np.quantile(ratios, [0.25, 0.5, 0.75]), [-0.35, 0, 0.35], atol=0.04)
    assert all(w.top >= 0 and w.left >= 0 and w.top + w.height <= 1000 and w.left + w.width <= 1000 for w in windows)
    assert {w.top == 0 for w in windows} == {True, False}


@pytest.mark.parametrize(("height", "width", "expected"), [(10, 1000, (10, 13)), (1000, 10, (13, 10))])
def test_resized_window__misfits_fall_back_to_the_centre(height: int, width: int, expected: tuple[int, int]) -> None:
    window = resized_window(height, width, (1, 1), (3 / 4, 4 / 3), rng())
    assert (window.height, window.width) == expected
    assert (window.top, window.left) == ((height - expected[0]) // 2, (width - expected[1]) // 2)


def test_native_window__zoom_is_about_one() -> None:
    sides = [native_window(900, 900, 200, (0.25, 1), (1, 1), rng(seed)).height for seed in range(2000)]
    assert 141 <= min(sides) < 145
    assert 278 < max(sides) <= 283
    assert 0.97 < np.exp(np.mean(np.log(sides))) / 200 < 1.03


def test_richest__takes_the_largest_share() -> None:
    guidance = np.zeros((40, 40), bool)
    guidance[30:, 30:] = True
    windows = [Window(0, 0, 20, 20), Window(25, 25, 15, 15), Window(20, 20, 20, 20), Window(35, 35, 30, 30)]
    shares = [guidance[w.top : w.top + w.height, w.left : w.left + w.width].sum() / w.height / w.width for w in windows]
    assert richest(windows, guidance) == windows[int(np.argmax(shares))] == windows[1]
    assert richest(windows, np.zeros((40, 40), bool)) == windows[0]


def test_joint_crop__vessel_aware_crops_hold_more_vessel() -> None:
    mask = np.zeros((200, 200), bool)
    mask[140:190, 150:156] = True
    sample = Sample(RECORD, mask.astype(np.float32), vessels=mask)

    def share(candidates: int, data: Sample) -> float:
        crop = JointCrop(48, scale=(0.1, 0.2), vessel_aware=candidates)
        return float(np.mean([crop(data, rng(seed))["image"].mean() for seed in range(60)]))

    assert share(8, sample) > 2 * share(1, sample)
    # The annotated mask leads where there is one.
    misled = dataclasses.replace(sample, mask=np.roll(mask, (-120, -120), (0, 1)))
    assert share(8, misled) < share(1, sample)
    # Frames without labels have an empty mask beside labelled ones.
    assert share(8, dataclasses.replace(sample, mask=np.zeros_like(mask))) == share(8, sample)


def test_center_resize__needs_no_generator_and_keeps_thin_vessels_in_vessels() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, 30:34] = True
    sample = Sample(RECORD, np.where(mask, 0, 1).astype(np.float32), mask=mask, vessels=mask)
    first, second = WholeFrame(16)(sample), WholeFrame(16)(sample, rng())
    assert all(torch.equal(first[key], second[key]) for key in ("image", "mask", "vessels"))
    assert first["image"].shape == (1, 16, 16)


def test_center_resize__nearest_is_aligned_with_pixel_centres() -> None:
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    item = WholeFrame(3)(Sample(RECORD, mask.astype(np.float32), vessels=mask))
    expected = torch.zeros(3, 3)
    expected[1, 1] = 1
    assert torch.equal(item["vessels"], expected)
