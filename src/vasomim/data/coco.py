"""Annotation files in COCO's form: what they hold, and what of it is broken. Readers refuse that, audits count it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import numpy as np

from vasomim.data.polygons import Polygon

Entry = TypeVar("Entry")

STENOSIS = 26
"""Category of stenoses; 1 to 25 are the SYNTAX segments of the vessel tree."""
_SIDE_LIMIT = 1 << 15
"""Pixels that no side of a frame has."""


@dataclass(frozen=True, slots=True)
class CocoImage:
    """A listed frame."""

    id: Hashable
    file_name: str
    shape: tuple[int, int] | None
    """(H, W), or None where the entry gives none that a frame can have."""


@dataclass(frozen=True, slots=True)
class CocoLabel:
    """An annotation. What it refers to need not be listed."""

    id: Hashable
    """None where it has none."""
    image_id: object
    category: object
    outlines: tuple[Polygon | str, ...] | None
    """Each an (N, 2) array of x, y, or a text that says why it is no polygon; None where no list of parts is given."""
    kind: str
    """`vessel`, `stenosis`, or nothing where the category is neither."""

    @property
    def image_key(self) -> Hashable:
        """The id of its image as `CocoImage.id` has it."""
        return coco_key(self.image_id)


@dataclass(frozen=True, slots=True)
class CocoFile:
    """An annotation file: whole entries in their order, and why the others are none."""

    images: tuple[CocoImage, ...]
    labels: tuple[CocoLabel, ...]
    names: Mapping[Hashable, str]
    """Categories by id; empty names where none is given."""
    broken_images: tuple[str, ...]
    broken_labels: tuple[str, ...]
    broken_categories: tuple[str, ...]


def load_json(path: Path) -> object:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError, RecursionError: it is no JSON.
    """
    return json.loads(path.read_bytes())


def parse_coco(content: object) -> CocoFile | None:
    """What an annotation file holds, of the values that `load_json` gave; None where it is no COCO file."""
    wanted = ("images", "annotations")
    if not isinstance(content, Mapping) or not all(isinstance(content.get(key), list) for key in wanted):
        return None
    images, broken_images = _entries(content["images"], _image)
    categories, broken_categories = _entries(content.get("categories", []), _category)
    names = dict(categories)
    labels, broken_labels = _entries(content["annotations"], lambda entry: _label(entry, names))
    return CocoFile(
        tuple(images), tuple(labels), names, tuple(broken_images), tuple(broken_labels), tuple(broken_categories)
    )


def coco_key(value: object) -> Hashable:
    """Ids as dictionaries take them: lists and the like by their text."""
    return value if isinstance(value, str | int | float | None) else json.dumps(value)


def _entries(entries: object, parse: Callable[[Mapping[str, Any]], Entry]) -> tuple[list[Entry], list[str]]:
    """Entries that can be parsed, and one line for each that cannot."""
    parsed: list[Entry] = []
    broken: list[str] = []
    if not isinstance(entries, list):
        return parsed, [f"TypeError {type(entries).__name__} where a list belongs"]
    for entry in entries:
        try:
            if not isinstance(entry, Mapping):
                raise TypeError(f"{type(entry).__name__} where an object belongs")
            parsed.append(parse(entry))
        except (KeyError, TypeError) as error:
            broken.append(f"{type(error).__name__} {error}")
    return parsed, broken


def _image(entry: Mapping[str, Any]) -> CocoImage:
    key, name = _id(entry), entry["file_name"]
    if not isinstance(name, str):
        raise TypeError("a file_name that is no text")
    return CocoImage(key, name, _shape(entry))


def _category(entry: Mapping[str, Any]) -> tuple[Hashable, str]:
    return _id(entry), str(entry.get("name", ""))


def _id(entry: Mapping[str, Any]) -> Hashable:
    """The id of an entry that others refer to; a null refers to nothing."""
    if entry["id"] is None:
        raise TypeError("an id that is null")
    return coco_key(entry["id"])


def _label(entry: Mapping[str, Any], names: Mapping[Hashable, str]) -> CocoLabel:
    category, parts = entry.get("category_id"), entry.get("segmentation")
    return CocoLabel(
        coco_key(entry.get("id")),
        entry.get("image_id"),
        category,
        tuple(_outline(part) for part in parts) if isinstance(parts, list) else None,
        _kind(category, names.get(coco_key(category), "").lower()),
    )


def _kind(category: object, name: str) -> str:
    """Stenoses by their name, or by their number where no name is given; vessels by their number."""
    if name == "stenosis" or (category == STENOSIS and not name):
        return "stenosis"
    whole = isinstance(category, int) and not isinstance(category, bool)
    return "vessel" if whole and category in range(1, STENOSIS) else ""


def _outline(part: object) -> Polygon | str:
    if not isinstance(part, list) or not all(isinstance(number, int | float) or number is None for number in part):
        return "a part that is no list of numbers, so this is no COCO file"
    if len(part) < 6 or len(part) % 2 or not all(_is_finite(number) for number in part):
        return f"{len(part)} numbers are no polygon; need at least 3 finite pairs of x, y"
    return np.asarray(part, np.float64).reshape(-1, 2)


def _shape(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    if not (_is_finite(height) and _is_finite(width)):
        return None
    shape = int(height), int(width)
    return shape if min(shape) > 0 and max(shape) < _SIDE_LIMIT else None


def _is_finite(value: object) -> TypeGuard[float]:
    """A number that a float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e18 and math.isfinite(value)
