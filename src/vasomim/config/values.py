"""Values of recipes and flags, brought to the type of their field.

PyYAML reads `1e-4` as a string and `no` as False: the first is mended here, the second named.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin


def coerce(value: object, annotation: Any) -> Any:
    """Brings `value` to the type `annotation`.

    Handles bool, int, float, str, Path, Literal, tuple, Optional and other unions.

    Raises:
        ValueError: the value does not fit; the message says what was given and what is needed.
        TypeError: the annotation is none of the above (a mistake in our settings, not in a recipe).
    """
    origin = get_origin(annotation)
    if origin is Literal:
        return _literal(value, get_args(annotation))
    if origin is tuple:
        return _tuple(value, get_args(annotation))
    if origin is Union or origin is types.UnionType:
        return _union(value, get_args(annotation))
    if annotation in _SCALARS:
        return _SCALARS[annotation](value)
    raise TypeError(f"settings of type {annotation!r} cannot be loaded")


def plain(value: object) -> Any:
    """The YAML form of a setting: tuples become lists and paths strings."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        text = value.as_posix()
        return f"./{text}" if text == "none" or text.startswith("~") else text
    return value


def describe(annotation: Any) -> str:
    """What a field takes, in words for a message."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in args)
    if origin is tuple:
        return _describe_tuple(args)
    if origin is Union or origin is types.UnionType:
        return _describe_union(args)
    return _WORDS.get(annotation, str(annotation))


def _describe_tuple(args: Sequence[Any]) -> str:
    if len(args) == 2 and args[1] is Ellipsis:
        return f"a list, each item {describe(args[0])}"
    return f"a list of {len(args)}: " + ", ".join(describe(arg) for arg in args)


def _describe_union(args: Sequence[Any]) -> str:
    return " or ".join("none" if arg is types.NoneType else describe(arg) for arg in args)


def _misfit(value: object, need: str) -> ValueError:
    hint = ""
    if isinstance(value, bool):
        hint = " (YAML reads unquoted yes, no, on, off as true or false; quote a word that is meant as text)"
    shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return ValueError(f"got {'none' if value is None else shown}, need {need}{hint}")


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise _misfit(value, _WORDS[bool])


def _int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        number = _float(value)
    except ValueError:
        raise _misfit(value, _WORDS[int]) from None
    if not number.is_integer():
        raise _misfit(value, _WORDS[int])
    with suppress(ValueError):  # a float has no room for the last of many digits
        return int(str(value))
    return int(number)


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _misfit(value, _WORDS[float])
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _misfit(value, _WORDS[float]) from None
    if not math.isfinite(number):
        raise _misfit(value, "a finite number")
    return number


def _str(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise _misfit(value, _WORDS[str])


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    try:
        text = _str(value)
    except ValueError:
        raise _misfit(value, _WORDS[Path]) from None
    if not text:
        raise _misfit(value, _WORDS[Path])
    return Path(text).expanduser() if text.startswith("~") else Path(text)


def _literal(value: object, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    for choice in choices:
        if not isinstance(value, bool) and str(choice) == str(value):
            return choice
    near = get_close_matches(str(value), [str(choice) for choice in choices], 1)
    suggestion = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"{_misfit(value, 'one of ' + ', '.join(str(choice) for choice in choices))}{suggestion}")


def _tuple(value: object, args: Sequence[Any]) -> tuple[Any, ...]:
    open_ended = len(args) == 2 and args[1] is Ellipsis
    if open_ended and isinstance(value, str | Path):
        value = [value]
    if not isinstance(value, list | tuple):
        raise _misfit(value, _describe_tuple(args))
    kinds = [args[0]] * len(value) if open_ended else args
    if len(value) != len(kinds):
        raise ValueError(f"got {len(value)} values {plain(tuple(value))}, need {_describe_tuple(args)}")
    return tuple(coerce(item, kind) for item, kind in zip(value, kinds, strict=True))


def _union(value: object, args: Sequence[Any]) -> Any:
    members = [arg for arg in args if arg is not types.NoneType]
    optional = len(members) < len(args)
    none_is_text = any(member is str or "none" in get_args(member) for member in members)
    if optional and (value is None or (value == "none" and not none_is_text)):
        return None
    problems: list[ValueError] = []
    for member in members:
        try:
            return coerce(value, member)
        except ValueError as problem:
            problems.append(problem)
    raise problems[0] if len(problems) == 1 else _misfit(value, _describe_union(args))


_SCALARS: dict[Any, Callable[[object], Any]] = {bool: _bool, int: _int, float: _float, str: _str, Path: _path}
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}
