"""Rows: one JSON and one CSV of per-image values for each finished cell, and the budget that they belong to."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vasomim.benchmarks.methods.catalogue import Method
from vasomim.benchmarks.methods.grid import METHODS, Cell, method_of
from vasomim.config import BenchmarkMethodsConfig
from vasomim.config.benchmarks import BudgetConfig
from vasomim.errors import DataError, MisuseError
from vasomim.files import write_text
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
    def identity(self) -> Budget:
        """What it spent, and on which data; rows of before these were noted name no data."""
        return {**self.budget, **self.content.get("data", {})}

    @property
    def trained_on(self) -> Any:
        """Fingerprint of the labelled frames it was fine-tuned on."""
        return self.content["run"]["data"]["sha256"]

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


def data_names(method: Method, config: BenchmarkMethodsConfig) -> Mapping[str, Any]:
    """The data sets a method sees, as they are named below INPUT; the identity of its row, too."""
    names = {"train": config.train, "val": config.val}
    return names if method.start is None else {**names, "unlabelled": list(config.unlabelled)}


def identity_of(method: Method, config: BenchmarkMethodsConfig) -> Budget:
    """What a row of a method must have been made with, to stand in the grid of `config`."""
    return {**budget_of(method, config.budget), **data_names(method, config)}


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
    if cell.method not in METHODS and "elsewhere" not in content:
        raise DataError(f"{path} is of the method {cell.method}, which is not known here")
    try:
        budget = content.get("budget") or budget_of(method_of(cell.method), BudgetConfig(**FIRST_ROWS))
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


def check_asked(rows: Mapping[Cell, Row], config: BenchmarkMethodsConfig) -> None:
    """A folder holds rows of one budget and of the same data: nothing is run that could not stand beside them.

    Raises:
        MisuseError: a row has others than are asked for.
    """
    for row in rows.values():
        told = differing(row.identity, identity_of(method_of(row.cell.method), config))
        if told:
            raise MisuseError(
                f"{config.out} holds a row of {row.cell.name} with another budget or data ({', '.join(told)}); "
                "give another --out and --runs for this grid"
            )


def differing(found: Budget, asked: Budget) -> list[str]:
    """How two identities differ, in words, in what both tell."""
    names = sorted(found.keys() & asked.keys())
    return [f"{name} {found[name]}, asked {asked[name]}" for name in names if found[name] != asked[name]]


def check_comparable(rows: Mapping[Cell, Row]) -> None:
    """Rows of one table saw the same labels in training, were scored on the same frames, and spent one budget.

    Raises:
        DataError: they did not.
    """
    known: dict[str | tuple[str, ...], tuple[Any, str]] = {}
    for row in rows.values():
        for name, value in _shared(row).items():
            before, cell = known.setdefault(name, (value, row.cell.name))
            if before != value:
                other = f"has {name} {value}, {cell} {before}" if isinstance(name, str) else f"{name[0]} than {cell}"
                raise DataError(f"{row.cell.name} {other}; keep what differs in folders apart")


def _shared(row: Row) -> dict[str | tuple[str, ...], Any]:
    """What rows must have in common: all of them, those of a share of the labels and a seed, those of a method."""
    cell, content = row.cell, row.content
    return {
        **row.budget,
        **content.get("data", {}),
        ("was scored on other frames or labels",): (row.labels_seen, row.ids),
        ("was fine-tuned on other labelled frames", cell.labels, str(cell.seed)): row.trained_on,
        ("starts from another encoder", cell.method): content.get("elsewhere"),
    }
