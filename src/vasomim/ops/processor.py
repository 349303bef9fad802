"""What the processor can do, told without torch."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def has_bf16_tiles() -> bool:
    """Whether it multiplies bf16 matrices in tiles (AMX), which is faster than fp32; False where nothing says so.

    Dot products of AVX-512 alone are slower (docs/performance.md).
    """
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.startswith("flags") and "amx_bf16" in line.split() for line in lines)
