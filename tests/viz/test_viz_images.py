"""Pictures: values, colours that stay apart, wrong sizes refused."""

from __future__ import annotations

import base64
import itertools

import cv2
import numpy as np
import pytest

from vasomim.viz.images import (
    ERROR_COLORS,
    contact_sheet,
    error_map,
    fit_within,
    heat_overlay,
    mask_overlay,
    overlay,
    png_data_uri,
    to_rgb,
)

FRAME = np.full((8, 8), 0.5, np.float32)


def square() -> np.ndarray:
    mask = np.zeros((8, 8), bool)
    mask[2:7, 2:7] = True
    return mask


@pytest.mark.parametrize(
    ("image", "value"),
    [
        (np.full((2, 3), 1.0, np.float32), 255),
        (np.full((2, 3), 2.0, np.float64), 255),
        (np.full((2, 3), np.nan, np.float32), 0),
        (np.full((2, 3), 7, np.uint8), 7),
        (np.full((2, 3), 65535, np.uint16), 255),
        (np.ones((2, 3), bool), 255),
        (np.full((2, 3, 3), 9, np.uint8), 9),
    ],
)
def test_to_rgb__scales_every_type(image: np.ndarray, value: int) -> None:
    rgb = to_rgb(image)
    assert rgb.shape == (2, 3, 3)
    assert rgb.dtype == np.uint8
    assert (rgb == value).all()


@pytest.mark.parametrize("image", [np.zeros((2, 3, 4), np.uint8), np.zeros(4, np.uint8), np.zeros((2, 2), np.int64)])
def test_to_rgb__refuses_other_shapes_and_types(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture is"):
        to_rgb(image)


def test_overlay__leaves_everything_outside_the_mask() -> None:
    mask = square()
    picture = overlay(FRAME, mask)
    assert (picture[~mask] == to_rgb(FRAME)[~mask]).all()
    assert (picture[mask] != to_rgb(FRAME)[mask]).any(-1).all()
    assert (overlay(FRAME, np.zeros_like(mask)) == to_rgb(FRAME)).all()


def test_overlay__outline_is_stronger_than_filling() -> None:
    picture = overlay(np.zeros((8, 8), np.float32), square(), color=(200, 0, 0), alpha=0.3).astype(int)
    assert picture[2, 2, 0] > 2 * picture[4, 4, 0] > 0


def test_overlay__refuses_another_size() -> None:
    with pytest.raises(ValueError, match="resize"):
        overlay(FRAME, np.zeros((4, 8), bool))


def test_error_map__each_pixel_has_the_color_of_its_error() -> None:
    pred, target = np.zeros((2, 8, 8), bool)
    pred[0, :2] = True
    target[0, 1:3] = True
    picture = error_map(FRAME, pred, target, alpha=1.0)
    false_alarm, found, missed = (tuple(int(v) for v in picture[0, k]) for k in range(3))
    assert {"found": found, "false alarm": false_alarm, "missed": missed} == ERROR_COLORS
    assert (picture[1:] < 128).all()
    assert error_map(FRAME, pred, target, legend=True).shape[0] > 8


# Machado et al. 2009, severity 1, on linear RGB.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)


@pytest.mark.parametrize("vision", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["full", "deuteranopia", "protanopia"])
def test_error_colors__stay_apart_for_the_color_blind(vision: np.ndarray) -> None:
    colors = np.array([*ERROR_COLORS.values(), (96, 96, 96)], np.float64) / 255
    seen = np.clip(colors**2.2 @ vision.T, 0, 1) ** (1 / 2.2)
    lab = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    distances = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(lab, 2)]
    assert min(distances) > 15


def test_mask_overlay__greys_hidden_patches_only() -> None:
    mask = np.zeros(4, bool)
    mask[1] = True
    picture = mask_overlay(FRAME, mask, 4)
    changed = (picture != to_rgb(FRAME)).any(-1)
    assert changed[:4, 4:].all()
    assert changed.sum() == 16


@pytest.mark.parametrize(("size", "patch"), [(8, 2), (9, 4)])
def test_mask_overlay__refuses_a_mask_of_another_frame(size: int, patch: int) -> None:
    with pytest.raises(ValueError, match="patches"):
        mask_overlay(np.zeros((size, size), np.float32), np.zeros(4, bool), patch)


def test_heat_overlay__shows_the_frame_where_the_map_is_zero() -> None:
    heat = np.zeros((8, 8), np.float32)
    assert (heat_overlay(FRAME, heat) == to_rgb(FRAME)).all()
    heat[0, 0] = 3.0
    changed = (heat_overlay(FRAME, heat) != to_rgb(FRAME)).any(-1)
    assert changed[0, 0]
    assert changed.sum() == 1


def test_contact_sheet__has_room_for_all_rows_and_labels() -> None:
    picture = to_rgb(np.zeros((10, 20), np.float32))
    plain = contact_sheet([[picture, picture], [picture]], tile=40, gap=2)
    assert plain.shape == (2 * 40 + 3 * 2, 2 * 40 + 3 * 2, 3)
    assert (plain == 255).any()
    assert (plain == 0).any()
    labelled = contact_sheet([[picture]], labels=["Müller " * 20], columns=["a very long heading"], tile=40)
    assert labelled.shape[0] > 40 + 2 * 4


def test_contact_sheet__refuses_nothing_and_wrong_labels() -> None:
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([[]])
    with pytest.raises(ValueError, match="one label a row"):
        contact_sheet([[to_rgb(FRAME)]], labels=["a", "b"])


def test_png_data_uri__decodes_to_the_same_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    head, _, body = png_data_uri(picture).partition(",")
    assert head == "data:image/png;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(body), np.uint8), cv2.IMREAD_COLOR)
    assert (decoded[..., ::-1] == picture).all()
    assert len(png_data_uri(picture, max_side=4)) < len(png_data_uri(picture))


def test_fit_within__keeps_the_aspect() -> None:
    assert fit_within(to_rgb(np.zeros((100, 50), np.float32)), 40).shape == (40, 20, 3)
    assert fit_within(to_rgb(np.zeros((1, 500), np.float32)), 40).shape == (1, 40, 3)
