"""How time and memory grow with frames, tokens, batch and model: numbers, slopes and one picture each.

    python benchmarks/growth.py --out results/growth.json --pictures docs/images

Frames: packing, checking and reading frames of 64 px, taken from results/packed_memory.json (`benchmarks/packed.py
memory`). Tokens: a ViT-Ti/16 on frames of growing size, forward and backward. Batch: a pre-training step of ViT-Ti.
Model: a pre-training step of one frame, ViT-Ti to ViT-L. Times are medians of processor time in one thread; memory is
what the forward pass keeps for the backward pass, weights left out. A slope is the exponent of a power law: of all
points, and of the last two.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vasomim.benchmarks.speed.networks import MIDWAY, make_batch
from vasomim.benchmarks.speed.run import hardware
from vasomim.benchmarks.speed.work import bytes_kept
from vasomim.models.registry import create_model
from vasomim.ops.allocator import keep_freed_memory
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask
from vasomim.viz.charts import line_chart

SIDES = (112, 160, 224, 320, 448, 640)
BATCHES = (1, 2, 4, 8, 16, 32)
MODELS = tuple(f"mae_vit_{size}_patch16" for size in ("tiny", "small", "base", "large"))
Row = dict[str, float]


def cost(module: nn.Module, loss: Callable[[], Tensor], rounds: int) -> Row:
    """Milliseconds of a forward and a backward pass, and MiB kept between them."""
    times = []
    for _ in range(rounds + 1):
        module.zero_grad(set_to_none=True)
        began = time.process_time()
        loss().backward()
        times.append(time.process_time() - began)
    return {"ms": round(1e3 * statistics.median(times[1:]), 2), "mib": round(bytes_kept(module, loss) / 2**20, 2)}


def by_tokens(rounds: int) -> list[Row]:
    """An encoder on one frame of each size."""
    rows = []
    for side in SIDES:
        encoder = create_model("vit_tiny_patch16", img_size=side)
        image = torch.rand(1, 1, side, side)
        row = cost(encoder, lambda encoder=encoder, image=image: encoder.forward_features(image).sum(), rounds)
        rows.append({"tokens": (side // 16) ** 2 + 1, **row})
    return rows


def pretraining(model: str) -> PretrainingTask:
    """The published objective around a model of the registry."""
    return PretrainingTask(create_model(model), MaskingPlan(), create_model("unext_s")).train()


def by_batch(rounds: int) -> list[Row]:
    """A pre-training step of ViT-Ti, without the optimiser."""
    task, rows = pretraining(MODELS[0]), []
    for frames in BATCHES:
        batch = make_batch(frames)
        rows.append({"frames": frames, **cost(task, lambda batch=batch: task(batch, MIDWAY).loss, rounds)})
    return rows


def by_model(rounds: int) -> list[Row]:
    """A pre-training step of one frame, without the optimiser, by millions of trained weights."""
    batch, rows = make_batch(1), []
    for model in MODELS:
        task = pretraining(model)
        weights = sum(weight.numel() for weight in task.parameters() if weight.requires_grad)
        row = cost(task, lambda task=task: task(batch, MIDWAY).loss, rounds)
        rows.append({"million_weights": round(weights / 1e6, 1), **row})
    return rows


def by_frames(path: Path) -> list[Row]:
    """Seconds and memory of packing, from the results of another benchmark; empty where it has not run."""
    if not path.is_file():
        return []
    found = json.loads(path.read_text())["results"]
    return [
        {"frames": int(count), "ms": 1e3 * row["prepare"]["seconds"], "mib": row["prepare"]["largest_mib"]}
        for count, row in found.items()
    ]


def slopes(rows: list[Row], x: str) -> dict[str, dict[str, float]]:
    """Exponents of time and memory: over all points, and from the last but one to the last."""
    places = np.log([row[x] for row in rows])
    found = {}
    for name in ("ms", "mib"):
        values = np.log([row[name] for row in rows])
        last = (values[-1] - values[-2]) / (places[-1] - places[-2])
        found[name] = {"all": round(float(np.polyfit(places, values, 1)[0]), 2), "last": round(float(last), 2)}
    return found


def picture(rows: list[Row], x: str, title: str, x_label: str) -> str:
    """Time and memory on logarithmic axes, as a file of its own: dark on white."""
    series = {"time, ms": [(row[x], row["ms"]) for row in rows], "memory, MiB": [(row[x], row["mib"]) for row in rows]}
    svg = line_chart(series, title, x_label, log_x=True, log_y=True)
    head, body = svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg" style="color:#222;background:#fff">{body}\n'


TITLES = {
    "frames": ("frames", "Packing frames of 64 px", "frames"),
    "tokens": ("tokens", "ViT-Ti/16, one frame, forward and backward", "tokens"),
    "batch": ("frames", "Pre-training step, ViT-Ti/16", "frames a step"),
    "model": ("million_weights", "Pre-training step of one frame, ViT-Ti to ViT-L", "million trained weights"),
}


def main() -> None:
    """Measure, write the numbers and draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=sorted(TITLES), default=list(TITLES), help="others stay as they are"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packed", type=Path, default=Path("results/packed_memory.json"))
    parser.add_argument("--out", type=Path, default=Path("results/growth.json"))
    parser.add_argument("--pictures", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    measures: dict[str, Callable[[], list[Row]]] = {
        "frames": lambda: by_frames(arguments.packed),
        "tokens": lambda: by_tokens(arguments.rounds),
        "batch": lambda: by_batch(arguments.rounds),
        "model": lambda: by_model(arguments.rounds),
    }
    there = json.loads(arguments.out.read_text())["results"] if arguments.out.is_file() else {}
    results: dict[str, Any] = {name: there[name] for name in TITLES if name in there}
    for name in arguments.only:
        x, title, x_label = TITLES[name]
        rows = measures[name]()
        if len(rows) < 2 or not all(math.isfinite(row["ms"]) and row["ms"] > 0 for row in rows):
            continue
        results[name] = {"rows": rows, "slopes": slopes(rows, x)}
        (arguments.pictures / f"growth_{name}.svg").write_text(picture(rows, x, title, x_label))
        print(name, json.dumps(results[name]), flush=True)
    record = {"command": "python benchmarks/growth.py", "hardware": hardware(), "results": results}
    arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
