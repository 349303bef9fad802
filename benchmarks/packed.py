"""Packs: how fast they feed training, and that making one takes no more memory for more frames.

    python benchmarks/packed.py speed --out results/packed_speed.json
    python benchmarks/packed.py memory --frames 1000 10000 100000 --out results/packed_memory.json
    python benchmarks/packed.py wait --out results/packed_wait.json

`speed`: batches of 32 crops of 224 px, frame and vessels, from 512 px frames that all lie in the page cache, in one
process and one thread, by ways that take turns. The reference below opens both PNGs with Pillow, as one would write it
first; the second picture is the vesselness in 8 bits, as published, or the mask that our ways read, which compresses
better. Times are medians of processor time over the rounds, which other load disturbs less than the clock; what counts
is their ratio.

`memory`: peak of the process and its workers while frames of 64 px are packed, checked and read back; what grows with
their number is the list of records.

`wait`: the share of the time that a pre-training on the CPU waits for its crops, as its metrics.jsonl has it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from memory import make_frames, peak
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from vasomim.data.augment import JointCrop
from vasomim.data.device_batches import DeviceBatches
from vasomim.data.extraction import VesselStore
from vasomim.data.frames import read_pixels, write_png
from vasomim.data.open import open_frames
from vasomim.data.packed import PackDataset
from vasomim.data.samples import with_vessels
from vasomim.data.stream import SampleStream, make_loader
from vasomim.ops.allocator import keep_freed_memory

BATCH, SIZE = 32, 224


class PillowSamples(Dataset):
    """The reference: a frame and its vessels as PNG; random resized crop and flip, to tensors."""

    def __init__(self, frames: Path, vessels: Path) -> None:
        self.frames = sorted(frames.glob("*.png"))
        self.vessels = [vessels / path.name for path in self.frames]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        frame = Image.open(self.frames[index]).convert("L")
        vessels = Image.open(self.vessels[index]).convert("L")
        width, height = frame.size
        while True:
            area, aspect = width * height * random.uniform(0.2, 1), random.uniform(3 / 4, 4 / 3)
            w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if w <= width and h <= height:
                break
        left, top = random.randint(0, width - w), random.randint(0, height - h)
        frame = frame.crop((left, top, left + w, top + h)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        vessels = vessels.crop((left, top, left + w, top + h)).resize((SIZE, SIZE), Image.Resampling.NEAREST)
        if random.random() < 0.5:
            frame = frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            vessels = vessels.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return tuple(torch.from_numpy(np.array(x)).float().div(255).unsqueeze(0) for x in (frame, vessels))


def speed(frames: int = 96, rounds: int = 15) -> dict[str, Any]:
    """Milliseconds a sample of the reference, of our folder path, of a pack, and of the tensor path on this CPU."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    keep_freed_memory()  # as training runs do
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_frames(root, frames)
        images, vessels = root / "images", root / "vessels"
        run_quietly("extract", images, "--out", vessels, "--vesselness")
        run_quietly("prepare", images, "--vessels", vessels, "--out", root / "pack")
        for path in (vessels / "vesselness").iterdir():
            write_png(root / "bytes" / path.name, (read_pixels(path) >> 8).astype(np.uint8))
        crop, length = JointCrop(SIZE), BATCH * 1000
        pack = PackDataset(root / "pack")
        with_store = with_vessels(open_frames([images]), VesselStore(vessels))
        tensors = DeviceBatches(
            pack, crop, seed=0, length=length, batch_size=BATCH, device=torch.device("cpu"), resident=True
        )
        ways: dict[str, Iterator[Any]] = {
            "reference": endless(DataLoader(PillowSamples(images, root / "bytes"), BATCH, shuffle=True)),
            "reference on masks": endless(DataLoader(PillowSamples(images, vessels / "masks"), BATCH, shuffle=True)),
            "folder": iter(make_loader(SampleStream(with_store, crop, 0, length), BATCH)),
            "pack": iter(make_loader(SampleStream(pack, crop, 0, length), BATCH)),
            "pack, as tensors": tensors(0),
        }
        times = take_turns(ways, rounds)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    return {
        "ms_a_sample": {name: round(value, 3) for name, value in medians.items()},
        "times_faster": {name: round(medians["reference"] / value, 1) for name, value in medians.items()},
    }


