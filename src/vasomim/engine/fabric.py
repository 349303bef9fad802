"""Where a run computes and in which precision; lightning-fabric is known to this floor only."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric

from vasomim.errors import MisuseError

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def build_fabric(device: str = "auto", precision: str = "auto") -> Fabric:
    """One device in one precision.

    Args:
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `bf16` (autocast, weights stay float32) or `fp16` (the same, with loss scaling).

    Raises:
        MisuseError: unknown device or precision, CUDA asked for and absent, fp16 on a CPU.
    """
    chosen = resolve_device(device)
    accelerator = "cuda" if chosen.type == "cuda" else "cpu"
    devices = [chosen.index or 0] if accelerator == "cuda" else 1
    kind = resolve_precision(precision, chosen)
    return Fabric(accelerator=accelerator, devices=devices, precision=_PRECISIONS[kind])  # type: ignore[arg-type]


def resolve_device(device: str) -> torch.device:
    """The device meant by `auto`, `cpu`, `cuda` or `cuda:N`.

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
        raise MisuseError(f"got device={device}, but this machine offers {count} CUDA device(s); take --run.device cpu")
    return torch.device(f"cuda:{index or 0}" if name == "cuda" else "cpu")


def resolve_precision(precision: str, device: torch.device) -> str:
    """`fp32`, `bf16` or `fp16`; `auto` is bf16 only where the device computes it natively.

    Raises:
        MisuseError: unknown precision, or fp16 on a CPU.
    """
    if precision == "auto":
        return "bf16" if computes_bf16_fast(device) else "fp32"
    if precision not in _PRECISIONS:
        raise MisuseError(f"got precision={precision}, need auto, {', '.join(_PRECISIONS)}")
    if precision == "fp16" and device.type != "cuda":
        raise MisuseError("got precision=fp16 on a CPU, need a CUDA device for it; take fp32, or bf16 where it is fast")
    return precision


def computes_bf16_fast(device: torch.device) -> bool:
    """Whether bf16 has its own instructions there; emulated bf16 is several times slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch tells the processor's instruction sets in recent versions; where it does not, fp32 is the safe answer.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))
