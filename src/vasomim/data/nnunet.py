"""nnU-Net's folder layout, in and out: imagesTr/CASE_0000.png beside labelsTr/CASE.png and dataset.json.

As documented for version 2 (`channel_names`, `labels` by name, `file_ending`); the labels of version 1, which are the
other way round, are read too. Only 2-D formats: png, tif and bmp.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.data.frames import read_frame, read_pixels, write_png
from vasomim.data.groups import repeated
from vasomim.data.listing import check_size, list_frames, make_records, no_frame, require_layout, some
from vasomim.data.samples import FrameDataset
from vasomim.errors import DataError, MisuseError
from vasomim.files import whole_folder, write_whole
from vasomim.ops.full_scale import FULL_SCALES, full_scale
from vasomim.types import FloatImage, Record, Sample

IMAGES, LABELS, TABLE = "imagesTr", "labelsTr", "dataset.json"
TEST_IMAGES = "imagesTs"
CHANNEL = "_0000"
"""What nnU-Net puts behind the name of a case, before the suffix: the number of the channel."""
ENDINGS = (".png", ".tif", ".bmp")


class NnUNetDataset:
    """The training cases of a folder in nnU-Net's layout; the id of a frame is the name of its case.

    `mask` is every label but background. Where there are several, `classes` holds them.
    """

    def __init__(self, root: Path | str) -> None:
        """Pair images and labels; no pixel is read.

        Raises:
            MisuseError: missing folder, no frame, or another layout; sub-folders of this layout are named.
            DataError: a broken dataset.json, another file format, several channels, or cases without image or label.
        """
        self.root = require_layout(Path(root), is_nnunet_folder, f"{IMAGES}/, {LABELS}/ and {TABLE}")
        self.labels: Mapping[int, str] = label_names(self.root)
        images = self.root / IMAGES
        self.records: Sequence[Record] = name_cases(make_records(list_frames(images), images, self.root))
        if not self.records:
            raise no_frame(images)
        self._labels = _pair(self.records, self.root)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record, path = self.records[index], self._labels[index]
        image, values = read_frame(record.path), read_pixels(path)
        check_size(image.shape, values.shape, record.path, f"its labels {path}")
        unknown = sorted(set(np.unique(values).tolist()) - self.labels.keys())
        if unknown:
            raise DataError(
                f"{path} holds the value(s) {some(map(str, unknown))}, which {TABLE} does not name; it names "
                f"{', '.join(f'{value} {name}' for value, name in sorted(self.labels.items()))}"
            )
        classes = values.astype(np.uint8) if len(self.labels) > 2 else None
        return Sample(record, image, mask=np.asarray(values > 0, np.bool_), classes=classes)


def is_nnunet_folder(root: Path) -> bool:
    """Whether `root` has imagesTr/, labelsTr/ and dataset.json."""
    return (root / IMAGES).is_dir() and (root / LABELS).is_dir() and (root / TABLE).is_file()


def label_names(root: Path) -> dict[int, str]:
    """Values and names of the labels of a folder in this layout, background included.

    Raises:
        DataError: a dataset.json that cannot be used.
    """
    return _labels(_read_table(root / TABLE), root / TABLE)


def name_cases(records: Sequence[Record]) -> list[Record]:
    """The records with the channel taken off the ids of frames in an nnU-Net folder: `heart_0000` becomes `heart`."""
    return [
        dataclasses.replace(record, id=record.id.removesuffix(CHANNEL)) if _is_case(record.path) else record
        for record in records
    ]


def _is_case(path: Path) -> bool:
    folder = path.parent
    return folder.name in (IMAGES, TEST_IMAGES) and (folder.parent / TABLE).is_file()


def _read_table(path: Path) -> Mapping[str, Any]:
    try:
        table = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}; copy it again from its source") from error
    if not isinstance(table, dict):
        raise DataError(f"{path} is no JSON object; take the file of the data set")
    channels = table.get("channel_names", table.get("modality", {}))
    colour = isinstance(channels, dict) and len(channels) == 3 and _is_colour(channels)
    if isinstance(channels, dict) and len(channels) > 1 and not colour:
        raise DataError(f"{path} names {len(channels)} channels; vasomim reads frames of one: keep the X-ray alone")
    ending = table.get("file_ending", ".png")
    if ending not in ENDINGS:
        raise DataError(f"{path} says that files end in {ending}; vasomim reads {', '.join(ENDINGS)}: convert them")
    return table


def _is_colour(channels: Mapping[str, Any]) -> bool:
    """Red, green and blue are the one case in which nnU-Net keeps several channels in one file."""
    return {str(name).upper()[:1] for name in channels.values()} == {"R", "G", "B"}


def _labels(table: Mapping[str, Any], path: Path) -> dict[int, str]:
    """Value -> name, background included; of version 2 (name to value) or version 1 (value to name)."""
    stated = table.get("labels")
    if not isinstance(stated, dict) or not stated:
        raise DataError(f"{path} names no labels; it needs something like {{'background': 0, 'vessel': 1}}")
    found: dict[int, str] = {}
    for name, value in stated.items():
        if name == "ignore":
            raise DataError(f"{path} has an ignore label, which vasomim does not know; relabel those pixels")
        try:
            for number in value if isinstance(value, list) else [value]:  # regions are lists of values
                found |= {int(number): str(name)} if not isinstance(value, str) else {int(name): value}
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: label {name} has the value {value!r}; need whole numbers") from error
    if not all(0 <= value <= 255 for value in found):
        raise DataError(f"{path}: label values reach from {min(found)} to {max(found)}; need 0 to 255")
    return {0: "background", **found}


def _pair(records: Sequence[Record], root: Path) -> list[Path]:
    """The label file of every case."""
    labels = {path.relative_to(root / LABELS).with_suffix("").as_posix(): path for path in list_frames(root / LABELS)}
    unnamed = [record.path.name for record in records if not record.path.stem.endswith(CHANNEL)]
    if unnamed:
        raise DataError(
            f"{root / IMAGES} holds {len(unnamed)} frame(s) that do not end in {CHANNEL}: {some(unnamed)}; nnU-Net "
            "names frames CASE_0000, and vasomim reads one channel"
        )
    known = {record.id for record in records}
    bare = [name for name in known if name not in labels]
    odd = [name for name in labels if name not in known]
    found = [f"{len(bare)} case(s) without labels ({some(bare)})"] if bare else []
    found += [f"{len(odd)} label file(s) without image ({some(odd)})"] if odd else []
    if found:
        raise DataError(f"{root}: {' and '.join(found)}; add what is missing or remove the odd ones")
    return [labels[record.id] for record in records]


def write_nnunet(
    dataset: FrameDataset,
    folder: Path,
    file_ending: str = ".png",
    classes: Mapping[int, str] | None = None,
    progress: Callable[[], object] | None = None,
) -> Path:
    """Write a labelled data set in nnU-Net's layout, all of it or nothing.

    Frames keep their values: 8 bits stay 8, 16 stay 16. Labels are 0 and 1 for background and vessel, or the classes.

    Args:
        dataset: Labelled frames.
        folder: New folder, to be called `DatasetNNN_NAME` as nnU-Net wants it.
        file_ending: `.png` or `.tif`, for images and labels alike.
        classes: Names of the classes to write instead of the one vessel label, by value from 1 on.
        progress: Called after each frame.

    Returns:
        The folder.

    Raises:
        MisuseError: another name, an existing folder, or another ending.
        DataError: a frame without label, or two cases of one name.
        WriteError: nothing can be written.
    """
    if not re.fullmatch(r"Dataset\d{3}_\w+", folder.name):
        raise MisuseError(f"{folder.name} is no name for nnU-Net; need DatasetNNN_NAME such as Dataset501_Vessels")
    if folder.exists():
        raise MisuseError(f"{folder} exists already; choose another number or remove it")
    if file_ending not in (".png", ".tif"):
        raise MisuseError(f"cannot write {file_ending}; choose .png or .tif")
    cases = _case_names(dataset.records)
    with whole_folder(folder, durable=False) as stage:
        for index, case in enumerate(cases):
            _write_case(stage, case, dataset[index], file_ending, classes)
            if progress is not None:
                progress()
        table = json.dumps(_table(folder.name, len(cases), file_ending, classes), indent=2)
        (stage / TABLE).write_text(table + "\n", encoding="utf-8")
    return folder


def _case_names(records: Sequence[Record]) -> list[str]:
    """Names of the cases: ids with folders joined by two underscores, since nnU-Net has no sub-folders."""
    names = [record.id.replace("/", "__") for record in records]
    twice = repeated(names)
    if twice:
        raise DataError(f"{len(twice)} case(s) would share a name: {some(twice)}; rename their folders")
    return names


def _write_case(folder: Path, case: str, sample: Sample, file_ending: str, classes: Mapping[int, str] | None) -> None:
    labels = sample.classes if classes is not None else sample.mask
    if labels is None:
        kind = "classes" if classes is not None else "mask"
        raise DataError(f"frame {sample.record.id} has no {kind}; nnU-Net trains on labelled frames alone")
    values = labels.astype(np.uint8)
    unnamed = set(np.unique(values).tolist()) - {0, *classes} if classes is not None else set()
    if unnamed:
        raise DataError(f"frame {sample.record.id} holds classes without a name: {some(map(str, unnamed))}")
    _write(folder / IMAGES / f"{case}{CHANNEL}{file_ending}", to_integers(sample.image))
    _write(folder / LABELS / f"{case}{file_ending}", values)


def _write(path: Path, array: npt.NDArray[Any]) -> None:
    if path.suffix == ".png":
        write_png(path, array)
        return
    _, content = cv2.imencode(path.suffix, np.ascontiguousarray(array))
    write_whole(path, bytes(content.data), durable=False)


def to_integers(image: FloatImage) -> npt.NDArray[Any]:
    """A frame in [0, 1] as the 8 or 16 bits that `read_frame` gives back: exact where it came from such.

    Other floats are rounded to 16 bits, or to 8 where the frame is so dark that 16 bits would be read as 10 to 14.
    """
    for scale in FULL_SCALES:
        values = np.rint(image * np.float32(scale))
        if np.array_equal(values.astype(np.float32) / np.float32(scale), image) and _is_read_as(values, scale):
            return np.asarray(values.astype(np.uint8 if scale == 255 else np.uint16))
    values = np.rint(image * np.float32(FULL_SCALES[-1]))
    if _is_read_as(values, FULL_SCALES[-1]):
        return np.asarray(values.astype(np.uint16))
    return np.asarray(np.rint(image * np.float32(255)).astype(np.uint8))


def _is_read_as(values: npt.NDArray[Any], scale: int) -> bool:
    """Whether `read_frame` would divide these values by `scale`: 16 bits go by the scale that fits them."""
    return scale == 255 or full_scale(values) == scale


def _table(name: str, count: int, file_ending: str, classes: Mapping[int, str] | None) -> dict[str, Any]:
    named = {text: value for value, text in sorted(classes.items())} if classes is not None else {"vessel": 1}
    return {
        "name": name,
        "description": "Vessels in X-ray angiograms, written by vasomim",
        "channel_names": {"0": "xray"},
        "labels": {"background": 0, **named},
        "numTraining": count,
        "file_ending": file_ending,
    }
