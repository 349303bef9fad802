"""The folder of a prediction: pictures by frame id, runs, and predictions.json, which says what made them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np

from vasomim.data.frames import write_png
from vasomim.errors import DataError, MisuseError
from vasomim.files import clear_leftovers, contents, make_folder, refuse_filled, take_folder, write_text, writing
from vasomim.types import FloatImage, Prediction
from vasomim.viz.images import overlay

SUMMARY = "predictions.json"
FORMAT_VERSION = 1
RUNS = "runs"
"""Folder of what is written of DICOM runs beside the pictures of their frames."""
_UNFINISHED = ".unfinished"
"""Folder of a run until it is whole."""
_SAVE_EVERY = 10.0
"""Seconds between two writes of the summary; a killed run repeats at most that much."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is written beside masks/."""

    overlays: bool = True
    probability: bool = True

    @property
    def kinds(self) -> list[str]:
        """Names of the folders that are written."""
        asked = {"masks": True, "overlays": self.overlays, "probability": self.probability}
        return [kind for kind, wanted in asked.items() if wanted]


def picture_file(root: Path, kind: str, frame_id: str) -> Path:
    """Where a frame's picture lies below `root`; `kind` is `masks`, `overlays` or `probability`."""
    return root / kind / f"{frame_id}.png"


def write_pictures(root: Path, frame_id: str, image: FloatImage, prediction: Prediction, parts: Parts) -> None:
    """Write the pictures of one frame below `root`; safe to call from several threads.

    Raises:
        LongNameError, WriteError: as `write_png`.
    """
    if parts.overlays:
        write_png(picture_file(root, "overlays", frame_id), overlay(image, prediction.mask))
    if parts.probability:
        values = np.rint(prediction.probability * 65535).astype(np.uint16)
        write_png(picture_file(root, "probability", frame_id), values)
    write_png(picture_file(root, "masks", frame_id), prediction.mask)


