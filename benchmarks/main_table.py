"""The main table: VasoMIM, plain MAE and scratch, fine-tuned on few and on all labels of ARCADE, same budget.

    python benchmarks/main_table.py run --data "$VASOMIM_DATA" --runs runs/main     # one lane; start it twice for two
    python benchmarks/main_table.py table                                          # rows -> markdown

Every cell is one `vasomim` command after another (pretrain, finetune, evaluate), so any of them can be repeated by
hand; the commands stand in the cell's row. A finished cell is one file in results/main_table/; a cell without a file
has not been run. Killed lanes continue: runs resume from their checkpoints.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROWS = Path("results/main_table")
METHODS = {"scratch": None, "vasomim": "pretrain_laptop", "mae": "mae_laptop"}
CELLS = [(method, labels, seed) for labels, seed in (("0.1", 0), ("0.1", 1), ("1.0", 0)) for method in METHODS]

VALIDATED = ("val/reconstruction", "val/consistency", "val/probe_r2")


@dataclass(frozen=True)
class Place:
    """Where a lane reads and writes."""

    data: Path
    runs: Path
    threads: int

    @property
    def frames(self) -> list[str]:
        """The unlabelled frames: everything that may train shipped weights, no validation part."""
        parts = ("arcade/syntax/train", "arcade/stenosis_352/train", "danilov_352")
        return [str(self.data / part) for part in parts]


def vasomim(place: Place, *arguments: str) -> tuple[str, float]:
    """Run one command of the package; its text with the data folder spelled $VASOMIM_DATA, and its seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(place.threads)}
    start = time.time()
    subprocess.run([sys.executable, "-m", "vasomim", *arguments], check=True, env=environment)
    return " ".join(["vasomim", *arguments]).replace(str(place.data), "$VASOMIM_DATA"), time.time() - start


def prepare(place: Place) -> list[str]:
    """Anatomy and segmentor, shared by all methods; made once."""
    vessels, segmentor = str(place.runs / "vessels"), str(place.runs / "segmentor")
    with locked(place.runs / "prepare.lock"):
        return [
            vasomim(place, "extract", *place.frames, "--out", vessels)[0],
            vasomim(
                place,
                "segmentor",
                *place.frames,
                "--vessels",
                vessels,
                "--out",
                segmentor,
                "--config",
                "segmentor_laptop",
            )[0],
        ]


def pretrain(place: Place, method: str) -> tuple[list[str], Path]:
    """The encoder of a method; one run each, shared by its cells."""
    out = place.runs / f"pretrain_{method}"
    recipe = METHODS[method]
    assert recipe is not None
    arguments = ["--vessels", str(place.runs / "vessels"), "--out", str(out), "--config", recipe]
    if method == "vasomim":
        arguments += ["--segmentor", str(place.runs / "segmentor")]
    with locked(place.runs / f"pretrain_{method}.lock"):
        command, _ = vasomim(place, "pretrain", *place.frames, *arguments)
        write_row(place, f"pretrain_{method}", pretraining_row(out, command))
        return [command], out


