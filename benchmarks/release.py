"""Make the weights that come with the package from finished runs, measure them, and write their cards.

    python benchmarks/release.py pack RUN default            # a run of `vasomim finetune`: 16 bit, into the package
    python benchmarks/release.py measure default --data "$VASOMIM_DATA"   # -> results/weights/default.json
    python benchmarks/release.py card default                # model card, from the file above and release_cards.py

How the runs are made stands in docs/weights.md. Nothing is chosen by what `measure` finds.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from release_cards import CARDS, attribution
from test_time import held_out
from torch import nn

from vasomim._version import __version__
from vasomim.engine.calibration import THRESHOLDS, calibrate, choose_cut, dice_of_cuts
from vasomim.inference.outputs import Output
from vasomim.inference.predictor import Predictor
from vasomim.models.shipped import FOLDER, SUMS
from vasomim.models.trained_on import read_trained_on
from vasomim.models.weights import load_pretrained, save_pretrained
from vasomim.stats import bootstrap_ci
from vasomim.synth import generate
from vasomim.types import BoolImage, FloatImage

RESULTS = Path("results/weights")
CALIBRATION_SEEDS = range(900, 940)
BAND = 9
"""Pixels."""
EVALUATIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "default": {
        "ARCADE val, native": ("arcade/syntax/val", "default"),
        "ARCADE val, native, not mirrored": ("arcade/syntax/val", "default", "--no-flip"),
        "ARCADE val, 224 px": ("arcade/syntax/val", "default", "--size", "224"),
        "XCAD train": ("xcad/train", "full-tree"),
        "DCA1 train": ("dca1/train", "full-tree"),
    },
    "fast": {
        "ARCADE val, native": ("arcade/syntax/val", "fast"),
        "ARCADE val, 224 px": ("arcade/syntax/val", "fast", "--size", "224"),
        "XCAD train": ("xcad/train", "fast"),
        "DCA1 train": ("dca1/train", "fast"),
    },
    "encoder": {},
}
"""Data, weights and flags of each row; XCAD and DCA1 are all of what is public here, no network was trained on them."""
HALF_SEEN = ("xcad/train", "dca1/train")
"""Of these the extraction, from which trees are learned, has seen every other frame (docs/extraction.md)."""


def tree_output(run: Path, model: nn.Module, data: Path, inference: dict[str, Any]) -> dict[str, Any]:
    """Scale, shift and thresholds of the second output, which no frame with a whole tree and a licence is there for.

    Scale, shift and the high threshold: on synthetic frames of other seeds. Threshold: on the frames of ARCADE's train
    part that were held out, by the mean Dice within BAND pixels of the outlined vessels, where outlines and trees mean
    the same.
    """

    def predictor(tree: Output) -> Predictor:
        config = {"outputs": [Output().described(), tree.described()], "inference": inference}
        return Predictor(model, config, "cpu", "fp32", output="full-tree")

    scaled = Output("full-tree", 1, **dataclasses.asdict(calibrate(drawn(predictor(Output("full-tree"))))))
    high = choose_cut(drawn(predictor(scaled))).high_threshold
    scores = [dice_of_cuts(found, mask)[:, 0] for found, mask in near_outlines(run, predictor(scaled), data)]
    best = float(THRESHOLDS[np.mean(scores, axis=0).argmax()])
    return dataclasses.replace(scaled, threshold=best, high_threshold=high).described()


def drawn(predict: Predictor) -> Iterator[tuple[FloatImage, BoolImage]]:
    """Probability and mask of synthetic frames that nothing was trained on."""
    for seed in CALIBRATION_SEEDS:
        made = generate(seed)
        yield predict.probabilities([made.image])[0], made.mask


def near_outlines(run: Path, predict: Predictor, data: Path) -> Iterator[tuple[FloatImage, BoolImage]]:
    """Probability, 0 away from the outlined vessels, and label of the frames that the run held out."""
    frames = held_out(run, data)
    for sample in (frames[index] for index in range(len(frames))):
        assert sample.mask is not None
        near = cv2.dilate(sample.mask.view(np.uint8), np.ones(2 * (2 * BAND + 1,), np.uint8)) > 0
        yield np.where(near, predict.probabilities([sample.image])[0], np.float32(0)), sample.mask


def pack(run: Path, name: str, data: Path) -> None:
    """A run's export, in 16 bit, as src/vasomim/weights/NAME, and its line in SHA256SUMS."""
    model, config = load_pretrained(run)
    record = json.loads((run / "run.json").read_text())
    if len(config.get("outputs", ())) == 2:
        config["outputs"][1] = tree_output(run, model, data, config["inference"])
    config["run"] = {"seed": record["facts"]["seed"], "versions": record["versions"], "data": record["facts"]["data"]}
    config["weights"] = name
    save_pretrained(FOLDER / name, model, config, f"# {name}\n", torch.float16, read_trained_on(run))
    digest = hashlib.sha256((FOLDER / name / "model.safetensors").read_bytes()).hexdigest()
    sums = FOLDER / SUMS
    lines = sums.read_text().splitlines() if sums.is_file() else []
    kept = [line for line in lines if not line.endswith(f"  {name}/model.safetensors")]
    sums.write_text("\n".join(sorted([*kept, f"{digest}  {name}/model.safetensors"])) + "\n")
    print(f"{FOLDER / name}: {(FOLDER / name / 'model.safetensors').stat().st_size / 2**20:.1f} MiB")


