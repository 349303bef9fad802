"""Values come out with the type of their field, or with a message that says what is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from vasomim.config.values import coerce, plain


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (True, bool, True),
        ("False", bool, False),
        (3, int, 3),
        ("1e3", int, 1000),
        (4.0, int, 4),
        ("9007199254740993", int, 2**53 + 1),
        (2, float, 2.0),
        ("1e-4", float, 1e-4),
        (0.1, str, "0.1"),
        ("a/b", Path, Path("a/b")),
        (2024, Path, Path("2024")),
        ("none", Path | None, None),
        (None, int | None, None),
        ("none", str | None, "none"),
        ("none", Literal["none", "co"], "none"),
        ("none", Literal["none", "co"] | None, "none"),
        ("8", Literal[8, 16], 8),
        ([1, "2"], tuple[float, float], (1.0, 2.0)),
        (["a"], tuple[Path, ...], (Path("a"),)),
        ([], tuple[Path, ...], ()),
        ("3", int | str, 3),
    ],
)
def test_coerce__fits(value: object, annotation: Any, expected: object) -> None:
    result = coerce(value, annotation)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (1, bool, "got 1, need true or false"),
        (True, int, "got true, need a whole number"),
        (1.5, int, "got 1.5, need a whole number"),
        ("10" * 400, int, "need a whole number"),
        ("fast", float, "got 'fast', need a number"),
        ("nan", float, "need a finite number"),
        (None, float, "got none, need a number"),
        ([1], float, r"got \[1\], need a number"),
        (None, str, "got none, need text"),
        ("", Path, "got '', need a path"),
        (False, Path | None, "got false, need a path"),
        (True, Literal[1, 2], "got true, need one of 1, 2"),
        ([1, 2, 3], tuple[float, float], r"got 3 values \[1, 2, 3\], need a list of 2: a number, a number"),
        (3, tuple[int, ...], "got 3, need a list, each item a whole number"),
        ({"a": 1}, str, "need text"),
        ("x", int | float, "got 'x', need a whole number or a number"),
    ],
)
def test_coerce__misfit(value: object, annotation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coerce(value, annotation)


def test_coerce__annotation_we_do_not_know() -> None:
    with pytest.raises(TypeError, match="cannot be loaded"):
        coerce({}, dict[str, int])


@pytest.mark.parametrize("path", [Path("none"), Path("~"), Path("~/x"), Path("~root"), Path("a/b")])
def test_plain__paths_survive(path: Path) -> None:
    # Written as they are, `none` would mean no path and `~` the home folder.
    text = plain(path)
    loaded = coerce(text, Path | None)
    assert loaded == path