class PredictionFolder:
    """OUT/masks/, OUT/overlays/, OUT/probability/ and OUT/predictions.json. Each file appears whole or not at all.

    Use it as a context manager, so that other processes may write the folder afterwards: two at a time would lose each
    other's entries and unfinished runs.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], parts: Parts) -> None:
        """Start a folder, or go on with one made by the same weights and settings.

        Args:
            path: the folder.
            identity: weights and settings, plain values; what decides whether a frame is done.
            parts: what to write.

        Raises:
            MisuseError: it holds something else, predictions of other weights or settings, or is written by another
                process.
            LongNameError, WriteError: nothing can be written there.
        """
        self.path = path
        self.parts = parts
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.frames: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, str] = {}
        self._saved = time.monotonic()
        refuse_filled(path, replace=True)
        make_folder(path)
        self._lock = take_folder(path)
        try:
            self._adopt()
            clear_leftovers(path)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        """The folder itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of the folder."""
        self._lock.close()

    def file(self, kind: str, frame_id: str) -> Path:
        """As `picture_file`, in this folder.

        Raises:
            DataError: the id would lead out of the folder.
        """
        name = PurePosixPath(frame_id)
        if name.is_absolute() or ".." in name.parts or not name.parts:
            raise DataError(f"frame id {frame_id!r} would leave the output folder; rename the frame")
        return picture_file(self.path, kind, str(name))

    def is_done(self, frame_id: str, source: str) -> bool:
        """Whether all that is asked for exists, made from a file of the same content.

        Raises:
            DataError: the id would lead out of the folder.
        """
        files = [self.file(kind, frame_id) for kind in self.parts.kinds]
        known = self.frames.get(frame_id)
        return known is not None and known["source"] == source and all(file.is_file() for file in files)

    def write(self, frame_id: str, source: str, image: FloatImage, prediction: Prediction) -> None:
        """Write the pictures of one frame, in place of all that a file of other content left under its name.

        Safe to call from several threads.

        Raises:
            DataError: the id would lead out of the folder.
            LongNameError, WriteError: as `write_png`.
        """
        self.file("masks", frame_id)
        if self.frames.get(frame_id, {}).get("source") != source:
            self._remove_pictures(frame_id)
        write_pictures(self.path, frame_id, image, prediction, self.parts)

    def note(self, frame_id: str, source: str, prediction: Prediction) -> None:
        """Remember a written frame."""
        height, width = prediction.mask.shape
        self.failures.pop(frame_id, None)
        self.frames[frame_id] = {
            "height": height,
            "width": width,
            "vessel_share": round(float(prediction.mask.mean()), 6),
            "seconds": round(float(prediction.meta["seconds"]), 4),
            "source": source,
            **{kind: prediction.meta[kind] for kind in ("warning", "doubt") if kind in prediction.meta},
        }
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self.save()

    def note_failure(self, frame_id: str, message: str) -> None:
        """Remember a frame that could not be used; what an earlier file of its name gave goes, lest it be scored."""
        self.frames.pop(frame_id, None)
        self.runs.pop(frame_id, None)
        self.failures[frame_id] = message
        self._remove_pictures(frame_id)

    def is_run_done(self, name: str, frame_ids: Iterable[str], files: Iterable[str], source: str) -> bool:
        """Whether all that is asked for of a DICOM run exists, made from a file of the same content.

        Args:
            name: of the run.
            frame_ids: of its frames that are asked for.
            files: names of what is asked for beside their pictures.
            source: hash of the file.
        """
        ids, entry = list(frame_ids), self.runs.get(name)
        if entry is None or entry["source"] != source or entry["frames"] != len(ids):
            return False
        pictures = [self.file(kind, frame_id) for kind in self.parts.kinds for frame_id in ids]
        return all(file.is_file() for file in [*pictures, *(self.path / RUNS / name / file for file in files)])

    @property
    def unfinished(self) -> Path:
        """Where a run is written until it is whole, as it will lie in this folder."""
        return self.path / _UNFINISHED

    def clear_unfinished(self) -> None:
        """Delete what a call that was killed, or that failed, left unfinished."""
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def place_run(self, name: str) -> None:
        """Move a run that is whole into place; what an earlier file of that name left goes, runs in sub-folders stay.

        Raises:
            VasomimError: it cannot be written.
        """
        staged = [file.relative_to(self.unfinished) for file in self.unfinished.rglob("*") if file.is_file()]
        with writing(Path(name)):
            if name not in self.frames:
                self._remove_pictures(name)
            for file in self._files_of_run(name):
                file.unlink()
            for inner in staged:
                target = self.path / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                (self.unfinished / inner).replace(target)

    def note_run(self, name: str, entry: dict[str, Any]) -> None:
        """Remember a run that is written, at once: it took a while.

        Raises:
            VasomimError: predictions.json cannot be written.
        """
        self.failures.pop(name, None)
        self.runs[name] = entry
        self.save()

    def note_failed_run(self, label: str, message: str, names: Iterable[str] = ()) -> None:
        """Remember a DICOM file that could not be used; runs of these names are what it gave earlier, and go."""
        self.failures[label] = message
        for name in names:
            if self.runs.pop(name, {}).get("frames") == 1 and name not in self.frames:
                self._remove_pictures(name)
            for file in self._files_of_run(name):
                with suppress(OSError):
                    file.unlink()

    def _files_of_run(self, name: str) -> list[Path]:
        """What an earlier call wrote of a run of several frames; runs in sub-folders are others."""
        found = [*(self.path / RUNS / name).glob("*.*")]
        for kind in Parts().kinds:
            found += (self.path / kind / name).glob("[0-9][0-9][0-9][0-9].png")
        return [file for file in found if file.is_file()]

    def _remove_pictures(self, frame_id: str) -> None:
        for kind in Parts().kinds:
            with suppress(DataError, OSError):  # none is there, or none can be called that
                self.file(kind, frame_id).unlink()

    def mean_vessel_share(self, frame_ids: Iterable[str]) -> float | None:
        """Mean share of vessel pixels over those of the frames that are done; None where there is none."""
        shares = [self.frames[name]["vessel_share"] for name in frame_ids if name in self.frames]
        return sum(shares) / len(shares) if shares else None

    def save(self) -> None:
        """Write predictions.json.

        Raises:
            VasomimError: it cannot be written.
        """
        content = {
            "format_version": FORMAT_VERSION,
            **self.identity,
            "frames": dict(sorted(self.frames.items())),
            **({"runs": dict(sorted(self.runs.items()))} if self.runs else {}),
            "failures": dict(sorted(self.failures.items())),
        }
        write_text(self.path / SUMMARY, json.dumps(content, indent=1) + "\n")
        self._saved = time.monotonic()

    def _adopt(self) -> None:
        """Take over what an earlier call left, or refuse."""
        there = contents(self.path)
        if not there:
            return
        try:
            known = json.loads((self.path / SUMMARY).read_text(encoding="utf-8"))
            identity = {name: known[name] for name in self.identity}
            frames, runs = dict(known["frames"]), dict(known.get("runs", {}))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise MisuseError(
                f"{self.path} is not empty and holds no predictions to go on with (no valid {SUMMARY} beside "
                f"{', '.join(there[:3])}); choose another --out, or empty it"
            ) from None
        if identity != self.identity:
            raise MisuseError(
                f"{self.path} holds predictions of other weights or settings: {_differences(identity, self.identity)}; "
                "choose another --out, or delete the folder to start again"
            )
        self.frames, self.runs = frames, runs


def _differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Flat names of what differs, as `settings.threshold 0.5 there, 0.4 now`."""
    before, after = _flat(there), _flat(now)
    names = [name for name in sorted({**before, **after}) if before.get(name) != after.get(name)]
    return "; ".join(f"{name} {before.get(name)} there, {after.get(name)} now" for name in names)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
