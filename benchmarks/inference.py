"""Time one frame through a segmenter: torch, ONNX Runtime and OpenVINO, in fp32, bf16 and int8, side by side.

    python benchmarks/inference.py --threads 2 --out results/inference.json
    python benchmarks/inference.py --threads 1 --rounds 15 --out results/inference.json
    python benchmarks/inference.py --cost RUN arcade/syntax/val arcade/syntax/train --out results/inference.json

Every round runs every candidate once, in an order that turns, so that what else the machine does falls on all alike.
`ratio` is the median over rounds of torch's time divided by the candidate's in the same round. Clock time counts on a
quiet machine; on a busy one, processor time in one thread does. Weights are random: the time does not depend on them.
`--cost` measures instead what 8 bits cost in Dice: the segmenter RUN on the labelled frames named second, with ranges
from synthetic frames and from the frames named third, which must be others. Entries of the file under other names stay.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Runner = Callable[[], Any]
CALIBRATION = 32
"""Frames that ranges are taken from."""


def candidates(name: str, size: int, folder: Path, *, compiled: bool) -> dict[str, Runner]:
    """What computes one frame of `size` px; torch in fp32 first."""
    import torch

    from vasomim.export.folder import write_export
    from vasomim.inference.backends import open_runtime
    from vasomim.inference.torch_backend import TorchBackend
    from vasomim.models.registry import create_model
    from vasomim.synth.angiogram import generate

    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model = create_model(name, img_size=size).eval()
    frames = [generate(0, size, index=k).image.astype(np.float32)[None, None] / 255 for k in range(3)]
    config = {"format_version": 1, "kind": "segmentation", "model": name}
    backends: dict[str, Any] = {
        f"torch {precision}": TorchBackend(model, "cpu", precision) for precision in ("fp32", "bf16")
    }
    trace_once(model)
    for runtime, entry in (("onnx", "model.onnx"), ("openvino", "model.xml")):
        for bits, calibration in (("fp32", []), ("int8", frames[1:])):
            out = folder / f"{runtime}_{bits}"
            print("exporting", out.name, file=sys.stderr)
            write_export(backends["torch fp32"], config, "", out, runtime, frames[:1], calibration)
            backends[f"{runtime} {bits}"] = open_runtime(runtime, out / entry, "cpu", "fp32")[0]
    backends["openvino bf16"] = open_runtime("openvino", folder / "openvino_fp32" / "model.xml", "cpu", "bf16")[0]
    if compiled:
        backends["torch.compile fp32"] = TorchBackend(torch.compile(model), "cpu", "fp32")
    runners = {key: lambda backend=backend: backend.probabilities(frames[0]) for key, backend in backends.items()}
    channels_last = create_model(name, img_size=size).eval().to(memory_format=torch.channels_last)
    runners["torch fp32 channels last"] = lambda: TorchBackend(channels_last, "cpu", "fp32").probabilities(frames[0])
    return runners


def trace_once(model: Any) -> None:
    """Let all exports that follow take one graph: tracing takes longer than all else here."""
    from vasomim.export import folder

    graph = folder.to_onnx(model)
    folder.to_onnx = lambda *_: graph


def measure(runners: dict[str, Runner], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of clock and processor, medians, and ratios to the first runner within rounds."""
    names = list(runners)
    clock: dict[str, list[float]] = {name: [] for name in names}
    busy: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        runners[name]()  # loads, compiles
        runners[name]()
    for number in range(rounds):
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            began, worked = time.perf_counter(), time.process_time()
            runners[name]()
            clock[name].append(1e3 * (time.perf_counter() - began))
            busy[name].append(1e3 * (time.process_time() - worked))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    first = names[0]
    return {
        name: {
            "ms": round(float(np.median(clock[name])), 1),
            "ms_least": round(min(clock[name]), 1),
            "ratio": round(float(np.median(np.divide(clock[first], clock[name]))), 2),
            "ratio_of_least": round(min(clock[first]) / min(clock[name]), 2),
            "processor_ms": round(float(np.median(busy[name])), 1),
            "processor_ratio": round(float(np.median(np.divide(busy[first], busy[name]))), 2),
        }
        for name in names
    }


