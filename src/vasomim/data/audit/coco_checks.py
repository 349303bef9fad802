"""Findings about annotation files in COCO's form. Tolerant: whatever the file holds, the audit goes on."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vasomim.data.arcade import STENOSIS
from vasomim.data.audit.findings import Finding, finding
from vasomim.data.audit.layout import AuditFrame, AuditSet
from vasomim.data.audit.look import Look
from vasomim.data.polygons import Polygon, crosses_itself

SLACK = 1.0
"""Pixels that an outline may leave its frame by: rounding, not a mistake."""


@dataclass
class Listed:
    """What an annotation file says of one frame."""

    file_name: str
    shape: tuple[int, int] | None
    """(H, W), or None where the entry gives none."""
    vessels: list[Polygon] = field(default_factory=list)
    labels: int = 0
    """Annotations, of whatever category."""


@dataclass
class Annotations:
    """An annotation file as far as it can be understood."""

    listed: dict[str, Listed] = field(default_factory=dict)
    """By file name."""
    categories: Counter[str] = field(default_factory=Counter)
    """Annotations by the name of their category."""
    problems: list[tuple[str, list[str], str, int]] = field(default_factory=list)
    """Kind, file names concerned, message, how often."""


def read_annotations(path: Path) -> Annotations:
    """Understand what can be understood of an annotation file; all that cannot is a problem."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return Annotations(problems=[("unreadable_annotations", [], f"is no JSON: {error}", 1)])
    return check_annotations(content)


def check_annotations(content: object) -> Annotations:
    """The same for what `json.loads` gave."""
    wanted = ("images", "annotations")
    if not isinstance(content, Mapping) or not all(isinstance(content.get(key), list) for key in wanted):
        text = "is no COCO file: it needs lists of images and annotations at its top"
        return Annotations(problems=[("unreadable_annotations", [], text, 1)])
    found = Annotations()
    images = _images(content["images"], found)
    entries = [entry for entry in content["annotations"] if isinstance(entry, Mapping)]
    broken = len(content["annotations"]) - len(entries)
    if broken:
        found.problems.append(("unreadable_annotations", [], f"holds {broken} annotations that are no objects", broken))
    _repeated_ids(entries, images, found)
    names = _category_names(content.get("categories"))
    known = [entry for entry in entries if _key(entry.get("image_id")) in images]
    unknown = sorted({_text(entry.get("image_id")) for entry in entries if _key(entry.get("image_id")) not in images})
    if unknown:
        text = f"annotates {len(unknown)} image ids that it does not list: {_some(unknown)}"
        found.problems.append(("unknown_image_id", [], text, len(entries) - len(known)))
    _categories(known, images, names, found)
    _outlines(known, images, names, found)
    return found


def coco_findings(
    home: AuditSet, file: Path, annotations: Annotations, seen: Sequence[tuple[AuditFrame, Look]]
) -> list[Finding]:
    """Findings about one annotation file and the frames beside it."""
    shown = home.show(file)
    there = {frame.key: (frame, look) for frame, look in seen}

    def names(files: Sequence[str]) -> list[str]:
        return [shown, *(home.show_frame(name) for name in files)]

    found = [
        finding(kind, names(files), f"{shown} {text}", count=count) for kind, files, text, count in annotations.problems
    ]
    listed = annotations.listed
    if not listed:
        return found
    lists = {
        "missing_frame": [name for name in listed if name not in there],
        "unlabelled_frame": [name for name, entry in listed.items() if not entry.labels],
        "unlisted_frame": [name for name in there if name not in listed],
        "frame_size": [name for name, entry in listed.items() if name in there and _differs(entry, there[name][1])],
    }
    texts = {
        "missing_frame": "lists {} frames that are not there",
        "unlabelled_frame": "lists {} frames without any annotation",
        "unlisted_frame": "does not list {} of the frames beside it",
        "frame_size": "gives {} frames another size than they have",
    }
    return found + [
        finding(kind, names(files), f"{shown} {texts[kind].format(len(files))}", count=len(files))
        for kind, files in lists.items()
        if files
    ]


def _images(entries: Sequence[object], found: Annotations) -> dict[Hashable, Listed]:
    """Listed frames by id; of entries that repeat, the first."""
    images: dict[Hashable, Listed] = {}
    again: list[str] = []
    broken = 0
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("file_name"), str) or not _has_id(entry):
            broken += 1
            continue
        listed = Listed(entry["file_name"], _shape(entry))
        if _key(entry["id"]) in images or listed.file_name in found.listed:
            again.append(listed.file_name)
        else:
            images[_key(entry["id"])] = found.listed[listed.file_name] = listed
    if broken:
        text = f"holds {broken} image entries without id or file_name"
        found.problems.append(("unreadable_annotations", [], text, broken))
    if again:
        text = f"lists {len(again)} images again, by id or by file name"
        found.problems.append(("duplicate_image_id", sorted(set(again)), text, len(again)))
    if not entries:
        found.problems.append(("unreadable_annotations", [], "lists no image", 1))
    return images


