from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vasomim.data.polygons import crosses_itself, rasterise, rasterise_classes
from vasomim.errors import MisuseError

RECTANGLE = np.array([[2.0, 3.0], [8.0, 3.0], [8.0, 6.0], [2.0, 6.0]])


def test_rasterise__official_includes_the_outline() -> None:
    mask = rasterise([RECTANGLE + 0.9], (10, 12))
    expected = np.zeros((10, 12), bool)
    expected[3:7, 2:9] = True
    np.testing.assert_array_equal(mask, expected)


def test_rasterise__coco_covers_the_area() -> None:
    expected = np.zeros((10, 12), bool)
    expected[3:6, 2:8] = True
    np.testing.assert_array_equal(rasterise([RECTANGLE], (10, 12), "coco"), expected)


@pytest.mark.parametrize("rasteriser", ["arcade-official", "coco"])
def test_rasterise__is_the_union(rasteriser: str) -> None:
    parts = [RECTANGLE, RECTANGLE + 2, RECTANGLE + 4]
    masks = [rasterise([part], (14, 14), rasteriser) for part in parts]
    np.testing.assert_array_equal(rasterise(parts, (14, 14), rasteriser), np.logical_or.reduce(masks))
    assert not rasterise([], (14, 14), rasteriser).any()


@pytest.mark.parametrize("rasteriser", ["arcade-official", "coco"])
@pytest.mark.parametrize("shift", [(-4, 0), (0, -5), (7, 3), (1e6, 0), (-1e6, -1e6)])
def test_rasterise__what_lies_outside_is_cut_off(rasteriser: str, shift: tuple[float, float]) -> None:
    wide = rasterise([RECTANGLE + 20 + np.clip(shift, -20, 20)], (50, 50), rasteriser)
    mask = rasterise([RECTANGLE + shift], (10, 12), rasteriser)
    np.testing.assert_array_equal(mask, wide[20:30, 20:32])


def test_rasterise__unknown_name() -> None:
    with pytest.raises(MisuseError, match="choose one of arcade-official, coco"):
        rasterise([RECTANGLE], (10, 12), "cv")


def test_rasterise_classes__later_outlines_lie_on_top() -> None:
    classes = rasterise_classes([(3, RECTANGLE), (7, RECTANGLE + 2)], (14, 14))
    assert classes[3, 2] == 3
    assert classes[6, 7] == 7
    np.testing.assert_array_equal(classes > 0, rasterise([RECTANGLE, RECTANGLE + 2], (14, 14)))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of the oracle
@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.floats(-10, 50) | st.integers(-20, 100).map(lambda k: k / 2)] * 2), min_size=3, max_size=12
    ),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_rasterise__coco_equals_pycocotools(points: list[tuple[float, float]], height: int, width: int) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools, the oracle, is not installed")
    runs = coco.frPyObjects([[value for point in points for value in point]], height, width)
    expected = coco.decode(coco.merge(runs)).astype(bool)
    np.testing.assert_array_equal(rasterise([np.array(points)], (height, width), "coco"), expected)


@pytest.mark.parametrize(
    ("points", "crosses"),
    [
        ([(0, 0), (9, 0), (9, 9), (0, 9)], False),
        ([(0, 0), (9, 9), (9, 0), (0, 9)], True),
        ([(0, 0), (9, 0), (9, 0), (9, 9), (0, 9), (0, 0)], False),  # points repeat
        ([(0, 0), (8, 0), (8, 8), (4, 0), (0, 8)], False),  # a corner touches a side
        ([(0, 0), (8, 0), (8, 8), (4, -1), (0, 8)], True),
        ([(0, 0), (9, 0), (4, 4)], False),
        ([(0, 0)], False),
    ],
)
def test_crosses_itself__cases(points: list[tuple[float, float]], crosses: bool) -> None:
    outline = np.array(points, np.float64)
    assert crosses_itself(outline) == crosses
    assert crosses_itself(outline[::-1]) == crosses
    assert crosses_itself(np.roll(outline, 2, axis=0)) == crosses


@given(st.lists(st.floats(1, 20), min_size=5, max_size=40))
def test_crosses_itself__a_star_never_does(radii: list[float]) -> None:
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    assert not crosses_itself(np.array(radii)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1))
