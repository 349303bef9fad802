"""The page of a run: made from whatever the run left, readable alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from vasomim.engine.report import curves_from_metrics, keep_picture, read_series, write_report
from vasomim.errors import MisuseError
from vasomim.viz.pages import html_figure


def write_metrics(folder: Path, lines: list[dict[str, object] | str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def pretraining() -> list[dict[str, object] | str]:
    lines: list[dict[str, object] | str] = []
    for step in range(10, 60, 10):
        machine = {
            "lr": 1e-3,
            "samples_per_second": 50.0,
            "data_wait": 0.1,
            "peak_memory_mib": 900.0,
            "skipped": 1,
            "epoch": 0.5,
        }
        terms = {"loss": 2 / step, "reconstruction": 1 / step, "consistency": 1 / step, "grad_norm": 0.5}
        lines += [{"step": step, **terms, **machine}]
        lines += [{"step": step, "val/reconstruction": 1.1 / step, "val/consistency": 0.1, "val/probe_r2": step / 100}]
    return lines


def test_read_series__later_lines_count_and_broken_ones_do_not(tmp_path: Path) -> None:
    lines = [
        {"step": 2, "loss": 1.0},
        {"step": 1, "loss": 3, "note": "x", "ok": True},
        {"step": 2, "loss": None},
        '{"st',
    ]
    series = read_series(write_metrics(tmp_path, lines))
    assert list(series) == ["loss"]
    assert series["loss"][0] == (1.0, 3.0)
    assert series["loss"][1][0] == 2.0
    assert math.isnan(series["loss"][1][1])
    assert read_series(tmp_path / "none.jsonl") == {}


def test_curves_from_metrics__pair_training_with_held_out(tmp_path: Path) -> None:
    curves = dict(curves_from_metrics(write_metrics(tmp_path, pretraining())))
    assert list(curves) == [
        "Loss",
        "Reconstruction loss",
        "Consistency loss",
        "Held-out frames",
        "Learning rate",
        "Gradient norm",
    ]
    assert curves["Reconstruction loss"].count("<polyline") == 2
    assert curves["Loss"].count("<polyline") == 1


def test_curves_from_metrics__dice_is_a_loss_in_training_and_a_score_on_held_out_frames(tmp_path: Path) -> None:
    lines: list[dict[str, object] | str] = [
        {"step": k, "loss": 0.9, "dice": 0.5, "bce": 0.4, "val/dice": 0.6, "val/cldice": 0.7} for k in (1, 2)
    ]
    curves = dict(curves_from_metrics(write_metrics(tmp_path, lines)))
    assert curves["Dice loss"].count("<polyline") == 1
    assert curves["Held-out frames"].count("<polyline") == 2


def test_curves_from_metrics__plain_mae_shows_its_one_loss_once(tmp_path: Path) -> None:
    lines: list[dict[str, object] | str] = [{"step": k, "loss": 1 / k, "reconstruction": 1 / k} for k in (1, 2)]
    assert list(dict(curves_from_metrics(write_metrics(tmp_path, lines)))) == ["Reconstruction loss"]


def write_run(folder: Path, lines: list[dict[str, object] | str], verb: str = "pretrain") -> Path:
    """A run folder without settings or pictures."""
    write_metrics(folder, lines)
    (folder / "run.json").write_text(json.dumps({"verb": verb, "facts": {"seed": 3}, "identity": "secret: 1"}))
    return folder


def test_write_report__holds_values_settings_and_facts(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run7", pretraining())
    (run / "config.yaml").write_text("model: <vit>\n")
    page = write_report(run)
    html = page.read_text(encoding="utf-8")
    assert page == run / "report.html"
    for part in (
        "<h1>Pre-training</h1>",
        "run7",
        "<h2>Curves</h2>",
        "50 optimiser steps, 1 skipped",
        "model: &lt;vit&gt;",
        "<td>seed</td>",
        "vasomim",
    ):
        assert part in html
    assert "identity" not in html
    assert "http" not in html.replace("http-equiv", "")
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_write_report__shows_the_picture_that_was_kept(tmp_path: Path) -> None:
    run = write_run(tmp_path, pretraining(), "segmentor")
    keep_picture(run, None)
    assert "<figure" not in write_report(run).read_text(), "no frame was held out"
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    keep_picture(run, picture)
    html = write_report(run).read_text()
    assert f"<h2>What S sees in held-out frames</h2>\n{html_figure(picture)}" in html


def test_write_report__reads_no_earlier_page(tmp_path: Path) -> None:
    """What is shown is what lies in the files: a page by another version, or half of one, changes nothing."""
    run = write_run(tmp_path, pretraining()[:2])
    keep_picture(run, np.zeros((20, 30, 3), np.uint8))
    (run / "report.html").write_text('<section id="s0"><h2>Pictures</h2>\n<figure>old</figure></section>')
    before = write_report(run).read_text()
    assert "old" not in before
    assert write_report(run).read_text() == before
    write_metrics(run, pretraining())
    after = write_report(run).read_text()
    assert after != before
    assert "50 optimiser steps" in after
    assert after.count("<figure") == 1


def test_write_report__of_a_run_that_was_killed(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*pretraining(), '{"step": 6'], "finetune")
    page = write_report(run).read_text()
    assert "<h1>Fine-tuning</h1>" in page
    assert "<h2>Curves</h2>" in page


@pytest.mark.parametrize("lines", [[], [{"step": 5, "loss": None}], [{"step": 1, "loss": 0.5}]])
def test_write_report__survives_a_run_that_hardly_began(tmp_path: Path, lines: list[dict[str, object] | str]) -> None:
    assert "<h1>" in write_report(write_run(tmp_path, lines)).read_text()


def test_write_report__no_such_run(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no training run at"):
        write_report(tmp_path / "none")


@pytest.mark.parametrize("content", [None, "", "{cut", "[]", '{"verb": "evaluate"}', '{"verb": ["x"]}'])
def test_write_report__no_run(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(MisuseError, match="no training run at") as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()
