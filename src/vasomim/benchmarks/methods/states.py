"""Which cells are done, running or not run, and what those not run may cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from vasomim.benchmarks.methods.grid import METHODS, Cell, method_of
from vasomim.benchmarks.methods.locks import is_claimed
from vasomim.benchmarks.methods.plan import runs_of
from vasomim.benchmarks.methods.rows import Row, budget_of, differing, identity_of
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
            if cell.method not in charged and seconds is not None and method_of(cell.method).start is not None:
                start = pretrain_seconds(config, cell.method, rows)
                seconds = None if start is None else seconds + start
            charged.add(cell.method)
        found.append(State(cell, state, seconds))
    return found


def state_of(config: BenchmarkMethodsConfig, cell: Cell, row: Row | None) -> str:
    """`done`, `running`, `not run` or `other budget`."""
    if row is not None:
        return "other budget" if differing(row.identity, identity_of(method_of(cell.method), config)) else "done"
    return "running" if is_claimed(runs_of(config) / f"{cell.name}.claim") else "not run"


def finetune_seconds(cell: Cell, rows: Mapping[Cell, Row]) -> float | None:
    """Seconds of a fine-tuning: by the speed of finished ones of the same model, else by the cost of its steps."""
    method = method_of(cell.method)
    known = [(method_of(row.cell.method), finetune_speed(row), row) for row in rows.values()]
    alike = [one for one in known if one[0].finetune == method.finetune] or known
    if not alike:
        return None
    samples = [spent(row.budget, "finetune") / speed * method.cost / other.cost for other, speed, row in alike]
    return median(samples)


def finetune_speed(row: Row) -> float:
    """Samples a second of a row's fine-tuning, as it was in the end."""
    return float(row.content["run"]["last"]["samples_per_second"])


def pretrain_seconds(config: BenchmarkMethodsConfig, method: str, rows: Mapping[Cell, Row]) -> float | None:
    """Seconds that are left of a pre-training: 0 where it is made, else by its own speed or by that of others."""
    start = method_of(method).start
    if start is None or (runs_of(config) / f"pretrain_{method}.done").is_file():
        return 0.0
    samples = start.share * spent(budget_of(method_of(method), config.budget), "pretrain")
    speeds = pretrain_speeds(config.out)
    if method in speeds:
        return samples / speeds[method]
    if start.verb == "finetune":
        known = [finetune_speed(row) for row in rows.values() if method_of(row.cell.method).has_encoder]
        return samples / median(known) if known else None
    others = [(METHODS[name].start, speed) for name, speed in speeds.items()]
    known = [speed * one.cost / start.cost for one, speed in others if one is not None and one.verb == "pretrain"]
    return samples / median(known) if known else None


def pretrain_speeds(folder: Path) -> dict[str, float]:
    """Frames a second of the pre-trainings that left a row."""
    found = {}
    for path in folder.glob("pretrain_*.json"):
        name = path.stem.removeprefix("pretrain_")
        speed = json.loads(path.read_text(encoding="utf-8"))["samples_per_second"]["median"]
        if name in METHODS and speed > 0:
            found[name] = float(speed)
    return found


def spent(budget: Mapping[str, Any], part: str) -> int:
    """Samples of a part of a budget."""
    return int(budget[f"{part}_steps"] * budget[f"{part}_batch"])
