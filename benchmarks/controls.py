"""What the weights called `default` are held against: python benchmarks/controls.py NAME=WEIGHTS [NAME=WEIGHTS ...]

Adds to results/controls.json how each run, or folder of weights, scores on ARCADE's val part, at native size and at
224 px, and its paired difference from the first one named. What the runs learn from stands in docs/weights.md. Nothing
is chosen by these scores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments import changed

from vasomim._version import __version__
from vasomim.engine.run_folder import git_commit

OUT = Path("results/controls.json")
SIZES: dict[str, tuple[str, ...]] = {"native": (), "224 px": ("--size", "224")}
SCORES = ("dice", "cldice", "precision", "recall", "betti_error")


def training(weights: Path) -> dict[str, Any]:
    """How a run was made; of bare weights what their config says."""
    if not (weights / "run.json").is_file():
        config = json.loads((weights / "config.json").read_text())
        return {name: config.get(name) for name in ("model", "kwargs", "init", "labels", "held_out", "run")}
    record = json.loads((weights / "run.json").read_text())
    lines = [json.loads(line) for line in (weights / "metrics.jsonl").read_text().splitlines()]
    return {
        "settings": changed(weights),
        "seed": record["facts"]["seed"],
        "labels": len(record["facts"]["labels"]),
        "git": record["git"],
        "versions": record["versions"],
        "held_out": [line for line in lines if "val/dice" in line],
    }


def measure(weights: Path, val: Path, out: Path, size: str, first: Path | None) -> dict[str, Any]:
    """Scores of one evaluation, and of the comparison with another where there is one."""
    flags = [*SIZES[size], *(["--compare", str(first)] if first else [])]
    command = [
        sys.executable,
        "-m",
        "vasomim",
        "evaluate",
        str(val),
        "--weights",
        str(weights),
        "--out",
        str(out),
        "--json",
    ]
    card = json.loads(subprocess.run([*command, *flags], check=True, stdout=subprocess.PIPE).stdout)
    kept = {
        "n": card["n"],
        "metrics": {name: card["metrics"][name] for name in SCORES},
        "trained_on": card["trained_on"],
    }
    kept["protocol"] = {
        name: card["protocol"][name] for name in ("inference", "threshold", "high_threshold", "weights")
    }
    if first:
        kept["difference"] = {name: card["comparison"]["metrics"][name] for name in SCORES}
    return kept


def main() -> None:
    """Measure the named runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="NAME=WEIGHTS, the first is what the others are compared with")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    arguments = parser.parse_args()
    named = [(name, Path(weights)) for name, _, weights in (word.partition("=") for word in arguments.runs)]
    reference = named[0][0]
    held: dict[str, Any] = json.loads(OUT.read_text()) if OUT.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name, weights in named:
            rows = {}
            for size in SIZES:
                first = None if name == reference else Path(folder, reference, size)
                rows[size] = measure(
                    weights, arguments.data / "arcade/syntax/val", Path(folder, name, size), size, first
                )
                print(name, size, *(f"{key} {rows[size]['metrics'][key]['mean']:.4f}" for key in SCORES), flush=True)
            held[name] = {
                "command": "python benchmarks/controls.py "
                + " ".join(f"{each}=RUN" for each in dict.fromkeys((reference, name))),
                "against": None if name == reference else reference,
                "measured_by": {"version": __version__, "git": git_commit()},
                "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
                "training": training(weights),
                "evaluations": rows,
            }
            OUT.write_text(json.dumps(held, indent=1) + "\n")


if __name__ == "__main__":
    main()
