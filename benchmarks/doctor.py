"""Measure the audit of data: what it finds on public sets, how fast, and how many planted faults it sees.

    python benchmarks/doctor.py [--data $VASOMIM_DATA] [--out results/doctor.json]

Sets are audited whole, in one process; `seconds` is processor time, which other load disturbs less than the clock.
Faults are planted, one at a time, into every other frame of ARCADE syntax/val; `missed` counts those not found and
`false_alarms` the same kind of finding on the untouched frames.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vasomim._version import __version__
from vasomim.data.arcade import ArcadeDataset
from vasomim.data.audit.audit import Audit, audit_folders
from vasomim.data.copies import COPY
from vasomim.data.frames import read_record, write_png
from vasomim.ops.hamming import MAX_RADIUS, close_pairs
from vasomim.ops.likeness import likeness
from vasomim.ops.perceptual import hash_distance, perceptual_hash
from vasomim.types import Sample

SETS = ("arcade", "danilov_352", "xcad", "dca1")
HASHES = 100_000


def audited(folder: Path) -> tuple[Audit, float]:
    """The audit of a folder in this process, and the processor seconds it took."""
    start = time.process_time()
    result = audit_folders([folder], workers=1)
    return result, time.process_time() - start


def row(result: Audit, seconds: float) -> dict[str, Any]:
    """What an audit found, by severity and kind."""
    frames = result.summary["frames"]
    findings: dict[str, dict[str, int]] = {}
    for severity, kind in sorted({(item.severity, item.kind) for item in result.findings}):
        of_kind = [item for item in result.findings if (item.severity, item.kind) == (severity, kind)]
        files = {name for item in of_kind for name in item.files}
        findings[f"{severity} {kind}"] = {"findings": len(of_kind), "files": len(files)}
    speed = round(frames / seconds, 1)
    return {"frames": frames, "seconds": round(seconds, 1), "frames_per_second": speed, "findings": findings}


def copies(result: Audit) -> dict[str, Any]:
    """Groups of copies, and how far their likeness lies from the threshold."""
    near = [item.files for item in result.findings if item.kind == "near_duplicate"]
    similar = [item.files for item in result.findings if item.kind == "similar_frames"]
    return {
        "exact_groups": [list(item.files) for item in result.findings if item.kind == "exact_duplicate"],
        "near_groups_by_folders": dict(Counter(" = ".join(sorted(map(_folder, files))) for files in near)),
        "similar_groups": [list(files) for files in similar],
        "threshold": COPY,
        "least_alike_copy": min((_quartile(result, files) for files in near), default=None),
        "most_alike_other": max((_quartile(result, files) for files in similar), default=None),
    }


def _folder(name: str) -> str:
    return name.partition("/images/")[0]


def _quartile(result: Audit, files: tuple[str, ...]) -> float:
    first, second = (read_record(result.jobs[name].record) for name in files[:2])
    return round(likeness(first, second).quartile, 3)


def runs_without_table(folder: Path) -> dict[str, int]:
    """Frames of cine runs whose table is hidden: all copies that are reported are false alarms."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "frames").symlink_to(folder / "images")
        result, _ = audited(Path(place))
    groups = [item.files for item in result.findings if item.kind == "similar_frames"]
    patients = [{Path(name).name.split("_")[1] for name in files} for files in groups]
    return {
        "near_duplicate": sum(item.kind == "near_duplicate" for item in result.findings),
        "similar_frames": len(groups),
        "similar_frames_of_several_patients": sum(len(held) > 1 for held in patients),
    }