def int8_cost(run: str, labelled: Path, calibration: Path, most: int) -> dict[str, Any]:
    """Dice and clDice on labelled frames: torch, and int8 with ranges from synthetic frames and from given ones."""
    from vasomim.data.open import open_frames, open_labelled
    from vasomim.export import folder as export
    from vasomim.export.frames import as_seen, spread, synthetic_frames
    from vasomim.inference.predictor import Predictor
    from vasomim.models.shipped import weights_path
    from vasomim.stats import bootstrap_ci

    network, config = export.load_segmenter(weights_path(run))
    trace_once(network.model)
    given = open_frames([calibration])
    ranges = {
        "synthetic": [as_seen(frame, config["inference"]) for frame in synthetic_frames(CALIBRATION)],
        "given": [as_seen(given[k].image, config["inference"]) for k in spread(len(given), CALIBRATION)],
    }
    samples = open_labelled([labelled])
    chosen = [samples[k] for k in spread(len(samples), most)]
    found = {"torch fp32": scores(Predictor(network, config), chosen)}
    with tempfile.TemporaryDirectory() as place:
        for name, frames in ranges.items():
            for runtime in ("onnx", "openvino"):
                out = Path(place) / f"{runtime}_{name}"
                export.write_export(network, config, "", out, runtime, frames[:2], frames)
                key = f"{runtime} int8, {name} calibration"
                found[key] = scores(Predictor.from_pretrained(out), chosen)
                print(key, {metric: float(np.mean(values)) for metric, values in found[key].items()}, file=sys.stderr)
    base = found["torch fp32"]
    rows = {
        key: {
            metric: {
                "mean": round(float(np.mean(values[metric])), 4),
                "less_torch": round(float(np.mean(np.subtract(values[metric], base[metric]))), 4),
                "ci95": [round(end, 4) for end in bootstrap_ci(np.subtract(values[metric], base[metric]))],
                "worst": round(float(np.min(np.subtract(values[metric], base[metric]))), 4),
            }
            for metric in base
        }
        for key, values in found.items()
    }
    facts = {
        "weights": Path(run).name,
        "frames": len(chosen),
        "calibration_frames": CALIBRATION,
        "model": config["model"],
    }
    return {**facts, "scores_by_frame_and_difference_to_torch": rows}


def scores(predictor: Any, samples: list[Any]) -> dict[str, list[float]]:
    """Dice and clDice of every frame."""
    from vasomim.metrics import cldice, dice

    masks = [predictor.predict(sample.image).mask for sample in samples]
    pairs = [(mask, sample.mask) for mask, sample in zip(masks, samples, strict=True)]
    return {"dice": [dice(*pair) for pair in pairs], "cldice": [cldice(*pair) for pair in pairs]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_small_patch16_unet")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which needs a C++ compiler")
    parser.add_argument("--cost", nargs=3, metavar=("RUN", "LABELLED", "CALIBRATION"))
    parser.add_argument("--frames", type=int, default=200, help="labelled frames at most, evenly spread")
    parser.add_argument("--out", type=Path, help="JSON file to add to; without it stdout alone")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if options.cost:
        name = f"int8 cost on {options.frames} frames of {Path(options.cost[1]).name}"
        result = int8_cost(options.cost[0], *map(Path, options.cost[1:]), options.frames)
    else:
        name = f"{options.model} {options.size} px, {options.threads} thread(s)"
        with tempfile.TemporaryDirectory() as folder:
            runners = candidates(options.model, options.size, Path(folder), compiled=options.compile)
            result = {"rounds": options.rounds, "candidates": measure(runners, options.rounds)}
    words = [word if not Path(word).is_absolute() else Path(word).name for word in sys.argv[1:]]
    from vasomim.benchmarks.speed.run import hardware  # loads torch, which must find OMP_NUM_THREADS set

    facts = {
        "command": " ".join(["python benchmarks/inference.py", *words]),
        "hardware": hardware(),
        "versions": {package: version(package) for package in ("torch", "onnxruntime", "openvino", "vasomim")},
        **result,
    }
    if options.out:
        held = json.loads(options.out.read_text()) if options.out.exists() else {}
        options.out.write_text(json.dumps({**held, name: facts}, indent=1) + "\n")
    print(json.dumps({name: facts}, indent=1))


if __name__ == "__main__":
    main()
