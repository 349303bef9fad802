"""Text in frames is found, and angiograms without any have none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vasomim.ops.burnt_text import text_boxes
from vasomim.synth.angiogram import generate


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [generate(11, 400, index=index).image for index in range(6)]


def unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


def written(image: np.ndarray, text: str, size: float, value: int, at: tuple[int, int] = (30, 60)) -> np.ndarray:
    out = image.copy()
    cv2.putText(out, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, value, 1, cv2.LINE_AA)
    return out


@pytest.mark.parametrize("size", [0.4, 0.7])
def test_text_boxes__finds_text_where_it_stands(frames, size):
    for frame in frames:
        boxes = text_boxes(unit(written(frame, "DOE 1967", size, 255)))
        assert any(box.x0 < 80 and 30 < box.y0 < box.y1 < 70 for box in boxes)


def test_text_boxes__finds_dark_text_on_bright_ground():
    frame = np.full((300, 300), 180, np.uint8)
    assert text_boxes(unit(written(frame, "RAO 30 CRA 20", 0.5, 0, (40, 200))))
    assert text_boxes(unit(frame)) == []


def test_text_boxes__survives_compression(frames):
    for frame in frames:
        coded = cv2.imencode(".jpg", written(frame, "PATIENT 4711", 0.5, 255), [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
        assert text_boxes(unit(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)))


def test_text_boxes__angiograms_have_none(frames):
    for frame in frames:
        assert text_boxes(unit(frame)) == []
        assert text_boxes(1 - unit(frame)) == []


def test_text_boxes__three_marks_are_no_text():
    frame = np.full((300, 300), 0.4, np.float32)
    for left in (50, 70, 90):
        frame[100:112, left : left + 4] = 1
    assert text_boxes(frame) == []
    frame[100:112, 110:114] = 1
    assert [(box.x0, box.y0, box.x1, box.y1) for box in text_boxes(frame)] == [(50, 100, 114, 112)]
