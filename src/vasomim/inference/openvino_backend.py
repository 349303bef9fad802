"""An exported network computed by OpenVINO on the CPU."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import openvino

from vasomim.errors import CheckpointError, VasomimError
from vasomim.inference.backends import Images, Maps, asked_threads, check_precision, first_line
from vasomim.ops.processor import has_bf16_tiles

_HINTS = {"fp32": "f32", "bf16": "bf16"}
_SIZES_KEPT = 4
"""Frame sizes compiled for; further ones share a network of free size."""


class OpenVinoBackend:
    """A network, compiled for each frame size it meets: one of free size takes up to 1.3 times as long in int8."""

    name = "openvino"
    device = "cpu"

    def __init__(self, entry: Path, precision: str, fingerprint: str) -> None:
        self.precision = precision
        self._fingerprint = fingerprint
        self._compiled: dict[tuple[int, int] | None, Any] = {}
        self._lock = Lock()
        self._core = openvino.Core()
        try:
            self._model = self._core.read_model(str(entry))
        except RuntimeError as error:
            raise CheckpointError(f"OpenVINO cannot read {entry}: {first_line(error)}; export it again") from error

    def probabilities(self, images: Images) -> Maps:
        """See `Backend.probabilities`."""
        height, width = images.shape[2:]
        try:
            # One by one: on a CPU a batch is no faster, and every batch size would be compiled for.
            with self._lock:  # a compiled network serves one caller at a time
                network = self._network(height, width)
                maps = [network([image[None]])[0].copy() for image in np.ascontiguousarray(images)]
        except RuntimeError as error:
            raise VasomimError(f"OpenVINO failed on frames of {images.shape}: {first_line(error)}") from error
        return np.concatenate(maps) if maps else np.zeros((0, height, width), np.float32)

    def fingerprint(self) -> str:
        """Hash of the files."""
        return self._fingerprint

    def _network(self, height: int, width: int) -> Any:
        fits = (height, width) in self._compiled or sum(key is not None for key in self._compiled) < _SIZES_KEPT
        key = (height, width) if fits else None
        if key not in self._compiled:
            model = self._model.clone()
            if key is not None:
                model.reshape([1, 1, height, width])
            self._compiled[key] = self._core.compile_model(model, "CPU", self._options())
        return self._compiled[key]

    def _options(self) -> dict[str, Any]:
        threads = asked_threads()
        return {
            "PERFORMANCE_HINT": "LATENCY",
            # Said aloud: left alone, OpenVINO takes bf16 where it only exists, though fp32 is faster there.
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
        }


def open_backend(entry: Path, precision: str, fingerprint: str) -> OpenVinoBackend:
    """Open model.xml; `auto` is bf16 where the processor has matrix tiles for it, else fp32.

    Raises:
        MisuseError: another precision than fp32 or bf16 is asked for.
        CheckpointError: the file is damaged.
    """
    check_precision(precision, list(_HINTS), "OpenVINO")
    automatic = "bf16" if has_bf16_tiles() else "fp32"
    return OpenVinoBackend(entry, automatic if precision == "auto" else precision, fingerprint)
