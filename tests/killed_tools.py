"""Commands that are killed half-way: they stand still there, so that the kill meets them on a busy machine, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

STANDING = """
import importlib, sys, time
from pathlib import Path

place, call, sign = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
module, _, path = place.partition(":")
owner = importlib.import_module(module)
*outer, name = path.split(".")
for part in outer:
    owner = getattr(owner, part)
real, calls = getattr(owner, name), []


def stand(*args, **kwargs):
    calls.append(name)
    if len(calls) >= call:
        sign.touch()
        time.sleep(3600)
    return real(*args, **kwargs)


setattr(owner, name, stand)
from vasomim.cli.app import main

sys.exit(main(sys.argv[4:]))
"""


def environment() -> dict[str, str]:
    """Of a process that finds what this one finds, and computes in one thread."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def kill_at(place: str, call: int, sign: Path, arguments: Sequence[str]) -> None:
    """Give a command, and kill it where it calls a function for the `call`-th time.

    Its worker processes, which call it for themselves, do meanwhile what they were given.

    Args:
        place: module and function, as `vasomim.data.extraction:_Tally.add`.
        call: from 1.
        sign: a file that the command makes when it stands there.
        arguments: of the command line.
    """
    command = [sys.executable, "-c", STANDING, place, str(call), str(sign), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment())
    try:
        while not sign.exists():
            assert process.poll() is None, process.communicate()[1].decode()
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
