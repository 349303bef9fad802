"""A small part of the fuzzing: every reader meets a few damaged and hostile inputs, and none does any harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
RESULTS = SCRIPT.parents[1] / "results" / "fuzz.json"
BAD = ("crashed", "hung", "memory", "escaped")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured through Linux's /proc")
def test_fuzz__a_few_inputs_for_every_reader(tmp_path: Path) -> None:
    place = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), "--scale", "0.02", "--out", str(tmp_path / "fuzz.json")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **place}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "fuzz.json").read_text())["rows"]
    assert [row["reader"] for row in rows] == [row["reader"] for row in json.loads(RESULTS.read_text())["rows"]]
    for row in rows:
        assert row["tried"] == row["opened"] + row["refused"] >= 4


def test_results__of_the_whole_fuzzing_are_clean() -> None:
    results = json.loads(RESULTS.read_text())
    assert results["totals"]["tried"] == sum(row["tried"] for row in results["rows"])
    assert not any(results["totals"][name] for name in BAD)
