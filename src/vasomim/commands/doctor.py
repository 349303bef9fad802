"""`vasomim doctor`: what is wrong with data, before anything is trained on it."""

from __future__ import annotations

import json as json_text
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from vasomim.commands.console import progress_bar, say
from vasomim.commands.doctor_page import render_page
from vasomim.config import DoctorConfig
from vasomim.data.audit.audit import Audit, audit_folders
from vasomim.data.audit.findings import KINDS, Finding, needs_action
from vasomim.data.frame_list import frame_list_text
from vasomim.errors import MisuseError, first_few
from vasomim.files import contents, make_folder, write_text

T = TypeVar("T")

FINDINGS, REPORT = "doctor.json", "report.html"
OURS = (FINDINGS, REPORT)
PLAIN_WIDTH = 120
"""Columns of the table where it does not go to a terminal."""
STYLES = {"error": "bold red", "warning": "yellow", "info": "blue"}


def run(config: DoctorConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Print the findings (JSON on stdout with `json`), write what was asked for; 1 for an error or a warning."""
    check_places(config.out, config.keep_list)
    audit = audit_folders(config.inputs, config.workers, _watched)
    if json:
        print(json_text.dumps(audit.to_dict()))
    else:
        print_audit(audit, verbose=verbose)
    for path in write_audit(audit, config):
        if not json:
            say(f"wrote {path}")
    return 1 if needs_action(audit.findings) else 0


def check_places(out: Path | None, keep_list: Path | None) -> None:
    """Refuse places where anything but an earlier audit lies, or nothing can be written, before frames are read.

    Raises:
        MisuseError: something else lies there.
        WriteError: nothing can be written there.
    """
    if out is not None:
        foreign = [name for name in contents(out) if name not in OURS]
        if foreign or ((out / REPORT).exists() and not (out / FINDINGS).exists()):
            holds = foreign[0] if foreign else REPORT
            raise MisuseError(f"{out} is not empty and holds {holds}; choose another --out, or empty it")
        make_folder(out)
    if keep_list is not None:
        if keep_list.exists() and not is_list_of_kept(keep_list):
            raise MisuseError(f"{keep_list} is there and no list of ours; choose another --keep-list, or remove it")
        make_folder(keep_list.parent)


def is_list_of_kept(path: Path) -> bool:
    """Whether a file begins as the lists that doctor writes do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return re.match(rb"# \d+ of \d+ frames: ", file.read(80)) is not None


def write_audit(audit: Audit, config: DoctorConfig) -> list[Path]:
    """Write what was asked for; returns the files to look at."""
    written: list[Path] = []
    if config.out is not None:
        write_text(config.out / FINDINGS, json_text.dumps(audit.to_dict(), indent=1) + "\n")
        write_text(config.out / REPORT, render_page(audit))
        written.append(config.out / REPORT)
    if config.keep_list is not None:
        total, kept = audit.summary["readable"], audit.summary["kept"]
        comment = f"{kept} of {total} frames: one of all copies of a frame"
        write_text(config.keep_list, frame_list_text(audit.kept, config.keep_list, comment))
        written.append(config.keep_list)
    return written


def print_audit(audit: Audit, *, verbose: bool = False) -> None:
    """The summary, and a table with a row for each kind of finding; every single finding where `verbose`."""
    console = Console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    for line in summary_lines(audit.summary):
        console.print(line, highlight=False, markup=False)
    if not audit.findings:
        console.print("No findings.", style="green")
        return
    found_column, files_column = Column("found", ratio=3, overflow="fold"), Column("files", justify="right")
    table = Table("", found_column, files_column, Column("what to do", ratio=2), box=SIMPLE_HEAD, pad_edge=False)
    for group in by_kind(audit.findings):
        first = group[0]
        files = {name for item in group for name in item.files}
        count = f" ({len(group)})" if len(group) > 1 else ""
        found = Text.assemble((KINDS[first.kind].title + count, "bold"), "\n", (example(first), "dim"))
        table.add_row(Text(first.severity, STYLES[first.severity]), found, str(len(files)), first.fix)
    console.print(table)
    if not verbose:
        console.print("-v lists every finding with all its files.", style="dim")
    else:
        for item in audit.findings:
            line = f"{item.severity} {item.kind}: {item.message}: {', '.join(item.files)}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def by_kind(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of one severity and kind together, in the given order."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for item in findings:
        groups.setdefault((item.severity, item.kind), []).append(item)
    return list(groups.values())


def example(item: Finding) -> str:
    """The message of a finding and the first of its files that the message does not name."""
    others = [name for name in item.files if name not in item.message]
    return f"{item.message}: {first_few(others, 2)}" if others else item.message


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """What was looked at, one line for everything and one for each set."""
    splits = ", ".join(f"{name} {count}" for name, count in summary["splits"].items())
    parts = [f"{summary['frames']} frames", f"{summary['readable']} readable", f"{summary['patients']} patients"]
    parts += [f"splits: {splits}"] if splits else []
    lines = [f"{', '.join(parts)}; {summary['frames_per_second']:.0f} frames/s"]
    for name, data in summary["sets"].items():
        sizes = ", ".join(data["sizes"])
        vessel = f", {data['vessel_share']['mean']:.1%} vessel" if "vessel_share" in data else ""
        grey = f", grey {data['grey']['mean']:.2f} +- {data['grey']['std']:.2f}" if "grey" in data else ""
        lines.append(f"  {name}: {data['frames']} frames, {sizes} px, {'/'.join(data['bits'])} bits{grey}{vessel}")
    return lines


def _watched(title: str, total: int, items: Iterable[T]) -> Iterator[T]:
    with progress_bar(title, total) as step:
        for item in items:
            step(1)
            yield item
