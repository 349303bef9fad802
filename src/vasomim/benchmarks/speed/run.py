"""All stages of a run of `vasomim benchmark speed`, with the limits and the name of the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vasomim.benchmarks.speed.limits import measure_limits
from vasomim.benchmarks.speed.stages import STAGES
from vasomim.benchmarks.speed.timing import Stage, clock_for, computing_in, make_row, take_turns
from vasomim.engine.run_folder import versions
from vasomim.ops.allocator import keep_freed_memory


def measure_speed(
    names: Sequence[str], threads: int = 1, *, quick: bool = False, tell: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Rows of the named stages, and what they were measured on; calls `tell` before each.

    Memory that is freed stays with the process for both sides alike, as training has it.
    """
    keep_freed_memory()
    clock = clock_for(threads)
    size = {"size": 256, "megabytes": 16, "tries": 2} if quick else {}
    timed: dict[str, tuple[Stage, tuple[float, float]]] = {}
    with computing_in(threads):
        limits = measure_limits(clock, **size)
        for name in names:
            tell(name)
            with TemporaryDirectory() as folder:
                stage = STAGES[name](Path(folder), quick=quick)
                times = take_turns(stage, clock)
            # Without what it computed with: two networks and their moments would stay for the next stage.
            timed[name] = (replace(stage, ours=_over, reference=_over), times)
            del stage
            limits = limits.best(measure_limits(clock, **size))
    return {
        "rows": [asdict(make_row(name, stage, times, limits)) for name, (stage, times) in timed.items()],
        "limits": asdict(limits),
        "hardware": hardware(),
        "threads": threads,
        "clock": "processor time" if threads == 1 else "wall time",
        "quick": quick,
        "versions": versions(),
    }


def _over() -> None:
    raise AssertionError("this stage has been timed")


def hardware() -> dict[str, Any]:
    """Processor, its instruction sets that matter to matrices, cores, memory, system."""
    processor, flags = _cpuinfo(Path("/proc/cpuinfo"))
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")
    return {
        "processor": processor or platform.processor() or platform.machine(),
        "instructions": [name for name in wanted if name in flags],
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpuinfo(path: Path) -> tuple[str, set[str]]:
    """Name and instruction sets of the processor, where the system tells."""
    try:
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    except OSError:
        return "", set()
    found = {key.strip(): value.strip() for key, value in lines.items()}
    return found.get("model name", ""), set(found.get("flags", found.get("Features", "")).split())


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
