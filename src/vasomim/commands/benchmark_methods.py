"""`vasomim benchmark methods`: pre-training methods and ablations on one grid."""

from __future__ import annotations

from vasomim.benchmarks.methods.grid import cells
from vasomim.commands.console import print_result
from vasomim.config import BenchmarkMethodsConfig


def run(config: BenchmarkMethodsConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """Name the cells of the grid and whether each has a row."""
    grid = cells(config.methods, config.labels, config.seeds)
    states = {cell.name: "done" if (config.out / f"{cell.name}.json").is_file() else "not run" for cell in grid}
    print_result(states, json=json)
    return 0