def take_turns(ways: dict[str, Iterator[Any]], rounds: int) -> dict[str, list[float]]:
    """Processor milliseconds a sample, round by round, a batch a turn.

    Before, the ways are warmed up; the crops, which keep a matrix for each length of a side, until they have met all.
    """
    for name, batches in ways.items():
        for _ in range(40 if name in ("folder", "pack") else 3):
            next(batches)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, batches in ways.items():
            start = time.process_time()
            next(batches)
            times[name].append((time.process_time() - start) / BATCH * 1e3)
    return times


def endless(loader: DataLoader[Any]) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


def memory(counts: list[int]) -> dict[str, Any]:
    """Peaks of packing, of checking, and of reading back in random order, by number of frames."""
    return {str(count): memory_of(count) for count in counts}


def memory_of(count: int) -> dict[str, Any]:
    """One row."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_small_frames(root / "frames", count)
        pack = str(root / "pack")
        row: dict[str, Any] = {
            "prepare": peak(["prepare", str(root / "frames"), "--out", pack]),
            "verify": peak(["prepare", pack, "--verify"]),
        }
        reading = [sys.executable, __file__, "read", "--pack", pack]
        row["read"] = json.loads(subprocess.run(reading, check=True, capture_output=True, text=True).stdout)
    print(count, json.dumps(row), flush=True)
    return row


def make_small_frames(root: Path, count: int) -> None:
    """Noise of 64 x 64 pixels, no two frames alike, a thousand a folder."""
    rng = np.random.default_rng(0)
    for index in range(count):
        if index % 1000 == 0:
            (root / f"{index // 1000:03d}").mkdir(parents=True)
        frame = rng.integers(0, 256, (64, 64), np.uint8)
        cv2.imwrite(str(root / f"{index // 1000:03d}" / f"{index:06d}.png"), frame)


def read(pack: Path) -> dict[str, float]:
    """Seconds to open a pack, crops a second in random order, peak memory in MiB."""
    start = time.perf_counter()
    dataset = PackDataset(pack)
    opened = time.perf_counter()
    for _ in make_loader(SampleStream(dataset, JointCrop(48), 0, len(dataset)), BATCH):
        pass
    return {
        "open_seconds": round(opened - start, 2),
        "samples_per_second": round(len(dataset) / (time.perf_counter() - opened)),
        "largest_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
    }


def wait(frames: int = 200, steps: int = 60) -> dict[str, Any]:
    """Share of waiting in a pre-training with the laptop's recipe: from a folder and from a pack, by worker count."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_frames(root, frames)
        images, vessels, guide = root / "images", root / "vessels", root / "guide"
        run_quietly("extract", images, "--out", vessels)
        run_quietly("prepare", images, "--vessels", vessels, "--out", root / "pack")
        run_quietly(
            *("segmentor", images, "--vessels", vessels, "--out", guide, "--config", "segmentor_laptop"),
            *("--steps", "2", "--batch-size", "8"),
        )
        shared = ["--segmentor", guide, "--config", "pretrain_laptop", "--steps", steps, "--log-every", 10]
        for source, inputs in (("folder", [images, "--vessels", vessels]), ("pack", [root / "pack"])):
            for workers in (0, 1, 2):
                out = root / f"{source}_{workers}"
                run_quietly("pretrain", *inputs, *shared, "--num-workers", workers, "--out", out)
                lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
                steady = [line for line in lines if "data_wait" in line][1:]  # workers start in the first ten steps
                found[f"{source}, {workers} workers"] = {
                    "data_wait": round(float(np.mean([line["data_wait"] for line in steady])), 4),
                    "samples_per_second": round(float(np.median([line["samples_per_second"] for line in steady])), 1),
                }
                print(source, workers, found[f"{source}, {workers} workers"], flush=True)
    return found


def run_quietly(*arguments: object) -> None:
    """A verb in a process of its own."""
    command = [sys.executable, "-m", "vasomim", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    """Measure one thing and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory", "wait", "read"))
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "read":
        print(json.dumps(read(arguments.pack)))
        return
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "speed": speed,
        "memory": lambda: memory(arguments.frames),
        "wait": wait,
    }
    result = {
        "command": f"python benchmarks/packed.py {arguments.what}",
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, CPU only",
        "results": measures[arguments.what](),
    }
    print(json.dumps(result["results"], indent=1))
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
