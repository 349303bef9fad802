"""`vasomim benchmark speed`: each stage against a plain reference, on this machine."""

from __future__ import annotations

from json import dumps
from typing import Any

from rich.console import Console
from rich.table import Table

from vasomim.benchmarks.speed.run import measure_speed
from vasomim.commands.console import say
from vasomim.config import BenchmarkSpeedConfig
from vasomim.files import write_text


def run(config: BenchmarkSpeedConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """Measure, print the table (JSON on stdout with `json`), and write OUT/speed.json where a folder is given."""
    result = measure_speed(
        config.stages, config.threads, quick=config.quick, tell=lambda name: say(f"measuring {name}")
    )
    text = dumps(result, indent=1)
    if config.out is not None:
        write_text(config.out / "speed.json", text + "\n")
    if json:
        print(text)
    else:
        print_table(result)
    return 0


def print_table(result: dict[str, Any]) -> None:
    """The rows for a person."""
    limits = result["limits"]
    title = (
        f"{result['hardware']['processor']}, threads: {result['threads']}, {result['clock']}; "
        f"matrix product {limits['flops_per_s'] / 1e9:.0f} GFLOP/s, copy {limits['bytes_per_s'] / 1e9:.1f} GB/s"
    )
    table = Table("stage", "ours, ms", "reference, ms", "times faster", "of the limit", "what", title=title)
    for row in result["rows"]:
        numbers = (f"{1e3 * row['ours_s']:.2f}", f"{1e3 * row['reference_s']:.2f}", f"{row['ratio']:.1f}")
        table.add_row(row["name"], *numbers, f"{100 * row['limit_share']:.0f} %", row["note"])
    Console(highlight=False).print(table)