def evaluate(data: Path, where: str, weights: str, *flags: str) -> dict[str, Any]:
    """The card of one evaluation, by the command that anyone can repeat."""
    command = ["evaluate", str(data / where), "--weights", weights, "--json", *flags]
    with tempfile.TemporaryDirectory() as out:
        program = [sys.executable, "-m", "vasomim", *command, "--out", out]
        card: dict[str, Any] = json.loads(subprocess.run(program, check=True, stdout=subprocess.PIPE).stdout)
        with Path(out, "per_image.csv").open(newline="") as file:
            frames = list(csv.DictReader(file))
    card["command"] = " ".join(["vasomim", *command])
    kept = {key: card[key] for key in ("command", "n", "metrics", "pooled", "by_width", "calibration", "protocol")}
    if where in HALF_SEEN:
        kept["not_chosen_on"] = not_chosen_on(frames)
    return dict(json.loads(json.dumps(kept).replace(str(data), "$VASOMIM_DATA")))


def not_chosen_on(frames: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Scores of the 2nd, 4th, ... frame: settings of the extraction were chosen, once also fitted, on the others."""
    half = sorted(frames, key=lambda frame: f"{frame['id']}.")[1::2]  # the order of file names, as text
    scores: dict[str, Any] = {"n": len(half)}
    for name in ("dice", "cldice", "precision", "recall"):
        values = [float(frame[name]) for frame in half]
        scores[name] = {"mean": float(np.mean(values)), "ci95": list(bootstrap_ci(values))}
    return scores


def speed(name: str, frames: int = 20) -> dict[str, float]:
    """Seconds for a frame of 512 px, one at a time, and the process's peak memory; in a process of its own."""
    program = (
        "import json, resource, sys, time, numpy as np\n"
        "from vasomim import Predictor\n"
        "from vasomim.synth import generate\n"
        f"p = Predictor.from_pretrained({name!r}, 'cpu', 'fp32')\n"
        "image = generate(0).image\n"
        "p.predict(image)\n"
        "times = []\n"
        f"for _ in range({frames}):\n"
        "    start = time.perf_counter(); p.predict(image); times.append(time.perf_counter() - start)\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print(json.dumps({'seconds_a_frame': float(np.median(times)), 'peak_mib': peak}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(data: Path, name: str) -> None:
    """Every evaluation and the speed, into results/weights/NAME.json."""
    rows = {}
    for title, (where, weights, *flags) in EVALUATIONS[name].items():
        rows[title] = evaluate(data, where, weights, *flags)
        found = rows[title]["metrics"]
        print(
            title, *(f"{key} {found[key]['mean']:.4f}" for key in ("dice", "cldice", "precision", "recall")), flush=True
        )
    RESULTS.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    result = {
        "weights": name,
        "version": __version__,
        "commit": commit,
        "sha256": hashlib.sha256((FOLDER / name / "model.safetensors").read_bytes()).hexdigest(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "evaluations": rows,
        **({"speed": speed(name)} if rows else {}),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def number(score: dict[str, Any]) -> str:
    """A mean with its interval."""
    low, high = score["ci95"]
    return f"{score['mean']:.3f} [{low:.3f}, {high:.3f}]"


def score_table(result: dict[str, Any]) -> list[str]:
    """One row an evaluation."""
    names = ("dice", "cldice", "precision", "recall", "hd95", "betti0_error")
    lines = ["| frames | n | " + " | ".join(names) + " | calibration error |", "|---" * (len(names) + 3) + "|"]
    for title, row in result["evaluations"].items():
        scores = [number(row["metrics"][name]) for name in names]
        lines.append(f"| {title} | {row['n']} | " + " | ".join(scores) + f" | {row['calibration']['ece']:.4f} |")
        if half := row.get("not_chosen_on"):
            shown = [number(half[name]) if name in half else "-" for name in names]
            lines.append(f"| of these, not chosen on | {half['n']} | " + " | ".join(shown) + " | - |")
    return lines


def width_table(result: dict[str, Any]) -> list[str]:
    """Recall and precision by vessel width, at native size."""
    lines = ["| frames | width (px) | recall | precision |", "|---|---|---|---|"]
    for title, row in result["evaluations"].items():
        if row["protocol"]["size"] != "native":
            continue
        for width, scores in row["by_width"].items():
            values = [scores["recall"], scores["precision"]]
            lines.append(
                f"| {title} | {width} | " + " | ".join("-" if v is None else f"{v:.3f}" for v in values) + " |"
            )
    return lines


def card(name: str) -> None:
    """README.md beside the weights."""
    config = json.loads((FOLDER / name / "config.json").read_text())
    file = RESULTS / f"{name}.json"
    result = json.loads(file.read_text()) if file.is_file() else {"evaluations": {}}
    text = CARDS[name]
    lines = [
        "---",
        "license: apache-2.0",
        "---",
        "",
        f"# {name}",
        "",
        text["about"],
        "",
        "**Research use, not a medical device.**",
        "",
        "## Use",
        "",
        text["use"],
    ]
    lines += ["", "## Data, licences, attribution", "", text["data"], "", attribution(name)]
    lines += ["", "## Recipe", "", text["recipe"]]
    run = config["run"]
    lines += ["", f"Seed {run['seed']}; torch {run['versions']['torch']}, vasomim {run['versions']['vasomim']}."]
    if result["evaluations"]:
        lines += ["", "## Measured", "", text["measured"], "", *score_table(result), "", *width_table(result)]
        spent = result["speed"]
        lines += ["", f"On {result['hardware']}, fp32, one frame of 512 px: {1e3 * spent['seconds_a_frame']:.0f} ms; "]
        lines[-1] += f"peak memory of the process {spent['peak_mib']:.0f} MiB."
        lines += ["", "Commands:", "", *(f"    {row['command']}" for row in result["evaluations"].values())]
    lines += ["", "## Limits and known failures", "", text["limits"], ""]
    (FOLDER / name / "README.md").write_text("\n".join(lines))


def main() -> None:
    """Pack, measure or card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["pack", "measure", "card"])
    parser.add_argument("names", nargs="+", help="RUN NAME for pack, NAME for the others")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    arguments = parser.parse_args()
    if arguments.action == "pack":
        run, name = arguments.names
        pack(Path(run), name, arguments.data)
    elif arguments.action == "measure":
        measure(arguments.data, *arguments.names)
    else:
        card(*arguments.names)


if __name__ == "__main__":
    main()
