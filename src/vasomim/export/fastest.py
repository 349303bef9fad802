"""A network in the form that this machine computes fastest, and how long a frame takes it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from torch import nn

from vasomim.inference.backends import ENTRIES, MODULES, Backend, Images, open_runtime
from vasomim.inference.torch_backend import TorchBackend


def fastest_backend(model: nn.Module, frames: Sequence[Images], folder: Path, *, int8: bool = False) -> Backend:
    """A segmentation model exported for the fastest runtime that is installed, and opened; torch where none is.

    Args:
        model: images (B, 1, H, W) in [0, 1] -> logits (B, 1, H, W).
        frames: each (1, 1, H, W); to compare on, and with `int8` to take ranges from.
        folder: is written to; new or empty.
        int8: round weights and activations to 8 bits.

    Raises:
        MisuseError: `folder` holds something.
        VasomimError: the exported network answers otherwise than torch.
    """
    network = TorchBackend(model, "cpu", "fp32")
    if not all(find_spec(module) for module in ("onnx", "onnxscript", "onnxruntime")):
        return network
    from vasomim.export.folder import RuntimeFormat, write_export

    runtime: RuntimeFormat = "openvino" if find_spec(MODULES["openvino"]) else "onnx"
    config = {"format_version": 1, "kind": "segmentation"}
    write_export(network, config, "", folder, runtime, frames[:1], frames if int8 else ())
    return open_runtime(runtime, folder / ENTRIES[runtime], "cpu", "auto")[0]


def seconds_per_frame(backend: Backend, frame: Images, rounds: int = 5) -> float:
    """Median clock time of one frame, (1, 1, H, W), after two that load and compile."""
    for _ in range(2):
        backend.probabilities(frame)
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        backend.probabilities(frame)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))
