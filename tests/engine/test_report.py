"""The page of a run: made from whatever the run left, readable alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from vasomim.engine.report import curves_from_metrics, read_series, rebuild_report, write_report
from vasomim.errors import MisuseError


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


def test_write_report__holds_values_settings_and_sections(tmp_path: Path) -> None:
    run = tmp_path / "run7"
    write_metrics(run, pretraining())
    (run / "config.yaml").write_text("model: <vit>\n")
    (run / "run.json").write_text(json.dumps({"verb": "pretrain", "facts": {"seed": 3}, "identity": "secret: 1"}))
    page = write_report(run, "Pre-training", [("Pictures", "<p>here</p>")])
    html = page.read_text(encoding="utf-8")
    assert page == run / "report.html"
    for part in (
        "Pre-training",
        "run7",
        "50 optimiser steps, 1 skipped",
        "<p>here</p>",
        "model: &lt;vit&gt;",
        "<td>seed</td>",
        "vasomim",
    ):
        assert part in html
    assert "identity" not in html
    assert "http" not in html.replace("http-equiv", "")
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("lines", [[], [{"step": 5, "loss": None}], [{"step": 1, "loss": 0.5}]])
def test_write_report__survives_a_run_that_hardly_began(tmp_path: Path, lines: list[dict[str, object] | str]) -> None:
    write_metrics(tmp_path, lines)
    (tmp_path / "run.json").write_text("{cut")
    assert "<h1>" in write_report(tmp_path, "Run").read_text()


def test_write_report__no_such_run(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no run folder"):
        write_report(tmp_path / "none", "Run")


def test_rebuild_report__renews_the_numbers_and_keeps_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"verb": "pretrain"}')
    write_metrics(tmp_path, pretraining()[:2])
    pictures = [("Held-out & <other> frames", "<figure>one</figure>\n<h3>two</h3>")]
    before = write_report(tmp_path, "Pre-training", pictures).read_text()
    assert rebuild_report(tmp_path).read_text() == before
    write_metrics(tmp_path, pretraining())
    after = rebuild_report(tmp_path).read_text()
    assert after != before
    assert "50 optimiser steps" in after
    assert after == write_report(tmp_path, "Pre-training", pictures).read_text()


def test_rebuild_report__of_a_run_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"verb": "finetune"}')
    write_metrics(tmp_path, [*pretraining(), '{"step": 6'])
    page = rebuild_report(tmp_path).read_text()
    assert "<h1>Fine-tuning</h1>" in page
    assert "<h2>Curves</h2>" in page


@pytest.mark.parametrize("content", [None, "", "[]", '{"verb": "evaluate"}', '{"verb": ["x"]}'])
def test_rebuild_report__no_run(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(MisuseError, match="no training run at") as caught:
        rebuild_report(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()
