"""Where tensors are computed and in which precision, for training and for prediction alike."""

from __future__ import annotations

import os

import torch

from vasomim.errors import MisuseError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(device: str) -> torch.device:
    """The device meant by `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        MisuseError: unknown name, or no such CUDA device here.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda:0" if count else "cpu")
    name, _, index = device.partition(":")
    if name not in ("cpu", "cuda") or (index and not (name == "cuda" and index.isdigit())):
        raise MisuseError(f"got device={device}, need auto, cpu, cuda or cuda:N")
    if name == "cuda" and int(index or 0) >= count:
        raise MisuseError(f"got device={device}, but this machine offers {count} CUDA device(s); take --device cpu")
    return torch.device(f"cuda:{index or 0}" if name == "cuda" else "cpu")


def resolve_precision(precision: str, device: torch.device) -> str:
    """`fp32`, `bf16` or `fp16`; `auto` is bf16 only where the device computes it natively.

    Raises:
        MisuseError: unknown precision, or fp16 on a CPU.
    """
    if precision == "auto":
        return "bf16" if computes_bf16_fast(device) else "fp32"
    if precision not in DTYPES:
        raise MisuseError(f"got precision={precision}, need auto, {', '.join(DTYPES)}")
    if precision == "fp16" and device.type != "cuda":
        raise MisuseError("got precision=fp16 on a CPU, need a CUDA device for it; take fp32, or bf16 where it is fast")
    return precision


def computes_bf16_fast(device: torch.device) -> bool:
    """Whether bf16 is computed faster than fp32 there.

    On a CPU that takes matrix tiles (AMX). The dot products of AVX-512 alone multiplied bf16 matrices at 0.6 times the
    rate of fp32 and convolved at 0.5 times (docs/performance.md), and without either bf16 is emulated.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch tells the processor's instruction sets in recent versions; where it does not, fp32 is the safe answer.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken there; 0 where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
