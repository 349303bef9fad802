"""What weights are held against: python benchmarks/controls.py [--as-trained] [--flip] NAME=RUN ...

Adds to results/controls.json how each run, or folder of weights, scores on ARCADE's val part, at native size and at
224 px, and its paired difference from the first one named. Nothing is chosen by these scores. With --as-trained a run
is measured as `NAME, as trained`: cut at 0.5, without the scale, shift and thresholds fitted to its held-out frames.
With --flip it is mirrored even if it was not made for that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments import row

from vasomim._version import __version__
from vasomim.engine.run_folder import git_commit
from vasomim.inference.outputs import Output
from vasomim.models.shipped import beside_weights

OUT = Path("results/controls.json")
SIZES: dict[str, tuple[str, ...]] = {"native": (), "224 px": ("--size", "224")}
SCORES = ("dice", "cldice", "precision", "recall", "betti_error")
PROTOCOL = ("inference", "threshold", "high_threshold", "weights")


def config_of(weights: Path) -> dict[str, Any]:
    """What config.json says of weights."""
    file = beside_weights(weights, "config.json")
    assert file is not None, f"{weights} holds no weights"
    return dict(json.loads(file.read_text()))


def training(weights: Path) -> dict[str, Any]:
    """How a run was made; of weights without their run what their config says."""
    if (weights / "run.json").is_file():
        return row(weights)
    config = config_of(weights)
    return {name: config.get(name) for name in ("model", "kwargs", "init", "labels", "held_out", "run")}


def as_trained(weights: Path, folder: Path) -> Path:
    """A copy of a run's weights whose outputs nothing was fitted to."""
    shutil.copytree(weights / "export" if (weights / "export").is_dir() else weights, folder)
    config = config_of(folder)
    config["outputs"] = [Output(output["name"]).described() for output in config["outputs"]]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def measure(weights: Path, val: Path, out: Path, flags: tuple[str, ...], first: Path | None) -> dict[str, Any]:
    """Scores of one evaluation, and of the comparison with another where there is one."""
    command = f"{sys.executable} -m vasomim evaluate --json".split()
    command += [str(val), "--weights", str(weights), "--out", str(out), *flags]
    command += ["--compare", str(first)] if first else []
    card = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    kept = {"n": card["n"], "metrics": {name: card["metrics"][name] for name in SCORES}}
    kept["protocol"] = {name: card["protocol"][name] for name in PROTOCOL}
    if first:
        kept["difference"] = {name: card["comparison"]["metrics"][name] for name in SCORES}
    return kept


def main() -> None:
    """Measure the named runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="NAME=RUN, the first is what the others are compared with")
    parser.add_argument("--as-trained", action="store_true")
    parser.add_argument("--flip", action="store_true")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    asked = parser.parse_args()
    held: dict[str, Any] = json.loads(OUT.read_text()) if OUT.is_file() else {}
    given = "--as-trained " * asked.as_trained + "--flip " * asked.flip
    first, ending = None, ", as trained" * asked.as_trained + ", mirrored" * asked.flip
    with tempfile.TemporaryDirectory() as folder:
        for name, _, run in (word.partition("=") for word in asked.runs):
            weights = as_trained(Path(run), Path(folder, "weights", name)) if asked.as_trained else Path(run)
            rows = {}
            for size, flags in SIZES.items():
                other = Path(folder, first, size) if first else None
                flags += ("--flip",) * asked.flip
                rows[size] = measure(weights, asked.data / "arcade/syntax/val", Path(folder, name, size), flags, other)
                scores = rows[size]["metrics"]
                print(name, size, *(f"{key} {score['mean']:.4f}" for key, score in scores.items()), flush=True)
            held[name + ending] = {
                "command": f"python benchmarks/controls.py {given}" + " ".join(f"{n}=RUN" for n in (first, name) if n),
                "against": first + ending if first else None,
                "measured_by": {"version": __version__, "git": git_commit()},
                "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
                "training": training(Path(run)),
                "evaluations": rows,
            }
            OUT.write_text(json.dumps(held, indent=1) + "\n")
            first = first or name


if __name__ == "__main__":
    main()
