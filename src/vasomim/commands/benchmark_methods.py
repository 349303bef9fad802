"""`vasomim benchmark methods`: pre-training methods and ablations on one grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vasomim.benchmarks.methods.grid import Cell, cells, chosen_methods
from vasomim.benchmarks.methods.lanes import Lane, call_in_process_of_its_own
from vasomim.benchmarks.methods.plan import data_of, runs_of
from vasomim.benchmarks.methods.rows import check_asked, check_comparable, read_rows
from vasomim.benchmarks.methods.states import State, states
from vasomim.benchmarks.methods.table import (
    difference_figure,
    difference_table,
    efficiency_figure,
    of_rows,
    pretraining_table,
    score_table,
    summary_table,
)
from vasomim.commands.console import print_result, say, warn
from vasomim.config import BenchmarkMethodsConfig
from vasomim.errors import Interrupted, MisuseError
from vasomim.files import write_text


def run(config: BenchmarkMethodsConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """Fill the cells that have no row yet, or list them, or write tables and figures; 1 where a cell failed."""
    if config.table:
        return write_tables(config, json=json)
    grid = cells(config.methods, config.labels, config.seeds, config.own)
    if config.list:
        return list_cells(config, grid, json=json)
    return fill(config, grid, json=json)


def list_cells(config: BenchmarkMethodsConfig, grid: Sequence[Cell], *, json: bool) -> int:
    """Every cell of the grid, whether it has a row, and what it may cost."""
    found = states(config, grid, read_rows(config.out))
    if json:
        listed = {one.cell.name: {"state": one.state, "seconds": one.seconds} for one in found}
        print_result({"cells": listed, **summary(found)}, json=True)
        return 0
    for one in found:
        cost = "" if one.state != "not run" else "?" if one.seconds is None else f"{one.seconds / 60:.0f} min"
        print(f"{one.state:<12}  {cost:>9}  {one.cell.name}")
    say(", ".join(f"{count} {state}" for state, count in summary(found).items()))
    return 0


def write_tables(config: BenchmarkMethodsConfig, *, json: bool) -> int:
    """Write OUT/table.md and its figures from the rows in OUT."""
    every = read_rows(config.out)
    if not every:
        raise MisuseError(f"{config.out} holds no rows; run the grid first, or name another --out")
    of = of_rows(every, chosen_methods(config.methods, config.own), config.labels)
    rows = {cell: row for cell, row in every.items() if of.holds(cell) and cell.seed in (config.seeds or (cell.seed,))}
    if len(rows) < len(every):
        warn(
            f"{len(every) - len(rows)} of {len(every)} rows are of other methods, shares or seeds than those asked for"
        )
    check_comparable(rows)
    parts = [summary_table(rows, of), difference_table(rows, of), score_table(rows, of)]
    parts.append(pretraining_table(config.out, of.methods))
    write_text(config.out / "table.md", "\n".join(parts))
    write_text(config.out / "label_efficiency.svg", efficiency_figure(rows, of))
    write_text(config.out / "differences.svg", difference_figure(rows, of))
    if not json:
        print("\n".join(parts), end="")
    else:
        print_result({"table": str(config.out / "table.md"), "rows": len(rows)}, json=True)
    return 0


def summary(found: Sequence[State]) -> dict[str, int]:
    """How many cells are in each state."""
    return dict(Counter(one.state for one in found))


def fill(config: BenchmarkMethodsConfig, grid: Sequence[Cell], *, json: bool) -> int:
    """Run what is not run.

    Raises:
        MisuseError: data sets are missing, or a folder holds rows of another budget or of other data.
        Interrupted: stopped by Ctrl-C or SIGTERM; rows and what the running command has saved stay.
    """
    check_data(config)
    check_asked(read_rows(config.out), config)
    try:
        failures = Lane(config, call_in_process_of_its_own(config.threads), say).run(grid)
    except KeyboardInterrupt as stop:
        raise Interrupted("stopped, after the running command has saved; the same command goes on") from stop
    for line in failures:
        warn(line)
    print_result({"out": str(config.out), **summary(states(config, grid, read_rows(config.out)))}, json=json)
    return 1 if failures else 0


def check_data(config: BenchmarkMethodsConfig) -> None:
    """The data sets are there.

    Raises:
        MisuseError: one is not, or INPUT is not one folder.
    """
    if len(config.inputs) != 1:
        raise MisuseError(f"got {len(config.inputs)} INPUTs, need one: the folder that holds the data sets")
    parts = [*config.unlabelled, config.train, config.val]
    missing = [part for part in dict.fromkeys(parts) if not (data_of(config) / part).exists()]
    if missing:
        raise MisuseError(
            f"{config.inputs[0]} holds no {', '.join(missing)}; name others with --unlabelled, --train and --val"
        )
    runs_of(config).mkdir(parents=True, exist_ok=True)
    config.out.mkdir(parents=True, exist_ok=True)
