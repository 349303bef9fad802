"""`vasomim report`: the page of a run, made anew from its files."""

from __future__ import annotations

from vasomim.commands.console import print_result
from vasomim.config import ReportConfig
from vasomim.engine.report import write_report


def run(config: ReportConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """Write RUN/report.html of every run named, and print where."""
    pages = [str(write_report(run_path)) for run_path in config.inputs]
    print_result({"reports": pages if json else ", ".join(pages)}, json=json)
    return 0
