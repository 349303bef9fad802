"""Peak memory of every verb against the number of frames: it must not grow with them.

    python benchmarks/memory.py --frames 500 5000 --out results/memory.json

Frames are made for the purpose (512 px, noise on a few synthetic angiograms, no two alike). Training verbs run their
laptop recipe for a few steps, which is enough: what could grow is what is kept of each frame. `predict` and `evaluate`
see a tenth of the frames, with the segmenter that `finetune` has just left. Peaks are those of the largest single
process and, in `total`, of the process and its workers together, sampled every 20 ms.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vasomim.data.frames import write_png
from vasomim.synth import generate

SIZE, SCENES = 512, 12


def make_frames(root: Path, count: int) -> None:
    """Labelled frames, all different, in images/ and masks/."""
    scenes = [generate(seed, size=SIZE) for seed in range(SCENES)]
    for index in range(count):
        scene = scenes[index % SCENES]
        image = scene.image.copy()
        image[0, :4] = np.frombuffer(np.uint32(index).tobytes(), np.uint8)  # no two frames are identical
        write_png(root / "images" / f"{index:06d}.png", image)
        write_png(root / "masks" / f"{index:06d}.png", scene.mask.astype(np.uint8) * 255)


def rss(pid: int) -> dict[int, int]:
    """Resident bytes of a process and of all below it."""
    found = {}
    try:
        found[pid] = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= rss(int(child))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def peak(arguments: list[str]) -> dict[str, float]:
    """Peak memory in MiB and seconds of one command."""
    start, largest, total = time.time(), 0, 0
    process = subprocess.Popen([sys.executable, "-m", "vasomim", *arguments], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        now = rss(process.pid)
        largest, total = max(largest, *now.values(), 0), max(total, sum(now.values()))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"vasomim {' '.join(arguments)} ended with {process.returncode}")
    return {
        "largest_mib": round(largest / 2**20),
        "total_mib": round(total / 2**20),
        "seconds": round(time.time() - start),
    }


def measure(count: int) -> dict[str, dict[str, float]]:
    """Every verb on `count` frames."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_frames(root / "all", count)
        make_frames(root / "tenth", max(count // 10, 1))
        places = {name: str(root / name) for name in ("vessels", "guide", "encoder", "model", "masks")}
        frames, tenth = str(root / "all" / "images"), str(root / "tenth")
        vessels = ["--vessels", places["vessels"]]
        commands = {
            "extract": [frames, "--out", places["vessels"]],
            "segmentor": [frames, *vessels, "--out", places["guide"], "--config", "segmentor_laptop", "--steps", "4"],
            "pretrain": [
                *(frames, *vessels, "--segmentor", places["guide"], "--out", places["encoder"]),
                *("--config", "pretrain_laptop", "--steps", "4"),
            ],
            "finetune": [
                *(str(root / "all"), "--init", places["encoder"], "--out", places["model"]),
                *("--config", "finetune_laptop", "--steps", "4"),
            ],
            "predict": [f"{tenth}/images", "--weights", places["model"], "--out", places["masks"]],
            "evaluate": [tenth, "--weights", places["model"]],
        }
        return {verb: peak([verb, *arguments]) for verb, arguments in commands.items()}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--out", type=Path, default=Path("results/memory.json"))
    arguments = parser.parse_args()
    rows = {str(count): measure(count) for count in arguments.frames}
    command = "python benchmarks/memory.py --frames " + " ".join(map(str, arguments.frames))
    hardware = f"{platform.machine()}, {platform.system()}, CPU only"
    arguments.out.write_text(json.dumps({"command": command, "hardware": hardware, "mib": rows}, indent=1) + "\n")
    for count, verbs in rows.items():
        for verb, numbers in verbs.items():
            print(
                f"{count:>7} {verb:<10} {numbers['largest_mib']:>6} MiB largest, {numbers['total_mib']:>6} MiB in all"
            )


if __name__ == "__main__":
    main()
