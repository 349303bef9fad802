"""`vasomim benchmark methods` at the door: lists, tables, and one clear line for what cannot be."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from vasomim.cli.app import main

ROWS = Path(__file__).parents[2] / "results" / "main_table"
VERB = ("benchmark", "methods")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """The committed rows of scratch, in a folder of their own."""
    out = tmp_path / "rows"
    out.mkdir()
    for path in ROWS.glob("scratch_*"):
        shutil.copy(path, out)
    return out


def test_list__says_which_cells_are_done(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--methods", "scratch", "unet_half", "--labels", "0.1", "--seeds", "0", "--list"]
    assert main([*VERB, "--out", str(rows), *asked]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["done", "scratch_0.1_0"]
    assert (lines[1][:2], lines[1][-1]) == (["not", "run"], "unet_half_0.1_0")
    assert int(lines[1][2]) > 0, "minutes, by the cost of its steps"
    assert main([*VERB, "--out", str(rows), *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cells"]["scratch_0.1_0"]["state"] == "done"


def test_list__shows_rows_of_another_budget(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--methods", "scratch", "--labels", "0.1", "--seeds", "0", "--finetune-steps", "10", "--list"]
    assert main([*VERB, "--out", str(rows), *asked]) == 0
    assert capsys.readouterr().out.split() == ["other", "budget", "scratch_0.1_0"]


def test_table__writes_text_and_figures(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*VERB, "--out", str(rows), "--methods", "scratch", "mae", "--labels", "0.1", "1", "--table"]) == 0
    shown = capsys.readouterr().out
    assert (rows / "table.md").read_text() == shown
    assert "| plain MAE | not run | not run |" in shown
    for name in ("label_efficiency.svg", "differences.svg"):
        ET.fromstring((rows / name).read_text())


def test_table__of_nothing_named_shows_every_row(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*VERB, "--out", str(rows), "--table"]) == 0
    shown = capsys.readouterr()
    assert "| from scratch |" in shown.out
    assert "| from scratch, no layer decay |" in shown.out
    assert "plain MAE" not in shown.out
    assert shown.err == ""


def test_table__counts_the_rows_that_it_leaves_out(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*VERB, "--out", str(rows), "--methods", "scratch", "--labels", "0.1", "--seeds", "1", "--table"]) == 0
    shown = capsys.readouterr()
    every = len(list(rows.glob("*.json")))
    assert f"{every - 1} of {every} rows are of other methods, shares or seeds" in shown.err
    assert len(shown.err.splitlines()) == 1
    value = json.loads((rows / "scratch_0.1_1.json").read_text())["evaluation"]["metrics"]["dice"]["mean"]
    assert f"{value:.3f}" in shown.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "simim"], "no method is called simim; did you mean simmim?"),
        ([], "got 0 INPUTs, need one: the folder that holds the data sets"),
        (
            ["--data", "{tmp}"],
            "holds no arcade/syntax/train, arcade/stenosis_352/train, danilov_352, arcade/syntax/val",
        ),
        (["--labels", "0"], "labels must be shares above 0"),
        (["--list", "--table"], "list and table are two things"),
        (["--out", "{tmp}", "--table"], "holds no rows; run the grid first"),
    ],
)
def test_misuse__is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*VERB, *(argument.replace("{tmp}", str(tmp_path)) for argument in arguments)]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) == 1
    assert not list(tmp_path.iterdir()), "nothing was written"


def test_run__rows_of_another_budget_are_refused(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "set").mkdir(parents=True)
    sets = ["--unlabelled", "set", "--train", "set", "--val", "set", "--finetune-steps", "10"]
    asked = ["--methods", "scratch", "--labels", "0.1", "--seeds", "0"]
    assert main([*VERB, "--data", str(tmp_path / "data"), "--out", str(rows), *sets, *asked]) == 2
    assert "scratch_0.1_0 with another budget or data (finetune_steps 400, asked 10)" in capsys.readouterr().err


def test_benchmark__alone_names_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark"]) == 2
    assert "got nothing after benchmark, need one of" in capsys.readouterr().err
    assert main(["benchmark", "method"]) == 2
    assert "methods" in capsys.readouterr().err
    assert main(["benchmark", "--help"]) == 0
    assert "benchmark methods" in capsys.readouterr().out
