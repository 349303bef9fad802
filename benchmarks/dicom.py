"""Time to open a DICOM run and to decode a frame of it, in every encoding.

    VASOMIM_DATA=../shared/data python benchmarks/dicom.py --out results/dicom.json

Synthetic runs (16 frames of 512 px, 10 bits in 16; 8 bits for lossy JPEG) are written in each encoding; real files are
those in $VASOMIM_DATA/dicom, if there are any, and are named by what they are, not by what they are called. Times are
CPU time of this process and of its decoding child, in milliseconds, the median over repeats; the child's clock ticks in
hundredths of a second, so that a repeat reads as many frames as fill a second or so.

`open` reads the header and finds the frames. `stored` decodes one frame, frames in random order. `frame` makes it grey
in [0, 1] too. `pydicom` is `pydicom.pixels.pixel_array(path, index=)` on the same frames, which reads the header each
time and decodes in this process. `best` is `frame` and the score that finds the best frame; how well it finds it is
measured too, on synthetic runs whose filling is known.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    XRayAngiographicImageStorage,
    generate_uid,
)

from vasomim.data.dicom import open_run
from vasomim.data.dicom.contrast import best_frame
from vasomim.data.dicom.isolation import child_pid
from vasomim.data.dicom.run import DicomRun
from vasomim.synth.cine import generate_cine

FRAMES, SIZE, BITS = 16, 512, 10
ENCODINGS = (ExplicitVRLittleEndian, RLELossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
BEST_SEEDS = range(200, 216)
"""Synthetic runs that the score was not chosen on."""
BUDGET = 1.0
"""Seconds of CPU time that a repeat takes, at least one frame."""


def write_run(path: Path, pixels: np.ndarray, bits: int, encoding: UID) -> Path:
    """An XA object of frames (T, H, W)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "XA", "MONOCHROME2", 1
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = pixels.dtype.itemsize * 8, bits, bits - 1
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 1 << (bits - 1), 1 << bits
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    if encoding == RLELossless:
        dataset.compress(RLELossless, encoding_plugin="pydicom")
    dataset.save_as(path, enforce_file_format=True)
    return path if encoding in (ExplicitVRLittleEndian, RLELossless) else transcode(path, encoding)


def transcode(path: Path, encoding: UID) -> Path:
    """Encode a file anew with GDCM."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(encoding))))
    if not reader.Read():
        raise SystemExit(f"GDCM cannot read {path}")
    change.SetInput(reader.GetImage())
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetFileName(str(path))
    if not change.Change():
        raise SystemExit(f"GDCM cannot write {encoding.name}")
    writer.SetImage(change.GetOutput())
    writer.Write()
    return path


def cpu_seconds() -> float:
    """CPU time of this process and of its decoding child so far."""
    pid = child_pid()
    if pid is None:
        return time.process_time()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def milliseconds(act: Callable[[int], object], indices: Sequence[int], repeats: int) -> float:
    """CPU milliseconds a call, the median over repeats; every repeat lasts about BUDGET seconds."""
    act(indices[0])
    began = cpu_seconds()
    for index in indices[:3]:
        act(index)
    calls = max(1, int(BUDGET / max((cpu_seconds() - began) / len(indices[:3]), 1e-4)))
    found = []
    for _ in range(repeats):
        began = cpu_seconds()
        for number in range(calls):
            act(indices[number % len(indices)])
        found.append((cpu_seconds() - began) / calls * 1000)
    return round(statistics.median(found), 2)


def describe(run: DicomRun) -> str:
    """What a run is, without its name."""
    facts = run.facts
    return f"{facts.num_frames} x {facts.columns} x {facts.rows}, {facts.bits_stored} bits in {facts.bits_allocated}"


def measure(path: Path, source: str, repeats: int) -> dict[str, Any]:
    """A row of the table."""
    run = open_run(path)
    indices = np.random.default_rng(0).permutation(len(run)).tolist()
    return {
        "source": source,
        "run": describe(run),
        "encoding": UID(run.facts.transfer_syntax).name.partition(",")[0].partition(" (")[0],
        "bytes_per_frame": round(sum(len(run.encoded(k)) for k in range(len(run))) / len(run)),
        "open_ms": milliseconds(lambda _: open_run(path), [0], repeats),
        "stored_ms": milliseconds(run.stored, indices, repeats),
        "frame_ms": milliseconds(run.frame, indices, repeats),
        "pydicom_ms": milliseconds(lambda k: pydicom.pixels.pixel_array(path, index=k), indices, repeats),
        "best_ms_per_frame": milliseconds(lambda k: best_frame([run.frame(k)]), indices, repeats),
    }


def synthetic(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Rows of synthetic runs."""
    cine = generate_cine(0, size=SIZE, num_frames=FRAMES, bits=16).images
    rows = []
    for encoding in ENCODINGS:
        bits = 8 if encoding == JPEGBaseline8Bit else BITS
        pixels = (cine >> (16 - bits)).astype(np.uint8 if bits == 8 else np.uint16)
        rows.append(measure(write_run(folder / "run", pixels, bits, encoding), "synthetic", repeats))
        print(rows[-1], file=sys.stderr)
    return rows


