"""How the C library hands out the memory of tensors on a CPU."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Names of glibc's mallopt(3), from malloc.h."""
_NEVER = -1


def keep_freed_memory() -> bool:
    """Let the process keep the memory of freed tensors for the next ones; returns whether the C library can.

    glibc gives blocks above 32 MiB back to the kernel and gets them anew, page by page and zeroed, at every step. That
    took a fifth of a fine-tuning step (docs/performance.md). Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _NEVER))
