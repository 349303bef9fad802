"""Findings about annotation files in COCO's form. Tolerant: whatever the file holds, the audit goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vasomim.data.audit.findings import Finding, finding
from vasomim.data.audit.layout import AuditFrame, AuditSet
from vasomim.data.audit.look import Look
from vasomim.data.coco import CocoFile, CocoLabel, coco_key, load_json, parse_coco
from vasomim.data.polygons import Polygon, crosses_itself
from vasomim.errors import first_few

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
        content = load_json(path)
    except (OSError, ValueError, RecursionError) as error:
        return Annotations(problems=[("unreadable_annotations", [], f"is no JSON: {error}", 1)])
    return check_annotations(content)


def check_annotations(content: object) -> Annotations:
    """The same for what `json.loads` gave."""
    coco = parse_coco(content)
    if coco is None:
        text = "is no COCO file: it needs lists of images and annotations at its top"
        return Annotations(problems=[("unreadable_annotations", [], text, 1)])
    found = Annotations()
    images = _images(coco, found)
    broken = len(coco.broken_labels)
    if broken:
        found.problems.append(("unreadable_annotations", [], f"holds {broken} annotations that are no objects", broken))
    _repeated_ids(coco.labels, images, found)
    known = [label for label in coco.labels if label.image_key in images]
    unknown = sorted({_text(label.image_id) for label in coco.labels if label.image_key not in images})
    if unknown:
        text = f"annotates {len(unknown)} image ids that it does not list: {first_few(unknown)}"
        found.problems.append(("unknown_image_id", [], text, len(coco.labels) - len(known)))
    _categories(known, images, coco.names, found)
    _outlines(known, images, found)
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


def _images(coco: CocoFile, found: Annotations) -> dict[Hashable, Listed]:
    """Listed frames by id; of entries that repeat, the first."""
    images: dict[Hashable, Listed] = {}
    again: list[str] = []
    for image in coco.images:
        if image.id in images or image.file_name in found.listed:
            again.append(image.file_name)
        else:
            images[image.id] = found.listed[image.file_name] = Listed(image.file_name, image.shape)
    broken = len(coco.broken_images)
    if broken:
        text = f"holds {broken} image entries without id or file_name"
        found.problems.append(("unreadable_annotations", [], text, broken))
    if again:
        text = f"lists {len(again)} images again, by id or by file name"
        found.problems.append(("duplicate_image_id", sorted(set(again)), text, len(again)))
    if not coco.images and not broken:
        found.problems.append(("unreadable_annotations", [], "lists no image", 1))
    return images


def _repeated_ids(labels: Sequence[CocoLabel], images: Mapping[Hashable, Listed], found: Annotations) -> None:
    counts = Counter(label.id for label in labels if label.id is not None)
    repeated = {key for key, count in counts.items() if count > 1}
    if repeated:
        files = _files([label for label in labels if label.id in repeated], images)
        found.problems.append(
            ("duplicate_annotation_id", files, f"uses {len(repeated)} annotation ids more than once", len(repeated))
        )


def _categories(
    labels: Sequence[CocoLabel],
    images: Mapping[Hashable, Listed],
    names: Mapping[Hashable, str],
    found: Annotations,
) -> None:
    """Count labels, and name the categories that are not listed or that no reader knows."""
    unknown: list[CocoLabel] = []
    for label in labels:
        images[label.image_key].labels += 1
        key = coco_key(label.category)
        if (names and key not in names) or not label.kind:
            unknown.append(label)
        else:
            found.categories[names.get(key) or str(label.category)] += 1
    if unknown:
        shown = sorted({_text(label.category) for label in unknown})
        text = f"uses categories that are not listed or not known: {first_few(shown)}"
        found.problems.append(("unknown_category_id", _files(unknown, images), text, len(unknown)))


def _outlines(labels: Sequence[CocoLabel], images: Mapping[Hashable, Listed], found: Annotations) -> None:
    """Check every outline; those of vessels that are polygons are kept."""
    odd: dict[str, list[CocoLabel]] = {kind: [] for kind in _OUTLINE_TEXTS}
    for label in labels:
        listed = images[label.image_key]
        for outline in label.outlines or ("no outline",):
            if isinstance(outline, str):
                odd["broken_polygon"].append(label)
                continue
            if listed.shape and _leaves(outline, listed.shape):
                odd["polygon_out_of_bounds"].append(label)
            if crosses_itself(outline):
                odd["self_crossing_polygon"].append(label)
            if label.kind == "vessel":
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


def _leaves(outline: Polygon, shape: tuple[int, int]) -> bool:
    height, width = shape
    return bool((outline < -SLACK).any() or (outline > (width + SLACK, height + SLACK)).any())


def _differs(listed: Listed, look: Look) -> bool:
    return listed.shape is not None and not look.error and listed.shape != look.shape


def _files(labels: Sequence[CocoLabel], images: Mapping[Hashable, Listed]) -> list[str]:
    """Names of the frames that annotations belong to, in the order of the list."""
    ids = {label.image_key for label in labels}
    return [listed.file_name for key, listed in images.items() if key in ids]


def _text(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else text[:17] + "..."
