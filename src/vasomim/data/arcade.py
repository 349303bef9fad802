"""ARCADE's official layout: images/ beside annotations/*.json with COCO polygons."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vasomim.data.coco import STENOSIS, CocoFile, CocoImage, CocoLabel, load_json, parse_coco
from vasomim.data.frames import read_frame
from vasomim.data.groups import repeated
from vasomim.data.listing import check_size, list_frames, make_records, natural_key, require_layout, some
from vasomim.data.polygons import Polygon, rasterise, rasterise_classes, rasteriser_named
from vasomim.errors import DataError
from vasomim.files import is_file, stays_inside
from vasomim.types import Box, Record, Sample

_log = logging.getLogger(__name__)

__all__ = ["ArcadeDataset", "is_arcade_folder", "rasterise"]


@dataclass(frozen=True, slots=True)
class _Annotated:
    """What the annotation file says of one frame."""

    file_name: str
    shape: tuple[int, int]
    segments: tuple[tuple[int, Polygon], ...]
    stenoses: tuple[Polygon, ...]


class ArcadeDataset:
    """Frames with the polygons of one annotation file, in natural order of file names.

    Where the file outlines vessel segments, `mask` is their union and `classes` their category (1-25; where two
    overlap, the later one). Where it outlines stenoses alone, mask and classes are None. Outlined stenoses become
    boxes. Annotations are found by image and position, never by their id, which the official files repeat.
    """

    def __init__(self, root: Path | str, rasteriser: str = "arcade-official") -> None:
        """Read and check the annotation file; no pixel is read.

        Args:
            root: folder that holds images/ and annotations/.
            rasteriser: how polygons are filled, see `vasomim.data.polygons.rasterise`.

        Raises:
            MisuseError: missing folder, another layout (sub-folders of this layout are named), unknown rasteriser.
            DataError: a broken annotation file, unknown image ids or categories, listed frames that are missing.
        """
        self.root = require_layout(Path(root), is_arcade_folder, "images/ and annotations/*.json")
        rasteriser_named(rasteriser)
        self.rasteriser = rasteriser
        file = _annotation_file(self.root)
        self._frames = sorted(_read_annotations(file), key=lambda frame: natural_key(frame.file_name))
        images = self.root / "images"
        names = [frame.file_name for frame in self._frames]
        _check_files(images, names, file)
        _warn_about_unlisted(images, names, file)
        self.records: Sequence[Record] = make_records([images / name for name in names], images, self.root)
        self.has_vessels = any(frame.segments for frame in self._frames)
        """Whether any vessel segment is outlined, so that samples have masks."""
        _warn_about(self._frames, file, self.has_vessels)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record, frame = self.records[index], self._frames[index]
        image = read_frame(record.path)
        check_size(image.shape, frame.shape, record.path, "its entry in the annotation file")
        boxes = tuple(_box_around(polygon) for polygon in frame.stenoses)
        if not self.has_vessels:
            return Sample(record, image, boxes=boxes)
        classes = rasterise_classes(frame.segments, frame.shape, self.rasteriser)
        return Sample(record, image, mask=classes > 0, classes=classes, boxes=boxes)


def is_arcade_folder(root: Path) -> bool:
    """Whether `root` has images/ and a JSON file in annotations/."""
    return (root / "images").is_dir() and any((root / "annotations").glob("*.json"))


def _annotation_file(root: Path) -> Path:
    files = sorted(path for path in (root / "annotations").glob("*.json") if not path.name.startswith("."))
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "none"
        raise DataError(
            f"{root / 'annotations'} must hold one JSON file, found {names}; keep the one that belongs here"
        )
    return files[0]


def _read_annotations(path: Path) -> list[_Annotated]:
    """All frames of an annotation file, those without annotation included.

    Raises:
        DataError: not JSON, keys missing, repeated or unknown image ids, unknown categories, no polygons.
    """
    coco = _read_coco(path)
    _check_ids(coco, path)
    parts: dict[Hashable, list[tuple[int, Polygon]]] = {image.id: [] for image in coco.images}
    for position, label in enumerate(coco.labels):
        category = _category(label, path)
        outlines = _outlines(label, f"{path}, annotation number {position}")
        parts[label.image_key] += [(category, outline) for outline in outlines]
    return [_annotated(image, parts[image.id], path) for image in coco.images]


def _read_coco(path: Path) -> CocoFile:
    try:
        coco = parse_coco(load_json(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}; copy it again from its source") from error
    if coco is None:
        raise DataError(
            f"{path} is no COCO file: need images, annotations and categories at its top; take the official file"
        )
    broken = [*coco.broken_images, *coco.broken_categories, *coco.broken_labels]
    if broken:
        raise DataError(f"{path} is no COCO file: {broken[0]}; take the official file")
    return coco


def _check_ids(coco: CocoFile, path: Path) -> None:
    if not coco.images:
        raise DataError(f"{path} lists no image; take the official file")
    ids: list[Hashable] = [image.id for image in coco.images]
    names: list[Hashable] = [image.file_name for image in coco.images]
    for key, values in (("id", ids), ("file_name", names)):
        twice = repeated(values)
        if twice:
            text = some(map(str, twice))
            raise DataError(f"{path} lists {len(twice)} image(s) twice by {key}: {text}; keep one of each")
    listed = set(ids)
    unknown = {str(label.image_id) for label in coco.labels if label.image_key not in listed}
    if unknown:
        raise DataError(
            f"{path} annotates {len(unknown)} image id(s) that it does not list: {some(unknown)}; "
            "add them to its images or remove their annotations"
        )


def _category(label: CocoLabel, path: Path) -> int:
    """The category, 1 to 25 for vessel segments; stenoses by their name, or by their number where no name is given."""
    if label.kind == "stenosis":
        return STENOSIS
    if label.kind != "vessel":
        raise DataError(
            f"{path} uses category {label.category}; need 1 to 25 (vessel segments) or {STENOSIS} (stenosis)"
        )
    assert isinstance(label.category, int)  # as the kind tells
    return label.category


def _outlines(label: CocoLabel, where: str) -> list[Polygon]:
    if label.outlines is None:
        raise DataError(f"{where}: no polygons; need lists of x, y, not run lengths: convert them")
    outlines: list[Polygon] = []
    for outline in label.outlines:
        if isinstance(outline, str):
            raise DataError(f"{where}: {outline}")
        outlines.append(outline)
    return outlines


def _annotated(image: CocoImage, parts: Sequence[tuple[int, Polygon]], path: Path) -> _Annotated:
    if image.shape is None:
        raise DataError(f"{path} gives {image.file_name} no height and width; take the official file")
    return _Annotated(
        image.file_name,
        image.shape,
        tuple(part for part in parts if part[0] != STENOSIS),
        tuple(outline for label, outline in parts if label == STENOSIS),
    )


def _check_files(images: Path, names: Sequence[str], file: Path) -> None:
    outside = [name for name in names if not stays_inside(name)]
    if outside:
        raise DataError(
            f"{file} lists {len(outside)} image(s) outside of {images}: {some(outside)}; name files in that folder"
        )
    missing = [name for name in names if not is_file(images / name)]
    if missing:
        raise DataError(
            f"{file} lists {len(missing)} of {len(names)} image(s) that are not in {images}: {some(missing)}; "
            "copy them there or remove their entries"
        )


def _warn_about_unlisted(images: Path, names: Sequence[str], file: Path) -> None:
    listed = {images / name for name in names}
    unlisted = [path.relative_to(images).as_posix() for path in list_frames(images) if path not in listed]
    if unlisted:
        _log.warning(
            "%s does not list %d image(s) in %s, and they are left out: %s", file, len(unlisted), images, some(unlisted)
        )


def _warn_about(frames: Sequence[_Annotated], file: Path, has_vessels: bool) -> None:
    """Log, once a file, what is odd but usable."""
    outside = sum(_reaches_out(outline, frame.shape) for frame in frames for outline in _all_outlines(frame))
    if outside:
        _log.warning("%s: %d polygon(s) reach outside of their frame and are cut at its border", file, outside)
    bare = [frame.file_name for frame in frames if not (frame.segments if has_vessels else frame.stenoses)]
    if bare:
        kept = "an empty mask" if has_vessels else "no box"
        _log.warning("%s: %d frame(s) without label are kept with %s: %s", file, len(bare), kept, some(bare))


def _all_outlines(frame: _Annotated) -> list[Polygon]:
    return [outline for _, outline in frame.segments] + list(frame.stenoses)


def _reaches_out(outline: Polygon, shape: tuple[int, int]) -> bool:
    height, width = shape
    return bool((outline < 0).any() or (outline > (width, height)).any())


def _box_around(outline: Polygon) -> Box:
    (x0, y0), (x1, y1) = outline.min(0).tolist(), outline.max(0).tolist()
    return Box(x0, y0, x1, y1)
