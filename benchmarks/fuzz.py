"""Damaged and hostile inputs for every reader: each must be opened, or refused with one line of ours.

    python benchmarks/fuzz.py --out results/fuzz.json

For each reader a valid input is damaged in seeded ways (random bytes, truncation, flipped bits, bytes overwritten in a
row), and those made to do harm are added (`fuzz_readers.py`). An input counts as

    opened      the reader gave what it gives;
    refused     it raised one of our errors, whose message is one line (that of settings lists every mistake);
    crashed     it raised anything else, or the process ended;
    hung        it took more than TIME_LIMIT seconds of CPU time, or no end;
    memory      the process grew by more than MEMORY_LIMIT while it was read;
    escaped     something was written outside of the folder to write to.

The last four must be 0; the exit status is 1 if they are not. Work is done in a child process, which is replaced where
an input ends it.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from fuzz_readers import Reader, all_readers

from vasomim.errors import ConfigError, VasomimError

KINDS = ("random", "truncated", "flipped", "overwritten", "hostile")
BAD = ("crashed", "hung", "memory", "escaped")
TIME_LIMIT = 5.0
"""Seconds of CPU time for one input."""
PATIENCE = 900.0
"""Seconds by the clock after which a child is taken to hang that uses no CPU time either."""
MEMORY_LIMIT = 400 << 20
"""Bytes that reading one small input may take; the largest frame allowed has 33.5 million pixels, 128 MiB as floats."""
ADDRESS_LIMIT = 6 << 30
"""Bytes of address space beyond those in use: where a bomb ends before the machine does."""


def damaged(reader: Reader, content: bytes, kind: str, number: int) -> bytes:
    """The input `number` of a kind, a function of the reader's name, the kind and the number alone."""
    rng = np.random.default_rng([zlib.crc32(reader.name.encode()), KINDS.index(kind), number])
    if kind == "random":
        head = content[: int(rng.integers(0, 17))] if number % 2 else b""  # half of them start as such a file does
        return head + rng.bytes(int(rng.integers(0, 2000)))
    if kind == "truncated":
        return content[: int(rng.integers(0, len(content)))]
    changed = bytearray(content)
    if kind == "flipped":
        for at in rng.integers(0, len(content), int(rng.integers(1, 9))):
            changed[at] ^= 1 << int(rng.integers(8))
    else:
        at, length = int(rng.integers(0, len(content))), int(rng.integers(1, 24))
        changed[at : at + length] = bytes([int(rng.choice([0, 0xFF, rng.integers(256)]))]) * length
    return bytes(changed)


def inputs(reader: Reader, content: bytes, scale: float) -> Iterator[tuple[str, bytes]]:
    """All inputs of a reader, or a share of them: kind and content."""
    for number in range(max(round(reader.count * scale), 4)):
        kind = KINDS[number % 4]
        yield kind, damaged(reader, content, kind, number)
    for number, hostile in enumerate(reader.hostile(content)):
        if int(number * scale) != int((number - 1) * scale):
            yield "hostile", hostile


def fuzz(reader: Reader, scale: float = 1.0) -> dict[str, Any]:
    """Counts of what became of the inputs of a reader, and the first few that went wrong."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    problems: list[str] = []
    began = time.process_time()
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for kind, outcome, line, spent in outcomes(reader, Path(folder), scale):
            counts[kind][outcome] += 1
            seconds += spent
            if outcome in BAD and len(problems) < 20:
                problems.append(f"{kind}: {outcome}: {line}")
    total = sum(counts.values(), Counter())
    return {
        "reader": reader.name,
        "tried": sum(total.values()),
        **{outcome: total[outcome] for outcome in ("opened", "refused", *BAD)},
        "by_kind": {kind: dict(found) for kind, found in counts.items() if found},
        "cpu_seconds": round(seconds + time.process_time() - began, 1),
        **({"problems": problems} if problems else {}),
    }


def outcomes(reader: Reader, folder: Path, scale: float) -> Iterator[tuple[str, str, str, float]]:
    """Kind, outcome, message and seconds of every input in turn; a child that ends is replaced."""
    start, kinds = 0, [kind for kind, _ in inputs(reader, reader.make(folder / "valid").read_bytes(), scale)]
    context = multiprocessing.get_context("fork")
    while start < len(kinds):
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(reader, folder, scale, start, there), daemon=False)
        child.start()
        there.close()
        try:
            while start < len(kinds):
                if not answers(here, child.pid):
                    yield kinds[start], "hung", "no answer", 0.0
                    start += 1
                    break
                outcome, line, spent = here.recv()
                yield kinds[start], outcome, line, spent
                start += 1
        except EOFError:
            child.join()
            yield kinds[start], "crashed", f"the process ended with status {child.exitcode}", 0.0
            start += 1
        finally:
            child.kill()
            child.join()
            here.close()


def answers(pipe: Connection, pid: int | None) -> bool:
    """Wait for the child's next word; False where it has used up its CPU time, or all patience."""
    used, end = _cpu_seconds(pid), time.monotonic() + PATIENCE
    while not pipe.poll(5.0):
        if _cpu_seconds(pid) - used > 4 * TIME_LIMIT or time.monotonic() > end:
            return False
    return True


