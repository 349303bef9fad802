"""Masks of several levels: a warning where drawn vessels do not count, and none for masks as they usually are."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_tools import grey, save

from vasomim.cli import main
from vasomim.data.frames import mask_values
from vasomim.data.mask_levels import lost_share
from vasomim.data.open import open_labelled
from vasomim.synth import generate

Change = Callable[[np.ndarray], np.ndarray]
VESSELS = generate(1, size=256).mask.astype(np.uint8)


def classes(first: int, second: int) -> np.ndarray:
    """The vessels of the left half as one class, of the right half as another."""
    drawn = VESSELS * np.uint8(first)
    drawn[:, 128:] = VESSELS[:, 128:] * np.uint8(second)
    return drawn


def with_stray(value: int) -> np.ndarray:
    drawn = VESSELS * np.uint8(value)
    drawn[3, 3] = 255
    return drawn


def coded(suffix: str, *options: int) -> Change:
    def change(mask: np.ndarray) -> np.ndarray:
        return mask_values(cv2.imdecode(cv2.imencode(suffix, mask, list(options))[1], cv2.IMREAD_UNCHANGED))

    return change


def jpeg(quality: int) -> Change:
    return coded(".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)


def resized(side: int, how: int) -> Change:
    return lambda mask: cv2.resize(mask, (side, side), interpolation=how)


@pytest.mark.parametrize(
    "mask",
    [
        classes(1, 2),
        classes(2, 1),
        classes(85, 255),
        classes(127, 255),
        classes(1, 2).astype(np.uint16) * np.uint16(257),
        classes(1, 2).astype(np.float32) / 2,
        with_stray(100),
        jpeg(90)(with_stray(100)),
        VESSELS * (np.arange(256) // 10).astype(np.uint8),
    ],
    ids=["012", "021", "85", "127", "16 bit", "float", "stray", "stray in jpeg", "25 classes"],
)
def test_lost_share__tells_vessels_that_do_not_count(mask: np.ndarray) -> None:
    drawn = (mask > mask.max() / 8).sum() if mask.max() > 30 else (mask > 0).sum()
    expected = 1 - (mask > mask.max() / 2).sum() / drawn
    assert lost_share(mask) == pytest.approx(expected, abs=0.25)  # pixels beside those that count are taken for edges
    assert lost_share(mask) > 0.05


@pytest.mark.parametrize("value", [1, 128, 255])
@pytest.mark.parametrize(
    "change",
    [
        lambda mask: mask,
        lambda mask: mask * np.uint8(0),
        lambda mask: np.full_like(mask, mask.max()),
        lambda mask: mask.astype(np.float32) / np.float32(255),
        lambda mask: np.maximum(mask, mask.max() // 20),
    ],
    ids=["plain", "empty", "full", "float", "grey background"],
)
def test_lost_share__usual_masks_lose_nothing(value: int, change: Change) -> None:
    assert lost_share(change(VESSELS * np.uint8(value))) == 0


@pytest.mark.parametrize("value", [128, 255])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lost_share__edges_and_noise_of_files_are_none(value: int, seed: int) -> None:
    mask = generate(seed, size=512).mask.astype(np.uint8) * np.uint8(value)
    changes = {f"jpeg {quality}": jpeg(quality) for quality in (100, 98, 95, 92, 90, 85, 75, 50, 30)}
    changes |= {f"webp {quality}": coded(".webp", cv2.IMWRITE_WEBP_QUALITY, quality) for quality in (100, 80)}
    changes |= {f"{side} {how}": resized(side, how) for side in (224, 256, 352, 800, 1024) for how in (1, 2, 3, 4)}
    changes |= {"blurred": lambda mask: cv2.GaussianBlur(mask, (0, 0), 1.5)}
    assert {name: lost_share(change(mask)) for name, change in changes.items()} == dict.fromkeys(changes, 0)


def test_lost_share__a_few_strays_are_none() -> None:
    mask = VESSELS * np.uint8(255)
    mask[:2, :20] = 100
    assert lost_share(mask) == 0


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A labelled set whose masks hold 0, 1 and 2."""
    for name in ("1", "2"):
        save(tmp_path / "set" / "images" / f"{name}.png", grey(int(name), 256, 256))
        save(tmp_path / "set" / "masks" / f"{name}.png", classes(1, 2))
    return tmp_path / "set"


def test_masked_folder_dataset__warns_once_of_lost_levels(several: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = open_labelled([several])
    masks = [dataset[index % 2].mask for index in range(4)]
    (warning,) = caplog.messages
    assert warning.startswith(f"{several / 'masks' / '1.png'} holds the levels 0, 1, 2; what exceeds 1, half of the")
    assert "write masks of 0 and 255, or of 0 and 1" in warning
    np.testing.assert_array_equal(masks[0], classes(1, 2) == 2)  # the rule stays
    open_labelled([several])[0]
    assert len(caplog.messages) == 2, "another set, opened anew, is told of again"


def test_masked_folder_dataset__many_lost_levels_are_one_short_line(
    several: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(several / "masks" / "1.png", VESSELS * (np.arange(256) // 10).astype(np.uint8))
    open_labelled([several])[0]
    assert re.search(r"1\.png holds the levels 0, [\d, ]+ \(\d+ in all\); what exceeds ", caplog.text)
    assert len(caplog.messages[0]) < 400


@pytest.mark.parametrize("high", [1, 255])
def test_masked_folder_dataset__says_nothing_of_usual_masks(
    several: Path, high: int, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1", "2"):
        save(several / "masks" / f"{name}.png", VESSELS * np.uint8(high))
    dataset = open_labelled([several])
    assert dataset[0].mask.any()
    assert dataset[1].mask.any()
    assert caplog.messages == []


def test_evaluate__warns_of_lost_levels(
    several: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1", "2"):
        save(tmp_path / "predicted" / f"{name}.png", VESSELS * np.uint8(255))
    with caplog.at_level(logging.WARNING):
        assert main(["evaluate", str(several), "--predictions", str(tmp_path / "predicted"), "--json"]) == 0
    assert caplog.text.count("holds the levels 0, 1, 2") == 1
    assert "levels" not in capsys.readouterr().out