def pretraining_row(run: Path, command: str) -> dict[str, object]:
    """What a pre-training came to: held-out losses and vessel probe at each validation, and its speed."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validations = [
        {k: v for k, v in line.items() if k in ("step", *VALIDATED)} for line in lines if VALIDATED[0] in line
    ]
    speeds = sorted(line["samples_per_second"] for line in lines if "samples_per_second" in line)
    return {
        "command": command,
        "validations": validations,
        "samples_per_second": {"median": speeds[len(speeds) // 2], "min": speeds[0], "max": speeds[-1]},
        "run": facts_of(run),
    }


def run_cell(place: Place, method: str, labels: str, seed: int) -> dict[str, object]:
    """Fine-tune and evaluate one cell at the paper's 224 px; its row."""
    commands, init = ([], "scratch")
    if METHODS[method] is not None:
        commands = prepare(place)
        more, out = pretrain(place, method)
        commands, init = commands + more, str(out)
    name = f"{method}_{labels}_{seed}"
    out, evaluation = place.runs / f"finetune_{name}", place.runs / f"evaluate_{name}"
    train = ["finetune", str(place.data / "arcade/syntax/train"), "--out", str(out), "--config", "finetune_laptop"]
    text, seconds = vasomim(place, *train, "--init", init, "--labels", labels, "--seed", str(seed), "--holdout", "0")
    judge = ["evaluate", str(place.data / "arcade/syntax/val"), "--weights", str(out), "--size", "224"]
    text_judge, _ = vasomim(place, *judge, "--out", str(evaluation))
    card = json.loads((evaluation / "evaluation.json").read_text())
    (ROWS / f"{name}.csv").write_text((evaluation / "per_image.csv").read_text())
    return {
        "method": method,
        "labels": labels,
        "seed": seed,
        "commands": [*commands, text, text_judge],
        "finetune_seconds": round(seconds),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, {place.threads} thread(s) a run",
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "run": facts_of(out),
        "evaluation": card,
    }


def facts_of(run: Path) -> dict[str, object]:
    """Versions, data fingerprint and last logged values of a fine-tuning."""
    record = json.loads((run / "run.json").read_text())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    return {"versions": record["versions"], "git": record["git"], "data": record["facts"]["data"], "last": last}


def write_row(place: Place, name: str, row: dict[str, object]) -> None:
    """One finished cell as JSON, without the places of this machine."""
    text = json.dumps(row, indent=1).replace(str(place.data), "$VASOMIM_DATA").replace(str(place.runs), "RUNS")
    (ROWS / f"{name}.json").write_text(text + "\n")


class locked:  # noqa: N801 - reads as a verb
    """Hold a lock file: a second lane waits here for what the first is making."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("w")

    def __enter__(self) -> None:
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self.file.close()


def free(place: Place, name: str) -> object | None:
    """The claim on a cell, held until this process ends; None where another lane has it."""
    claim = (place.runs / f"{name}.claim").open("w")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return claim


def run(place: Place, methods: list[str]) -> None:
    """All cells of these methods that have no row yet, in the order of CELLS."""
    place.runs.mkdir(parents=True, exist_ok=True)
    ROWS.mkdir(parents=True, exist_ok=True)
    for method, labels, seed in CELLS:
        name = f"{method}_{labels}_{seed}"
        claim = free(place, name)
        if method not in methods or claim is None or (ROWS / f"{name}.json").exists():
            continue
        row = run_cell(place, method, labels, seed)
        write_row(place, name, row)
        print(name, row["evaluation"]["metrics"]["dice"], flush=True)  # type: ignore[index]


def table() -> None:
    """Print the rows as markdown; cells that were not run say so."""
    print("| method | labels | seed | Dice | 95 % | clDice | 95 % |\n|---|---|---|---|---|---|---|")
    for method, labels, seed in CELLS:
        path = ROWS / f"{method}_{labels}_{seed}.json"
        head = f"| {method} | {float(labels):.0%} | {seed} |"
        if not path.exists():
            print(head, "not run | | | |")
            continue
        scores = json.loads(path.read_text())["evaluation"]["metrics"]
        cells = [
            f" {scores[m]['mean']:.4f} | {scores[m]['ci95'][0]:.4f}-{scores[m]['ci95'][1]:.4f} |"
            for m in ("dice", "cldice")
        ]
        print(head + "".join(cells))


def main() -> None:
    """Run a lane, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VASOMIM_DATA", "data")))
    parser.add_argument("--runs", type=Path, default=Path("runs/main"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    arguments = parser.parse_args()
    if arguments.what == "table":
        table()
    else:
        run(Place(arguments.data, arguments.runs, arguments.threads), arguments.methods)


if __name__ == "__main__":
    main()
