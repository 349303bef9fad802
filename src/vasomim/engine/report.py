"""RUN/report.html: how a run went, from the files it left; opens offline."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from vasomim._version import __version__
from vasomim.data.frames import read_channels, write_png
from vasomim.engine.run_folder import read_metrics
from vasomim.errors import MisuseError
from vasomim.files import write_text
from vasomim.viz.charts import line_chart
from vasomim.viz.images import RGB
from vasomim.viz.pages import Cell, html_charts, html_figure, html_page, html_table

Series = dict[str, list[tuple[float, float]]]

FOOTER = f"Made by vasomim {__version__}. Research use, not a medical device."
_LOSSES = ("loss", "reconstruction", "consistency", "bce")
"""What is a loss both in training and in validation; `dice` and `cldice` are losses there and scores here."""
_MACHINE = {
    "samples_per_second": "Frames a second",
    "data_wait": "Share of the time spent waiting for frames",
    "peak_memory_mib": "Peak memory, MiB",
}
_NAMES = {
    "lr": "Learning rate",
    "grad_norm": "Gradient norm",
    "loss": "Loss",
    "reconstruction": "Reconstruction loss",
    "consistency": "Consistency loss",
    "bce": "Cross-entropy",
    "dice": "Dice loss",
    "cldice": "clDice loss",
}
_SCORES = {"dice": "Dice", "cldice": "clDice", "probe_r2": "vessel probe R²"}
_STEP = "optimiser step"
_PICTURE = "held_out.png"
"""What a run made of frames that it did not learn from."""


class _Headings(NamedTuple):
    """What the page of a run says at its top, and above its picture."""

    title: str
    picture: str


_HEADINGS = {
    "pretrain": _Headings("Pre-training", "Held-out frames"),
    "segmentor": _Headings("Vessel segmentor", "What S sees in held-out frames"),
    "finetune": _Headings("Fine-tuning", "Frames not trained on"),
}
"""By the verb that made the run."""
_BOOKS = ("epoch", "skipped")
"""Kept by the loop for itself: no curves."""


def keep_picture(run_path: Path, picture: RGB | None) -> None:
    """Write RUN/held_out.png, which `write_report` shows; None where no frame was held out.

    Raises:
        VasomimError: it cannot be written.
    """
    if picture is not None:
        write_png(run_path / _PICTURE, picture)


def write_report(run_path: Path) -> Path:
    """Write RUN/report.html from what the run left so far: last values, curves, picture, machine, settings, facts.

    A run that was killed or is under way has curves and facts too; its picture, which needs the network, comes last.

    Raises:
        MisuseError: it is no folder of a training run.
        DataError: the picture is damaged.
        VasomimError: the page cannot be written.
    """
    record = _read_record(run_path)
    headings = _HEADINGS[record["verb"]]
    series = read_series(run_path / "metrics.jsonl")
    sections = [
        ("Result", _last_values(series)),
        ("Curves", html_charts(svg for _, svg in _learning_curves(series))),
        (headings.picture, _picture(run_path / _PICTURE)),
        ("Speed and memory", html_charts(svg for _, svg in _machine_curves(series))),
        ("Settings", _preformatted(run_path / "config.yaml")),
        ("Facts", _facts(record)),
    ]
    page = run_path / "report.html"
    write_text(page, html_page(headings.title, [each for each in sections if each[1]], FOOTER, run_path.name))
    return page


def _read_record(run_path: Path) -> dict[str, Any]:
    """What run.json says of a training run."""
    try:
        record: dict[str, Any] = json.loads((run_path / "run.json").read_text(encoding="utf-8"))
        if record["verb"] in _HEADINGS:
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise MisuseError(
        f"no training run at {run_path} (no valid run.json in it); name a folder that {', '.join(_HEADINGS)} made"
    )


def curves_from_metrics(path: Path) -> list[tuple[str, str]]:
    """Learning curves of a metrics.jsonl as (heading, SVG): losses, scores, learning rate, gradient norm."""
    return _learning_curves(read_series(path))


def read_series(path: Path) -> Series:
    """The values of a metrics.jsonl by name, as (step, value); null reads as NaN.

    Lines that are no JSON (a last one cut off by a crash) and values that are no numbers are left out. Where a step
    occurs twice, the later line counts.
    """
    values: dict[str, dict[float, float]] = {}
    for line in read_metrics(path):
        step = line.get("step")
        if not isinstance(step, int | float):
            continue
        for name, value in line.items():
            if name != "step" and (value is None or _is_number(value)):
                values.setdefault(name, {})[float(step)] = math.nan if value is None else float(value)
    return {name: sorted(points.items()) for name, points in values.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _learning_curves(series: Series) -> list[tuple[str, str]]:
    """Every loss with its held-out twin, then the scores, then how the optimiser fared."""
    optimiser = ("lr", "grad_norm")
    terms = [name for name in series if "/" not in name and name not in (*_MACHINE, *optimiser, *_BOOKS)]
    if len(terms) == 2 and "loss" in terms and _same(series, *terms):
        terms = [name for name in terms if name != "loss"]  # one term of weight 1 is the loss
    charts = []
    for name in terms:
        lines = {"training": series[name]}
        if name in _LOSSES and f"val/{name}" in series:
            lines["held out"] = series[f"val/{name}"]
        charts.append((_name(name), lines))
    alone = [name for name in series if name.startswith("val/") and not _is_twin(name, series)]
    scores = {_SCORES.get(name[4:], name[4:]): series[name] for name in alone}
    if scores:
        charts.append(("Held-out frames", scores))
    charts += [(_name(name), {_name(name): series[name]}) for name in optimiser if name in series]
    return [(title, line_chart(lines, title, _STEP, log_y=title == _NAMES["grad_norm"])) for title, lines in charts]


def _is_twin(name: str, series: Series) -> bool:
    return name[4:] in _LOSSES and name[4:] in series


def _same(series: Series, one: str, other: str) -> bool:
    return all(math.isclose(a[1], b[1], rel_tol=1e-6) for a, b in zip(series[one], series[other], strict=False))


def _machine_curves(series: Series) -> list[tuple[str, str]]:
    return [(title, line_chart({title: series[k]}, title, _STEP)) for k, title in _MACHINE.items() if k in series]


def _name(key: str) -> str:
    return _NAMES.get(key, key.replace("_", " "))


def _last_values(series: Series) -> str:
    """Last value of each loss and score, with the best one of each score and the step it was reached at."""
    rows: list[list[Cell]] = []
    for name, points in series.items():
        if name in (*_MACHINE, *_BOOKS, "grad_norm", "lr"):
            continue
        key = name.removeprefix("val/")
        held_out = key != name
        is_loss = not held_out or key in _LOSSES
        finite = [point for point in points if math.isfinite(point[1])]
        best = (min if is_loss else max)(finite, key=lambda point: point[1], default=(0.0, math.nan))
        label = _name(key) if is_loss else _SCORES.get(key, key)
        rows.append([label, "held out" if held_out else "training", points[-1][1], best[1], int(best[0])])
    steps = max((points[-1][0] for points in series.values() if points), default=0.0)
    skipped = int(series["skipped"][-1][1]) if "skipped" in series else 0
    caption = f"{int(steps)} optimiser steps" + (f", {skipped} skipped: the loss was not finite" if skipped else "")
    return html_table(rows, ["", "frames", "last", "best", "at step"], caption) if rows else ""


def _picture(path: Path) -> str:
    return html_figure(read_channels(path)[..., ::-1]) if path.is_file() else ""


def _preformatted(path: Path) -> str:
    return f"<pre>{escape(path.read_text(encoding='utf-8'))}</pre>" if path.is_file() else ""


def _facts(record: Mapping[str, Any]) -> str:
    """run.json without the settings it repeats, as a table."""
    hidden = ("identity", "format_version")
    rows = [[name.removeprefix("facts "), value] for name, value in _flat(record) if not name.startswith(hidden)]
    return html_table(rows, ["fact", "value"])


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name} {key}".strip())
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value, 1):
            yield from _flat(inner, f"{name} {number}")
    elif isinstance(value, list):
        shown = ", ".join(map(str, value[:12]))
        yield name, f"{shown}, ... ({len(value)} in all)" if len(value) > 12 else shown
    else:
        yield name, "—" if value is None else str(value)
