"""What a killed process leaves half written goes away, and does not stand in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vasomim.data.files import clear_leftovers, contents


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_clear_leftovers__takes_those_of_dead_processes_alone(tmp_path: Path) -> None:
    (tmp_path / "masks" / "a").mkdir(parents=True)
    kept = ["masks/a/1.png", f"masks/.2.png.{os.getpid()}", "masks/.hidden", "masks/.notes.2024x", "masks/3.123456"]
    for name in [*kept, f"masks/a/.1.png.{gone()}", f".predictions.json.{gone()}"]:
        (tmp_path / name).write_text("")
    clear_leftovers(tmp_path)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == sorted(kept)


def test_contents__leaves_out_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b", "a", ".DS_Store", ".a.json.77"):
        (tmp_path / name).write_text("")
    assert contents(tmp_path) == ["a", "b"]
    assert contents(tmp_path / "missing") == []
