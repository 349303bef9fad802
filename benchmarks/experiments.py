"""Keep what runs of fine-tuning came to, by name: python benchmarks/experiments.py NAME=RUN [NAME=RUN ...]

Adds to results/experiments.json what is wanted for docs/experiments.md: settings that differ from the defaults, seed,
versions, and the scores on frames held out of the training data at each validation. Nothing of val is in it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from vasomim.commands.cards import without_places
from vasomim.config import FinetuneConfig, dump_config, load_config
from vasomim.engine.run_folder import read_metrics

OUT = Path("results/experiments.json")


def changed(run: Path) -> dict[str, Any]:
    """The run's settings that are not the defaults, paths cut to their names."""
    asked, usual = (
        yaml.safe_load(dump_config(config))
        for config in (without_places(load_config(FinetuneConfig, run / "config.yaml")), FinetuneConfig())
    )
    return {name: value for name, value in asked.items() if value != usual[name]}


def row(run: Path) -> dict[str, Any]:
    """What is kept of a run."""
    record = json.loads((run / "run.json").read_text())
    return {
        "settings": changed(run),
        "seed": record["facts"]["seed"],
        "versions": record["versions"],
        "commit": (record["git"] or {}).get("commit"),
        "labels": len(record["facts"]["labels"]),
        "held_out": [
            {name: round(line[name], 4) for name in ("step", "val/dice", "val/cldice")}
            for line in read_metrics(run / "metrics.jsonl")
            if "val/dice" in line
        ],
    }


def main() -> None:
    """Add the runs that are named."""
    held = json.loads(OUT.read_text()) if OUT.is_file() else {}
    for word in sys.argv[1:]:
        name, _, run = word.partition("=")
        held[name] = row(Path(run))
        print(name, held[name]["held_out"][-1])
    OUT.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