def _cpu_seconds(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def work(reader: Reader, folder: Path, scale: float, start: int, report: Connection) -> None:
    """Read the inputs from number `start` on, in this process, and tell of each."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries print is not ours to judge
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (_kilobytes("VmSize") * 1024 + ADDRESS_LIMIT,) * 2)
    shutil.rmtree(folder / "sandbox", ignore_errors=True)
    shutil.copytree(folder / "valid", folder / "sandbox" / "set")
    victim = (folder / "sandbox" / "set").joinpath(*reader.inside)
    content = victim.read_bytes()
    os.chdir(folder)
    attempt(reader, victim)  # imports and tables of the first call are not the input's
    for number, (_, damage) in enumerate(inputs(reader, content, scale)):
        if number >= start:
            victim.write_bytes(damage)
            report.send(attempt(reader, victim))


def attempt(reader: Reader, victim: Path) -> tuple[str, str, float]:
    """Outcome, message and CPU seconds of reading one input."""
    out = victim.parents[len(reader.inside)] / "out"
    before = sorted(_listed(out.parent))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    resting, began = _kilobytes("VmHWM"), time.process_time()
    try:
        reader.read(victim, out)
        outcome, line = "opened", ""
    except VasomimError as error:
        line = str(error)
        outcome = "refused" if line and ("\n" not in line or isinstance(error, ConfigError)) else "crashed"
    except BaseException as error:
        outcome, line = "crashed", f"{type(error).__name__}: {str(error)[:300]}"
    spent = time.process_time() - began
    grown = (_kilobytes("VmHWM") - resting) * 1024
    shutil.rmtree(out, ignore_errors=True)
    if spent > TIME_LIMIT:
        outcome, line = "hung", f"{spent:.1f} s: {line}"
    elif grown > MEMORY_LIMIT:
        outcome, line = "memory", f"{grown >> 20} MiB: {line}"
    elif sorted(_listed(out.parent)) != before:
        outcome, line = "escaped", f"{set(_listed(out.parent)) ^ set(before)}"
    return outcome, line, spent


def _listed(folder: Path) -> list[str]:
    """Everything below a folder and beside it."""
    return [path.as_posix() for path in folder.parent.rglob("*")]


def _kilobytes(name: str) -> int:
    """A size from /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main() -> int:
    """Try everything, print a line a reader, write the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the inputs to try")
    parser.add_argument("--only", default="", help="readers whose name holds this")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rows = []
    for reader in all_readers():
        if asked.only in reader.name:
            rows.append(fuzz(reader, asked.scale))
            print(json.dumps({name: value for name, value in rows[-1].items() if name != "by_kind"}), flush=True)
            if asked.out is not None:
                asked.out.write_text(json.dumps(results(rows, asked.scale), indent=1) + "\n")
    totals = results(rows, asked.scale)["totals"]
    print(totals)
    return 1 if any(totals[name] for name in BAD) else 0


def results(rows: list[dict[str, Any]], scale: float) -> dict[str, Any]:
    """What is written."""
    return {
        "command": f"python benchmarks/fuzz.py --out results/fuzz.json --scale {scale:g}",
        "limits": {"cpu_seconds": TIME_LIMIT, "memory_mib": MEMORY_LIMIT >> 20},
        "python": platform.python_version(),
        "totals": {name: sum(row[name] for row in rows) for name in ("tried", "opened", "refused", *BAD)},
        "rows": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
