"""Rows: one JSON and one CSV of per-image values for each finished cell, and the budget that they belong to."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vasomim.benchmarks.methods.catalogue import Method
from vasomim.benchmarks.methods.grid import METHODS, Cell
from vasomim.config.benchmarks import BudgetConfig
from vasomim.engine.files import write_text
from vasomim.errors import DataError, MisuseError
from vasomim.metrics import METRICS

Budget = Mapping[str, Any]

FIRST_ROWS = asdict(BudgetConfig())
"""The budget of rows without one: the first were made by a script that had no other."""


@dataclass(frozen=True)
class Row:
    """A finished cell."""

    cell: Cell
    budget: Budget
    content: Mapping[str, Any]
    """The JSON as it is."""
    ids: tuple[str, ...]
    """Frames, sorted."""
    patients: tuple[str, ...]
    """Of each frame; its id where none is known."""
    values: Mapping[str, tuple[float, ...]]
    """Of each metric, a value a frame."""

    @property
    def labels_seen(self) -> str:
        """Fingerprint of the frames and labels it was scored on."""
        return str(self.content["evaluation"]["protocol"]["data"]["fingerprint"])


def budget_of(method: Method, budget: BudgetConfig) -> Budget:
    """What of the budget a method spends; the identity of its row."""
    spent = asdict(budget)
    idle: list[str] = []
    if method.start is None:
        idle += ["pretrain_steps", "pretrain_batch", "pretrain_lr"]
    if method.start is None or method.start.segmentor == "none":
        idle.append("segmentor_steps")
    if not method.has_encoder:
        idle.append("encoder")
    return {name: value for name, value in spent.items() if name not in idle}


def write_row(folder: Path, cell: Cell, content: Mapping[str, Any], per_image: str) -> None:
    """Values first, then the row: a row that is there is whole."""
    write_text(folder / f"{cell.name}.csv", per_image)
    write_text(folder / f"{cell.name}.json", json.dumps(content, indent=1) + "\n")


def read_rows(folder: Path) -> dict[Cell, Row]:
    """All rows of a folder; files of other kinds, such as those of pre-trainings, are passed over.

    Raises:
        DataError: a row cannot be read, or does not hold what its name says.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        content = _read_json(path)
        if isinstance(content, dict) and {"method", "labels", "seed", "evaluation"} <= content.keys():
            row = _row_of(path, content)
            found[row.cell] = row
    return found


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the row {path}: {error}; delete it and run its cell again") from error


def _row_of(path: Path, content: Mapping[str, Any]) -> Row:
    cell = Cell(str(content["method"]), str(content["labels"]), int(content["seed"]))
    if path.stem != cell.name:
        raise DataError(f"{path} holds the row of {cell.name}; rename it, or run its cell again")
    if cell.method not in METHODS:
        raise DataError(f"{path} is of the method {cell.method}, which is not known here")
    try:
        budget = content.get("budget") or budget_of(METHODS[cell.method], BudgetConfig(**FIRST_ROWS))
        steps = content["run"]["last"]["step"]
        values, ids, patients = _read_values(path.with_suffix(".csv"))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the row {path} is damaged ({type(error).__name__}: {error}); run its cell again") from error
    if steps != budget["finetune_steps"]:
        raise DataError(f"{path} says {budget['finetune_steps']} steps, but its run ended after {steps}; run it again")
    return Row(cell, budget, content, ids, patients, values)


def _read_values(path: Path) -> tuple[dict[str, tuple[float, ...]], tuple[str, ...], tuple[str, ...]]:
    with path.open(encoding="utf-8", newline="") as file:
        lines = sorted(csv.DictReader(file), key=lambda line: line["id"])
    ids = tuple(line["id"] for line in lines)
    patients = tuple(line["patient"] or line["id"] for line in lines)
    return {name: tuple(float(line[name]) for line in lines) for name in METRICS}, ids, patients


def check_budget(rows: Mapping[Cell, Row], cells: Sequence[Cell], budget: BudgetConfig) -> None:
    """A folder holds rows of one budget: a cell is never filled by a shorter run.

    Raises:
        MisuseError: a row of these cells has another budget.
    """
    for cell in cells:
        asked = budget_of(METHODS[cell.method], budget)
        if cell in rows and differing(rows[cell].budget, asked):
            told = ", ".join(differing(rows[cell].budget, asked))
            raise MisuseError(f"the row of {cell.name} has another budget ({told}); give another --out for this one")


def differing(found: Budget, asked: Budget) -> list[str]:
    """How two budgets differ, in words."""
    names = sorted({*found, *asked})
    return [f"{n} {found.get(n)}, asked {asked.get(n)}" for n in names if found.get(n) != asked.get(n)]


def check_comparable(rows: Mapping[Cell, Row]) -> None:
    """Rows of one table were scored on the same frames and labels, and spent one budget.

    Raises:
        DataError: they were not.
    """
    first: Row | None = None
    spent: dict[str, tuple[Any, str]] = {}
    for row in rows.values():
        first = first or row
        if row.labels_seen != first.labels_seen or row.ids != first.ids:
            raise DataError(f"{row.cell.name} was scored on other frames or labels than {first.cell.name}")
        for name, value in row.budget.items():
            known, cell = spent.setdefault(name, (value, row.cell.name))
            if known != value:
                raise DataError(f"{row.cell.name} has {name} {value}, {cell} {known}: keep budgets in folders apart")
