"""Rows as Markdown: means with intervals, paired tests, pre-trainings; and as figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vasomim.benchmarks.methods.analysis import Difference, Rows, Score, differences, pairs_of, score
from vasomim.benchmarks.methods.catalogue import ABLATION_BASELINES, ABLATIONS, BASELINES
from vasomim.benchmarks.methods.grid import METHODS, Cell, method_of, share_text
from vasomim.viz.intervals import Bar, Estimate, curve_chart, difference_chart

SCORES = ("dice", "cldice", "precision", "recall")
TITLES = {"dice": "Dice", "cldice": "clDice", "precision": "precision", "recall": "recall"}
NOT_RUN = "not run"


@dataclass(frozen=True)
class Shown:
    """What a table is of: methods against baselines, over shares of labels."""

    methods: Sequence[str]
    baselines: Sequence[str]
    labels: Sequence[str]

    def holds(self, cell: Cell) -> bool:
        """Whether it has a place for a cell."""
        return cell.method in self.methods and cell.labels in self.labels

    def differences(self, rows: Rows) -> list[Difference]:
        """Paired tests of all its methods, one family."""
        return differences(rows, pairs_of(self.methods, self.baselines), self.labels)


def shown(methods: Sequence[str], labels: Sequence[float]) -> Shown:
    """Ablations are tested against VasoMIM and MAE, a table with other methods in it against MAE and scratch."""
    ours = {*ABLATIONS, *ABLATION_BASELINES, "prototypes"}
    baselines = ABLATION_BASELINES if {*methods} <= ours and {*methods} & {*ABLATIONS} else BASELINES
    return Shown(methods, baselines, [share_text(share) for share in labels])


def of_rows(rows: Rows, asked: Sequence[str], labels: Sequence[float]) -> Shown:
    """What was asked for, and of what was not, all that has a row, in the order of the catalogue."""
    present = {cell.method for cell in rows}
    methods = asked or [name for name in METHODS if name in present] + sorted(present - METHODS.keys())
    return shown(methods, labels or sorted({float(cell.labels) for cell in rows}))


def markdown(header: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    cells = [list(header), *map(list, lines)]
    text = ["| " + " | ".join(line) + " |" for line in cells]
    return "\n".join([text[0], "|" + "---|" * len(cells[0]), *text[1:]]) + "\n"


def share(labels: str) -> str:
    """`0.1` -> `10 %`."""
    return f"{float(labels) * 100:g} %"


def with_interval(found: Score | None) -> str:
    """Mean and interval, or that it was not run."""
    if found is None:
        return NOT_RUN
    low, high = found.ci95
    return f"{found.mean:.3f} [{low:.3f}, {high:.3f}]"


def score_table(rows: Rows, of: Shown, tried: Mapping[str, int] | None = None) -> str:
    """A line for each method and share of labels; cells that were not run say so.

    Args:
        rows: of the grid.
        of: what of it is shown.
        tried: how many configurations of a method were tried, where that is told.
    """
    lines = []
    for method in of.methods:
        for labels in of.labels:
            found = [score(rows, method, labels, metric) for metric in SCORES]
            seeds = ", ".join(map(str, found[0].by_seed)) if found[0] else ""
            told = [] if tried is None else [str(tried.get(method, 0))]
            lines.append([method_of(method).title, share(labels), seeds, *map(with_interval, found), *told])
    header = ["start", "labels", "seeds", *(TITLES[metric] for metric in SCORES)]
    return markdown(header if tried is None else [*header, "tried"], lines)


def summary_table(rows: Rows, of: Shown, metric: str = "dice") -> str:
    """A line for each method, a column for each share of labels."""
    lines = [
        [method_of(method).title, *(with_interval(score(rows, method, labels, metric)) for labels in of.labels)]
        for method in of.methods
    ]
    return markdown([TITLES[metric], *map(share, of.labels)], lines)


def difference_table(rows: Rows, of: Shown) -> str:
    """Every method less each baseline, corrected for the number of lines; pairs that were not run are left out."""
    found = of.differences(rows)
    if not found:
        return "No two methods have a cell in common.\n"
    lines = [
        [f"{method_of(one.method).title} - {method_of(one.baseline).title}", share(one.labels), *difference_cells(one)]
        for one in found
    ]
    return markdown(["Dice difference", "labels", "seeds", "mean [95 %]", "p", "p, Holm", "holds"], lines)


def difference_cells(one: Difference) -> tuple[str, ...]:
    """A difference in words."""
    low, high = one.ci95
    interval = f"{one.difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    seeds = ", ".join(map(str, one.seeds))
    return seeds, interval, f"{one.p_value:.2g}", f"{one.corrected:.2g}", one.verdict


def pretraining_table(folder: Path, methods: Sequence[str]) -> str:
    """Held-out numbers and speed at the end of each pre-training; those that were not run say so."""
    names = ("val/reconstruction", "val/consistency", "val/probe_r2", "val/dice")
    lines = []
    for method in methods:
        if method_of(method).start is None:
            continue
        path = folder / f"pretrain_{method}.json"
        if not path.is_file():
            lines.append([method_of(method).title, *[NOT_RUN] * (2 + len(names))])
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        last: Mapping[str, Any] = content["validations"][-1] if content["validations"] else content["run"]["last"]
        numbers = ["-" if last.get(name) is None else f"{last[name]:.3f}" for name in names]
        speed = f"{content['samples_per_second']['median']:.1f}"
        lines.append([method_of(method).title, str(last["step"]), *numbers, speed])
    header = ["method", "step", "reconstruction", "consistency", "vessel probe R²", "held-out Dice", "frames/s"]
    return markdown(header, lines)


def efficiency_figure(rows: Rows, of: Shown, metric: str = "dice") -> str:
    """Curves over the shares of labels, for the methods that have a row, as the text of an SVG file."""
    series = {}
    for method in of.methods:
        found = [one for labels in of.labels if (one := score(rows, method, labels, metric)) is not None]
        if found:
            series[method_of(method).title] = [Estimate(float(one.labels), one.mean, *one.ci95) for one in found]
    ticks = {float(labels): share(labels) for labels in of.labels}
    return curve_chart(series, f"{TITLES[metric]} over the share of labels", "share of the labels", ticks, file=True)


def difference_figure(rows: Rows, of: Shown) -> str:
    """Paired differences, a row each, as the text of an SVG file."""
    several = len(of.labels) > 1
    bars = [
        Bar(
            f"{method_of(one.method).title} - {method_of(one.baseline).title}"
            + (f", {share(one.labels)}" if several else ""),
            one.difference,
            *one.ci95,
            one.verdict == "yes",
        )
        for one in of.differences(rows)
    ]
    return difference_chart(bars, "Paired differences", "difference of mean Dice, 95 % interval", file=True)
