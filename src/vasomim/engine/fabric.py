"""Where a run computes and in which precision; lightning-fabric is known to this floor only."""

from __future__ import annotations

from lightning_fabric import Fabric

from vasomim.engine.allocator import keep_freed_memory
from vasomim.ops.devices import resolve_device, resolve_precision

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
    if accelerator == "cpu":
        keep_freed_memory()
    kind = resolve_precision(precision, chosen)
    return Fabric(accelerator=accelerator, devices=devices, precision=_PRECISIONS[kind])  # type: ignore[arg-type]
