"""Which cells are done, running or not run, and what those not run may cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from vasomim.benchmarks.methods.grid import METHODS, Cell
from vasomim.benchmarks.methods.locks import is_claimed
from vasomim.benchmarks.methods.plan import runs_of
from vasomim.benchmarks.methods.rows import Row, budget_of, differing
from vasomim.config import BenchmarkMethodsConfig


@dataclass(frozen=True)
class State:
    """A cell as it stands."""

    cell: Cell
    state: str
    """`done`, `running`, `not run` or `other budget`."""
    seconds: float | None
    """What a cell that is not run may take, its pre-training included where that is not made; None where unknown."""


def states(config: BenchmarkMethodsConfig, cells: Sequence[Cell], rows: Mapping[Cell, Row]) -> list[State]:
    """Every cell as it stands; of those that share a pre-training the first one carries its cost."""
    charged: set[str] = set()
    found = []
    for cell in cells:
        state = state_of(config, cell, rows.get(cell))
        seconds = None
        if state == "not run":
            seconds = finetune_seconds(cell, rows)
            if cell.method not in charged and seconds is not None and METHODS[cell.method].start is not None:
                start = pretrain_seconds(config, cell.method)
                seconds = None if start is None else seconds + start
            charged.add(cell.method)
        found.append(State(cell, state, seconds))
    return found


def state_of(config: BenchmarkMethodsConfig, cell: Cell, row: Row | None) -> str:
    """`done`, `running`, `not run` or `other budget`."""
    if row is not None:
        return "other budget" if differing(row.budget, budget_of(METHODS[cell.method], config.budget)) else "done"
    return "running" if is_claimed(runs_of(config) / f"{cell.name}.claim") else "not run"


def finetune_seconds(cell: Cell, rows: Mapping[Cell, Row]) -> float | None:
    """Seconds of a fine-tuning, by the speed of finished ones of the same model."""
    recipe = METHODS[cell.method].finetune
    known = [seconds_of(row) for row in rows.values() if METHODS[row.cell.method].finetune == recipe]
    return median(known) if known else None


def seconds_of(row: Row) -> float:
    """Seconds of a row's fine-tuning at the speed it had in the end."""
    return float(spent(row.budget, "finetune") / row.content["run"]["last"]["samples_per_second"])


def pretrain_seconds(config: BenchmarkMethodsConfig, method: str) -> float | None:
    """Seconds that are left of a pre-training: 0 where it is made, by its own speed where that is known."""
    if (runs_of(config) / f"pretrain_{method}.done").is_file():
        return 0.0
    path = Path(config.out) / f"pretrain_{method}.json"
    if not path.is_file():
        return None
    speed = json.loads(path.read_text(encoding="utf-8"))["samples_per_second"]["median"]
    return float(spent(budget_of(METHODS[method], config.budget), "pretrain") / speed)


def spent(budget: Mapping[str, Any], part: str) -> int:
    """Samples of a part of a budget."""
    return int(budget[f"{part}_steps"] * budget[f"{part}_batch"])
