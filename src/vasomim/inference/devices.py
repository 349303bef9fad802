"""Where a prediction is computed and in which precision; the engine has its own, for training."""

from __future__ import annotations

import torch

from vasomim.errors import MisuseError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device meant by `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        MisuseError: an unknown name, or a CUDA device that this machine does not have.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if count else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not (kind == "cuda" and index.isdigit())):
        raise MisuseError(f"got device={name}, need auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(index or 0) >= count:
        raise MisuseError(f"got device={name}, but this machine offers {count} CUDA device(s); take --device cpu")
    return torch.device(f"cuda:{index or 0}" if kind == "cuda" else "cpu")


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What the network computes in: `auto` is bfloat16 where the device has instructions for it, else float32.

    Raises:
        MisuseError: an unknown precision, or fp16 on a CPU.
    """
    if precision == "auto":
        return torch.bfloat16 if _computes_bf16_fast(device) else torch.float32
    if precision not in _DTYPES:
        raise MisuseError(f"got precision={precision}, need auto, {', '.join(_DTYPES)}")
    if precision == "fp16" and device.type != "cuda":
        raise MisuseError("got precision=fp16 on a CPU, need a CUDA device for it; take auto or fp32")
    return _DTYPES[precision]


def _computes_bf16_fast(device: torch.device) -> bool:
    """Emulated bf16 is several times slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Both probes are private as of torch 2.13; without them fp32 is the safe answer.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)
