"""`vasomim report` as it is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vasomim.commands.report import run
from vasomim.config import ReportConfig
from vasomim.errors import MisuseError


def test_report__makes_every_page_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text('{"verb": "segmentor"}')
        (tmp_path / name / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
    assert run(ReportConfig(inputs=(tmp_path / "one", tmp_path / "two")), json=True) == 0
    pages = json.loads(capsys.readouterr().out)["reports"]
    assert pages == [str(tmp_path / name / "report.html") for name in ("one", "two")]
    assert all("Vessel segmentor" in Path(page).read_text() for page in pages)


def test_report__no_run(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no training run"):
        run(ReportConfig(inputs=(tmp_path / "none",)))