def _repeated_ids(entries: Sequence[Mapping[str, Any]], images: Mapping[Hashable, Listed], found: Annotations) -> None:
    counts = Counter(_key(entry["id"]) for entry in entries if _has_id(entry))
    repeated = {key for key, count in counts.items() if count > 1}
    if repeated:
        files = _files([entry for entry in entries if _key(entry.get("id")) in repeated], images)
        found.problems.append(
            ("duplicate_annotation_id", files, f"uses {len(repeated)} annotation ids more than once", len(repeated))
        )


def _category_names(categories: object) -> dict[Hashable, str]:
    entries = categories if isinstance(categories, list) else []
    return {
        _key(entry["id"]): str(entry.get("name", ""))
        for entry in entries
        if isinstance(entry, Mapping) and _has_id(entry)
    }


def _categories(
    entries: Sequence[Mapping[str, Any]],
    images: Mapping[Hashable, Listed],
    names: Mapping[Hashable, str],
    found: Annotations,
) -> None:
    """Count labels, and name the categories that are not listed or that no reader knows."""
    unknown: list[Mapping[str, Any]] = []
    for entry in entries:
        images[_key(entry["image_id"])].labels += 1
        label = entry.get("category_id")
        if (names and _key(label) not in names) or not (_is_vessel(label, names) or _is_stenosis(label, names)):
            unknown.append(entry)
        else:
            found.categories[names.get(_key(label)) or str(label)] += 1
    if unknown:
        labels = sorted({_text(entry.get("category_id")) for entry in unknown})
        text = f"uses categories that are not listed or not known: {_some(labels)}"
        found.problems.append(("unknown_category_id", _files(unknown, images), text, len(unknown)))


def _outlines(
    entries: Sequence[Mapping[str, Any]],
    images: Mapping[Hashable, Listed],
    names: Mapping[Hashable, str],
    found: Annotations,
) -> None:
    """Check every outline; those of vessels that are polygons are kept."""
    odd: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in _OUTLINE_TEXTS}
    for entry in entries:
        listed = images[_key(entry["image_id"])]
        for outline in _parts(entry):
            if outline is None:
                odd["broken_polygon"].append(entry)
                continue
            if listed.shape and _leaves(outline, listed.shape):
                odd["polygon_out_of_bounds"].append(entry)
            if crosses_itself(outline):
                odd["self_crossing_polygon"].append(entry)
            if _is_vessel(entry.get("category_id"), names):
                listed.vessels.append(outline)
    for kind, members in odd.items():
        if members:
            text = _OUTLINE_TEXTS[kind].format(len(members))
            found.problems.append((kind, _files(members, images), text, len(members)))


_OUTLINE_TEXTS = {
    "broken_polygon": "holds {} outlines that are no polygon: run lengths, fewer than 3 points, or not finite",
    "polygon_out_of_bounds": "holds {} outlines that leave their frame",
    "self_crossing_polygon": "holds {} outlines that cross themselves",
}


def _parts(entry: Mapping[str, Any]) -> Iterator[Polygon | None]:
    """The outlines of an annotation, None for each that is no polygon."""
    segmentation = entry.get("segmentation")
    if not isinstance(segmentation, list) or not segmentation:
        yield None
        return
    for part in segmentation:
        numbers = part if isinstance(part, list) else []
        usual = len(numbers) >= 6 and len(numbers) % 2 == 0 and all(_is_finite(number) for number in numbers)
        yield np.asarray(numbers, np.float64).reshape(-1, 2) if usual else None


def _leaves(outline: Polygon, shape: tuple[int, int]) -> bool:
    height, width = shape
    return bool((outline < -SLACK).any() or (outline > (width + SLACK, height + SLACK)).any())


def _differs(listed: Listed, look: Look) -> bool:
    return listed.shape is not None and not look.error and listed.shape != look.shape


def _is_stenosis(label: object, names: Mapping[Hashable, str]) -> bool:
    name = names.get(_key(label), "").lower()
    return name == "stenosis" or (label == STENOSIS and not name)


def _is_vessel(label: object, names: Mapping[Hashable, str]) -> bool:
    return _is_whole(label) and 1 <= int(str(label)) < STENOSIS and not _is_stenosis(label, names)


def _shape(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    if not (_is_finite(height) and _is_finite(width)):
        return None
    shape = int(float(str(height))), int(float(str(width)))
    return shape if min(shape) > 0 and max(shape) < 1 << 15 else None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    """A number that a float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e18 and math.isfinite(value)


def _has_id(entry: Mapping[str, Any]) -> bool:
    """Whether an entry can be referred to; a null refers to nothing."""
    return entry.get("id") is not None


def _key(value: object) -> Hashable:
    """Ids as dictionaries take them: lists and the like by their text."""
    return value if isinstance(value, str | int | float | None) else json.dumps(value)


def _files(entries: Sequence[Mapping[str, Any]], images: Mapping[Hashable, Listed]) -> list[str]:
    """Names of the frames that annotations belong to, in the order of the list."""
    ids = {_key(entry.get("image_id")) for entry in entries}
    return [listed.file_name for key, listed in images.items() if key in ids]


def _text(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else text[:17] + "..."


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
    return ", ".join(texts[:5]) + more