def matching() -> dict[str, Any]:
    """Seconds to match 100,000 random hashes of which 1,000 are copies with 12 bits changed."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (HASHES, 4), dtype=np.uint64)
    for k in range(1000):
        hashes[HASHES - 1 - k] = hashes[k]
        for bit in rng.choice(256, 12, replace=False):
            hashes[HASHES - 1 - k, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    start = time.process_time()
    found = sum(len(block.first) for block in close_pairs(hashes, MAX_RADIUS))
    return {"hashes": HASHES, "planted": 1000, "found": found, "seconds": round(time.process_time() - start, 1)}


def jpeg(image: np.ndarray, quality: int, side: int | None = None) -> np.ndarray:
    """The frame through a JPEG file, at another size where `side` is given; (H, W) in [0, 1] -> the same."""
    levels = np.rint(image * 255).astype(np.uint8)
    if side is not None:
        levels = cv2.resize(levels, (side, side), interpolation=cv2.INTER_AREA)
    content = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(content, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG quality 75": lambda image: jpeg(image, 75),
    "JPEG quality 50": lambda image: jpeg(image, 50),
    "JPEG quality 30": lambda image: jpeg(image, 30),
    "352 px, JPEG 85": lambda image: jpeg(image, 85, 352),
    "224 px, JPEG 85": lambda image: jpeg(image, 85, 224),
    "128 px, JPEG 85": lambda image: jpeg(image, 85, 128),
    "gamma 1.4": lambda image: image**1.4,
    "contrast 0.7": lambda image: 0.7 * image + 0.05,
    "local equalisation": lambda image: cv2.createCLAHE(2, (8, 8)).apply(np.rint(image * 255).astype(np.uint8)) / 255.0,
    "mirrored": lambda image: image[:, ::-1],
}


def copies_found(samples: list[Sample]) -> dict[str, float]:
    """Share of changed copies that are told for copies; of mirrored ones none is meant to be."""

    def is_copy(image: np.ndarray, other: np.ndarray) -> bool:
        near = hash_distance(perceptual_hash(image), perceptual_hash(other)) <= MAX_RADIUS
        return bool(near) and likeness(image, other).quartile >= COPY

    return {
        name: round(float(np.mean([is_copy(s.image, np.ascontiguousarray(change(s.image))) for s in samples])), 3)
        for name, change in CHANGES.items()
    }


def lettered(image: np.ndarray) -> np.ndarray:
    """The frame with a small white line of text."""
    levels = np.rint(image * 255).astype(np.uint8)
    return cv2.putText(levels, "DOE JOHN 1967", (20, 480), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1, cv2.LINE_AA) / 255.0


FAULTS: dict[str, tuple[str, Callable[[Sample], tuple[np.ndarray, np.ndarray]]]] = {
    "inverted frame": ("inverted", lambda s: (1 - s.image, s.mask)),
    "burnt-in text": ("burnt_in_text", lambda s: (lettered(s.image), s.mask)),
    "mask moved by 10 px": ("misaligned_mask", lambda s: (s.image, np.roll(s.mask, (7, -7), (0, 1)))),
    "mask moved by 26 px": ("misaligned_mask", lambda s: (s.image, np.roll(s.mask, (-18, 18), (0, 1)))),
    "mask mirrored": ("misaligned_mask", lambda s: (s.image, s.mask[:, ::-1])),
    "mask transposed": ("misaligned_mask", lambda s: (s.image, s.mask.T)),
}


def planted(samples: list[Sample]) -> dict[str, dict[str, int]]:
    """Faults planted into frames with masks, and how many the audit misses; false alarms on the untouched frames."""
    clean = _kinds(samples, lambda s: (s.image, s.mask))
    result = {}
    for name, (kind, change) in FAULTS.items():
        found = _kinds(samples, change)[kind]
        result[name] = {"planted": len(samples), "missed": len(samples) - found, "false_alarms": clean[kind]}
    return result


def _kinds(samples: list[Sample], change: Callable[[Sample], tuple[np.ndarray, np.ndarray]]) -> Counter[str]:
    """Files by kind of finding in a folder of the changed samples."""
    with tempfile.TemporaryDirectory() as place:
        for sample in samples:
            image, mask = change(sample)
            levels = np.ascontiguousarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))
            write_png(Path(place) / "images" / f"{sample.record.id}.png", levels)
            write_png(Path(place) / "masks" / f"{sample.record.id}.png", np.ascontiguousarray(mask))
        result, _ = audited(Path(place))
    return Counter({item.kind: 0 for item in result.findings} | _files(result))


def _files(result: Audit) -> dict[str, int]:
    counts: dict[str, set[str]] = {}
    for item in result.findings:
        counts.setdefault(item.kind, set()).update(item.files)
    return {kind: len(files) for kind, files in counts.items()}


def main() -> None:
    """Audit the sets, plant the faults and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("results/doctor.json"))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    result: dict[str, Any] = {
        "command": "python benchmarks/doctor.py",
        "version": __version__,
        "hardware": f"one CPU core ({platform.machine()})",
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "sets": {},
    }
    for name in SETS:
        audit, seconds = audited(arguments.data / name)
        result["sets"][name] = row(audit, seconds)
        print(name, json.dumps(result["sets"][name]), flush=True)
        if name == "arcade":
            result["arcade_copies"] = copies(audit)
    dataset = ArcadeDataset(arguments.data / "arcade" / "syntax" / "val")
    samples = [dataset[index] for index in range(0, len(dataset), 2)]
    result["danilov_352_without_its_table"] = runs_without_table(arguments.data / "danilov_352")
    result["copies_of_arcade_val_found"] = copies_found(samples)
    result["planted_into_arcade_val"] = planted(samples)
    result["matching"] = matching()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