def real(repeats: int) -> list[dict[str, Any]]:
    """Rows of the real files at hand."""
    folder = Path(os.environ.get("VASOMIM_DATA", "")) / "dicom"
    files = sorted(folder.iterdir()) if os.environ.get("VASOMIM_DATA") and folder.is_dir() else []
    return [measure(path, "real", repeats) for path in files]


def best_frames() -> dict[str, float]:
    """How much of the vessel area of the fullest frame the chosen one shows, over synthetic runs of known filling."""
    chosen, typical = [], []
    for seed in BEST_SEEDS:
        cine = generate_cine(seed, size=256, num_frames=24)
        filled = cine.masks.sum((1, 2))
        best = best_frame((image / np.float32(255)).astype(np.float32) for image in cine.images)
        chosen.append(filled[best] / filled.max())
        typical.append(filled.mean() / filled.max())
    return {
        "runs": len(chosen),
        "chosen_mean": round(float(np.mean(chosen)), 3),
        "chosen_worst": round(float(np.min(chosen)), 3),
        "any_frame_mean": round(float(np.mean(typical)), 3),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    names = ("open_ms", "stored_ms", "frame_ms", "pydicom_ms", "best_ms_per_frame")
    columns = ("source", "run", "encoding", "KiB a frame", "open", "stored", "frame", "pydicom", "best")
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    lines = [
        f"| {row['source']} | {row['run']} | {row['encoding']} | {row['bytes_per_frame'] / 1024:.0f} | "
        + " | ".join(f"{row[name]:.1f}" for name in names)
        + " |"
        for row in rows
    ]
    return "\n".join([head, *lines])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    logging.disable(logging.WARNING)  # of what is no angiogram, each time it is opened
    with tempfile.TemporaryDirectory() as folder:
        rows = synthetic(Path(folder), asked.repeats) + real(asked.repeats)
    best = best_frames()
    print(table(rows), f"\nbest: {best}")
    if asked.out is not None:
        import gdcm
        import PIL

        content = {
            "command": f"python benchmarks/dicom.py --out {asked.out} --repeats {asked.repeats}",
            "unit": "CPU milliseconds, one thread; see the script for what each column is",
            "versions": {
                "python": platform.python_version(),
                "pydicom": pydicom.__version__,
                "gdcm": gdcm.Version.GetVersion(),
                "pillow": PIL.__version__,
                "opencv": cv2.__version__,
                "numpy": np.__version__,
            },
            "hardware": f"{platform.machine()}, {os.cpu_count()} CPU cores, shared with other work",
            "rows": rows,
            "best_frame_share_of_fullest": best,
        }
        asked.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
